//! Which keys name a secret.
//!
//! A key is divided into words at what is no letter, and where upper case
//! begins (`apiKey`, `APIKey`, `db.password2`). Case does not matter. If that
//! finds nothing, case does not divide (`APIkey`, `pAsSwOrD`). Then
//!
//! 1. a word names a secret by what it is, holds, or ends in; two neighbours
//!    may do so together (`api key`); some words only as the key's last
//!    (`http_auth`, but not `auth_url`);
//! 2. a last word that describes ([`ABOUT_WORDS`]) takes it back:
//!    `token_ttl`, `password_file`; and so does a number of tokens:
//!    `max_tokens`, `tokens_per_second`. Two words at the end may withstand it
//!    ([`SECRET_LAST_PAIRS`]): `webhook_url`.
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
const SECRET_WORDS: [&str; 39] = [
    "adminpass",
    "adminpw",
    "bindpass",
    "bindpw",
    "connectionstring",
    "connstr",
    "cred",
    "creds",
    "dbpass",
    "jsessionid",
    "keymaterial",
    "keypass",
    "keystorepass",
    "ldappass",
    "mailpass",
    "mnemonic",
    "otp",
    "passwort",
    "pgpass",
    "phpsessid",
    "privkey",
    "psk",
    "pswd",
    "pw",
    "rootpass",
    "rootpw",
    "sas",
    "secreturl",
    "sessid",
    "sessionid",
    "setcookie",
    "smtppass",
    "sshpass",
    "storepass",
    "totp",
    "truststorepass",
    "userpass",
    "userpw",
    "webhookurl",
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
const SECRET_KEY_KINDS: [&str; 35] = [
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
    "enc",
    "encryption",
    "fernet",
    "hmac",
    "host",
    "jwt",
    "license",
    "master",
    "pass",
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
const SECRET_PAIRS: [(&str, &str); 8] = [
    ("conn", "str"),
    ("connection", "string"),
    ("key", "material"),
    ("pass", "code"),
    ("pass", "phrase"),
    ("pass", "wd"),
    ("pass", "word"),
    ("session", "id"),
];

/// Two words at the end of a key that are a secret, although the last only
/// describes.
const SECRET_LAST_PAIRS: [(&str, &str); 2] = [("secret", "url"), ("webhook", "url")];

/// Last words that make a key one *about* a secret: `token_ttl`,
/// `password_file`.
const ABOUT_WORDS: [&str; 34] = [
    "algorithm",
    "attempts",
    "capacity",
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
    let key = key.as_bytes();
    ends_as_group(Words::in_camel_case(key)) || ends_as_group(Words::in_any_case(key))
}

/// Whether the last of `words` says that all of a group is secret.
fn ends_as_group(words: Words<'_>) -> bool {
    let (mut last, mut last_but_one) = (Word(b""), Word(b""));
    for word in words {
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

/// [`is_secret_key`] of bytes: the name of a variable or a setting.
pub(super) fn names_secret(key: &[u8]) -> bool {
    !is_shell_directory(key) && names_secret_in_text(key)
}

/// Whether `key` is the shell's working directory, or the one before.
pub(super) fn is_shell_directory(key: &[u8]) -> bool {
    key == b"PWD" || key == b"OLDPWD"
}

/// [`names_secret`] of a name within a text, where `PWD` is a password: in
/// ODBC's `UID=sa;PWD=…`.
pub(super) fn names_secret_in_text(key: &[u8]) -> bool {
    let judgement = Judgement::of(Words::in_camel_case(key));
    if judgement.is_secret {
        return !judgement.is_about;
    }
    let undivided = Judgement::of(Words::in_any_case(key));
    // `PASSwordFile` describes, too.
    undivided.is_secret && !undivided.is_about && !judgement.is_about
}

/// What the words of a key say.
struct Judgement {
    /// A secret is named.
    is_secret: bool,
    /// The last word describes, or the whole is a number.
    is_about: bool,
}

impl Judgement {
    fn of(words: Words<'_>) -> Self {
        let mut counts = None;
        let mut is_secret = false;
        let mut is_tokens_only = true;
        let mut is_rate = false;
        let (mut last, mut last_but_one) = (Word(b""), Word(b""));
        for word in words {
            counts.get_or_insert(word.is_one_of(&COUNTING_WORDS));
            let alone = word.is_secret();
            let with_last = last.is_key_kind_of(word) || last.is_pair_with(word);
            is_secret |= alone || with_last;
            is_tokens_only &= !with_last && (!alone || word.singular().is("token"));
            is_rate |= last.is("tokens") && word.is("per");
            last_but_one = core::mem::replace(&mut last, word);
        }
        if SECRET_LAST_PAIRS.iter().any(|(a, b)| last_but_one.is(a) && last.is(b)) {
            return Judgement { is_secret: true, is_about: false };
        }
        let is_number = (counts == Some(true) || is_rate) && is_tokens_only;
        Judgement {
            is_secret: is_secret || last.is_one_of(&SECRET_LAST_WORDS),
            is_about: is_secret && is_number || last.is_one_of(&ABOUT_WORDS),
        }
    }
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
struct Words<'k> {
    key: &'k [u8],
    /// Whether a word begins at upper case.
    is_camel: bool,
}

impl<'k> Words<'k> {
    fn in_camel_case(key: &'k [u8]) -> Self {
        Words { key, is_camel: true }
    }

    fn in_any_case(key: &'k [u8]) -> Self {
        Words { key, is_camel: false }
    }
}

impl<'k> Iterator for Words<'k> {
    type Item = Word<'k>;

    fn next(&mut self) -> Option<Word<'k>> {
        let start = self.key.iter().position(u8::is_ascii_alphabetic)?;
        let key = from(self.key, start);
        let is_end = |at: usize, byte: u8| {
            !byte.is_ascii_alphabetic() || (self.is_camel && at > 0 && begins_word(key, at))
        };
        let len = key.iter().enumerate().position(|(at, &byte)| is_end(at, byte));
        let len = len.unwrap_or(key.len());
        let (word, rest) = key.split_at_checked(len)?;
        self.key = rest;
        Some(Word(word))
    }
}
