//! `setup_autorun` with green threads.
//!
//! 1. The setup is gmr-std's, with two sections more: Green Threads and Runtime.
//! 2. Once it is installed, a worker of the reporter prepares in the background what
//!    reports need ([`prepare`]): where tokio keeps its thread-locals, the await
//!    table, the lists of the runtimes, and on each of them a self test.
//! 3. A report that comes before all that is ready waits for a part of its time, and
//!    then says what it does without.
//!
//! What was prepared is never changed any more, so supervisors read it without a
//! lock.

#[cfg(gmr_engine)]
mod prepare;
#[cfg(gmr_engine)]
pub(crate) mod probe;

use std::path::PathBuf;
use std::time::Duration;

use gmr_core::Package;
use gmr_std::Setup;
use tokio::runtime::Handle;
use tokio::task::LocalSet;

#[cfg(gmr_engine)]
pub(crate) use prepare::{Chosen, NO_ROOM, State, TableReady};

/// Tasks a report has room for by default.
const MAX_TASKS: usize = 262_144;

/// How long a worker may be in one poll before it is called blocked, by default.
const THRESHOLD: Duration = Duration::from_millis(50);

/// How far reports of the stall watch are apart by default.
const STALL_COOLDOWN: Duration = Duration::from_secs(60);

/// Begins a setup with green threads: [`gmr_std::setup_autorun`] with the sections
/// Green Threads and Runtime. The runtime that it is called in is registered.
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     gmr_tokio::setup_autorun(gmr_tokio::package!()).install()?;
///     // serve…
///     Ok(())
/// }
/// ```
///
/// [`Options`] has more to choose; the [`Setup`] that is returned has everything
/// else.
// Inline: see `probe`.
#[inline]
pub fn setup_autorun<'c>(package: Package) -> Setup<'c> {
    Options::new().setup_autorun(package)
}

/// Choices for green threads, made before those of the [`Setup`].
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// gmr_tokio::Options::new()
///     .await_table("/usr/lib/heat/heat-api.gmr-await")
///     .threshold(Duration::from_millis(20))
///     .setup_autorun(gmr_tokio::package!())
///     .service_name("heat-api")
///     .install()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "nothing is prepared there"))]
#[must_use = "nothing happens before setup_autorun()"]
pub struct Options {
    max_tasks: usize,
    await_table: Option<PathBuf>,
    threshold: Duration,
    stall_watch: Option<Duration>,
    stall_cooldown: Duration,
    memory_bytes: Option<u64>,
    debug_dirs: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

impl Options {
    /// The choices of [`setup_autorun`].
    pub fn new() -> Self {
        Options {
            max_tasks: MAX_TASKS,
            await_table: None,
            threshold: THRESHOLD,
            stall_watch: None,
            stall_cooldown: STALL_COOLDOWN,
            memory_bytes: None,
            debug_dirs: vec![PathBuf::from("/usr/lib/debug")],
        }
    }

    /// Tasks a report has room for; 262,144 by default. The memory for them, 48 bytes
    /// each, is taken as far as it is used. What is beyond is counted in the report.
    pub fn max_tasks(mut self, tasks: usize) -> Self {
        self.max_tasks = tasks;
        self
    }

    /// A file that `gmr await-table` made of this executable. Without it the
    /// executable itself, its neighbours and its debug information are searched.
    pub fn await_table(mut self, path: impl Into<PathBuf>) -> Self {
        self.await_table = Some(path.into());
        self
    }

    /// From when on a worker that does not come back from one poll is called
    /// *blocked*; 50 ms by default. A report that finds a worker in a poll looks on
    /// for so long.
    pub fn threshold(mut self, threshold: Duration) -> Self {
        self.threshold = threshold;
        self
    }

    /// Starts a [stall watch](crate::stall_watch) with the setup; there is none by
    /// default.
    pub fn stall_watch(mut self, threshold: Duration) -> Self {
        self.stall_watch = Some(threshold);
        self
    }

    /// How far two reports of the stall watch are apart at least; 60 s by default.
    pub fn stall_cooldown(mut self, cooldown: Duration) -> Self {
        self.stall_cooldown = cooldown;
        self
    }

    /// Has polls of tracked futures leave traces, from now on: see
    /// [`trace_wakers`](crate::trace_wakers), also for what it costs.
    #[cfg(feature = "waker-trace")]
    pub fn waker_trace(self, is_on: bool) -> Self {
        crate::trace_wakers(is_on);
        self
    }

    /// The most memory that making the await table from debug information may take,
    /// in bytes; 256 MiB by default.
    pub fn await_table_memory(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Where separate debug files are looked for when the await table is made, in
    /// place of `/usr/lib/debug`.
    pub fn debug_dirs<P: Into<PathBuf>>(mut self, dirs: impl IntoIterator<Item = P>) -> Self {
        self.debug_dirs = dirs.into_iter().map(Into::into).collect();
        self
    }

    /// Begins the setup; see [`setup_autorun`].
    // Inline: see `probe`.
    #[inline]
    pub fn setup_autorun<'c>(self, package: Package) -> Setup<'c> {
        #[cfg(gmr_engine)]
        {
            self.begin(package, probe::spawn)
        }
        #[cfg(not(gmr_engine))]
        {
            let _ = self;
            gmr_std::setup_autorun(package)
        }
    }

    #[cfg(gmr_engine)]
    fn begin<'c>(self, package: Package, spawn_probe: prepare::SpawnProbe) -> Setup<'c> {
        let state = State::leak(Chosen {
            max_tasks: self.max_tasks.max(1),
            await_table: self.await_table,
            threshold_ns: nanoseconds(self.threshold).max(1),
            stall_watch: self.stall_watch,
            stall_cooldown_ns: nanoseconds(self.stall_cooldown),
            memory_bytes: self.memory_bytes.unwrap_or(256 << 20),
            debug_dirs: self.debug_dirs,
            spawn_probe,
        });
        gmr_std::setup_autorun(package)
            .register_signal_safe_section(crate::section::GREEN_THREADS, &state.green_threads)
            .register_signal_safe_section(crate::section::RUNTIME, &state.runtime)
            .on_installed(move |handle| state.installed(handle))
    }
}

#[cfg(gmr_engine)]
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a runtime or a local set was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterRuntimeError {
    /// 64 runtimes were registered in this process.
    Full,
    /// Not on Linux on x86_64, or the kernel does not let this process read its own
    /// memory (process_vm_readv(2)).
    Unsupported,
}

impl std::fmt::Display for RegisterRuntimeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RegisterRuntimeError::Full => {
                "64 runtimes are registered, and none is ever forgotten: register those that last; \
                 the others are found while their threads run"
            }
            RegisterRuntimeError::Unsupported => {
                "not supported here: this takes Linux on x86_64, and process_vm_readv(2)"
            }
        })
    }
}

impl std::error::Error for RegisterRuntimeError {}

/// Has reports show the tasks of a runtime, its workers and its queue. Before or
/// after a setup; the same runtime any number of times.
///
/// The runtime that a setup happens in is registered already. Others are found by
/// their threads; what is known of their workers is less (the metrics come from the
/// handle), and nothing while none of their threads is there.
///
/// The handle is kept for the life of the process: not the runtime's threads and tasks,
/// but the memory of its scheduler (some kilobytes) stays.
///
/// # Errors
///
/// [`RegisterRuntimeError`].
pub fn register(handle: &Handle) -> Result<(), RegisterRuntimeError> {
    #[cfg(gmr_engine)]
    {
        let registered = crate::runtimes::keep(handle).ok_or(RegisterRuntimeError::Full)?;
        if let Some(state) = State::current() {
            state.begin_self_test(registered);
        }
        Ok(())
    }
    #[cfg(not(gmr_engine))]
    {
        let _ = handle;
        Err(RegisterRuntimeError::Unsupported)
    }
}

/// Has reports show the tasks of a `LocalSet`. To be called on the thread that it
/// belongs to, before or after a setup. Once it is dropped, it is not shown any more.
///
/// Of more than 64 local sets the last are shown.
///
/// # Errors
///
/// [`RegisterRuntimeError`].
pub fn register_local_set(set: &LocalSet) -> Result<(), RegisterRuntimeError> {
    #[cfg(gmr_engine)]
    {
        let table = State::current().and_then(State::table);
        let is_kept = crate::runtimes::remember(set, |set| table?.loaded.root_of_local_set(set));
        if is_kept { Ok(()) } else { Err(RegisterRuntimeError::Unsupported) }
    }
    #[cfg(not(gmr_engine))]
    {
        let _ = set;
        Err(RegisterRuntimeError::Unsupported)
    }
}

/// Why [`wait_until_ready`] gave up, or need not wait any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady(pub(crate) String);

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotReady {}

/// Blocks the calling thread until reports can show all tasks: the await table is
/// there, and the self test has passed on each registered runtime. For tests, and for
/// programs that want to know at their start.
///
/// Not to be called by a task: the self test needs the runtime. On a current-thread
/// runtime it passes only once something is awaited.
///
/// # Errors
///
/// [`NotReady`] says what is missing, or what will never be there.
pub fn wait_until_ready(patience: Duration) -> Result<(), NotReady> {
    #[cfg(gmr_engine)]
    {
        State::current()
            .ok_or_else(|| NotReady("there was no setup".to_owned()))?
            .wait_until_ready(patience)
            .map_err(NotReady)
    }
    #[cfg(not(gmr_engine))]
    {
        let _ = patience;
        Err(NotReady("not supported here: this takes Linux on x86_64".to_owned()))
    }
}
