//! A place that another thread's word names, while that thread may be leaving.
//!
//! 1. Its owner holds the place, writes the number into the word, and works.
//! 2. It clears the word, and only then lets the place go.
//! 3. Another reads the word, holds the place, and reads the word again: if it
//!    still says the same, the owner had not let go, and the place is what the
//!    owner means. Else somebody may have filled it anew.

use crate::sync::{AtomicU32, Ordering};

/// Holds what `word` names. `None`: nothing, or its owner was just leaving.
pub(crate) fn hold<H>(word: &AtomicU32, hold: impl FnOnce(u32) -> Option<H>) -> Option<H> {
    let named = word.load(Ordering::Acquire);
    let held = hold(named)?;
    (word.load(Ordering::Acquire) == named).then_some(held)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_its_owner_leaves_meanwhile_is_not_held() {
        let word = AtomicU32::new(7);
        assert_eq!(hold(&word, Some), Some(7));
        assert_eq!(hold(&word, |_| None::<u32>), None);
        let leaving = |named| {
            word.store(0, Ordering::Release);
            Some(named)
        };
        assert_eq!(hold(&word, leaving), None);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::protocol::orders::Orders;
    use loom::sync::Arc;

    /// A takeover against the owner of an order who comes back, and the next
    /// caller, whose order may get the same place: what is held is the owner's.
    #[test]
    fn loom_a_takeover_does_not_mistake_the_next_order_for_the_one_that_was_stuck() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let orders: &'static Orders<u32> = std::boxed::Box::leak(Orders::new().into());
            let word = Arc::new(AtomicU32::new(0));
            let stuck = orders.place(1).unwrap();
            let owner = {
                let word = Arc::clone(&word);
                loom::thread::spawn(move || {
                    let taken = orders.take(0)?;
                    word.store(taken.number() as u32 + 1, Ordering::Release);
                    let value = *taken.order();
                    word.store(0, Ordering::Release);
                    taken.put_back();
                    Some(value)
                })
            };
            let caller = loom::thread::spawn(move || {
                drop(stuck);
                drop(orders.place(2).unwrap());
            });
            let held = hold(&word, |named| orders.at((named as usize).checked_sub(1)?));
            let held = held.map(|held| *held);
            let owned = owner.join().unwrap();
            caller.join().unwrap();
            assert!(held.is_none() || held == owned);
        });
    }
}
