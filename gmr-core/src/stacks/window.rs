//! The copied piece of a stack that the unwinder may read, and nothing else.

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
