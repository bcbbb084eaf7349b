//! A thread's robust list (get_robust_list(2)): the locks that the kernel marks
//! when their owner ends. What is on it, its thread owns.
//!
//! The list is a ring of pointers through the locks; each entry's futex lies at
//! one offset from it. It changes while it is read: an entry that is found was
//! there, one that is missed is not said.

use super::owner::Memory;

/// Entries that are followed. The kernel follows 2,048.
const MAX_ENTRIES: usize = 256;

/// The lowest bit of an entry says that its lock is a PI futex.
const PI_BIT: u64 = 1;

/// Whether the lock whose word is at `address` is on the list at `head`.
pub(super) fn has(head: u64, address: u64, memory: &Memory<'_>) -> bool {
    let Some([first, offset]) = pair(memory, head) else { return false };
    let mut entry = first & !PI_BIT;
    for _ in 0..MAX_ENTRIES {
        if entry == head || entry == 0 {
            return false;
        }
        if entry.wrapping_add(offset) == address {
            return true;
        }
        let Some([next, _]) = pair(memory, entry) else { return false };
        entry = next & !PI_BIT;
    }
    false
}

fn pair(memory: &Memory<'_>, address: u64) -> Option<[u64; 2]> {
    let mut bytes = [[0_u8; 8]; 2];
    let flat = bytes.as_flattened_mut();
    // 0 is no list.
    if address == 0 || memory(address, flat) < flat.len() {
        return None;
    }
    Some(bytes.map(u64::from_ne_bytes))
}
