//! The workers themselves: mailbox, loop, spares. See [`super`].
//!
//! # Safety
//!
//! A pointer in the mailbox is a section that its supervisor keeps alive until
//! it has taken the pointer back; a worker that takes it first has the section
//! to itself by the [`Handoff`](super::handoff::Handoff).
#![expect(unsafe_code, reason = "sections travel as pointers")]

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use gmr_core::Reporter;
use gmr_core::hosted::wait;
use gmr_core::redact::Redaction;

use super::handoff::{Fate, GaveUp, Handoff};
use super::panics;
use super::section::Section;
use crate::source_lines::Lines;

/// Workers there should be.
pub(crate) const WORKERS: u32 = 2;

/// Workers there may be, stuck ones included.
pub(crate) const MOST_WORKERS: u32 = 5;

/// More than supervisors can post at a time.
const PLACES: usize = 4;

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a worker: what it asks of a report would wait for
/// itself.
pub(crate) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// The workers of one reporter. Never freed: a stuck worker may hold on to it.
pub(crate) struct Pool {
    reporter: OnceLock<&'static Reporter>,
    mailbox: [AtomicPtr<Section>; PLACES],
    /// Threads, stuck ones included.
    alive: AtomicU32,
    /// Threads with work that was given up, or with a job.
    stuck: AtomicU32,
    /// Numbers the threads' names.
    started: AtomicU32,
    /// Nobody took what was posted: they are all somewhere they do not come
    /// back from. Cleared by the first who does.
    is_silent: AtomicBool,
    /// Reports that wait for a section just now.
    waiting: AtomicU32,
    /// Until when what the process sends itself counts as a section's.
    answered_until_ns: AtomicU64,
    /// Counts sections that were handed back: what reports wait on. (Not a word
    /// of the section, which may be gone when its worker wakes the report.)
    delivered: AtomicU32,
    /// Starts a further worker: the platform's business.
    spawn: fn(&'static Pool, u32) -> std::io::Result<()>,
    /// The other work there is.
    lines: Option<&'static Lines>,
    /// What a worker does when nothing else is to be done.
    jobs: Mutex<Jobs>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("alive", &self.alive)
            .field("stuck", &self.stuck)
            .finish_non_exhaustive()
    }
}

/// Ordinary work that no report waits for.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Jobs are done one at a time, in their order: one that hangs costs one worker.
#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    is_at_one: bool,
}

impl Pool {
    pub(crate) fn new(
        lines: Option<&'static Lines>,
        spawn: fn(&'static Pool, u32) -> std::io::Result<()>,
    ) -> Self {
        Pool {
            reporter: OnceLock::new(),
            mailbox: [const { AtomicPtr::new(ptr::null_mut()) }; PLACES],
            alive: AtomicU32::new(0),
            stuck: AtomicU32::new(0),
            started: AtomicU32::new(0),
            is_silent: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            answered_until_ns: AtomicU64::new(0),
            delivered: AtomicU32::new(0),
            spawn,
            lines,
            jobs: Mutex::new(Jobs::default()),
        }
    }

    /// Whom the workers work for. At setup, before they run.
    pub(crate) fn belongs_to(&self, reporter: &'static Reporter) {
        let _ = self.reporter.set(reporter);
    }

    pub(crate) fn reporter(&self) -> Option<&'static Reporter> {
        self.reporter.get().copied()
    }

    /// What the reporter takes for a secret.
    pub(crate) fn redaction(&self) -> &'static Redaction {
        self.reporter().map_or(const { &Redaction::new() }, Reporter::redaction)
    }

    /// A number for the next worker.
    pub(crate) fn number(&self) -> u32 {
        self.alive.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel)
    }

    /// The worker that [`number`](Self::number) was asked for did not start.
    pub(crate) fn not_started(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a report waits for a section just now, or did a moment ago.
    ///
    /// # Signal safety
    ///
    /// Safe.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire) != 0
            || wait::monotonic_ns() < self.answered_until_ns.load(Ordering::Acquire)
    }

    // ----- supervisors -----

    /// Whether posting is in vain. Signal-safe.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// Posts a claimed section and waits for it until `is_over`. Signal-safe.
    pub(crate) fn run_elsewhere(&self, section: &Section, is_over: &dyn Fn() -> bool) -> GaveUp {
        let pointer = section.this();
        let take_back = || {
            self.mailbox.iter().any(|place| {
                place
                    .compare_exchange(pointer, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            })
        };
        let is_posted = self.mailbox.iter().any(|place| {
            place
                .compare_exchange(ptr::null_mut(), pointer, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        });
        let handoff = &section.handoff;
        if !is_posted {
            handoff.release();
            return GaveUp::NotTaken;
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.wake();
        loop {
            let seen = self.delivered.load(Ordering::Acquire);
            if handoff.is_done() || is_over() {
                break;
            }
            wait::wait(&self.delivered, seen, WAIT_SLICE_NS);
        }
        let outcome = self.settle(handoff, take_back);
        // Before the count: a section's signal may reach its handler only now.
        let until_ns = wait::monotonic_ns().saturating_add(DELIVERY_NS);
        self.answered_until_ns.store(until_ns, Ordering::Release);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if outcome == GaveUp::NotTaken {
            self.is_silent.store(true, Ordering::Release);
            // A worker that came just now has cleared it too early: once more.
            self.wake();
        }
        outcome
    }

    /// Gives up what is not done. (What is done costs no worker: while one counted as
    /// stuck, another that looks would start a spare, which is one too many at once.)
    fn settle(&self, handoff: &Handoff, take_back: impl FnOnce() -> bool) -> GaveUp {
        if handoff.is_done() {
            return GaveUp::Done;
        }
        self.give_up(|| handoff.give_up(take_back))
    }

    /// Gives up, and has another worker start a spare if one is stuck now.
    pub(crate) fn give_up(&self, give_up: impl FnOnce() -> GaveUp) -> GaveUp {
        // Before: the worker may come back at once.
        self.stuck.fetch_add(1, Ordering::AcqRel);
        let outcome = give_up();
        if matches!(outcome, GaveUp::Late { .. }) {
            self.wake();
        } else {
            self.one_came_back();
        }
        outcome
    }

    /// Leaves work for a worker. For ordinary threads.
    pub(crate) fn in_background(&self, job: Job) {
        self.jobs().waiting.push_back(job);
        self.wake();
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a worker. Signal-safe.
    pub(crate) fn wake(&self) {
        if let Some(reporter) = self.reporter() {
            reporter.wake_worker();
        }
    }

    // ----- workers -----

    /// A worker came back from work that was given up.
    pub(crate) fn one_came_back(&self) {
        self.stuck.fetch_sub(1, Ordering::AcqRel);
    }

    /// Serves as a worker until shutdown, or until there are too many.
    pub(crate) fn serve(&'static self, reporter: &'static Reporter) {
        IS_WORKER.set(true);
        let tid = wait::gettid();
        let mut left = false;
        reporter.run_worker(&mut || {
            // A closure's panic is caught where it is called. This is for one of
            // ours: it must not cost the worker.
            let stays = catch_unwind(AssertUnwindSafe(|| self.work(tid))).unwrap_or(true);
            left |= !stays;
            stays
        });
        if !left {
            self.alive.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Does all there is to do. `false`: this worker is one too many.
    fn work(&'static self, tid: u32) -> bool {
        loop {
            self.is_silent.store(false, Ordering::Release);
            self.start_a_spare();
            let taken = self
                .mailbox
                .iter()
                .find_map(|place| NonNull::new(place.swap(ptr::null_mut(), Ordering::AcqRel)));
            if let Some(section) = taken {
                self.run(section, tid);
            } else if !self.lines.is_some_and(|lines| lines.work(self)) && !self.do_a_job() {
                return !self.is_one_too_many();
            }
        }
    }

    /// Does the next job, unless another worker is at one: that one goes on with
    /// what is left. Reports must not miss this worker meanwhile: it counts as stuck,
    /// and a spare takes its place.
    fn do_a_job(&'static self) -> bool {
        let Some(job) = self.begin_a_job() else { return false };
        self.stuck.fetch_add(1, Ordering::AcqRel);
        self.start_a_spare();
        // What it says is for whoever has left it, who may catch it there.
        let _ = panics::catch(job);
        self.one_came_back();
        self.jobs().is_at_one = false;
        true
    }

    fn begin_a_job(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        if jobs.is_at_one {
            return None;
        }
        let job = jobs.waiting.pop_front()?;
        jobs.is_at_one = true;
        Some(job)
    }

    fn run(&self, section: NonNull<Section>, tid: u32) {
        let fate = {
            // SAFETY: see the module's page; a worker that has taken the
            // pointer may look at the section until it has handed it back.
            let section = unsafe { section.as_ref() };
            let fate = section.handoff.begin(tid);
            if fate == Fate::Wanted {
                section.produce();
                section.handoff.finish()
            } else {
                fate
            }
        };
        match fate {
            // From here on the section may be gone.
            Fate::Wanted => self.deliver(),
            Fate::Late => self.one_came_back(),
            Fate::Orphaned => {
                self.one_came_back();
                // SAFETY: unregistered while this worker had it, which left it
                // to this worker.
                unsafe { Section::free(section) };
            }
        }
    }

    /// Something was handed back.
    fn deliver(&self) {
        self.delivered.fetch_add(1, Ordering::AcqRel);
        wait::wake_all(&self.delivered);
    }

    fn start_a_spare(&'static self) {
        let alive = self.alive.load(Ordering::Acquire);
        let stuck = self.stuck.load(Ordering::Acquire);
        if stuck == 0 || alive >= MOST_WORKERS || alive.saturating_sub(stuck) >= WORKERS {
            return;
        }
        let more = alive.saturating_add(1);
        if self.alive.compare_exchange(alive, more, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return;
        }
        let number = self.started.fetch_add(1, Ordering::AcqRel);
        // Without room for a thread there is none; the next report tries again.
        if (self.spawn)(self, number).is_err() {
            self.not_started();
        }
    }

    fn is_one_too_many(&self) -> bool {
        let alive = self.alive.load(Ordering::Acquire);
        let stuck = self.stuck.load(Ordering::Acquire);
        alive.saturating_sub(stuck) > WORKERS
            && self
                .alive
                .compare_exchange(
                    alive,
                    alive.saturating_sub(1),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

/// How long a signal may take from its sender to its handler, on a busy machine.
const DELIVERY_NS: u64 = 250_000_000;

/// Longest single wait for a worker: a takeover must be noticed.
const WAIT_SLICE_NS: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_counts_as_stuck_while_a_result_is_taken() {
        let pool = Pool::new(None, |_, _| Ok(()));
        let handoff = Handoff::new();
        handoff.claim().expect("idle");
        handoff.begin(7);
        handoff.finish();
        let look = || {
            assert_eq!(pool.stuck.load(Ordering::Acquire), 0);
            false
        };
        assert_eq!(pool.settle(&handoff, look), GaveUp::Done);

        handoff.release();
        handoff.claim().expect("idle again");
        handoff.begin(7);
        assert_eq!(pool.settle(&handoff, || false), GaveUp::Late { tid: Some(7) });
        assert_eq!(pool.stuck.load(Ordering::Acquire), 1);
    }
}
