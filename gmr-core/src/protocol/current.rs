//! The one that counts among a few that may still be in use, or none.
//!
//! 1. A reader holds the current one ([`Counted`]), for as long as it needs it.
//! 2. A switch puts another into a free place and publishes its number. From
//!    then on readers get the new one.
//! 3. The one before goes to who switched, who closes it once its last reader
//!    is done; a reader that stays longer than anybody waits closes it itself.
//!
//! Readers never wait. Who switches is alone (the caller's lock).

use super::counted::{Counted, Held};
use crate::sync::{AtomicU32, Ordering};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Current<T, const N: usize> {
    /// 0: none; else the place's number plus one. It is a holder of its own.
    current: AtomicU32,
    places: [Counted<T>; N],
}

impl<T, const N: usize> Current<T, N> {
    /// Nothing is current.
    pub(crate) fn none() -> Self {
        Current { current: AtomicU32::new(0), places: core::array::from_fn(|_| Counted::new()) }
    }

    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.current.load(Ordering::Acquire) == 0
    }

    /// Holds the current one, and says in which place it is, for
    /// [`at`](Self::at).
    pub(crate) fn hold(&self) -> Option<(u32, Held<'_, T>)> {
        let mut current = self.current.load(Ordering::Acquire);
        loop {
            let place = current.checked_sub(1)?;
            if let Some(held) = self.at(place) {
                return Some((place, held));
            }
            // Closed, so another is current by now: an addition sees it.
            current = self.current.fetch_add(0, Ordering::AcqRel);
        }
    }

    /// Holds what is in a place, current or not.
    pub(crate) fn at(&self, place: u32) -> Option<Held<'_, T>> {
        self.places.get(place as usize)?.hold()
    }

    /// Makes `new` the current one, or none. The one before is the caller's to
    /// close.
    ///
    /// # Errors
    ///
    /// `new`, if every place is in use: nothing has changed.
    pub(crate) fn switch(&self, new: Option<T>) -> Result<Option<Held<'_, T>>, T> {
        let next = match new {
            Some(value) => self.put(value)?,
            None => 0,
        };
        let before = self.current.swap(next, Ordering::AcqRel);
        let place = before.checked_sub(1).and_then(|place| self.places.get(place as usize));
        Ok(place.map(Held::take_back))
    }

    /// Returns the place's number plus one.
    fn put(&self, mut value: T) -> Result<u32, T> {
        for (place, number) in self.places.iter().zip(1..) {
            match place.fill(value) {
                Ok(held) => {
                    held.keep();
                    return Ok(number);
                }
                Err(back) => value = back,
            }
        }
        Err(value)
    }

    /// Drops all of them, in a forked copy of the process that does not use
    /// them.
    pub(crate) fn clear_copy(&self) {
        self.current.store(0, Ordering::Release);
        for place in &self.places {
            place.clear_copy();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn readers_keep_the_old_one_and_its_place_until_they_are_done() {
        let current = Current::<u32, 2>::none();
        assert!(current.is_none() && current.hold().is_none());
        assert!(current.switch(Some(1)).unwrap().is_none());
        let (place, reader) = current.hold().unwrap();
        let before = current.switch(Some(2)).unwrap().unwrap();
        assert_eq!((*before, *reader, *current.hold().unwrap().1), (1, 1, 2));
        let before = before.close().unwrap_err();
        drop(before);
        // Both places are taken.
        assert_eq!(current.switch(Some(3)).unwrap_err(), 3);
        assert_eq!(*current.at(place).unwrap(), 1);
        drop(reader);
        assert!(current.at(place).is_none());
        assert!(current.switch(None).unwrap().unwrap().close().is_ok());
        assert!(current.is_none() && current.hold().is_none());
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "loom's cell is the check")]
mod loom_tests {
    use super::*;
    use crate::sync::UnsafeCell;
    use loom::sync::Arc;

    /// A destination: written by reports, one at a time; closed by its drop.
    struct Watched(UnsafeCell<u32>, u32);

    unsafe impl Sync for Watched {}

    impl Drop for Watched {
        fn drop(&mut self) {
            // A report that still reads it is a race that loom reports.
            self.0.with_mut(|value| unsafe { *value = 0 });
        }
    }

    fn version(number: u32) -> Watched {
        Watched(UnsafeCell::new(number), number)
    }

    /// Reports against a switch and a release: a report only ever uses a
    /// destination that is open, and one that begins after a switch returned
    /// uses no older one.
    #[test]
    fn loom_a_report_never_uses_a_destination_that_was_closed() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let current = Arc::new(Current::<Watched, 2>::none());
            assert!(current.switch(Some(version(1))).is_ok());
            let switched = Arc::new(AtomicU32::new(0));
            let report = {
                let (current, switched) = (Arc::clone(&current), Arc::clone(&switched));
                loom::thread::spawn(move || {
                    for _ in 0..2 {
                        let least = switched.load(Ordering::Acquire);
                        let Some((_, held)) = current.hold() else {
                            continue;
                        };
                        held.0.with(|value| assert_eq!(unsafe { *value }, held.1));
                        assert!(held.1 >= least);
                    }
                })
            };
            if let Ok(Some(old)) = current.switch(Some(version(2))) {
                switched.store(2, Ordering::Release);
                let _ = old.close();
            }
            if let Ok(Some(old)) = current.switch(None) {
                switched.store(3, Ordering::Release);
                let _ = old.close();
            }
            report.join().unwrap();
            // Whoever was the last has closed it.
            assert!(current.at(0).is_none() && current.at(1).is_none());
        });
    }
}
