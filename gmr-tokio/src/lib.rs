//! Green Threads for Guru Meditation Reports.
#![deny(unsafe_code)]

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
