//! The lock-free protocols between signal handlers, supervisors and the
//! program's threads. Each file is one protocol, free of system calls, and has
//! its loom model beside it:
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p gmr-core --release --lib loom_`

#[cfg_attr(loom, allow(dead_code, reason = "the engine is not there"))]
pub(crate) mod baton;
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "the engine is not there"))]
pub(crate) mod counted;
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "the engine is not there"))]
pub(crate) mod current;
#[cfg_attr(
    not(all(gmr_engine, feature = "signal")),
    allow(dead_code, reason = "supervisors are not there")
)]
pub(crate) mod named;
#[cfg_attr(
    not(all(gmr_engine, feature = "signal")),
    allow(dead_code, reason = "supervisors are not there")
)]
pub(crate) mod orders;
pub(crate) mod ownership;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod scopes;
#[cfg(any(feature = "stacks", loom, test))]
pub(crate) mod slots;
