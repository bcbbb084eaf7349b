//! The order of the section, and threads with equal stacks as one block.
//!
//! 1. Each thread has a rank: the one that got the trigger, the main thread,
//!    those that wait in a circle, those without an answer, those with part of a stack, those with a whole
//!    one, the reporter's own.
//! 2. Of those that have a stack, all with the same one (capture, end, and each
//!    frame's address and certainty) are a group, if two samples say the same of
//!    them, too: who burns a CPU is not one of those who sleep there. A hash
//!    brings candidates together, the frames decide.
//! 3. Within a rank groups come by size, the largest last: what only one thread
//!    does is more likely to matter than what a hundred wait for. Else the order
//!    is that of /proc.
//!
//! The triggering thread, the main thread, those in a circle and those without
//! an answer are never folded.
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
    /// Of the frames and the stack's end; 0 without frames.
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
const CIRCLE: u32 = 2;
const NO_ANSWER: u32 = 3;
const PARTIAL: u32 = 4;
const WHOLE: u32 = 5;
const OWN: u32 = 6;

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
        _ if record.wait.is_on_circle() => CIRCLE,
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
    // As FxHash does: quick, and it decides nothing.
    let step =
        |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let frames = facts.frames_of(record).iter().map(|frame| {
        // No address has these bits.
        frame.pc ^ ((frame.found().certainty as u64) << 62)
    });
    let end = record.stack_end.code().bytes().map(u64::from);
    let movement = movement_of(record).map_or(u64::MAX, |movement| movement as u64);
    let hash = frames.chain(end).chain([movement]).fold(0, step);
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
            && movement_of(first) == movement_of(second)
            && facts.frames_of(first) == facts.frames_of(second))
}

/// What two samples say that it did.
#[cfg(feature = "stacks")]
fn movement_of(record: &ThreadRecord) -> Option<crate::model::Movement> {
    record.between?.movement
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

#[cfg(all(test, feature = "stacks", feature = "symbols"))]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Between, Certainty, Movement, StackEnd};
    use crate::stacks::collect::FrameRecord;
    use crate::stacks::unwind::Found;
    use crate::sys::memory::Region;
    use crate::threads::Listed;

    /// A thread: how its capture ended, and its frames.
    #[derive(Debug, Clone)]
    struct Given {
        capture: Capture,
        stack_end: StackEnd,
        frames: Vec<(u64, Certainty)>,
        movement: Option<Movement>,
        is_main: bool,
        is_triggering: bool,
    }

    fn given(frames: &[u64]) -> Given {
        Given {
            capture: Capture::Ok,
            stack_end: StackEnd::Complete,
            frames: frames.iter().map(|pc| (*pc, Certainty::Exact)).collect(),
            movement: None,
            is_main: false,
            is_triggering: false,
        }
    }

    /// The numbers of the threads, block by block.
    fn blocks(threads: &[Given], fold: bool) -> Vec<Vec<usize>> {
        let (mut frames, mut records) = (Vec::new(), Vec::new());
        for (number, given) in threads.iter().enumerate() {
            // No process has threads of these numbers.
            let tid = if given.is_main { crate::sys::getpid() } else { u32::MAX - number as u32 };
            let mut record = ThreadRecord::EMPTY;
            record.tid = tid;
            record.capture = given.capture;
            record.stack_end = given.stack_end;
            record.between = Some(Between {
                movement: given.movement,
                cpu_ns: Some(number as u64),
                cpu_wait_ns: None,
                interval_ns: 1000,
            });
            record.first_frame = frames.len() as u32;
            record.frame_count = given.frames.len() as u32;
            record.is_triggering = given.is_triggering;
            records.push(record);
            frames.extend(given.frames.iter().map(|(pc, certainty)| {
                FrameRecord::of(&Found {
                    pc: *pc,
                    certainty: *certainty,
                    is_signal_frame: false,
                    is_interrupted: false,
                })
            }));
        }
        let mut region = Region::map(crate::names::Names::bytes_needed()).unwrap();
        let names = crate::names::Names::carve(&mut region).unwrap();
        let scopes = crate::scope::Snapshot::take(&mut []);
        let facts = Facts {
            records: &records,
            listed: &Listed {
                count: records.len(),
                total: records.len() as u64,
                ..Listed::default()
            },
            sampled: None,
            scopes: &scopes,
            options: &crate::Options::new().fold(fold),
            is_skipped: false,
            frames: &frames,
            added: &[],
            table: None,
            names: &names,
            lines: None,
        };
        let mut places =
            vec![Place { hash: 7, rank: 7, count: 7, leader: 7, record: 7 }; records.len() + 3];
        let mut rest = order(&facts, &mut places);
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let block = next_block(&mut rest);
            let numbers: Vec<_> = block.iter().map(|place| place.record as usize).collect();
            assert!(block.len() == 1 || is_group(&facts, block));
            blocks.push(numbers);
        }
        region.release();
        blocks
    }

    #[test]
    fn equal_stacks_meet_and_the_largest_block_is_the_last() {
        let mut threads = vec![
            Given { capture: Capture::Own, ..given(&[]) },
            given(&[1, 2]),
            given(&[5]),
            given(&[1, 2]),
            given(&[3, 4]),
            Given { is_main: true, ..given(&[1, 2]) },
            given(&[3, 4]),
            Given { capture: Capture::Timeout, ..given(&[]) },
            given(&[1, 2]),
            Given { is_triggering: true, ..given(&[1, 2]) },
            Given { capture: Capture::SignalBlocked, ..given(&[]) },
            Given { capture: Capture::Own, ..given(&[]) },
        ];
        let expected: [&[usize]; 8] =
            [&[9], &[5], &[7], &[10], &[2], &[4, 6], &[1, 3, 8], &[0, 11]];
        assert_eq!(blocks(&threads, true), expected);
        let alone: Vec<_> = [9, 5, 7, 10, 1, 2, 3, 4, 6, 8, 0, 11].map(|it| vec![it]).to_vec();
        assert_eq!(blocks(&threads, false), alone);
        // Nobody was asked: nothing is known to be equal.
        for thread in &mut threads {
            *thread = Given { capture: Capture::NotBuilt, ..given(&[]) };
        }
        assert_eq!(blocks(&threads, true).len(), threads.len());
    }

    #[test]
    fn what_differs_in_anything_is_not_equal() {
        let partial = |stack_end| Given { capture: Capture::Partial, stack_end, ..given(&[1, 2]) };
        let mut guessed = given(&[1, 2]);
        guessed.frames[1].1 = Certainty::FramePointer;
        let threads = [
            given(&[1, 2]),
            given(&[1, 2, 0]),
            given(&[2, 1]),
            guessed,
            partial(StackEnd::NoUnwindInfo),
            partial(StackEnd::Unreadable),
            partial(StackEnd::Unreadable),
        ];
        let sizes: Vec<_> = blocks(&threads, true).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 2, 1, 1, 1, 1]);
        // Those with part of a stack come first.
        assert_eq!(blocks(&threads, true)[..2], [vec![4], vec![5, 6]]);
    }

    #[test]
    fn who_burns_is_none_of_those_who_sleep_there() {
        let did = |movement| Given { movement: Some(movement), ..given(&[1, 2]) };
        let threads = [
            did(Movement::SameStackNoCpu),
            did(Movement::SameStackBurningCpu),
            did(Movement::SameStackNoCpu),
            given(&[1, 2]),
            did(Movement::Moved),
            did(Movement::SameStackNoCpu),
        ];
        assert_eq!(blocks(&threads, true), [vec![1], vec![3], vec![4], vec![0, 2, 5]]);
    }

    #[test]
    fn a_hash_decides_nothing() {
        // Two frames whose hashes meet in the second.
        let step = |hash: u64, pc: u64| (hash.rotate_left(5) ^ pc).wrapping_mul(K);
        const K: u64 = 0x517c_c1b7_2722_0a95;
        let meets = step(0, 1).rotate_left(5) ^ 2 ^ step(0, 3).rotate_left(5);
        assert_eq!(step(step(0, 1), 2), step(step(0, 3), meets));
        let threads =
            [given(&[1, 2]), given(&[3, meets]), given(&[1, 2]), given(&[3, meets]), given(&[9])];
        let blocks = blocks(&threads, true);
        assert!(blocks.contains(&vec![0, 2]), "{blocks:?}");
        assert!(blocks.iter().all(|block| !block.contains(&1) || !block.contains(&0)));
        assert_eq!(blocks.concat().len(), 5);
    }

    fn any_thread() -> impl Strategy<Value = Given> {
        let captures = [
            Capture::Ok,
            Capture::Ok,
            Capture::Ok,
            Capture::Partial,
            Capture::Timeout,
            Capture::Own,
        ];
        (prop::sample::select(captures.to_vec()), prop::collection::vec(1_u64..3, 0..4)).prop_map(
            |(capture, frames)| match capture {
                Capture::Ok | Capture::Partial => Given { capture, ..given(&frames) },
                _ => Given { capture, ..given(&[]) },
            },
        )
    }

    proptest! {
        #[test]
        fn every_thread_is_in_one_block_with_its_like(
            mut threads in prop::collection::vec(any_thread(), 0..40),
            main in 0_usize..60,
            triggering in 0_usize..60,
        ) {
            if let Some(thread) = threads.get_mut(main) {
                thread.is_main = true;
            }
            if let Some(thread) = threads.get_mut(triggering) {
                thread.is_triggering = true;
            }
            let blocks = blocks(&threads, true);
            let mut seen = blocks.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..threads.len()).collect::<Vec<_>>());
            let key = |number: usize| {
                let it = &threads[number];
                let is_alone = it.is_main
                    || it.is_triggering
                    || it.capture == Capture::Timeout
                    || (it.frames.is_empty() && it.capture != Capture::Own);
                (std::format!("{:?} {:?}", it.capture, it.frames), is_alone.then_some(number))
            };
            for (at, block) in blocks.iter().enumerate() {
                prop_assert!(block.is_sorted());
                prop_assert!(block.iter().all(|number| key(*number) == key(block[0])));
                // No other block is of the same kind.
                let others = blocks.iter().enumerate().filter(|(other, _)| *other != at);
                for (_, other) in others {
                    prop_assert_ne!(key(other[0]), key(block[0]));
                }
            }
            let whole: Vec<_> = blocks
                .iter()
                .filter(|block| {
                    let it = &threads[block[0]];
                    it.capture == Capture::Ok && !it.is_main && !it.is_triggering
                })
                .map(Vec::len)
                .collect();
            prop_assert!(whole.is_sorted());
        }
    }
}
