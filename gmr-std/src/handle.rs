//! What a setup returns.

use std::io;

use gmr_core::{
    DestinationError, RegisterError, Reporter, SectionId, Stats, UnregisterError, ViewKind,
};
use serde::Serialize;

use crate::config::ConfigError;
use crate::on_demand::{self, ReportError, ReportOutcome};
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
        on_demand::report_to(self.0.reporter, writer, view)
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
        self.0.reporter.set_destination(fd.as_fd().as_raw_fd())
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
        self.0.reporter.release_destination()
    }

    /// Leaves ordinary work to one of our workers: for crates that extend this
    /// one.
    ///
    /// Jobs are done one at a time, in their order. A further worker takes the place
    /// of the one that is at them, so that reports wait for none. One that does not
    /// return keeps that worker, and those behind it from being done. A panic ends the
    /// job and is not logged: who wants to know of it catches it in the job. After
    /// [`shutdown`](Self::shutdown) none is begun.
    #[doc(hidden)]
    pub fn in_background(self, job: Box<dyn FnOnce() + Send>) {
        self.0.in_background(job);
    }

    /// Ends reports: later triggers are ignored and counted, the threads end,
    /// and a new setup is allowed.
    pub fn shutdown(self) {
        self.0.reporter.shutdown();
    }
}
