//! One line of text of a bounded length, for what is put together from values.

use core::convert::Infallible;

use ufmt::uWrite;

/// Stands at the end of a line that had more.
const CUT: &str = "…";

/// A line of at most `BYTES` bytes. What does not fit is left out, and a mark
/// says so.
#[derive(Debug)]
pub(crate) struct Line<const BYTES: usize> {
    text: heapless::String<BYTES>,
    is_cut: bool,
}

impl<const BYTES: usize> Line<BYTES> {
    pub(crate) const fn new() -> Self {
        Line { text: heapless::String::new(), is_cut: false }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.is_cut = false;
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn push(&mut self, text: &str) {
        if self.is_cut {
            return;
        }
        let room = BYTES.saturating_sub(self.text.len());
        let room = room.saturating_sub(CUT.len());
        if text.len() <= room {
            let _fits = self.text.push_str(text);
            return;
        }
        self.is_cut = true;
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let _fits = self.text.push_str(text.get(..end).unwrap_or_default());
        let _fits = self.text.push_str(CUT);
    }

    /// Bytes that should be text: what is not shows as `?`.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.utf8_chunks() {
            self.push(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.push("?");
            }
        }
    }

    pub(crate) fn push_number(&mut self, number: u64) {
        let _ = ufmt::uwrite!(self, "{}", number);
    }
}

impl<const BYTES: usize> uWrite for Line<BYTES> {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        self.push(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_between_characters_and_marked() {
        let mut line = Line::<10>::new();
        line.push("abcdé");
        line.push("xy");
        assert_eq!(line.as_str(), "abcdéx…");
        line.push("z");
        assert_eq!(line.as_str(), "abcdéx…");
        line.clear();
        line.push("abcdefé");
        assert_eq!(line.as_str(), "abcdef…");
        line.clear();
        line.push_bytes(b"a\xff\xfeb");
        line.push_number(70);
        assert_eq!(line.as_str(), "a??b70");
    }
}
