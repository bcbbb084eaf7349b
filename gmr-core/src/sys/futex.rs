//! Waiting on a word (futex(2)), private to the process.
//!
//! [`wake`] is a plain system call: it runs in our handlers, and the layers of
//! a wrapper cost an unoptimised build a quarter of their stack budget.
//!
//! # Safety
//!
//! FUTEX_WAKE uses the word's address only as a name.
#![expect(unsafe_code, reason = "a raw system call")]

use core::sync::atomic::AtomicU32;

use rustix::thread::futex::{self, Flags};

use super::clock;

/// Sleeps while `word` is `expected`, at most `timeout_ns`. May return early
/// for any reason: look at the condition again.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout_ns: Option<u64>) {
    let timeout = timeout_ns.map(clock::timespec);
    // An error is a reason to look again, like any other early return.
    let _ = futex::wait(word, Flags::PRIVATE, expected, timeout.as_ref());
}

/// Sleeps for `duration_ns`, or less: a signal ends it.
pub(crate) fn rest(duration_ns: u64) {
    wait(&AtomicU32::new(0), 0, Some(duration_ns));
}

/// Wakes up to `count` threads that wait on `word`. May set `errno`.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    // SAFETY: the kernel does not touch the word; nothing to do on an error.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count,
        )
    };
}
