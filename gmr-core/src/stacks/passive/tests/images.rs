//! Functions written by hand, each with its disassembly: what the analyser
//! proves, what it refuses, and how a parked thread's walk ends.

use std::vec::Vec;

use super::super::analyse::{Analyser, Standing};
use crate::model::{Certainty, StackEnd};
use crate::stacks::rules::Context;
use crate::stacks::signal_frame::x86_64::TRAMPOLINE;
use crate::stacks::testing::{Function, Image, LENGTH};
use crate::stacks::unwind::{Found, Walker};
use crate::stacks::window::Window;

const STACK: u64 = 0x7000_0000;

/// push rbp; mov rbp, rsp: CFA = rsp + 8, rsp + 16 from 1 on, rbp + 16 from 4.
const FRAMED: [u8; 8] = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6];

/// One function with a frame pointer, whose code is this; int3 up to its end.
fn framed(code: &[u8]) -> Image {
    with_rows(&FRAMED, code)
}

fn with_rows(rows: &[u8], code: &[u8]) -> Image {
    let mut image = Image::new(&[Function::Plain(rows)]);
    assert!(code.len() as u64 <= LENGTH);
    image.code.fill(0xcc);
    image.code[..code.len()].copy_from_slice(code);
    image
}

fn standing(image: &Image, at: u64, is_interrupted: bool) -> Option<Standing> {
    let pc = Image::at(0, at);
    let found = Found { pc, certainty: Certainty::Exact, is_signal_frame: false, is_interrupted };
    Analyser::new().standing(image, &found, &mut Context::new_in())
}

/// In front of the call that ends at `at`.
fn before_call(image: &Image, at: u64) -> Option<Standing> {
    standing(image, at, false)
}

fn proven(sp: i32) -> Option<Standing> {
    Some(Standing { sp, bp: Some(-16) })
}

#[test]
fn a_frame_is_measured() {
    // push rbp; mov rbp, rsp; push rbx; sub rsp, 24; call rax
    let code = [0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 24, 0xff, 0xd0];
    let image = framed(&code);
    assert_eq!(before_call(&image, 11), proven(-16 - 8 - 24));
    // An interrupted instruction: the state in front of it.
    assert_eq!(standing(&image, 0, true), Some(Standing { sp: -8, bp: None }));
    assert_eq!(standing(&image, 1, true), Some(Standing { sp: -16, bp: None }));
    assert_eq!(standing(&image, 4, true), proven(-16));
    assert_eq!(standing(&image, 9, true), proven(-48));
    // Not at an instruction's beginning, not behind a call.
    assert_eq!(standing(&image, 2, true), None);
    assert_eq!(before_call(&image, 9), None);
    assert_eq!(before_call(&image, 10), None);
}

#[test]
fn what_the_code_computes_has_no_answer() {
    // push rbp; mov rbp, rsp; sub rsp, rax; call rax
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x29, 0xc4, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 9), None);
    // push rbp; mov rbp, rsp; and rsp, -64; call rax
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xc0, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 10), None);
}

#[test]
fn paths_have_to_agree() {
    // push rbp; mov rbp, rsp; je +1; push rbx; call rax
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x74, 1, 0x53, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 9), None);
    // The same with a nop.
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x74, 1, 0x90, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 9), proven(-16));
    // push rbp; mov rbp, rsp; L: push rbx; jmp L
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x53, 0xeb, 0xfd]);
    assert_eq!(standing(&image, 4, true), None);
}

#[test]
fn rbp_has_to_be_what_the_information_says() {
    // push rbp; lea rbp, [rsp + 8]; call rax: the code says CFA - 8.
    let image = framed(&[0x55, 0x48, 0x8d, 0x6c, 0x24, 8, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 8), Some(Standing { sp: -16, bp: Some(-8) }));
    let (frames, end) = walk(&image, Image::at(0, 6), STACK, &[0; 8]);
    assert_eq!((frames.len(), end), (1, StackEnd::FramePointerUnknown));
    // mov ebp, eax in between: not known at all.
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x89, 0xc5, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 8), Some(Standing { sp: -16, bp: None }));
}

#[test]
fn a_part_of_a_function_is_refused() {
    // gcc's .cold: the first row counts from rbp, or from rsp with more on it.
    let code = [0x90, 0xff, 0xd0];
    assert_eq!(before_call(&with_rows(&[], &code), 3), Some(Standing { sp: -8, bp: None }));
    for rows in [&[0x0c, 6, 16][..], &[0x0e, 48], &[0x0e, 16, 0x86, 2]] {
        assert_eq!(before_call(&with_rows(rows, &code), 3), None, "{rows:x?}");
    }
}

#[test]
fn nothing_leaks_over_a_call_that_does_not_return() {
    // push rbx; call rax (does not return); then foreign code, whose row says
    // CFA = rsp + 8: call rax.
    let rows = [0x41, 0x0e, 16, 0x42, 0x0e, 8];
    let image = with_rows(&rows, &[0x53, 0xff, 0xd0, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 3), Some(Standing { sp: -16, bp: None }));
    assert_eq!(before_call(&image, 5), None);
    // The row agrees: it returns.
    let image = with_rows(&[0x41, 0x0e, 16], &[0x53, 0xff, 0xd0, 0xff, 0xd0]);
    assert_eq!(before_call(&image, 5), Some(Standing { sp: -16, bp: None }));
}

#[test]
fn what_is_learnt_late_follows_over_calls() {
    // mov rbp, rsp; je L; xor ebp, ebp; L: call rax; call rax. By one path rbp
    // is lost. Row: CFA = rsp + 8 all along, so that the call is followed.
    let code = [0x48, 0x89, 0xe5, 0x74, 2, 0x31, 0xed, 0xff, 0xd0, 0xff, 0xd0];
    let image = with_rows(&[], &code);
    assert_eq!(before_call(&image, 9), Some(Standing { sp: -8, bp: None }));
    assert_eq!(before_call(&image, 11), Some(Standing { sp: -8, bp: None }));
}

#[test]
fn code_that_only_a_table_leads_to() {
    // push rbp; mov rbp, rsp; push rbx; jmp rax; then: call rcx
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0x53, 0xff, 0xe0, 0xff, 0xd1]);
    assert_eq!(before_call(&image, 9), proven(-24));
    // A call with another stack pointer: they do not agree.
    let image = framed(&[0x55, 0x48, 0x89, 0xe5, 0xff, 0xd0, 0x53, 0xff, 0xe0, 0xff, 0xd1]);
    assert_eq!(before_call(&image, 11), None);
}

#[test]
fn a_stack_probe_is_followed() {
    // As rustc writes it, in two functions' length: push rbp; mov rbp, rsp;
    // lea r11, [rsp - 0x4000]; L: sub rsp, 0x1000; mov [rsp], 0;
    // cmp rsp, r11; jne L; call rax
    let code = [
        0x55, 0x48, 0x89, 0xe5, 0x4c, 0x8d, 0x9c, 0x24, 0, 0xc0, 0xff, 0xff, // lea
        0x48, 0x81, 0xec, 0, 0x10, 0, 0, // sub
        0x48, 0xc7, 0x04, 0x24, 0, 0, 0, 0, // mov
        0x4c, 0x39, 0xdc, 0x75, 0xec, // cmp, jne
        0xff, 0xd0,
    ];
    let mut image = Image::of_lengths(&[Function::Plain(&FRAMED)], 64);
    image.code[..code.len()].copy_from_slice(&code);
    assert_eq!(before_call(&image, code.len() as u64), proven(-16 - 0x4000));
    // In the loop rsp is not one offset.
    assert_eq!(standing(&image, 12, true), None);
}

fn walk(image: &Image, pc: u64, sp: u64, words: &[u64]) -> (Vec<Found>, StackEnd) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let mut frames = Vec::new();
    let mut window = Window { base: STACK, bytes: &bytes };
    let end = Walker::new().walk_parked(image, pc, sp, &mut window, |found| {
        frames.push(found);
        frames.len() < 16
    });
    (frames, end)
}

fn pcs(frames: &[Found]) -> Vec<u64> {
    frames.iter().map(|frame| frame.pc).collect()
}

/// 0: `syscall; ret`; 1: a frame pointer and 8 bytes; 2: restores rbp by
/// CFA = rsp + 32; 3: the outermost one; 4: nothing covers it: a trampoline.
fn program() -> Image {
    let mut image = Image::new(&[
        Function::Plain(&[]),
        Function::Plain(&FRAMED),
        Function::Plain(&[0x0e, 32, 0x86, 2]),
        Function::Plain(&[0x07, 16]),
    ]);
    image.code.fill(0xcc);
    let mut write = |function: u64, code: &[u8]| {
        let at = (function * LENGTH) as usize;
        image.code[at..at + code.len()].copy_from_slice(code);
    };
    write(0, &[0x0f, 0x05, 0xc3]);
    // push rbp; mov rbp, rsp; push rax; call rax
    write(1, &[0x55, 0x48, 0x89, 0xe5, 0x50, 0xff, 0xd0]);
    write(2, &[0xff, 0xd0, 0x90, 0x90]);
    write(3, &[0x90, 0xff, 0xd0]);
    write(4, &TRAMPOLINE);
    image
}

#[test]
fn a_parked_stack() {
    let image = program();
    let (call, framed, saves, last) =
        (Image::at(0, 2), Image::at(1, 7), Image::at(2, 2), Image::at(3, 3));
    // Return of 0; [rax, rbp, return] of 1; [2 words, rbp, return] of 2.
    let words = [framed, 1, 2, saves, 3, 4, 5, last, 9];
    let (frames, end) = walk(&image, call, STACK, &words);
    assert_eq!((pcs(&frames), end), (Vec::from([call, framed, saves, last]), StackEnd::Complete));
    assert!(frames.iter().all(|frame| frame.certainty == Certainty::Exact));
    assert!(frames[0].is_interrupted && !frames[1].is_interrupted);
    // The saved rbp of 1 is nonsense (2), and was not needed.

    // A page fault: in the middle of 1, before the push.
    let words = [2, saves, 3, 4, 5, last, 9];
    let (frames, end) = walk(&image, Image::at(1, 4), STACK, &words);
    assert_eq!((pcs(&frames).len(), end), (3, StackEnd::Complete));
}

#[test]
fn each_return_address_follows_a_call() {
    let image = program();
    let call = Image::at(0, 2);
    // Into the middle of the function: no call ends there.
    for stale in [Image::at(1, 5), Image::at(2, 3), 0, 7, Image::at(3, 1)] {
        let (frames, end) = walk(&image, call, STACK, &[stale, 1, 2, 3, 4]);
        let expected = if stale == 0 { StackEnd::NoUnwindInfo } else { StackEnd::Inconsistent };
        assert_eq!((pcs(&frames), end), (Vec::from([call]), expected), "{stale:x}");
    }
}

#[test]
fn nothing_is_guessed() {
    let mut image = program();
    // Code that nothing covers: even with a call in front of the address.
    image.code[(5 * LENGTH) as usize..][..2].copy_from_slice(&[0xff, 0xd0]);
    let (call, uncovered, last) = (Image::at(0, 2), Image::at(5, 2), Image::at(3, 3));
    let (frames, end) = walk(&image, call, STACK, &[uncovered, last, last, last]);
    assert_eq!((pcs(&frames), end), (Vec::from([call, uncovered]), StackEnd::NoUnwindInfo));
    // Code that cannot be read.
    image.code.truncate(LENGTH as usize);
    let (frames, end) = walk(&image, call, STACK, &[Image::at(1, 7), 1, 2, 3]);
    assert_eq!((pcs(&frames), end), (Vec::from([call]), StackEnd::Inconsistent));
}

#[test]
fn a_signal_frame_gives_the_frame_pointer_back() {
    let image = program();
    // A handler (function 2) waits in 0; it was entered by the kernel.
    let (call, handler, trampoline) = (Image::at(0, 2), Image::at(2, 2), Image::at(4, 0));
    let (interrupted, last) = (Image::at(1, 4), Image::at(3, 3));
    let mut words = [0_u64; 64];
    words[0] = handler;
    words[4] = trampoline;
    let context = 5;
    let frame = 50;
    words[context + 15] = STACK + 8 * frame as u64;
    words[context + 20] = STACK + 8 * (frame as u64 - 1);
    words[context + 21] = interrupted;
    words[frame] = 0x0bad;
    words[frame + 1] = last;
    let (frames, end) = walk(&image, call, STACK, &words);
    assert_eq!(pcs(&frames), [call, handler, trampoline, interrupted, last]);
    assert_eq!(end, StackEnd::Complete);
    assert!(frames[2].is_signal_frame && frames[3].is_interrupted);
    // Without the trampoline's bytes it is code that nothing covers.
    let mut other = program();
    other.code[(4 * LENGTH) as usize] = 0xcc;
    let (frames, end) = walk(&other, call, STACK, &words);
    assert_eq!((frames.len(), end), (2, StackEnd::Inconsistent));
}

#[test]
fn earlier_walks_and_other_modules_change_nothing() {
    let image = program();
    let mut walker = Walker::new();
    let bytes: Vec<u8> = [Image::at(1, 7), 1, 2, Image::at(3, 3)]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let mut count = |image: &Image| {
        let mut frames = 0;
        let mut window = Window { base: STACK, bytes: &bytes };
        let end = walker.walk_parked(image, Image::at(0, 2), STACK, &mut window, |_| {
            frames += 1;
            true
        });
        (frames, end)
    };
    assert_eq!(count(&image), (3, StackEnd::Complete));
    assert_eq!(count(&image), (3, StackEnd::Complete));
    // The same addresses in a table of another generation: another frame.
    let mut other = program();
    other.generation += 1;
    let at = (LENGTH + 4) as usize;
    other.code[at..at + 3].copy_from_slice(&[0x90, 0xff, 0xd0]);
    assert_eq!(count(&other), (2, StackEnd::Inconsistent));
}
