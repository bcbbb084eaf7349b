//! What reports need, prepared in the background. See [`super`].

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gmr_core::hosted::wait;
use gmr_std::Handle;
use gmr_std::await_table::{Limits, Table, find};

use super::probe::{self, Outcome, Probe};
use crate::runtimes::{self, Registered};
use crate::section::{Collection, GreenThreads, RuntimeSection};
use crate::stall::{self, StallWatch};
use crate::table::{LoadedTable, Root};
use crate::threads::{self, Places};

/// Spawns a self test; instantiated where the program sets up.
pub(crate) type SpawnProbe = fn(&tokio::runtime::Handle, Arc<Probe>);

/// How long making the table may take.
const TABLE_PATIENCE: Duration = Duration::from_secs(60);

/// What the program chose.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) max_tasks: usize,
    pub(crate) await_table: Option<PathBuf>,
    pub(crate) threshold_ns: u64,
    pub(crate) stall_watch: Option<Duration>,
    pub(crate) stall_cooldown_ns: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) debug_dirs: Vec<PathBuf>,
    pub(crate) spawn_probe: SpawnProbe,
}

/// A table that is ready.
#[derive(Debug)]
pub(crate) struct TableReady {
    pub(crate) loaded: LoadedTable,
    /// Where it is from, in words.
    pub(crate) origin: String,
    /// What lay nearer and was not taken, with the reasons; empty: nothing.
    pub(crate) refused: String,
    /// How long it took to find or make.
    pub(crate) elapsed: Duration,
}

/// All there is of one setup. Never freed: supervisors refer to it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) chosen: Chosen,
    pub(crate) green_threads: GreenThreads,
    pub(crate) runtime: RuntimeSection,
    /// What reports collect into, once it is installed.
    pub(crate) collection: OnceLock<Mutex<Collection>>,
    handle: OnceLock<Handle>,
    places: OnceLock<Result<Places, String>>,
    table: OnceLock<Result<TableReady, String>>,
    /// 1 once places and table are settled; reports wait on it.
    settled: AtomicU32,
    /// The stall watch that the setup asked for, or why there is none.
    watch: OnceLock<Result<StallWatch, String>>,
    /// Where [`wait_until_ready`](State::wait_until_ready) waits.
    changes: Mutex<()>,
    changed: Condvar,
}

/// Why there are no green threads in a process that may not have more memory.
pub(crate) const NO_ROOM: &str = "there was no address space for a list of tasks at setup: \
                                  raise RLIMIT_AS, or lower Options::max_tasks";

/// What is taken at setup and while the table is made, for any number of tasks; and
/// for each task. Rather more than is needed.
const ROOM_BYTES: usize = 160 << 20;
const ROOM_BYTES_PER_TASK: usize = 64;

/// Whether there is address space for all of that. A failed allocation would end the
/// process later, so this comes before.
fn has_room(max_tasks: usize) -> bool {
    let bytes = max_tasks.saturating_mul(ROOM_BYTES_PER_TASK).saturating_add(ROOM_BYTES);
    let mut room = Vec::<u8>::new();
    let is_there = room.try_reserve_exact(bytes).is_ok();
    // Else the compiler may leave out an allocation that nobody uses.
    std::hint::black_box(&mut room);
    is_there
}

/// The setup that holds, if there is one: the last.
static CURRENT: Mutex<Option<&'static State>> = Mutex::new(None);

impl State {
    pub(crate) fn leak(chosen: Chosen) -> &'static Self {
        let state: &'static State = Box::leak(Box::new(State {
            chosen,
            green_threads: GreenThreads::new(),
            runtime: RuntimeSection::new(),
            collection: OnceLock::new(),
            handle: OnceLock::new(),
            places: OnceLock::new(),
            table: OnceLock::new(),
            settled: AtomicU32::new(0),
            watch: OnceLock::new(),
            changes: Mutex::new(()),
            changed: Condvar::new(),
        }));
        state.green_threads.belongs_to(state);
        state.runtime.belongs_to(state);
        state
    }

    pub(crate) fn current() -> Option<&'static State> {
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handle(&self) -> Option<Handle> {
        self.handle.get().copied()
    }

    /// Where tokio keeps its thread-locals, or why that is not known. `None`: not yet.
    /// Signal-safe.
    pub(crate) fn places(&self) -> Option<Result<&Places, &str>> {
        self.places.get().map(|places| places.as_ref().map_err(String::as_str))
    }

    /// The table, if it is ready. Signal-safe.
    pub(crate) fn table(&self) -> Option<&TableReady> {
        self.table.get()?.as_ref().ok()
    }

    /// Why there is none; `None`: there is, or it is not known yet. Signal-safe.
    pub(crate) fn why_no_table(&self) -> Option<&str> {
        self.table.get()?.as_ref().err().map(String::as_str)
    }

    /// Why the stall watch that the setup asked for is not there. Signal-safe.
    pub(crate) fn why_no_watch(&self) -> Option<&str> {
        self.watch.get()?.as_ref().err().map(String::as_str)
    }

    /// Waits until it is known what there is, at most until `until_ns`. Signal-safe.
    pub(crate) fn wait_settled(&self, until_ns: u64, is_over: &dyn Fn() -> bool) -> bool {
        /// A takeover must be noticed.
        const SLICE_NS: u64 = 50_000_000;
        while self.settled.load(Ordering::Acquire) == 0 {
            let left_ns = until_ns.saturating_sub(wait::monotonic_ns());
            if left_ns == 0 || is_over() {
                return false;
            }
            wait::wait(&self.settled, 0, left_ns.min(SLICE_NS));
        }
        true
    }

    /// The setup has succeeded.
    pub(super) fn installed(&'static self, handle: Handle) {
        if has_room(self.chosen.max_tasks) {
            let collection = Collection::new(self.chosen.max_tasks);
            let _ = self.collection.set(Mutex::new(collection));
        }
        let _ = self.handle.set(handle);
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _ = runtimes::keep(&runtime);
        }
        handle.in_background(Box::new(move || self.prepare()));
        if let Some(threshold) = self.chosen.stall_watch {
            let watch = stall::start(self, threshold).map_err(|error| error.to_string());
            let _ = self.watch.set(watch);
        }
    }

    /// It is known whether there is a table: reports need not wait any longer.
    fn settle(&self, table: Result<TableReady, String>) {
        let _ = self.table.set(table);
        self.settled.store(1, Ordering::Release);
        wait::wake_all(&self.settled);
        self.tell();
    }

    /// Learns, finds the table, begins the self tests: on a worker.
    fn prepare(&'static self) {
        if self.collection.get().is_none() {
            let _ = self.places.set(Err(NO_ROOM.to_owned()));
            self.settle(Err(NO_ROOM.to_owned()));
            return;
        }
        let places = threads::learn().map_err(|error| error.to_string());
        let _ = self.places.set(places);
        let begun = Instant::now();
        let table = find_table(&self.chosen).and_then(|table| {
            let (origin, refused) = (table.origin.to_string(), table.refused.join("; "));
            let loaded = LoadedTable::load(table.image).map_err(|error| error.to_string())?;
            Ok(TableReady { loaded, origin, refused, elapsed: begun.elapsed() })
        });
        self.settle(table);
        for registered in runtimes::registered() {
            self.begin_self_test(registered);
        }
        self.tell();
    }

    /// Leaves a self test to a runtime, once; a report needs the table first.
    pub(crate) fn begin_self_test(&'static self, registered: &'static Registered) {
        let Some(table) = self.table() else { return };
        registered.root.get_or_init(|| table.loaded.root_of_handle(&registered.handle));
        // Kept before it is spawned: it may be polled at once.
        let mut is_new = false;
        let probe = registered.probe.get_or_init(|| {
            is_new = true;
            Probe::new(probe_changed)
        });
        if is_new {
            (self.chosen.spawn_probe)(&registered.handle, Arc::clone(probe));
        } else if probe.outcome() == Outcome::Parked {
            // Of a setup that was shut down before it looked: it would park for ever.
            probe_changed(probe);
        }
    }

    fn tell(&self) {
        drop(self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    pub(super) fn wait_until_ready(&self, patience: Duration) -> Result<(), String> {
        // `None`: for ever.
        let until = Instant::now().checked_add(patience);
        let mut guard = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let missing = match self.readiness() {
                Readiness::Ready => return Ok(()),
                Readiness::Never(why) => return Err(why),
                Readiness::NotYet(what) => what,
            };
            let left = until.map_or(Duration::from_secs(1 << 20), |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Err(missing);
            }
            (guard, _) =
                self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn readiness(&self) -> Readiness {
        match self.table.get() {
            None => return Readiness::NotYet("the await table is still being made".to_owned()),
            Some(Err(why)) => return Readiness::Never(format!("no await table: {why}")),
            Some(Ok(_)) => {}
        }
        let mut missing = None;
        for (registered, number) in runtimes::registered().zip(1..) {
            let Some(probe) = registered.probe.get() else {
                missing = Some(format!("the self test of runtime {number} has not begun"));
                continue;
            };
            let outcome = probe.outcome();
            if outcome == Outcome::Failed {
                return Readiness::Never(format!(
                    "self test of runtime {number} failed: {}",
                    probe.why()
                ));
            }
            if !outcome.is_final() {
                missing = Some(format!("the self test of runtime {number} {}", outcome.words()));
            }
        }
        missing.map_or(Readiness::Ready, Readiness::NotYet)
    }
}

enum Readiness {
    Ready,
    NotYet(String),
    Never(String),
}

/// A self test parks, or is over. On a thread of its runtime, or a worker.
fn probe_changed(probe: &Arc<Probe>) {
    let Some(state) = State::current() else { return };
    state.tell();
    if probe.outcome() != Outcome::Parked {
        return;
    }
    let (Some(handle), probe) = (state.handle(), Arc::clone(probe)) else { return };
    handle.in_background(Box::new(move || {
        let Some(table) = state.table() else { return };
        let root = root_of(&probe);
        probe::check(&probe, &table.loaded, root, state.chosen.max_tasks);
    }));
}

fn root_of(probe: &Arc<Probe>) -> Option<Root> {
    let is_its = |registered: &&Registered| {
        registered.probe.get().is_some_and(|other| Arc::ptr_eq(other, probe))
    };
    *runtimes::registered().find(is_its)?.root.get()?
}

/// What the kernel appends to the path of a file that was unlinked is no part of it.
fn without_deleted(path: PathBuf) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b" (deleted)").map_or(path.clone(), |path| OsStr::from_bytes(path).into())
}

fn find_table(chosen: &Chosen) -> Result<Table, String> {
    let limits = Limits {
        memory_bytes: chosen.memory_bytes,
        deadline: Instant::now() + TABLE_PATIENCE,
        debug_dirs: chosen.debug_dirs.clone(),
    };
    let path = std::env::current_exe()
        .or_else(|_| std::fs::read_link("/proc/self/exe"))
        .unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    // The executable itself, also if its file was replaced. What lies beside the place
    // where it was may still be of this build: build-ids tell.
    let path = without_deleted(path);
    let file = File::open("/proc/self/exe").ok();
    find(&path, file, chosen.await_table.as_deref(), &limits).map_err(|error| error.to_string())
}
