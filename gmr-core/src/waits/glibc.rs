//! How glibc lays locks and threads out in memory on 64-bit machines (its
//! sysdeps/nptl/bits/struct_mutex.h, struct_rwlock.h and nptl/descr.h; the same
//! from 2.25 to at least 2.41 on x86-64 and aarch64).
//!
//! | mutex | | rwlock | |
//! |---|---|---|---|
//! | 0 | `__lock`, the futex | 0 | `__readers`, a futex |
//! | 4 | `__count` | 4 | `__writers` |
//! | 8 | `__owner` | 8 | `__wrphase_futex` |
//! | 12 | `__nusers` | 12 | `__writers_futex` |
//! | 16 | `__kind` | 16, 20 | padding |
//! | | | 24 | `__cur_writer` |
//! | | | 28 | `__shared` |
//!
//! Each reader checks all fields that have a known range: memory that is
//! something else does not pass for a lock. A lock that nobody has at the moment
//! has no holder. Tests lock the machine's own locks and look.

use super::owner::Memory;
use crate::syscalls::futex::OWNER_DIED;

/// Who has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Thread {
        tid: u32,
        /// The lock may be shared with other processes.
        is_shared: bool,
    },
    /// It died; nobody has taken the lock since.
    Died,
}

/// Locks are aligned like pointers.
const ALIGNMENT: u64 = 8;

/// No thread id is larger (PID_MAX_LIMIT).
const MAX_TID: u32 = 1 << 22;

/// Bits of `__kind`: type, robust, PI, priority protection, shared, elision.
const KIND_BITS: u32 = 0x3 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200;
const KIND_ROBUST: u32 = 0x10;
const KIND_SHARED: u32 = 0x80;

/// `__readers`: a writer has the lock, in the phase of writers.
const WRITE_PHASE: u32 = 1;
const WRITE_LOCKED: u32 = 2;

/// The largest value of the two futexes of a rwlock: a flag, and that it is used.
const MAX_PHASE: u32 = 3;

/// The word at an address.
pub(super) fn word(memory: &Memory<'_>, address: u64) -> Option<u32> {
    words::<1>(memory, address).map(|[word]| word)
}

fn words<const COUNT: usize>(memory: &Memory<'_>, address: u64) -> Option<[u32; COUNT]> {
    let mut bytes = [[0_u8; 4]; COUNT];
    let flat = bytes.as_flattened_mut();
    if memory(address, flat) < flat.len() {
        return None;
    }
    Some(bytes.map(u32::from_ne_bytes))
}

/// The holder of the mutex whose `__lock` is at `address`.
pub(super) fn mutex(memory: &Memory<'_>, address: u64) -> Option<Holder> {
    if !address.is_multiple_of(ALIGNMENT) {
        return None;
    }
    let [lock, _count, owner, users, kind] = words::<5>(memory, address)?;
    if kind & !KIND_BITS != 0 {
        return None;
    }
    if kind & KIND_ROBUST != 0 {
        // Its word is what counts, and the owner's list says the rest.
        return (lock & OWNER_DIED != 0 && lock & 0x3fff_ffff == 0).then_some(Holder::Died);
    }
    // 1 or 2: locked, and who waits makes it 2.
    let is_held = lock == 2 && (1..=MAX_TID).contains(&owner) && (1..=MAX_TID).contains(&users);
    is_held.then_some(Holder::Thread { tid: owner, is_shared: kind & KIND_SHARED != 0 })
}

/// The lock, and the writer that a reader waits for: on `__wrphase_futex`, or with the
/// preference for writers on `__readers`.
pub(super) fn read_lock(memory: &Memory<'_>, address: u64) -> Option<(u64, Holder)> {
    let at = |offset| {
        let base = address.checked_sub(offset)?;
        writer(memory, base).map(|holder| (base, holder))
    };
    match (at(8), at(0)) {
        (Some(_), Some(_)) => None,
        (found, other) => found.or(other),
    }
}

/// The lock, and the writer that a writer waits for: on `__writers_futex`, or on
/// `__wrphase_futex`.
pub(super) fn write_lock(memory: &Memory<'_>, address: u64) -> Option<(u64, Holder)> {
    [12, 8].into_iter().find_map(|offset| {
        let base = address.checked_sub(offset)?;
        writer(memory, base).map(|holder| (base, holder))
    })
}

/// The writer that has the rwlock at `base`.
fn writer(memory: &Memory<'_>, base: u64) -> Option<Holder> {
    if !base.is_multiple_of(ALIGNMENT) {
        return None;
    }
    let [readers, writers, phase, waiting, padding, more_padding, current, shared] =
        words::<8>(memory, base)?;
    let is_rwlock = phase <= MAX_PHASE
        && waiting <= MAX_PHASE
        && padding == 0
        && more_padding == 0
        && shared <= 1
        && writers & !(1 << 31) <= MAX_TID;
    let is_written = readers & (WRITE_PHASE | WRITE_LOCKED) == WRITE_PHASE | WRITE_LOCKED
        && (1..=MAX_TID).contains(&current);
    (is_rwlock && is_written).then_some(Holder::Thread { tid: current, is_shared: shared != 0 })
}

/// Whether a word is the `tid` of the thread whose robust list's head is at
/// `head`: in `struct pthread` a pointer lies between the two.
pub(super) fn is_thread_word(address: u64, head: u64) -> bool {
    head != 0 && address.checked_add(16) == Some(head)
}
