//! Threads inside of signal handlers.

use std::ffi::c_int;
use std::hint::black_box;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::io::pipe;
use crate::rest::{Kind, arrive, is_over};

pub(crate) const KINDS: &[Kind] = &[
    ("handler", handler),
    ("handler_alt", handler_alt),
    ("handler_nested", handler_nested),
    ("handler_fault", handler_fault),
    ("handler_segv", handler_segv),
];

/// Room for the frames of several signals.
const ALTERNATE_STACK_BYTES: usize = 128 * 1024;

/// A pipe that nobody writes to.
static PIPE: AtomicI32 = AtomicI32::new(-1);

fn install(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    if PIPE.load(Ordering::Acquire) < 0 {
        let [reader, writer] = pipe().map(IntoRawFd::into_raw_fd);
        let _stays_open = writer;
        PIPE.store(reader, Ordering::Release);
    }
    // SAFETY: all bytes zero is a valid action.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = flags | libc::SA_RESTART;
    // SAFETY: a valid action with an async-signal-safe handler.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) }, 0);
}

/// Waits as a handler may.
#[inline(never)]
fn read_for_ever() -> u64 {
    let mut byte = 0_u8;
    arrive();
    while !is_over() {
        // SAFETY: room for one byte.
        unsafe { libc::read(PIPE.load(Ordering::Acquire), (&raw mut byte).cast(), 1) };
    }
    black_box(u64::from(byte))
}

extern "C" fn reading_handler(signal: c_int) {
    black_box(read_for_ever() + signal as u64);
}

#[inline(never)]
fn raise(signal: c_int) -> u64 {
    // SAFETY: there is a handler.
    black_box(unsafe { libc::raise(signal) }) as u64
}

fn handler() {
    install(libc::SIGUSR1, reading_handler, 0);
    black_box(raise(libc::SIGUSR1));
}

fn handler_alt() {
    let memory = Vec::leak(vec![0_u8; ALTERNATE_STACK_BYTES]);
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: memory that stays.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) }, 0);
    install(libc::SIGHUP, reading_handler, libc::SA_ONSTACK);
    black_box(raise(libc::SIGHUP));
}

extern "C" fn raising_handler(_: c_int) {
    black_box(raise(libc::SIGVTALRM));
}

fn handler_nested() {
    install(libc::SIGVTALRM, reading_handler, 0);
    install(libc::SIGALRM, raising_handler, 0);
    black_box(raise(libc::SIGALRM));
}

/// The interrupted instruction is the first of its line and of its function:
/// one less would be another function.
#[inline(never)]
fn undefined(value: u64) -> u64 {
    // SAFETY: raises SIGILL, which has a handler that never returns.
    unsafe { core::arch::asm!("ud2", in("rax") value, options(noreturn)) }
}

/// A thread that meets an undefined instruction stays in a handler.
pub(crate) fn handle_faults() {
    install(libc::SIGILL, reading_handler, 0);
}

fn handler_fault() {
    handle_faults();
    black_box(undefined(black_box(1)));
}

#[inline(never)]
fn read_nothing(address: *const u64) -> u64 {
    // SAFETY: raises SIGSEGV, which has a handler that never returns.
    unsafe { address.read_volatile() }
}

/// On the alternate stack that std gives each thread.
fn handler_segv() {
    install(libc::SIGSEGV, reading_handler, libc::SA_ONSTACK);
    black_box(read_nothing(black_box(core::ptr::dangling())));
}
