//! The entries of all tracked futures, and who gets which.
//!
//! 1. Entries come in blocks that live as long as the process, in a static table
//!    that a report walks.
//! 2. Free ones wait in [`SHARDS`] lists. A thread has one of these, takes from it and
//!    gives back to it, without a lock.
//! 3. Is it empty, the thread takes all of another one's, and if all are empty it
//!    makes a block: the only step with a lock.
//!
//! A chain that changes lists is put into one that is empty, as it is: only if there
//! is none, its end is looked for, which takes as long as it is long.
//!
//! Limits: [`MAX_BLOCKS`] blocks. Futures beyond are not tracked, and counted.
//! Entries are never given back to the system.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::IDENTITY_WORDS;
use super::free::{END, List, MAX_ENTRIES};

pub(super) type Entry = super::entry::Entry<IDENTITY_WORDS>;

/// The goal: with the pointer in the future less than 160 bytes for each.
const _: () = assert!(size_of::<Entry>() == 128, "two cache lines");

/// Entries in a block: 64 KiB.
const BLOCK: u32 = 512;
/// 2,097,152 entries: 256 MiB.
const MAX_BLOCKS: u32 = 4096;
const _: () = assert!(BLOCK * MAX_BLOCKS <= MAX_ENTRIES, "each entry has a place in a list");

/// More lists than there are mostly threads that spawn.
const SHARDS: usize = 32;

static BLOCKS: [AtomicPtr<[Entry; BLOCK as usize]>; MAX_BLOCKS as usize] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; MAX_BLOCKS as usize];
/// How many of them there are.
static BLOCK_COUNT: AtomicU32 = AtomicU32::new(0);
static LISTS: [List; SHARDS] = [const { List::new() }; SHARDS];
static GROWING: Mutex<()> = Mutex::new(());
/// Futures that found no entry, since the start.
static UNTRACKED: AtomicU64 = AtomicU64::new(0);

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

/// The entry of that number.
pub(super) fn entry(index: u32) -> Option<&'static Entry> {
    let block = BLOCKS.get((index / BLOCK) as usize)?.load(Ordering::Acquire);
    // SAFETY: null, or a block that was leaked.
    let block = unsafe { block.as_ref() }?;
    block.get((index % BLOCK) as usize)
}

fn link(index: u32) -> &'static AtomicU32 {
    /// Never: what is in a list has an entry.
    static NOWHERE: AtomicU32 = AtomicU32::new(END);
    entry(index).map_or(&NOWHERE, |entry| &entry.link)
}

/// A free entry, which is the caller's then. `None`: there are too many.
pub(super) fn take() -> Option<&'static Entry> {
    let own = own_shard();
    let index = LISTS[own].pop(link).or_else(|| steal(own)).or_else(|| grow(own));
    if index.is_none() {
        UNTRACKED.fetch_add(1, Ordering::Relaxed);
    }
    entry(index?)
}

/// Gives an entry back that was [retired](Entry::retire).
pub(super) fn give_back(entry: &'static Entry) {
    LISTS[own_shard()].push(entry.index, &entry.link);
}

/// Takes what another list has: one for the caller, the others for its list.
#[cold]
fn steal(own: usize) -> Option<u32> {
    let others = (1..SHARDS).map(|distance| (own + distance) % SHARDS);
    let (victim, first) = others.filter_map(|other| Some((other, LISTS[other].take()?))).next()?;
    let Some(rest) = link(first).load(Ordering::Relaxed).checked_sub(1) else {
        return Some(first);
    };
    // Both are empty, unless other threads that use them have just given back.
    if !LISTS[own].fill(rest) && !LISTS[victim].fill(rest) {
        let mut last = link(rest);
        while let Some(next) = last.load(Ordering::Relaxed).checked_sub(1) {
            last = link(next);
        }
        LISTS[own].push(rest, last);
    }
    Some(first)
}

#[cold]
fn grow(own: usize) -> Option<u32> {
    let _growing = GROWING.lock().unwrap_or_else(PoisonError::into_inner);
    // Another thread may have grown while this one waited.
    if let Some(index) = LISTS[own].pop(link).or_else(|| steal(own)) {
        return Some(index);
    }
    let count = BLOCK_COUNT.load(Ordering::Relaxed);
    let place = BLOCKS.get(count as usize)?;
    let first = count * BLOCK;
    let entries: Vec<Entry> = (first..first + BLOCK).map(Entry::new).collect();
    for entry in &entries {
        // To the next one; of the last one `push` says it.
        entry.link.store(entry.index + 2, Ordering::Relaxed);
    }
    let block: Box<[Entry; BLOCK as usize]> = entries.into_boxed_slice().try_into().ok()?;
    let block: &'static [Entry; BLOCK as usize] = Box::leak(block);
    place.store(std::ptr::from_ref(block).cast_mut(), Ordering::Release);
    BLOCK_COUNT.store(count + 1, Ordering::Release);
    LISTS[own].push(first + 1, &block[BLOCK as usize - 1].link);
    Some(first)
}

/// Every entry, free ones too. Signal-safe.
pub(super) fn all() -> impl Iterator<Item = &'static Entry> {
    let blocks = BLOCKS.iter().take(BLOCK_COUNT.load(Ordering::Acquire) as usize);
    blocks.flat_map(|block| {
        // SAFETY: null, or a block that was leaked.
        let block = unsafe { block.load(Ordering::Acquire).as_ref() };
        block.into_iter().flatten()
    })
}

/// Futures that found no entry. Signal-safe.
pub(super) fn untracked() -> u64 {
    UNTRACKED.load(Ordering::Relaxed)
}
