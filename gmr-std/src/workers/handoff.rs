//! Work that a supervisor hands to a worker and wants back by a deadline.
//!
//! # Protocol
//!
//! ```text
//! IDLE ─claim→ POSTED ─begin→ RUNNING ─finish→ DONE ─release→ IDLE
//!                 └────give_up────┴→ LATE ─begin/finish→ IDLE
//! ```
//!
//! 1. The supervisor claims, and puts the work where workers look for it.
//! 2. The worker begins, works, finishes. In RUNNING and LATE the result is the
//!    worker's alone, in DONE the supervisor's.
//! 3. A supervisor that gives up takes the work back if no worker has taken it,
//!    else marks it late: the worker then drops the result when it comes back.
//!    Until then the work is *stuck*, and nobody can claim it.
//! 4. Whoever unregisters the work detaches it. If a worker is still with it,
//!    the worker frees it at its end.
//!
//! Nobody waits here; that is the pool's.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

const IDLE: u32 = 0;
const POSTED: u32 = 1;
const RUNNING: u32 = 2;
const DONE: u32 = 3;
const LATE: u32 = 4;
/// A flag beside the state.
const DETACHED: u32 = 8;

fn state(word: u32) -> u32 {
    word & !DETACHED
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Handoff {
    word: AtomicU32,
    /// Who runs it; 0: nobody.
    worker: AtomicU32,
}

/// Why work cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The worker of an earlier report has not come back.
    Stuck {
        /// The worker's thread, if it is known.
        tid: Option<u32>,
    },
    /// Another report is at it.
    InUse,
}

/// What a supervisor that gives up is left with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// It was done at the last moment: the result may be read.
    Done,
    /// No worker had taken it.
    NotTaken,
    /// A worker has it.
    Late {
        /// The worker's thread, if it has begun.
        tid: Option<u32>,
    },
}

/// What a worker does with work that it has taken or finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Begun: run it. Finished: it was delivered.
    Wanted,
    /// The supervisor had given up.
    Late,
    /// The supervisor had given up, and it was unregistered: free it.
    Orphaned,
}

impl Handoff {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Handoff { word: AtomicU32::new(IDLE), worker: AtomicU32::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Handoff { word: AtomicU32::new(IDLE), worker: AtomicU32::new(0) }
    }

    /// Whether the result is there.
    pub(crate) fn is_done(&self) -> bool {
        state(self.word.load(Ordering::Acquire)) == DONE
    }

    /// Whether a worker has not come back from an earlier report.
    pub(crate) fn is_stuck(&self) -> bool {
        state(self.word.load(Ordering::Acquire)) == LATE
    }

    fn tid(&self) -> Option<u32> {
        Some(self.worker.load(Ordering::Acquire)).filter(|tid| *tid != 0)
    }

    /// The supervisor: begins a hand-off.
    pub(crate) fn claim(&self) -> Result<(), Refused> {
        match self.word.compare_exchange(IDLE, POSTED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(LATE) => Err(Refused::Stuck { tid: self.tid() }),
            Err(_) => Err(Refused::InUse),
        }
    }

    /// The supervisor: the result has been read, or nobody was told.
    pub(crate) fn release(&self) {
        self.word.fetch_and(DETACHED, Ordering::AcqRel);
    }

    /// The supervisor: its deadline has passed. `retract` takes the work back
    /// from where workers look, and says whether it was still there.
    pub(crate) fn give_up(&self, retract: impl FnOnce() -> bool) -> GaveUp {
        if retract() {
            self.release();
            return GaveUp::NotTaken;
        }
        let mut now = self.word.load(Ordering::Acquire);
        loop {
            if state(now) == DONE {
                return GaveUp::Done;
            }
            let late = (now & DETACHED) | LATE;
            match self.word.compare_exchange(now, late, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return GaveUp::Late { tid: self.tid() },
                Err(other) => now = other,
            }
        }
    }

    /// The worker `tid`, which has taken it, begins.
    pub(crate) fn begin(&self, tid: u32) -> Fate {
        self.worker.store(tid, Ordering::Release);
        self.advance(POSTED, RUNNING)
    }

    /// The worker has written the result.
    pub(crate) fn finish(&self) -> Fate {
        // Before: afterwards another worker may have it.
        self.worker.store(0, Ordering::Release);
        self.advance(RUNNING, DONE)
    }

    fn advance(&self, from: u32, to: u32) -> Fate {
        let mut now = self.word.load(Ordering::Acquire);
        loop {
            let next = if state(now) == from { to } else { IDLE };
            if next == IDLE {
                self.worker.store(0, Ordering::Release);
            }
            let next_word = (now & DETACHED) | next;
            match self.word.compare_exchange(now, next_word, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if next == to => return Fate::Wanted,
                Ok(_) if now & DETACHED != 0 => return Fate::Orphaned,
                Ok(_) => return Fate::Late,
                Err(other) => now = other,
            }
        }
    }

    /// Unregisters: nobody will claim it again. `true`: no worker is with it,
    /// the caller frees it.
    pub(crate) fn detach(&self) -> bool {
        state(self.word.fetch_or(DETACHED, Ordering::AcqRel)) == IDLE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_whole_round() {
        let handoff = Handoff::new();
        assert_eq!(handoff.claim(), Ok(()));
        assert_eq!(handoff.claim(), Err(Refused::InUse));
        assert_eq!(handoff.begin(7), Fate::Wanted);
        assert_eq!(handoff.finish(), Fate::Wanted);
        assert!(handoff.is_done() && !handoff.is_stuck());
        assert_eq!(handoff.give_up(|| false), GaveUp::Done);
        handoff.release();
        assert_eq!(handoff.claim(), Ok(()));
    }

    #[test]
    fn late_work_is_stuck_until_its_worker_comes_back() {
        let handoff = Handoff::new();
        handoff.claim().unwrap();
        assert_eq!(handoff.begin(7), Fate::Wanted);
        assert_eq!(handoff.give_up(|| false), GaveUp::Late { tid: Some(7) });
        assert_eq!(handoff.claim(), Err(Refused::Stuck { tid: Some(7) }));
        assert!(handoff.is_stuck());
        assert_eq!(handoff.finish(), Fate::Late);
        assert_eq!(handoff.claim(), Ok(()));
        assert_eq!(handoff.give_up(|| true), GaveUp::NotTaken);
        assert_eq!(handoff.claim(), Ok(()));
    }

    #[test]
    fn detached_work_is_freed_once() {
        let handoff = Handoff::new();
        assert!(handoff.detach());
        let handoff = Handoff::new();
        handoff.claim().unwrap();
        handoff.begin(7);
        handoff.give_up(|| false);
        assert!(!handoff.detach(), "its worker is with it");
        assert_eq!(handoff.finish(), Fate::Orphaned);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    use super::{Fate, GaveUp, Handoff};

    struct Work {
        handoff: Handoff,
        /// Where workers look for it.
        posted: AtomicBool,
        result: UnsafeCell<u32>,
        freed: AtomicBool,
    }

    // SAFETY: loom checks that access to the result is exclusive.
    #[expect(unsafe_code, reason = "loom checks it")]
    unsafe impl Sync for Work {}
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "loom checks it")]
    unsafe impl Send for Work {}

    fn write(work: &Work) {
        #[expect(unsafe_code, reason = "loom checks it")]
        // SAFETY: the worker's while it runs.
        work.result.with_mut(|result| unsafe { *result += 1 });
    }

    fn read(work: &Work) -> u32 {
        #[expect(unsafe_code, reason = "loom checks it")]
        // SAFETY: the supervisor's when it is done.
        work.result.with(|result| unsafe { *result })
    }

    /// A worker that looks once.
    fn worker(work: &Work) {
        if !work.posted.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut fate = work.handoff.begin(7);
        if fate == Fate::Wanted {
            write(work);
            fate = work.handoff.finish();
        }
        if fate == Fate::Orphaned {
            assert!(!work.freed.swap(true, Ordering::AcqRel));
        }
    }

    /// A supervisor that gives up at once.
    fn supervisor(work: &Work) {
        if work.handoff.claim().is_err() {
            return;
        }
        // By exchange, as in the mailbox.
        assert!(!work.posted.swap(true, Ordering::AcqRel));
        let retract = || work.posted.swap(false, Ordering::AcqRel);
        if work.handoff.is_done() || work.handoff.give_up(retract) == GaveUp::Done {
            assert!(read(work) > 0);
            work.handoff.release();
        }
    }

    fn work() -> Arc<Work> {
        Arc::new(Work {
            handoff: Handoff::new(),
            posted: AtomicBool::new(false),
            result: UnsafeCell::new(0),
            freed: AtomicBool::new(false),
        })
    }

    #[test]
    fn loom_result_is_exclusive_and_a_late_one_is_dropped() {
        loom::model(|| {
            let work = work();
            let other = {
                let work = Arc::clone(&work);
                thread::spawn(move || {
                    worker(&work);
                    worker(&work);
                })
            };
            supervisor(&work);
            supervisor(&work);
            other.join().unwrap();
            worker(&work);
            assert!(work.handoff.claim().is_ok(), "free again when all are back");
        });
    }

    #[test]
    fn loom_detached_work_is_freed_exactly_once() {
        loom::model(|| {
            let work = work();
            let other = {
                let work = Arc::clone(&work);
                thread::spawn(move || worker(&work))
            };
            supervisor(&work);
            // The registry lets nobody in any more.
            if work.handoff.detach() {
                assert!(!work.freed.swap(true, Ordering::AcqRel));
            }
            other.join().unwrap();
            worker(&work);
            assert!(work.freed.load(Ordering::Acquire));
        });
    }
}
