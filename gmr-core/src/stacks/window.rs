//! The stack memory that the unwinder may read, and nothing else.

use crate::model::StackEnd;

/// Stack memory as the unwinder sees it: a copy, or the live stack of a thread
/// that does not run. Reading never faults.
pub trait StackMemory {
    /// The word at `address`, if all of it can be read.
    fn word(&mut self, address: u64) -> Option<u64>;

    /// How a stack ends for which the word at `address` is missing.
    fn end_at(&self, address: u64) -> StackEnd;
}

/// A copy of stack memory: `bytes` were at `base`.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Address of the first byte.
    pub base: u64,
    /// What was there.
    pub bytes: &'a [u8],
}

impl Window<'_> {
    /// First address behind the window.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.bytes.len() as u64)
    }

    /// The word at `address`, if the window holds all of it.
    #[must_use]
    pub fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.base)?).ok()?;
        let bytes = self.bytes.get(offset..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*bytes))
    }
}

impl StackMemory for Window<'_> {
    fn word(&mut self, address: u64) -> Option<u64> {
        Window::word(self, address)
    }

    fn end_at(&self, address: u64) -> StackEnd {
        if address >= self.end() || address.wrapping_add(8) > self.end() {
            let window_bytes = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
            StackEnd::WindowFull { window_bytes }
        } else {
            StackEnd::Unreadable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_from_inside_only() {
        let bytes: std::vec::Vec<u8> = (0..16).collect();
        let window = Window { base: 1000, bytes: &bytes };
        assert_eq!(window.word(1000), Some(0x0706_0504_0302_0100));
        assert_eq!(window.word(1008), Some(0x0f0e_0d0c_0b0a_0908));
        for outside in [0, 999, 1009, 1016, u64::MAX] {
            assert_eq!(window.word(outside), None, "{outside}");
        }
        assert_eq!(window.end(), 1016);
    }
}
