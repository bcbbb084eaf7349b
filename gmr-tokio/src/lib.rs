//! Guru Meditation Reports for tokio services: where each task waits, which thread
//! polls what, and which worker is blocked; in memory, on stable Rust and stable tokio,
//! without a lock, a poll or a stop.
//!
//! # Quick start
//!
//! ```no_run
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     gmr_tokio::setup_autorun(gmr_tokio::package!()).install()?; // this runtime included
//!     // serve…
//!     Ok(())
//! }
//! ```
//!
//! `kill -USR2 PID` writes what [`gmr_std`] writes, with two sections more:
//!
//! - **Green Threads**: every task, also those that libraries spawned and nobody
//!   wrapped, with the file and line of each `.await` it is suspended at, what it
//!   waits for in the end, and for which other task. Equal trees are one block.
//!   What cannot be decoded says why.
//! - **Runtime**: each runtime and each of its workers, with its thread, its task and
//!   whether it is parked, polling or *blocked*; blocked ones first, with their stacks.
//!   They are among the report's findings too.
//!
//! | the program wants | it uses |
//! |---|---|
//! | another runtime shown with all its metrics | [`register`] (others are found by their threads) |
//! | the tasks of a `LocalSet` | [`register_local_set`] |
//! | names, places of spawning, polls and times of tasks | [`spawn`], [`spawn_named`], [`TrackedExt`] |
//! | the future of `block_on` shown | [`TrackedExt::tracked`] |
//! | a report by itself when a worker is blocked | [`stall_watch`], [`Options::stall_watch`] |
//! | to know that all this works | [`wait_until_ready`] |
//!
//! # Debug information
//!
//! The layouts of futures come from the executable's debug information, or from an
//! *await table* that `gmr await-table` made of it before it was stripped.
//! `debug = "full"` (2) for the program's own crates is enough; dependencies need none:
//!
//! ```toml
//! [profile.release]
//! debug = "full"
//! [profile.release.package."*"]
//! debug = "line-tables-only" # or 0: then the stacks of threads lack their lines
//! ```
//!
//! A worker reads it in the background once the setup is done; a report that comes
//! before that waits for a part of its time, and says that the table is not ready.
//!
//! Where that is missing, reports say so, and show less:
//!
//! | there is | Green Threads shows |
//! |---|---|
//! | debug information of some of the program's crates | every task; of the others' futures that they are not decoded, and why |
//! | no table, and nothing to make it from | how many tasks are alive, which thread polls which, and [tracked](TrackedExt) futures without their trees |
//! | line tables only, the feature `waker-trace` | also the stack with which tracked futures began to wait |
//! | a self test that failed | nothing of that runtime's list, and the reason |
//!
//! *Runtime* and the findings of blocked workers need no debug information.
//!
//! # Is it right?
//!
//! A task is shown if it was read twice, and was the same. On each registered runtime a
//! task of ours parks at a known line after the setup: unless the list shows it there,
//! that runtime's tasks are not listed, and the reason is. A worker is called blocked
//! only if it was in the same poll each time it was looked at for
//! [`Options::threshold`].
//!
//! # Signal safety
//!
//! Both sections are signal-safe: nothing is allocated or locked, and memory of the
//! runtime is read by the kernel (process_vm_readv(2)). They are there while the
//! allocator's lock is held. Nothing of this crate is to be called by a handler.
//!
//! # Cost at rest
//!
//! None for each poll. The table (some tens of kilobytes), 48 bytes for each task of
//! the largest report so far. For a moment after the setup two small runtimes of our
//! own, to learn from.
//!
//! # Limitations
//!
//! - Linux on x86_64. On musl it is not known which thread polls what.
//! - tokio linked into the executable itself. With several copies of tokio, threads are
//!   known of the one that this crate uses.
//! - The future of `block_on` is in no list: it is seen if it is tracked, and when it
//!   blocks. Closures of `spawn_blocking` are known by the threads that run them; the
//!   queue of those that wait is not shown.
//! - Where a task was spawned is known of tracked ones; of others where its code is
//!   defined.
//! - A report is no instant: between two tasks of it lie milliseconds.
//! - A task of the runtime's that is being polled has no tree: its stack is its
//!   thread's, in Threads.
#![deny(unsafe_code)]
// loom's types cannot be in statics: its tests build the protocols by themselves.
#![cfg(not(loom))]

#[cfg(any(feature = "await-tree", feature = "tracing", feature = "taskdump"))]
pub mod adapters;
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
#[cfg(not(gmr_engine))]
#[path = "unsupported.rs"]
mod stall;
#[cfg(gmr_engine)]
mod table;
#[cfg(gmr_engine)]
mod text;
#[cfg(gmr_engine)]
mod threads;
#[cfg_attr(
    not(all(gmr_engine, feature = "waker-trace")),
    allow(dead_code, unused_imports, reason = "for reports, and for waker traces")
)]
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
pub use stall::{StallWatch, StallWatchError, stall_watch};
pub use tracked::{
    Tracked, TrackedExt, spawn, spawn_local, spawn_local_named, spawn_named, time_polls,
};
#[cfg(feature = "waker-trace")]
pub use waker_trace::trace_wakers;
#[cfg(all(gmr_engine, feature = "waker-trace"))]
pub use waker_trace::waker_traces;
#[cfg(all(fuzzing, gmr_engine))]
#[doc(hidden)]
pub use walk::fuzzing as fuzz_await_walk;
