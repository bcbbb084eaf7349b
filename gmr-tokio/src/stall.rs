//! The stall watch: a report, by itself, when a worker does not come back from a poll.
//!
//! 1. One thread, `gmr-stall-watch`, looks at the registered runtimes sixteen times in a
//!    threshold, at uneven intervals. It is the only thread of this project that wakes
//!    up by itself, and there only if the program asks for it.
//! 2. A worker that is parked, or has parked since the last look, costs an atomic load.
//!    One that has not is looked at as a report does ([`crate::workers`]).
//! 3. The same poll at every look for the threshold is an *episode*: one report is
//!    requested, and no other for it. Reports requested by the watch are a *cooldown*
//!    apart; an episode that lasts longer than that is told then.
//! 4. Where it is not known which thread polls what, a runtime counts as stalled if
//!    it has tasks in its queue, none of its workers parks, and their counters stand
//!    still.
//!
//! Nothing is allocated once it runs, and no lock is taken but by `try_lock`: it works
//! while the allocator's lock is held.
//!
//! # Safety
//!
//! System calls on memory of its own; a signal mask of its own.
#![expect(unsafe_code, reason = "pthread_sigmask(3), getdents64(2)")]

mod error;
mod list;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gmr_core::Requester;
use gmr_core::hosted::wait;

pub use error::StallWatchError;

use crate::runtimes::{self, Registered};
use crate::setup::{State, nanoseconds};
use crate::threads::Places;
use crate::workers::{EPISODES, Episode, LOOKS, Poll, Standing, cpu_ns, standing};

/// Looks in one threshold.
const LOOKS_IN_THRESHOLD: u64 = 16;

/// Looks are not closer: a shorter threshold is not worth a core.
const MIN_INTERVAL_NS: u64 = 250_000;

/// Workers that are watched.
const MAX_WORKERS: usize = 1024;

/// Rounds between two searches for the threads of workers.
const SEARCH_EVERY: u32 = 16;

/// The one that runs: there is one at most, but for those of earlier setups, which end.
static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    state: &'static State,
    shared: Arc<Shared>,
}

fn running() -> MutexGuard<'static, Option<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watch has ended: makes room for another.
fn leave(shared: &Arc<Shared>) {
    let mut running = running();
    if running.as_ref().is_some_and(|own| Arc::ptr_eq(&own.shared, shared)) {
        *running = None;
    }
}

/// A stall watch that runs. Letting it go changes nothing; [`stop`](Self::stop) ends it.
#[derive(Debug)]
pub struct StallWatch {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// 1: end.
    stop: AtomicU32,
    reports: AtomicU64,
}

impl Shared {
    fn end(&self) {
        self.stop.store(1, Ordering::Release);
        wait::wake_all(&self.stop);
    }
}

impl StallWatch {
    /// How many reports it has requested.
    #[must_use]
    pub fn reports(&self) -> u64 {
        self.shared.reports.load(Ordering::Acquire)
    }

    /// Ends the watch, and waits until it has ended.
    pub fn stop(self) {
        self.shared.end();
        // It catches nothing and panics nowhere; were it otherwise, it has ended too.
        let _ = self.thread.join();
    }
}

/// Starts a watch over the registered runtimes: when a worker stays in one poll for
/// longer than `threshold`, a report is written, once for each such poll.
///
/// The report's findings name the thread, the task, where that is defined or was
/// spawned, and the frame that blocks. At least a minute lies between two reports of
/// the watch ([`Options::stall_cooldown`](crate::Options::stall_cooldown)).
///
/// The runtimes need not cooperate; they may be blocked altogether. Runtimes that
/// nobody has [registered](crate::register) are not watched.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # gmr_tokio::setup_autorun(gmr_tokio::package!()).install()?;
/// let watch = gmr_tokio::stall_watch(std::time::Duration::from_millis(200))?;
/// // serve…
/// watch.stop();
/// # Ok(())
/// # }
/// ```
///
/// # Cost
///
/// A thread that wakes up sixteen times in a threshold, at most every 250 us. For each
/// worker an atomic load; three to five system calls if it has been active since the
/// last time.
///
/// # Errors
///
/// [`StallWatchError`].
pub fn stall_watch(threshold: Duration) -> Result<StallWatch, StallWatchError> {
    let state = State::current().ok_or(StallWatchError::NoSetup)?;
    start(state, threshold)
}

pub(crate) fn start(
    state: &'static State,
    threshold: Duration,
) -> Result<StallWatch, StallWatchError> {
    let shared = Arc::new(Shared::default());
    {
        let mut running = running();
        if let Some(earlier) = &*running {
            if core::ptr::eq(earlier.state, state) {
                return Err(StallWatchError::Running);
            }
            // Of a setup that was shut down: nobody takes its requests.
            earlier.shared.end();
        }
        *running = Some(Running { state, shared: Arc::clone(&shared) });
    }
    let watch = Watch::new(state, nanoseconds(threshold).max(1), Arc::clone(&shared));
    let own = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("gmr-stall-watch".into())
        .spawn(move || {
            block_signals();
            watch.run();
            leave(&own);
        })
        .map_err(|error| {
            leave(&shared);
            StallWatchError::Thread(error)
        })?;
    Ok(StallWatch { shared, thread })
}

/// No handler of the program's runs on this thread.
fn block_signals() {
    // SAFETY: plain data, for which zero is a value.
    let mut all: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a valid place to write to.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: the set is filled; the old one is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, core::ptr::null_mut()) };
}

/// What is known of one worker.
#[derive(Debug, Clone, Copy, Default)]
struct Worker {
    tid: u32,
    /// The poll that it was in, since when, and at how many looks.
    poll: Option<Poll>,
    since_ns: u64,
    cpu_ns: u64,
    looks: u32,
    /// Counter of parking at the last look.
    unparks: u64,
    is_told: bool,
}

/// What is known of one runtime where threads are not.
#[derive(Debug, Clone, Copy, Default)]
struct Whole {
    signature: u64,
    since_ns: u64,
    looks: u32,
    is_told: bool,
}

struct Watch {
    state: &'static State,
    threshold_ns: u64,
    shared: Arc<Shared>,
    /// Of all registered runtimes, one after the other: their order never changes.
    workers: Vec<Worker>,
    wholes: Vec<Whole>,
    /// When the last report was requested.
    told_ns: Option<u64>,
    random: u64,
    rounds_since_search: u32,
}

impl Watch {
    fn new(state: &'static State, threshold_ns: u64, shared: Arc<Shared>) -> Self {
        Watch {
            state,
            threshold_ns,
            shared,
            workers: vec![Worker::default(); MAX_WORKERS],
            wholes: vec![Whole::default(); runtimes::MOST_RUNTIMES],
            told_ns: None,
            random: wait::monotonic_ns() | 1,
            rounds_since_search: SEARCH_EVERY,
        }
    }

    fn run(mut self) {
        let is_stopped = || self.shared.stop.load(Ordering::Acquire) != 0;
        // Until it is known where to look.
        while !self.state.wait_settled(wait::monotonic_ns().saturating_add(1 << 30), &is_stopped) {
            if is_stopped() {
                return;
            }
        }
        let shared = Arc::clone(&self.shared);
        while shared.stop.load(Ordering::Acquire) == 0 {
            match self.state.places().and_then(Result::ok) {
                Some(places) => self.look_at_workers(places),
                None => self.look_at_runtimes(),
            }
            wait::wait(&shared.stop, 0, self.interval_ns());
        }
    }

    /// Three quarters to five quarters of a sixteenth of the threshold: so that looks
    /// do not keep step with what they look at.
    fn interval_ns(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let mean_ns = (self.threshold_ns / LOOKS_IN_THRESHOLD).max(MIN_INTERVAL_NS);
        let quarter_ns = mean_ns / 4;
        let jitter_ns = self.random % quarter_ns.saturating_mul(2).max(1);
        mean_ns.saturating_sub(quarter_ns).saturating_add(jitter_ns)
    }

    fn look_at_workers(&mut self, places: &Places) {
        let mut all = core::mem::take(&mut self.workers);
        let (mut at, mut lost, mut worst) = (0_usize, false, None::<(u32, u64)>);
        for registered in runtimes::registered() {
            for index in 0..registered.metrics.num_workers() {
                let Some(worker) = all.get_mut(at) else { break };
                at = at.saturating_add(1);
                lost |= !worker.look(registered, index, places);
                let for_ns = worker.same_for_ns();
                if worker.looks >= LOOKS
                    && for_ns >= self.threshold_ns
                    && !worker.is_told
                    && worst.is_none_or(|(_, longest)| for_ns > longest)
                {
                    worst = Some((worker.tid, for_ns));
                }
            }
        }
        self.rounds_since_search = self.rounds_since_search.saturating_add(1);
        if lost && self.rounds_since_search >= SEARCH_EVERY {
            self.rounds_since_search = 0;
            search(&mut all, places);
        }
        if let Some((tid, for_ns)) = worst
            && self.tell(tid, for_ns)
        {
            // The report is about all that are blocked by now.
            for worker in all.iter_mut().take(at) {
                worker.is_told |= worker.poll.is_some();
            }
        }
        self.workers = all;
    }

    /// Without a way to look at threads.
    fn look_at_runtimes(&mut self) {
        let mut wholes = core::mem::take(&mut self.wholes);
        let mut worst = None::<u64>;
        for (registered, whole) in runtimes::registered().zip(&mut wholes) {
            let for_ns = whole.look(registered);
            if whole.looks >= LOOKS && for_ns >= self.threshold_ns && !whole.is_told {
                worst = worst.max(Some(for_ns));
            }
        }
        if let Some(for_ns) = worst
            && self.tell(0, for_ns)
        {
            for whole in &mut wholes {
                whole.is_told |= whole.looks != 0;
            }
        }
        self.wholes = wholes;
    }

    /// Requests a report, if the last one is long enough ago.
    fn tell(&mut self, tid: u32, for_ns: u64) -> bool {
        let now_ns = wait::monotonic_ns();
        let cooldown_ns = self.state.chosen.stall_cooldown_ns;
        let is_early =
            self.told_ns.is_some_and(|told_ns| now_ns.saturating_sub(told_ns) < cooldown_ns);
        let Some(handle) = self.state.handle().filter(|_| !is_early) else { return false };
        self.told_ns = Some(now_ns);
        self.shared.reports.fetch_add(1, Ordering::AcqRel);
        handle.reporter().request(Requester::stall(tid, for_ns));
        true
    }
}

impl Worker {
    /// Looks at it. `false`: it is active, and its thread is not known.
    fn look(&mut self, registered: &Registered, index: usize, places: &Places) -> bool {
        let unparks = registered.metrics.worker_park_unpark_count(index);
        let has_parked = core::mem::replace(&mut self.unparks, unparks) != unparks;
        if unparks % 2 == 1 || has_parked {
            self.forget();
            return true;
        }
        let Ok(number) = u32::try_from(index) else { return true };
        let is_its = |look: &crate::threads::Look| {
            look.is_driving && look.index == Some(number) && look.runtime == registered.address
        };
        let look = (self.tid != 0).then(|| places.look(self.tid)).flatten().filter(is_its);
        let Some(look) = look else {
            self.tid = 0;
            self.forget();
            return false;
        };
        let Standing::Polling(poll) = standing(registered, number, &look, places.knows_polls())
        else {
            self.forget();
            return true;
        };
        if self.poll == Some(poll) {
            self.looks = self.looks.saturating_add(1);
            if self.looks == LOOKS {
                EPISODES.recall(Episode {
                    address: registered.address,
                    index: number,
                    tid: self.tid,
                    poll,
                    since_ns: self.since_ns,
                    cpu_ns: self.cpu_ns,
                });
            }
        } else {
            let (tid, since_ns) = (self.tid, wait::monotonic_ns());
            let cpu_ns = cpu_ns(tid).unwrap_or(0);
            *self = Worker {
                tid,
                poll: Some(poll),
                since_ns,
                cpu_ns,
                looks: 1,
                unparks,
                is_told: false,
            };
        }
        true
    }

    fn forget(&mut self) {
        (self.poll, self.looks, self.is_told) = (None, 0, false);
    }

    fn same_for_ns(&self) -> u64 {
        self.poll.map_or(0, |_| wait::monotonic_ns().saturating_sub(self.since_ns))
    }
}

/// Looks for the threads of all workers.
fn search(workers: &mut [Worker], places: &Places) {
    list::threads(&mut |tid| {
        let Some(look) = places.look(tid).filter(|look| look.is_driving) else { return };
        let mut first = 0_usize;
        for registered in runtimes::registered() {
            let count = registered.metrics.num_workers();
            let index = look.index.map(|index| index as usize).filter(|index| *index < count);
            if let Some(index) = index.filter(|_| look.runtime == registered.address) {
                if let Some(worker) = workers.get_mut(first.saturating_add(index)) {
                    worker.tid = tid;
                }
                return;
            }
            first = first.saturating_add(count);
        }
    });
}

impl Whole {
    /// For how long nothing has moved, although there is something to do.
    fn look(&mut self, registered: &Registered) -> u64 {
        let metrics = &registered.metrics;
        let (mut signature, mut is_active) = (0_u64, metrics.global_queue_depth() != 0);
        for index in 0..metrics.num_workers() {
            let unparks = metrics.worker_park_unpark_count(index);
            is_active &= unparks.is_multiple_of(2);
            let busy = nanoseconds(metrics.worker_total_busy_duration(index));
            signature = signature.wrapping_mul(31).wrapping_add(unparks).wrapping_add(busy);
        }
        let now_ns = wait::monotonic_ns();
        if !is_active {
            *self = Whole::default();
            return 0;
        }
        if self.looks == 0 || self.signature != signature {
            *self = Whole { signature, since_ns: now_ns, looks: 1, is_told: false };
            return 0;
        }
        self.looks = self.looks.saturating_add(1);
        now_ns.saturating_sub(self.since_ns)
    }
}
