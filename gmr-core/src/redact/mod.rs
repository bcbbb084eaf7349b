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
//! making that no [`Redaction`] names. Keys are understood in English and ASCII.
//!
//! # Signal safety
//!
//! Safe: no allocation, no lock, no panic. The time is linear in the length of
//! the text.

mod bytes;
mod find;
mod glob;
mod keys;
mod policy;
#[cfg(test)]
mod tests;
mod tokens;

use core::ops::Range;

pub use keys::{is_secret_group, is_secret_key};

pub use policy::Redaction;
pub use tokens::Pattern;

/// What could stand after the end of a text that was cut. Judged with this
/// after it, the text loses what the cut would hide: of `https://user:secr` the
/// host is not there to say that it is a password, and a token's rest is not
/// there to make it long enough.
pub const AFTER_CUT: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.a.a@x";

/// The rules that hold everywhere.
const COMMON: Redaction = Redaction::new();

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
///    `"token": "…"`, `user[password]=…`, `"password" => "…"`, also in a URL's
///    query, escaped (`password%3D…`), and in the lines below the key that are
///    indented deeper or in its brackets; `PWD` is a password here, unless a
///    path is assigned to it;
/// 5. what follows an option that is a secret key: `--token …`;
/// 6. what follows `Bearer`, and `Basic` if it decodes to `user:password`;
/// 7. tokens that providers gave a prefix of their own (`ghp_…`, `AKIA…`,
///    `xoxb-…`): what follows it;
/// 8. JSON web tokens (`eyJ….eyJ….…`);
/// 9. what stands beside the name of a secret,
///    `{"name": "DB_PASSWORD", "value": "…"}`, and in an element of XML,
///    `<password>…</password>`.
///
/// A [`MASK`] is no secret: a masked text stays as it is. If `text` is UTF-8,
/// ranges begin and end between characters.
pub fn secret_ranges(text: &[u8], found: &mut impl FnMut(Range<usize>)) {
    COMMON.secret_ranges(text, found);
}

/// Whether `text` ends inside a PEM private key, the rest of which may be in the
/// texts that follow.
#[must_use]
pub fn ends_in_private_key(text: &[u8]) -> bool {
    find::ends_in_private_key(text)
}

/// Where in `text` the PEM private key ends that an earlier text began; `None`:
/// not in this one, all of which belongs to it.
#[must_use]
pub fn private_key_end(text: &[u8]) -> Option<usize> {
    find::private_key_end(text)
}

/// [`Redaction::takes_secret`] by the common rules.
#[must_use]
pub fn takes_secret(argument: &[u8]) -> bool {
    COMMON.takes_secret(argument)
}

/// Whether the argument after one that [`takes_secret`] is its value, rather
/// than the next option (the first was a switch then).
#[must_use]
pub fn is_value(argument: &[u8]) -> bool {
    !argument.starts_with(b"--")
}

/// [`Redaction::argument`] by the common rules.
pub fn argument(argument: &[u8], write: impl FnMut(&[u8])) -> bool {
    COMMON.argument(argument, write)
}

/// Whether `key` is of `pattern`, in which `*` stands for any text: `LC_*`. Case
/// does not matter, nor how words are divided ([`Redaction`] compares so, too).
#[must_use]
pub fn is_key_of(pattern: &str, key: &str) -> bool {
    glob::is_match(pattern.as_bytes(), key.as_bytes())
}
