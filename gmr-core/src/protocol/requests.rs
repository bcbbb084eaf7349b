//! Requests for a report: from signal handlers to the one who writes it.
//!
//! 1. A trigger takes a ticket (`tickets + 1`) and, if the record of the
//!    requester is empty, fills it.
//! 2. The owner of the report compares `tickets` with `served`. Every ticket
//!    between them is answered by *one* report: the rest is coalesced.
//! 3. A ticket taken after that is answered by the next report.
//!
//! So each request is followed by a report that begins after it, and requests
//! during a report cost exactly one more.
//!
//! Parked supervisors wait on a word of its own that each request changes, and
//! whatever else they are to look after ([`Requests::poke`]).
//!
//! Limits: of several requesters only the first is named; one whose handler
//! is preempted between its two steps may go unnamed. Tickets wrap after 2^32,
//! which is harmless while fewer than 2^31 are open.

use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering, const_unless_loom};

/// Who asked, as far as the kernel told the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requester {
    /// The signal, or 0 for a request by a call.
    pub signal: i32,
    /// `si_code`: `SI_USER` (0), `SI_QUEUE`, `SI_TKILL`, …
    pub code: i32,
    /// Process id of the sender; 0 if it is outside this PID namespace.
    pub pid: u32,
    /// Real user id of the sender.
    pub uid: u32,
    /// When it was received, CLOCK_MONOTONIC, in nanoseconds.
    pub received_ns: u64,
}

impl Requester {
    /// A request by a call of the program itself.
    #[must_use]
    pub const fn call() -> Self {
        Requester { signal: 0, code: 0, pid: 0, uid: 0, received_ns: 0 }
    }

    /// A request by a watch over the threads of an async runtime: `tid` has not
    /// come back from a poll for so long, in nanoseconds; 0: the whole runtime.
    #[must_use]
    pub const fn stall(tid: u32, for_ns: u64) -> Self {
        Requester { signal: 0, code: STALL, pid: tid, uid: 0, received_ns: for_ns }
    }

    /// The thread and the time of [`stall`](Self::stall), if it is one.
    pub(crate) const fn stalled(&self) -> Option<(u32, u64)> {
        if self.signal == 0 && self.code == STALL {
            Some((self.pid, self.received_ns))
        } else {
            None
        }
    }

    /// A request by a signal.
    #[must_use]
    pub const fn signal(signal: i32, code: i32, pid: u32, uid: u32, received_ns: u64) -> Self {
        Requester { signal, code, pid, uid, received_ns }
    }
}

/// No `si_code` of the kernel's.
const STALL: i32 = i32::MIN;

/// What one report answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Requests beyond the first that this report answers too.
    pub(crate) coalesced: u32,
    /// The first requester, if it could leave its name.
    pub(crate) requester: Option<Requester>,
}

const EMPTY: u32 = 0;
/// A bit of its own: taking the record is then one `fetch_or`, which is
/// wait-free, and cheaper in stack than a compare-exchange where nothing is
/// inlined.
const WRITING: u32 = 1;
const READY: u32 = 2 | WRITING;

/// The tickets and the record of the first requester.
#[derive(Debug)]
pub(crate) struct Requests {
    /// What parked supervisors wait on.
    word: AtomicU32,
    tickets: AtomicU32,
    served: AtomicU32,
    record: AtomicU32,
    ticket: AtomicU32,
    signal: AtomicI32,
    code: AtomicI32,
    pid: AtomicU32,
    uid: AtomicU32,
    received_ns: AtomicU64,
}

impl Requests {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            Requests {
                word: AtomicU32::new(0),
                tickets: AtomicU32::new(0),
                served: AtomicU32::new(0),
                record: AtomicU32::new(EMPTY),
                ticket: AtomicU32::new(0),
                signal: AtomicI32::new(0),
                code: AtomicI32::new(0),
                pid: AtomicU32::new(0),
                uid: AtomicU32::new(0),
                received_ns: AtomicU64::new(0),
            }
        }
    }

    /// Asks for a report. Wait-free; the caller wakes whoever waits on
    /// [`word`](Self::word).
    pub(crate) fn push(&self, who: &Requester) {
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        // Acquire: our stores come after the loads of who emptied it.
        if self.record.fetch_or(WRITING, Ordering::Acquire) & WRITING == 0 {
            self.ticket.store(ticket, Ordering::Relaxed);
            self.signal.store(who.signal, Ordering::Relaxed);
            self.code.store(who.code, Ordering::Relaxed);
            self.pid.store(who.pid, Ordering::Relaxed);
            self.uid.store(who.uid, Ordering::Relaxed);
            self.received_ns.store(who.received_ns, Ordering::Relaxed);
            // Release: who sees READY sees the record.
            self.record.store(READY, Ordering::Release);
        }
        // Not by `poke`: a call is stack of the interrupted thread.
        self.word.fetch_add(1, Ordering::Release);
    }

    /// Makes whoever is about to wait on [`word`](Self::word) look again; the
    /// caller wakes those that wait already.
    pub(crate) fn poke(&self) {
        // Release: who sees the change sees what it is about.
        self.word.fetch_add(1, Ordering::Release);
    }

    /// Whether a request waits for its report.
    pub(crate) fn is_pending(&self) -> bool {
        self.tickets.load(Ordering::Acquire) != self.served.load(Ordering::Acquire)
    }

    /// The word to wait on, and its value now. Wait only while it has that
    /// value *and* nothing is pending.
    #[cfg(not(loom))]
    pub(crate) fn word(&self) -> (&AtomicU32, u32) {
        (&self.word, self.word.load(Ordering::Acquire))
    }

    /// Takes all requests made so far. Only the owner of the report calls it.
    pub(crate) fn take(&self) -> Option<Taken> {
        let now = self.tickets.load(Ordering::Acquire);
        let before = self.served.load(Ordering::Acquire);
        if now == before {
            return None;
        }
        // A compare, not a store: a supervisor that lost its report to a
        // takeover must not turn the clock back.
        self.served.compare_exchange(before, now, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        let count = now.wrapping_sub(before);
        Some(Taken { coalesced: count.wrapping_sub(1), requester: self.take_record(before, now) })
    }

    fn take_record(&self, before: u32, now: u32) -> Option<Requester> {
        if self.record.load(Ordering::Acquire) != READY {
            return None;
        }
        let ticket = self.ticket.load(Ordering::Relaxed);
        if now.wrapping_sub(ticket) > u32::MAX / 2 {
            // Made after `now`: it belongs to the next report.
            return None;
        }
        let who = Requester {
            signal: self.signal.load(Ordering::Relaxed),
            code: self.code.load(Ordering::Relaxed),
            pid: self.pid.load(Ordering::Relaxed),
            uid: self.uid.load(Ordering::Relaxed),
            received_ns: self.received_ns.load(Ordering::Relaxed),
        };
        // Release: the next writer's stores come after our loads.
        self.record.store(EMPTY, Ordering::Release);
        // A record finished only after its own report was taken is stale.
        let age = ticket.wrapping_sub(before);
        (age != 0 && age <= u32::MAX / 2).then_some(who)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn who(pid: u32) -> Requester {
        Requester::signal(10, 0, pid, 0, 7)
    }

    #[test]
    fn one_report_answers_all_requests_and_names_the_first() {
        let requests = Requests::new();
        assert_eq!(requests.take(), None);
        requests.push(&who(1));
        requests.push(&who(2));
        requests.push(&who(3));
        assert!(requests.is_pending());
        assert_eq!(requests.take(), Some(Taken { coalesced: 2, requester: Some(who(1)) }));
        assert!(!requests.is_pending());
        requests.push(&who(4));
        assert_eq!(requests.take(), Some(Taken { coalesced: 0, requester: Some(who(4)) }));
    }

    #[test]
    fn tickets_may_wrap() {
        let requests = Requests::new();
        requests.tickets.store(u32::MAX, Ordering::Relaxed);
        requests.served.store(u32::MAX, Ordering::Relaxed);
        requests.push(&who(1));
        requests.push(&who(2));
        assert_eq!(requests.take(), Some(Taken { coalesced: 1, requester: Some(who(1)) }));
    }

    #[test]
    fn a_record_left_behind_by_a_slow_handler_is_not_taken_for_the_next_requester() {
        let requests = Requests::new();
        requests.push(&who(1));
        // The handler had its ticket but not its record when it was answered.
        requests.record.store(WRITING, Ordering::Relaxed);
        assert_eq!(requests.take().map(|taken| taken.requester), Some(None));
        requests.record.store(READY, Ordering::Relaxed);
        requests.push(&who(2));
        assert_eq!(requests.take().map(|taken| taken.requester), Some(None));
        requests.push(&who(3));
        assert_eq!(requests.take().map(|taken| taken.requester), Some(Some(who(3))));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    /// Two triggers against one owner: every request is answered by a report
    /// taken after it, none twice, and a named requester's fields belong
    /// together.
    #[test]
    fn loom_every_request_is_answered_once() {
        loom::model(|| {
            let requests = Arc::new(Requests::new());
            let triggers: std::vec::Vec<_> = (1..=2)
                .map(|id: u32| {
                    let requests = Arc::clone(&requests);
                    loom::thread::spawn(move || {
                        requests.push(&Requester::signal(
                            id as i32,
                            id as i32,
                            id,
                            id,
                            u64::from(id),
                        ));
                    })
                })
                .collect();
            let mut answered = 0;
            let check = |taken: Option<Taken>, answered: &mut u32| {
                if let Some(taken) = taken {
                    *answered += taken.coalesced + 1;
                    if let Some(who) = taken.requester {
                        assert_eq!(who.signal as u32, who.pid);
                        assert_eq!(who.code as u32, who.pid);
                        assert_eq!(who.uid, who.pid);
                        assert_eq!(who.received_ns, u64::from(who.pid));
                    }
                }
            };
            check(requests.take(), &mut answered);
            for trigger in triggers {
                trigger.join().unwrap();
            }
            check(requests.take(), &mut answered);
            assert_eq!(answered, 2);
            assert!(!requests.is_pending());
        });
    }

    /// An owner and the one who took over from it never answer the same
    /// request twice.
    #[test]
    fn loom_a_takeover_answers_nothing_twice() {
        loom::model(|| {
            let requests = Arc::new(Requests::new());
            requests.push(&Requester::call());
            let other = Arc::clone(&requests);
            let late = loom::thread::spawn(move || other.take().is_some());
            let here = requests.take().is_some();
            let there = late.join().unwrap();
            assert!(here != there, "exactly one of them answers");
        });
    }
}
