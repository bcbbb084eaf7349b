//! Equal await trees, folded: a tree is kept once, with a chain of the tasks that
//! have it.
//!
//! 1. A tree's hash leads to the groups that may have it; the levels are compared,
//!    not only their hashes.
//! 2. Which tasks a tree's `JoinHandle`s wait for is no part of it: a hundred requests
//!    that each wait for a task of its own are one group. The edges are kept beside.
//!
//! All memory is made at setup. A tree for which there is no room is counted.

use gmr_core::model::TaskState;
use gmr_std::await_table::format::NONE;

use super::tasks::{Tasks, flag};
use crate::walk::{Level, Note};

/// Different trees. Beyond that a report is not read by anyone.
pub(crate) const MAX_GROUPS: usize = 16_384;

/// Levels of all of them.
pub(crate) const MAX_GROUP_LEVELS: usize = 1 << 18;

/// Tasks that wait for a task.
pub(crate) const MAX_EDGES: usize = 1 << 17;

const SLOTS: usize = MAX_GROUPS * 2;

const _: () = assert!(SLOTS.is_power_of_two());

/// What tasks of one group have in common, but for the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) state: TaskState,
    pub(crate) kind: u32,
    pub(crate) root: u8,
}

/// Tasks with the same tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupRecord {
    hash: u64,
    pub(crate) common: Common,
    pub(crate) count: u32,
    pub(crate) cancelled: u32,
    first_level: u32,
    levels: u32,
    pub(crate) first: u32,
    last: u32,
    first_edge: u32,
    last_edge: u32,
}

/// A task waits for another.
#[derive(Debug, Clone, Copy)]
struct Edge {
    to: u64,
    from: u32,
    level: u32,
    next: u32,
}

/// All groups of a report.
#[derive(Debug)]
pub(crate) struct Trees {
    groups: Vec<GroupRecord>,
    levels: Vec<Level>,
    edges: Vec<Edge>,
    slots: Vec<u32>,
    /// Tasks whose tree found no room.
    pub(crate) left_out: u64,
    /// Edges that found none.
    pub(crate) edges_left_out: u64,
}

impl Trees {
    pub(super) fn new() -> Self {
        Trees {
            groups: Vec::with_capacity(MAX_GROUPS),
            levels: Vec::with_capacity(MAX_GROUP_LEVELS),
            edges: Vec::with_capacity(MAX_EDGES),
            slots: vec![0; SLOTS],
            left_out: 0,
            edges_left_out: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        for group in &self.groups {
            let mut at = group.hash;
            // All that this one may have gone past.
            while let Some(slot) = self.slots.get_mut(slot_of(at)).filter(|slot| **slot != 0) {
                *slot = 0;
                at = at.wrapping_add(1);
            }
        }
        self.groups.clear();
        self.levels.clear();
        self.edges.clear();
        self.left_out = 0;
        self.edges_left_out = 0;
    }

    pub(crate) fn groups(&self) -> &[GroupRecord] {
        &self.groups
    }

    pub(crate) fn levels(&self, group: &GroupRecord) -> &[Level] {
        let first = group.first_level as usize;
        self.levels.get(first..first.wrapping_add(group.levels as usize)).unwrap_or_default()
    }

    /// Calls `each` with task, level and the id of the task that is waited for there.
    pub(crate) fn edges(&self, group: &GroupRecord, each: &mut dyn FnMut(u32, u32, u64) -> bool) {
        let mut next = group.first_edge;
        while let Some(edge) = self.edges.get(next as usize) {
            if !each(edge.from, edge.level, edge.to) {
                return;
            }
            next = edge.next;
        }
    }

    /// Puts a task into the group of those that are like it.
    pub(super) fn add(&mut self, tasks: &mut Tasks, task: u32, common: Common, levels: &[Level]) {
        let Some(group) = self.find_or_make(common, levels) else {
            self.left_out = self.left_out.saturating_add(1);
            return;
        };
        let is_cancelled = tasks.get(task).is_some_and(|task| task.flags & flag::CANCELLED != 0);
        let Some(record) = self.groups.get_mut(group as usize) else { return };
        let last = core::mem::replace(&mut record.last, task);
        record.count = record.count.saturating_add(1);
        record.cancelled = record.cancelled.saturating_add(u32::from(is_cancelled));
        if last == NONE {
            record.first = task;
        } else if let Some(last) = tasks.get_mut(last) {
            last.next_in_group = task;
        }
        if let Some(task) = tasks.get_mut(task) {
            task.group = group;
            task.next_in_group = NONE;
        }
        for (level, index) in levels.iter().zip(0_u32..) {
            if level.target != 0 {
                self.note_edge(group, task, index, level.target_id);
            }
        }
    }

    /// Keeps whom a task waits for; the group's own level tells only what holds for all.
    fn note_edge(&mut self, group: u32, from: u32, level: u32, to: u64) {
        let Some(record) = self.groups.get_mut(group as usize) else { return };
        if let Some(shown) = self.levels.get_mut(record.first_level.saturating_add(level) as usize)
            && shown.target_id != to
        {
            shown.target_id = 0;
            shown.note = Note::Several;
        }
        if to == 0 {
            return;
        }
        if self.edges.len() >= MAX_EDGES {
            self.edges_left_out = self.edges_left_out.saturating_add(1);
            return;
        }
        let number = self.edges.len() as u32;
        self.edges.push(Edge { to, from, level, next: NONE });
        let last = core::mem::replace(&mut record.last_edge, number);
        if last == NONE {
            record.first_edge = number;
        } else if let Some(last) = self.edges.get_mut(last as usize) {
            last.next = number;
        }
    }

    fn find_or_make(&mut self, common: Common, levels: &[Level]) -> Option<u32> {
        let hash = hash(common, levels);
        let mut at = hash;
        for _ in 0..SLOTS {
            let slot = slot_of(at);
            let Some(number) = self.slots.get(slot)?.checked_sub(1) else {
                return self.make(hash, slot, common, levels);
            };
            let group = self.groups.get(number as usize)?;
            if group.hash == hash && group.common == common && are_alike(self.levels(group), levels)
            {
                return Some(number);
            }
            at = at.wrapping_add(1);
        }
        None
    }

    fn make(&mut self, hash: u64, slot: usize, common: Common, levels: &[Level]) -> Option<u32> {
        let has_room = self.groups.len() < MAX_GROUPS
            && self.levels.len().saturating_add(levels.len()) <= MAX_GROUP_LEVELS;
        if !has_room {
            return None;
        }
        let number = self.groups.len() as u32;
        let first_level = self.levels.len() as u32;
        self.levels.extend_from_slice(levels);
        self.groups.push(GroupRecord {
            hash,
            common,
            count: 0,
            cancelled: 0,
            first_level,
            levels: levels.len() as u32,
            first: NONE,
            last: NONE,
            first_edge: NONE,
            last_edge: NONE,
        });
        *self.slots.get_mut(slot)? = number.wrapping_add(1);
        Some(number)
    }
}

fn slot_of(hash: u64) -> usize {
    hash as usize & (SLOTS - 1)
}

/// Whether two trees are one, whomever they wait for.
fn are_alike(one: &[Level], other: &[Level]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            (one.ty, one.state, one.depth, one.what, one.target_kind)
                == (other.ty, other.state, other.depth, other.what, other.target_kind)
                && match (one.target, other.target) {
                    (0, 0) => one.note == other.note && one.left_out == other.left_out,
                    (one, other) => one != 0 && other != 0,
                }
        })
}

fn hash(common: Common, levels: &[Level]) -> u64 {
    let mix =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let state = common.state.code().len() as u64;
    let start = mix(u64::from(common.kind), state << 8 | u64::from(common.root));
    let hash = levels.iter().fold(start, |hash, level| {
        let small = u64::from(level.depth) << 16 | (level.what as u64) << 8;
        let hash = mix(hash, u64::from(level.ty) << 32 | u64::from(level.state));
        mix(hash, u64::from(level.target_kind) << 32 | small)
    });
    // The low bits choose the slot.
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tasks::record;
    use crate::walk::What;

    fn level(depth: u8, state: u32) -> Level {
        Level {
            target: 0,
            target_id: 0,
            target_kind: NONE,
            ty: 1,
            state,
            left_out: 0,
            depth,
            what: What::Suspended,
            note: Note::Nothing,
        }
    }

    const COMMON: Common = Common { state: TaskState::Suspended, kind: 3, root: 0 };

    fn members(tasks: &Tasks, group: &GroupRecord) -> Vec<u64> {
        let mut next = group.first;
        core::iter::from_fn(|| {
            let task = tasks.get(next)?;
            next = task.next_in_group;
            Some(task.id)
        })
        .collect()
    }

    #[test]
    fn equal_trees_are_one_group_and_others_are_not() {
        let (mut tasks, mut trees) = (Tasks::new(100), Trees::new());
        for round in 0..3 {
            tasks.clear();
            trees.clear();
            assert!(trees.slots.iter().all(|slot| *slot == 0), "round {round}");
            for id in 1..=60_u64 {
                let task = tasks.push(record(id, 0, 0, Some(3))).unwrap();
                let tree = [level(0, 1), level(1, (id % 3) as u32)];
                let state = if id % 2 == 0 { TaskState::Suspended } else { TaskState::New };
                trees.add(&mut tasks, task, Common { state, ..COMMON }, &tree);
            }
            assert_eq!(trees.groups().len(), 6);
            for group in trees.groups() {
                let ids = members(&tasks, group);
                assert_eq!((ids.len(), group.count), (10, 10));
                assert!(ids.is_sorted() && ids.iter().all(|id| (id - ids[0]).is_multiple_of(6)));
                let state = trees.levels(group)[1].state;
                assert_eq!(u64::from(state), ids[0] % 3);
            }
        }
    }

    #[test]
    fn tasks_that_wait_for_different_tasks_are_one_group_with_edges() {
        let (mut tasks, mut trees) = (Tasks::new(100), Trees::new());
        let join = |to| Level { target: to * 128, target_id: to, target_kind: 7, ..level(1, NONE) };
        for id in [1, 2, 3] {
            let task = tasks.push(record(id, 0, 0, Some(3))).unwrap();
            trees.add(&mut tasks, task, COMMON, &[level(0, 1), join(id + 10)]);
            let shown = trees.levels(&trees.groups()[0])[1];
            let expected = if id == 1 { (11, Note::Nothing) } else { (0, Note::Several) };
            assert_eq!((shown.target_id, shown.note), expected);
        }
        let [group] = trees.groups() else { panic!("{:?}", trees.groups()) };
        let mut edges = Vec::new();
        trees.edges(group, &mut |from, level, to| {
            edges.push((tasks.get(from).unwrap().id, level, to));
            true
        });
        assert_eq!(edges, [(1, 1, 11), (2, 1, 12), (3, 1, 13)]);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (mut tasks, mut trees) = (Tasks::new(MAX_GROUPS + 10), Trees::new());
        for id in 0..MAX_GROUPS as u32 + 10 {
            let task = tasks.push(record(u64::from(id) + 1, 0, 0, None)).unwrap();
            trees.add(&mut tasks, task, COMMON, &[level(0, id)]);
        }
        assert_eq!((trees.groups().len(), trees.left_out), (MAX_GROUPS, 10));
        assert!(trees.groups().iter().all(|group| group.count == 1));
        trees.clear();
        assert_eq!((trees.groups().len(), trees.left_out), (0, 0));
        assert!(trees.slots.iter().all(|slot| *slot == 0));
    }
}
