//! The walk along made-up lists: broken, looped, foreign, of unknown types.
//!
//! The lists lie in this test's own memory, where the kernel reads them.

use std::collections::HashSet;

use gmr_core::model::TaskState;
use gmr_std::await_table::format::{
    Entries, Field, Kind, NONE, Scheduler, SchedulerKind, State, StateKind, Task, Type,
};
use gmr_std::await_table::image::Writer;
use proptest::prelude::*;

use super::*;
use crate::table::Segments;

const OWNER: u64 = 77;
const SHARDS: usize = 4;

/// Words of a cell, and where in it everything is.
const CELL: usize = 16;
const STATE: usize = 0;
const VTABLE: usize = 2;
const OWNER_AT: usize = 3;
const SCHEDULER: usize = 4;
const ID: usize = 5;
const TAG: usize = 6;
const FUTURE: usize = 7;
const PREVIOUS: usize = 10;
const NEXT: usize = 11;

/// Where the words of the runtime and of the vtables are.
const ARC: usize = 0;
const COUNT: usize = 5;
const LISTS: usize = 8;
const VTABLES: usize = LISTS + SHARDS * 4;
const VTABLE_WORDS: usize = 16;
const CELLS: usize = VTABLES + VTABLE_WORDS * 4;

const IDLE: u64 = 3 << 6;
/// Of code that is nowhere; only its address counts.
const CODE: u64 = 0x1000_0000;

/// Memory with a runtime in it.
struct World {
    words: Vec<u64>,
    /// The first word that is aligned.
    start: usize,
}

impl World {
    /// Tasks with the ids from 1 on, put in at the head of their shards one after the
    /// other. All wait at state 3 of a coroutine.
    fn new(tasks: usize) -> Self {
        let words = vec![0_u64; CELLS + tasks * CELL + 16];
        let unaligned = words.as_ptr() as usize % 128 / 8;
        let mut world = World { words, start: (16 - unaligned) % 16 };
        let arc = world.address(ARC);
        for (at, word) in
            [(0, 1), (1, 1), (2, OWNER), (3, world.address(LISTS)), (4, SHARDS as u64)]
        {
            world.set(ARC + at, word);
        }
        world.set(ARC + COUNT, tasks as u64);
        world.set(ARC + 6, SHARDS as u64 - 1);
        for (kind, at) in (0..).zip((VTABLES..CELLS).step_by(VTABLE_WORDS)) {
            world.set(at, CODE + kind * 16);
            for (word, value) in [(7, 80), (8, 32), (9, 40)] {
                world.set(at + word, value);
            }
        }
        for task in 0..tasks {
            let (cell, list) = (world.cell(task), LISTS + (task + 1) % SHARDS * 4);
            for (at, word) in [
                (STATE, IDLE),
                (VTABLE, world.address(VTABLES)),
                (OWNER_AT, OWNER),
                (SCHEDULER, arc),
                (ID, task as u64 + 1),
                (FUTURE, 3),
            ] {
                world.set(cell + at, word);
            }
            let head = world.get(list + 1);
            world.set(cell + NEXT, head);
            world.set(list + 1, world.address(cell));
            match world.at(head) {
                Some(head) => world.set(head + PREVIOUS, world.address(cell)),
                None => world.set(list + 2, world.address(cell)),
            }
        }
        world
    }

    fn address(&self, at: usize) -> u64 {
        (&raw const self.words[self.start + at]) as u64
    }

    fn at(&self, address: u64) -> Option<usize> {
        let at = address.checked_sub(self.address(0))? / 8;
        (at < (self.words.len() - self.start) as u64).then_some(at as usize)
    }

    fn get(&self, at: usize) -> u64 {
        self.words[self.start + at]
    }

    fn set(&mut self, at: usize, word: u64) {
        let at = self.start + at;
        self.words[at] = word;
    }

    /// Of the task with the number, from 0.
    fn cell(&self, task: usize) -> usize {
        CELLS + task * CELL
    }

    /// The table: its first kind of task is at the first vtable, kinds 1 and 2 share
    /// the second one, and the third vtable is of none.
    fn load(&self) -> Result<LoadedTable, crate::table::LoadError> {
        let segments = Segments {
            code: vec![(CODE, CODE + 0x1000)],
            data: vec![(self.address(0), self.address(CELLS))],
        };
        LoadedTable::bind(image(), segments, 0)
    }

    fn root(&self) -> Root {
        Root { scheduler: 0, arc: self.address(ARC), owner_id: OWNER }
    }

    fn collect(&self, table: &LoadedTable) -> Arena {
        let mut arena = Arena::new(1000);
        collect(table, &[self.root()], &[], &mut arena, &|| false);
        arena
    }
}

fn image() -> Vec<u8> {
    let mut writer = Writer::new();
    let file = writer.text("a.rs");
    let name = writer.text("leaf");
    let leaf = writer.ty(&Type { name, size: 8, kind: Kind::Opaque, flags: 1 });
    let suspended = State {
        value: 3,
        kind: StateKind::Suspended,
        file,
        line: 9,
        awaitee: Some(Field { offset: 8, ty: leaf }),
        is_in_macro: false,
    };
    let first = writer.state(&suspended);
    writer.state(&State { value: 0, kind: StateKind::Unresumed, awaitee: None, ..suspended });
    let kind = Kind::Coroutine { first, count: 2, tag_offset: 0, tag_bytes: 1 };
    let name = writer.text("work");
    let future = writer.ty(&Type { name, size: 24, kind, flags: 0 });
    for (poll, future) in [(0, future), (16, future), (16, leaf)] {
        writer.task(&Task {
            poll_svma: CODE + poll,
            future,
            scheduler: 0,
            scheduler_offset: 32,
            id_offset: 40,
            stage_offset: 48,
            stage_bytes: 32,
            tag_offset: 48,
            tag_bytes: 4,
            tag_running: 0,
            future_offset: 56,
            trailer_offset: 80,
            previous_offset: 80,
            next_offset: 88,
            cell_bytes: 128,
            file,
            line: 1,
        });
    }
    writer.scheduler(&Scheduler {
        name,
        kind: SchedulerKind::MultiThread,
        id_offset: 16,
        shards_offset: 24,
        shard_count_offset: 32,
        shard_bytes: 32,
        list_offset: 0,
        head_offset: 8,
        tail_offset: 16,
        count_offset: COUNT as u32 * 8,
        mask_offset: 48,
    });
    writer.entries(&Entries {
        state_offset: 0,
        vtable_offset: 16,
        owner_offset: 24,
        vtable_poll: 0,
        vtable_trailer: 56,
        vtable_scheduler: 64,
        vtable_id: 72,
        previous_in_trailer: 0,
        next_in_trailer: 8,
        local_context_offset: NONE,
        ..Entries::default()
    });
    writer.finish(&[], "")
}

fn ids(arena: &Arena) -> Vec<u64> {
    let mut ids: Vec<u64> = arena.all().map(|task| task.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn all_tasks_come_in_the_order_of_their_ids() {
    let world = World::new(150);
    let table = world.load().unwrap();
    let arena = world.collect(&table);
    let [group] = arena.groups().collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!((group.count, group.state), (150, TaskState::Suspended));
    let met: Vec<u64> = group.ids().collect();
    let sum = |ids: &[u64]| ids.iter().sum::<u64>();
    assert_eq!((met.len(), sum(&met)), (150, 151 * 75));
    // Of four shards each.
    assert!(met.chunks(4).take(37).all(|four| four.iter().max().unwrap() - four[0] < 4));
    let levels: Vec<_> = group.levels().iter().map(|level| level.shown(table.table())).collect();
    assert_eq!((levels[0].line, levels[1].function), (Some(9), "leaf"));
    let summary = arena.roots()[0];
    assert_eq!((summary.bad_links, summary.changed), (0, 0));
    assert_eq!((summary.alive_before, summary.alive_after), (Some(150), Some(150)));
}

#[test]
fn what_is_not_a_task_of_this_list_is_not_taken_for_one() {
    let spoil = |at: usize, word: fn(u64) -> u64| {
        let mut world = World::new(12);
        // The third one of its shard from the tail, of three.
        let cell = world.cell(9);
        world.set(cell + at, word(world.get(cell + at)));
        let table = world.load().unwrap();
        let arena = world.collect(&table);
        let summary = arena.roots()[0];
        assert_eq!(summary.lists_given_up, 1);
        assert!(summary.bad_links > 0);
        ids(&arena)
    };
    let others: Vec<u64> = (1..=12).filter(|id| *id != 10).collect();
    assert_eq!(spoil(STATE, |_| 5), others);
    assert_eq!(spoil(STATE, |_| u64::MAX), others);
    assert_eq!(spoil(VTABLE, |vtable| vtable + 8), others);
    assert_eq!(spoil(VTABLE, |_| 0), others);
    assert_eq!(spoil(OWNER_AT, |owner| owner + 1), others);
    assert_eq!(spoil(SCHEDULER, |arc| arc + 8), others);
    assert_eq!(spoil(ID, |_| 0), others);
    assert_eq!(spoil(ID, |_| 1 << 50), others);
    assert_eq!(spoil(NEXT, |next| next + 128), others);
}

#[test]
fn a_list_that_leads_back_into_itself_is_given_up() {
    let mut world = World::new(12);
    // The head of shard 1 (tasks 1, 5, 9) leads to the tail again.
    let (head, tail) = (world.cell(8), world.cell(0));
    world.set(head + PREVIOUS, world.address(tail));
    world.set(tail + NEXT, world.address(head));
    let table = world.load().unwrap();
    let arena = world.collect(&table);
    let summary = arena.roots()[0];
    assert_eq!((summary.lists_given_up, summary.resumes), (1, 64));
    assert!(ids(&arena).len() >= 9);
}

#[test]
fn a_list_that_ends_before_its_head_is_given_up() {
    let mut world = World::new(12);
    let cell = world.cell(4);
    world.set(cell + PREVIOUS, 0);
    let table = world.load().unwrap();
    let arena = world.collect(&table);
    assert_eq!(arena.roots()[0].lists_given_up, 1);
    assert_eq!(ids(&arena), (1..=12).filter(|id| *id != 9).collect::<Vec<_>>());
}

#[test]
fn states_are_those_of_the_header_and_of_the_stage() {
    let mut world = World::new(8);
    let vtable = |number: usize| VTABLES + number * VTABLE_WORDS;
    for (task, at, word) in [
        (0, STATE, IDLE | 1),
        (1, STATE, IDLE | 2),
        (2, STATE, IDLE | 4),
        (3, TAG, 1),
        (4, FUTURE, 0),
        // Two kinds could be meant; no kind is known. Both are listed all the same.
        (5, VTABLE, world.address(vtable(1))),
        (6, VTABLE, world.address(vtable(2))),
        (7, STATE, IDLE | 32),
    ] {
        let cell = world.cell(task);
        world.set(cell + at, word);
    }
    let table = world.load().unwrap();
    let arena = world.collect(&table);
    let state = |id| {
        let task = arena.task(id).unwrap();
        (task.state, task.kind, arena.group(task.group.unwrap()).unwrap().levels().len())
    };
    assert_eq!(state(1), (TaskState::Running, Some(0), 0));
    assert_eq!(state(2), (TaskState::Complete, Some(0), 0));
    assert_eq!(state(3), (TaskState::Scheduled, Some(0), 2));
    assert_eq!(state(4), (TaskState::Complete, Some(0), 0));
    assert_eq!(state(5), (TaskState::New, Some(0), 1));
    assert_eq!(state(6), (TaskState::Suspended, None, 0));
    assert_eq!(state(7), (TaskState::Suspended, None, 0));
    assert_eq!(state(8), (TaskState::Suspended, Some(0), 2));
    assert!(arena.task(8).unwrap().is_cancelled && !arena.task(3).unwrap().is_cancelled);
    assert_eq!(arena.roots()[0].unknown, 2);
    assert_eq!((table.found().vtables, table.found().ambiguous), (1, 1));
}

#[test]
fn a_runtime_that_is_gone_or_another_table_is_said() {
    let mut world = World::new(4);
    let table = world.load().unwrap();
    world.set(ARC + 2, OWNER + 1);
    assert!(world.collect(&table).roots()[0].is_gone);
    world.set(ARC + 2, OWNER);
    world.set(ARC + 4, 3);
    assert!(world.collect(&table).roots()[0].is_gone);
    assert_eq!(table.root_of_arc(true, world.address(ARC)), None);
    world.set(ARC + 4, SHARDS as u64);
    world.set(ARC, 0);
    assert!(world.collect(&table).roots()[0].is_gone);
    world.set(ARC, 1);
    assert_eq!(table.root_of_arc(false, world.address(ARC)), Some(world.root()));
    for vtable in 0..4 {
        world.set(VTABLES + vtable * VTABLE_WORDS, CODE + 0x2000);
    }
    assert!(matches!(world.load(), Err(crate::table::LoadError::OtherExecutable)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_the_memory_holds_the_walk_ends_and_no_task_comes_twice(
        spoilt in prop::collection::vec(
            (0..CELLS + 40 * CELL, prop_oneof![
                any::<u64>(), 0..300_u64, (0..400_u64).prop_map(|at| 1 << 63 | at),
            ]),
            0..40,
        ),
    ) {
        let mut world = World::new(40);
        let table = world.load().unwrap();
        for (at, word) in spoilt {
            // Addresses of cells lead astray best.
            let word = match word >> 63 {
                1 if word & 0xffff < 400 => world.address(CELLS) + (word & 0xffff) * 32,
                _ => word,
            };
            world.set(at, word);
        }
        let arena = world.collect(&table);
        let met = ids(&arena);
        prop_assert_eq!(met.iter().collect::<HashSet<_>>().len(), met.len());
        prop_assert!(met.len() <= 40);
        let summary = arena.roots()[0];
        prop_assert_eq!(summary.seen, met.len() as u64);
        let in_groups: u64 = arena.groups().map(|group| group.count).sum();
        prop_assert_eq!(in_groups, summary.seen);
    }
}
