//! What a setup returns.

use gmr_core::{RegisterError, Reporter, SectionId, Stats, UnregisterError};
use serde::Serialize;

use crate::config::ConfigError;
use crate::platform::Installed;
use crate::section::generator;
use crate::setup::CONFIG;

/// A way to the reporter from anywhere. It has no destructor: letting it go
/// changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Handle(&'static Installed);

impl Handle {
    pub(crate) fn new(installed: &'static Installed) -> Self {
        Handle(installed)
    }

    /// The core's reporter.
    #[must_use]
    pub fn reporter(self) -> &'static Reporter {
        self.0.reporter
    }

    /// Adds a section to every report from now on: a closure that may allocate,
    /// take locks and panic. A worker calls it for each report, and what it
    /// returns is shown: text as it is, a struct or map as `key = value`, a
    /// list as items, a [`Table`](crate::Table) as aligned lines, secrets masked
    /// as in the configuration.
    ///
    /// A panic, or a hang beyond 2 s, costs that section alone. The report then
    /// shows the panic's message, or where the worker is stuck; the section is
    /// skipped until its worker comes back. (With `panic = "abort"` a panic
    /// ends the process, here as anywhere.) The closure gets no
    /// report of its own: one that it triggers is ignored.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
    /// # fn depth() -> u32 { 0 }
    /// #[derive(serde::Serialize)]
    /// struct Queue { depth: u32, workers: u32 }
    /// reports.register_section("Queue", || Queue { depth: depth(), workers: 4 })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn register_section<T, F>(
        self,
        title: &'static str,
        generate: F,
    ) -> Result<SectionId, RegisterError>
    where
        T: Serialize,
        F: FnMut() -> T + Send + 'static,
    {
        self.0.register(title, generator(generate))
    }

    /// Takes a section out of every later report, and drops its closure. If a
    /// report is inside it, waits for that, at most until the report's
    /// deadline; a closure that a worker is stuck in is dropped when the worker
    /// comes back.
    ///
    /// # Errors
    ///
    /// [`UnregisterError`]; `Busy` also for a section that unregisters one.
    pub fn unregister_section(self, id: SectionId) -> Result<(), UnregisterError> {
        self.0.unregister(id)
    }

    /// Replaces the configuration that reports show, secrets masked by the policy
    /// of the setup.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; the one before is then still shown.
    pub fn set_conf<T: Serialize + ?Sized>(self, config: &T) -> Result<(), ConfigError> {
        CONFIG.set_by(config, self.0.reporter.redaction())
    }

    /// Counters since the setup.
    #[must_use]
    pub fn stats(self) -> Stats {
        self.0.reporter.stats()
    }

    /// Ends reports: later triggers are ignored and counted, the threads end,
    /// and a new setup is allowed.
    pub fn shutdown(self) {
        self.0.reporter.shutdown();
    }
}
