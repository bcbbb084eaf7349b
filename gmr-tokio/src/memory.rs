//! The process's memory, as the walks see it.
//!
//! 1. A walk asks for a few bytes at an address ([`Memory`]); addresses are
//!    numbers, and nothing is ever dereferenced.
//! 2. [`Pages`] has the kernel copy whole pages, ahead when it is asked for one
//!    after the other, and answers from these. A copy is used until
//!    [`Pages::forget`]: what comes from it was true at some moment since.
//!
//! Limits: a page is there or not; nothing is said about who owns what is in it.
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

use gmr_core::hosted::memory;

const PAGE_BYTES: usize = 4096;

/// The same, of addresses.
const PAGE: u64 = PAGE_BYTES as u64;

/// Pages that are kept: several thousand small tasks.
const PAGES: usize = 256;

const _: () = assert!(PAGES.is_power_of_two());

/// Pages that one call reads when the walk goes straight ahead: at 0.2 us a
/// page a wrong guess costs less than the call itself.
const AHEAD: usize = 8;

/// Addresses that a program can have begin here (vm.mmap_min_addr) …
const LOWEST: u64 = 4096;

/// … and end here, with the page tables of four levels that Linux gives to who does
/// not ask for more.
const HIGHEST: u64 = 1 << 47;

/// Why bytes did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// Nothing is mapped there, or it is no address at all.
    Unreadable,
    /// The room for what is kept of one task is used up.
    TooMuch,
}

/// What a walk reads from.
pub(crate) trait Memory {
    /// Fills `buffer` with what is at `address`.
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError>;

    /// Says that what is read next lies within these bytes, which belong to one object.
    fn expect(&mut self, address: u64, bytes: u32) {
        let _ = (address, bytes);
    }

    /// A little-endian number of 1 to 8 bytes.
    fn number(&mut self, address: u64, bytes: u32) -> Result<u64, ReadError> {
        let mut buffer = [0; 8];
        let part = buffer.get_mut(..bytes as usize).ok_or(ReadError::Unreadable)?;
        self.read(address, part)?;
        Ok(u64::from_le_bytes(buffer))
    }

    /// An address, or any word.
    fn word(&mut self, address: u64) -> Result<u64, ReadError> {
        self.number(address, 8)
    }
}

/// Whether a program can have something of so many bytes there.
pub(crate) fn is_possible(address: u64, bytes: usize) -> bool {
    address >= LOWEST && address.checked_add(bytes as u64).is_some_and(|end| end <= HIGHEST)
}

/// The kernel is asked each time: for a few words, without any memory of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direct;

impl Memory for Direct {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if !is_possible(address, buffer.len()) {
            return Err(ReadError::Unreadable);
        }
        match memory::read(address, buffer) {
            Ok(copied) if copied == buffer.len() => Ok(()),
            _ => Err(ReadError::Unreadable),
        }
    }
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    page: u64,
    generation: u64,
}

/// Copies of pages, made by the kernel.
#[derive(Debug)]
pub(crate) struct Pages {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    /// A slot of another one is empty.
    generation: u64,
    /// The page behind the last ones that were read.
    next: u64,
    ahead: usize,
    calls: u64,
}

impl Pages {
    pub(crate) fn new() -> Self {
        Pages {
            slots: vec![Slot::default(); PAGES],
            bytes: vec![0; PAGES * PAGE_BYTES],
            generation: 1,
            next: 0,
            ahead: 1,
            calls: 0,
        }
    }

    /// From now on nothing counts that was read before.
    pub(crate) fn forget(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// How often the kernel was asked.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// The bytes of a page that is kept.
    fn kept(&self, page: u64) -> Option<&[u8]> {
        let index = index_of(page);
        let slot = self.slots.get(index)?;
        if slot.page != page || slot.generation != self.generation {
            return None;
        }
        let at = index.wrapping_mul(PAGE_BYTES);
        self.bytes.get(at..at.wrapping_add(PAGE_BYTES))
    }

    /// Reads a page, and some behind it if the last call was for those before.
    fn fetch(&mut self, page: u64) -> Result<(), ReadError> {
        let is_behind = page.wrapping_sub(self.next) < AHEAD as u64;
        self.ahead = if is_behind { self.ahead.saturating_mul(2).min(AHEAD) } else { 1 };
        let index = index_of(page);
        let pages = self.ahead.min(PAGES.saturating_sub(index));
        let at = index.wrapping_mul(PAGE_BYTES);
        let end = at.wrapping_add(pages.wrapping_mul(PAGE_BYTES));
        let buffer = self.bytes.get_mut(at..end).ok_or(ReadError::Unreadable)?;
        // What was in these slots is overwritten, also if the page is not there.
        for slot in self.slots.iter_mut().skip(index).take(pages) {
            slot.generation = 0;
        }
        self.calls = self.calls.wrapping_add(1);
        let copied = memory::read(page.wrapping_mul(PAGE), buffer).unwrap_or(0);
        let whole = copied / PAGE_BYTES;
        for (slot, offset) in self.slots.iter_mut().skip(index).take(whole).zip(0_u64..) {
            *slot = Slot { page: page.wrapping_add(offset), generation: self.generation };
        }
        self.next = page.wrapping_add(whole as u64);
        if whole == 0 { Err(ReadError::Unreadable) } else { Ok(()) }
    }
}

fn index_of(page: u64) -> usize {
    page as usize & (PAGES - 1)
}

impl Memory for Pages {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if !is_possible(address, buffer.len()) {
            return Err(ReadError::Unreadable);
        }
        let (mut address, mut rest) = (address, buffer);
        while !rest.is_empty() {
            let page = address / PAGE;
            let within = (address % PAGE) as usize;
            let bytes = rest.len().min(PAGE_BYTES.saturating_sub(within));
            if self.kept(page).is_none() {
                self.fetch(page)?;
            }
            let kept = self.kept(page).ok_or(ReadError::Unreadable)?;
            let from = kept.get(within..within.wrapping_add(bytes));
            let (to, behind) = rest.split_at_mut_checked(bytes).ok_or(ReadError::Unreadable)?;
            to.copy_from_slice(from.ok_or(ReadError::Unreadable)?);
            rest = behind;
            address = address.wrapping_add(bytes as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_across_pages_and_nothing_comes_from_nowhere() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8).collect();
        let address = bytes.as_ptr() as u64;
        let mut pages = Pages::new();
        for (at, count) in [(0, 1), (5, 9000), (4090, 12), (39_999, 1), (17, 30_000)] {
            let mut out = vec![0; count];
            pages.read(address + at as u64, &mut out).unwrap();
            assert_eq!(out, bytes[at..at + count]);
        }
        let mut out = [0; 16];
        for nowhere in [0, 8, 4096, HIGHEST - 8, u64::MAX - 3] {
            assert_eq!(pages.read(nowhere, &mut out), Err(ReadError::Unreadable), "{nowhere:#x}");
        }
        assert_eq!(pages.number(address, 9), Err(ReadError::Unreadable));
        assert_eq!(pages.number(address + 1, 2), Ok(0x0201));
    }

    #[test]
    fn what_was_read_stays_until_it_is_forgotten() {
        let word = core::sync::atomic::AtomicU64::new(7);
        let address = word.as_ptr() as u64;
        let mut pages = Pages::new();
        assert_eq!(pages.word(address), Ok(7));
        word.store(8, core::sync::atomic::Ordering::Relaxed);
        assert_eq!((pages.word(address), pages.calls()), (Ok(7), 1));
        pages.forget();
        assert_eq!((pages.word(address), pages.calls()), (Ok(8), 2));
    }

    #[test]
    fn pages_in_a_row_come_with_few_calls() {
        let bytes = vec![1_u8; 100 * PAGE_BYTES];
        let mut pages = Pages::new();
        for at in (0..bytes.len()).step_by(512) {
            pages.word(bytes.as_ptr() as u64 + at as u64).unwrap();
        }
        assert!(pages.calls() < 25, "{}", pages.calls());
    }
}
