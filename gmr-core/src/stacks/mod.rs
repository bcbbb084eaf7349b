//! Every thread's stack: modules, windows, unwinding.
//!
//! The handler of the capture signal copies registers and a window of its own
//! stack; the supervisor unwinds the copy. Nothing is unwound in signal context
//! of an application thread, and no thread is ever stopped.

#[cfg(gmr_engine)]
pub(crate) mod collect;
#[cfg(gmr_engine)]
pub(crate) mod fresh;
#[cfg(gmr_engine)]
pub(crate) mod modules;
pub mod rules;
#[cfg(test)]
pub(crate) mod testing;
pub mod unwind;
pub mod window;
