//! Orders: reports that a thread of the program asks for and waits for.
//!
//! 1. `place`: the caller puts its order into a free place: *queued*.
//! 2. `take`: a supervisor makes it *running* on its bank.
//! 3. `answer`: the supervisor leaves what became of it: *done*. Unless another
//!    has taken it meanwhile.
//! 4. The caller takes the answer, or gives up: the place is *idle* again. It
//!    may also queue an order anew whose supervisor is stuck
//!    (`queue_again`): once another has taken it, the first one's answer is
//!    refused. A supervisor whose report was taken over for something else
//!    puts the order back itself.
//!
//! What was ordered stays while the caller or any supervisor holds it
//! ([`Counted`]): a caller that gives up closes no descriptor under a
//! supervisor, which does it when it comes back. Until then the place is taken.
//!
//! Each order gets a report of its own. A place is served in its turn, so that
//! none waits for ever behind busier ones.

use super::counted::{Counted, Held};
use super::ownership::MAX_BANKS;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Orders at a time. Each takes a few descriptors; who is refused asks again.
pub(crate) const MAX_ORDERS: usize = 4;

const IDLE: u32 = 0;
const QUEUED: u32 = 1;
const RUNNING: u32 = 2;
const DONE: u32 = 3;
/// The bank is above these.
const KIND_BITS: u32 = 8;

const fn on_bank(kind: u32, bank: usize) -> u32 {
    kind | (bank as u32) << KIND_BITS
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The report's number.
    pub(crate) sequence: u64,
    /// How much of it was written.
    pub(crate) bytes: u64,
    pub(crate) is_complete: bool,
}

/// Where the caller finds its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Queued,
    Running { bank: usize },
    Done(Answer),
}

/// The places. See the module's page.
#[derive(Debug)]
pub(crate) struct Orders<T> {
    places: [Place<T>; MAX_ORDERS],
    /// The place that is looked at first.
    turn: AtomicU32,
}

#[derive(Debug)]
struct Place<T> {
    state: AtomicU32,
    /// By bank: one that was late must not mix its answer with another's.
    answers: [Slot; MAX_BANKS],
    order: Counted<T>,
}

#[derive(Debug)]
struct Slot {
    sequence: AtomicU64,
    bytes: AtomicU64,
    is_complete: AtomicU32,
}

impl<T> Orders<T> {
    pub(crate) fn new() -> Self {
        Orders {
            places: core::array::from_fn(|_| Place {
                state: AtomicU32::new(IDLE),
                answers: core::array::from_fn(|_| Slot {
                    sequence: AtomicU64::new(0),
                    bytes: AtomicU64::new(0),
                    is_complete: AtomicU32::new(0),
                }),
                order: Counted::new(),
            }),
            turn: AtomicU32::new(0),
        }
    }

    /// Queues an order. Gives it back if all places are taken.
    pub(crate) fn place(&self, mut order: T) -> Result<Placed<'_, T>, T> {
        for place in &self.places {
            match place.order.fill(order) {
                Ok(held) => {
                    place.state.store(QUEUED, Ordering::Release);
                    return Ok(Placed { place, _held: held });
                }
                Err(back) => order = back,
            }
        }
        Err(order)
    }

    /// Whether an order waits for a supervisor.
    pub(crate) fn is_pending(&self) -> bool {
        self.places.iter().any(|place| place.state.load(Ordering::Acquire) == QUEUED)
    }

    /// Takes the next order for `bank`. Only the owner of the report calls it.
    pub(crate) fn take(&self, bank: usize) -> Option<Taken<'_, T>> {
        let turn = self.turn.load(Ordering::Relaxed) as usize;
        for offset in 0..MAX_ORDERS {
            let number = turn.wrapping_add(offset) % MAX_ORDERS;
            let Some(place) = self.places.get(number) else { continue };
            if place.state.load(Ordering::Acquire) != QUEUED {
                continue;
            }
            // Held first: what is taken must stay.
            let Some(held) = place.order.hold() else { continue };
            let running = on_bank(RUNNING, bank);
            let taken =
                place.state.compare_exchange(QUEUED, running, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                self.turn.store(number.wrapping_add(1) as u32, Ordering::Relaxed);
                return Some(Taken { place, held, bank, number });
            }
        }
        None
    }

    /// Drops all of them, in a forked copy of the process: their callers and
    /// supervisors were not copied.
    pub(crate) fn clear_copy(&self) {
        for place in &self.places {
            place.state.store(IDLE, Ordering::Release);
            place.order.clear_copy();
        }
    }

    /// Holds what was ordered in a place, if there is an order.
    pub(crate) fn at(&self, number: usize) -> Option<Held<'_, T>> {
        self.places.get(number)?.order.hold()
    }
}

/// An order, as its caller has it. Letting it go gives it up.
#[derive(Debug)]
pub(crate) struct Placed<'a, T> {
    place: &'a Place<T>,
    _held: Held<'a, T>,
}

impl<T> Placed<'_, T> {
    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        let state = self.place.state.load(Ordering::Acquire);
        let bank = (state >> KIND_BITS) as usize;
        match (state & ((1 << KIND_BITS) - 1), self.place.answers.get(bank)) {
            (RUNNING, _) => Progress::Running { bank },
            (DONE, Some(slot)) => Progress::Done(Answer {
                sequence: slot.sequence.load(Ordering::Relaxed),
                bytes: slot.bytes.load(Ordering::Relaxed),
                is_complete: slot.is_complete.load(Ordering::Relaxed) != 0,
            }),
            _ => Progress::Queued,
        }
    }

    /// Takes it away from the supervisor of `bank` and queues it for another.
    /// `false`: it does not run there (any more).
    pub(crate) fn queue_again(&self, bank: usize) -> bool {
        let running = on_bank(RUNNING, bank);
        self.place
            .state
            .compare_exchange(running, QUEUED, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl<T> Drop for Placed<'_, T> {
    fn drop(&mut self) {
        // Before our hold ends: nobody else fills the place until then.
        self.place.state.store(IDLE, Ordering::Release);
    }
}

/// An order, as the supervisor that serves it has it.
#[derive(Debug)]
pub(crate) struct Taken<'a, T> {
    place: &'a Place<T>,
    held: Held<'a, T>,
    bank: usize,
    number: usize,
}

impl<T> Taken<'_, T> {
    /// What was ordered.
    pub(crate) fn order(&self) -> &T {
        &self.held
    }

    /// Its place, for [`Orders::at`].
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Queues it anew, unless its caller has done so or given up.
    pub(crate) fn put_back(self) {
        let running = on_bank(RUNNING, self.bank);
        let state = &self.place.state;
        let _ = state.compare_exchange(running, QUEUED, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Leaves the answer. `false`: nobody waits for it from this bank.
    pub(crate) fn answer(self, answer: Answer) -> bool {
        if let Some(slot) = self.place.answers.get(self.bank) {
            slot.sequence.store(answer.sequence, Ordering::Relaxed);
            slot.bytes.store(answer.bytes, Ordering::Relaxed);
            slot.is_complete.store(u32::from(answer.is_complete), Ordering::Relaxed);
        }
        let done = on_bank(DONE, self.bank);
        // Queued again, it was slow and not stuck: nobody needs to repeat it.
        [on_bank(RUNNING, self.bank), QUEUED].into_iter().any(|state| {
            // Release: who sees it done sees the answer.
            self.place
                .state
                .compare_exchange(state, done, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::vec::Vec;

    fn answer(sequence: u64) -> Answer {
        Answer { sequence, bytes: 10 * sequence, is_complete: true }
    }

    #[test]
    fn an_order_is_queued_taken_and_answered() {
        let orders = Orders::new();
        assert!(orders.take(0).is_none());
        let placed = orders.place("a report").unwrap();
        assert!(orders.is_pending());
        let taken = orders.take(1).unwrap();
        assert_eq!(*taken.order(), "a report");
        assert!(!orders.is_pending() && orders.take(0).is_none());
        assert_eq!(placed.progress(), Progress::Running { bank: 1 });
        assert!(taken.answer(answer(7)));
        assert_eq!(placed.progress(), Progress::Done(answer(7)));
    }

    #[test]
    fn the_answer_of_a_supervisor_that_lost_the_order_is_refused() {
        let orders = Orders::new();
        let placed = orders.place(()).unwrap();
        let stuck = orders.take(0).unwrap();
        assert!(!placed.queue_again(1));
        assert!(placed.queue_again(0));
        let second = orders.take(1).unwrap();
        assert!(!stuck.answer(answer(1)));
        assert!(second.answer(answer(2)));
        assert_eq!(placed.progress(), Progress::Done(answer(2)));
    }

    #[test]
    fn a_supervisor_that_was_only_slow_answers_what_nobody_else_took() {
        let orders = Orders::new();
        let placed = orders.place(()).unwrap();
        let slow = orders.take(0).unwrap();
        assert!(placed.queue_again(0));
        assert!(slow.answer(answer(1)));
        assert_eq!(placed.progress(), Progress::Done(answer(1)));
        assert!(!orders.is_pending() && orders.take(1).is_none());
    }

    #[test]
    fn a_supervisor_that_lost_its_report_puts_the_order_back() {
        let orders = Orders::new();
        let placed = orders.place(()).unwrap();
        orders.take(0).unwrap().put_back();
        assert_eq!(placed.progress(), Progress::Queued);
        let late = orders.take(0).unwrap();
        assert!(placed.queue_again(0));
        let second = orders.take(1).unwrap();
        late.put_back();
        assert_eq!(placed.progress(), Progress::Running { bank: 1 });
        assert!(second.answer(answer(2)));
    }

    #[test]
    fn what_a_caller_gave_up_stays_until_its_supervisor_comes_back() {
        let orders = Orders::new();
        let value = Arc::new(());
        let placed = orders.place(Arc::clone(&value)).unwrap();
        let stuck = orders.take(0).unwrap();
        drop(placed);
        assert_eq!(Arc::strong_count(&value), 2);
        let others: Vec<_> = (1..MAX_ORDERS).map(|_| orders.place(Arc::new(())).unwrap()).collect();
        assert!(orders.place(Arc::new(())).is_err(), "the place is taken");
        assert!(!stuck.answer(answer(1)));
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(orders.place(Arc::new(())).is_ok());
        drop(others);
    }

    #[test]
    fn a_copy_is_cleared_whoever_waited_or_served() {
        let orders = Orders::new();
        let value = Arc::new(());
        let callers = [(); 2].map(|()| orders.place(Arc::clone(&value)).unwrap());
        core::mem::forget((callers, orders.take(0)));
        assert_eq!(Arc::strong_count(&value), 3);
        orders.clear_copy();
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(!orders.is_pending());
        let placed = orders.place(value).unwrap();
        assert_eq!(placed.progress(), Progress::Queued);
    }

    #[test]
    fn every_place_has_its_turn() {
        let orders = Orders::new();
        let _placed: Vec<_> = (0..MAX_ORDERS).map(|number| orders.place(number).unwrap()).collect();
        let first = orders.take(0).unwrap();
        let second = orders.take(0).unwrap();
        assert_ne!(first.number(), second.number());
        // The first place again, by another caller.
        drop(first);
        assert_eq!(orders.take(0).map(|taken| taken.number()), Some(2));
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "loom's cell is the check")]
mod loom_tests {
    use super::*;
    use crate::sync::UnsafeCell;
    use loom::sync::Arc;

    /// The descriptors of an order: used by supervisors, closed once.
    struct Watched(UnsafeCell<u32>, Arc<AtomicU32>);

    unsafe impl Sync for Watched {}

    impl Drop for Watched {
        fn drop(&mut self) {
            self.0.with_mut(|value| unsafe { *value = 0 });
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn serve(orders: &Orders<Watched>, bank: usize) -> bool {
        let Some(taken) = orders.take(bank) else { return false };
        taken.order().0.with(|value| assert_eq!(unsafe { *value }, 1));
        let number = bank as u64 + 1;
        taken.answer(Answer { sequence: number, bytes: 10 * number, is_complete: bank == 0 })
    }

    /// A caller that loses its patience with one supervisor while another is
    /// there, then gives up: at most one answer is its own, it is whole, and
    /// what was ordered is closed once, after its last use.
    #[test]
    fn loom_an_order_is_answered_at_most_once_and_closed_after_its_last_use() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let closed = Arc::new(AtomicU32::new(0));
            let orders = Arc::new(Orders::new());
            let order = Watched(UnsafeCell::new(1), Arc::clone(&closed));
            let placed = orders.place(order).map_err(|_| ()).unwrap();
            let supervisors: std::vec::Vec<_> = (0..2)
                .map(|bank| {
                    let orders = Arc::clone(&orders);
                    loom::thread::spawn(move || serve(&orders, bank))
                })
                .collect();
            if let Progress::Running { bank } = placed.progress() {
                placed.queue_again(bank);
            }
            let progress = placed.progress();
            drop(placed);
            let answers = supervisors
                .into_iter()
                .map(|supervisor| supervisor.join().unwrap())
                .filter(|answered| *answered)
                .count();
            assert!(answers <= 1);
            if let Progress::Done(answer) = progress {
                assert_eq!(answers, 1);
                assert_eq!(answer.bytes, 10 * answer.sequence);
                assert_eq!(answer.is_complete, answer.sequence == 1);
            }
            assert_eq!(closed.load(Ordering::Relaxed), 1);
            assert!(!orders.is_pending());
        });
    }
}
