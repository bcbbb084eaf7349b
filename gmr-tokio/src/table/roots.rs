//! Lists of tasks: where a runtime or a `LocalSet` keeps them.
//!
//! 1. A `Handle` and a `LocalSet` are read as the bytes that they are, by the layouts
//!    of the table.
//! 2. What their `Arc` points to is believed if it looks like the table says: a count of
//!    references, an id, a count of shards that is a power of two and agrees with the mask, and a first
//!    task, if there is one, that names the same id and the same `Arc`.
//! 3. With several copies of tokio in the program several layouts come into
//!    question: the first is taken that agrees and has tasks, else the first that agrees.
//!
//! Nothing here allocates: a report may come upon a runtime.
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

use gmr_std::await_table::format::{NONE, Scheduler, SchedulerKind};

use super::LoadedTable;
use crate::memory::{Direct, Memory, is_possible};

/// tokio makes no more shards.
pub(crate) const MAX_SHARDS: u64 = 1 << 16;

/// Each task, handle and worker has one; nothing has more.
const MAX_ARCS: u64 = 1 << 32;

/// Shards that are looked at for a task that tells whose list it is.
const SHARDS_TO_TELL: u64 = 64;

/// One list of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Root {
    /// Which of the table's schedulers it is.
    pub(crate) scheduler: u32,
    /// What the scheduler's `Arc` points to: the counts, and behind them the scheduler.
    pub(crate) arc: u64,
    /// The list's id, which no other list of the process ever has.
    pub(crate) owner_id: u64,
}

/// The lists of a root: one for each shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shards {
    first: u64,
    pub(crate) count: u64,
    stride: u64,
    head_offset: u64,
    tail_offset: u64,
}

impl Shards {
    /// Where the addresses of head and tail of a shard's list are.
    pub(crate) fn ends(&self, shard: u64) -> (u64, u64) {
        let list = self.first.wrapping_add(shard.wrapping_mul(self.stride));
        (list.wrapping_add(self.head_offset), list.wrapping_add(self.tail_offset))
    }
}

pub(super) fn without_name(scheduler: Scheduler<&str>) -> Scheduler<()> {
    Scheduler {
        name: (),
        kind: scheduler.kind,
        id_offset: scheduler.id_offset,
        shards_offset: scheduler.shards_offset,
        shard_count_offset: scheduler.shard_count_offset,
        shard_bytes: scheduler.shard_bytes,
        list_offset: scheduler.list_offset,
        head_offset: scheduler.head_offset,
        tail_offset: scheduler.tail_offset,
        count_offset: scheduler.count_offset,
        mask_offset: scheduler.mask_offset,
    }
}

impl LoadedTable {
    /// The list of a runtime, by its handle. `None`: the layout is not known, or does
    /// not agree with what is there.
    pub(crate) fn root_of_handle(&self, handle: &tokio::runtime::Handle) -> Option<Root> {
        let (entries, memory) = (self.entries(), &mut Direct);
        let address = core::ptr::from_ref(handle) as u64;
        let is_within = |offset: u32, bytes: u32| {
            let end = u64::from(offset).saturating_add(u64::from(bytes));
            end <= size_of::<tokio::runtime::Handle>() as u64
        };
        if entries.handle_tag_bytes == 0
            || !is_within(entries.handle_tag_offset, entries.handle_tag_bytes)
            || !is_within(entries.handle_arc_offset, 8)
        {
            return None;
        }
        let tag_at = address.wrapping_add(u64::from(entries.handle_tag_offset));
        let tag = memory.number(tag_at, entries.handle_tag_bytes).ok()?;
        let arc = memory.word(address.wrapping_add(u64::from(entries.handle_arc_offset))).ok()?;
        self.root_of_arc(tag == u64::from(entries.handle_tag_current), arc)
    }

    /// The list of a local set. To be called on the set's own thread.
    pub(crate) fn root_of_local_set(&self, set: &tokio::task::LocalSet) -> Option<Root> {
        self.root_of_local_words(core::ptr::from_ref(set) as u64)
    }

    /// The same, of a copy of the words that it consists of, at `address`.
    pub(crate) fn root_of_local_words(&self, address: u64) -> Option<Root> {
        let (entries, memory) = (self.entries(), &mut Direct);
        let offset = entries.local_context_offset;
        let end = u64::from(offset).saturating_add(8);
        if offset == NONE || end > size_of::<tokio::task::LocalSet>() as u64 {
            return None;
        }
        let context = memory.word(address.wrapping_add(u64::from(offset))).ok()?;
        let shared = context.wrapping_add(u64::from(entries.local_shared_offset));
        let arc = memory.word(shared).ok()?;
        self.root_of(SchedulerKind::Local, arc)
    }

    /// The list of a runtime that was met in a thread's thread-locals, by what its
    /// `Arc` points to.
    pub(crate) fn root_of_arc(&self, is_current_thread: bool, arc: u64) -> Option<Root> {
        let kind = if is_current_thread {
            SchedulerKind::CurrentThread
        } else {
            SchedulerKind::MultiThread
        };
        self.root_of(kind, arc)
    }

    fn root_of(&self, kind: SchedulerKind, arc: u64) -> Option<Root> {
        let mut empty = None;
        for (index, scheduler) in (0_u32..).zip(&self.schedulers) {
            let id_at = arc.wrapping_add(u64::from(scheduler.id_offset));
            let Some(owner_id) = Direct.word(id_at).ok().filter(|_| scheduler.kind == kind) else {
                continue;
            };
            let root = Root { scheduler: index, arc, owner_id };
            let Some(shards) = self.shards(&root, &mut Direct) else { continue };
            match self.has_own_tasks(&root, &shards, &mut Direct) {
                Some(true) => return Some(root),
                Some(false) => empty = empty.or(Some(root)),
                None => {}
            }
        }
        empty
    }

    /// Where a root's lists are; `None`: it is not, or not any more, what it was.
    pub(crate) fn shards(&self, root: &Root, memory: &mut dyn Memory) -> Option<Shards> {
        let scheduler = self.scheduler(root.scheduler)?;
        if !is_possible(root.arc, 8) || !root.arc.is_multiple_of(8) {
            return None;
        }
        let at = |offset: u32| root.arc.wrapping_add(u64::from(offset));
        // The first word counts the `Arc`s: 0 when the last one is dropped.
        let arcs = memory.word(root.arc).ok()?;
        if !(1..=MAX_ARCS).contains(&arcs) || root.owner_id >> 48 != 0 {
            return None;
        }
        if root.owner_id == 0 || memory.word(at(scheduler.id_offset)) != Ok(root.owner_id) {
            return None;
        }
        let head_offset = u64::from(scheduler.head_offset);
        let tail_offset = u64::from(scheduler.tail_offset);
        if scheduler.shards_offset == NONE {
            let first = at(scheduler.list_offset);
            return Some(Shards { first, count: 1, stride: 0, head_offset, tail_offset });
        }
        let first = memory.word(at(scheduler.shards_offset)).ok()?;
        let count = memory.word(at(scheduler.shard_count_offset)).ok()?;
        if !count.is_power_of_two() || count > MAX_SHARDS {
            return None;
        }
        if scheduler.mask_offset != NONE
            && memory.word(at(scheduler.mask_offset)) != Ok(count.wrapping_sub(1))
        {
            return None;
        }
        let first = first.wrapping_add(u64::from(scheduler.list_offset));
        let stride = u64::from(scheduler.shard_bytes);
        Some(Shards { first, count, stride, head_offset, tail_offset })
    }

    /// How many tasks a root says that it has; `None`: it does not count.
    pub(crate) fn alive(&self, root: &Root, memory: &mut dyn Memory) -> Option<u64> {
        let scheduler = self.scheduler(root.scheduler)?;
        let offset = scheduler.count_offset;
        memory.word(root.arc.wrapping_add(u64::from(offset))).ok().filter(|_| offset != NONE)
    }

    /// Whether there are tasks, and are of this very list. `None`: they are not.
    fn has_own_tasks(&self, root: &Root, shards: &Shards, memory: &mut Direct) -> Option<bool> {
        for shard in 0..shards.count.min(SHARDS_TO_TELL) {
            let (head_at, tail_at) = shards.ends(shard);
            let (Ok(head), Ok(tail)) = (memory.word(head_at), memory.word(tail_at)) else {
                return None;
            };
            if tail == 0 || head == 0 {
                continue;
            }
            let at = |offset: u32| tail.wrapping_add(u64::from(offset));
            let owner = memory.word(at(self.entries.owner_offset));
            let vtable = memory.word(at(self.entries.vtable_offset));
            if owner == Ok(root.owner_id) && vtable.is_ok() {
                return Some(true);
            }
            // It may have ended meanwhile: another shard may tell.
            let again = memory.word(tail_at);
            if again == Ok(tail) {
                return None;
            }
        }
        Some(false)
    }
}
