//! `setup_autorun`: everything a std daemon needs for `kill -USR2`.
//!
//! 1. Four parked threads are started: two supervisors (the second takes over
//!    from a stuck first), and two workers.
//! 2. The core is set up: memory, destination, capture signal. It cannot be
//!    given back, so it comes after what may fail for want of resources.
//! 3. Last, so that a failure before leaves nothing behind, the trigger is
//!    registered with signal-hook-registry: other users of the same signal keep
//!    getting it. The action is two atomic steps and a futex wake.

use std::path::PathBuf;
use std::time::Duration;

use gmr_core::redact::Redaction;
use gmr_core::{Exclude, Options, Package, Reporter, Signal, SignalSafeSection, ViewKind};
use serde::Serialize;

use crate::config::{Blob, ConfigCell, ConfigError};
use crate::environment;
use crate::error::SetupError;
use crate::handle::Handle;
use crate::platform;
use crate::recorded::{Configuration, Recorded};
use crate::scheduling::{Scheduling, ThreadChoices};
use crate::section::{Generator, generator};

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
pub fn setup_autorun<'c>(package: Package) -> Setup<'c> {
    Setup(Box::new(Choices {
        package,
        signal: Signal::Usr2,
        options: Options::new().supervisors(SUPERVISORS),
        service_name: None,
        full_names: false,
        sections: Vec::new(),
        lines: Some(LineChoices::default()),
        config: None,
        config_files: Vec::new(),
        redaction: const { &Redaction::new() },
        environment: Some(&[]),
        thread_choices: ThreadChoices::default(),
        extensions: Vec::new(),
    }))
}

/// What is read to find source lines.
#[derive(Debug, Clone)]
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "nothing is read there"))]
pub(crate) struct LineChoices {
    /// `None`: what is left to the cgroup decides, at each report.
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) debug_dirs: Vec<PathBuf>,
    pub(crate) system_libraries: bool,
    pub(crate) full_names: bool,
}

impl Default for LineChoices {
    fn default() -> Self {
        LineChoices {
            memory_bytes: None,
            debug_dirs: vec![PathBuf::from("/usr/lib/debug")],
            system_libraries: false,
            full_names: false,
        }
    }
}

/// A section to register.
pub(crate) enum Section {
    SignalSafe(&'static dyn SignalSafeSection),
    Ordinary(Generator),
}

/// What the platform needs to know of all choices.
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "nothing is set up there"))]
pub(crate) struct Plan {
    pub(crate) signal: Signal,
    pub(crate) options: Options,
    pub(crate) sections: Vec<(&'static str, Section)>,
    /// Of the configuration, to be shown once nothing can be in the way.
    pub(crate) values: Option<Blob>,
    pub(crate) lines: Option<LineChoices>,
    pub(crate) threads: ThreadChoices,
}

/// Choices for a setup; see [`setup_autorun`]. They may come in any order.
#[must_use = "nothing happens before install()"]
pub struct Setup<'c>(Box<Choices<'c>>);

/// Boxed: a builder is moved with each choice, and without optimisation each
/// move takes its size of the caller's stack.
struct Choices<'c> {
    package: Package,
    signal: Signal,
    options: Options,
    service_name: Option<String>,
    full_names: bool,
    sections: Vec<(&'static str, Section)>,
    lines: Option<LineChoices>,
    config: Option<Configure<'c>>,
    config_files: Vec<PathBuf>,
    redaction: &'static Redaction,
    /// Names to show beside the usual ones; `None`: no section.
    environment: Option<&'static [&'static str]>,
    thread_choices: ThreadChoices,
    /// What crates that extend this one do at the end of a setup.
    extensions: Vec<Box<dyn FnOnce(Handle)>>,
}

/// Records the configuration by a policy, which is known at the end only.
type Configure<'c> = Box<dyn FnOnce(&Redaction) -> Result<Blob, ConfigError> + 'c>;

impl std::fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("package", &self.0.package)
            .field("signal", &self.0.signal)
            .field("sections", &self.0.sections.len())
            .finish_non_exhaustive()
    }
}

impl<'c> Setup<'c> {
    /// The version in the Package section, where it is not the crate's.
    pub fn version(mut self, version: &'static str) -> Self {
        self.0.package.version = version;
        self
    }

    /// The service's name in the report's head.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.0.service_name = Some(name.into());
        self
    }

    /// The trigger; SIGUSR2 by default.
    pub fn signal(mut self, signal: Signal) -> Self {
        self.0.signal = signal;
        self
    }

    /// The configuration to show, any [`Serialize`]. It is flattened and its
    /// secrets are masked by [`install`](Self::install); later changes:
    /// [`Handle::set_conf`].
    pub fn conf<T: Serialize + ?Sized>(mut self, config: &'c T) -> Self {
        self.0.config = Some(Box::new(|policy| ConfigCell::record(config, policy)));
        self
    }

    /// A file that the configuration was loaded from, to be named in the
    /// Configuration section. Call it once for each, in the order of loading.
    pub fn config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.config_files.push(path.into());
        self
    }

    /// The program's own rules for what is a secret. They hold for every
    /// section: command lines, configuration, environment, and the program's own.
    pub fn redaction(mut self, policy: &'static Redaction) -> Self {
        self.0.redaction = policy;
        self
    }

    /// Names of environment variables whose values are shown in the Environment
    /// section, beside the usual ones (`PATH`, `LANG`, `RUST_LOG`, …); `*`
    /// stands for any text, case does not matter: `"HEAT_*"`. Every other
    /// variable is shown by name only, and what looks like a secret is masked
    /// under any name.
    pub fn environment(mut self, names: &'static [&'static str]) -> Self {
        self.0.environment = Some(names);
        self
    }

    /// No Environment section: not even names are shown.
    pub fn without_environment(mut self) -> Self {
        self.0.environment = None;
        self
    }

    /// Text (the default) or JSON.
    pub fn view(mut self, view: ViewKind) -> Self {
        self.0.options = self.0.options.view(view);
        self
    }

    /// The open descriptor that reports are written to; 2 (stderr) by default.
    pub fn destination_fd(mut self, fd: i32) -> Self {
        self.0.options = self.0.options.destination_fd(fd);
        self
    }

    /// How long a report may take before the next request takes over from it;
    /// 10 s by default.
    pub fn report_deadline(mut self, deadline: Duration) -> Self {
        self.0.options = self.0.options.report_deadline(deadline);
        self
    }

    /// How long a report waits for one section; 2 s by default. (For source
    /// lines it waits at most a third of the report's own deadline.)
    pub fn section_deadline(mut self, deadline: Duration) -> Self {
        self.0.options = self.0.options.section_deadline(deadline);
        self
    }

    /// Threads a report has room for; 4,096 by default.
    pub fn max_threads(mut self, threads: u32) -> Self {
        self.0.options = self.0.options.max_threads(threads);
        self
    }

    /// How often every thread is captured: once (default), or twice with
    /// `interval` in between ([`gmr_core::Options::samples`]). Two tell which
    /// threads moved, which stood still, and which burn CPU where they are.
    pub fn samples(mut self, count: u32, interval: Duration) -> Self {
        self.0.options = self.0.options.samples(count, interval);
        self
    }

    /// Whether threads with equal stacks become one block; they do by default.
    pub fn fold(mut self, are_folded: bool) -> Self {
        self.0.options = self.0.options.fold(are_folded);
        self
    }

    /// Whether long generic arguments in the names of functions are shown whole.
    /// By default they are `…`: `<hyper::server::conn::Http<…>>::serve_connection`.
    pub fn full_names(mut self, are_full: bool) -> Self {
        self.0.full_names = are_full;
        self
    }

    /// Whether the runtime's frames below the program's own (std's thread start,
    /// libc's) are shown. By default they are one line that counts them.
    pub fn entry_frames(mut self, are_shown: bool) -> Self {
        self.0.options = self.0.options.entry_frames(are_shown);
        self
    }

    /// Whether the report ends with the Modules section: what is loaded where,
    /// with build-ids, so that names and lines of the report's addresses can be
    /// found later, on another machine. It does by default.
    pub fn modules(mut self, are_listed: bool) -> Self {
        self.0.options = self.0.options.modules(are_listed);
        self
    }

    /// Threads that no capture may interrupt. If such a thread is parked, its stack
    /// is read without waking it; if it runs, it has none.
    pub fn exclude_threads(mut self, threads: &'static [Exclude]) -> Self {
        self.0.options = self.0.options.exclude_threads(threads);
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
        self.0.thread_choices.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// How the threads of the reporter are scheduled; by default
    /// [`Scheduling::Ordinary`]: never real-time.
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.0.thread_choices.scheduling = scheduling;
        self
    }

    /// Adds a section that the core itself may run, whatever state the process
    /// is in. Sections come in the order they were added, after Configuration and
    /// Environment.
    pub fn register_signal_safe_section(
        mut self,
        title: &'static str,
        section: &'static dyn SignalSafeSection,
    ) -> Self {
        self.0.sections.push((title, Section::SignalSafe(section)));
        self
    }

    /// Adds a section that a worker runs for each report: a closure that may
    /// allocate, take locks and panic. See [`Handle::register_section`].
    pub fn register_section<T, F>(mut self, title: &'static str, generate: F) -> Self
    where
        T: Serialize,
        F: FnMut() -> T + Send + 'static,
    {
        self.0.sections.push((title, Section::Ordinary(generator(generate))));
        self
    }

    /// Whether frames show file, line and inlined functions, from the debug
    /// information of the program's own objects; on by default. A worker reads
    /// it, in the first report that meets an address.
    pub fn source_lines(mut self, are_shown: bool) -> Self {
        self.0.lines = are_shown.then(LineChoices::default);
        self
    }

    /// The most memory that reading debug information may take, in bytes. By
    /// default 64 MiB, or a quarter of what is left to the cgroup if that is
    /// less. What does not fit keeps its function's name, and the report says
    /// so.
    pub fn source_lines_memory(mut self, bytes: u64) -> Self {
        self.line_choices().memory_bytes = Some(bytes);
        self
    }

    /// Where separate debug files are looked for (by build-id, and by the path
    /// of the object), in place of `/usr/lib/debug`.
    pub fn debug_dirs<P: Into<PathBuf>>(mut self, dirs: impl IntoIterator<Item = P>) -> Self {
        self.line_choices().debug_dirs = dirs.into_iter().map(Into::into).collect();
        self
    }

    /// Whether debug information of system libraries (below /lib and /usr/lib)
    /// is read too; it is not by default.
    pub fn source_lines_of_system(mut self, are_shown: bool) -> Self {
        self.line_choices().system_libraries = are_shown;
        self
    }

    /// Has `extend` called at the end of a setup that succeeded, on the thread that
    /// installs, in the order in which they were given: for crates that extend this
    /// one. A panic in it is the caller's; the setup stays.
    #[doc(hidden)]
    pub fn on_installed(mut self, extend: impl FnOnce(Handle) + 'static) -> Self {
        self.0.extensions.push(Box::new(extend));
        self
    }

    fn line_choices(&mut self) -> &mut LineChoices {
        self.0.lines.get_or_insert_with(LineChoices::default)
    }

    /// Sets up. From here on the trigger writes a report.
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn install(self) -> Result<Handle, SetupError> {
        let choices = *self.0;
        let policy = choices.redaction;
        // Recorded before anything is changed: a type's `Serialize` may fail.
        let configuration = Configuration::new(&choices.config_files, &CONFIG, policy)?;
        let environment = match choices.environment {
            Some(names) => Some(environment::record(names, policy)?),
            None => None,
        };
        let values = choices.config.map(|record| record(policy)).transpose()?;
        let full_names = choices.full_names;
        let mut options = choices.options.redaction(policy).full_names(full_names);
        if let Some(name) = choices.service_name {
            options = options.service_name(Some(String::leak(name)));
        }
        // Leaked: handlers and threads refer to it for ever. A program sets up
        // once.
        let reporter: &'static Reporter = Box::leak(Box::new(Reporter::new(choices.package)));
        let configuration: &'static Configuration = Box::leak(Box::new(configuration));
        let mut sections = vec![(CONFIGURATION, Section::SignalSafe(configuration))];
        if let Some(environment) = environment {
            let environment: &'static Recorded = Box::leak(Box::new(environment));
            sections.push((environment::TITLE, Section::SignalSafe(environment)));
        }
        sections.extend(choices.sections);
        let plan = Plan {
            signal: choices.signal,
            options,
            sections,
            values,
            lines: choices.lines.map(|lines| LineChoices { full_names, ..lines }),
            threads: choices.thread_choices,
        };
        let handle = platform::set_up(reporter, plan).map(Handle::new)?;
        choices.extensions.into_iter().for_each(|extend| extend(handle));
        Ok(handle)
    }
}
