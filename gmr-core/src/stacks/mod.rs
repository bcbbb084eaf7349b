//! Every thread's stack: modules, windows, unwinding.
//!
//! The handler of the capture signal copies registers and a window of its own
//! stack; the supervisor unwinds the copy. Nothing is unwound in signal context
//! of an application thread, and no thread is ever stopped.

pub mod call_site;
#[cfg(gmr_engine)]
pub(crate) mod collect;
#[cfg(gmr_engine)]
pub(crate) mod fresh;
#[cfg(all(gmr_engine, any(test, feature = "passive")))]
#[cfg_attr(not(feature = "passive"), allow(dead_code, reason = "tests use a part of it"))]
pub(crate) mod live;
#[cfg(gmr_engine)]
pub(crate) mod modules;
#[cfg(all(gmr_engine, feature = "passive"))]
mod parked;
#[cfg(feature = "passive")]
pub mod passive;
pub mod rules;
pub mod signal_frame;
#[cfg(test)]
pub(crate) mod testing;
pub mod unwind;
pub mod window;
