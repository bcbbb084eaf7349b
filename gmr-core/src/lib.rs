//! Guru Meditation Reports: the signal-safe core.
//!
//! A Guru Meditation Report is a snapshot that a *live* process writes about
//! itself when asked: `kill -USR2 PID`, and the process goes on. It shows every
//! thread with its stack, the process and its children, and sections of the
//! program's own, as text or JSON. The code that writes it never allocates,
//! never takes a lock and never waits without a deadline, so it also comes when
//! the program hangs.
//!
//! This crate is `no_std` and starts no thread. A daemon with the standard
//! library starts with `gmr-std`, which adds the threads, the configuration and
//! `setup_autorun` for a signal that others use too.
//!
//! # Quick start: in the handler
//!
//! The thread that gets the signal composes the report, in the signal handler,
//! on a stack of the report's own:
//!
//! ```no_run
//! # #[cfg(feature = "signal")] mod program {
//! use gmr_core::{Reporter, Signal};
//!
//! static GMR: Reporter = Reporter::new(gmr_core::package!());
//!
//! # pub
//! fn main() -> Result<(), gmr_core::SetupError> {
//!     gmr_core::arm(); // an early kill -USR2 is remembered, not fatal
//!     GMR.setup_autorun(Signal::Usr2)?;
//!     // serve…
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! That thread pays for the whole report. In a latency-critical program, block
//! the trigger in the threads that must not pay (`examples/core_only.rs` does),
//! or lend a thread.
//!
//! # Quick start: on a lent thread
//!
//! The handler only records the request and wakes a thread that waits in
//! [`Reporter::run`](Reporter#method.run):
//!
//! ```no_run
//! # #[cfg(feature = "signal")] mod program {
//! use gmr_core::{Reporter, Signal};
//!
//! static GMR: Reporter = Reporter::new(gmr_core::package!());
//!
//! # pub
//! fn main() -> Result<(), gmr_core::SetupError> {
//!     gmr_core::arm();
//!     GMR.setup_trigger(Signal::Usr2)?;
//!     std::thread::spawn(|| GMR.run());
//!     // serve…
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! With [`Options::supervisors`]`(2)` and two such threads, the second takes
//! over when the first is stuck in a section.
//!
//! # Sections
//!
//! A report has a head, Package, Threads, Processes, the sections of the
//! program, Modules, and an end block that says whether it is complete. Its last line is
//! `End of report N: complete` or `End of report N: incomplete (REASONS)`. A
//! section of your own implements [`SignalSafeSection`], reads atomics, and
//! writes through a [`SectionWriter`]; [`Reporter::register_section`] adds it.
//! Secrets in what it writes are masked ([`redact`] has the rules, and
//! [`Options::redaction`] adds to them), but for what it writes through
//! [`SectionWriter::exposed`].
//!
//! # Findings
//!
//! Behind the head stands what the collected facts prove to be abnormal: threads
//! that wait for each other, locks that several wait for, threads that cannot
//! run, limits that are near. [`model::FindingCode`] lists the kinds, what proves
//! each, and what to do.
//!
//! # Scopes
//!
//! A stack says where a thread is, not for whom. [`Scope::enter_with`] says it:
//! `request: GET /heat`, shown beside the thread's stack with its age, as long
//! as the guard lives. It allocates nothing and takes no lock, so it is for
//! latency-critical threads and signal handlers too.
//!
//! # Where reports go
//!
//! To stderr or another open descriptor ([`Options::destination_fd`]), handled
//! by its type so that it never blocks for long. A daemon that rotates its log
//! calls [`set_destination`](Reporter#method.set_destination), one that closes
//! its stderr [`release_destination`](Reporter#method.release_destination).
//! [`report_to_fd`](Reporter#method.report_to_fd) writes a report for a caller:
//! by a lent thread, apart from what is requested by signal.
//!
//! # Features
//!
//! | feature | adds | |
//! |---|---|---|
//! | none | model, views, [`redact`], Package and Processes, each thread's name and state; [`Reporter::report_here`](Reporter#method.report_here) for a handler of your own | no allocator is linked |
//! | `signal` (default) | the trigger's handler, [`arm`](fn@arm), both ways above | |
//! | `stacks` | every thread's stack | links `alloc`, for setup and refresh only |
//! | `passive` | the stacks of threads that are blocked, without a signal | a decoder of x86-64 |
//! | `symbols` | function names from the ELF symbol tables, demangled | |
//! | `full` | `stacks`, `passive` and `symbols` | |
//!
//! Features only add: none changes what a function does that is there without
//! it, but reports say more.
//!
//! # Signal safety
//!
//! - **Safe**: the handlers, [`Reporter::request`](Reporter#method.request),
//!   [`Reporter::report_here`](Reporter#method.report_here), and all that
//!   composes a report; entering and leaving a [`Scope`]. Threads are interrupted, never parked: each copies its
//!   registers and the top of its stack, and goes on. The composing thread
//!   unwinds the copies.
//! - **Your promise**: sections. [`SignalSafeSection`] is an `unsafe trait`
//!   whose contract lists the rules.
//! - **Not safe**: setup, [`Reporter::unregister_section`],
//!   [`Reporter::set_destination`](Reporter#method.set_destination),
//!   [`Reporter::release_destination`](Reporter#method.release_destination) and
//!   [`Reporter::report_to_fd`](Reporter#method.report_to_fd) (which wait), and
//!   `Reporter::refresh_modules` (which takes the loader's lock and allocates).
//!
//! # Cost
//!
//! At rest: no thread, no timer, no polling; the descriptors of the destination
//! (two, three with a second supervisor), of /dev/null and of the executable,
//! and address space for the limits in [`Options`], of which only what reports
//! have used is resident; and 128 KiB for scopes, in the same way. During a report: one run of the capture handler on
//! each thread, some microseconds and at most 2 KiB of its stack. The README
//! has figures, and the commands that measure them.
//!
//! # Limitations
//!
//! - Linux on x86_64. Elsewhere everything compiles and setup returns
//!   [`SetupError::Unsupported`].
//! - Calls that the kernel never restarts (`epoll_wait`, `poll`, `nanosleep`,
//!   … see signal(7)) return `EINTR` when their thread is captured.
//! - Threads that block the capture signal (SIGURG, or a real-time signal if
//!   that is taken), sleep uninterruptibly or are excluded are not interrupted.
//!   With the feature `passive` their stacks are read where they are parked; a
//!   thread that runs then has none, and the report says so.
//! - Stacks are copied up to [`Options::window_bytes`] (16 KiB) and cut at
//!   [`Options::max_frames`]. What lies beyond, or on another stack, is read
//!   (`passive`) if the thread is parked again afterwards, and carries a mark.
//! - Function names, no file and line; C++ names stay mangled. Of long generic
//!   arguments `…` is left, unless [`Options::full_names`] is set.
//! - Threads with equal stacks are one block ([`Options::fold`]), which lists a
//!   hundred of them and counts the rest.
//! - A lock's owner is known of glibc's, robust and PI locks only; nothing of the
//!   kind is known in a process that is not dumpable, and of the thread that a
//!   report in the handler interrupts.
//! - A report that does not come back keeps the destination it began in open.
//!   What the kernel took of it before a takeover may still land there.
//! - A section that never returns hangs the thread that composes. In the handler
//!   that is the interrupted thread, and no report comes any more.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]
#![cfg_attr(
    not(all(gmr_engine, feature = "stacks", feature = "symbols")),
    allow(dead_code, reason = "the full build is the one that must use everything")
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[cfg(any(test, feature = "stacks"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod error;
#[doc(hidden)]
pub mod hosted;
pub mod model;
#[cfg(all(feature = "signal", not(loom)))]
mod on_demand;
mod options;
mod package;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod procfs;
mod protocol;
pub mod redact;
mod reporter;
mod scope;
pub mod section;
#[cfg(target_os = "linux")]
mod sections;
#[doc(hidden)]
pub mod sink;
#[cfg(not(loom))]
mod switching;
#[doc(hidden)]
pub mod symbols;
mod sync;
pub mod view;

#[cfg(gmr_engine)]
mod bank;
#[cfg(gmr_engine)]
mod compose;
#[cfg(gmr_engine)]
mod engine;
#[cfg(gmr_engine)]
mod findings;
#[cfg(gmr_engine)]
mod judge;
#[cfg(gmr_engine)]
mod line;
#[cfg(all(gmr_engine, feature = "stacks", feature = "symbols"))]
mod names;
#[cfg(gmr_engine)]
mod outcomes;
#[cfg(all(gmr_engine, feature = "stacks"))]
mod samples;
#[cfg(all(gmr_engine, feature = "signal"))]
mod signal;
#[cfg(all(feature = "stacks", target_arch = "x86_64"))]
#[doc(hidden)]
pub mod stacks;
#[cfg(all(gmr_engine, feature = "signal"))]
mod supervise;
#[cfg(gmr_engine)]
mod sys;
#[cfg(gmr_engine)]
mod syscalls;
#[cfg(gmr_engine)]
mod threads;
#[cfg(gmr_engine)]
mod waits;

pub use error::{
    DestinationError, RegisterError, ReportError, RunError, SetupError, UnregisterError,
};
#[cfg(all(feature = "signal", not(loom)))]
pub use on_demand::ReportOutcome;
pub use options::{Exclude, Options};
pub use package::Package;
pub use protocol::registry::{MAX_SECTIONS, MAX_TITLE_BYTES, SectionId};
pub use protocol::requests::Requester;
#[cfg(feature = "signal")]
pub use reporter::arm;
pub use reporter::{Handle, Reporter, Signal, Stats};
pub use scope::{Scope, ThisThread};
pub use section::{
    Collecting, Place, SectionError, SectionResult, SectionWriter, SeenThread, SignalSafeSection,
    StackId, Stacks, Stop,
};
pub use view::ViewKind;
