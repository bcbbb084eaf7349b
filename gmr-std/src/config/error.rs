//! What can go wrong when a configuration is set.

use core::fmt;

/// Why a configuration was not taken. The one set before stays in the report.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration's own `Serialize` implementation failed.
    Serialize {
        /// What it said, secrets masked.
        message: String,
    },
    /// A report that reads an earlier configuration has not ended, and as many
    /// replaced configurations as may be kept for it are waiting.
    ReaderStuck {
        /// How many replaced configurations are waiting to be freed.
        waiting: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Serialize { message } => write!(
                f,
                "the configuration could not be serialized: {message}; the previous one stays in \
                 the report (correct the type's Serialize implementation)"
            ),
            ConfigError::ReaderStuck { waiting } => write!(
                f,
                "{waiting} replaced configurations are still held for a report that has not \
                 ended; the previous one stays in the report (set it again later; if this lasts, \
                 a report is stuck: see its last lines)"
            ),
        }
    }
}

impl core::error::Error for ConfigError {}
