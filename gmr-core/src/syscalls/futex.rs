//! futex(2)'s operations: their words, and which of them wait.

use ufmt::{uWrite, uwrite};

/// The operations (linux/futex.h), by number.
const OPERATIONS: [&str; 14] = [
    "FUTEX_WAIT",
    "FUTEX_WAKE",
    "FUTEX_FD",
    "FUTEX_REQUEUE",
    "FUTEX_CMP_REQUEUE",
    "FUTEX_WAKE_OP",
    "FUTEX_LOCK_PI",
    "FUTEX_UNLOCK_PI",
    "FUTEX_TRYLOCK_PI",
    "FUTEX_WAIT_BITSET",
    "FUTEX_WAKE_BITSET",
    "FUTEX_WAIT_REQUEUE_PI",
    "FUTEX_CMP_REQUEUE_PI",
    "FUTEX_LOCK_PI2",
];

const PRIVATE: u32 = 128;
const CLOCK_REALTIME: u32 = 256;

/// The word of a lock with an owner holds the owner's TID in these bits: the
/// kernel's own rule for PI and robust futexes.
pub(crate) const TID_MASK: u32 = 0x3fff_ffff;

/// The kernel sets this bit when the owner ends without unlocking.
pub(crate) const OWNER_DIED: u32 = 0x4000_0000;

/// How a futex call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Until the word is changed and somebody wakes it.
    Word,
    /// For a lock whose owner the kernel knows by the word (PI).
    Lock,
}

/// Whether an operation waits, and for what.
pub(crate) fn waiting(operation: u32) -> Option<Waiting> {
    match operation & !(PRIVATE | CLOCK_REALTIME) {
        0 | 9 | 11 => Some(Waiting::Word),
        6 | 13 => Some(Waiting::Lock),
        _ => None,
    }
}

/// Whether the futex is known within this process only.
pub(crate) fn is_private(operation: u32) -> bool {
    operation & PRIVATE != 0
}

/// `FUTEX_WAIT_BITSET|PRIVATE`; an unknown operation by its number.
pub(super) fn write_operation<W: uWrite>(out: &mut W, operation: u32) -> Result<(), W::Error> {
    let number = operation & !(PRIVATE | CLOCK_REALTIME);
    match OPERATIONS.get(number as usize) {
        Some(name) => out.write_str(name)?,
        None => uwrite!(out, "{}", number)?,
    }
    for (flag, name) in [(PRIVATE, "|PRIVATE"), (CLOCK_REALTIME, "|CLOCK_REALTIME")] {
        if operation & flag != 0 {
            out.write_str(name)?;
        }
    }
    Ok(())
}
