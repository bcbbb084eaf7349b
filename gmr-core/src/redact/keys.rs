//! Which keys name a secret.
//!
//! A key is divided into words at what is no letter, and where upper case
//! begins (`apiKey`, `APIKey`, `db.password2`). Case does not matter. Then
//!
//! 1. a word names a secret by what it is, holds, or ends in; two neighbours
//!    may do so together (`api key`); some words only as the key's last
//!    (`http_auth`, but not `auth_url`);
//! 2. a last word that describes ([`ABOUT_WORDS`]) takes it back:
//!    `token_ttl`, `password_file`; and so does a number of tokens:
//!    `max_tokens`.
//!
//! A group ([`is_secret_group`]) is told by its last word alone, and that word
//! has to say what all of the group is: `api_tokens`, `credentials`. A word
//! that merely ends in `token`, as `authtoken` does, names a component.

use super::bytes::{begins_word, ends_with, from};

/// Name a secret wherever they stand within a word.
const SECRET_PARTS: [&str; 6] =
    ["password", "passwd", "passphrase", "passcode", "apikey", "credential"];

/// Name a secret where a word ends so, also in the plural. Not where it begins
/// so: tokenizer.
const SECRET_ENDINGS: [&str; 3] = ["secret", "token", "pwd"];

/// Names a secret where a word begins so: `secretkeybase`.
const SECRET_BEGINNING: &str = "secret";

/// Name a secret as whole words.
const SECRET_WORDS: [&str; 20] = [
    "connectionstring",
    "connstr",
    "cred",
    "creds",
    "dbpass",
    "mnemonic",
    "otp",
    "passwort",
    "pgpass",
    "privkey",
    "psk",
    "pswd",
    "pw",
    "sas",
    "setcookie",
    "smtppass",
    "sshpass",
    "totp",
    "userpass",
    "rootpass",
];

/// Innocent words that the rules above would catch.
const INNOCENT_WORDS: [&str; 5] =
    ["secretary", "secretariat", "secretion", "passwordless", "passwordfree"];

/// Name a secret as the last word only: `pass_through`, `cookie_name` and
/// `auth_url` do not.
const SECRET_LAST_WORDS: [&str; 9] =
    ["auth", "authorization", "bearer", "cookie", "cookies", "jwt", "pass", "sig", "signature"];

/// Keys (in the sense of locks) that are secret; `public_key`, `primary_key`,
/// `routing_key` are not. Matched before `key` and `keys`, apart or joined.
const SECRET_KEY_KINDS: [&str; 32] = [
    "access",
    "account",
    "admin",
    "aes",
    "api",
    "auth",
    "cipher",
    "client",
    "cookie",
    "crypto",
    "decryption",
    "deploy",
    "encryption",
    "hmac",
    "host",
    "jwt",
    "license",
    "master",
    "priv",
    "private",
    "root",
    "rsa",
    "secret",
    "service",
    "session",
    "shared",
    "sign",
    "signing",
    "ssh",
    "storage",
    "symmetric",
    "webhook",
];

/// Two words that are one secret word, the second also in the plural.
const SECRET_PAIRS: [(&str, &str); 6] = [
    ("conn", "str"),
    ("connection", "string"),
    ("pass", "code"),
    ("pass", "phrase"),
    ("pass", "wd"),
    ("pass", "word"),
];

/// Last words that make a key one *about* a secret: `token_ttl`,
/// `password_file`.
const ABOUT_WORDS: [&str; 33] = [
    "algorithm",
    "attempts",
    "count",
    "days",
    "dir",
    "directory",
    "enabled",
    "endpoint",
    "expiration",
    "expires",
    "expiry",
    "file",
    "hours",
    "interval",
    "length",
    "lifetime",
    "limit",
    "minutes",
    "ms",
    "path",
    "policy",
    "required",
    "retries",
    "rotation",
    "seconds",
    "secs",
    "size",
    "timeout",
    "ttl",
    "type",
    "uri",
    "url",
    "years",
];

/// First words that make a key one about a number: `max_tokens`.
const COUNTING_WORDS: [&str; 5] = ["max", "min", "num", "count", "total"];

/// Say of a group, as the last word of its key, that all of it is secret. The
/// plural of a word that is one only in the plural (`cookies`) stands as such.
const GROUP_WORDS: [&str; 9] = [
    "cookies",
    "cred",
    "credential",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "token",
];

/// Say so also as the end of a joined word: `dbcredentials`. Not `token`:
/// `authtoken` names a component.
const GROUP_ENDINGS: [&str; 5] = ["credential", "passphrase", "passwd", "password", "secret"];

/// Whether the value under `key` (`db_password`, `--api-key`, `clientSecret`)
/// is a secret, whatever its type.
///
/// What only describes a secret is none: `token_ttl`, `password_file`,
/// `token_url`, `max_tokens`.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    names_secret(key.as_bytes())
}

/// Whether everything below a map with this `key` is secret, whatever the keys
/// inside: `secrets`, `db_credentials`, `apiTokens`, `password`, `api_keys`.
///
/// The *last* word decides, and has to be such a word itself. So
/// `keystone_authtoken`, `secret_store` and `token_cache` are not masked as a
/// whole: inside them each key is judged by itself ([`is_secret_key`]).
///
/// ```
/// use gmr_core::redact::{is_secret_group, is_secret_key};
///
/// // A text under this key is masked, but not all of a map.
/// assert!(is_secret_key("keystone_authtoken"));
/// assert!(!is_secret_group("keystone_authtoken"));
/// assert!(is_secret_group("credentials"));
/// ```
#[must_use]
pub fn is_secret_group(key: &str) -> bool {
    if !is_secret_key(key) {
        return false;
    }
    let (mut last, mut last_but_one) = (Word(b""), Word(b""));
    for word in Words(key.as_bytes()) {
        last_but_one = core::mem::replace(&mut last, word);
    }
    let plain = last.singular();
    let is = |words: &[&str]| last.is_one_of(words) || plain.is_one_of(words);
    let ends = |word: Word<'_>| GROUP_ENDINGS.iter().any(|end| ends_with(word.0, end.as_bytes()));
    is(&GROUP_WORDS)
        || last.is("creds")
        || ends(last)
        || ends(plain)
        || last.is_joined_key()
        || last_but_one.is_key_kind_of(last)
        || last_but_one.is_pair_with(last)
}

/// [`is_secret_key`] of bytes.
pub(super) fn names_secret(key: &[u8]) -> bool {
    // The shell's working directory.
    if key == b"PWD" || key == b"OLDPWD" {
        return false;
    }
    let mut counts = None;
    let mut is_secret = false;
    let mut is_tokens_only = true;
    let mut last = Word(b"");
    for word in Words(key) {
        counts.get_or_insert(word.is_one_of(&COUNTING_WORDS));
        let alone = word.is_secret();
        let with_last = last.is_key_kind_of(word) || last.is_pair_with(word);
        is_secret |= alone || with_last;
        is_tokens_only &= !with_last && (!alone || word.singular().is("token"));
        last = word;
    }
    if is_secret {
        let is_number = counts == Some(true) && is_tokens_only;
        return !(is_number || last.is_one_of(&ABOUT_WORDS));
    }
    last.is_one_of(&SECRET_LAST_WORDS)
}

/// A word of a key, in whatever case.
#[derive(Clone, Copy)]
struct Word<'k>(&'k [u8]);

impl Word<'_> {
    fn is(self, word: &str) -> bool {
        self.0.eq_ignore_ascii_case(word.as_bytes())
    }

    fn is_one_of(self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Without an `s` at the end.
    fn singular(self) -> Self {
        match self.0 {
            [stem @ .., b's' | b'S'] => Word(stem),
            word => Word(word),
        }
    }

    /// `privatekey`, `apikeys`.
    fn is_joined_key(self) -> bool {
        let word = self.singular().0;
        let kind = word.len().checked_sub(3).and_then(|len| word.split_at_checked(len));
        kind.is_some_and(|(kind, key)| Word(kind).is_key_kind_of(Word(key)))
    }

    /// `private` before `key`.
    fn is_key_kind_of(self, next: Word<'_>) -> bool {
        next.singular().is("key") && self.is_one_of(&SECRET_KEY_KINDS)
    }

    /// `connection` before `string`.
    fn is_pair_with(self, next: Word<'_>) -> bool {
        SECRET_PAIRS.iter().any(|(a, b)| self.is(a) && (next.is(b) || next.singular().is(b)))
    }

    fn is_secret(self) -> bool {
        if self.is_one_of(&INNOCENT_WORDS) {
            return false;
        }
        let singular = self.singular();
        SECRET_PARTS.iter().any(|part| self.holds(part))
            || SECRET_ENDINGS.iter().any(|end| {
                ends_with(self.0, end.as_bytes()) || ends_with(singular.0, end.as_bytes())
            })
            || super::bytes::starts_with(self.0, SECRET_BEGINNING.as_bytes())
            || self.is_one_of(&SECRET_WORDS)
            || self.is_joined_key()
    }

    fn holds(self, part: &str) -> bool {
        self.0.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    }
}

/// The words of a key.
struct Words<'k>(&'k [u8]);

impl<'k> Iterator for Words<'k> {
    type Item = Word<'k>;

    fn next(&mut self) -> Option<Word<'k>> {
        let start = self.0.iter().position(u8::is_ascii_alphabetic)?;
        let key = from(self.0, start);
        let is_end =
            |at: usize, byte: u8| !byte.is_ascii_alphabetic() || (at > 0 && begins_word(key, at));
        let len = key.iter().enumerate().position(|(at, &byte)| is_end(at, byte));
        let len = len.unwrap_or(key.len());
        let (word, rest) = key.split_at_checked(len)?;
        self.0 = rest;
        Some(Word(word))
    }
}
