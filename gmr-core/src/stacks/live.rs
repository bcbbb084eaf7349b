//! The live stack of a thread that does not run, and a copied window with the
//! live stack behind it.
//!
//! 1. The kernel copies one page at a time (process_vm_readv on ourselves), so
//!    that memory that goes away is an end and no fault.
//! 2. A few pages are kept: a walk goes up the stack and seldom back.
//! 3. The bytes read for one stack are counted; after [`MAX_LIVE_BYTES`] the
//!    stack ends with [`StackEnd::WindowFull`] of that size.
//!
//! What was read is as true as the proof that the thread does not run, which is
//! the caller's. [`LiveStack::begin`] forgets everything: call it for each
//! thread and for each attempt.
//!
//! Limits: where process_vm_readv is refused (seccomp) nothing is readable. The
//! probe that a thread's own handler falls back to would not do: between probe
//! and copy the thread may exit, and its stack go away.

use alloc::boxed::Box;

use super::window::{StackMemory, Window};
use crate::model::StackEnd;
use crate::sys::vm;

/// Most bytes that are read for one stack. Deeper ones have 10,000 frames and
/// more, or single frames that nobody looks for in a report.
pub(crate) const MAX_LIVE_BYTES: u32 = 1 << 20;

/// Pages kept.
const PAGES: usize = 4;

const PAGE_BYTES: usize = 4096;

#[derive(Clone)]
struct Page {
    base: u64,
    /// Bytes that could be read: all, or none.
    used: usize,
    bytes: [u8; PAGE_BYTES],
}

/// Stack memory of this process, read page by page. Allocates when made, never
/// when used.
pub(crate) struct LiveStack {
    pages: Box<[Page]>,
    /// The page to use next.
    next: usize,
    read_bytes: u32,
    limit_bytes: u32,
    refused: Option<i32>,
}

impl core::fmt::Debug for LiveStack {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LiveStack").field("read_bytes", &self.read_bytes).finish_non_exhaustive()
    }
}

impl LiveStack {
    /// With nothing read.
    pub(crate) fn new() -> Self {
        let empty = Page { base: 0, used: 0, bytes: [0; PAGE_BYTES] };
        LiveStack {
            pages: alloc::vec![empty; PAGES].into_boxed_slice(),
            next: 0,
            read_bytes: 0,
            limit_bytes: MAX_LIVE_BYTES,
            refused: None,
        }
    }

    /// Forgets what was read: another thread, or another attempt.
    pub(crate) fn begin(&mut self) {
        for page in &mut self.pages {
            page.used = 0;
        }
        self.read_bytes = 0;
    }

    /// The kernel's number if it refuses to read at all.
    pub(crate) fn refused(&self) -> Option<i32> {
        self.refused
    }

    /// Whether one more page may be read.
    fn has_room(&self) -> bool {
        self.read_bytes.saturating_add(PAGE_BYTES as u32) <= self.limit_bytes
    }

    /// Eight bytes at most, all within one page.
    fn bytes(&mut self, address: u64, into: &mut [u8]) -> Option<()> {
        let in_page = address & (PAGE_BYTES as u64).wrapping_sub(1);
        let base = address.wrapping_sub(in_page);
        let is_it = |page: &Page| page.base == base && page.used != 0;
        if !self.pages.iter().any(is_it) {
            self.fill(base);
        }
        let page = self.pages.iter().find(|page| is_it(page))?;
        let from = in_page as usize;
        let found = page.bytes.get(from..from.checked_add(into.len())?)?;
        into.copy_from_slice(found);
        Some(())
    }

    fn fill(&mut self, base: u64) {
        if !self.has_room() {
            return;
        }
        let next = self.next;
        let Some(page) = self.pages.get_mut(next) else { return };
        self.read_bytes = self.read_bytes.saturating_add(PAGE_BYTES as u32);
        page.base = base;
        page.used = match vm::read_foreign(base, &mut page.bytes) {
            Ok(PAGE_BYTES) => PAGE_BYTES,
            Ok(_) => 0,
            Err(error) => {
                self.refused = Some(error);
                0
            }
        };
        if page.used != 0 {
            self.next = next.wrapping_add(1) % PAGES;
        }
    }
}

impl StackMemory for LiveStack {
    fn word(&mut self, address: u64) -> Option<u64> {
        let mut word = [0_u8; 8];
        // A word that is not aligned may lie in two pages.
        let in_first = PAGE_BYTES.wrapping_sub((address as usize) % PAGE_BYTES).min(8);
        let (first, second) = word.split_at_mut_checked(in_first)?;
        self.bytes(address, first)?;
        if !second.is_empty() {
            self.bytes(address.checked_add(in_first as u64)?, second)?;
        }
        Some(u64::from_ne_bytes(word))
    }

    fn end_at(&self, _address: u64) -> StackEnd {
        if self.has_room() {
            StackEnd::Unreadable
        } else {
            StackEnd::WindowFull { window_bytes: self.limit_bytes }
        }
    }
}

/// First the copied window, then the live stack behind it.
#[cfg_attr(not(test), allow(dead_code, reason = "the collector does not use it yet"))]
#[derive(Debug)]
pub(crate) struct Joined<'a> {
    /// The copy.
    pub(crate) window: Window<'a>,
    /// Asked for what the window does not hold.
    pub(crate) live: &'a mut LiveStack,
}

impl StackMemory for Joined<'_> {
    fn word(&mut self, address: u64) -> Option<u64> {
        self.window.word(address).or_else(|| self.live.word(address))
    }

    fn end_at(&self, address: u64) -> StackEnd {
        self.live.end_at(address)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn words(count: usize) -> Vec<u64> {
        (0..count as u64).map(|word| word * 0x0101_0101).collect()
    }

    #[test]
    fn words_are_read_across_pages_and_unaligned() {
        let memory = words(8192);
        let base = memory.as_ptr() as u64;
        let mut live = LiveStack::new();
        for index in [0, 1, 511, 512, 513, 8191, 0] {
            assert_eq!(live.word(base + 8 * index as u64), Some(memory[index]));
        }
        let page_end = (base | 4095) + 1;
        let index = ((page_end - base) / 8) as usize;
        let expected = memory[index - 1] >> 32 | memory[index] << 32;
        assert_eq!(live.word(page_end - 4), Some(expected));
        assert_eq!(live.refused(), None);
    }

    #[test]
    fn what_is_not_there_ends_the_stack() {
        let mut live = LiveStack::new();
        for address in [0, 8, 0x10, u64::MAX, u64::MAX - 7, 1 << 63] {
            assert_eq!(live.word(address), None, "{address:x}");
        }
        assert_eq!(live.end_at(0), StackEnd::Unreadable);
    }

    #[test]
    fn the_limit_is_said_and_ends_with_the_thread() {
        let memory = words(8 * 1024);
        let base = memory.as_ptr() as u64;
        let mut live = LiveStack::new();
        live.limit_bytes = 3 * PAGE_BYTES as u32;
        let mut read = 0;
        while live.word(base + 4096 * read).is_some() {
            read += 1;
        }
        assert_eq!(read, 3);
        let limit = StackEnd::WindowFull { window_bytes: 3 * PAGE_BYTES as u32 };
        assert_eq!(live.end_at(base + 4096 * 3), limit);
        assert!(live.word(base).is_some(), "what was read stays");
        live.begin();
        assert!(live.word(base + 4096 * 3).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_an_earlier_attempt() {
        let mut memory = words(1);
        let address = memory.as_ptr() as u64;
        let mut live = LiveStack::new();
        assert_eq!(live.word(address), Some(0));
        core::hint::black_box(&mut memory)[0] = 7;
        live.begin();
        assert_eq!(live.word(address), Some(7));
    }

    #[test]
    fn the_window_comes_first() {
        let memory = words(64);
        let base = memory.as_ptr() as u64;
        let copied: Vec<u8> = (0..16).collect();
        let mut live = LiveStack::new();
        let mut joined = Joined { window: Window { base, bytes: &copied }, live: &mut live };
        assert_eq!(joined.word(base + 8), Some(0x0f0e_0d0c_0b0a_0908));
        assert_eq!(joined.word(base + 16), Some(memory[2]));
        // Half of it copied: taken from the live stack as a whole.
        assert_eq!(joined.word(base + 12), Some(memory[1] >> 32 | memory[2] << 32));
        assert_eq!(joined.word(1), None);
        assert_eq!(joined.end_at(1), StackEnd::Unreadable);
    }
}
