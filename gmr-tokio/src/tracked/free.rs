//! Lists of free entries: stacks that any thread pushes to and pops from, without
//! a lock.
//!
//! 1. A list is one word: its first entry and a tag. Entries know the next one by
//!    their link. Entries live for ever, so a stale link may be read.
//! 2. Every change moves the tag on: a pop that was overtaken by a pop and a push
//!    of the same entry finds another tag, and begins again.
//! 3. [`take`](List::take) empties a list at once: for a thread whose own list is
//!    empty while others have some.
//!
//! Limits: 2^24 - 1 entries. The tag has 40 bits: a pop goes wrong only if its
//! thread slept through a multiple of 2^40 changes of one list.

use super::sync::{AtomicU32, AtomicU64, Ordering};

const PLACE_BITS: u32 = 24;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const ONE_TAG: u64 = 1 << PLACE_BITS;

/// More entries than these have no place.
pub(super) const MAX_ENTRIES: u32 = PLACE_MASK as u32;

/// Behind the last entry of a list. (Links hold the index and one.)
pub(super) const END: u32 = 0;

/// One list, with a pair of cache lines of its own: threads do not slow each other.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct List(AtomicU64);

impl List {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        List(AtomicU64::new(0))
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        List(AtomicU64::new(0))
    }

    /// Puts a chain of entries in front: those from `first` on, linked with each
    /// other, of which `last` is the link of the last one.
    pub(super) fn push(&self, first: u32, last: &AtomicU32) {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            last.store((head & PLACE_MASK) as u32, Ordering::Relaxed);
            match self.swap(head, first.wrapping_add(1)) {
                Ok(()) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Makes a chain of entries, from `first` on, the list, if that is empty.
    pub(super) fn fill(&self, first: u32) -> bool {
        let head = self.0.load(Ordering::Relaxed);
        head & PLACE_MASK == 0 && self.swap(head, first.wrapping_add(1)).is_ok()
    }

    /// Takes the first entry.
    pub(super) fn pop<'e>(&self, link_of: impl Fn(u32) -> &'e AtomicU32) -> Option<u32> {
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            let first = ((head & PLACE_MASK) as u32).checked_sub(1)?;
            let next = link_of(first).load(Ordering::Relaxed);
            match self.swap(head, next) {
                Ok(()) => return Some(first),
                Err(now) => head = now,
            }
        }
    }

    /// Takes all entries: the first, which leads to the others.
    pub(super) fn take(&self) -> Option<u32> {
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            let first = ((head & PLACE_MASK) as u32).checked_sub(1)?;
            match self.swap(head, END) {
                Ok(()) => return Some(first),
                Err(now) => head = now,
            }
        }
    }

    /// Release: the links, and what the last user of an entry did with it, come
    /// before. Acquire: what we do with an entry comes after.
    fn swap(&self, head: u64, place: u32) -> Result<(), u64> {
        let next = (head & !PLACE_MASK).wrapping_add(ONE_TAG) | u64::from(place);
        self.0.compare_exchange(head, next, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn links(count: u32) -> Vec<AtomicU32> {
        (0..count).map(|_| AtomicU32::new(END)).collect()
    }

    #[test]
    fn last_in_first_out() {
        let links = links(3);
        let list = List::new();
        let link = |index: u32| &links[index as usize];
        assert_eq!(list.pop(link), None);
        for index in 0..3 {
            list.push(index, link(index));
        }
        assert_eq!([list.pop(link), list.pop(link)], [Some(2), Some(1)]);
        list.push(2, link(2));
        assert_eq!([list.pop(link), list.pop(link), list.pop(link)], [Some(2), Some(0), None]);
    }

    #[test]
    fn a_chain_goes_as_one() {
        let links = links(4);
        let (one, other) = (List::new(), List::new());
        let link = |index: u32| &links[index as usize];
        for index in 0..4 {
            one.push(index, link(index));
        }
        assert_eq!(one.take(), Some(3));
        assert_eq!(one.take(), None);
        assert!(other.fill(3));
        assert!(!other.fill(3), "it is not empty");
        assert_eq!((0..5).map_while(|_| other.pop(link)).collect::<Vec<_>>(), [3, 2, 1, 0]);
    }

    #[test]
    fn a_head_of_another_tag_is_not_taken_for_the_same() {
        let links = links(1);
        let list = List::new();
        list.push(0, &links[0]);
        let stale = list.0.load(Ordering::Relaxed);
        assert_eq!(list.pop(|_| &links[0]), Some(0));
        list.push(0, &links[0]);
        assert_eq!(list.0.load(Ordering::Relaxed) & PLACE_MASK, stale & PLACE_MASK);
        assert!(list.swap(stale, END).is_err());
    }
}
