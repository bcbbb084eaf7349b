//! What a setup returns.

use std::io;

use gmr_core::{DestinationError, Reporter, Stats, ViewKind};
use serde::Serialize;

use crate::config::ConfigError;
use crate::on_demand::{self, ReportError, ReportOutcome};
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

    /// Replaces the configuration that reports show, secrets masked.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; the one before is then still shown.
    pub fn set_conf<T: Serialize + ?Sized>(self, config: &T) -> Result<(), ConfigError> {
        CONFIG.set(config)
    }

    /// Counters since the setup.
    #[must_use]
    pub fn stats(self) -> Stats {
        self.0.stats()
    }

    /// A report, now: the same as the trigger's, but for its number and who asked.
    ///
    /// For any thread of the program; a supervisor composes it meanwhile.
    /// Nothing of it goes to the destination, and it answers no trigger. It is
    /// there within two [report deadlines](crate::Setup::report_deadline) and a
    /// second, or not at all; usually within milliseconds.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
    /// let text = reports.report(gmr_std::View::Text)?;
    /// assert!(text.trim_end().ends_with("complete"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReportError`].
    pub fn report(self, view: ViewKind) -> Result<String, ReportError> {
        let mut bytes = Vec::new();
        self.report_to(&mut bytes, view)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The same, into a writer: an admin endpoint's connection, for example.
    ///
    /// The supervisor writes to an anonymous file (memfd_create(2)); what is
    /// there is copied into `writer` on this thread, afterwards. So a slow
    /// client never delays a report, and a client gets all of it or nothing,
    /// unless its own connection breaks.
    ///
    /// # Errors
    ///
    /// [`ReportError`]. Unless it is [`ReportError::Writer`], `writer` was not
    /// touched.
    pub fn report_to(
        self,
        writer: &mut (impl io::Write + ?Sized),
        view: ViewKind,
    ) -> Result<ReportOutcome, ReportError> {
        on_demand::report_to(self.0, writer, view)
    }

    /// Makes `fd` the destination of reports from now on: for a daemon that
    /// reopens its log. See
    /// [`Reporter::set_destination`](Reporter#method.set_destination).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
    /// // At SIGHUP, once logrotate has moved the old one away:
    /// let log = std::fs::File::options().append(true).create(true).open("service.log")?;
    /// reports.set_destination(&log)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DestinationError`]; but for `StillInUse`, nothing has changed.
    #[cfg(unix)]
    pub fn set_destination(self, fd: impl std::os::fd::AsFd) -> Result<(), DestinationError> {
        use std::os::fd::AsRawFd;
        self.0.set_destination(fd.as_fd().as_raw_fd())
    }

    /// Closes every descriptor of ours that leads to the destination: for a
    /// daemon that closes its stderr while its parent waits for the end of that
    /// pipe. Triggers are ignored and counted until
    /// [`set_destination`](Self::set_destination); [`report`](Self::report) goes
    /// on.
    ///
    /// # Errors
    ///
    /// [`DestinationError`]; but for `StillInUse`, nothing has changed.
    pub fn release_destination(self) -> Result<(), DestinationError> {
        self.0.release_destination()
    }

    /// Ends reports: later triggers are ignored and counted, the threads end,
    /// and a new setup is allowed.
    pub fn shutdown(self) {
        self.0.shutdown();
    }
}
