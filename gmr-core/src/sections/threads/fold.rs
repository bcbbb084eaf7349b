//! The order of the section, and threads with equal stacks as one block.
//!
//! 1. Each thread has a rank: the one that got the trigger, the main thread,
//!    those without an answer, those with part of a stack, those with a whole
//!    one, the reporter's own.
//! 2. Of those that have a stack, all with the same one (capture, end, and each
//!    frame's address and certainty) are a group. A hash brings candidates
//!    together, the frames decide.
//! 3. Within a rank groups come by size, the largest last: what only one thread
//!    does is more likely to matter than what a hundred wait for. Else the order
//!    is that of /proc.
//!
//! The triggering thread, the main thread and those without an answer are never
//! folded.
//!
//! Two sorts in place; n log n comparisons of numbers, and one of frames for each
//! thread. Where hashes of unequal stacks meet, which nobody will see, only those
//! equal to the first of them are a group.

use super::{Facts, is_main};
use crate::model::Capture;
use crate::sys::memory::Zeroable;
use crate::threads::ThreadRecord;

/// Where a thread stands in the section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Of the frames' addresses; 0 without any.
    hash: u64,
    rank: u32,
    /// How many threads its group has.
    count: u32,
    /// The number of the group's first thread in the list.
    leader: u32,
    /// Its own.
    record: u32,
}

#[expect(unsafe_code, reason = "numbers only")]
// SAFETY: all bytes zero is the place of the first thread.
unsafe impl Zeroable for Place {}

impl Place {
    /// Its thread.
    pub(super) fn of<'a>(&self, facts: &Facts<'a>) -> Option<&'a ThreadRecord> {
        facts.records.get(self.record as usize)
    }
}

const TRIGGERING: u32 = 0;
const MAIN: u32 = 1;
const NO_ANSWER: u32 = 2;
const PARTIAL: u32 = 3;
const WHOLE: u32 = 4;
const OWN: u32 = 5;

/// Brings all threads into their order; returns as many places as there are.
pub(super) fn order<'p>(facts: &Facts<'_>, places: &'p mut [Place]) -> &'p [Place] {
    let count = facts.records.len().min(places.len());
    let places = places.get_mut(..count).unwrap_or_default();
    for ((number, record), place) in facts.records.iter().enumerate().zip(places.iter_mut()) {
        let record_number = u32::try_from(number).unwrap_or(u32::MAX);
        let rank = rank_of(record);
        let hash = if is_foldable(facts, record, rank) { hash_of(facts, record) } else { 0 };
        *place = Place { hash, rank, count: 1, leader: record_number, record: record_number };
    }
    if facts.options.fold {
        places.sort_unstable_by_key(|place| (place.rank, place.hash, place.record));
        let mut rest = &mut *places;
        while let Some(first) = rest.first().copied() {
            let candidates = rest
                .iter()
                .take_while(|place| (place.rank, place.hash) == (first.rank, first.hash))
                .count();
            let (run, tail) = rest.split_at_mut_checked(candidates.max(1)).unwrap_or_default();
            if first.rank == OWN || first.hash != 0 {
                group(facts, first, run);
            }
            rest = tail;
        }
    }
    places.sort_unstable_by_key(|place| (place.rank, place.count, place.leader, place.record));
    places
}

/// The places of the next block: one, or a group's.
pub(super) fn next_block<'p>(rest: &mut &'p [Place]) -> &'p [Place] {
    let all = *rest;
    let Some(first) = all.first() else { return &[] };
    let of_group = all.iter().take_while(|place| place.leader == first.leader).count();
    let (block, tail) = all.split_at_checked(of_group.max(1)).unwrap_or((all, &[]));
    *rest = tail;
    block
}

/// Whether a block is shown as one of several threads.
pub(super) fn is_group(facts: &Facts<'_>, block: &[Place]) -> bool {
    let is_own = block.first().is_some_and(|place| place.rank == OWN);
    block.len() > 1 || (is_own && facts.options.fold)
}

/// Makes those of `run` that are like `first` its group.
fn group(facts: &Facts<'_>, first: Place, run: &mut [Place]) {
    let mut count = 0_u32;
    for place in run.iter_mut().filter(|place| is_same(facts, &first, place)) {
        place.leader = first.record;
        count = count.saturating_add(1);
    }
    for place in run.iter_mut().filter(|place| place.leader == first.record) {
        place.count = count;
    }
}

fn rank_of(record: &ThreadRecord) -> u32 {
    match record.capture {
        _ if record.is_triggering => TRIGGERING,
        _ if is_main(record) => MAIN,
        Capture::Own => OWN,
        // Without capture in this build, nobody was asked.
        Capture::Ok | Capture::NotBuilt => WHOLE,
        Capture::Partial => PARTIAL,
        _ => NO_ANSWER,
    }
}

#[cfg(feature = "stacks")]
fn is_foldable(facts: &Facts<'_>, record: &ThreadRecord, rank: u32) -> bool {
    matches!(rank, PARTIAL | WHOLE) && !facts.frames_of(record).is_empty()
}

#[cfg(feature = "stacks")]
fn hash_of(facts: &Facts<'_>, record: &ThreadRecord) -> u64 {
    let mut hash = 0_u64;
    for frame in facts.frames_of(record) {
        // As FxHash does: quick, and it decides nothing.
        hash = (hash.rotate_left(5) ^ frame.pc).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    // 0 is for those without frames.
    hash | 1
}

#[cfg(feature = "stacks")]
fn is_same(facts: &Facts<'_>, first: &Place, other: &Place) -> bool {
    let (Some(first), Some(second)) = (first.of(facts), other.of(facts)) else { return false };
    let is_own = first.capture == Capture::Own && second.capture == Capture::Own;
    is_own
        || (first.capture == second.capture
            && first.stack_end == second.stack_end
            && facts.frames_of(first) == facts.frames_of(second))
}

// Nobody has a stack: only the reporter's own threads are a group.

#[cfg(not(feature = "stacks"))]
fn is_foldable(_facts: &Facts<'_>, _record: &ThreadRecord, _rank: u32) -> bool {
    false
}

#[cfg(not(feature = "stacks"))]
fn hash_of(_facts: &Facts<'_>, _record: &ThreadRecord) -> u64 {
    0
}

#[cfg(not(feature = "stacks"))]
fn is_same(facts: &Facts<'_>, first: &Place, other: &Place) -> bool {
    let is_own =
        |place: &Place| place.of(facts).is_some_and(|record| record.capture == Capture::Own);
    is_own(first) && is_own(other)
}
