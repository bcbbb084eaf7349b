//! Scopes: how a thread says what it is doing, and how a report reads that
//! without stopping it.
//!
//! ```text
//!            owner               owner                owner, or a report
//! Free(g) ──claim(tid)──► Writing(g+1) ──publish──► Live(g+1) ──release──► Free(g+1)
//! ```
//!
//! 1. The owner claims a free slot by compare-exchange, stores the payload word
//!    by word, and publishes.
//! 2. A report copies the words of a live slot and looks at its state again: the
//!    copy counts only if nothing changed (a sequence lock, of which the
//!    generation is the sequence).
//! 3. `release` frees exactly the use that its ticket names. So a report may free
//!    the slots of threads that are gone, and an owner who comes late (in a
//!    forked child) frees nobody else's.
//!
//! Nobody ever waits: who is interrupted between two steps, by a handler that
//! enters a scope or composes a report, leaves a slot that others pass over.
//! The payload is atomics, so that reading it during a write is no data race.
//! The generation is 30 bits: a copy is mistaken only if its reader slept
//! through a multiple of 1,073,741,824 uses of one slot by one thread.

use crate::sync::{AtomicU64, Ordering, fence};

const FREE: u64 = 0;
const WRITING: u64 = 1;
const LIVE: u64 = 2;
const STATE_MASK: u64 = 3;
const GENERATION_MASK: u64 = 0xffff_fffc;
const ONE_GENERATION: u64 = 4;
const TID_SHIFT: u32 = 32;

/// Names one use of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// Whose it is.
    pub(crate) fn tid(self) -> u32 {
        (self.0 >> TID_SHIFT) as u32
    }
}

/// One slot. Two cache lines (which x86 fetches in pairs) that no other slot
/// shares: threads do not slow each other.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Slot<const WORDS: usize> {
    /// tid << 32 | generation << 2 | state
    word: AtomicU64,
    payload: [AtomicU64; WORDS],
}

impl<const WORDS: usize> Slot<WORDS> {
    /// All zero, so that a static array of them takes no room in the binary.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Slot { word: AtomicU64::new(FREE), payload: [const { AtomicU64::new(0) }; WORDS] }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Slot { word: AtomicU64::new(FREE), payload: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Takes the slot for thread `tid`, lets `write` store the payload (relaxed
    /// stores), and publishes it. `None`: it is taken, and `write` was not
    /// called.
    pub(crate) fn claim(
        &self,
        tid: u32,
        write: impl FnOnce(&[AtomicU64; WORDS]),
    ) -> Option<Ticket> {
        let free = self.word.load(Ordering::Relaxed);
        if free & STATE_MASK != FREE {
            return None;
        }
        let generation = free.wrapping_add(ONE_GENERATION) & GENERATION_MASK;
        let claimed = u64::from(tid) << TID_SHIFT | generation;
        // Acquire: our stores come after those of the use before.
        self.word
            .compare_exchange(free, claimed | WRITING, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        // Whoever reads one of the words that follow sees Writing too.
        fence(Ordering::Release);
        write(&self.payload);
        self.word.store(claimed | LIVE, Ordering::Release);
        Some(Ticket(claimed | LIVE))
    }

    /// Copies the payload of a live slot. `None`: it is not live, or changed
    /// meanwhile.
    pub(crate) fn read(&self, copy: &mut [u64; WORDS]) -> Option<Ticket> {
        let live = self.word.load(Ordering::Acquire);
        if live & STATE_MASK != LIVE {
            return None;
        }
        for (to, from) in copy.iter_mut().zip(&self.payload) {
            *to = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        (self.word.load(Ordering::Relaxed) == live).then_some(Ticket(live))
    }

    /// Ends the use that `ticket` names. `false`: it had ended.
    pub(crate) fn release(&self, ticket: Ticket) -> bool {
        let free = ticket.0 & GENERATION_MASK | FREE;
        self.word.compare_exchange(ticket.0, free, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn claim(slot: &Slot<2>, tid: u32, value: u64) -> Option<Ticket> {
        slot.claim(tid, |payload| {
            for word in payload {
                word.store(value, Ordering::Relaxed);
            }
        })
    }

    #[test]
    fn the_way_through() {
        let slot = Slot::<2>::new();
        let mut copy = [0; 2];
        assert_eq!(slot.read(&mut copy), None);
        let ticket = claim(&slot, 77, 5).unwrap();
        assert_eq!(ticket.tid(), 77);
        assert_eq!(claim(&slot, 78, 6), None);
        assert_eq!(slot.read(&mut copy), Some(ticket));
        assert_eq!(copy, [5, 5]);
        assert!(slot.release(ticket));
        assert_eq!(slot.read(&mut copy), None);
        assert!(!slot.release(ticket), "a ticket is good once");
    }

    #[test]
    fn a_late_release_frees_nobody_else() {
        let slot = Slot::<2>::new();
        let first = claim(&slot, 1, 1).unwrap();
        assert!(slot.release(first));
        let second = claim(&slot, 1, 2).unwrap();
        assert!(!slot.release(first));
        assert_eq!(slot.read(&mut [0; 2]), Some(second));
    }

    #[test]
    fn who_is_interrupted_while_writing_is_passed_over() {
        let slot = Slot::<2>::new();
        slot.claim(1, |_| {
            assert_eq!(slot.read(&mut [0; 2]), None);
            assert_eq!(claim(&slot, 1, 1), None);
        })
        .unwrap();
    }

    #[test]
    fn generations_wrap_without_touching_the_thread() {
        let slot = Slot::<2>::new();
        slot.word.store(GENERATION_MASK, Ordering::Relaxed);
        let ticket = claim(&slot, u32::MAX, 1).unwrap();
        assert_eq!(ticket, Ticket(u64::from(u32::MAX) << TID_SHIFT | LIVE));
        assert!(slot.release(ticket));
        assert!(claim(&slot, 3, 1).is_some());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    fn claim(slot: &Slot<2>, tid: u32, value: u64) -> Option<Ticket> {
        slot.claim(tid, |payload| {
            for word in payload {
                word.store(value, Ordering::Relaxed);
            }
        })
    }

    /// A report against a thread that goes from one scope to the next in the
    /// same slot: what is read is of one use, and of the one that its ticket
    /// names.
    #[test]
    fn loom_a_scope_is_read_whole_or_not_at_all() {
        loom::model(|| {
            let slot = Arc::new(Slot::<2>::new());
            let first = claim(&slot, 1, 1).unwrap();
            let owner = {
                let slot = Arc::clone(&slot);
                loom::thread::spawn(move || {
                    assert!(slot.release(first));
                    claim(&slot, 1, 2).unwrap()
                })
            };
            let mut copy = [0; 2];
            let read = slot.read(&mut copy);
            let second = owner.join().unwrap();
            match read {
                None => {}
                Some(ticket) if ticket == first => assert_eq!(copy, [1, 1]),
                Some(ticket) => {
                    assert_eq!(ticket, second);
                    assert_eq!(copy, [2, 2]);
                }
            }
        });
    }

    /// Two threads want one slot, and a third reads: one gets it, and what is
    /// read is the winner's.
    #[test]
    fn loom_one_owner() {
        loom::model(|| {
            let slot = Arc::new(Slot::<2>::new());
            let other = {
                let slot = Arc::clone(&slot);
                loom::thread::spawn(move || claim(&slot, 2, 2))
            };
            let here = claim(&slot, 1, 1);
            let there = other.join().unwrap();
            assert!(here.is_some() != there.is_some());
            let mut copy = [0; 2];
            let read = slot.read(&mut copy).unwrap();
            assert_eq!(Some(read), here.or(there));
            assert_eq!(copy, [u64::from(read.tid()); 2]);
        });
    }

    /// A report frees the slot of a thread that seems gone while its owner
    /// frees it too, and the slot goes to another thread: that one keeps it,
    /// and what it wrote is what a report reads.
    #[test]
    fn loom_a_slot_is_freed_once() {
        loom::model(|| {
            let slot = Arc::new(Slot::<2>::new());
            let first = claim(&slot, 1, 1).unwrap();
            let report = {
                let slot = Arc::clone(&slot);
                loom::thread::spawn(move || slot.release(first))
            };
            let freed_here = slot.release(first);
            let second = claim(&slot, 2, 2);
            let freed_there = report.join().unwrap();
            assert!(freed_here != freed_there);
            let second = second.unwrap();
            let mut copy = [0; 2];
            assert_eq!(slot.read(&mut copy), Some(second));
            assert_eq!(copy, [2, 2]);
        });
    }
}
