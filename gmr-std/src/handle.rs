//! What a setup returns.

use gmr_core::{Reporter, Stats};
use serde::Serialize;

use crate::config::ConfigError;
use crate::setup::CONFIG;

/// A way to the reporter from anywhere. It has no destructor: letting it go
/// changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Handle(&'static Reporter);

impl Handle {
    pub(crate) fn new(reporter: &'static Reporter) -> Self {
        Handle(reporter)
    }

    /// The core's reporter.
    #[must_use]
    pub fn reporter(self) -> &'static Reporter {
        self.0
    }

    /// Replaces the configuration that reports show, secrets masked by the policy
    /// of the setup.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; the one before is then still shown.
    pub fn set_conf<T: Serialize + ?Sized>(self, config: &T) -> Result<(), ConfigError> {
        CONFIG.set_by(config, self.0.redaction())
    }

    /// Counters since the setup.
    #[must_use]
    pub fn stats(self) -> Stats {
        self.0.stats()
    }

    /// Ends reports: later triggers are ignored and counted, the threads end,
    /// and a new setup is allowed.
    pub fn shutdown(self) {
        self.0.shutdown();
    }
}
