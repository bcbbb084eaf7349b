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
//! Processes, Configuration, Environment, the program's own sections, and Modules
//! (for tools: what is loaded where).
//! [`Setup::view`] chooses JSON. What [`install`](Setup::install) returns is a
//! [`Handle`] without a destructor: keep it, it is `Copy`, or drop it.
//!
//! | the program wants | it uses |
//! |---|---|
//! | a section of its own | [`Handle::register_section`], a closure |
//! | … with columns | [`Table`] |
//! | each thread in a block of its own, all frames, whole names | [`Setup::fold`], [`entry_frames`](Setup::entry_frames), [`full_names`](Setup::full_names) |
//! | … that comes whatever state the process is in | [`Setup::register_signal_safe_section`] |
//! | what a thread is doing, beside its stack | [`scope!`] |
//! | a report for an admin endpoint | [`Handle::report`], [`Handle::report_to`] |
//! | a new log file after rotation | [`Handle::set_destination`] |
//! | counters for its metrics | [`Handle::stats`] |
//! | some threads left alone | [`Setup::exclude_threads`] |
//! | report threads on some CPUs only | [`Setup::cpus`] |
//!
//! # Sections
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
//! #[derive(serde::Serialize)]
//! struct Queue {
//!     depth: usize,
//!     oldest: Option<&'static str>,
//! }
//! reports.register_section("Queue", || Queue { depth: 3, oldest: Some("2.1 s") })?;
//! reports.register_section("Notes", || "text is shown as it is\nwith its lines")?;
//! # Ok(())
//! # }
//! ```
//!
//! The closure may allocate, take locks and panic: one of two worker threads
//! calls it for each report, and what happens to it costs its section alone. A
//! panic's message is shown. A closure that is not done after
//! [`Setup::section_deadline`] shows where its worker is stuck, and is skipped
//! until that worker is back. Secrets in what it returns are masked like those
//! of a configuration.
//!
//! # File and line
//!
//! A frame is shown with its source file and line, and with the functions that
//! were inlined into it, if the program's debug information is at hand: in the
//! executable, in a separate file found by build-id or `.gnu_debuglink` below
//! [`Setup::debug_dirs`], or in a `.dwp` package beside it.
//! `debug = "line-tables-only"` in the Cargo profile is enough. A worker reads
//! it in the first report that meets an address, under a budget of memory
//! ([`Setup::source_lines_memory`]); later reports know the address. What was
//! not found in time, or has no room, keeps its function's name, and the report
//! says so. In a build without optimisation the search itself is slow: Cargo's
//! `[profile.dev.package.gimli] opt-level = 3` helps.
//!
//! # What threads are doing
//!
//! ```
//! # let path = "/heat";
//! let _request = gmr_std::scope!("request", "GET {path}");
//! ```
//!
//! As long as the guard lives, reports show it beside the thread's stack:
//! `doing = request: GET /heat (2.3 s)`. See [`Scope`] for what it costs and
//! where it ends.
//!
//! [`operating`] is the page for operators: how to ask in a shell, under systemd,
//! in containers; what to do when nothing comes; how to read a report.
//! [`Setup::cpus`] and [`Setup::scheduling`] say where the reporter's threads
//! run. A prefork server sets up in each process (`examples/prefork.rs`).
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
//!   private keys, tokens that their prefix gives away (`ghp_…`, `AKIA…`).
//!
//! [`gmr_core::redact`] has the rules. All but the first are heuristics: give
//! secrets the type [`Secret<T>`].
//!
//! The same rules hold for command lines, scopes, the environment, and the
//! program's own sections. A [`Redaction`] adds keys and tokens that only the
//! program knows ([`Setup::redaction`]); [`expose`] marks a value as public:
//!
//! ```no_run
//! use gmr_std::{Exposed, Pattern, Redaction, Secret};
//!
//! static POLICY: Redaction = Redaction::new()
//!     .secret_keys(&["*_pin", "license"])
//!     .public_keys(&["token_count"])
//!     .patterns(&[Pattern::prefixed("acme_", 20)]);
//!
//! #[derive(serde::Serialize)]
//! struct Config {
//!     password: Secret<String>,
//!     session_key: Exposed<&'static str>, // the name of a header
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config {
//!     password: Secret::new(std::fs::read_to_string("/run/secrets/db")?),
//!     session_key: gmr_std::expose("X-Session"),
//! };
//! gmr_std::setup_autorun(gmr_std::package!())
//!     .conf(&config)
//!     .config_file("/etc/heat-api.toml")
//!     .redaction(&POLICY)
//!     .environment(&["HEAT_*"])
//!     .install()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Environment
//!
//! Read once, at setup: the names of all variables, and the values of those that
//! operators ask for and that carry no secret by their nature: `PATH`, `HOME`,
//! `LANG` and `LC_*`, `TZ`, `RUST_LOG`, `MALLOC_*`, `LD_*` of the loader, what
//! systemd and Kubernetes set. [`Setup::environment`] adds names. Every other value
//! is `***`, whatever it is: not even its length is told. Shown values are masked
//! by key and text all the same. [`Setup::without_environment`] leaves it out.
//!
//! # Where reports go
//!
//! To stderr, or [`Setup::destination_fd`]; after a log rotation to the new
//! file ([`Handle::set_destination`]), and nowhere for a daemon that has closed
//! its stderr ([`Handle::release_destination`]). [`Handle::report`] and
//! [`Handle::report_to`] are for an admin endpoint: `examples/admin_endpoint.rs`.
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
//! [`Reporter::request`](Reporter#method.request) and [`Scope::enter`] may be. A
//! [`SignalSafeSection`] promises to keep the rules of its contract.
//!
//! # Cost at rest
//!
//! Four parked threads (two supervisors, two workers), no timers, and these
//! descriptors: the destination (three times), /dev/null, the executable. What
//! each section returned last, and the source lines that were found (some tens
//! of KiB), are kept.
//!
//! # Limitations
//!
//! - Linux on x86_64. Elsewhere everything compiles and setup returns an error.
//! - A capture interrupts each thread once: calls that the kernel never
//!   restarts (`epoll_wait`, `poll`, `nanosleep`, … see signal(7)) return
//!   `EINTR`.
//! - One setup at a time in a process, and one configuration.
//! - Under `panic = "abort"` the panic of a section ends the process, like any
//!   other. So does the failure of an allocation.
//! - A section may use up memory: only what it returns is limited (1 MiB).
//! - Workers block all signals but faults, and so do threads that a section
//!   starts.
//! - The panics of sections are kept out of the log by a panic hook in front of
//!   the program's own, put there at setup. A program that replaces the hook later
//!   gets them.
//! - While a report waits for an ordinary section, and 250 ms after, it counts as the answer to what
//!   the process itself sends or asks for: else a section that triggers reports
//!   would have them follow each other for ever.
//! - Report files (a directory, a name for each report) are not there yet. A
//!   descriptor that the program opened is a destination.
//! - A report on demand goes through memfd_create(2), and RLIMIT_FSIZE cuts it
//!   like any file. Four callers are served at a time, one after the other.
//! - In a program that locks its memory (`mlockall` with `MCL_FUTURE`) all of the
//!   reporter's memory is resident: some 32 MiB, 17 MiB with
//!   [`Setup::max_threads`]`(256)`; 5 MiB with `MCL_ONFAULT`.
//! - After chroot(2) into a root without /proc a report has no threads.
//! - [The core's limitations](gmr_core#limitations) hold here too.

// For gmr-tokio and the command.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod await_table;
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
#[cfg(not(loom))]
mod on_demand;
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
mod scope;
#[cfg(not(loom))]
mod section;
#[cfg(not(loom))]
mod setup;
#[cfg(all(gmr_engine, not(loom)))]
mod source_lines;
#[cfg(any(gmr_engine, loom))]
mod workers;

// A page of rustdoc's: there is nothing in it to use.
#[cfg(doc)]
#[doc = include_str!("../docs/operating.md")]
pub mod operating {}

pub use config::{ConfigCell, ConfigError, Exposed, Secret, Table, TableRow, expose};
#[cfg(not(loom))]
pub use error::SetupError;
pub use gmr_core::model::Incomplete;
pub use gmr_core::redact::{Pattern, Redaction};
pub use gmr_core::{
    DestinationError, Exclude, Options, Package, RegisterError, ReportError as CoreReportError,
    Reporter, Requester, Scope, SectionError, SectionId, SectionResult, SectionWriter,
    SetupError as CoreSetupError, Signal, SignalSafeSection, Stats, Stop, ThisThread,
    UnregisterError, ViewKind as View, arm, package,
};
#[cfg(not(loom))]
pub use handle::Handle;
#[cfg(all(fuzzing, gmr_engine, not(loom)))]
#[doc(hidden)]
pub use lines::fuzzing as fuzz_lines;
// For the command `gmr symbolize`.
#[cfg(all(gmr_engine, not(loom)))]
#[doc(hidden)]
pub use lines::offline;
#[cfg(not(loom))]
pub use on_demand::{ReportError, ReportOutcome};
#[cfg(not(loom))]
pub use scheduling::{Scheduling, SchedulingError};
#[cfg(not(loom))]
pub use scope::scope;
#[cfg(not(loom))]
pub use setup::{Setup, setup_autorun};
