//! Who writes the report: one supervisor at a time, and how another takes over.
//!
//! One word holds the report's number and its holder (a bank, or nobody).
//!
//! 1. `begin`: nobody → bank b, number + 1.
//! 2. `finish`: bank b → nobody, if the number is still b's.
//! 3. `take_over`: bank a → bank b, number + 1. From then on everything a does
//!    is stale: a checks [`Ownership::is_current`] at each event and before
//!    each write, and loses `finish`.
//!
//! Limits: a write that a has already given to the kernel cannot be called
//! back; the sink's own fence (a descriptor pointed at /dev/null) catches the
//! next one.

use crate::sync::{AtomicU64, Ordering, const_unless_loom};

/// Number of supervisors that can be told apart.
pub(crate) const MAX_BANKS: usize = 2;

const HOLDER_BITS: u32 = 8;
const HOLDER_MASK: u64 = (1 << HOLDER_BITS) - 1;

/// A report in progress: its number and its holder. The proof that
/// `begin` or `take_over` succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl Epoch {
    fn of(sequence: u64, bank: usize) -> Self {
        Epoch((sequence << HOLDER_BITS) | ((bank as u64).wrapping_add(1) & HOLDER_MASK))
    }

    /// The report's number, from 1.
    pub(crate) fn sequence(self) -> u64 {
        self.0 >> HOLDER_BITS
    }

    /// The bank that holds it.
    pub(crate) fn bank(self) -> usize {
        (self.0 & HOLDER_MASK).wrapping_sub(1) as usize
    }
}

/// The word.
#[derive(Debug)]
pub(crate) struct Ownership(AtomicU64);

impl Ownership {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            Ownership(AtomicU64::new(0))
        }
    }

    /// Begins a report, unless one is in progress: then that one is returned.
    pub(crate) fn begin(&self, bank: usize) -> Result<Epoch, Epoch> {
        let seen = self.0.load(Ordering::Acquire);
        if seen & HOLDER_MASK != 0 {
            return Err(Epoch(seen));
        }
        let mine = Epoch::of((seen >> HOLDER_BITS).wrapping_add(1), bank);
        match self.0.compare_exchange(seen, mine.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(mine),
            Err(now) => Err(Epoch(now)),
        }
    }

    /// Ends a report. `false`: it had been taken over.
    pub(crate) fn finish(&self, epoch: Epoch) -> bool {
        self.0
            .compare_exchange(epoch.0, epoch.0 & !HOLDER_MASK, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes the report `from` away from its holder.
    pub(crate) fn take_over(&self, from: Epoch, bank: usize) -> Option<Epoch> {
        let mine = Epoch::of(from.sequence().wrapping_add(1), bank);
        self.0
            .compare_exchange(from.0, mine.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then_some(mine)
    }

    /// The report in progress, if there is one.
    #[cfg(any(all(gmr_engine, feature = "signal"), all(test, not(loom))))]
    pub(crate) fn current(&self) -> Option<Epoch> {
        let seen = self.0.load(Ordering::Acquire);
        (seen & HOLDER_MASK != 0).then_some(Epoch(seen))
    }

    /// Whether `epoch` still holds the report.
    pub(crate) fn is_current(&self, epoch: Epoch) -> bool {
        self.0.load(Ordering::Acquire) == epoch.0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_up_and_a_taken_report_cannot_be_finished_by_its_old_holder() {
        let ownership = Ownership::new();
        assert_eq!(ownership.current(), None);
        let first = ownership.begin(0).unwrap();
        assert_eq!(ownership.current(), Some(first));
        assert_eq!((first.sequence(), first.bank()), (1, 0));
        assert_eq!(ownership.begin(1), Err(first));
        let second = ownership.take_over(first, 1).unwrap();
        assert_eq!((second.sequence(), second.bank()), (2, 1));
        assert!(!ownership.is_current(first));
        assert!(!ownership.finish(first));
        assert_eq!(ownership.begin(0), Err(second));
        assert!(ownership.finish(second));
        assert_eq!(ownership.current(), None);
        assert_eq!(ownership.begin(0).unwrap().sequence(), 3);
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "loom's cell is the check")]
mod loom_tests {
    use super::*;
    use crate::sync::UnsafeCell;
    use loom::sync::Arc;

    /// Two supervisors begin, take over and finish: there is never more than
    /// one whose `finish` succeeds for a report, and what the winner of
    /// `begin` wrote before finishing is seen by the next owner.
    #[test]
    fn loom_one_owner_at_a_time() {
        loom::model(|| {
            let ownership = Arc::new(Ownership::new());
            let data = Arc::new(UnsafeCell::new(0_u32));
            let threads: std::vec::Vec<_> = (0..2)
                .map(|bank| {
                    let (ownership, data) = (Arc::clone(&ownership), Arc::clone(&data));
                    loom::thread::spawn(move || {
                        let Ok(epoch) = ownership.begin(bank) else { return 0_u32 };
                        // Sound only if ownership excludes the other.
                        data.with_mut(|data| unsafe { *data += 1 });
                        assert!(ownership.finish(epoch));
                        1
                    })
                })
                .collect();
            let reports: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert!(reports >= 1);
            data.with(|data| assert_eq!(unsafe { *data }, reports));
        });
    }

    /// A takeover against a `finish` at the last moment: exactly one wins.
    #[test]
    fn loom_finish_and_takeover_exclude_each_other() {
        loom::model(|| {
            let ownership = Arc::new(Ownership::new());
            let epoch = ownership.begin(0).unwrap();
            let other = Arc::clone(&ownership);
            let taker = loom::thread::spawn(move || other.take_over(epoch, 1));
            let finished = ownership.finish(epoch);
            let taken = taker.join().unwrap();
            assert!(finished != taken.is_some());
            if let Some(taken) = taken {
                assert!(!ownership.is_current(epoch));
                assert!(ownership.finish(taken));
            }
        });
    }
}
