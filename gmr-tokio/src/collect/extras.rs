//! Futures that are in no list, and that the program tracks itself: the one of
//! `block_on`, those of other executors.
//!
//! Such a future is pinned, and its poll and drop raise a counter before and
//! after: it is odd meanwhile. The counter is read along with the future in both
//! collects, at the beginning and at the end.

use gmr_core::model::TaskState;

use super::examine::name_targets;
use super::snapshot::{Batch, MAX_WHOLE_BYTES, Recorder, Stage};
use super::tasks::{NO_ROOT, record};
use super::{Arena, fold::Common};
use crate::memory::{Direct, Memory, ReadError};
use crate::table::LoadedTable;
use crate::walk::What;

/// How often one is read that has changed meanwhile.
const TRIES: usize = 4;

/// A future that is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra {
    /// What it is found by in the arena.
    pub(crate) key: u64,
    /// Where it is pinned.
    pub(crate) address: u64,
    /// The vtable of its probe trait, by which its type is known.
    pub(crate) probe_vtable: u64,
    /// Where its counter is, a 64-bit word.
    pub(crate) sequence_address: u64,
    /// The counter when address and vtable were read: another value says that they
    /// may not hold any more.
    pub(crate) sequence: u64,
}

/// Collects them, one after the other: they are few.
pub(super) fn collect(
    table: &LoadedTable,
    extras: &[Extra],
    arena: &mut Arena,
    is_over: &dyn Fn() -> bool,
) {
    arena.work.batch.clear();
    for extra in extras {
        if is_over() {
            arena.extras.is_over = true;
            return;
        }
        let ty = table.table().type_of_vtable(extra.probe_vtable.wrapping_sub(table.bias()));
        let mut entry = record(extra.key, extra.address, NO_ROOT, ty);
        entry.state = TaskState::Unknown;
        let Some(task) = arena.tasks.push(entry) else {
            arena.extras.is_cut = true;
            return;
        };
        let state = match ty {
            Some(ty) => examine(table, extra, ty, arena),
            None => state_alone(extra),
        };
        let (levels, state) = match state {
            Some(TaskState::Suspended) => {
                let first = arena.work.tree.first();
                let is_new = first.is_some_and(|level| level.what == What::Unresumed);
                let state = if is_new { TaskState::New } else { TaskState::Suspended };
                (arena.work.tree.as_slice(), state)
            }
            Some(state) => (&[][..], state),
            None => (&[][..], TaskState::Unstable),
        };
        if let Some(record) = arena.tasks.get_mut(task) {
            record.state = state;
        }
        let summary = &mut arena.extras;
        summary.seen = summary.seen.saturating_add(1);
        summary.unknown = summary.unknown.saturating_add(u64::from(ty.is_none()));
        let is_unstable = state == TaskState::Unstable;
        summary.unstable = summary.unstable.saturating_add(u64::from(is_unstable));
        let common = Common { state, kind: entry.kind, root: NO_ROOT };
        arena.trees.add(&mut arena.tasks, task, common, levels);
    }
}

/// What the counter alone says.
fn state_alone(extra: &Extra) -> Option<TaskState> {
    match Direct.word(extra.sequence_address) {
        Ok(sequence) if sequence != extra.sequence => None,
        Ok(sequence) if sequence % 2 == 1 => Some(TaskState::Running),
        Ok(_) => Some(TaskState::Unknown),
        Err(_) => None,
    }
}

/// Leaves its tree in the arena, and says that it is suspended, or is polled just now.
/// `None`: it changed each time.
fn examine(table: &LoadedTable, extra: &Extra, ty: u32, arena: &mut Arena) -> Option<TaskState> {
    for _ in 0..TRIES {
        arena.work.pages.forget();
        let sequence = arena.work.pages.word(extra.sequence_address).ok()?;
        if sequence != extra.sequence {
            return None;
        }
        if sequence % 2 == 1 {
            return Some(TaskState::Running);
        }
        arena.work.batch.begin();
        let is_read = first_collect(table, extra, ty, arena).is_ok();
        if is_read {
            arena.work.batch.finish(0, Stage::Running, &[]);
            arena.work.batch.read_again(table.entries());
        }
        let pending = arena.work.batch.pending(0);
        arena.work.batch.clear();
        if pending.is_some_and(|pending| Batch::is_accepted(&pending)) {
            return Some(TaskState::Suspended);
        }
    }
    None
}

fn first_collect(
    table: &LoadedTable,
    extra: &Extra,
    ty: u32,
    arena: &mut Arena,
) -> Result<(), ReadError> {
    let super::Work { pages, batch, walker, tree, .. } = &mut arena.work;
    batch.keep_whole(pages, extra.sequence_address, 8)?;
    let size = table.table().ty(ty).map_or(0, |ty| ty.size);
    if (1..=MAX_WHOLE_BYTES).contains(&size) {
        batch.keep_whole(pages, extra.address, size)?;
    }
    let mut recorder = Recorder { batch, pages };
    walker.walk(table.table(), table.bias(), &mut recorder, (ty, extra.address), tree);
    name_targets(table, &mut recorder, tree);
    batch.keep_whole(pages, extra.sequence_address, 8)
}
