//! `setup_autorun`: everything a std daemon needs for `kill -USR2`.
//!
//! 1. Three parked threads are started: two supervisors (the second takes over
//!    from a stuck first), and a worker that refreshes the module table.
//! 2. The core is set up: memory, destination, capture signal. It cannot be
//!    given back, so it comes after what may fail for want of resources.
//! 3. Last, so that a failure before leaves nothing behind, the trigger is
//!    registered with signal-hook-registry: other users of the same signal keep
//!    getting it. The action is two atomic steps and a futex wake.

use std::time::Duration;

use gmr_core::{Exclude, Options, Package, Reporter, Signal, SignalSafeSection, ViewKind};
use serde::Serialize;

use crate::config::{ConfigCell, ConfigError};
use crate::error::SetupError;
use crate::handle::Handle;
use crate::scheduling::{Scheduling, ThreadChoices};

/// The title of the configuration's section.
const CONFIGURATION: &str = "Configuration";

/// The configuration of the process; one, like the original's.
pub(crate) static CONFIG: ConfigCell = ConfigCell::new();

/// How many supervisors there are: one, and one that takes over.
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "no threads there"))]
pub(crate) const SUPERVISORS: u32 = 2;

/// Begins a setup: choose, then [`install`](Setup::install).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = std::collections::BTreeMap::from([("workers", 4)]);
/// gmr_std::arm(); // first line of main
/// let reports = gmr_std::setup_autorun(gmr_std::package!()).conf(&config).install()?;
/// # let _ = reports;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before install()"]
pub fn setup_autorun(package: Package) -> Setup {
    Setup {
        package,
        signal: Signal::Usr2,
        options: Options::new().supervisors(SUPERVISORS),
        service_name: None,
        sections: Vec::new(),
        config: None,
        thread_choices: ThreadChoices::default(),
    }
}

/// Choices for a setup; see [`setup_autorun`].
#[must_use = "nothing happens before install()"]
pub struct Setup {
    package: Package,
    signal: Signal,
    options: Options,
    service_name: Option<String>,
    sections: Vec<(&'static str, &'static dyn SignalSafeSection)>,
    config: Option<Result<(), ConfigError>>,
    thread_choices: ThreadChoices,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("package", &self.package)
            .field("signal", &self.signal)
            .field("sections", &self.sections.len())
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// The version in the Package section, where it is not the crate's.
    pub fn version(mut self, version: &'static str) -> Self {
        self.package.version = version;
        self
    }

    /// The service's name in the report's head.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// The trigger; SIGUSR2 by default.
    pub fn signal(mut self, signal: Signal) -> Self {
        self.signal = signal;
        self
    }

    /// The configuration to show, any [`Serialize`]. It is flattened and its
    /// secrets are masked now; later changes: [`Handle::set_conf`].
    pub fn conf<T: Serialize + ?Sized>(mut self, config: &T) -> Self {
        self.config = Some(CONFIG.set(config));
        self
    }

    /// Text (the default) or JSON.
    pub fn view(mut self, view: ViewKind) -> Self {
        self.options = self.options.view(view);
        self
    }

    /// The open descriptor that reports are written to; 2 (stderr) by default.
    pub fn destination_fd(mut self, fd: i32) -> Self {
        self.options = self.options.destination_fd(fd);
        self
    }

    /// How long a report may take before the next request takes over from it;
    /// 10 s by default.
    pub fn report_deadline(mut self, deadline: Duration) -> Self {
        self.options = self.options.report_deadline(deadline);
        self
    }

    /// Threads a report has room for; 4,096 by default.
    pub fn max_threads(mut self, threads: u32) -> Self {
        self.options = self.options.max_threads(threads);
        self
    }

    /// Threads that no capture may interrupt: the report describes them without
    /// a stack.
    pub fn exclude_threads(mut self, threads: &'static [Exclude]) -> Self {
        self.options = self.options.exclude_threads(threads);
        self
    }

    /// The CPUs that the threads of the reporter may use, by number; by default
    /// those of the thread that sets up. For programs that keep CPUs for their
    /// own work: every report is composed on these. (Each captured thread still
    /// copies its own stack, on its own CPU.)
    ///
    /// A number that does not exist, or that the process may not use, and no
    /// CPU at all are [`SetupError::Scheduling`].
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.thread_choices.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// How the threads of the reporter are scheduled; by default
    /// [`Scheduling::Ordinary`]: never real-time.
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.thread_choices.scheduling = scheduling;
        self
    }

    /// Adds a section that the core itself may run, whatever state the process
    /// is in. Sections come in the order they were added, after Configuration.
    pub fn register_signal_safe_section(
        mut self,
        title: &'static str,
        section: &'static dyn SignalSafeSection,
    ) -> Self {
        self.sections.push((title, section));
        self
    }

    /// Sets up. From here on the trigger writes a report.
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn install(self) -> Result<Handle, SetupError> {
        if let Some(Err(error)) = self.config {
            return Err(SetupError::Config(error));
        }
        let mut options = self.options;
        if let Some(name) = self.service_name {
            options = options.service_name(Some(String::leak(name)));
        }
        // Leaked: handlers and threads refer to it for ever. A program sets up
        // once.
        let reporter: &'static Reporter = Box::leak(Box::new(Reporter::new(self.package)));
        let configuration: (&'static str, &'static dyn SignalSafeSection) =
            (CONFIGURATION, &CONFIG);
        for (title, section) in std::iter::once(configuration).chain(self.sections) {
            reporter
                .register_section(title, section)
                .map_err(|error| SetupError::Section { title, error })?;
        }
        let threads = crate::platform::Threads::spawn(&self.thread_choices)?;
        if let Err(error) = reporter.setup_external(self.signal, &options) {
            threads.end();
            return Err(error.into());
        }
        if let Err(error) = threads.start(reporter, self.signal) {
            reporter.shutdown();
            return Err(error);
        }
        Ok(Handle::new(reporter))
    }
}
