//! A program's own rules, beside those that hold everywhere.

use core::ops::Range;

use super::bytes::{from, is_key_byte, key_len};
use super::tokens::Pattern;
use super::{MASK, find, glob, keys};

/// What a reporter takes for a secret: the rules of [this module](super), and
/// what the program adds to them. Lives in a `static`, and is given to
/// [`Options::redaction`](crate::Options::redaction).
///
/// ```
/// use gmr_core::redact::{Pattern, Redaction};
///
/// static POLICY: Redaction = Redaction::new()
///     .secret_keys(&["*_pin", "license"])
///     .public_keys(&["token_count"])
///     .patterns(&[Pattern::prefixed("acme_", 20)]);
///
/// assert!(POLICY.is_secret_key("cardPin"));
/// assert!(!POLICY.is_secret_key("token_count"));
/// let mut shown = Vec::new();
/// POLICY.argument(b"--use acme_0123456789abcdefghij", |piece| shown.extend_from_slice(piece));
/// assert_eq!(shown, b"--use acme_***");
/// ```
///
/// # Keys
///
/// A key pattern is compared to the whole key. Case does not matter, nor how
/// words are divided: `*_pin` is met by `card_pin`, `cardPin` and `CARD-PIN`,
/// not by `pin` and `spin`. `*` stands for any text, also none.
///
/// Who wins: a secret key over a public one, and both over the rules that hold
/// everywhere. A public key says nothing of texts: a password in a URL is
/// masked under it, too.
///
/// # Signal safety
///
/// All methods are safe: no allocation, no lock, no panic. The time is linear
/// in the length of the text, times the number of patterns.
#[derive(Debug, Clone, Copy)]
pub struct Redaction {
    secret_keys: &'static [&'static str],
    public_keys: &'static [&'static str],
    pub(super) patterns: &'static [Pattern],
}

impl Default for Redaction {
    fn default() -> Self {
        Self::new()
    }
}

impl Redaction {
    /// The rules that hold everywhere, and no others.
    #[must_use]
    pub const fn new() -> Self {
        Redaction { secret_keys: &[], public_keys: &[], patterns: &[] }
    }

    /// Patterns of keys whose values are secret, with all that is below them.
    #[must_use]
    pub const fn secret_keys(mut self, patterns: &'static [&'static str]) -> Self {
        self.secret_keys = patterns;
        self
    }

    /// Patterns of keys that sound secret and are not: `token_count`.
    #[must_use]
    pub const fn public_keys(mut self, patterns: &'static [&'static str]) -> Self {
        self.public_keys = patterns;
        self
    }

    /// Forms of tokens that are secret wherever they stand.
    #[must_use]
    pub const fn patterns(mut self, patterns: &'static [Pattern]) -> Self {
        self.patterns = patterns;
        self
    }

    /// Whether the value under `key` is a secret, by this policy
    /// ([`is_secret_key`](super::is_secret_key) has the common rules).
    #[must_use]
    pub fn is_secret_key(&self, key: &str) -> bool {
        self.names_secret(key.as_bytes())
    }

    /// Whether everything below a map with this `key` is secret, by this policy
    /// ([`is_secret_group`](super::is_secret_group) has the common rules).
    #[must_use]
    pub fn is_secret_group(&self, key: &str) -> bool {
        self.own_judgement(key.as_bytes()).unwrap_or_else(|| keys::is_secret_group(key))
    }

    /// Tells `found` where secrets stand in `text`, by this policy
    /// ([`secret_ranges`](super::secret_ranges) has the common rules).
    pub fn secret_ranges(&self, text: &[u8], found: &mut impl FnMut(Range<usize>)) {
        find::secret_ranges(self, text, found);
    }

    /// Whether `argument` is an option whose value, a secret, is the next
    /// argument: `--token`, `-password`. Options of one letter are not known.
    #[must_use]
    pub fn takes_secret(&self, argument: &[u8]) -> bool {
        argument.strip_prefix(b"-").is_some_and(|name| {
            name.len() > 1 && name.iter().all(|&byte| is_key_byte(byte)) && self.names_secret(name)
        })
    }

    /// Gives `argument` in pieces to `write`, with each secret in it as
    /// [`MASK`]. Returns whether there was one.
    ///
    /// What follows the `=` of the argument's own key is one value to its end,
    /// since a password may hold anything: `--password=a b;c`. Everything else
    /// is left to [`secret_ranges`](Self::secret_ranges).
    pub fn argument(&self, argument: &[u8], mut write: impl FnMut(&[u8])) -> bool {
        if let Some(shown) = self.shown_of_argument(argument) {
            write(shown);
            write(MASK.as_bytes());
            return true;
        }
        self.text(argument, write)
    }

    /// What may be shown of an argument that is a secret from its sign on:
    /// `--password=`.
    pub(crate) fn shown_of_argument<'t>(&self, argument: &'t [u8]) -> Option<&'t [u8]> {
        let len = key_len(argument);
        let (shown, value) = argument.split_at_checked(len.saturating_add(1))?;
        let key = shown.strip_suffix(b"=")?;
        if value.is_empty() || !self.names_secret(key) {
            return None;
        }
        // A key that is a token itself, in which a word such as `Pw` stands by chance.
        let mut is_secret = false;
        self.secret_ranges(key, &mut |_| is_secret = true);
        Some(if is_secret { b"" } else { shown })
    }

    /// Gives `text` in pieces to `write`, with each secret in it as [`MASK`].
    /// Returns whether there was one.
    pub fn text(&self, text: &[u8], mut write: impl FnMut(&[u8])) -> bool {
        let mut done = 0usize;
        let mut masked = false;
        self.secret_ranges(text, &mut |range| {
            write(text.get(done..range.start).unwrap_or_default());
            write(MASK.as_bytes());
            masked = true;
            done = range.end;
        });
        write(from(text, done));
        masked
    }

    /// [`is_secret_key`](Self::is_secret_key) of bytes.
    pub(super) fn names_secret(&self, key: &[u8]) -> bool {
        self.own_judgement(key).unwrap_or_else(|| keys::names_secret(key))
    }

    /// Whether a name within a text is one of a secret.
    pub(super) fn names_secret_in_text(&self, key: &[u8]) -> bool {
        self.own_judgement(key).unwrap_or_else(|| keys::names_secret_in_text(key))
    }

    /// What the program itself says of a key.
    fn own_judgement(&self, key: &[u8]) -> Option<bool> {
        if glob::is_any(self.secret_keys, key) {
            Some(true)
        } else if glob::is_any(self.public_keys, key) {
            Some(false)
        } else {
            None
        }
    }
}
