//! Capture slots: how a thread's handler hands its stack to the supervisor.
//!
//! ```text
//!          supervisor            handler of the thread       supervisor
//! Free ──request(tid)──► Requested(g) ──claim──► Copying(g) ──publish──► Filled(g) ──release──► Free
//!                            │ withdraw (timeout)                    
//!                            └──────────────► Free
//! ```
//!
//! 1. The supervisor stores the thread's TID and sends the signal with a token
//!    (slot, generation g).
//! 2. The handler claims its slot by compare-exchange: it must be Requested, of
//!    that generation, for its own TID. Nobody else touches the payload while
//!    it is Copying.
//! 3. On timeout the supervisor takes Requested back by compare-exchange. If
//!    the handler was faster the slot is Copying: it is *quarantined*, left
//!    alone until its handler publishes, however late that is.
//!
//! So a late responder finds its generation gone and touches nothing.
//! The generation is 24 bits: a token is mistaken only if its thread slept
//! through 16,777,216 uses of one slot *and* the slot waits for it again.

use crate::sync::{AtomicU32, Ordering, UnsafeCell, const_unless_loom};

/// Names one use of one slot, of at most 256. Fits into the 32 bits of a queued
/// signal's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    index: u8,
    generation: u32,
}

const GENERATION_MASK: u32 = 0x00ff_ffff;
const FREE: u32 = 0;
const REQUESTED: u32 = 1;
const COPYING: u32 = 2;
const FILLED: u32 = 3;
const STATE_MASK: u32 = 0xff;

impl Token {
    /// As the value of a queued signal.
    pub(crate) fn to_bits(self) -> u32 {
        (self.generation << 8) | u32::from(self.index)
    }

    /// From the value of a queued signal.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Token { index: (bits & 0xff) as u8, generation: bits >> 8 }
    }

    /// The slot's index.
    pub(crate) fn index(self) -> usize {
        usize::from(self.index)
    }

    fn word(self, state: u32) -> u32 {
        (self.generation << 8) | state
    }
}

/// What the supervisor finds in a slot it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The handler has not come yet.
    Pending,
    /// The handler is copying.
    Copying,
    /// The payload is there.
    Filled,
}

/// One slot; `P` is what the handler fills in.
#[derive(Debug)]
pub(crate) struct Slot<P> {
    /// generation << 8 | state
    word: AtomicU32,
    tid: AtomicU32,
    payload: UnsafeCell<P>,
}

// SAFETY: the payload is only reached through `claim` (one handler, by
// compare-exchange) and through `read` in the Filled state (the supervisor,
// after Acquire); the states exclude each other.
#[expect(unsafe_code, reason = "the protocol is the argument; loom checks it")]
unsafe impl<P: Send> Sync for Slot<P> {}

impl<P> Slot<P> {
    const_unless_loom! {
        pub(crate) fn new(payload: P) -> Self {
            Slot { word: AtomicU32::new(FREE), tid: AtomicU32::new(0), payload: UnsafeCell::new(payload) }
        }
    }

    /// Supervisor: asks thread `tid` for its stack. `None` while the slot is
    /// quarantined. A late answer found here is thrown away.
    pub(crate) fn request(&self, index: u8, tid: u32) -> Option<Token> {
        let word = self.word.load(Ordering::Acquire);
        if !matches!(word & STATE_MASK, FREE | FILLED) {
            return None;
        }
        let generation = (word >> 8).wrapping_add(1) & GENERATION_MASK;
        let token = Token { index, generation };
        self.tid.store(tid, Ordering::Relaxed);
        // Release: a handler that sees Requested sees the TID.
        self.word.store(token.word(REQUESTED), Ordering::Release);
        Some(token)
    }

    /// Supervisor: has the thread answered?
    pub(crate) fn answer(&self, token: Token) -> Answer {
        match self.word.load(Ordering::Acquire) {
            word if word == token.word(FILLED) => Answer::Filled,
            word if word == token.word(COPYING) => Answer::Copying,
            _ => Answer::Pending,
        }
    }

    /// Supervisor: gives up. `false`: the handler got in between; the slot is
    /// Copying or Filled.
    pub(crate) fn withdraw(&self, token: Token) -> bool {
        self.word
            .compare_exchange(
                token.word(REQUESTED),
                token.word(FREE),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    }

    /// Supervisor: reads a filled slot and frees it.
    pub(crate) fn read<R>(&self, token: Token, read: impl FnOnce(&P) -> R) -> Option<R> {
        if self.answer(token) != Answer::Filled {
            return None;
        }
        // SAFETY: Filled was seen with Acquire, so the handler's writes are
        // visible; only the supervisor leaves Filled, and that is us.
        #[expect(unsafe_code, reason = "see above")]
        let result = self.payload.with(|payload| read(unsafe { &*payload }));
        self.word.store(token.word(FREE), Ordering::Release);
        Some(result)
    }

    /// Handler: claims the slot for `tid`, lets `fill` write the payload, and
    /// publishes it. `false`: the request is gone, nothing was touched.
    pub(crate) fn claim(&self, token: Token, tid: u32, fill: impl FnOnce(&mut P)) -> bool {
        if self.tid.load(Ordering::Relaxed) != tid {
            return false;
        }
        if self
            .word
            .compare_exchange(
                token.word(REQUESTED),
                token.word(COPYING),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_err()
        {
            return false;
        }
        // SAFETY: the compare-exchange made this the only one between
        // Requested and Filled.
        #[expect(unsafe_code, reason = "see above")]
        self.payload.with_mut(|payload| fill(unsafe { &mut *payload }));
        self.word.store(token.word(FILLED), Ordering::Release);
        true
    }

    /// Handler without a token (the kernel had no memory for it): the token of
    /// this slot, if it waits for `tid`.
    pub(crate) fn waiting_for(&self, index: u8, tid: u32) -> Option<Token> {
        let word = self.word.load(Ordering::Acquire);
        (word & STATE_MASK == REQUESTED && self.tid.load(Ordering::Relaxed) == tid)
            .then_some(Token { index, generation: word >> 8 })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_way_through() {
        let slot = Slot::new(0);
        let token = slot.request(3, 77).unwrap();
        assert_eq!(Token::from_bits(token.to_bits()), token);
        assert_eq!(token.index(), 3);
        assert_eq!(slot.answer(token), Answer::Pending);
        assert!(!slot.claim(token, 78, |_| panic!("another thread")));
        assert_eq!(slot.waiting_for(3, 77), Some(token));
        assert_eq!(slot.waiting_for(3, 78), None);
        assert!(slot.claim(token, 77, |payload| *payload = 5));
        assert!(!slot.withdraw(token));
        assert_eq!(slot.read(token, |payload| *payload), Some(5));
        assert_eq!(slot.read(token, |payload| *payload), None);
    }

    #[test]
    fn a_late_responder_touches_nothing() {
        let slot = Slot::new(0);
        let late = slot.request(0, 1).unwrap();
        assert!(slot.withdraw(late));
        assert!(!slot.claim(late, 1, |_| panic!("withdrawn")));
        let next = slot.request(0, 1).unwrap();
        assert!(!slot.claim(late, 1, |_| panic!("an older generation")));
        assert!(slot.claim(next, 1, |payload| *payload = 9));
        assert_eq!(slot.read(next, |payload| *payload), Some(9));
    }

    #[test]
    fn generations_wrap_without_losing_the_state() {
        let slot = Slot::new(0);
        slot.word.store(GENERATION_MASK << 8, Ordering::Relaxed);
        let token = slot.request(1, 2).unwrap();
        assert_eq!(token.generation, 0);
        assert!(slot.claim(token, 2, |payload| *payload = 1));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    /// A handler against a supervisor that gives up and asks again: payload
    /// accesses never overlap (loom's cell checks), and what is read belongs
    /// to the request that is read.
    #[test]
    fn loom_timeout_against_answer() {
        loom::model(|| {
            let slot = Arc::new(Slot::new(0_u32));
            let first = slot.request(0, 1).unwrap();
            let handler = {
                let slot = Arc::clone(&slot);
                loom::thread::spawn(move || slot.claim(first, 1, |payload| *payload = 1))
            };
            // The supervisor does not wait at all: the harshest deadline.
            let withdrawn = slot.withdraw(first);
            if withdrawn {
                assert_eq!(slot.read(first, |_| ()), None);
                // The slot goes to another thread, which answers at once.
                let second = slot.request(0, 2).unwrap();
                assert!(slot.claim(second, 2, |payload| *payload = 2));
                assert_eq!(slot.read(second, |payload| *payload), Some(2));
            } else {
                // Quarantined until the handler is done.
                match slot.request(0, 2) {
                    None => {}
                    Some(second) => {
                        assert!(slot.claim(second, 2, |payload| *payload = 2));
                        assert_eq!(slot.read(second, |payload| *payload), Some(2));
                    }
                }
            }
            let claimed = handler.join().unwrap();
            assert!(claimed != withdrawn);
        });
    }

    /// A bare signal (no token) and the tokened one race on one slot: the
    /// payload is written once.
    #[test]
    fn loom_one_claim_per_request() {
        loom::model(|| {
            let slot = Arc::new(Slot::new(0_u32));
            let token = slot.request(0, 1).unwrap();
            let bare = {
                let slot = Arc::clone(&slot);
                loom::thread::spawn(move || match slot.waiting_for(0, 1) {
                    Some(token) => slot.claim(token, 1, |payload| *payload += 1),
                    None => false,
                })
            };
            let tokened = slot.claim(token, 1, |payload| *payload += 1);
            let bare = bare.join().unwrap();
            assert!(tokened != bare);
            assert_eq!(slot.read(token, |payload| *payload), Some(1));
        });
    }
}
