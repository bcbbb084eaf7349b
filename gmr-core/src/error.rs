//! What can go wrong at setup: each error says what happened and what to do.

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
    /// deadline. No further report enters it; the entry stays taken.
    Busy,
}

impl fmt::Display for UnregisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnregisterError::Unknown => "this section is not registered (any more)",
            UnregisterError::Busy => {
                "a report is still inside this section; no further report enters it, but what it \
                 uses must stay alive"
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
