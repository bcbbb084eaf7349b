//! Secrets: which keys name one, and where in a text one stands.
//!
//! A report is read by many and kept for long, so what looks like a secret is
//! masked by default: the name stays, the value becomes [`MASK`]. These are the
//! rules of the whole project, for command lines and for configurations, each a
//! pure function:
//!
//! 1. [`is_secret_key`]: whether the value under a key is a secret.
//!    `db_password`, `apiKey` and `PGPASSWORD` name one; `author`, `username`,
//!    `monkey` and `max_tokens` do not.
//! 2. [`is_secret_group`]: whether *everything below* a key is. True of
//!    `secrets` and `db_credentials`, not of `keystone_authtoken`, which is a
//!    component's name.
//! 3. [`secret_ranges`]: where secrets stand in a text: passwords in URLs and
//!    in `user:password@host`, values after `password=` and `--token`, what
//!    follows `Bearer`, bodies of private keys.
//! 4. [`argument`]: one argument of a command line. [`takes_secret`]: whether
//!    the *next* argument is a secret (`--token X`).
//!
//! In doubt a value is masked: a mask too many costs a look into the
//! configuration, a secret too many costs the secret.
//!
//! ```
//! use gmr_core::redact;
//!
//! assert!(redact::is_secret_key("dbPassword"));
//! let mut shown = Vec::new();
//! redact::argument(b"--db=postgres://app:hunter2@db/app", |piece| {
//!     shown.extend_from_slice(piece);
//! });
//! assert_eq!(shown, b"--db=postgres://app:***@db/app");
//! ```
//!
//! # Limitations
//!
//! It cannot know a secret that nothing names: a password given as a bare
//! argument, as `-pX` or `-u user:X`, or under a key of the program's own
//! making. Keys are understood in English and ASCII.
//!
//! # Signal safety
//!
//! Safe: no allocation, no lock, no panic. The time is linear in the length of
//! the text.

mod bytes;
mod find;
mod keys;
#[cfg(test)]
mod tests;

use core::ops::Range;

pub use keys::{is_secret_group, is_secret_key};

use bytes::{from, is_key_byte, key_len};
use find::FINDERS;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Tells `found` where the secrets in `text` stand: ranges of bytes that are
/// not empty, ascend, and neither overlap nor touch.
///
/// Found are
///
/// 1. bodies of PEM private keys, to the end of the text if one is cut short;
/// 2. the password of each `scheme://user:password@host`, and in HTTP URLs a
///    user without a password, which is a token;
/// 3. `user:password@host` without a scheme;
/// 4. what is assigned to a secret key ([`is_secret_key`]): `password=…`,
///    `"token": "…"`, also in a URL's query;
/// 5. what follows an option that is a secret key: `--token …`;
/// 6. what follows `Bearer`, and `Basic` if it decodes to `user:password`.
///
/// A [`MASK`] is no secret: a masked text stays as it is. If `text` is UTF-8,
/// ranges begin and end between characters.
pub fn secret_ranges(text: &[u8], found: &mut impl FnMut(Range<usize>)) {
    let mut finders = FINDERS.map(|find| {
        let mut at = 0;
        Finder { find, next: find(text, &mut at), at }
    });
    // Each turn takes what is next of at least one finder, and each finder
    // only goes forward.
    while let Some(first) = finders
        .iter_mut()
        .filter(|finder| finder.next.is_some())
        .min_by_key(|finder| finder.next.as_ref().map(|range| range.start))
    {
        let Some(mut range) = first.take(text) else { return };
        // Where several overlap, one mask covers all.
        while let Some(other) = finders
            .iter_mut()
            .find(|finder| finder.next.as_ref().is_some_and(|next| next.start <= range.end))
        {
            let Some(next) = other.take(text) else { return };
            range.end = range.end.max(next.end);
        }
        if text.get(range.clone()).is_some_and(|it| !it.is_empty() && it != MASK.as_bytes()) {
            found(range);
        }
    }
}

/// One way to find secrets, and how far it has come.
struct Finder {
    find: find::Find,
    at: usize,
    next: Option<Range<usize>>,
}

impl Finder {
    fn take(&mut self, text: &[u8]) -> Option<Range<usize>> {
        let next = (self.find)(text, &mut self.at);
        core::mem::replace(&mut self.next, next)
    }
}

/// Whether `argument` is an option whose value, a secret, is the next
/// argument: `--token`, `-password`. Options of one letter are not known.
#[must_use]
pub fn takes_secret(argument: &[u8]) -> bool {
    argument.strip_prefix(b"-").is_some_and(|name| {
        name.len() > 1 && name.iter().all(|&byte| is_key_byte(byte)) && keys::names_secret(name)
    })
}

/// Whether the argument after one that [`takes_secret`] is its value, rather
/// than the next option (the first was a switch then).
#[must_use]
pub fn is_value(argument: &[u8]) -> bool {
    !argument.starts_with(b"--")
}

/// Gives `argument` in pieces to `write`, with each secret in it as [`MASK`].
/// Returns whether there was one.
///
/// What follows the `=` of the argument's own key is one value to its end,
/// since a password may hold anything: `--password=a b;c`. Everything else is
/// left to [`secret_ranges`].
pub fn argument(argument: &[u8], mut write: impl FnMut(&[u8])) -> bool {
    let (key, rest) = argument.split_at_checked(key_len(argument)).unwrap_or_default();
    if let [b'=', _, ..] = rest
        && keys::names_secret(key)
    {
        write(key);
        write(b"=");
        write(MASK.as_bytes());
        return true;
    }
    let mut done = 0usize;
    let mut masked = false;
    secret_ranges(argument, &mut |range| {
        write(argument.get(done..range.start).unwrap_or_default());
        write(MASK.as_bytes());
        masked = true;
        done = range.end;
    });
    write(from(argument, done));
    masked
}
