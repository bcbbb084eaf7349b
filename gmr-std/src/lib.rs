//! Guru Meditation Reports for std daemons: `kill -USR2 PID`, and a live
//! process writes a report about itself and carries on.
//!
//! # Quick start
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
//! ([`Setup::register_signal_safe_section`]). [`Setup::view`] chooses JSON.
//! What [`install`](Setup::install) returns is a [`Handle`] without a
//! destructor: keep it for [`Handle::set_conf`] and [`Handle::stats`], or drop
//! it.
//!
//! # Configuration and secrets
//!
//! A configuration is flattened and masked when it is set ([`Setup::conf`],
//! [`Handle::set_conf`]), never while a report is written. It is shown as
//! `***`
//!
//! - what has the type [`Secret<T>`], for this crate's serializer only;
//! - what stands under a key that names a secret (`db_password`, `apiKey`),
//!   whatever its type, unless the key only describes one (`token_ttl`,
//!   `password_file`, `max_tokens`);
//! - everything below a map that says of itself that it holds secrets
//!   (`secrets`, `credentials`, `api_tokens`). A map that is merely named after
//!   one, such as `keystone_authtoken`, is a component's settings: inside it
//!   each key is judged by itself;
//! - the secret part of any text: passwords in URLs, `password=…`, `Bearer …`,
//!   private keys.
//!
//! [`gmr_core::redact`] has the rules. All but the first are heuristics: give
//! secrets the type [`Secret<T>`].
//!
//! # What runs where
//!
//! The trigger's action is two atomic steps and a futex wake. It is registered
//! with signal-hook-registry, so other users of the same signal keep getting
//! it. Reports are composed by a parked thread of ours on its own stack,
//! without allocating, locking or touching stdio: they come also while the
//! allocator's lock is held for ever. A second such thread takes over when the
//! first is stuck in a section. Application threads spend some microseconds
//! each, to copy the top of their own stacks; they are never parked, and never
//! compose a report.
//!
//! # Signal safety
//!
//! Nothing of this crate needs to be called from a signal handler, and only
//! [`Reporter::request`](Reporter#method.request) may be. A
//! [`SignalSafeSection`] promises to keep the rules of its contract.
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
//! - One setup at a time in a process, and one configuration.
//! - Ordinary sections (closures that may allocate and lock), file and line of
//!   frames, and report files are not there yet. (A descriptor that the program
//!   opened is a destination.)
//! - [The core's limitations](gmr_core#limitations) hold here too.

mod config;

// Under `--cfg loom` only the configuration's protocol is built: loom's types
// cannot be in a static.
#[cfg(not(loom))]
mod environment;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod handle;
#[cfg(all(gmr_engine, not(loom)))]
mod installed;
#[cfg(all(gmr_engine, not(loom)))]
mod lines;
#[cfg(all(gmr_engine, not(loom)))]
mod platform;
#[cfg(all(not(gmr_engine), not(loom)))]
#[path = "unsupported.rs"]
mod platform;
#[cfg(not(loom))]
mod recorded;
#[cfg(not(loom))]
mod scheduling;
#[cfg(not(loom))]
mod section;
#[cfg(not(loom))]
mod setup;
#[cfg(all(gmr_engine, not(loom)))]
mod source_lines;
#[cfg(any(gmr_engine, loom))]
mod workers;

pub use config::{ConfigCell, ConfigError, Exposed, Secret, Table, TableRow, expose};
#[cfg(not(loom))]
pub use error::SetupError;
pub use gmr_core::redact::{Pattern, Redaction};
pub use gmr_core::{
    Exclude, Options, Package, RegisterError, Reporter, Requester, SectionError, SectionId,
    SectionResult, SectionWriter, SetupError as CoreSetupError, Signal, SignalSafeSection, Stats,
    Stop, UnregisterError, ViewKind as View, arm, package,
};
#[cfg(not(loom))]
pub use handle::Handle;
#[cfg(not(loom))]
pub use scheduling::{Scheduling, SchedulingError};
#[cfg(not(loom))]
pub use setup::{Setup, setup_autorun};
