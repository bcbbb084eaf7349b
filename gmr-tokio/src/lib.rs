//! Green Threads for Guru Meditation Reports.
#![deny(unsafe_code)]
// loom's types cannot be in statics: its tests build the protocols by themselves.
#![cfg(not(loom))]

#[cfg(gmr_engine)]
mod collect;
#[cfg(gmr_engine)]
mod memory;
#[cfg(gmr_engine)]
mod runtimes;
#[cfg(gmr_engine)]
mod section;
mod setup;
#[cfg(gmr_engine)]
mod stall;
#[cfg(gmr_engine)]
mod table;
#[cfg(gmr_engine)]
mod text;
#[cfg(gmr_engine)]
mod threads;
mod tracked;
#[cfg(feature = "waker-trace")]
mod waker_trace;
#[cfg(gmr_engine)]
mod walk;
#[cfg(gmr_engine)]
mod workers;

pub use gmr_std::*;
pub use setup::{
    NotReady, Options, RegisterRuntimeError, register, register_local_set, setup_autorun,
    wait_until_ready,
};
#[cfg(gmr_engine)]
pub use stall::{StallWatch, StallWatchError, stall_watch};
pub use tracked::{
    Tracked, TrackedExt, spawn, spawn_local, spawn_local_named, spawn_named, time_polls,
};
#[cfg(feature = "waker-trace")]
pub use waker_trace::trace_wakers;
