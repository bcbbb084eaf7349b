//! Stacks written by hand.

use super::super::testing::{Function, Image};
use super::super::window::Window;
use super::*;
use std::vec::Vec;

const STACK: u64 = 0x7000_0000;

/// 0: CFA = rsp + 16; 1: CFA = rbp + 16, saves rbp; 2: the outermost one;
/// 3: the signal frame.
fn image() -> Image {
    Image::new(&[
        Function::Plain(&[0x0e, 16]),
        Function::Plain(&[0x0c, 6, 16, 0x86, 2]),
        Function::Plain(&[0x07, 16]),
        Function::SignalFrame(&[]),
        Function::Plain(&[0x0e, 7]),
    ])
}

fn at(pc: u64, sp: u64, fp: u64) -> Registers {
    Registers { pc, sp, fp }
}

fn walk(start: Registers, base: u64, words: &[u64]) -> (Vec<Found>, StackEnd) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut frames = Vec::new();
    let end = Walker::new().walk(&image(), start, &mut Window { base, bytes: &bytes }, |found| {
        frames.push(found);
        frames.len() < 16
    });
    (frames, end)
}

fn pcs(frames: &[Found]) -> Vec<u64> {
    frames.iter().map(|frame| frame.pc).collect()
}

#[test]
fn a_whole_stack() {
    let (first, second, last) = (Image::at(0, 2), Image::at(1, 9), Image::at(2, 5));
    let frame = STACK + 24;
    let words = [1, second, 2, frame, last, 0];
    let (frames, end) = walk(at(first, STACK, frame), STACK, &words);
    assert_eq!((pcs(&frames), end), (Vec::from([first, second, last]), StackEnd::Complete));
    assert!(frames.iter().all(|frame| frame.certainty == Certainty::Exact));
    assert!(frames[0].is_interrupted && !frames[1].is_interrupted);
    assert_eq!(frames[1].lookup_address(), second - 1);
}

#[test]
fn a_call_as_last_instruction_is_looked_up_before_its_return_address() {
    // The return address is the first byte of the next function.
    let words = [1, Image::at(1, 0), 3, Image::at(2, 1)];
    let (frames, end) = walk(at(Image::at(0, 0), STACK, 0), STACK, &words);
    assert_eq!((frames.len(), end), (3, StackEnd::Complete));
}

#[test]
fn the_ends_of_the_window() {
    let pc = Image::at(0, 2);
    let (frames, end) = walk(at(pc, STACK, 0), STACK, &[1]);
    assert_eq!((frames.len(), end), (1, StackEnd::WindowFull { window_bytes: 8 }));
    let (frames, end) = walk(at(pc, STACK, 0), STACK, &[]);
    assert_eq!((frames.len(), end), (1, StackEnd::WindowFull { window_bytes: 0 }));
    // Another stack altogether, below the window.
    let (frames, end) = walk(at(pc, STACK - 4096, 0), STACK, &[1, 2]);
    assert_eq!((frames.len(), end), (1, StackEnd::Unreadable));
}

#[test]
fn the_limit_of_frames() {
    // A function that calls itself.
    let words: Vec<u64> = (0..64).map(|_| Image::at(0, 2)).collect();
    let (frames, end) = walk(at(Image::at(0, 2), STACK, 0), STACK, &words);
    assert_eq!((frames.len(), end), (16, StackEnd::FrameLimit { frames: 0 }));
}

#[test]
fn a_step_that_does_not_advance_ends_the_walk() {
    for fp in [0, 8, STACK - 16, u64::MAX - 8, u64::MAX] {
        let (frames, end) = walk(at(Image::at(1, 8), STACK, fp), STACK, &[1, 2, 3]);
        assert_eq!(frames.len(), 1);
        assert_eq!(end, StackEnd::Inconsistent, "{fp:x}");
    }
}

#[test]
fn a_stack_at_the_beginning_of_the_address_space() {
    // framehop's `new_sp - 8` is out of reach.
    for sp in 0..32 {
        for function in [0, 1, 4, 9] {
            for fp in [0, 1, 7, 8, 16, u64::MAX] {
                let start = at(Image::at(function, 2), sp, fp);
                let (frames, _) = walk(start, 0, &[Image::at(4, 3); 8]);
                assert!(!frames.is_empty());
            }
        }
    }
}

#[test]
fn a_guess_is_marked() {
    // Code of the module that no rule covers, interrupted at its beginning.
    let (caller, last) = (Image::at(0, 5), Image::at(2, 5));
    let (frames, end) = walk(at(Image::at(5, 0), STACK, 0), STACK, &[caller, 1, last]);
    assert_eq!((pcs(&frames)[1..].to_vec(), end), (Vec::from([caller, last]), StackEnd::Guessed));
    assert_eq!(frames[1].certainty, Certainty::FramePointer);
    assert_eq!(frames[2].certainty, Certainty::Exact);
    // Nothing to guess with.
    let (frames, end) = walk(at(Image::at(5, 0), STACK, 0), STACK, &[7, 7]);
    assert_eq!((frames.len(), end), (1, StackEnd::NoUnwindInfo));
}

#[test]
fn a_call_through_a_bad_pointer() {
    let (caller, last) = (Image::at(0, 5), Image::at(2, 5));
    for bad in [0, 1, 0xdead_beef, u64::MAX] {
        let (frames, end) = walk(at(bad, STACK, 0), STACK, &[caller, 1, last]);
        assert_eq!((pcs(&frames), end), (Vec::from([bad, caller, last]), StackEnd::Guessed));
        assert_eq!(frames[1].certainty, Certainty::FramePointer);
        let (frames, end) = walk(at(bad, STACK, 0), STACK, &[3, 1, last]);
        assert_eq!((frames.len(), end), (1, StackEnd::NoUnwindInfo));
    }
}

#[test]
fn a_signal_frame_is_stepped_by_hand() {
    // A handler in function 0, called by the kernel: it returns to the
    // first byte of the signal frame. Behind its return address lies the
    // ucontext, and above that the interrupted stack.
    let (interrupted, last) = (Image::at(1, 0), Image::at(2, 5));
    let frame = STACK + 8 * 40;
    let mut words = [0_u64; 48];
    words[1] = Image::at(3, 0);
    let context = 2;
    words[context + 15] = frame;
    words[context + 20] = STACK + 8 * 36;
    words[context + 21] = interrupted;
    words[40] = 0x0bad;
    words[41] = last;
    let (frames, end) = walk(at(Image::at(0, 3), STACK, 77), STACK, &words);
    assert_eq!(end, StackEnd::Complete);
    assert_eq!(pcs(&frames), [Image::at(0, 3), Image::at(3, 0), interrupted, last]);
    assert!(frames[1].is_signal_frame);
    assert_eq!(frames.iter().filter(|frame| frame.is_signal_frame).count(), 1);
    // An interrupted pc is looked up itself: here it is the function's
    // first byte.
    assert!(frames[2].is_interrupted && frames[2].certainty == Certainty::Exact);

    // The interrupted stack is another one.
    words[context + 20] = STACK - 0x10_0000;
    words[context + 15] = STACK - 0x10_0000;
    let (frames, end) = walk(at(Image::at(0, 3), STACK, 77), STACK, &words);
    assert_eq!((frames.len(), end), (3, StackEnd::Unreadable));
    // The frame is cut.
    let (frames, end) = walk(at(Image::at(0, 3), STACK, 77), STACK, &words[..12]);
    assert_eq!((frames.len(), end), (2, StackEnd::WindowFull { window_bytes: 96 }));
}

#[test]
fn earlier_walks_change_nothing() {
    let (first, second, last) = (Image::at(0, 2), Image::at(1, 9), Image::at(2, 5));
    let frame = STACK + 24;
    let bytes: Vec<u8> =
        [1, second, 2, frame, last, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let image = image();
    let mut walker = Walker::new();
    for cut in (0..=bytes.len()).chain([bytes.len()]) {
        let mut window = Window { base: STACK, bytes: &bytes[..cut] };
        let mut count = 0;
        let end = walker.walk(&image, at(first, STACK, frame), &mut window, |_| {
            count += 1;
            true
        });
        if cut >= 40 {
            assert_eq!((count, end), (3, StackEnd::Complete));
        }
    }
}

/// Code that nothing covers holds a trampoline: known by its bytes.
#[test]
fn a_trampoline_without_information() {
    use super::super::signal_frame::x86_64::TRAMPOLINE;
    let mut image = image();
    let at = 5 * super::super::testing::LENGTH as usize;
    image.code[at..at + TRAMPOLINE.len()].copy_from_slice(&TRAMPOLINE);
    let (interrupted, last) = (Image::at(1, 0), Image::at(2, 5));
    let mut words = [0_u64; 48];
    words[1] = Image::at(5, 0);
    let context = 2;
    words[context + 15] = STACK + 8 * 40;
    words[context + 20] = STACK + 8 * 36;
    words[context + 21] = interrupted;
    words[41] = last;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let walk = |image: &Image, start| {
        let mut frames = Vec::new();
        let mut window = Window { base: STACK, bytes: &bytes };
        let end = Walker::new().walk(image, start, &mut window, |found| {
            frames.push(found);
            frames.len() < 16
        });
        (frames, end)
    };
    let (frames, end) = walk(&image, at_handler());
    assert_eq!(end, StackEnd::Complete);
    assert_eq!(pcs(&frames), [Image::at(0, 3), Image::at(5, 0), interrupted, last]);
    assert!(frames[1].is_signal_frame && frames[2].is_interrupted);
    // Interrupted within the trampoline, between its two instructions.
    let start = Registers { pc: Image::at(5, 7), sp: STACK + 8 * context as u64, fp: 0 };
    let (frames, end) = walk(&image, start);
    assert_eq!((frames.len(), end), (3, StackEnd::Complete));
    // Bytes that call frame information covers are not looked at.
    image.code.rotate_left(16);
    words_are_a_guess(&walk(&image, at_handler()));

    fn at_handler() -> Registers {
        Registers { pc: Image::at(0, 3), sp: STACK, fp: 77 }
    }

    fn words_are_a_guess((frames, end): &(Vec<Found>, StackEnd)) {
        assert!(frames.iter().all(|frame| !frame.is_signal_frame));
        assert_eq!(*end, StackEnd::NoUnwindInfo);
    }
}

/// A guess that leads where no call ends is none.
#[test]
fn a_guess_follows_a_call() {
    let mut image = image();
    let (caller, last) = (Image::at(0, 5), Image::at(2, 5));
    let bytes: Vec<u8> = [caller, 1, last].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let walk = |image: &Image| {
        let mut frames = Vec::new();
        let mut window = Window { base: STACK, bytes: &bytes };
        let end = Walker::new().walk(image, at(Image::at(5, 0), STACK, 0), &mut window, |found| {
            frames.push(found.pc);
            true
        });
        (frames, end)
    };
    assert_eq!(walk(&image), (Vec::from([Image::at(5, 0), caller, last]), StackEnd::Guessed));
    // No longer a call in front of `caller`.
    image.code[..5].fill(0x90);
    assert_eq!(walk(&image), (Vec::from([Image::at(5, 0)]), StackEnd::NoUnwindInfo));
    // Where code cannot be read at all, nothing speaks against it.
    image.code.clear();
    assert_eq!(walk(&image).1, StackEnd::Guessed);
}
