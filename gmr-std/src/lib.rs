//! Guru Meditation Reports for std daemons: `kill -USR2 PID`, and a live
//! process writes a report about itself and carries on.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] struct Config { workers: u32 }
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     gmr_std::arm(); // an early kill -USR2 is remembered, not fatal
//!     let config = Config { workers: 4 };
//!     gmr_std::setup_autorun(gmr_std::package!())
//!         .service_name("heat-api")
//!         .conf(&config) // any Serialize; secrets are masked
//!         .install()?;
//!     // serve…
//!     Ok(())
//! }
//! ```
//!
//! The report goes to stderr: Package, Threads (every thread with its stack),
//! Processes, Configuration, and the program's own sections
//! ([`Setup::register_signal_safe_section`]).
//!
//! # What runs where
//!
//! The trigger's action is two atomic steps and a futex wake. Reports are
//! composed by a parked thread of ours on its own stack, without allocating,
//! locking or touching stdio: they come also while the allocator's lock is
//! held for ever. A second such thread takes over when the first is stuck in a
//! section. Application threads spend a few microseconds each, to copy the top
//! of their own stacks; they are never stopped.
//!
//! # Cost at rest
//!
//! Three parked threads, no timers, and these descriptors: the destination
//! (three times), /dev/null, the executable.
//!
//! # Limitations
//!
//! - Linux on x86_64. Elsewhere everything compiles and setup returns an error.
//! - A capture interrupts each thread once: calls that the kernel never
//!   restarts (`epoll_wait`, `poll`, `nanosleep`, … see signal(7)) return
//!   `EINTR`.
//! - Ordinary sections (closures that may allocate and lock), file and line of
//!   frames, and files as destinations are not there yet.

mod config;
mod error;
mod handle;
#[cfg(gmr_engine)]
mod platform;
#[cfg(not(gmr_engine))]
#[path = "unsupported.rs"]
mod platform;
mod setup;

pub use config::{ConfigCell, ConfigError, Secret};
pub use error::SetupError;
pub use gmr_core::{
    Options, Package, RegisterError, Reporter, Requester, SectionError, SectionResult,
    SectionWriter, SetupError as CoreSetupError, Signal, SignalSafeSection, Stats, Stop,
    ViewKind as View, arm, package,
};
pub use handle::Handle;
pub use setup::{Setup, setup_autorun};
