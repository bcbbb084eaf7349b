//! One task: whether it is one, what it does, and where it waits.
//!
//! 1. A node of a list is a task of it only if it is all of this: readable and aligned,
//!    with the list's id, this runtime's scheduler, a vtable that is known or looks
//!    like one, a sane count of references, and an id.
//! 2. One that is being polled, or has ended, is that. Any other one's tree is decoded and
//!    believed after a double collect ([`snapshot`](super::snapshot)), in batches.
//! 3. What changed in between is read again alone, [`TRIES`] times; then it is
//!    `Unstable`, which a task is that is polled all the time.

use gmr_core::model::TaskState;
use gmr_std::await_table::format::NONE;

use super::RootSummary;
use super::fold::{Common, Trees};
use super::snapshot::{Batch, MAX_BATCH, MAX_WHOLE_BYTES, Recorder, Stage, bit};
use super::tasks::{Tasks, flag};
use crate::memory::{Memory, Pages, ReadError, is_possible};
use crate::table::{LoadedTable, Root};
use crate::walk::{Level, Levels, Walker, What};

/// How often a task is read alone that has changed meanwhile.
const TRIES: usize = 4;

/// More references than a task can have, but for a leak of half the memory.
const MAX_REFERENCES: u64 = 1 << 24;

/// What a node of a list says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Option<u32>,
    pub(super) id: u64,
    pub(super) state: u64,
    pub(super) previous: u64,
    pub(super) next: u64,
}

/// Memory for looking at tasks, made once.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) pages: Pages,
    pub(super) batch: Batch,
    pub(super) walker: Walker,
    pub(super) tree: Levels,
    /// Tasks since pages were forgotten: also those that need no second collect are
    /// not told from old pages.
    taken: usize,
}

impl Work {
    pub(super) fn new() -> Self {
        Work {
            pages: Pages::new(),
            batch: Batch::new(),
            walker: Walker::default(),
            tree: Levels::new(),
            taken: 0,
        }
    }
}

/// Looks at the tasks of one list.
pub(super) struct Examiner<'a> {
    pub(super) table: &'a LoadedTable,
    pub(super) root: &'a Root,
    pub(super) root_index: u8,
    pub(super) tasks: &'a mut Tasks,
    pub(super) trees: &'a mut Trees,
    pub(super) work: &'a mut Work,
    pub(super) summary: RootSummary,
    pub(super) is_over: &'a dyn Fn() -> bool,
}

impl Examiner<'_> {
    /// Reads a node. `None`: it is no task of this list, or not any more.
    pub(super) fn look(&mut self, address: u64) -> Option<Node> {
        if !address.is_multiple_of(32) || !is_possible(address, 64) {
            return None;
        }
        let entries = self.table.entries();
        let at = |offset: u32| address.wrapping_add(u64::from(offset));
        let pages = &mut self.work.pages;
        if pages.word(at(entries.owner_offset)).ok()? != self.root.owner_id {
            return None;
        }
        let state = pages.word(at(entries.state_offset)).ok()?;
        if !(1..=MAX_REFERENCES).contains(&(state >> bit::REFERENCES)) {
            return None;
        }
        let vtable = pages.word(at(entries.vtable_offset)).ok()?;
        let kind = self.table.task_kind(vtable);
        let (scheduler, id, previous, next) = match kind.and_then(|kind| self.table.layout(kind)) {
            Some(kind) => {
                (kind.scheduler_offset, kind.id_offset, kind.previous_offset, kind.next_offset)
            }
            None => {
                let task = self.table.unknown(vtable, pages)?;
                (task.scheduler_offset, task.id_offset, task.previous_offset, task.next_offset)
            }
        };
        if pages.word(at(scheduler)).ok()? != self.root.arc {
            return None;
        }
        let id = pages.word(at(id)).ok().filter(|id| *id != 0 && *id >> 48 == 0)?;
        let previous = pages.word(at(previous)).ok()?;
        let next = pages.word(at(next)).ok()?;
        Some(Node { kind, id, state, previous, next })
    }

    /// Takes a task that was just found: it is settled, or waits for the second
    /// collect.
    pub(super) fn take(&mut self, task: u32, node: &Node) {
        if !self.work.batch.has_room() || self.work.taken >= MAX_BATCH {
            self.flush();
        }
        self.work.taken = self.work.taken.saturating_add(1);
        self.examine(task, node);
    }

    fn examine(&mut self, task: u32, node: &Node) {
        self.note_state(task, node.state);
        if let Some(record) = self.tasks.get_mut(task) {
            record.kind = node.kind.unwrap_or(NONE);
        }
        if node.state & bit::COMPLETE != 0 {
            self.settle(task, TaskState::Complete);
        } else if node.state & bit::RUNNING != 0 {
            self.settle(task, TaskState::Running);
        } else if let Some(kind) = node.kind {
            self.prepare(task, kind);
        } else {
            let is_woken = node.state & bit::NOTIFIED != 0;
            self.settle(task, if is_woken { TaskState::Scheduled } else { TaskState::Suspended });
        }
    }

    fn note_state(&mut self, task: u32, state: u64) {
        if let Some(record) = self.tasks.get_mut(task) {
            record.refs = u32::try_from(state >> bit::REFERENCES).unwrap_or(u32::MAX);
            record.flags &= !flag::CANCELLED;
            if state & bit::CANCELLED != 0 {
                record.flags |= flag::CANCELLED;
            }
        }
    }

    /// It is known what the task does, and it has no tree.
    fn settle(&mut self, task: u32, state: TaskState) {
        settle(self.tasks, self.trees, &mut self.summary, task, state, &[]);
    }

    /// The first collect.
    fn prepare(&mut self, task: u32, kind: u32) {
        self.work.batch.begin();
        let stage = match self.decode(task, kind) {
            Some(Ok(stage)) => stage,
            // Without any range it is not accepted, and is read again.
            _ => {
                self.work.batch.abandon();
                self.work.tree.clear();
                Stage::Running
            }
        };
        self.work.batch.finish(task, stage, &self.work.tree);
    }

    fn decode(&mut self, task: u32, kind: u32) -> Option<Result<Stage, ReadError>> {
        let address = self.tasks.get(task)?.address;
        let (table, entries) = (self.table, self.table.entries());
        let layout = table.layout(kind)?;
        let header_end = entries
            .state_offset
            .max(entries.vtable_offset)
            .max(entries.owner_offset)
            .saturating_add(8);
        let stage_end = layout.stage_offset.saturating_add(layout.stage_bytes);
        let least = header_end.max(layout.id_offset.saturating_add(8));
        let (bytes, from) = if stage_end <= MAX_WHOLE_BYTES {
            (stage_end.max(least), layout.stage_offset)
        } else {
            (least, least)
        };
        let Work { pages, batch, walker, tree, .. } = &mut *self.work;
        tree.clear();
        if let Err(error) = batch.keep_cell(pages, address, bytes, layout.id_offset, from) {
            return Some(Err(error));
        }
        // Since the node was looked at, a batch may have been flushed, or its page read anew:
        // the cell may be another task's by now.
        let id = self.tasks.get(task)?.id;
        let vtable = batch.begun_word(entries.vtable_offset)?;
        if batch.begun_word(layout.id_offset) != Some(id) || table.task_kind(vtable) != Some(kind) {
            return Some(Err(ReadError::Unreadable));
        }
        let mut recorder = Recorder { batch, pages };
        let at = |offset: u32| address.wrapping_add(u64::from(offset));
        let tag = match recorder.number(at(layout.tag_offset), layout.tag_bytes) {
            Ok(tag) => tag,
            Err(error) => return Some(Err(error)),
        };
        let stage = if tag == layout.tag_running { Stage::Running } else { Stage::Ended };
        if stage == Stage::Running {
            let future = (layout.future, at(layout.future_offset));
            walker.walk(table.table(), table.bias(), &mut recorder, future, tree);
            name_targets(table, &mut recorder, tree);
        }
        // With the id: in between the cell may have become another task's.
        let header = batch.keep_cell(pages, address, least, layout.id_offset, least);
        Some(header.map(|()| stage))
    }

    /// The second collect, of all that wait for it.
    pub(super) fn flush(&mut self) {
        self.work.taken = 0;
        let mut changed = heapless::Vec::<u32, MAX_BATCH>::new();
        self.read_again(&mut |task| {
            // As many as a batch has.
            let _ = changed.push(task);
        });
        for task in changed {
            self.try_alone(task);
        }
        self.work.pages.forget();
    }

    fn read_again(&mut self, changed: &mut dyn FnMut(u32)) {
        self.work.batch.read_again(self.table.entries());
        for index in 0..MAX_BATCH {
            let Some(pending) = self.work.batch.pending(index) else { break };
            if !Batch::is_accepted(&pending) {
                changed(pending.task);
                continue;
            }
            self.note_state(pending.task, pending.state);
            let levels = self.work.batch.levels_of(&pending);
            let state = state_of(&pending, levels);
            settle(self.tasks, self.trees, &mut self.summary, pending.task, state, levels);
        }
        self.work.batch.clear();
    }

    fn try_alone(&mut self, task: u32) {
        for _ in 0..TRIES {
            if (self.is_over)() {
                self.summary.is_over = true;
                break;
            }
            let Some(record) = self.tasks.get(task).copied() else { return };
            self.work.pages.forget();
            self.summary.changed = self.summary.changed.saturating_add(1);
            let Some(node) = self.look(record.address).filter(|node| node.id == record.id) else {
                self.summary.ended = self.summary.ended.saturating_add(1);
                if let Some(record) = self.tasks.get_mut(task) {
                    record.flags |= flag::GONE;
                }
                return;
            };
            self.examine(task, &node);
            if self.work.batch.is_empty() {
                return;
            }
            let mut has_changed = false;
            self.read_again(&mut |_| has_changed = true);
            if !has_changed {
                return;
            }
        }
        self.settle(task, TaskState::Unstable);
    }
}

/// What a task does whose tree was accepted.
fn state_of(pending: &super::snapshot::Pending, levels: &[Level]) -> TaskState {
    let is_new = levels.first().is_some_and(|level| level.what == What::Unresumed);
    match pending.stage {
        Stage::Ended => TaskState::Complete,
        Stage::Running if is_new => TaskState::New,
        Stage::Running if pending.state & bit::NOTIFIED != 0 => TaskState::Scheduled,
        Stage::Running => TaskState::Suspended,
    }
}

fn settle(
    tasks: &mut Tasks,
    trees: &mut Trees,
    summary: &mut RootSummary,
    task: u32,
    state: TaskState,
    levels: &[Level],
) {
    let Some(record) = tasks.get_mut(task) else { return };
    record.state = state;
    let common = Common { state, kind: record.kind, root: record.root };
    summary.seen = summary.seen.saturating_add(1);
    summary.unknown = summary.unknown.saturating_add(u64::from(record.kind == NONE));
    summary.unstable = summary.unstable.saturating_add(u64::from(state == TaskState::Unstable));
    trees.add(tasks, task, common, levels);
}

/// Gives ids and kinds to the tasks that a tree's `JoinHandle`s wait for.
pub(super) fn name_targets(table: &LoadedTable, recorder: &mut Recorder<'_>, tree: &mut [Level]) {
    for level in tree.iter_mut().filter(|level| level.target != 0) {
        if let Some((kind, id)) = target(table, recorder, level.target) {
            level.target_kind = kind.unwrap_or(NONE);
            level.target_id = id;
        }
    }
}

/// Kind and id of the task whose header a `JoinHandle` has: the handle is one of
/// its references, so that it is there.
fn target(
    table: &LoadedTable,
    recorder: &mut Recorder<'_>,
    header: u64,
) -> Option<(Option<u32>, u64)> {
    if !header.is_multiple_of(32) {
        return None;
    }
    let vtable_at = header.wrapping_add(u64::from(table.entries().vtable_offset));
    let vtable = recorder.word(vtable_at).ok()?;
    let kind = table.task_kind(vtable);
    let id_offset = match kind.and_then(|kind| table.layout(kind)) {
        Some(layout) => layout.id_offset,
        // The vtable itself never changes.
        None => table.unknown(vtable, recorder.pages)?.id_offset,
    };
    let id = recorder.word(header.wrapping_add(u64::from(id_offset))).ok()?;
    (id != 0 && id >> 48 == 0).then_some((kind, id))
}
