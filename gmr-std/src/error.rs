//! What can go wrong at setup.

use std::fmt;

use gmr_core::{RegisterError, SetupError as CoreError};

use crate::config::ConfigError;
use crate::scheduling::SchedulingError;

/// Why [`Setup::install`](crate::Setup::install) failed. The program is as it
/// was before: no thread, no handler, no section of ours is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// The core could not be set up.
    Core(CoreError),
    /// A section could not be registered.
    Section {
        /// Its title.
        title: &'static str,
        /// Why not.
        error: RegisterError,
    },
    /// The configuration could not be recorded.
    Config(ConfigError),
    /// A thread could not be started.
    Thread(std::io::Error),
    /// Our threads could not be scheduled as chosen.
    Scheduling(SchedulingError),
    /// The signal's dispatcher refused it.
    Signal {
        /// The signal.
        signal: i32,
        /// Why.
        error: std::io::Error,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Core(error) => error.fmt(f),
            SetupError::Section { title, error } => write!(f, "section {title:?}: {error}"),
            SetupError::Config(error) => error.fmt(f),
            SetupError::Thread(error) => write!(
                f,
                "a report thread could not be started ({error}); raise RLIMIT_NPROC or the \
                 cgroup's pids.max"
            ),
            SetupError::Scheduling(error) => error.fmt(f),
            SetupError::Signal { signal, error } => write!(
                f,
                "signal {signal} could not be taken ({error}); choose another, such as SIGUSR2"
            ),
        }
    }
}

impl std::error::Error for SetupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SetupError::Core(error) => Some(error),
            SetupError::Section { error, .. } => Some(error),
            SetupError::Config(error) => Some(error),
            SetupError::Scheduling(error) => Some(error),
            SetupError::Thread(error) | SetupError::Signal { error, .. } => Some(error),
        }
    }
}

impl From<ConfigError> for SetupError {
    fn from(error: ConfigError) -> Self {
        SetupError::Config(error)
    }
}

impl From<CoreError> for SetupError {
    fn from(error: CoreError) -> Self {
        SetupError::Core(error)
    }
}
