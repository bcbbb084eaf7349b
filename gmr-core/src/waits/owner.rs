//! Who owns what a thread waits for. An owner is said only if something proves
//! it:
//!
//! 1. **PI futexes** (FUTEX_LOCK_PI): the kernel's own rule is that the word
//!    holds the owner's thread id.
//! 2. **The end of a thread**: the word that the kernel clears when a thread
//!    ends holds its id, and lies where glibc keeps it, in front of the head of
//!    the thread's robust list, which the kernel knows (get_robust_list(2)).
//! 3. **Robust mutexes**: the owner's robust list, which the kernel walks when
//!    that thread ends, has the lock, and its word the owner's id.
//! 4. **Mutexes and read-write locks of glibc** that only this process has: the
//!    stack shows that glibc's function waits, and the fields around the word
//!    agree with its layout ([`super::glibc`]).
//!
//! Deliberately not done: an owner by the looks of a word alone. Locks of Rust's
//! standard library and of parking_lot have no owner in memory. Nor the owner of
//! a mutex that processes share (PTHREAD_PROCESS_SHARED), unless it is robust: its
//! word is a number in its owner's pid namespace, which need not be ours.
//!
//! Limits: a lock that its owner kept when it ended names a number that the
//! kernel may have given to another thread of this process since.

use super::{Caller, FutexCall, Kind, Owner, glibc, robust};
use crate::syscalls::futex::{OWNER_DIED, TID_MASK, Waiting};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) owner: Owner,
    /// Where the lock begins: its futex may lie inside.
    pub(super) lock: u64,
}

impl Found {
    pub(super) const NOTHING: Self = Found { kind: Kind::Futex, owner: Owner::Unknown, lock: 0 };
}

/// What there is to know of threads.
pub(super) struct Threads<'a> {
    /// A thread's record.
    pub(super) find: &'a dyn Fn(u32) -> Option<u32>,
    /// Whether it is no thread of this process.
    pub(super) is_gone: &'a dyn Fn(u32) -> bool,
    /// The head of its robust list; 0 if it has none.
    pub(super) robust_list: &'a dyn Fn(u32) -> u64,
}

impl Threads<'_> {
    /// An owner that is proven to be one; none for 0.
    fn owner(&self, tid: u32) -> Owner {
        match (self.find)(tid) {
            _ if tid == 0 => Owner::Unknown,
            Some(index) => Owner::Listed { index },
            None if (self.is_gone)(tid) => Owner::Gone { tid },
            None => Owner::Unlisted { tid },
        }
    }
}

/// Copies memory from an address; how much of it could be read.
pub(super) type Memory<'a> = dyn Fn(u64, &mut [u8]) -> usize + 'a;

/// Looks for the owner.
pub(super) fn prove(
    call: &FutexCall,
    caller: Caller,
    threads: &Threads<'_>,
    memory: &Memory<'_>,
) -> Found {
    let Some(word) = glibc::word(memory, call.address) else { return Found::NOTHING };
    let tid = word & TID_MASK;
    if call.waiting == Waiting::Lock {
        let owner = match () {
            () if word & OWNER_DIED != 0 && tid == 0 => Owner::Died,
            // Another process's thread may have a shared one.
            () if !call.is_private && (threads.find)(tid).is_none() => Owner::Unknown,
            () => threads.owner(tid),
        };
        return Found { kind: Kind::PiLock, owner, lock: call.address };
    }
    let of = |kind, index| Found { kind, owner: Owner::Listed { index }, lock: call.address };
    if let Some(index) = (threads.find)(tid) {
        let head = (threads.robust_list)(tid);
        let is_its_end = word == tid
            && call.expected == tid
            && !call.is_private
            && (caller == Caller::Join || glibc::is_thread_word(call.address, head));
        if is_its_end {
            return of(Kind::ThreadEnd, index);
        }
        if robust::has(head, call.address, memory) {
            return of(Kind::RobustMutex, index);
        }
    }
    let (kind, holder) = match caller {
        Caller::MutexLock => {
            let holder = glibc::mutex(memory, call.address);
            (Kind::Mutex, holder.map(|holder| (call.address, holder)))
        }
        Caller::ReadLock => (Kind::RwLock, glibc::read_lock(memory, call.address)),
        Caller::WriteLock => (Kind::RwLock, glibc::write_lock(memory, call.address)),
        Caller::Unknown | Caller::Join => return Found::NOTHING,
    };
    let Some((lock, holder)) = holder else { return Found::NOTHING };
    let owner = match holder {
        glibc::Holder::Died => Owner::Died,
        // Its owner may be in another process, and in another pid namespace have
        // the number of a thread of ours.
        glibc::Holder::Thread { is_shared, .. } if is_shared || !call.is_private => Owner::Unknown,
        glibc::Holder::Thread { tid, .. } => threads.owner(tid),
    };
    if owner == Owner::Unknown { Found::NOTHING } else { Found { kind, owner, lock } }
}
