//! An entry: how a tracked future says what it is and what it does, and how a
//! report reads that without stopping it.
//!
//! ```text
//! use:      Free(b) ──claim──► Writing(b+1) ──► Live(b+1) ──retire──► Free(b+1)
//! sequence: New(n+1) ──enter──► Polling(n+2) ──leave──► Suspended(n+2) ──enter──► …
//!                                    │ returned, panicked            │ dropped
//!                                    └──────────► Ended ◄────────────┘
//! ```
//!
//! Two words, for two questions. Neither ever has a value twice:
//!
//! 1. *Whose entry is it?* The identity (place, name, type, …) is written between
//!    Writing and Live. A copy of it counts only if `use` was Live before and is the
//!    same afterwards.
//! 2. *May its future's memory be read?* `sequence` counts polls and says the phase. It
//!    is even while nobody touches the future. Who finds it even, copies the
//!    future, and finds the same value afterwards, has a copy of one state.
//!
//! A poll costs the owner plain loads and stores of one cache line: the count of
//! polls is the distance of two sequences, and no step is a compare-exchange. Readers
//! write nothing.
//!
//! Limits: 62 bits of polls for each entry, over all its uses. When the poll began is
//! read apart from the sequence, and is believed only if the sequence stood still.

use super::sync::{AtomicU32, AtomicU64, Ordering, fence};

const NEW: u64 = 0;
const POLLING: u64 = 1;
const SUSPENDED: u64 = 2;
const ENDED: u64 = 3;
const PHASE_MASK: u64 = 3;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const LIVE: u64 = 2;
const STATE_MASK: u64 = 3;

/// Marks a task id that is not known yet; the other bits say of which use.
const NO_TASK: u64 = 1 << 63;

/// How often a reader looks at an entry that is polled again and again.
const MAX_LOOKS: u32 = if cfg!(loom) { 2 } else { 8 };

/// What a future does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was never polled.
    New,
    /// A thread polls it.
    Polling,
    /// It waits.
    Suspended,
    /// It has returned or panicked, or is being dropped.
    Ended,
}

/// One entry. The words that every poll writes come first, in one cache line.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Entry<const WORDS: usize> {
    /// polls << 2 | phase
    sequence: AtomicU64,
    /// Where the future is, once it was polled: from then on it does not move.
    address: AtomicU64,
    /// When the last poll began.
    began: AtomicU64,
    /// The task's id, or that it is not known.
    task: AtomicU64,
    /// The first sequence's count << 2 | state
    in_use: AtomicU64,
    /// For [`free`](super::free).
    pub(crate) link: AtomicU32,
    /// Its own place, for whoever holds it.
    pub(crate) index: u32,
    identity: [AtomicU64; WORDS],
}

/// Names one use of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use(pub(super) u64);

/// What a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) of: Use,
    pub(crate) sequence: u64,
    pub(crate) phase: Phase,
    pub(crate) polls: u64,
    pub(crate) task_id: Option<u64>,
    /// `None`: never polled, has ended, or is polled too often to tell.
    pub(crate) address: Option<u64>,
    /// `None`: never polled, or polled too often to tell.
    pub(crate) began: Option<u64>,
}

impl<const WORDS: usize> Entry<WORDS> {
    pub(crate) fn new(index: u32) -> Self {
        Entry {
            sequence: AtomicU64::new(ENDED),
            address: AtomicU64::new(0),
            began: AtomicU64::new(0),
            task: AtomicU64::new(NO_TASK),
            in_use: AtomicU64::new(FREE),
            link: AtomicU32::new(0),
            index,
            identity: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Begins a use. For whoever took the entry off a free list; `write` stores the
    /// identity (relaxed stores).
    pub(crate) fn claim(&self, write: impl FnOnce(&[AtomicU64; WORDS])) -> Use {
        let count = (self.sequence.load(Ordering::Relaxed) | PHASE_MASK).wrapping_add(1);
        self.in_use.store(count | WRITING, Ordering::Relaxed);
        // Whoever reads one of the words that follow sees Writing too.
        fence(Ordering::Release);
        self.sequence.store(count | NEW, Ordering::Relaxed);
        self.task.store(NO_TASK | count, Ordering::Relaxed);
        write(&self.identity);
        self.in_use.store(count | LIVE, Ordering::Release);
        Use(count | LIVE)
    }

    /// A poll begins: the owner's.
    #[inline]
    pub(crate) fn enter(&self, address: u64, began: u64) -> u64 {
        let before = self.sequence.load(Ordering::Relaxed);
        let polling = (before | PHASE_MASK).wrapping_add(1) | POLLING;
        // Who reads the new times sees that the poll before has ended.
        fence(Ordering::Release);
        self.address.store(address, Ordering::Relaxed);
        self.began.store(began, Ordering::Relaxed);
        self.sequence.store(polling, Ordering::Release);
        // Who reads what the poll writes sees Polling.
        fence(Ordering::Release);
        before
    }

    /// The poll is over, and the future waits: the owner's.
    #[inline]
    pub(crate) fn leave(&self) {
        let polling = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(polling & !PHASE_MASK | SUSPENDED, Ordering::Release);
    }

    /// The future has returned or panicked, or is about to be dropped: the owner's.
    #[inline]
    pub(crate) fn end(&self) {
        let last = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(last | ENDED, Ordering::Release);
        // Who reads what the drop writes sees Ended.
        fence(Ordering::Release);
    }

    /// Ends the use. The entry may go to a free list then.
    pub(crate) fn retire(&self) {
        let live = self.in_use.load(Ordering::Relaxed);
        self.in_use.store(live & !STATE_MASK | FREE, Ordering::Release);
    }

    /// Whether a sequence that [`enter`](Self::enter) returned is of the first poll.
    #[inline]
    pub(crate) fn is_new(sequence: u64) -> bool {
        sequence & PHASE_MASK == NEW
    }

    /// Says the task's id: for anyone who knows of which use it is. Nothing, if the
    /// use has ended or knows, or the id is 0, which no task has.
    pub(crate) fn set_task(&self, of: Use, id: u64) {
        if id == 0 {
            return;
        }
        // Nothing comes between what a compare-exchange reads and what it writes: the
        // id cannot land on top of the next use's mark. (loom does not know that.)
        let unknown = NO_TASK | of.0 & !STATE_MASK;
        let _ = self.task.compare_exchange(unknown, id, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How often it was polled, the current poll included: the owner's.
    #[cfg_attr(not(feature = "waker-trace"), allow(dead_code, reason = "for waker traces"))]
    pub(crate) fn polls(&self) -> u64 {
        let first = self.in_use.load(Ordering::Relaxed) >> 2;
        (self.sequence.load(Ordering::Relaxed) >> 2).wrapping_sub(first)
    }

    /// The use that is live: the owner's.
    pub(crate) fn current(&self) -> Use {
        Use(self.in_use.load(Ordering::Relaxed))
    }

    /// Copies the identity and what is known of the polls. `None`: the entry is free,
    /// or changed hands meanwhile.
    pub(crate) fn read(&self, identity: &mut [u64; WORDS]) -> Option<Seen> {
        let live = self.in_use.load(Ordering::Acquire);
        if live & STATE_MASK != LIVE {
            return None;
        }
        for (to, from) in identity.iter_mut().zip(&self.identity) {
            *to = from.load(Ordering::Relaxed);
        }
        let task = self.task.load(Ordering::Relaxed);
        let mut looks = 0;
        let (sequence, poll) = loop {
            let before = self.sequence.load(Ordering::Acquire);
            let address = self.address.load(Ordering::Relaxed);
            let began = self.began.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let sequence = self.sequence.load(Ordering::Relaxed);
            if sequence == before {
                break (sequence, Some((address, began)));
            }
            looks += 1;
            if looks == MAX_LOOKS {
                break (sequence, None);
            }
        };
        fence(Ordering::Acquire);
        if self.in_use.load(Ordering::Relaxed) != live {
            return None;
        }
        let phase = match sequence & PHASE_MASK {
            NEW => Phase::New,
            POLLING => Phase::Polling,
            SUSPENDED => Phase::Suspended,
            _ => Phase::Ended,
        };
        let polls = (sequence >> 2).wrapping_sub(live >> 2);
        let poll = if polls == 0 { None } else { poll };
        Some(Seen {
            of: Use(live),
            sequence,
            phase,
            polls,
            task_id: (task & NO_TASK == 0).then_some(task),
            address: poll.map(|poll| poll.0).filter(|_| phase != Phase::Ended),
            began: poll.map(|poll| poll.1),
        })
    }

    /// Where the word is that tells whether the future was touched.
    pub(crate) fn sequence_address(&self) -> u64 {
        (&raw const self.sequence).addr() as u64
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn claim(entry: &Entry<2>, value: u64) -> Use {
        entry.claim(|words| words.iter().for_each(|word| word.store(value, Ordering::Relaxed)))
    }

    #[test]
    fn the_way_through() {
        let entry = Entry::<2>::new(0);
        let mut copy = [0; 2];
        assert_eq!(entry.read(&mut copy), None);

        let one = claim(&entry, 5);
        let seen = entry.read(&mut copy).unwrap();
        assert_eq!((seen.of, seen.phase, seen.polls, copy), (one, Phase::New, 0, [5; 2]));
        assert_eq!((seen.address, seen.began, seen.task_id), (None, None, None));

        assert!(Entry::<2>::is_new(entry.enter(0x100, 70)));
        let seen = entry.read(&mut copy).unwrap();
        assert_eq!((seen.phase, seen.polls), (Phase::Polling, 1));
        assert_eq!((seen.address, seen.began), (Some(0x100), Some(70)));

        entry.leave();
        assert!(!Entry::<2>::is_new(entry.enter(0x100, 80)));
        entry.leave();
        let seen = entry.read(&mut copy).unwrap();
        assert_eq!((seen.phase, seen.polls, seen.began), (Phase::Suspended, 2, Some(80)));
        assert_eq!(seen.sequence % 2, 0, "the future may be read");

        entry.end();
        let seen = entry.read(&mut copy).unwrap();
        assert_eq!((seen.phase, seen.polls, seen.address), (Phase::Ended, 2, None));
        assert_eq!(seen.sequence % 2, 1);
        entry.retire();
        assert_eq!(entry.read(&mut copy), None);
    }

    #[test]
    fn no_value_comes_twice() {
        let entry = Entry::<2>::new(0);
        let mut sequences = Vec::new();
        let mut uses = Vec::new();
        for value in 0..3 {
            uses.push(claim(&entry, value).0);
            sequences.push(entry.sequence.load(Ordering::Relaxed));
            for _ in 0..value {
                entry.enter(1, 1);
                sequences.push(entry.sequence.load(Ordering::Relaxed));
                entry.leave();
                sequences.push(entry.sequence.load(Ordering::Relaxed));
            }
            entry.end();
            sequences.push(entry.sequence.load(Ordering::Relaxed));
            entry.retire();
        }
        for all in [sequences, uses] {
            assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        }
    }

    #[test]
    fn a_late_task_id_reaches_nobody_else() {
        let entry = Entry::<2>::new(0);
        let first = claim(&entry, 1);
        entry.end();
        entry.retire();
        let second = claim(&entry, 2);
        entry.set_task(first, 11);
        assert_eq!(entry.read(&mut [0; 2]).unwrap().task_id, None);
        entry.set_task(second, 12);
        entry.set_task(second, 13);
        assert_eq!(entry.read(&mut [0; 2]).unwrap().task_id, Some(12));
    }

    #[test]
    fn who_is_interrupted_while_writing_is_passed_over() {
        let entry = Entry::<2>::new(0);
        entry.claim(|_| assert_eq!(entry.read(&mut [0; 2]), None));
        assert!(entry.read(&mut [0; 2]).is_some());
    }
}
