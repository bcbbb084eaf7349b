//! A signal trampoline as musl has it, without call frame information: known by
//! its bytes, in a handler that the kernel called.
#![expect(unsafe_code, reason = "a signal handler with a trampoline of its own")]

use core::ffi::{c_int, c_void};
use std::sync::Mutex;
use std::vec::Vec;

use super::super::live::LiveStack;
use super::super::modules::Table;
use super::super::rules::{Context, judge};
use super::*;

// A byte in front, as in musl: a debugger looks one byte back.
core::arch::global_asm!(
    ".pushsection .text",
    "nop",
    ".globl gmr_test_trampoline",
    ".type gmr_test_trampoline, @function",
    "gmr_test_trampoline:",
    "mov rax, 15",
    "syscall",
    "ud2",
    ".popsection",
);

unsafe extern "C" {
    fn gmr_test_trampoline();
}

/// `struct kernel_sigaction`, as rt_sigaction(2) takes it.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SA_RESTORER: u64 = 0x0400_0000;

static WALKED: Mutex<Option<(Vec<Found>, StackEnd)>> = Mutex::new(None);

/// Called by a signal that its thread sends to itself: it may allocate.
extern "C" fn walk_own_stack(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let (pc, sp, fp): (u64, u64, u64);
    // SAFETY: reads registers.
    unsafe {
        core::arch::asm!(
            "lea {pc}, [rip]",
            "mov {sp}, rsp",
            "mov {fp}, rbp",
            pc = out(reg) pc,
            sp = out(reg) sp,
            fp = out(reg) fp,
        );
    }
    let mut frames = Vec::new();
    let mut memory = LiveStack::new();
    let end =
        Walker::new().walk(&Table::collect(), Registers { pc, sp, fp }, &mut memory, |found| {
            frames.push(found);
            true
        });
    *WALKED.lock().unwrap() = Some((frames, end));
}

#[inline(never)]
fn raise(signal: c_int) {
    let (pid, tid) = (crate::sys::getpid(), crate::sys::gettid());
    // SAFETY: to this thread, which has a handler.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
    assert_eq!(core::hint::black_box(sent), 0);
}

#[test]
fn a_trampoline_without_information_is_known_by_its_bytes() {
    let signal = libc::SIGRTMIN() + 9;
    let trampoline = gmr_test_trampoline as *const () as u64;
    let action = KernelAction {
        handler: walk_own_stack as *const () as usize,
        flags: SA_RESTORER | libc::SA_SIGINFO as u64,
        restorer: trampoline as usize,
        mask: 0,
    };
    // SAFETY: a whole structure, and a handler that is written for it.
    let set = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::c_long::from(signal),
            &raw const action,
            core::ptr::null_mut::<c_void>(),
            8_usize,
        )
    };
    assert_eq!(set, 0);
    let table = Table::collect();
    let (bias, info) = table.lookup(trampoline).unwrap();
    let rule = judge(&info.unwrap(), trampoline - bias, &mut Context::new_in());
    assert!(matches!(rule, Rule::Uncovered | Rule::Refused), "{rule:?}");

    raise(signal);
    let (frames, end) = WALKED.lock().unwrap().take().unwrap();
    assert_eq!(end, StackEnd::Complete);
    assert!(frames.iter().all(|frame| frame.certainty == Certainty::Exact));
    let at = frames.iter().position(|frame| frame.is_signal_frame).unwrap();
    assert_eq!(frames[at].pc, trampoline);
    assert!(at >= 1 && frames[at + 1].is_interrupted);
    let mut context = Context::new_in();
    let raises = raise as *const () as u64;
    let (bias, info) = table.lookup(raises).unwrap();
    let range = rules::rows(&info.unwrap(), raises - bias, &mut context, |_| true).unwrap();
    // The interrupted call lies in libc; the function that made it is above.
    assert!(frames[at + 1..].iter().any(|frame| range.contains(&(frame.pc - bias))));
}
