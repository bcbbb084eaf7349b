//! Secrets: which keys name one, and where in a text one stands.
//!
//! A report is read by many and kept for long, so what looks like a secret is
//! masked by default: the name stays, the value becomes [`MASK`]. The rules,
//! each a pure function:
//!
//! 1. [`is_secret_key`]: a key names a secret if one of its words does.
//!    `db_password`, `apiKey` and `PGPASSWORD` do; `author`, `keyboard`,
//!    `monkey` and `max_tokens` do not.
//! 2. [`url_credentials`]: the password in `scheme://user:password@host`.
//! 3. [`argument`]: one argument of a command line; besides the two above
//!    `KEY=VALUE`, `key: value`, `--key value`, `Bearer TOKEN` and private
//!    keys, wherever they stand in it.
//! 4. [`takes_secret`]: whether the *next* argument is a secret
//!    (`--token X`).
//!
//! In doubt a value is masked: a mask too many costs a look into the
//! configuration, a secret too many costs the secret.
//!
//! # Limitations
//!
//! It cannot know a secret that nothing names: a password given as a bare
//! argument, as `-pX` or `-u user:X`, or under a key of the program's own
//! making. Keys are understood in English and ASCII.
//!
//! # Signal safety
//!
//! Safe: no allocation, no lock, no panic. The time is quadratic in the length
//! of an argument at worst, so long command lines are read at setup.

use core::ops::Range;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Longest word of a key that is looked at; no word of the lists is longer.
const MAX_WORD_BYTES: usize = 32;

/// Words that name a secret wherever they stand in a key.
const SECRET_WORDS: [&str; 35] = [
    "accesskey",
    "accountkey",
    "apikey",
    "authkey",
    "bearer",
    "connectionstring",
    "connstr",
    "credential",
    "credentials",
    "creds",
    "dbpass",
    "encryptionkey",
    "jwt",
    "masterkey",
    "otp",
    "pass",
    "passcode",
    "passwords",
    "passwort",
    "pgpass",
    "privatekey",
    "privkey",
    "pswd",
    "pw",
    "pwd",
    "sas",
    "secretkey",
    "setcookie",
    "signingkey",
    "smtppass",
    "sshkey",
    "sshpass",
    "sharedkey",
    "token",
    "tokens",
];

/// Word beginnings that name a secret: `passwordhash`, `secrets`.
const SECRET_PREFIXES: [&str; 5] = ["password", "passwd", "passphrase", "secret", "credential"];

/// Word ends that name a secret: `pgpassword`, `clientsecret`, `authtoken`.
const SECRET_SUFFIXES: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "apikey",
    "secretkey",
    "credentials",
];

/// Innocent words that the beginnings and ends would catch.
const INNOCENT_WORDS: [&str; 4] = ["secretary", "secretariat", "secretion", "passwordless"];

/// Two words in a row that name a secret together.
const SECRET_PAIRS: [(&str, &str); 20] = [
    ("access", "key"),
    ("account", "key"),
    ("api", "key"),
    ("api", "keys"),
    ("auth", "key"),
    ("client", "key"),
    ("conn", "str"),
    ("connection", "string"),
    ("connection", "strings"),
    ("encryption", "key"),
    ("hmac", "key"),
    ("host", "key"),
    ("license", "key"),
    ("master", "key"),
    ("pass", "word"),
    ("private", "key"),
    ("session", "key"),
    ("shared", "key"),
    ("signing", "key"),
    ("ssh", "key"),
];

/// Words that name a secret only as a key's last: `http_auth` does,
/// `auth_url` does not.
const SECRET_LAST_WORDS: [&str; 6] =
    ["auth", "authorization", "cookie", "cookies", "signature", "sig"];

/// Last words that make a key one *about* a secret: `token_ttl`,
/// `password_file`.
const ABOUT_WORDS: [&str; 26] = [
    "algorithm",
    "attempts",
    "count",
    "dir",
    "directory",
    "enabled",
    "endpoint",
    "expiration",
    "expires",
    "expiry",
    "file",
    "interval",
    "length",
    "lifetime",
    "limit",
    "path",
    "policy",
    "required",
    "rotation",
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

/// Whether `key` (`db_password`, `--api-key`, `clientSecret`) names a secret.
///
/// A key's words are divided by what is neither letter nor digit, and where
/// upper case begins (`apiKey`, `APIKey`). Case does not matter.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    names_secret(key.as_bytes())
}

/// [`is_secret_key`] of bytes.
fn names_secret(key: &[u8]) -> bool {
    // The shell's working directory.
    if key == b"PWD" || key == b"OLDPWD" {
        return false;
    }
    let mut secret = false;
    let mut counting = false;
    let mut previous = Word::EMPTY;
    let mut rest = key;
    let mut is_first = true;
    while let Some((word, after)) = next_word(rest) {
        let word = Word::of(word);
        if is_first {
            counting = word.is_one_of(&COUNTING_WORDS);
            is_first = false;
        }
        secret |= word.is_secret();
        secret |= SECRET_PAIRS.iter().any(|(a, b)| previous.is(a) && word.is(b));
        previous = word;
        rest = after;
    }
    // `previous` is the last word now.
    if secret {
        let is_number = counting && previous.is_one_of(&["token", "tokens"]);
        return !(is_number || previous.is_one_of(&ABOUT_WORDS));
    }
    previous.is_one_of(&SECRET_LAST_WORDS)
}

/// One word of a key, in lower case.
struct Word {
    bytes: [u8; MAX_WORD_BYTES],
    len: usize,
}

impl Word {
    const EMPTY: Self = Word { bytes: [0; MAX_WORD_BYTES], len: 0 };

    /// A longer word keeps its end: that is where `…password` stands.
    fn of(word: &[u8]) -> Self {
        let from = word.len().saturating_sub(MAX_WORD_BYTES);
        let word = word.get(from..).unwrap_or_default();
        let mut this = Self::EMPTY;
        for (slot, byte) in this.bytes.iter_mut().zip(word) {
            *slot = byte.to_ascii_lowercase();
        }
        this.len = word.len();
        this
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn is(&self, word: &str) -> bool {
        self.as_bytes() == word.as_bytes()
    }

    fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    fn is_secret(&self) -> bool {
        // `password2`, `token1`.
        let digits = self.as_bytes().iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let end = self.len.saturating_sub(digits);
        let stem = Word { bytes: self.bytes, len: end };
        let bytes = stem.as_bytes();
        !stem.is_one_of(&INNOCENT_WORDS)
            && (stem.is_one_of(&SECRET_WORDS)
                || SECRET_PREFIXES.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()))
                || SECRET_SUFFIXES.iter().any(|suffix| bytes.ends_with(suffix.as_bytes())))
    }
}

/// The next word of a key and what follows it.
fn next_word(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = key.iter().position(u8::is_ascii_alphanumeric)?;
    let key = key.get(start..)?;
    let mut len = 0usize;
    let mut previous = 0u8;
    let mut bytes = key.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let next_is_lower = bytes.peek().is_some_and(u8::is_ascii_lowercase);
        // `dbPassword`: before P. `APIKey`: before K.
        let begins = byte.is_ascii_uppercase()
            && (previous.is_ascii_lowercase()
                || previous.is_ascii_digit()
                || (previous.is_ascii_uppercase() && next_is_lower));
        if !byte.is_ascii_alphanumeric() || begins {
            break;
        }
        previous = byte;
        len = len.saturating_add(1);
    }
    key.split_at_checked(len)
}

/// Where the first password in a URL of `text` stands: of
/// `scheme://user:password@host` the bytes of `password`.
///
/// - A user without a password is left (`ssh://git@host`), but not in an HTTP
///   URL, where a lone user, one with an empty password, or with the password
///   `x-oauth-basic`, is a token.
/// - A password with a bare `/`, `?` or `#` in it ends at the `@` all the
///   same, unless what stands before the slash could be a port.
///
/// For further URLs, search again from the range's end.
#[must_use]
pub fn url_credentials(text: &[u8]) -> Option<Range<usize>> {
    let mut from = 0usize;
    loop {
        let rest = text.get(from..)?;
        let at = rest.windows(3).position(|window| window == b"://")?;
        let scheme = from.checked_add(at)?;
        let start = scheme.checked_add(3)?;
        let before = text.get(..scheme)?;
        if let Some(range) = authority_credentials(text.get(start..)?, is_http(before)) {
            return Some(start.checked_add(range.start)?..start.checked_add(range.end)?);
        }
        from = start;
    }
}

/// Whether the scheme that ends `before` is `http`, `https` or ends in it
/// (`git+https`).
fn is_http(before: &[u8]) -> bool {
    [&b"http"[..], b"https"].iter().any(|scheme| {
        before
            .len()
            .checked_sub(scheme.len())
            .and_then(|from| before.get(from..))
            .is_some_and(|end| end.eq_ignore_ascii_case(scheme))
    })
}

/// The secret part of what follows `://`, relative to it.
fn authority_credentials(text: &[u8], is_http: bool) -> Option<Range<usize>> {
    let ends_url =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>');
    let url = text.get(..text.iter().position(ends_url).unwrap_or(text.len()))?;
    // The next URL in the same word (a list of them) is another one's.
    let url = match url.windows(3).position(|window| window == b"://") {
        Some(next) => url.get(..next)?,
        None => url,
    };
    let ends_authority = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    let authority_len = url.iter().position(ends_authority).unwrap_or(url.len());
    let authority = url.get(..authority_len)?;
    let last_at = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte == b'@');
    let user_info_len = match last_at(authority) {
        Some(at) => at,
        None => {
            // `user:pa/ss@host`, but not `host:80/@x` and not `[::1]/@x`.
            let colon = authority.iter().position(|&byte| byte == b':')?;
            let after = authority.get(colon.checked_add(1)?..)?;
            let is_port = after.iter().all(u8::is_ascii_digit) && !after.is_empty();
            if is_port || authority.starts_with(b"[") {
                return None;
            }
            last_at(url)?
        }
    };
    let user_info = url.get(..user_info_len)?;
    let (start, password) = match user_info.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let start = colon.checked_add(1)?;
            (start, user_info.get(start..)?)
        }
        None => (user_info_len, &[][..]),
    };
    let user_is_token = is_http && (password.is_empty() || password == b"x-oauth-basic");
    let range = if user_is_token { 0..user_info_len } else { start..user_info_len };
    (!range.is_empty()).then_some(range)
}

/// Whether `argument` is an option whose value, a secret, is the next
/// argument: `--token`, `-password`. Options of one letter are not known.
#[must_use]
pub fn takes_secret(argument: &[u8]) -> bool {
    argument.strip_prefix(b"-").is_some_and(|name| {
        name.len() > 1 && name.iter().all(|&byte| is_key_byte(byte)) && names_secret(name)
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
pub fn argument(argument: &[u8], mut write: impl FnMut(&[u8])) -> bool {
    let mut rest = argument;
    let mut masked = false;
    // Each turn takes something off `rest`, which ends the loop.
    while let Some(secret) = first_secret(rest, !masked) {
        let (Some(before), Some(after)) = (rest.get(..secret.start), rest.get(secret.end..)) else {
            break;
        };
        write(before);
        write(MASK.as_bytes());
        masked = true;
        rest = after;
    }
    write(rest);
    masked
}

/// The first secret in `text`, never empty. `whole`: the text is an argument
/// from its beginning.
fn first_secret(text: &[u8], whole: bool) -> Option<Range<usize>> {
    if text.windows(16).any(|window| window == b"PRIVATE KEY-----") {
        return Some(0..text.len());
    }
    let candidates = [url_credentials(text), named_value(text, whole), scheme_token(text)];
    let found = || candidates.iter().flatten();
    let start = found().map(|range| range.start).min()?;
    // Where two overlap, one mask covers both: a URL that is a secret's value
    // may have its password cut at a comma.
    let end = found().filter(|range| range.start == start).map(|range| range.end).max()?;
    let end = found().filter(|range| range.start <= end).map(|range| range.end).max()?;
    Some(start..end)
}

const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The value of the first secret key in `text`.
fn named_value(text: &[u8], whole: bool) -> Option<Range<usize>> {
    let mut key_start = 0usize;
    while key_start < text.len() {
        let rest = text.get(key_start..)?;
        let key_len = rest.iter().position(|&byte| !is_key_byte(byte)).unwrap_or(rest.len());
        let key = rest.get(..key_len)?;
        let key_end = key_start.checked_add(key_len)?;
        if key_len > 0
            && names_secret(key)
            && let Some(range) = value_of(text, key_start, key_end, whole)
        {
            return Some(range);
        }
        key_start = key_end.saturating_add(1);
    }
    None
}

/// The value after the secret key at `key_start..key_end`.
///
/// - `=` or `:` follows, perhaps after a closing quote: the value. After `=` of
///   an argument's own key it is all of the rest, since a password may hold
///   anything; further inside it ends where a value does.
/// - White space follows and the key is an option: the next word.
fn value_of(text: &[u8], key_start: usize, key_end: usize, whole: bool) -> Option<Range<usize>> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let skip = |from: usize, wanted: &dyn Fn(&u8) -> bool| -> Option<usize> {
        let rest = text.get(from..)?;
        from.checked_add(rest.iter().position(|byte| !wanted(byte)).unwrap_or(rest.len()))
    };
    let before = key_start.checked_sub(1).and_then(|at| text.get(at)).copied();
    let after_quote = skip(key_end, &|byte| matches!(byte, b'"' | b'\''))?;
    let separator_at = skip(after_quote, &is_space)?;
    let separator = text.get(separator_at).copied();
    let is_option = text.get(key_start) == Some(&b'-');
    let start = match separator {
        Some(b'=') => separator_at.checked_add(1)?,
        // `http://token:80` is a host and its port.
        Some(b':') if before != Some(b'/') => separator_at.checked_add(1)?,
        Some(_) if is_option && separator_at > key_end => separator_at,
        _ => return None,
    };
    if separator == Some(b'=') && whole && key_start == 0 && separator_at == key_end {
        return (start < text.len()).then_some(start..text.len());
    }
    let start = skip(start, &is_space)?;
    let quote = text.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let start = if quote.is_some() { start.checked_add(1)? } else { start };
    let value = text.get(start..)?;
    let ends = |byte: &u8| match (quote, separator) {
        (Some(quote), _) => *byte == quote,
        // A header's value has words: `Authorization: Basic abc`.
        (None, Some(b':')) => matches!(byte, b'\n' | b'\r' | b'"' | b'\'' | b',' | b'}'),
        _ => byte.is_ascii_whitespace() || matches!(byte, b'&' | b'"' | b'\'' | b',' | b';' | b'}'),
    };
    let end = start.checked_add(value.iter().position(ends).unwrap_or(value.len()))?;
    (start < end).then_some(start..end)
}

/// What follows `Bearer ` or `Basic ` as a word.
fn scheme_token(text: &[u8]) -> Option<Range<usize>> {
    [&b"bearer "[..], b"basic "]
        .into_iter()
        .filter_map(|scheme| {
            let at = text
                .windows(scheme.len())
                .position(|window| window.eq_ignore_ascii_case(scheme))?;
            let is_word = at
                .checked_sub(1)
                .and_then(|before| text.get(before))
                .is_none_or(|&byte| !is_key_byte(byte));
            let start = at.checked_add(scheme.len())?;
            let token = text.get(start..)?;
            let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
            let len = token.iter().position(ends).unwrap_or(token.len());
            // `basic authentication` is prose; a token is long.
            (is_word && len >= MIN_TOKEN_BYTES).then_some(start..start.checked_add(len)?)
        })
        .min_by_key(|range| range.start)
}

/// Shortest word after `Bearer` that is taken for a token.
const MIN_TOKEN_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        let mut out = Vec::new();
        let _masked = argument(text.as_bytes(), |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secret_keys() {
        for key in [
            "password",
            "PASSWORD",
            "db_password",
            "dbPassword",
            "DB-PASSWORD",
            "db.password",
            "PGPASSWORD",
            "MYSQL_PWD",
            "passwd",
            "admin_passwd",
            "pass",
            "DB_PASS",
            "passphrase",
            "secret",
            "client_secret",
            "clientSecret",
            "secrets",
            "AWS_SECRET_ACCESS_KEY",
            "SECRET_KEY_BASE",
            "token",
            "access_token",
            "accessToken",
            "authtoken",
            "GITHUB_TOKEN",
            "token2",
            "apikey",
            "api_key",
            "api-key",
            "apiKey",
            "APIKey",
            "API_KEYS",
            "x-api-key",
            "access_key",
            "private_key",
            "privateKey",
            "credential",
            "credentials",
            "GOOGLE_CREDS",
            "auth",
            "basic_auth",
            "authorization",
            "Proxy-Authorization",
            "connection_string",
            "ConnectionString",
            "connection string",
            "encryption_key",
            "password_hash",
            "jwt",
            "session_key",
            "--password",
            "signingKey",
            "max_password",
            "cookie",
            "averyveryveryveryveryveryveryverylongpassword",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "",
            "author",
            "authority",
            "authors",
            "keyboard",
            "monkey",
            "key",
            "keys",
            "PWD",
            "OLDPWD",
            "user",
            "path",
            "compass",
            "bypass",
            "passenger",
            "passive",
            "secretary",
            "tokenizer",
            "auth_url",
            "auth_type",
            "auth_strategy",
            "token_ttl",
            "password_file",
            "max_tokens",
            "public_key",
            "primary_key",
            "key_file",
            "foreign-key",
            "host",
            "spin",
            "pinned",
            "turkey",
            "hotkey",
            "donkey",
            "partition_key",
            "basic",
            "keepalive",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn passwords_in_urls() {
        for (url, secret) in [
            ("postgres://user:pw@host/db", Some("pw")),
            ("see redis://:pw@host:6379/0 there", Some("pw")),
            ("postgres://user:p@ss:w@host/db", Some("p@ss:w")),
            ("mongodb://u:pw@h1:1,h2:2/db", Some("pw")),
            ("amqp://u:pw@[::1]:5672", Some("pw")),
            ("redis://:pa/s?s#@host", Some("pa/s?s#")),
            ("a://h/ b://u:pw@h", Some("pw")),
            ("http://h:80,http://u:pw@h", Some("pw")),
            ("https://ghp_abc@github.com/x", Some("ghp_abc")),
            ("https://sk_live:@api.example.com", Some("sk_live:")),
            ("https://tok:x-oauth-basic@github.com", Some("tok:x-oauth-basic")),
            ("git+HTTPS://tok@github.com", Some("tok")),
            ("ssh://git@github.com/x", None),
            ("https://host:8080/@user", None),
            ("https://host/path@v1", None),
            ("http://[::1]:80/@x", None),
            ("https://@host", None),
            ("postgres://user:@host", None),
            ("user:pw@host", None),
            ("://", None),
            ("", None),
        ] {
            let found = url_credentials(url.as_bytes()).map(|range| &url[range]);
            assert_eq!(found, secret, "{url}");
        }
    }

    #[test]
    fn arguments() {
        for (text, expected) in [
            ("--password=hunter2", "--password=***"),
            ("--password=a b;c&d,e", "--password=***"),
            ("--password=", "--password="),
            ("DB_PASSWORD=x", "DB_PASSWORD=***"),
            ("--db-url=postgres://u:pw@h/d", "--db-url=postgres://u:***@h/d"),
            ("postgres://u:a@h postgres://u:b@h", "postgres://u:***@h postgres://u:***@h"),
            ("host=h password=pw dbname=d", "host=h password=*** dbname=d"),
            ("Server=h;Password=pw;Timeout=3", "Server=h;Password=***;Timeout=3"),
            ("https://h/x?a=1&access_token=pw&b=2", "https://h/x?a=1&access_token=***&b=2"),
            ("Authorization: Bearer abcdef123", "Authorization: ***"),
            ("--header=X: Bearer abcdef123", "--header=X: Bearer ***"),
            (
                "{\"password\": \"p w\", \"user\": \"u\"}",
                "{\"password\": \"***\", \"user\": \"u\"}",
            ),
            ("mysql --password hunter2 db", "mysql --password *** db"),
            ("export TOKEN='a b'; run", "export TOKEN='***'; run"),
            ("http://token:80/x", "http://token:80/x"),
            ("--author=me", "--author=me"),
            ("--keyboard=us", "--keyboard=us"),
            ("basic training", "basic ***"),
            ("--password", "--password"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc", "***"),
            ("/usr/bin/daemon", "/usr/bin/daemon"),
            ("", ""),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
    }

    #[test]
    fn options_that_take_a_secret() {
        for option in ["--token", "-token", "--db-password", "--apiKey", "-setcookie"] {
            assert!(takes_secret(option.as_bytes()), "{option}");
        }
        for option in ["--tokens-file", "-p", "token", "--author", "--token=x", "--", "-", ""] {
            assert!(!takes_secret(option.as_bytes()), "{option}");
        }
        assert!(is_value(b"hunter2") && is_value(b"-x") && !is_value(b"--verbose"));
    }

    /// What a canary is hidden in. It must not come out.
    const CANARY: &str = "cAnArY123";

    proptest! {
        #[test]
        fn a_canary_never_sings(
            before in "[a-z ]{0,12}",
            prefix in prop::sample::select(&["db_", "my-", "x.", ""][..]),
            key in prop::sample::select(&["password", "token", "api_key", "Secret", "passwd"][..]),
            separator in prop::sample::select(&["=", ": ", ":", " = ", "=\"", "='"][..]),
            after in "([ ,;&].{0,20})?",
        ) {
            let text = std::format!("{before} {prefix}{key}{separator}{CANARY}{after}");
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
            let whole = std::format!("--{prefix}{key}={before}{CANARY}{after}");
            prop_assert_eq!(redacted(&whole), std::format!("--{prefix}{key}=***"));
        }

        #[test]
        fn a_canary_in_a_url_never_sings(
            before in "\\PC{0,20}",
            scheme in "[a-z]{1,8}",
            user in "[a-z0-9]{0,6}",
            junk in "[!-~&&[^\"'<>@]]{0,6}",
            after in "[a-z.:0-9/]{0,20}",
        ) {
            prop_assume!(!junk.contains("://"));
            let text = std::format!("{before} {scheme}://{user}:{CANARY}{junk}@{after}");
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
        }

        #[test]
        fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut len = 0usize;
            let masked = argument(&text, |piece| len += piece.len());
            prop_assert!(masked || len == text.len());
            let _key = takes_secret(&text);
            if let Some(range) = url_credentials(&text) {
                prop_assert!(range.start < range.end && range.end <= text.len());
            }
        }

        #[test]
        fn a_canary_after_an_option_never_sings(
            before in "([a-z]{1,5}|[:/@=&,; -]){0,8}",
            option in prop::sample::select(&["--token", "-password", "--db-secret"][..]),
            space in "[ \t]{1,3}['\"]?",
            after in "([ ,;&].{0,20})?",
        ) {
            let text = std::format!("{before} {option}{space}{CANARY}{after}");
            prop_assert!(!redacted(&text).contains(CANARY), "{}", text);
        }
    }
}
