//! Memory for things that reports read: made once, used again, never given back to
//! the system, so that a stale address always leads to one of them.
//!
//! 1. Items come in blocks that live as long as the process, in a static table
//!    that a report walks.
//! 2. Free ones wait in [`SHARDS`] lists. A thread has one of these, takes from it and
//!    gives back to it, without a lock.
//! 3. Is it empty, the thread takes all of another one's, and if all are empty it
//!    makes a block: the only step with a lock.
//!
//! A chain that changes lists is put into one that is empty, as it is: only if there
//! is none, its end is looked for, which takes as long as it is long.
//!
//! Limits: as many blocks as the table has room for. Who finds no item goes without,
//! and is counted.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::free::{END, List, MAX_ENTRIES};

/// What lies in a slab.
pub(crate) trait Item: Sync + 'static {
    /// A free one.
    fn new(index: u32) -> Self;
    /// Its number.
    fn index(&self) -> u32;
    /// For the lists.
    fn link(&self) -> &AtomicU32;
}

/// Items in a block.
pub(crate) const BLOCK: u32 = 512;

/// More lists than there are mostly threads that take.
const SHARDS: usize = 32;

thread_local! {
    /// This thread's list. No destructor: it may be used to the very end.
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn own_shard() -> usize {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let shard = SHARD.get();
    if shard < SHARDS {
        return shard;
    }
    let shard = NEXT.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
    SHARD.set(shard);
    shard
}

/// All items of a kind: for a static.
pub(crate) struct Slab<T, const BLOCKS: usize> {
    blocks: [AtomicPtr<[T; BLOCK as usize]>; BLOCKS],
    /// How many of them there are.
    block_count: AtomicU32,
    lists: [List; SHARDS],
    growing: Mutex<()>,
    missed: AtomicU64,
}

impl<T: Item, const BLOCKS: usize> Slab<T, BLOCKS> {
    pub(crate) const fn new() -> Self {
        assert!(BLOCKS * BLOCK as usize <= MAX_ENTRIES as usize, "lists have room for all");
        Slab {
            blocks: [const { AtomicPtr::new(std::ptr::null_mut()) }; BLOCKS],
            block_count: AtomicU32::new(0),
            lists: [const { List::new() }; SHARDS],
            growing: Mutex::new(()),
            missed: AtomicU64::new(0),
        }
    }

    /// The item of that number. Signal-safe.
    pub(crate) fn get(&'static self, index: u32) -> Option<&'static T> {
        let block = self.blocks.get((index / BLOCK) as usize)?.load(Ordering::Acquire);
        // SAFETY: null, or a block that was leaked.
        let block = unsafe { block.as_ref() }?;
        block.get((index % BLOCK) as usize)
    }

    /// Every item, free ones too. Signal-safe.
    pub(crate) fn all(&'static self) -> impl Iterator<Item = &'static T> {
        let count = self.block_count.load(Ordering::Acquire) as usize;
        self.blocks.iter().take(count).flat_map(|block| {
            // SAFETY: null, or a block that was leaked.
            let block = unsafe { block.load(Ordering::Acquire).as_ref() };
            block.into_iter().flatten()
        })
    }

    /// How often there was none to take. Signal-safe.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// A free item, which is the caller's then. `None`: there are too many.
    pub(crate) fn take(&'static self) -> Option<&'static T> {
        let own = own_shard();
        let index = self.pop(own).or_else(|| self.steal(own)).or_else(|| self.grow(own));
        if index.is_none() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        self.get(index?)
    }

    /// Gives an item back that the caller has taken.
    pub(crate) fn give_back(&self, item: &'static T) {
        self.lists[own_shard()].push(item.index(), item.link());
    }

    fn link(&'static self, index: u32) -> &'static AtomicU32 {
        /// Never: what is in a list is in a block.
        static NOWHERE: AtomicU32 = AtomicU32::new(END);
        self.get(index).map_or(&NOWHERE, Item::link)
    }

    fn pop(&'static self, shard: usize) -> Option<u32> {
        self.lists[shard].pop(|index| self.link(index))
    }

    /// Takes what another list has: one for the caller, the others for its list.
    #[cold]
    fn steal(&'static self, own: usize) -> Option<u32> {
        let mut others = (1..SHARDS).map(|distance| (own + distance) % SHARDS);
        let (victim, first) = others.find_map(|other| Some((other, self.lists[other].take()?)))?;
        let Some(rest) = self.link(first).load(Ordering::Relaxed).checked_sub(1) else {
            return Some(first);
        };
        // Both are empty, unless other threads that use them have just given back.
        if !self.lists[own].fill(rest) && !self.lists[victim].fill(rest) {
            let mut last = self.link(rest);
            while let Some(next) = last.load(Ordering::Relaxed).checked_sub(1) {
                last = self.link(next);
            }
            self.lists[own].push(rest, last);
        }
        Some(first)
    }

    #[cold]
    fn grow(&'static self, own: usize) -> Option<u32> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have grown while this one waited.
        if let Some(index) = self.pop(own).or_else(|| self.steal(own)) {
            return Some(index);
        }
        let count = self.block_count.load(Ordering::Relaxed);
        let place = self.blocks.get(count as usize)?;
        let first = count * BLOCK;
        let items: Vec<T> = (first..first + BLOCK).map(T::new).collect();
        for item in &items {
            // To the next one; of the last one `push` says it.
            item.link().store(item.index() + 2, Ordering::Relaxed);
        }
        let block: Box<[T; BLOCK as usize]> = items.into_boxed_slice().try_into().ok()?;
        let block: &'static [T; BLOCK as usize] = Box::leak(block);
        place.store(std::ptr::from_ref(block).cast_mut(), Ordering::Release);
        self.block_count.store(count + 1, Ordering::Release);
        self.lists[own].push(first + 1, block[BLOCK as usize - 1].link());
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing {
        link: AtomicU32,
        index: u32,
        holders: AtomicU32,
    }

    impl Item for Thing {
        fn new(index: u32) -> Self {
            Thing { link: AtomicU32::new(END), index, holders: AtomicU32::new(0) }
        }
        fn index(&self) -> u32 {
            self.index
        }
        fn link(&self) -> &AtomicU32 {
            &self.link
        }
    }

    #[test]
    fn a_full_slab_says_so_and_loses_nothing() {
        static SLAB: Slab<Thing, 2> = Slab::new();
        for round in 1..4 {
            let mut taken: Vec<_> = std::iter::from_fn(|| SLAB.take()).collect();
            assert_eq!(SLAB.missed(), round);
            taken.sort_by_key(|thing| thing.index);
            let numbers: Vec<_> = taken.iter().map(|thing| thing.index).collect();
            assert_eq!(numbers, (0..2 * BLOCK).collect::<Vec<_>>());
            assert!(SLAB.all().map(|thing| thing.index).eq(numbers));
            // By another thread: into another list, from where the next round takes it.
            std::thread::spawn(move || taken.iter().for_each(|thing| SLAB.give_back(thing)))
                .join()
                .unwrap();
        }
    }

    #[test]
    fn threads_never_hold_the_same() {
        static SLAB: Slab<Thing, 2> = Slab::new();
        const THREADS: usize = 4;
        const TURNS: usize = 20_000;
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let mut held = std::collections::VecDeque::new();
                    for turn in 0..TURNS {
                        if let Some(thing) = SLAB.take() {
                            assert_eq!(thing.holders.fetch_add(1, Ordering::Relaxed), 0);
                            held.push_back(thing);
                        }
                        if held.len() > (turn * (thread + 3)) % 200 {
                            let thing = held.pop_front().unwrap();
                            thing.holders.fetch_sub(1, Ordering::Relaxed);
                            SLAB.give_back(thing);
                        }
                    }
                    for thing in held {
                        thing.holders.fetch_sub(1, Ordering::Relaxed);
                        SLAB.give_back(thing);
                    }
                });
            }
        });
        let taken = std::iter::from_fn(|| SLAB.take()).count();
        assert_eq!(taken, SLAB.all().count());
    }
}
