//! Who we are. Plain system calls: both run in our handlers, and the layers of
//! a wrapper cost an unoptimised build 400 bytes of the interrupted stack.
//!
//! # Safety
//!
//! gettid(2) and getpid(2) take nothing and cannot fail; tgkill(2) takes numbers.
#![expect(unsafe_code, reason = "raw system calls")]

/// This thread's id (gettid(2)).
pub(crate) fn gettid() -> u32 {
    // SAFETY: see the module's page.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    id as u32
}

/// Whether this process has no thread `tid` (any more). `false` in doubt.
pub(crate) fn is_gone(tid: u32) -> bool {
    let (process, thread) = (libc::c_long::from(getpid()), libc::c_long::from(tid));
    let no_signal: libc::c_long = 0;
    // SAFETY: signal 0 only looks whether there is such a thread (tgkill(2)).
    let found = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, no_signal) };
    found != 0 && super::errno::get() == libc::ESRCH
}

/// This process's id (getpid(2)), never cached: a fork must be noticed.
pub(crate) fn getpid() -> u32 {
    // SAFETY: see the module's page.
    let id = unsafe { libc::syscall(libc::SYS_getpid) };
    id as u32
}
