//! The signal-safe sections, registered and taken out by any thread at any
//! time, also during a report.
//!
//! Each entry has one word: its state and the number of visitors inside.
//!
//! 1. `register` claims a free entry (Free → Writing), writes it, publishes it
//!    (Live) with the next order number.
//! 2. A report visits live entries by order number: it counts itself in only
//!    while the state is Live.
//! 3. `unregister` retires the entry (Live → Retired, visitors kept) and frees
//!    it once the word says Retired and nobody inside. Who gave up waiting for
//!    that may try again: a retired entry is retired once more.
//!
//! State and count share a word on purpose: in two words, both sides would
//! have to store one and load the other, which needs sequential consistency.

use crate::section::SignalSafeSection;
use crate::sync::{AtomicU32, Ordering, UnsafeCell};

/// How many sections can be registered at once.
///
/// Inline, so that a `static` reporter needs no memory of its own; more than
/// any daemon has had in the original's eleven years of users.
pub const MAX_SECTIONS: usize = 32;

/// Longest title, in bytes: the width between the bars of a heading.
pub const MAX_TITLE_BYTES: usize = 64;

const FREE: u32 = 0;
const WRITING: u32 = 1;
const LIVE: u32 = 2;
const RETIRED: u32 = 3;
const STATE_MASK: u32 = 3;
const ONE_VISITOR: u32 = 4;

/// A registered section: what `unregister` wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionId {
    index: u32,
    order: u32,
}

/// Title and generator.
#[derive(Clone, Copy)]
pub(crate) struct Registered {
    pub(crate) title: &'static str,
    pub(crate) section: &'static dyn SignalSafeSection,
}

struct Entry {
    /// visitors * ONE_VISITOR | state
    word: AtomicU32,
    order: AtomicU32,
    registered: UnsafeCell<Option<Registered>>,
}

impl Entry {
    fn is_live(&self) -> bool {
        self.word.load(Ordering::Acquire) & STATE_MASK == LIVE
    }

    /// Compare-exchange until it succeeds or `step` declines.
    fn change(&self, step: impl Fn(u32) -> Option<u32>) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while let Some(next) = step(word) {
            match self.word.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}

/// The entries.
pub(crate) struct Registry {
    entries: [Entry; MAX_SECTIONS],
    next_order: AtomicU32,
}

// SAFETY: `registered` is written in Writing (one thread, by
// compare-exchange) and read by visitors that were counted in while Live; it
// is not written again before Retired was seen without visitors.
#[expect(unsafe_code, reason = "the protocol is the argument; loom checks it")]
unsafe impl Sync for Registry {}
// SAFETY: it holds `&'static dyn SignalSafeSection`, which is Sync.
#[expect(unsafe_code, reason = "see above")]
unsafe impl Send for Registry {}

impl core::fmt::Debug for Registry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let live = self.entries.iter().filter(|entry| entry.is_live());
        f.debug_struct("Registry").field("live", &live.count()).finish_non_exhaustive()
    }
}

/// A visit of one entry. [`Visit::leave`] ends it; a visit that is never ended
/// (a stuck section) keeps its entry from being freed, which is the point.
#[derive(Clone, Copy)]
pub(crate) struct Visit {
    index: usize,
    pub(crate) order: u32,
    pub(crate) registered: Registered,
}

impl Registry {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Registry {
            entries: [const {
                Entry {
                    word: AtomicU32::new(FREE),
                    order: AtomicU32::new(0),
                    registered: UnsafeCell::new(None),
                }
            }; MAX_SECTIONS],
            next_order: AtomicU32::new(1),
        }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Registry {
            entries: core::array::from_fn(|_| Entry {
                word: AtomicU32::new(FREE),
                order: AtomicU32::new(0),
                registered: UnsafeCell::new(None),
            }),
            next_order: AtomicU32::new(1),
        }
    }

    /// `None`: all entries are taken.
    pub(crate) fn register(&self, registered: Registered) -> Option<SectionId> {
        for (index, entry) in self.entries.iter().enumerate() {
            if entry
                .word
                .compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
            {
                continue;
            }
            let order = self.next_order.fetch_add(1, Ordering::Relaxed);
            // SAFETY: Writing belongs to who made it.
            #[expect(unsafe_code, reason = "see above")]
            entry.registered.with_mut(|cell| unsafe { *cell = Some(registered) });
            entry.order.store(order, Ordering::Release);
            entry.word.store(LIVE, Ordering::Release);
            return Some(SectionId { index: index as u32, order });
        }
        None
    }

    /// Retires an entry, or finds it retired: no report will enter it any more.
    /// `false`: the id is not (or no longer) registered.
    pub(crate) fn retire(&self, id: SectionId) -> bool {
        let Some(entry) = self.entries.get(id.index as usize) else { return false };
        // As a visitor: meanwhile nobody frees it, and no other section moves in.
        let entered = entry.change(|word| {
            matches!(word & STATE_MASK, LIVE | RETIRED).then_some(word.wrapping_add(ONE_VISITOR))
        });
        if !entered {
            return false;
        }
        let is_it = entry.order.load(Ordering::Relaxed) == id.order;
        entry.change(|word| {
            // (None are left in a forked copy that was cleared meanwhile.)
            let left = word.checked_sub(ONE_VISITOR).unwrap_or(word);
            Some(if is_it { (left & !STATE_MASK) | RETIRED } else { left })
        });
        is_it
    }

    /// Frees an entry that [`retire`](Self::retire) found, once nobody is inside
    /// it. `false`: a report is. `true` also if another thread has freed it.
    pub(crate) fn free(&self, id: SectionId) -> bool {
        let Some(entry) = self.entries.get(id.index as usize) else { return true };
        match entry.word.compare_exchange(RETIRED, FREE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            // Acquire: if another section moved in, what was done inside this
            // one came before.
            Err(word) => {
                word & STATE_MASK != RETIRED || entry.order.load(Ordering::Acquire) != id.order
            }
        }
    }

    /// Forgets who is inside, in a forked copy of the process: threads that were
    /// not copied. Before any report of the copy's own.
    #[cfg(any(gmr_engine, all(test, not(loom))))]
    pub(crate) fn clear_copy(&self) {
        for entry in &self.entries {
            entry.change(|word| (word >= ONE_VISITOR).then_some(word & STATE_MASK));
        }
    }

    /// Enters the live entry with the lowest order number above `after`.
    pub(crate) fn visit_after(&self, after: u32) -> Option<Visit> {
        loop {
            let (index, entry, order) = self
                .entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| entry.is_live())
                .map(|(index, entry)| (index, entry, entry.order.load(Ordering::Relaxed)))
                .filter(|(_, _, order)| *order > after)
                .min_by_key(|(_, _, order)| *order)?;
            let entered = entry.change(|word| {
                (word & STATE_MASK == LIVE).then_some(word.wrapping_add(ONE_VISITOR))
            });
            if !entered {
                // It was taken out under our hands: look again.
                continue;
            }
            if entry.order.load(Ordering::Relaxed) == order {
                // SAFETY: counted in while Live: nobody writes until `leave`.
                #[expect(unsafe_code, reason = "see above")]
                let registered = entry.registered.with(|cell| unsafe { *cell });
                if let Some(registered) = registered {
                    return Some(Visit { index, order, registered });
                }
            }
            // Another section moved in: look again.
            entry.word.fetch_sub(ONE_VISITOR, Ordering::Release);
        }
    }

    /// The title of the section with this order number, if it is registered.
    #[cfg(not(loom))]
    pub(crate) fn title(&self, order: u32) -> Option<&'static str> {
        let visit = self.visit_after(order.saturating_sub(1))?;
        self.leave(&visit);
        (visit.order == order).then_some(visit.registered.title)
    }

    /// Ends a visit.
    pub(crate) fn leave(&self, visit: &Visit) {
        if let Some(entry) = self.entries.get(visit.index) {
            entry.word.fetch_sub(ONE_VISITOR, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod test_section {
    use crate::section::{SectionResult, SectionWriter, SignalSafeSection};

    pub(super) struct Nothing;

    // SAFETY: it does nothing.
    #[expect(unsafe_code, reason = "test")]
    unsafe impl SignalSafeSection for Nothing {
        fn generate(&self, _: &mut SectionWriter<'_>) -> SectionResult {
            Ok(())
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::test_section::Nothing;
    use super::*;

    fn entry(title: &'static str) -> Registered {
        Registered { title, section: &Nothing }
    }

    fn titles(registry: &Registry) -> std::vec::Vec<&'static str> {
        let mut titles = std::vec::Vec::new();
        let mut after = 0;
        while let Some(visit) = registry.visit_after(after) {
            titles.push(visit.registered.title);
            after = visit.order;
            registry.leave(&visit);
        }
        titles
    }

    #[test]
    fn sections_come_in_the_order_of_registration_even_in_reused_entries() {
        let registry = Registry::new();
        let a = registry.register(entry("a")).unwrap();
        registry.register(entry("b")).unwrap();
        assert!(registry.retire(a));
        assert!(registry.free(a));
        assert!(!registry.retire(a), "an id is good once");
        registry.register(entry("c")).unwrap();
        assert_eq!(titles(&registry), ["b", "c"]);
    }

    #[test]
    fn full_is_said_and_an_entry_in_use_is_not_freed() {
        let registry = Registry::new();
        let ids: std::vec::Vec<_> =
            (0..MAX_SECTIONS).map(|_| registry.register(entry("x")).unwrap()).collect();
        assert!(registry.register(entry("one too many")).is_none());
        let visit = registry.visit_after(0).unwrap();
        assert!(registry.retire(ids[0]));
        assert!(!registry.free(ids[0]));
        assert!(registry.register(entry("one too many")).is_none());
        // Whoever waited in vain tries again.
        assert!(registry.retire(ids[0]));
        assert!(!registry.free(ids[0]));
        registry.leave(&visit);
        assert!(registry.retire(ids[0]));
        assert!(registry.free(ids[0]));
        assert!(!registry.retire(ids[0]), "an id is good once");
        assert!(registry.register(entry("fits")).is_some());
        // Late by far: nobody is inside, and the new section stays.
        assert!(!registry.retire(ids[0]));
        assert!(registry.free(ids[0]));
        assert_eq!(titles(&registry).last(), Some(&"fits"));
    }

    #[test]
    fn visitors_of_a_forked_copy_are_forgotten_and_the_sections_stay() {
        let registry = Registry::new();
        let a = registry.register(entry("a")).unwrap();
        let b = registry.register(entry("b")).unwrap();
        registry.register(entry("c")).unwrap();
        let inside = registry.visit_after(0).unwrap();
        assert_eq!(inside.order, a.order);
        registry.visit_after(inside.order).unwrap();
        assert!(registry.retire(b));
        assert!(!registry.free(b));
        registry.clear_copy();
        assert_eq!(titles(&registry), ["a", "c"]);
        for id in [a, b] {
            assert!(registry.retire(id) && registry.free(id));
        }
        assert_eq!(titles(&registry), ["c"]);
    }
}

#[cfg(all(test, loom))]
#[expect(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "loom's cell is the check")]
mod loom_tests {
    use super::test_section::Nothing;
    use super::*;
    use loom::sync::Arc;

    /// `unregister` + `register` of another section against a visit: what is
    /// visited is whole, and the entry is not rewritten under the visitor
    /// (loom's cell checks).
    #[test]
    fn loom_unregister_during_a_report() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let registry = Arc::new(Registry::new());
            let id = registry.register(Registered { title: "a", section: &Nothing }).unwrap();
            let report = {
                let registry = Arc::clone(&registry);
                loom::thread::spawn(move || {
                    if let Some(visit) = registry.visit_after(0) {
                        assert!(matches!(visit.registered.title, "a" | "b"));
                        registry.leave(&visit);
                    }
                })
            };
            assert!(registry.retire(id));
            if registry.free(id) {
                registry.register(Registered { title: "b", section: &Nothing }).unwrap();
            }
            report.join().unwrap();
        });
    }

    /// Two threads unregister the same section, with a report inside, and one of
    /// them registers another: who has freed the first is sure that the report
    /// has left, and neither takes out the second.
    #[test]
    fn loom_a_section_is_unregistered_by_two() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let registry = Arc::new(Registry::new());
            // What the section uses until it is unregistered.
            let used = Arc::new(UnsafeCell::new(0_u32));
            let id = registry.register(Registered { title: "a", section: &Nothing }).unwrap();
            let visit = registry.visit_after(0).unwrap();
            let report = {
                let (registry, used) = (Arc::clone(&registry), Arc::clone(&used));
                loom::thread::spawn(move || {
                    used.with(|used| assert_eq!(unsafe { *used }, 0));
                    registry.leave(&visit);
                })
            };
            let other = {
                let registry = Arc::clone(&registry);
                loom::thread::spawn(move || registry.retire(id) && registry.free(id))
            };
            let mut second = None;
            if registry.retire(id) && registry.free(id) {
                used.with_mut(|used| unsafe { *used = 1 });
                second = registry.register(Registered { title: "b", section: &Nothing });
            }
            report.join().unwrap();
            let _ = other.join().unwrap();
            if second.is_some() {
                assert_eq!(registry.visit_after(0).map(|visit| visit.order), Some(2));
            } else if registry.retire(id) {
                assert!(registry.free(id), "nobody is inside any more");
            }
        });
    }
}
