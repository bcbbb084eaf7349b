//! Short relative paths (`1234/status`) built on the stack.
//!
//! rustix takes a `&CStr` as it is; from any other kind of path it makes one,
//! which for a long path and with its `alloc` feature on would allocate.

use core::ffi::CStr;

use heapless::Vec;

/// Longest path, in bytes with the terminating NUL: two numbers of ten digits
/// and the longest names in between (`4294967295/task/4294967295/status`)
/// need 34.
pub const CAPACITY: usize = 64;

/// A path of numbers and names, always NUL-terminated.
#[derive(Debug, Clone)]
pub struct SmallPath {
    /// The path with its NUL.
    bytes: Vec<u8, CAPACITY>,
    /// Something did not fit: the path is unusable.
    overflowed: bool,
}

impl Default for SmallPath {
    fn default() -> Self {
        Self::new()
    }
}

impl SmallPath {
    /// The empty path.
    #[must_use]
    pub fn new() -> Self {
        SmallPath { bytes: Vec::new(), overflowed: false }
    }

    /// `PID/NAME`.
    #[must_use]
    pub fn of_number(number: u32, name: &str) -> Self {
        Self::new().number(number).push("/").push(name)
    }

    /// Appends text; no NUL may be in it.
    #[must_use]
    pub fn push(mut self, text: &str) -> Self {
        // One byte is kept for the NUL.
        let fits = self.bytes.len().saturating_add(text.len()) < CAPACITY;
        if !fits || self.bytes.extend_from_slice(text.as_bytes()).is_err() {
            self.overflowed = true;
        }
        self
    }

    /// Appends a decimal number.
    #[must_use]
    pub fn number(self, number: u32) -> Self {
        let mut digits = [b'0'; 10];
        let mut rest = number;
        let mut used = 0usize;
        for slot in digits.iter_mut().rev() {
            // The remainder of a division by ten is one digit.
            *slot = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
            used = used.saturating_add(1);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let text = digits.get(digits.len().saturating_sub(used)..).unwrap_or_default();
        self.push(core::str::from_utf8(text).unwrap_or_default())
    }

    /// The path for a system call; `None` if it did not fit.
    #[must_use]
    pub fn as_c_str(&mut self) -> Option<&CStr> {
        if self.overflowed {
            return None;
        }
        if self.bytes.last() != Some(&0) {
            self.bytes.push(0).ok()?;
        }
        CStr::from_bytes_with_nul(&self.bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_built() {
        let mut path = SmallPath::of_number(0, "stat");
        assert_eq!(path.as_c_str(), Some(c"0/stat"));
        assert_eq!(path.as_c_str(), Some(c"0/stat"));
        let mut path =
            SmallPath::new().number(u32::MAX).push("/task/").number(1020).push("/status");
        assert_eq!(path.as_c_str(), Some(c"4294967295/task/1020/status"));
    }

    #[test]
    fn a_long_or_broken_path_is_refused() {
        assert_eq!(SmallPath::new().push(&"x".repeat(CAPACITY)).as_c_str(), None);
        assert!(SmallPath::new().push(&"x".repeat(CAPACITY - 1)).as_c_str().is_some());
        assert_eq!(SmallPath::new().push("a\0b").as_c_str(), None);
    }
}
