//! A parked thread's walk over any code, any call frame information, any stack
//! and any registers: it does not panic, comes to an end, guesses nothing, takes
//! no more frames than it may, and what an earlier walk left in its memory
//! changes nothing. Whatever the analyser says of a function it says twice.
//!
//! The call frame information is well-formed ([`gmr_fuzz::cfi`]), with some
//! bytes changed; the code is instructions that matter, or any bytes.

#![no_main]

use arbitrary::Arbitrary;
use gmr_core::model::{Certainty, StackEnd};
use gmr_core::stacks::passive::analyse::Analyser;
use gmr_core::stacks::passive::decode::decode;
use gmr_core::stacks::rules::Context;
use gmr_core::stacks::unwind::{Found, Walker};
use gmr_core::stacks::window::Window;
use gmr_fuzz::cfi::{Function, image};
use gmr_fuzz::module::{
    BIAS, CODE_SVMA, FRAMES_SVMA, FakeModule, HEADER_SVMA, MAX_FRAMES, MAX_STACK_WORDS,
};
use libfuzzer_sys::fuzz_target;

const MAX_CODE_BYTES: usize = 4096;

/// A piece of code.
#[derive(Debug, Arbitrary)]
enum Piece {
    PushRbp,
    PopRbp,
    SetRbp,
    SubRsp(u8),
    AddRsp(u8),
    SubLarge(i32),
    LeaRspRbp(i8),
    LeaR11(i32),
    CompareR11,
    Leave,
    Return,
    Call,
    CallRegister,
    JumpRegister,
    Jump(i8),
    Branch(i8),
    NotEqual(i8),
    Syscall,
    Nop,
    Raw(Vec<u8>),
}

fn code(pieces: &[Piece]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::PushRbp => out.push(0x55),
            Piece::PopRbp => out.push(0x5d),
            Piece::SetRbp => out.extend_from_slice(&[0x48, 0x89, 0xe5]),
            Piece::SubRsp(by) => out.extend_from_slice(&[0x48, 0x83, 0xec, *by]),
            Piece::AddRsp(by) => out.extend_from_slice(&[0x48, 0x83, 0xc4, *by]),
            Piece::SubLarge(by) => {
                out.extend_from_slice(&[0x48, 0x81, 0xec]);
                out.extend_from_slice(&by.to_le_bytes());
            }
            Piece::LeaRspRbp(by) => out.extend_from_slice(&[0x48, 0x8d, 0x65, *by as u8]),
            Piece::LeaR11(by) => {
                out.extend_from_slice(&[0x4c, 0x8d, 0x9c, 0x24]);
                out.extend_from_slice(&by.to_le_bytes());
            }
            Piece::CompareR11 => out.extend_from_slice(&[0x4c, 0x39, 0xdc]),
            Piece::Leave => out.push(0xc9),
            Piece::Return => out.push(0xc3),
            Piece::Call => out.extend_from_slice(&[0xe8, 0, 0, 0, 0]),
            Piece::CallRegister => out.extend_from_slice(&[0xff, 0xd0]),
            Piece::JumpRegister => out.extend_from_slice(&[0xff, 0xe0]),
            Piece::Jump(by) => out.extend_from_slice(&[0xeb, *by as u8]),
            Piece::Branch(by) => out.extend_from_slice(&[0x74, *by as u8]),
            Piece::NotEqual(by) => out.extend_from_slice(&[0x75, *by as u8]),
            Piece::Syscall => out.extend_from_slice(&[0x0f, 0x05]),
            Piece::Nop => out.push(0x90),
            Piece::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
    out.truncate(MAX_CODE_BYTES);
    out
}

/// A word of the stack, or a register.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Word {
    Any(u64),
    Code(u16),
    Stack(u16),
}

#[derive(Debug, Arbitrary)]
struct Input {
    functions: Vec<Function>,
    changes: Vec<(u16, u8)>,
    code: Vec<Piece>,
    /// The code cannot be read from here on.
    unreadable: u16,
    pc: Word,
    sp: Word,
    stack: Vec<Word>,
    /// The window of the walk before this one ends here.
    cut: u16,
}

/// A module, and its code.
fn module(input: &Input) -> (FakeModule, Vec<u8>) {
    let code = code(&input.code);
    let functions = &input.functions[..input.functions.len().min(8)];
    let mut image = image(functions, HEADER_SVMA, FRAMES_SVMA, CODE_SVMA);
    image.change(&input.changes);
    let readable = match usize::from(input.unreadable) {
        at if at < code.len() && input.unreadable & 1 == 1 => at,
        _ => code.len(),
    };
    let module = FakeModule::new(image, code.len() as u64, code[..readable].to_vec());
    (module, code)
}

fn walk(
    walker: &mut Walker,
    modules: &FakeModule,
    (pc, sp): (u64, u64),
    window: &mut Window<'_>,
) -> (Vec<Found>, StackEnd) {
    let mut frames = Vec::new();
    let end = walker.walk_parked(modules, pc, sp, window, |found| {
        if frames.len() == MAX_FRAMES {
            return false;
        }
        frames.push(found);
        true
    });
    assert!(!frames.is_empty() && frames.len() <= MAX_FRAMES);
    assert!(frames.iter().all(|frame| frame.certainty == Certainty::Exact));
    assert_ne!(end, StackEnd::Guessed);
    (frames, end)
}

fuzz_target!(|input: Input| {
    let (modules, code) = module(&input);
    if let Some(decoded) = decode(&code) {
        assert!((1..=15).contains(&decoded.length));
    }
    let stack = &input.stack[..input.stack.len().min(MAX_STACK_WORDS)];
    let base = 0x7fff_1234_5000_u64;
    let word = |word: &Word| match *word {
        Word::Any(value) => value,
        Word::Code(at) => BIAS + CODE_SVMA + u64::from(at) % (code.len() as u64 + 1),
        Word::Stack(at) => base + u64::from(at) % (stack.len() as u64 * 8 + 16),
    };
    let bytes: Vec<u8> = stack.iter().flat_map(|each| word(each).to_ne_bytes()).collect();
    let start = (word(&input.pc), word(&input.sp));
    let mut window = Window { base, bytes: &bytes };
    let mut shorter = Window { base, bytes: &bytes[..usize::from(input.cut).min(bytes.len())] };

    let mut walker = Walker::new();
    let fresh = walk(&mut walker, &modules, start, &mut window);
    assert_eq!(walk(&mut walker, &modules, start, &mut window), fresh);
    let mut used = Walker::new();
    walk(&mut used, &modules, start, &mut shorter);
    assert_eq!(walk(&mut used, &modules, start, &mut window), fresh);

    // Every place, also where no walk comes by; asked in two orders.
    let mut context = Context::new_in();
    let first = BIAS + CODE_SVMA;
    let places =
        (first..=first + (code.len() as u64).min(64)).flat_map(|pc| [(pc, false), (pc, true)]);
    let mut ask = |analyser: &mut Analyser, (pc, is_interrupted): (u64, bool)| {
        let certainty = Certainty::Exact;
        let found = Found { pc, certainty, is_signal_frame: false, is_interrupted };
        analyser.standing(&modules, &found, &mut context)
    };
    let (mut forwards, mut backwards) = (Analyser::new(), Analyser::new());
    let answers: Vec<_> = places.clone().map(|place| ask(&mut forwards, place)).collect();
    let places: Vec<_> = places.collect();
    for (place, answer) in places.iter().zip(&answers).rev() {
        assert_eq!(ask(&mut backwards, *place), *answer);
    }
});
