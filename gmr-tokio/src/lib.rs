//! Green Threads for Guru Meditation Reports.
#![deny(unsafe_code)]
// loom's types cannot be in statics: its tests build the protocols by themselves.
#![cfg(not(loom))]

mod collect;
mod memory;
mod runtimes;
mod section;
mod setup;
mod stall;
mod table;
mod threads;
mod tracked;
mod walk;
mod workers;

pub use gmr_std::*;
pub use tracked::{
    Tracked, TrackedExt, spawn, spawn_local, spawn_local_named, spawn_named, time_polls,
};
