//! The right to use a bank: one thread at a time, by its TID.
//!
//! A request may come just while its holder lets go:
//!
//! - who asks adds a ticket, then tries to take the baton;
//! - who lets go gives the baton back, then looks for tickets.
//!
//! At least one of the two must see the other, or the request would wait for
//! the next signal. That is store-then-load on two words from both sides: each
//! puts a sequentially consistent fence between its two steps.

use crate::sync::{AtomicU32, Ordering, const_unless_loom, fence};

/// 0, or the holder's TID.
#[derive(Debug)]
pub(crate) struct Baton(AtomicU32);

impl Baton {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            Baton(AtomicU32::new(0))
        }
    }

    /// Takes it. `false`: it is taken.
    pub(crate) fn take(&self, tid: u32) -> bool {
        fence(Ordering::SeqCst);
        self.0.compare_exchange(0, tid, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives it back; look for requests afterwards.
    pub(crate) fn give_back(&self) {
        self.0.store(0, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Who has it; 0: nobody.
    pub(crate) fn holder(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_holder() {
        let baton = Baton::new();
        assert!(baton.take(7));
        assert!(!baton.take(8));
        assert_eq!(baton.holder(), 7);
        baton.give_back();
        assert!(baton.take(8));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::protocol::requests::{Requester, Requests};
    use loom::sync::Arc;

    /// Two handlers, each as `trigger::compose_here` does it: no request is
    /// left behind without somebody knowing of it.
    #[test]
    fn loom_no_request_is_left_behind() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new((Baton::new(), Requests::new()));
            let handler = |shared: &(Baton, Requests), tid: u32| -> bool {
                let (baton, requests) = shared;
                requests.push(&Requester::call());
                if !baton.take(tid) {
                    return false;
                }
                if requests.is_pending() {
                    requests.take();
                }
                baton.give_back();
                // Would hand off to itself.
                requests.is_pending()
            };
            let other = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || handler(&shared, 2))
            };
            let here = handler(&shared, 1);
            let there = other.join().unwrap();
            assert!(here || there || !shared.1.is_pending());
        });
    }
}
