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
mod ids;
pub(crate) mod memory;
mod robust;
pub(crate) mod scheduler;
pub(crate) mod signal;
#[cfg(feature = "signal")]
pub(crate) mod stack;
pub(crate) mod vm;

pub(crate) use ids::{getpid, gettid, is_gone};
pub(crate) use robust::robust_list;
