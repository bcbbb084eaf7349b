//! Who we are. Plain system calls: both run in our handlers, and the layers of
//! a wrapper cost an unoptimised build 400 bytes of the interrupted stack.
//!
//! # Safety
//!
//! gettid(2) and getpid(2) take nothing and cannot fail.
#![expect(unsafe_code, reason = "raw system calls")]

/// This thread's id (gettid(2)).
pub(crate) fn gettid() -> u32 {
    // SAFETY: see the module's page.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    id as u32
}

/// This process's id (getpid(2)), never cached: a fork must be noticed.
pub(crate) fn getpid() -> u32 {
    // SAFETY: see the module's page.
    let id = unsafe { libc::syscall(libc::SYS_getpid) };
    id as u32
}
