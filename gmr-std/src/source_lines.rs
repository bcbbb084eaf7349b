//! Source lines for the frames of a report, found by a worker.
//!
//! 1. The supervisor looks which of a report's addresses are not known yet, and
//!    leaves those in a buffer made at setup.
//! 2. A worker takes them, reads the debug information ([`crate::lines`]) under
//!    its memory budget, publishes a small immutable table, and drops the rest.
//! 3. The supervisor waits for that with a deadline, then reads the tables frame
//!    by frame. What comes later is there for the next report.
//!
//! Threads are parked at the same addresses most of the time: a second report
//! needs no worker, and has its lines with the allocator's lock held for ever.
//!
//! Limits: [`MOST_ADDRESSES`] in one report; tables of [`MOST_SEARCHES`]
//! searches, then they are made anew. An object loaded or unloaded makes all of them
//! void (addresses may mean something else).
//!
//! # Safety
//!
//! `wanted` is the supervisor's while the state is FILLING and the worker's
//! while it is RUNNING.
#![expect(unsafe_code, reason = "a buffer that changes hands; a signal-safe trait")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gmr_core::hosted::{LineRequest, SourceLine, SourceLines, wait};
use gmr_core::{Reporter, Stop};

use crate::config::Holder;
use crate::lines::{self, Limits, LineTable, Object, Wanted};
use crate::setup::LineChoices;
use crate::workers::handoff::GaveUp;
use crate::workers::panics;
use crate::workers::pool::Pool;

/// Addresses of one report that are looked up; as many as the core names.
const MOST_ADDRESSES: usize = 12 * 1024;

/// Searches whose results are kept side by side. Under load, reports keep meeting
/// new addresses for a while.
const MOST_SEARCHES: usize = 32;

/// So often what was left out is looked up again with the next report.
const MOST_CUT: u32 = 3;

/// A worker stops by itself after this long, whoever waits. Longer than a
/// report waits: what it finds is there for the next one.
const LONGEST_SEARCH: Duration = Duration::from_secs(20);

const IDLE: u32 = 0;
const FILLING: u32 = 1;
const POSTED: u32 = 2;
const RUNNING: u32 = 3;
/// RUNNING, and the report does not wait any more.
const LATE: u32 = 4;

/// What one search found.
struct Search {
    /// Every address that was looked up, sorted.
    addresses: Vec<u64>,
    table: LineTable,
}

/// The searches for one generation of the module table.
struct Known {
    generation: u64,
    searches: Vec<Arc<Search>>,
    /// Searches that had to leave something out for want of time or memory.
    cut: u32,
}

impl Known {
    /// The table that has the last word on an address.
    fn of(&self, address: u64) -> Option<&LineTable> {
        let has = |search: &&Arc<Search>| search.addresses.binary_search(&address).is_ok();
        self.searches.iter().find(has).map(|search| &search.table)
    }
}

/// See the module's page.
pub(crate) struct Lines {
    choices: LineChoices,
    known: Holder<Known>,
    state: AtomicU32,
    generation: AtomicU64,
    wanted: UnsafeCell<Vec<u64>>,
    /// Counts searches that ended: what a report waits on.
    searches: AtomicU32,
    /// The last preparation: a worker was late, or none came.
    was_late: AtomicBool,
    had_no_worker: AtomicBool,
    /// Addresses of the last request that lack their lines for want of time or
    /// memory.
    missing: AtomicU32,
    pool: OnceLock<&'static Pool>,
}

// SAFETY: `wanted` has one owner at a time, by the state.
unsafe impl Sync for Lines {}

impl core::fmt::Debug for Lines {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lines").field("choices", &self.choices).finish_non_exhaustive()
    }
}

impl Lines {
    pub(crate) fn new(choices: LineChoices) -> Self {
        Lines {
            choices,
            known: Holder::new(),
            state: AtomicU32::new(IDLE),
            generation: AtomicU64::new(0),
            wanted: UnsafeCell::new(Vec::with_capacity(MOST_ADDRESSES)),
            searches: AtomicU32::new(0),
            was_late: AtomicBool::new(false),
            had_no_worker: AtomicBool::new(false),
            missing: AtomicU32::new(0),
            pool: OnceLock::new(),
        }
    }

    /// Whose workers search. At setup.
    pub(crate) fn belong_to(&self, pool: &'static Pool) {
        let _ = self.pool.set(pool);
    }

    fn step(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Leaves what is not known yet for a worker. `false`: nothing is missing,
    /// or somebody else is at it.
    fn post(&self, request: &LineRequest<'_>) -> bool {
        if !self.step(IDLE, FILLING) {
            self.was_late.store(true, Ordering::Release);
            return false;
        }
        // SAFETY: ours while FILLING.
        let wanted = unsafe { &mut *self.wanted.get() };
        wanted.clear();
        self.known.read(|known| {
            // When there is no room for another search, it looks for everything.
            let known = known
                .filter(|known| known.generation == request.generation)
                .filter(|known| known.searches.len() < MOST_SEARCHES);
            request.addresses.each(&mut |address| {
                // Within the capacity made at setup: never allocates.
                if wanted.len() < wanted.capacity()
                    && known.is_none_or(|known| known.of(address).is_none())
                {
                    wanted.push(address);
                }
            });
        });
        self.generation.store(request.generation, Ordering::Release);
        let is_needed = !wanted.is_empty();
        self.state.store(if is_needed { POSTED } else { IDLE }, Ordering::Release);
        is_needed
    }

    /// Waits for what was posted, or gives up.
    fn wait(&self, request: &LineRequest<'_>) {
        let Some(pool) = self.pool.get() else { return };
        pool.wake();
        loop {
            let seen = self.searches.load(Ordering::Acquire);
            if self.state.load(Ordering::Acquire) == IDLE {
                return;
            }
            let left = request.deadline_ns.saturating_sub(wait::monotonic_ns());
            if !(request.is_current)() {
                // Another report goes on with whatever is posted.
                return;
            }
            if left == 0 {
                break;
            }
            wait::wait(&self.searches, seen, left.min(WAIT_SLICE_NS));
        }
        if self.step(POSTED, IDLE) {
            self.had_no_worker.store(true, Ordering::Release);
            return;
        }
        let outcome = pool.give_up(|| {
            if self.step(RUNNING, LATE) { GaveUp::Late { tid: None } } else { GaveUp::Done }
        });
        self.was_late.store(outcome != GaveUp::Done, Ordering::Release);
    }

    fn count_missing(&self, request: &LineRequest<'_>) -> u32 {
        let mut missing = 0_u32;
        self.known.read(|known| {
            let known = known.filter(|known| known.generation == request.generation);
            request.addresses.each(&mut |address| {
                let table = known.and_then(|known| known.of(address));
                if table.is_none_or(|table| table.lost_for_now(address)) {
                    missing = missing.saturating_add(1);
                }
            });
        });
        missing
    }

    /// A worker looks whether there is something to find.
    pub(crate) fn work(&self, pool: &Pool) -> bool {
        if !self.step(POSTED, RUNNING) {
            return false;
        }
        if let Some(reporter) = pool.reporter() {
            self.search(reporter);
        }
        let was_late = self.state.swap(IDLE, Ordering::AcqRel) == LATE;
        if was_late {
            pool.one_came_back();
        }
        self.searches.fetch_add(1, Ordering::AcqRel);
        wait::wake_all(&self.searches);
        true
    }

    fn search(&self, reporter: &'static Reporter) {
        let generation = self.generation.load(Ordering::Acquire);
        // SAFETY: ours while RUNNING.
        let mut wanted = unsafe { &*self.wanted.get() }.clone();
        let (mut searches, mut cut) = self.known.read(|known| match known {
            Some(known) if known.generation == generation => (known.searches.clone(), known.cut),
            _ => (Vec::new(), 0),
        });
        if searches.len() >= MOST_SEARCHES {
            // It was asked for everything: see `post`.
            searches.clear();
        }
        wanted.sort_unstable();
        wanted.dedup();
        let Some(objects) = objects(reporter, generation, &wanted) else { return };
        let limits = Limits {
            memory_bytes: self.choices.memory_bytes.unwrap_or_else(lines::default_memory_bytes),
            deadline: Instant::now() + LONGEST_SEARCH,
            is_wanted: &|| true,
            debug_dirs: &self.choices.debug_dirs,
            system_libraries: self.choices.system_libraries,
            full_names: self.choices.full_names,
        };
        let Ok(table) = panics::catch(|| lines::resolve(objects, &limits)) else { return };
        if table.was_cut() && cut < MOST_CUT {
            // The disk may be faster next time, and memory freer.
            cut += 1;
            wanted.retain(|address| !table.lost_for_now(*address));
        }
        searches.push(Arc::new(Search { addresses: wanted, table }));
        // Refused while a report is stuck for ever in an older table: then
        // there are names.
        let _ = self.known.replace(Known { generation, searches, cut });
    }
}

/// The objects that the addresses lie in, each with its addresses.
fn objects(reporter: &'static Reporter, generation: u64, wanted: &[u64]) -> Option<Vec<Object>> {
    let mut objects = Vec::new();
    let is_current = reporter.loaded_objects(generation, &mut |object| {
        let first = wanted.partition_point(|address| *address < object.start);
        let end = wanted.partition_point(|address| *address < object.end);
        let inside = wanted.get(first..end).unwrap_or_default();
        if inside.is_empty() || object.is_vdso {
            return;
        }
        let file = object.is_executable.then(|| executable(reporter)).flatten();
        objects.push(Object {
            path: object.path.to_vec(),
            file,
            build_id: object.build_id.map(<[u8]>::to_vec),
            device_inode: object
                .device_inode
                .map(|(major, minor, inode)| (libc::makedev(major, minor), inode)),
            is_executable: object.is_executable,
            wanted: inside
                .iter()
                .map(|&avma| Wanted { avma, svma: avma.wrapping_sub(object.bias) })
                .collect(),
        });
    });
    is_current.then_some(objects)
}

/// The executable, which may have been replaced on disk.
fn executable(reporter: &Reporter) -> Option<File> {
    // SAFETY: open since setup. If the program closed it all the same, another
    // file is found there, and not believed.
    let fd = unsafe { BorrowedFd::borrow_raw(reporter.executable_fd()?) };
    fd.try_clone_to_owned().ok().map(File::from)
}

// SAFETY: `prepare` and `lines` read an immutable table through the holder,
// write into a buffer within its capacity, wait by futex with the request's
// deadline; nothing is allocated or freed.
unsafe impl SourceLines for Lines {
    fn prepare(&self, request: &LineRequest<'_>) {
        self.was_late.store(false, Ordering::Release);
        self.had_no_worker.store(false, Ordering::Release);
        if self.post(request) {
            self.wait(request);
        }
        self.missing.store(self.count_missing(request), Ordering::Release);
    }

    fn lines(
        &self,
        generation: u64,
        address: u64,
        each: &mut dyn FnMut(&SourceLine<'_>) -> Result<(), Stop>,
    ) -> Result<bool, Stop> {
        self.known.read(|known| {
            let Some(known) = known.filter(|known| known.generation == generation) else {
                return Ok(false);
            };
            let Some(table) = known.of(address) else { return Ok(false) };
            let mut has_any = false;
            for line in table.frames(address) {
                has_any = true;
                each(&SourceLine {
                    function: line.function,
                    function_truncated: line.function_truncated,
                    file: line.file,
                    line: line.line,
                    is_inlined: line.is_inlined,
                })?;
            }
            Ok(has_any)
        })
    }

    fn summary(&self, say: &mut dyn FnMut(&str)) -> bool {
        let is_cut = self.missing.load(Ordering::Acquire) > 0;
        if is_cut && self.was_late.load(Ordering::Acquire) {
            say("a worker is still looking for them; names only where they are missing");
        } else if is_cut && self.had_no_worker.load(Ordering::Acquire) {
            say("no worker came to look for them; names only where they are missing");
        } else {
            self.known.read(|known| match known.and_then(|known| known.searches.last()) {
                Some(search) if search.table.was_cut() || !is_cut => say(search.table.summary()),
                None if !is_cut => {}
                _ => say("some are missing, for want of time or memory in an earlier report"),
            });
        }
        is_cut
    }
}

/// Longest single wait for a worker: a takeover must be noticed.
const WAIT_SLICE_NS: u64 = 50_000_000;
