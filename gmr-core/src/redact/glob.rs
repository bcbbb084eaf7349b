//! Whether a key is of a pattern: `*_pin`, `license`.
//!
//! 1. Key and pattern are normalised while they are read ([`Normal`]): lower
//!    case, and one `_` between words, however they were divided: `userPin`,
//!    `USER-PIN` and `user.pin` all read `user_pin`;
//! 2. `*` in a pattern stands for any bytes, also none. The last `*` alone is
//!    gone back to, so that the time is linear in the key for a given pattern.

use super::bytes::{begins_word, from};

/// Whether `key` is of one of `patterns`.
pub(super) fn is_any(patterns: &[&str], key: &[u8]) -> bool {
    patterns.iter().any(|pattern| is_match(pattern.as_bytes(), key))
}

/// Whether `key` is of `pattern`.
pub(super) fn is_match(pattern: &[u8], key: &[u8]) -> bool {
    let mut pattern = Normal::pattern(pattern);
    let mut key = Normal::key(key);
    // What to go on with after the last star, and where it was tried.
    let mut star: Option<(Normal<'_>, Normal<'_>)> = None;
    loop {
        let (mut pattern_rest, mut key_rest) = (pattern, key);
        match (pattern_rest.next(), key_rest.next()) {
            (Some(STAR), _) => {
                pattern = pattern_rest;
                star = Some((pattern, key));
                continue;
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found => {
                (pattern, key) = (pattern_rest, key_rest);
                continue;
            }
            _ => {}
        }
        // The star takes one byte more.
        let Some((after_star, tried)) = &mut star else { return false };
        if tried.next().is_none() {
            return false;
        }
        (pattern, key) = (*after_star, *tried);
    }
}

/// A star in a normalised pattern. No byte of a key is one: there it divides.
const STAR: u8 = b'*';

/// The bytes of a normalised key or pattern.
#[derive(Debug, Clone, Copy)]
struct Normal<'k> {
    text: &'k [u8],
    at: usize,
    is_pattern: bool,
    /// Whether a byte came out: what divides counts only between words.
    has_begun: bool,
    /// Whether the `_` before `at` came out.
    is_divided: bool,
}

impl<'k> Normal<'k> {
    fn key(text: &'k [u8]) -> Self {
        Normal { text, at: 0, is_pattern: false, has_begun: false, is_divided: false }
    }

    fn pattern(text: &'k [u8]) -> Self {
        Normal { is_pattern: true, ..Self::key(text) }
    }

    fn is_word_byte(&self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || !byte.is_ascii() || (self.is_pattern && byte == STAR)
    }
}

impl Iterator for Normal<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let rest = from(self.text, self.at);
        let gap = rest.iter().position(|&byte| self.is_word_byte(byte))?;
        self.at = self.at.saturating_add(gap);
        let byte = self.text.get(self.at).copied()?;
        let divides = gap > 0 || begins_word(self.text, self.at);
        if divides && self.has_begun && !self.is_divided {
            self.is_divided = true;
            return Some(b'_');
        }
        self.at = self.at.saturating_add(1);
        self.has_begun = true;
        self.is_divided = false;
        Some(byte.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_normalised() {
        for key in ["user_pin", "userPin", "USER-PIN", "--user.pin", "UserPIN", "user pin_"] {
            assert!(is_match(b"user_pin", key.as_bytes()), "{key}");
            assert!(is_match(b"*_pin", key.as_bytes()), "{key}");
            assert!(is_match(b"User-Pin", key.as_bytes()), "{key}");
        }
        for key in ["userpin", "user_pins", "user", "pin", ""] {
            assert!(!is_match(b"user_pin", key.as_bytes()), "{key}");
            assert!(!is_match(b"*_pin", key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn stars() {
        for (pattern, key) in [
            ("*", ""),
            ("*", "x"),
            ("**", "x"),
            ("a*", "a"),
            ("a*c", "abc"),
            ("a*c", "acc"),
            ("*a*b*", "xaxbx"),
            ("*ab", "aab"),
            ("lc_*", "LC_ALL"),
            ("*ä*", "xäx"),
            ("pin2", "PIN2"),
            ("a*", "a*b"),
        ] {
            assert!(is_match(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        for (pattern, key) in
            [("", "x"), ("a*c", "ab"), ("*a*b*", "ba"), ("a", "*"), ("a*b", "a"), ("lc_*", "lcx")]
        {
            assert!(!is_match(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        assert!(is_match(b"", b""));
        assert!(!is_any(&[], b"x"));
        assert!(is_any(&["y", "x"], b"x"));
    }

    #[test]
    fn a_long_key_takes_linear_time() {
        let key = "ab".repeat(64 * 1024);
        assert!(!is_match(b"*a*b*a*b*c", key.as_bytes()));
        assert!(!is_match(b"*abababababababc", key.as_bytes()));
        assert!(!is_match(b"*x", "_".repeat(64 * 1024).as_bytes()));
    }
}
