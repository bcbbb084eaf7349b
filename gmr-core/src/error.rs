//! What can go wrong: each error says what happened and what to do.

use core::fmt;

use crate::protocol::registry::{MAX_SECTIONS, MAX_TITLE_BYTES};

/// Why a reporter could not be set up. Nothing stays half-installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// The platform has no engine: Linux on x86_64 only, for now.
    Unsupported,
    /// A reporter is already set up in this process.
    AlreadySetUp,
    /// This signal cannot carry the trigger.
    BadSignal {
        /// Its number.
        signal: i32,
        /// Why not.
        reason: &'static str,
    },
    /// Every signal that could capture stacks has a handler already.
    NoCaptureSignal,
    /// The destination's descriptor cannot be used.
    Destination {
        /// The descriptor.
        fd: i32,
        /// The error number (errno(3)).
        errno: i32,
    },
    /// The kernel refused memory for arenas and stacks.
    Memory {
        /// How much was asked for, in bytes (address space; most of it is
        /// never touched).
        bytes: usize,
        /// The error number (errno(3)).
        errno: i32,
    },
    /// Another system call of the setup failed.
    System {
        /// What was attempted.
        what: &'static str,
        /// The error number (errno(3)).
        errno: i32,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Unsupported => f.write_str(
                "Guru Meditation Reports are not supported on this platform (Linux on x86_64 \
                 only); go on without, the program is unchanged",
            ),
            SetupError::AlreadySetUp => f.write_str(
                "a reporter is already set up in this process; set up once, early in main, or \
                 call shutdown() first",
            ),
            SetupError::BadSignal { signal, reason } => write!(
                f,
                "signal {signal} cannot trigger reports: {reason}; choose another, such as SIGUSR2"
            ),
            SetupError::NoCaptureSignal => f.write_str(
                "SIGURG and every real-time signal have handlers of other code; set up earlier, \
                 or free one of them",
            ),
            SetupError::Destination { fd, errno } => write!(
                f,
                "descriptor {fd} cannot be a destination (errno {errno}); pass an open one that \
                 is writable"
            ),
            SetupError::Memory { bytes, errno } => write!(
                f,
                "the kernel refused {bytes} bytes of address space (errno {errno}); lower \
                 max_threads or max_frames, or raise RLIMIT_AS (RLIMIT_MEMLOCK in a program that \
                 locks its memory)"
            ),
            SetupError::System { what, errno } => write!(f, "{what} failed (errno {errno})"),
        }
    }
}

impl core::error::Error for SetupError {}

/// Why a section was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// All entries are taken.
    Full,
    /// The title is empty, longer than [`MAX_TITLE_BYTES`] or has control
    /// characters.
    BadTitle,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::Full => write!(
                f,
                "all {MAX_SECTIONS} sections are registered; unregister one, or write several \
                 groups in one section"
            ),
            RegisterError::BadTitle => write!(
                f,
                "a section's title has 1 to {MAX_TITLE_BYTES} bytes and no control characters"
            ),
        }
    }
}

impl core::error::Error for RegisterError {}

/// Why a section was not unregistered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnregisterError {
    /// The id is not registered (any more).
    Unknown,
    /// A report is inside the section and did not leave it before its
    /// deadline. No further report enters it; the entry stays taken. Call
    /// again later: once the report has left, that succeeds.
    Busy,
}

impl fmt::Display for UnregisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnregisterError::Unknown => "this section is not registered (any more)",
            UnregisterError::Busy => {
                "a report is still inside this section; no further report enters it, but what it \
                 uses must stay alive until unregistering it once more succeeds"
            }
        })
    }
}

impl core::error::Error for UnregisterError {}

/// Why a thread could not become a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunError {
    /// The platform has no engine.
    Unsupported,
    /// Nothing is set up: call `setup` or `setup_trigger` first.
    NotSetUp,
    /// `setup_autorun`: reports are composed in the signal handler.
    ComposedInHandler,
    /// As many threads run already as `Options::supervisors` says.
    Taken,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunError::Unsupported => {
                "Guru Meditation Reports are not supported on this platform (Linux on x86_64 only)"
            }
            RunError::NotSetUp => "no trigger is set up: call setup_trigger() before run()",
            RunError::ComposedInHandler => {
                "setup_autorun() composes reports in the signal handler; for a thread of your own, \
                 use setup_trigger() in its place"
            }
            RunError::Taken => {
                "as many threads as Options::supervisors allows are inside run() already"
            }
        })
    }
}

impl core::error::Error for RunError {}

/// Why reports go where they went before, or that an older report still holds
/// the destination before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DestinationError {
    /// The platform has no engine.
    Unsupported,
    /// Nothing is set up (any more), or this is a forked child without a setup
    /// of its own.
    NotSetUp,
    /// The descriptor is not open.
    Closed {
        /// The descriptor.
        fd: i32,
    },
    /// The descriptor is open for reading only.
    NotWritable {
        /// The descriptor.
        fd: i32,
    },
    /// No descriptor is left for ours (RLIMIT_NOFILE, or the system's limit).
    NoDescriptor {
        /// The error number (errno(3)).
        errno: i32,
    },
    /// Another thread is changing the destination all the time, or stuck
    /// reports hold every place for one: nothing was changed.
    Busy,
    /// The change is made, and later reports follow it. But a report that is
    /// stuck, or that calls this itself, still holds the destination before:
    /// its descriptors are closed when that report comes back.
    StillInUse,
    /// The kernel refused something else.
    System {
        /// The error number (errno(3)).
        errno: i32,
    },
}

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DestinationError::Unsupported => f.write_str(
                "Guru Meditation Reports are not supported on this platform (Linux on x86_64 only)",
            ),
            DestinationError::NotSetUp => f.write_str(
                "no reporter is set up in this process: set up first, also in a forked child",
            ),
            DestinationError::Closed { fd } => {
                write!(f, "descriptor {fd} is not open; pass an open one that is writable")
            }
            DestinationError::NotWritable { fd } => {
                write!(f, "descriptor {fd} is not writable; open it for writing")
            }
            DestinationError::NoDescriptor { errno } => write!(
                f,
                "no descriptor is left (errno {errno}); close some, or raise RLIMIT_NOFILE"
            ),
            DestinationError::Busy => f.write_str(
                "the destination is being changed by other threads, or held by stuck reports; it \
                 is as it was: try again",
            ),
            DestinationError::StillInUse => f.write_str(
                "later reports follow the change, but a report is still in the destination \
                 before; its descriptors are closed when that report comes back",
            ),
            DestinationError::System { errno } => {
                write!(f, "the descriptor cannot be a destination (errno {errno})")
            }
        }
    }
}

impl core::error::Error for DestinationError {}

/// Why a call got no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportError {
    /// The platform has no engine.
    Unsupported,
    /// Nothing is set up, or this is a forked child without a setup of its own.
    NotSetUp,
    /// Reports were shut down, before or during the call.
    ShutDown,
    /// No thread is inside `run`: in the handler, and by `report_here`, reports
    /// go to the destination only.
    NoSupervisor,
    /// A section, or other code of a report, asked for one: it would wait for
    /// itself.
    OnSupervisor,
    /// As many callers wait already as there are places for; or the turn of
    /// this one did not come, because other reports were written all the time.
    Busy,
    /// The descriptor for the report cannot be used.
    Destination(DestinationError),
    /// The descriptor took nothing of it.
    NotWritten,
    /// No report came within the deadline: its supervisor is stuck, and no
    /// other could take over.
    Stuck,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportError::Unsupported => f.write_str(
                "Guru Meditation Reports are not supported on this platform (Linux on x86_64 only)",
            ),
            ReportError::NotSetUp => f.write_str(
                "no reporter is set up in this process: set up first, also in a forked child",
            ),
            ReportError::ShutDown => f.write_str("reports were shut down"),
            ReportError::NoSupervisor => f.write_str(
                "no thread is inside run(), which reports for callers need: lend one (gmr-std \
                 does)",
            ),
            ReportError::OnSupervisor => {
                f.write_str("a report cannot ask for another and wait for it")
            }
            ReportError::Busy => f.write_str(
                "other reports are written and waited for, as many as may: try again later",
            ),
            ReportError::Destination(error) => error.fmt(f),
            ReportError::NotWritten => {
                f.write_str("the descriptor took nothing: it is full, closed or broken")
            }
            ReportError::Stuck => f.write_str(
                "no report came within its deadline: a supervisor is stuck in a section, and no \
                 other could take over",
            ),
        }
    }
}

impl core::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            ReportError::Destination(error) => Some(error),
            _ => None,
        }
    }
}
