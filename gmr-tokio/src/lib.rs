//! Green Threads for Guru Meditation Reports: **not there yet**.
//!
//! This crate will add every task of a tokio runtime to the report, with its
//! await-point stack decoded in memory and never polled. Until it does, it is
//! an honest stub: it re-exports [`gmr_std`], so that a tokio service has the
//! native report (all threads, the runtime's workers included) with the
//! dependency it will keep.
//!
//! There is no "Green Threads" section in a report made through this crate.
#![forbid(unsafe_code)]

pub use gmr_std::*;
