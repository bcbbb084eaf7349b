//! The walk along a runtime's lists of tasks, while tasks come and go.
//!
//! 1. New tasks are put in at the head: the walk goes from the tail to the head, along
//!    what is old and stable. A runtime has several lists (shards), and a task is in
//!    the one that its id says: they are walked side by side, so that the tasks come in
//!    the order of their ids, which is about that of their addresses.
//! 2. A node counts if it is a task of this runtime ([`Examiner::look`]) and its next one
//!    is the one that we come from.
//! 3. Else the walk goes back to the last task that is still linked, reads it anew,
//!    and goes on from there, [`MAX_RESUMES`] times for a list.
//! 4. It is through when the last one it met is the head.
//!
//! A task that is alive all the while is met, unless a list is given up, which is
//! counted. Steps are bounded by twice what the runtime says that it has.

use gmr_std::await_table::format::NONE;

use super::examine::{Examiner, Node};
use super::tasks::{flag, record};
use crate::memory::{Direct, Memory};
use crate::table::Shards;

/// How often the walk along one list takes up again.
const MAX_RESUMES: u8 = 64;

/// Steps beyond twice the number of tasks.
const SPARE_STEPS: u64 = 10_000;

/// Lists that are walked side by side: those of a machine of 16 cores.
pub(super) const MAX_LANES: usize = 64;

/// The walk along one list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane {
    shard: u64,
    /// The node that comes next; 0: the end.
    at: u64,
    /// The last task met, from which the ones before follow; [`NONE`]: none.
    top: u32,
    resumes: u8,
    is_active: bool,
}

impl Lane {
    pub(super) const IDLE: Self = Lane { shard: 0, at: 0, top: NONE, resumes: 0, is_active: false };
}

/// Why all of it ends before its end.
enum Ended {
    NoRoom,
    NoSteps,
}

impl Examiner<'_> {
    /// Walks all lists of the root.
    pub(super) fn walk_lists(&mut self, lanes: &mut [Lane; MAX_LANES], max_tasks: u64) {
        let Some(shards) = self.table.shards(self.root, &mut Direct) else {
            self.summary.is_gone = true;
            return;
        };
        self.summary.alive_before = self.table.alive(self.root, &mut Direct);
        let alive = self.summary.alive_before.unwrap_or(max_tasks).min(max_tasks);
        let mut steps = alive.saturating_mul(2).saturating_add(SPARE_STEPS);
        lanes.fill(Lane::IDLE);
        let mut next_shard = 0;
        loop {
            let mut is_any = false;
            for lane in lanes.iter_mut() {
                if !lane.is_active && next_shard < shards.count {
                    *lane = Lane { shard: next_shard, is_active: true, ..Lane::IDLE };
                    next_shard = next_shard.wrapping_add(1);
                    self.start(lane, &shards);
                }
                if !lane.is_active {
                    continue;
                }
                is_any = true;
                match self.step(lane, &shards, &mut steps) {
                    Ok(()) => {}
                    Err(Ended::NoRoom) => self.summary.is_cut = true,
                    Err(Ended::NoSteps) => self.give_up(lane),
                }
            }
            self.summary.is_over |= (self.is_over)();
            if !is_any || self.summary.is_over || self.summary.is_cut {
                break;
            }
        }
        self.flush();
        self.summary.alive_after = self.table.alive(self.root, &mut Direct);
    }

    fn give_up(&mut self, lane: &mut Lane) {
        lane.is_active = false;
        self.summary.lists_given_up = self.summary.lists_given_up.saturating_add(1);
    }

    /// Begins a list at its tail.
    fn start(&mut self, lane: &mut Lane, shards: &Shards) {
        let (_, tail_at) = shards.ends(lane.shard);
        match self.work.pages.word(tail_at) {
            Ok(tail) => lane.at = tail,
            Err(_) => self.give_up(lane),
        }
    }

    fn step(&mut self, lane: &mut Lane, shards: &Shards, steps: &mut u64) -> Result<(), Ended> {
        *steps = steps.checked_sub(1).ok_or(Ended::NoSteps)?;
        if lane.at == 0 {
            if self.is_through(lane, shards) {
                lane.is_active = false;
            } else {
                self.resume(lane, shards);
            }
            return Ok(());
        }
        let behind = self.tasks.get(lane.top).map_or(0, |task| task.address);
        match self.look(lane.at) {
            Some(node) if node.next == behind => {
                if !self.meet(lane, &node)? {
                    self.resume(lane, shards);
                }
            }
            _ => {
                self.summary.bad_links = self.summary.bad_links.saturating_add(1);
                self.resume(lane, shards);
            }
        }
        Ok(())
    }

    /// Whether the last task met is the head.
    fn is_through(&mut self, lane: &Lane, shards: &Shards) -> bool {
        let (head_at, _) = shards.ends(lane.shard);
        match self.tasks.get(lane.top) {
            Some(top) => Direct.word(head_at) == Ok(top.address),
            None => self.work.pages.word(head_at) == Ok(0),
        }
    }

    /// Takes a task that is linked as it should be. `false`: it was met before on this
    /// very way, which no list does.
    fn meet(&mut self, lane: &mut Lane, node: &Node) -> Result<bool, Ended> {
        let known = self.tasks.find(node.id, Some(self.root_index));
        let task = match known {
            Some(task) => task,
            None => self
                .tasks
                .push(record(node.id, lane.at, self.root_index, node.kind))
                .ok_or(Ended::NoRoom)?,
        };
        let Some(record) = self.tasks.get_mut(task) else { return Ok(false) };
        if record.flags & flag::ON_TRAIL != 0 || record.address != lane.at {
            return Ok(false);
        }
        record.flags |= flag::ON_TRAIL;
        record.below = lane.top;
        lane.top = task;
        lane.at = node.previous;
        if known.is_none() {
            self.take(task, node);
        }
        Ok(true)
    }

    /// Goes back to the last task that is still linked, and on from there.
    fn resume(&mut self, lane: &mut Lane, shards: &Shards) {
        lane.resumes = lane.resumes.saturating_add(1);
        if lane.resumes > MAX_RESUMES {
            return self.give_up(lane);
        }
        self.summary.resumes = self.summary.resumes.saturating_add(1);
        // Nothing that was read before tells what is linked now.
        self.work.pages.forget();
        while let Some(top) = self.tasks.get(lane.top).copied() {
            let behind = self.tasks.get(top.below).map_or(0, |task| task.address);
            let node = self.look(top.address).filter(|node| {
                node.id == top.id
                    && node.next == behind
                    && node.previous != top.address
                    && node.state & super::snapshot::bit::COMPLETE == 0
            });
            if let Some(node) = node {
                lane.at = node.previous;
                return;
            }
            if let Some(record) = self.tasks.get_mut(lane.top) {
                record.flags &= !flag::ON_TRAIL;
            }
            lane.top = top.below;
        }
        self.start(lane, shards);
    }
}
