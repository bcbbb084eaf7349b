//! What threads wait for: who owns the lock, and who waits for whom in a circle.
//!
//! 1. Of each thread that waits on a futex, its address. Threads are sorted by
//!    it: how many wait on the same.
//! 2. For each address the owner, where something proves it ([`owner`]). A
//!    thread that waits must be in the same call before and after that look, or
//!    nothing is said.
//! 3. Who waits for whom is a graph in which each thread waits for one other at
//!    most. A circle in it is looked at again ([`deadlock`]) before it is called
//!    a deadlock; one in which somebody waits with a timeout is none.
//!
//! Limits: of each address [`MAX_WITNESSES`] waiters are asked for evidence. A
//! capture wakes threads for a moment: those that are not yet back in their call
//! are looked at again for [`SETTLE_NS`] in all. What remains is a wait without
//! an owner: nothing is guessed. The thread that composes the report is in no
//! call of the program's: what a handler's report interrupted has no wait.
//!
//! # Signal safety
//!
//! All of it. Memory is read through the kernel, never dereferenced.

use rustix::fd::{AsFd, BorrowedFd};

use crate::procfs::read;
use crate::sys::{clock, vm};
use crate::syscalls::futex;
use crate::threads::ThreadRecord;
use crate::threads::facts::{self, Call};

mod circle;
mod deadlock;
#[cfg(all(feature = "stacks", feature = "symbols"))]
pub(crate) mod evidence;
mod glibc;
mod owner;
mod robust;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use owner::Found;

/// Waiters of one address that are asked for evidence: the first as a rule has
/// it, if any has.
const MAX_WITNESSES: usize = 4;

/// How long threads that were just captured may take to get back into their
/// calls.
const SETTLE_NS: u64 = 20_000_000;

/// Between two looks.
const PAUSE_NS: u64 = 1_000_000;

/// What a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A futex of which nothing more is known.
    Futex,
    /// A futex with priority inheritance: the kernel knows its owner by its word.
    PiLock,
    /// A mutex on the robust list of its owner.
    RobustMutex,
    /// A mutex of the C library.
    Mutex,
    /// A read-write lock of the C library that a writer has.
    RwLock,
    /// The end of a thread.
    ThreadEnd,
}

/// Who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Owner {
    Unknown,
    /// A thread of this process, the record with this index.
    Listed {
        index: u32,
    },
    /// A thread of this process that has no record.
    Unlisted {
        tid: u32,
    },
    /// No thread of this process any more.
    Gone {
        tid: u32,
    },
    /// It ended without unlocking; the kernel has said so in the word.
    Died,
}

/// The wait of one thread. All bytes zero: none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// The futex; 0 if the thread waits on none.
    pub(crate) address: u64,
    /// Threads of the report that wait on it, this one among them.
    pub(crate) waiters: u32,
    pub(crate) kind: Kind,
    /// Where the lock begins, if it is known; its futex may lie inside.
    pub(crate) lock: u64,
    pub(crate) owner: Owner,
    /// The owner's number and name, for what knows this record alone.
    pub(crate) owner_tid: u32,
    pub(crate) owner_name: crate::threads::Name,
    /// Of those that wait for one owner, the one that tells of it.
    pub(crate) is_first: bool,
    /// It ends by itself.
    pub(crate) has_timeout: bool,
    /// It is part of a circle that a second look confirmed, and that does not end
    /// by itself.
    pub(crate) is_deadlock: bool,
    /// It is part of such a circle, in which somebody waits with a timeout.
    pub(crate) is_timed_circle: bool,
    /// Evidence was looked for.
    is_settled: bool,
}

impl Wait {
    pub(crate) const NONE: Self = Wait {
        address: 0,
        waiters: 0,
        kind: Kind::Futex,
        lock: 0,
        owner: Owner::Unknown,
        owner_tid: 0,
        owner_name: crate::threads::Name::EMPTY,
        is_first: false,
        has_timeout: false,
        is_deadlock: false,
        is_timed_circle: false,
        is_settled: false,
    };

    /// It is part of a circle that a second look confirmed.
    pub(crate) fn is_on_circle(&self) -> bool {
        self.is_deadlock || self.is_timed_circle
    }

    /// The record of the thread that is waited for.
    pub(crate) fn next(&self) -> Option<usize> {
        match self.owner {
            Owner::Listed { index } => Some(index as usize),
            _ => None,
        }
    }
}

/// Which function of the C library waits, by the innermost frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Unknown,
    MutexLock,
    ReadLock,
    WriteLock,
    Join,
}

/// Memory for the search: an index for each record, twice.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Records that wait, by address; then the search's marks.
    pub(crate) order: &'static mut [u32],
    /// Records, by thread id.
    pub(crate) by_tid: &'static mut [u32],
}

/// A futex wait in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FutexCall {
    address: u64,
    /// The value that the word had.
    expected: u32,
    has_timeout: bool,
    is_private: bool,
    waiting: futex::Waiting,
}

impl FutexCall {
    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes the low halves")]
    fn of(call: &Call) -> Option<Self> {
        let Call::Made { number, arguments, .. } = call else { return None };
        let [address, operation, value, timeout, ..] = *arguments;
        match crate::syscalls::find(*number)?.name {
            "futex" => Some(FutexCall {
                address,
                expected: value as u32,
                has_timeout: timeout != 0,
                is_private: futex::is_private(operation as u32),
                waiting: futex::waiting(operation as u32)?,
            }),
            _ => None,
        }
    }
}

/// Finds out what each thread waits for. `caller` tells which function of the C
/// library a thread is in.
pub(crate) fn find(
    records: &mut [ThreadRecord],
    scratch: &mut Scratch,
    bytes: &mut [u8],
    caller: &dyn Fn(&ThreadRecord) -> Caller,
) {
    let Some(waiting) = sort(records, scratch) else { return };
    let Ok(task) = read::open_dir(rustix::fs::CWD, c"/proc/self/task") else { return };
    let mut look = Look { records, scratch, waiting, task: task.as_fd(), bytes, caller };
    let deadline_ns = clock::monotonic_ns().saturating_add(SETTLE_NS);
    while look.owners() && clock::monotonic_ns() < deadline_ns {
        pause();
    }
    look.circles(deadline_ns);
    look.release();
}

/// The addresses, and the records sorted by them. `None`: nobody waits.
fn sort(records: &mut [ThreadRecord], scratch: &mut Scratch) -> Option<usize> {
    let mut waiting = 0_usize;
    let mut places = scratch.order.iter_mut();
    for (index, record) in records.iter_mut().enumerate() {
        record.wait = Wait::NONE;
        let Some(call) = FutexCall::of(&record.kernel.call) else { continue };
        let Some(place) = places.next() else { break };
        record.wait.address = call.address;
        record.wait.has_timeout = call.has_timeout;
        *place = index as u32;
        waiting = waiting.saturating_add(1);
    }
    if waiting == 0 {
        return None;
    }
    let address_of = |index: &u32| records.get(*index as usize).map_or(0, |r| r.wait.address);
    scratch.order.get_mut(..waiting)?.sort_unstable_by_key(|index| (address_of(index), *index));
    let by_tid = scratch.by_tid.get_mut(..records.len())?;
    for (index, place) in by_tid.iter_mut().enumerate() {
        *place = index as u32;
    }
    by_tid.sort_unstable_by_key(|index| records.get(*index as usize).map_or(0, |r| r.tid));
    Some(waiting)
}

fn pause() {
    crate::sys::futex::rest(PAUSE_NS);
}

/// One look at all waits.
struct Look<'a> {
    records: &'a mut [ThreadRecord],
    scratch: &'a mut Scratch,
    /// How many of `order` are used.
    waiting: usize,
    task: BorrowedFd<'a>,
    bytes: &'a mut [u8],
    caller: &'a dyn Fn(&ThreadRecord) -> Caller,
}

/// What a witness says.
enum Testimony {
    /// It is in the same call as when it was listed, and this was found.
    Found(Found),
    /// It is not back from its capture.
    Pending,
    /// It knows nothing, or has gone on.
    Nothing,
}

impl Look<'_> {
    /// Looks for the owners that are not settled. Whether any is to be looked at
    /// again.
    fn owners(&mut self) -> bool {
        let mut is_pending = false;
        let mut from = 0_usize;
        while let Some(first) = self.waiter(from) {
            let address = first.wait.address;
            let is_settled = first.wait.is_settled;
            let mut to = from;
            while self.waiter(to).is_some_and(|record| record.wait.address == address) {
                to = to.saturating_add(1);
            }
            if !is_settled {
                is_pending |= self.owner_of(from, to);
            }
            from = to;
        }
        is_pending
    }

    /// The record at a place of the order.
    fn waiter(&self, place: usize) -> Option<&ThreadRecord> {
        let index = self.scratch.order.get(..self.waiting)?.get(place)?;
        self.records.get(*index as usize)
    }

    /// Looks for the owner of one address, on which `from..to` wait. Whether it
    /// is to be looked at again.
    fn owner_of(&mut self, from: usize, to: usize) -> bool {
        let mut found = Found::NOTHING;
        let mut is_pending = false;
        for place in from..to.min(from.saturating_add(MAX_WITNESSES)) {
            match self.testimony(place) {
                Testimony::Pending => is_pending = true,
                Testimony::Found(it) => {
                    found = it;
                    break;
                }
                Testimony::Nothing => {}
            }
        }
        let is_settled = found.owner != Owner::Unknown || !is_pending;
        self.share(from, to, &found, is_settled);
        !is_settled
    }

    fn testimony(&mut self, place: usize) -> Testimony {
        let Some(record) = self.waiter(place) else { return Testimony::Nothing };
        let (tid, call, caller) = (record.tid, record.kernel.call, (self.caller)(record));
        let Some(futex_call) = FutexCall::of(&call) else { return Testimony::Nothing };
        let found = self.prove(&futex_call, caller);
        if found.owner == Owner::Unknown {
            return Testimony::Nothing;
        }
        match facts::call(self.task, tid, self.bytes) {
            Ok(Call::Running) => Testimony::Pending,
            // The same call from the same place: it still waits. The stack was
            // captured in between, so its frames are those of this call.
            Ok(now) if now == call => Testimony::Found(found),
            _ => Testimony::Nothing,
        }
    }

    fn prove(&self, call: &FutexCall, caller: Caller) -> Found {
        let threads = owner::Threads {
            find: &|tid| self.index_of(tid),
            is_gone: &|tid| crate::sys::is_gone(tid),
            robust_list: &|tid| crate::sys::robust_list(tid),
        };
        owner::prove(call, caller, &threads, &|address, into| vm::read(address, into))
    }

    fn index_of(&self, tid: u32) -> Option<u32> {
        let by_tid = self.scratch.by_tid.get(..self.records.len())?;
        let tid_of = |index: &u32| self.records.get(*index as usize).map_or(0, |r| r.tid);
        let place = by_tid.binary_search_by_key(&tid, tid_of).ok()?;
        by_tid.get(place).copied()
    }

    /// Who has got a lock since it was listed does not wait for itself. (Who
    /// really does is in a circle with itself, and that was confirmed.)
    fn release(&mut self) {
        for index in 0..self.records.len() {
            let Some(record) = self.records.get_mut(index) else { return };
            if record.wait.next() != Some(index) || record.wait.is_on_circle() {
                continue;
            }
            let Wait { address, .. } = record.wait;
            record.wait = Wait::NONE;
            for other in self.records.iter_mut().filter(|other| other.wait.address == address) {
                other.wait.waiters = other.wait.waiters.saturating_sub(1);
            }
        }
    }

    /// Gives all waiters of one address what was found.
    fn share(&mut self, from: usize, to: usize, found: &Found, is_settled: bool) {
        let (owner_tid, owner_name) = match found.owner {
            Owner::Listed { index } => self
                .records
                .get(index as usize)
                .map_or((0, crate::threads::Name::EMPTY), |owner| (owner.tid, owner.name)),
            Owner::Unlisted { tid } | Owner::Gone { tid } => (tid, crate::threads::Name::EMPTY),
            Owner::Unknown | Owner::Died => (0, crate::threads::Name::EMPTY),
        };
        let waiters = u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        let mut is_first = true;
        for place in from..to {
            let Some(index) = self.scratch.order.get(place) else { return };
            let Some(record) = self.records.get_mut(*index as usize) else { return };
            record.wait = Wait { waiters, is_settled, ..record.wait };
            record.wait = Wait {
                kind: found.kind,
                lock: found.lock,
                owner: found.owner,
                owner_tid,
                owner_name,
                is_first: is_first && record.tid != owner_tid,
                ..record.wait
            };
            is_first &= !record.wait.is_first;
        }
    }
}
