//! The unwinder over any registers, any stack bytes and any call frame
//! information: it does not panic (framehop's overflow is out of reach), takes
//! no more frames than it may, comes to an end, and what an earlier walk left
//! in its memory changes nothing.
//!
//! The call frame information comes in three degrees: arbitrary bytes;
//! well-formed entries with arbitrary instructions ([`gmr_fuzz::cfi`]); those
//! with some bytes changed.

#![no_main]

use arbitrary::Arbitrary;
use gmr_core::model::StackEnd;
use gmr_core::stacks::unwind::{Found, Registers, Walker};
use gmr_core::stacks::window::Window;
use gmr_fuzz::cfi::{Function, Image, image};
use gmr_fuzz::module::{
    BIAS, CODE_SVMA, FRAMES_SVMA, FakeModule, HEADER_SVMA, MAX_FRAMES, MAX_STACK_WORDS,
};
use libfuzzer_sys::fuzz_target;

const CODE_BYTES: u64 = 0x1000;

#[derive(Debug, Arbitrary)]
enum Information<'a> {
    Bytes { header: &'a [u8], frames: &'a [u8] },
    Written { functions: Vec<Function>, changes: Vec<(u16, u8)> },
}

/// A word of the stack, or a register.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Word {
    Any(u64),
    Code(u16),
    Stack(u16),
    Small(u8),
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    information: Information<'a>,
    base: Option<u64>,
    pc: Word,
    sp: Word,
    fp: Word,
    stack: Vec<Word>,
    /// The window of the walk before this one ends here.
    cut: u16,
}

fn walk(
    walker: &mut Walker,
    modules: &FakeModule,
    start: Registers,
    window: &mut Window<'_>,
) -> (Vec<Found>, StackEnd) {
    let mut frames = Vec::new();
    let end = walker.walk(modules, start, window, |found| {
        if frames.len() == MAX_FRAMES {
            return false;
        }
        frames.push(found);
        true
    });
    assert!(!frames.is_empty() && frames.len() <= MAX_FRAMES);
    assert!(frames[0].is_interrupted);
    if matches!(end, StackEnd::FrameLimit { .. }) {
        assert_eq!(frames.len(), MAX_FRAMES);
    }
    (frames, end)
}

fuzz_target!(|input: Input<'_>| {
    let image = match input.information {
        Information::Bytes { header, frames } => {
            Image { header: header.to_vec(), frames: frames.to_vec() }
        }
        Information::Written { functions, changes } => {
            let functions = &functions[..functions.len().min(16)];
            let mut image = image(functions, HEADER_SVMA, FRAMES_SVMA, CODE_SVMA);
            image.change(&changes);
            image
        }
    };
    let modules = FakeModule::new(image, CODE_BYTES, Vec::new());
    let stack = &input.stack[..input.stack.len().min(MAX_STACK_WORDS)];
    // A window never goes over the end of the address space: the handler's
    // begins 128 bytes below the stack pointer.
    let size = stack.len() as u64 * 8;
    let base = input.base.unwrap_or(0x7fff_1234_5000).min(u64::MAX - size);
    let word = |word: &Word| match *word {
        Word::Any(value) => value,
        Word::Code(offset) => BIAS + CODE_SVMA + u64::from(offset) % CODE_BYTES,
        Word::Stack(offset) => base.saturating_add(u64::from(offset) % (size + 16)),
        Word::Small(value) => u64::from(value),
    };
    let bytes: Vec<u8> = stack.iter().flat_map(|each| word(each).to_ne_bytes()).collect();
    let start = Registers { pc: word(&input.pc), sp: word(&input.sp), fp: word(&input.fp) };
    let mut window = Window { base, bytes: &bytes };
    let mut shorter = Window { base, bytes: &bytes[..usize::from(input.cut).min(bytes.len())] };

    let mut walker = Walker::new();
    let fresh = walk(&mut walker, &modules, start, &mut window);
    assert_eq!(walk(&mut walker, &modules, start, &mut window), fresh);

    let mut used = Walker::new();
    walk(&mut used, &modules, start, &mut shorter);
    assert_eq!(walk(&mut used, &modules, start, &mut window), fresh);
});
