//! A place for a value that comes and goes while others may be using it.
//!
//! One word: 0 is empty, [`BUSY`] is being filled or emptied, anything else is
//! the number of holders.
//!
//! 1. `fill`: 0 → BUSY, write the value, → 1: the filler is its first holder.
//! 2. `hold`: n → n + 1, if somebody holds it; nobody revives an empty place.
//! 3. Letting go: n → n − 1; the last one does 1 → BUSY, drops the value, → 0.
//!
//! So a value is dropped once, by whoever was the last to need it, and never
//! under a holder. Everything is lock-free: who finds the place busy is told
//! that there is nothing.
//!
//! # Safety
//!
//! The value is written and dropped in state BUSY, which one thread can be in;
//! it is only read by holders, and while there is one the state is not BUSY.
#![expect(unsafe_code, reason = "hands out references to a value in a cell")]

use core::ops::Deref;

use crate::sync::{AtomicU32, Ordering, UnsafeCell, const_unless_loom};

const BUSY: u32 = u32::MAX;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    holders: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is shared by holders (Sync) and dropped by whichever thread
// is the last of them (Send).
unsafe impl<T: Send + Sync> Sync for Counted<T> {}

impl<T> Counted<T> {
    const_unless_loom! {
        pub(crate) fn new() -> Self {
            Counted { holders: AtomicU32::new(0), value: UnsafeCell::new(None) }
        }
    }

    /// Puts a value in. Gives it back if the place is taken.
    pub(crate) fn fill(&self, value: T) -> Result<Held<'_, T>, T> {
        // Acquire: our write comes after the drop of what was there.
        if self.holders.compare_exchange(0, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: state BUSY is ours.
        self.value.with_mut(|place| unsafe { *place = Some(value) });
        // Release: who holds it sees it.
        self.holders.store(1, Ordering::Release);
        Ok(Held(self))
    }

    /// Holds what is there, if somebody else does.
    pub(crate) fn hold(&self) -> Option<Held<'_, T>> {
        let mut seen = self.holders.load(Ordering::Relaxed);
        loop {
            if seen == 0 || seen >= BUSY.wrapping_sub(1) {
                return None;
            }
            let more = seen.wrapping_add(1);
            match self.holders.compare_exchange(seen, more, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Held(self)),
                Err(now) => seen = now,
            }
        }
    }

    /// Drops the value whoever holds it: in a forked copy of the process, where
    /// the holders are threads that were not copied.
    pub(super) fn clear_copy(&self) {
        let seen = self.holders.swap(BUSY, Ordering::AcqRel);
        if seen == 0 || seen == BUSY {
            // Empty; or half filled or emptied when it was copied, which it
            // stays: nobody knows what it holds.
            self.holders.store(seen, Ordering::Release);
            return;
        }
        // SAFETY: state BUSY is ours, and there are no holders.
        self.value.with_mut(|place| unsafe { *place = None });
        self.holders.store(0, Ordering::Release);
    }

    /// Drops the value if `1` is all there is: the caller.
    fn empty(&self) -> bool {
        // Acquire: the drop comes after what other holders did.
        if self.holders.compare_exchange(1, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        // SAFETY: state BUSY is ours.
        self.value.with_mut(|place| unsafe { *place = None });
        self.holders.store(0, Ordering::Release);
        true
    }
}

/// A value that stays for as long as this does.
#[derive(Debug)]
pub(crate) struct Held<'a, T>(&'a Counted<T>);

impl<'a, T> Held<'a, T> {
    /// Drops the value, if nobody else holds it.
    pub(crate) fn close(self) -> Result<(), Self> {
        if self.0.empty() {
            core::mem::forget(self);
            return Ok(());
        }
        Err(self)
    }

    /// Stays a holder without a `Held`, until [`take_back`](Self::take_back).
    pub(super) fn keep(self) {
        core::mem::forget(self);
    }

    /// The holder that was kept; once for each [`keep`](Self::keep).
    pub(super) fn take_back(place: &'a Counted<T>) -> Self {
        Held(place)
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: held, so nobody writes.
        let value = self.0.value.with(|value| unsafe { &*value });
        // SAFETY: filled before the first holder, emptied after the last.
        unsafe { value.as_ref().unwrap_unchecked() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        let mut seen = self.0.holders.load(Ordering::Relaxed);
        loop {
            if seen == 1 {
                if self.0.empty() {
                    return;
                }
                seen = self.0.holders.load(Ordering::Relaxed);
                continue;
            }
            let less = seen.wrapping_sub(1);
            // Release: what we did comes before the drop.
            match self.0.holders.compare_exchange(seen, less, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::rc::Rc;
    use std::sync::Arc;

    #[test]
    fn a_value_is_dropped_by_the_last_of_its_holders() {
        let place = Counted::new();
        let value = Arc::new(());
        assert!(place.hold().is_none());
        let first = place.fill(Arc::clone(&value)).unwrap();
        assert!(place.fill(Arc::clone(&value)).is_err());
        let second = place.hold().unwrap();
        assert!(Arc::ptr_eq(&second, &value));
        let first = first.close().unwrap_err();
        drop(first);
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(second.close().is_ok());
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(place.hold().is_none());
        drop(place.fill(Arc::clone(&value)).unwrap());
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_copy_is_cleared_whoever_held_it() {
        let place = Counted::new();
        let value = Rc::new(());
        place.fill(Rc::clone(&value)).unwrap().keep();
        core::mem::forget(place.hold());
        place.clear_copy();
        assert_eq!(Rc::strong_count(&value), 1);
        assert!(place.fill(value).is_ok());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::AtomicU32;
    use loom::sync::Arc;

    /// Counts its drops, and is written when it goes: loom finds any reader
    /// beside it.
    struct Watched(Arc<AtomicU32>, UnsafeCell<u32>);

    impl Drop for Watched {
        fn drop(&mut self) {
            self.1.with_mut(|value| unsafe { *value = 0 });
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    // SAFETY: the cell is what the model watches.
    unsafe impl Sync for Watched {}

    /// The filler, a holder and one who fills again: each value is dropped
    /// once, and nobody reads one that is gone.
    #[test]
    fn loom_a_value_is_dropped_once_and_never_under_a_holder() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let drops = Arc::new(AtomicU32::new(0));
            let place = Arc::new(Counted::new());
            let watched = |value| Watched(Arc::clone(&drops), UnsafeCell::new(value));
            let first = place.fill(watched(1)).map_err(|_| ()).unwrap();
            let reader = {
                let place = Arc::clone(&place);
                loom::thread::spawn(move || {
                    if let Some(held) = place.hold() {
                        held.1.with(|value| assert!(matches!(unsafe { *value }, 1 | 2)));
                    }
                })
            };
            let again = {
                let (place, second) = (Arc::clone(&place), watched(2));
                loom::thread::spawn(move || place.fill(second).is_ok())
            };
            drop(first);
            reader.join().unwrap();
            // Either way the second value is gone: refused, or dropped by its
            // last holder.
            let _ = again.join().unwrap();
            assert_eq!(drops.load(Ordering::Relaxed), 2);
            assert!(place.hold().is_none());
        });
    }
}
