//! Waiting on a word (futex(2)), private to the process.

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

/// Wakes up to `count` threads that wait on `word`.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let _ = futex::wake(word, Flags::PRIVATE, count);
}
