//! A circle is called a deadlock when a second look confirms it.
//!
//! What the first look found was not seen at one moment: each thread's call was
//! read at another time. The second look proves that all of it holds at once:
//!
//! 1. how often each thread of the circle was put on a processor (`schedstat`);
//! 2. each is in the same call on the same address, and each owner is the same;
//! 3. the counts again: none has changed, so none of them ran in between, and
//!    none can have unlocked anything.
//!
//! Where the kernel keeps no such counts, step 2 is done twice instead.
//!
//! A circle in which anybody waits with a timeout ends by itself. It is marked as
//! such, and is no deadlock.
//!
//! Limits: circles of up to [`MAX_MEMBERS`] threads. A larger one shows as waits
//! with their owners, and is not called a deadlock.

use super::{Call, FutexCall, Look, Owner, circle, clock, facts, pause};

/// The longest circle that is looked at again.
const MAX_MEMBERS: usize = 64;

/// What is compared of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    index: u32,
    count: u64,
}

type Members = heapless::Vec<Member, MAX_MEMBERS>;

impl Look<'_> {
    /// Looks for circles, and marks those that are deadlocks.
    pub(super) fn circles(&mut self, deadline_ns: u64) {
        // The order by address has done its work.
        let mut circles = heapless::Vec::<u32, MAX_MEMBERS>::new();
        let records = &*self.records;
        let Some(marks) = self.scratch.order.get_mut(..records.len()) else { return };
        circle::each(marks, &|at| records.get(at)?.wait.next(), |at| {
            // More than can be shown is not looked at.
            let _full = circles.push(at as u32);
        });
        for start in circles {
            let Some(members) = self.members(start as usize) else { continue };
            loop {
                if self.holds(&members) {
                    self.mark(&members);
                    break;
                }
                if clock::monotonic_ns() >= deadline_ns {
                    break;
                }
                pause();
            }
        }
    }

    /// The circle from one of its threads on; `None` if it is too long.
    fn members(&self, start: usize) -> Option<Members> {
        let mut members = Members::new();
        let mut at = start;
        loop {
            members.push(Member { index: at as u32, count: 0 }).ok()?;
            at = self.records.get(at)?.wait.next()?;
            if at == start {
                return Some(members);
            }
        }
    }

    /// Whether the whole circle is there at one moment.
    fn holds(&mut self, members: &Members) -> bool {
        let Some(before) = self.counts(members) else { return false };
        if !self.all_wait(members) {
            return false;
        }
        let is_counted = before.iter().all(|member| member.count > 0);
        if !is_counted && !self.all_wait(members) {
            return false;
        }
        self.counts(members).is_some_and(|after| after == before)
    }

    /// How often each was put on a processor; 0 if the kernel does not say.
    fn counts(&mut self, members: &Members) -> Option<Members> {
        let mut counted = Members::new();
        for member in members {
            let tid = self.records.get(member.index as usize)?.tid;
            let stat = facts::schedstat(self.task, tid, self.bytes);
            let count = stat.map_or(0, |stat| stat.count);
            counted.push(Member { count, ..*member }).ok()?;
        }
        Some(counted)
    }

    /// Whether each still waits for the one that it was found to wait for.
    fn all_wait(&mut self, members: &Members) -> bool {
        members.iter().all(|member| self.still_waits(member.index as usize).unwrap_or(false))
    }

    fn still_waits(&mut self, index: usize) -> Option<bool> {
        let record = self.records.get(index)?;
        let (tid, call, wait) = (record.tid, record.kernel.call, record.wait);
        let futex_call = FutexCall::of(&call)?;
        let caller = (self.caller)(record);
        if facts::call(self.task, tid, self.bytes) != Ok(call) || matches!(call, Call::Running) {
            return Some(false);
        }
        let found = self.prove(&futex_call, caller);
        // Another waiter was the witness for this lock's kind: then the owner
        // cannot be proven again from here.
        let found = if found.owner == Owner::Unknown { self.by_witness(&wait)? } else { found };
        Some(found.owner == wait.owner && found.kind == wait.kind)
    }

    /// The owner by another waiter of the same lock.
    fn by_witness(&self, wait: &super::Wait) -> Option<super::Found> {
        let same = |record: &&crate::threads::ThreadRecord| {
            record.wait.address == wait.address && record.wait.owner == wait.owner
        };
        self.records.iter().filter(same).take(super::MAX_WITNESSES).find_map(|record| {
            let call = FutexCall::of(&record.kernel.call)?;
            let found = self.prove(&call, (self.caller)(record));
            (found.owner != Owner::Unknown).then_some(found)
        })
    }

    fn mark(&mut self, members: &Members) {
        let has_timeout = |member: &Member| {
            self.records.get(member.index as usize).is_some_and(|record| record.wait.has_timeout)
        };
        let ends = members.iter().any(has_timeout);
        for member in members {
            if let Some(record) = self.records.get_mut(member.index as usize) {
                record.wait.is_deadlock = !ends;
                record.wait.is_timed_circle = ends;
            }
        }
    }
}
