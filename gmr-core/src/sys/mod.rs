//! Everything said to the kernel that rustix does not say for us, and the
//! small wrappers that give its words our units. Nothing raw leaves this
//! folder.
//!
//! All of it is async-signal-safe unless a function says otherwise: raw system
//! calls, no allocation, no lock. `libc` functions that set `errno` are only
//! used under [`errno::Saved`].

pub(crate) mod clock;
pub(crate) mod errno;
pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod signal;
#[cfg(feature = "signal")]
pub(crate) mod stack;
#[cfg(feature = "stacks")]
pub(crate) mod vm;

/// This thread's id (gettid(2)).
pub(crate) fn gettid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// This process's id (getpid(2)), never cached: a fork must be noticed.
pub(crate) fn getpid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().cast_unsigned()
}
