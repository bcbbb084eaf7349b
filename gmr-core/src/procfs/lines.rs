//! A file of any length, line by line, through a small buffer.
//!
//! 1. a whole line in the buffer is given out;
//! 2. else the rest is moved to the front and more is read;
//! 3. a line longer than the buffer is given out as its beginning, marked as
//!    cut, and what follows up to the next line end is skipped.
//!
//! Where the bytes come from is a closure, so the same code runs on arrays.

use rustix::io::Errno;

/// One line, without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'b> {
    /// The bytes.
    pub bytes: &'b [u8],
    /// The line fills the buffer, and most likely is longer.
    pub cut: bool,
}

/// The lines of what `read` gives.
#[derive(Debug)]
pub struct Lines<'b, R> {
    /// Fills a slice and says how much of it; 0 is the end.
    read: R,
    buffer: &'b mut [u8],
    /// What has been read and not yet given out: `start <= end <= len`.
    start: usize,
    end: usize,
    at_end: bool,
    /// Inside a line whose beginning was given out.
    skipping: bool,
    /// Where the line that was given out last lies, and whether it was cut.
    last: (usize, usize, bool),
}

impl<'b, R: FnMut(&mut [u8]) -> Result<usize, Errno>> Lines<'b, R> {
    /// Lines from `read`, kept in `buffer` one at a time.
    pub fn new(read: R, buffer: &'b mut [u8]) -> Self {
        let at_end = buffer.is_empty();
        Lines { read, buffer, start: 0, end: 0, at_end, skipping: false, last: (0, 0, false) }
    }

    /// The next line; `None` at the end. After an error there is no more.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its buffer")]
    pub fn next(&mut self) -> Option<Result<Line<'_>, Errno>> {
        loop {
            let held = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(len) = held.iter().position(|&byte| byte == b'\n') {
                let from = self.start;
                let to = from.saturating_add(len);
                self.start = to.saturating_add(1);
                if core::mem::take(&mut self.skipping) {
                    continue;
                }
                return self.line(from, to, false);
            }
            let (from, to) = (self.start, self.end);
            if self.skipping || self.at_end {
                self.start = self.end;
            }
            if self.at_end {
                if self.skipping || from == to {
                    return None;
                }
                return self.line(from, to, false);
            }
            if let Err(error) = self.fill() {
                self.at_end = true;
                self.start = self.end;
                return Some(Err(error));
            }
            if self.start == 0 && self.end == self.buffer.len() {
                let full = self.buffer.iter().all(|&byte| byte != b'\n');
                if full && !self.skipping {
                    self.skipping = true;
                    self.start = self.end;
                    return self.line(0, self.end, true);
                }
            }
        }
    }

    /// The line that [`next`](Self::next) gave last, as long as it is not
    /// called again: for a caller that looks for a line in a loop and can
    /// keep no borrow across it.
    #[must_use]
    pub fn last(&self) -> Line<'_> {
        let (from, to, cut) = self.last;
        Line { bytes: self.buffer.get(from..to).unwrap_or_default(), cut }
    }

    fn line(&mut self, from: usize, to: usize, cut: bool) -> Option<Result<Line<'_>, Errno>> {
        self.last = (from, to, cut);
        Some(Ok(self.last()))
    }

    /// Moves what is held to the front and reads behind it.
    fn fill(&mut self) -> Result<(), Errno> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let capacity = room.len();
        match (self.read)(room)? {
            0 => self.at_end = true,
            count => self.end = self.end.saturating_add(count.min(capacity)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn collect(text: &[u8], buffer: usize, chunk: usize) -> Vec<(Vec<u8>, bool)> {
        let mut rest = text;
        let read = |into: &mut [u8]| {
            let count = into.len().min(chunk).min(rest.len());
            into[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        };
        let mut buffer = std::vec![0; buffer];
        let mut lines = Lines::new(read, &mut buffer);
        let mut all = Vec::new();
        while let Some(line) = lines.next() {
            let line = line.unwrap();
            all.push((line.bytes.to_vec(), line.cut));
        }
        all
    }

    #[test]
    fn a_long_line_is_cut_and_skipped() {
        let lines = collect(b"ab\n0123456789\ncd\n\nlast", 6, 3);
        let expected: &[(&[u8], bool)] =
            &[(b"ab", false), (b"012345", true), (b"cd", false), (b"", false), (b"last", false)];
        let expected: Vec<_> = expected.iter().map(|(line, cut)| (line.to_vec(), *cut)).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_error_ends_the_lines() {
        let mut buffer = [0; 8];
        let mut lines = Lines::new(|_: &mut [u8]| Err(Errno::IO), &mut buffer);
        assert_eq!(lines.next(), Some(Err(Errno::IO)));
        assert_eq!(lines.next(), None);
        assert!(collect(b"abc\n", 0, 3).is_empty());
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            buffer in 1usize..40,
            chunk in 1usize..50,
        ) {
            let mut expected: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
            if expected.last() == Some(&&b""[..]) {
                expected.pop();
            }
            let lines = collect(&text, buffer, chunk);
            prop_assert_eq!(lines.len(), expected.len());
            for ((line, cut), expected) in lines.iter().zip(expected) {
                if *cut {
                    prop_assert_eq!(line.len(), buffer);
                    prop_assert!(expected.starts_with(line));
                } else {
                    prop_assert_eq!(line.as_slice(), expected);
                }
            }
        }
    }
}
