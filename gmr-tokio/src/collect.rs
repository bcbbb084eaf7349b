//! Collects all tasks of all runtimes of one report into memory made at setup: lists
//! walked, trees decoded, equal trees folded.
//!
//! 1. Each root's lists are walked ([`list`]); a node is a task if everything about it
//!    says so ([`examine`]).
//! 2. Trees are decoded from bytes that were read twice and were the same
//!    ([`snapshot`]), and folded ([`fold`]); a task itself is a record of 40 bytes
//!    ([`tasks`]).
//! 3. Futures that are in no list, and that the program tracks itself, come in
//!    addition ([`extras`]).
//!
//! Nothing here stops, locks or changes anything of the runtime, and nothing allocates
//! but [`Arena::new`]. Limits that were hit are counted: tasks in
//! [`RootSummary::is_cut`], trees in [`Arena::trees_left_out`].
//!
//! Each task is right for one moment of its own; between two of them, and between
//! the ends of an edge, milliseconds may lie.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod examine;
mod extras;
mod fold;
mod list;
#[cfg(test)]
mod live;
#[cfg(test)]
mod made_up;
#[cfg(test)]
mod no_allocation;
mod snapshot;
mod tasks;

use gmr_core::model::TaskState;
use gmr_std::await_table::format::NONE;

use crate::table::{LoadedTable, Root};
use crate::walk::Level;
use examine::{Examiner, Work};
pub(crate) use extras::Extra;
pub(crate) use fold::MAX_GROUPS;
use fold::{GroupRecord, Trees};
use list::{Lane, MAX_LANES};
use tasks::{NO_ROOT, Record, Tasks, flag};

/// Lists of tasks of one report: runtimes and local sets.
pub(crate) const MAX_ROOTS: usize = 64;

/// How the walk along one root's lists went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RootSummary {
    /// Tasks that are in the report.
    pub(crate) seen: u64,
    /// How many the root said it had, before; `None`: it does not count.
    pub(crate) alive_before: Option<u64>,
    /// And afterwards.
    pub(crate) alive_after: Option<u64>,
    /// Of the tasks those that changed each time they were looked at.
    pub(crate) unstable: u64,
    /// Those whose type is not in the table.
    pub(crate) unknown: u64,
    /// Tasks that ended while they were looked at; not among those seen.
    pub(crate) ended: u64,
    /// Lists that were changed so often that the walk gave up.
    pub(crate) lists_given_up: u64,
    /// Readings that were discarded because something had changed.
    pub(crate) changed: u64,
    /// Links that led nowhere.
    pub(crate) bad_links: u64,
    /// How often the walk went back.
    pub(crate) resumes: u64,
    /// The root is not there any more.
    pub(crate) is_gone: bool,
    /// There are more tasks than there is room for.
    pub(crate) is_cut: bool,
    /// The time was over before all was seen.
    pub(crate) is_over: bool,
}

/// What one report collects. Made at setup, resident as far as it was used.
#[derive(Debug)]
pub(crate) struct Arena {
    tasks: Tasks,
    trees: Trees,
    roots: heapless::Vec<RootSummary, MAX_ROOTS>,
    roots_left_out: usize,
    extras: RootSummary,
    work: Work,
    lanes: [Lane; MAX_LANES],
    max_tasks: usize,
}

impl Arena {
    /// Room for so many tasks: 48 to 56 bytes each, and some 20 MiB for trees, edges and
    /// pages; resident as far as it is used, all of it in a program that locks its memory.
    pub(crate) fn new(max_tasks: usize) -> Self {
        Arena {
            tasks: Tasks::new(max_tasks),
            trees: Trees::new(),
            roots: heapless::Vec::new(),
            roots_left_out: 0,
            extras: RootSummary::default(),
            work: Work::new(),
            lanes: [Lane::IDLE; MAX_LANES],
            max_tasks,
        }
    }

    /// Forgets the last report.
    pub(crate) fn clear(&mut self) {
        self.tasks.clear();
        self.trees.clear();
        self.roots.clear();
        self.roots_left_out = 0;
        self.extras = RootSummary::default();
        self.work.batch.clear();
        self.work.pages.forget();
    }

    /// How each root went, in the order in which they were given.
    pub(crate) fn roots(&self) -> &[RootSummary] {
        &self.roots
    }

    /// Roots beyond [`MAX_ROOTS`].
    pub(crate) fn roots_left_out(&self) -> usize {
        self.roots_left_out
    }

    /// How the futures went that are in no list.
    #[allow(dead_code, reason = "the section does not show it yet")]
    pub(crate) fn extras(&self) -> &RootSummary {
        &self.extras
    }

    /// Tasks that are in no group, because there are too many different trees.
    pub(crate) fn trees_left_out(&self) -> u64 {
        self.trees.left_out
    }

    /// Edges that were not kept, because there are too many.
    #[allow(dead_code, reason = "the section does not show it yet")]
    pub(crate) fn edges_left_out(&self) -> u64 {
        self.trees.edges_left_out
    }

    /// How often the kernel was asked for memory since the arena was made.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.work.pages.calls().wrapping_add(self.work.batch.calls())
    }

    /// Tasks with equal trees, in the order in which they were met.
    pub(crate) fn groups(&self) -> impl ExactSizeIterator<Item = Group<'_>> {
        self.trees.groups().iter().map(|record| Group::new(self, record))
    }

    /// A group by its number, as [`Seen::group`] has it.
    pub(crate) fn group(&self, number: u32) -> Option<Group<'_>> {
        self.trees.groups().get(number as usize).map(|record| Group::new(self, record))
    }

    /// The task with that id. Of several copies of tokio that number alike: the first.
    pub(crate) fn task(&self, id: u64) -> Option<Seen> {
        self.tasks.find(id, None).and_then(|number| self.tasks.get(number)).and_then(Seen::new)
    }

    /// The future that is in no list and has that key.
    #[cfg(test)]
    pub(crate) fn extra(&self, key: u64) -> Option<Seen> {
        let is_it = |record: &&Record| record.root == NO_ROOT && record.id == key;
        // They come last.
        self.tasks
            .all()
            .iter()
            .rev()
            .take_while(|record| record.root == NO_ROOT)
            .find(is_it)
            .and_then(Seen::new)
    }

    /// All tasks and futures, in the order in which they were met.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = Seen> {
        self.tasks.all().iter().filter_map(Seen::new)
    }
}

/// One task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    /// Of its header, or of the future if it is in no list.
    pub(crate) address: u64,
    /// Its kind in the table; of a future in no list its type.
    pub(crate) kind: Option<u32>,
    pub(crate) state: TaskState,
    /// Which of the roots; `None`: it is in no list.
    pub(crate) root: Option<usize>,
    pub(crate) refs: u32,
    pub(crate) is_cancelled: bool,
    pub(crate) group: Option<u32>,
}

impl Seen {
    fn new(record: &Record) -> Option<Self> {
        (record.flags & flag::GONE == 0).then_some(Seen {
            id: record.id,
            address: record.address,
            kind: some(record.kind),
            state: record.state,
            root: (record.root != NO_ROOT).then_some(usize::from(record.root)),
            refs: record.refs,
            is_cancelled: record.flags & flag::CANCELLED != 0,
            group: some(record.group),
        })
    }
}

fn some(number: u32) -> Option<u32> {
    (number != NONE).then_some(number)
}

/// Tasks whose state, kind, root and tree are the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) count: u64,
    /// So many of them were aborted, and have not ended yet.
    pub(crate) cancelled: u64,
    pub(crate) state: TaskState,
    /// Kind of task in the table; of futures in no list their type.
    pub(crate) kind: Option<u32>,
    /// Which of the roots; `None`: they are in no list.
    pub(crate) root: Option<usize>,
    arena: &'a Arena,
    record: &'a GroupRecord,
}

impl<'a> Group<'a> {
    fn new(arena: &'a Arena, record: &'a GroupRecord) -> Self {
        Group {
            count: u64::from(record.count),
            cancelled: u64::from(record.cancelled),
            state: record.common.state,
            kind: some(record.common.kind),
            root: (record.common.root != NO_ROOT).then_some(usize::from(record.common.root)),
            arena,
            record,
        }
    }

    /// The ids of all of them, in the order in which they were met; keys if they are in
    /// no list.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> + use<'a> {
        let (tasks, mut next) = (&self.arena.tasks, self.record.first);
        core::iter::from_fn(move || {
            let task = tasks.get(next)?;
            next = task.next_in_group;
            Some(task.id)
        })
    }

    /// Their tree; empty: it is not known, which their state explains.
    pub(crate) fn levels(&self) -> &'a [Level] {
        self.arena.trees.levels(self.record)
    }

    /// Calls `each` with the id of a task of the group, the number of the level, and
    /// the id of the task that it waits for there, until it returns `false`.
    #[allow(dead_code, reason = "the section does not show it yet")]
    pub(crate) fn edges(&self, each: &mut dyn FnMut(u64, u32, u64) -> bool) {
        self.arena.trees.edges(self.record, &mut |task, level, to| {
            self.arena.tasks.get(task).is_none_or(|task| each(task.id, level, to))
        });
    }
}

/// Collects all tasks of `roots` and the futures of `extra`, in place of what the arena
/// holds. Ends early when `is_over`.
pub(crate) fn collect(
    table: &LoadedTable,
    roots: &[Root],
    extra: &[Extra],
    arena: &mut Arena,
    is_over: &dyn Fn() -> bool,
) {
    arena.clear();
    arena.roots_left_out = roots.len().saturating_sub(MAX_ROOTS);
    let max_tasks = arena.max_tasks as u64;
    for (root, root_index) in roots.iter().take(MAX_ROOTS).zip(0_u8..) {
        let mut examiner = Examiner {
            table,
            root,
            root_index,
            tasks: &mut arena.tasks,
            trees: &mut arena.trees,
            work: &mut arena.work,
            summary: RootSummary::default(),
            is_over,
        };
        examiner.walk_lists(&mut arena.lanes, max_tasks);
        // There is room for as many as are taken.
        let _ = arena.roots.push(examiner.summary);
    }
    extras::collect(table, extra, arena, is_over);
}
