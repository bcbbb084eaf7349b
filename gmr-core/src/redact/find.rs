//! Where in a text a secret stands: one function for each kind of trace.
//!
//! Each finds the first secret whose trace begins at or after `at`, and moves
//! `at` on, always forward. What they may look at twice is bounded, or ends
//! where the next trace begins, so that all of a text takes linear time. Every
//! range begins and ends beside an ASCII byte, or at an end of the text.

use core::ops::Range;

use super::MASK;
use super::bytes::{
    first, from, is_gap, is_key_byte, is_quote, key_len, last_position, len_until, position,
    starts_with, trim_end,
};
use super::policy::Redaction;
use super::tokens::{SHORTEST_KNOWN, json_web_token, known_token};

/// Finds the next secret from `at` on.
type Find = fn(&Redaction, &[u8], &mut usize) -> Option<Range<usize>>;

/// All of them, and what a text must have for each to find anything.
const FINDERS: [(Find, Traces); 8] = [
    (pem_private_key, Traces::B),
    (url_credentials, Traces::COLON),
    (bare_credentials, Traces::COLON.and(Traces::AT)),
    (assigned_secret, Traces::SIGN),
    (option_value, Traces::DASH),
    (authorization_value, Traces::B),
    (known_token, Traces::TOKEN),
    (json_web_token, Traces::DOT),
];

/// What one look at each byte tells of a text. Most values of a report have
/// little of it, so that most finders need not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traces(u8);

impl Traces {
    const NONE: Self = Traces(0);
    const COLON: Self = Traces(1);
    const AT: Self = Traces(2);
    /// `=` or `:`.
    const SIGN: Self = Traces(4);
    const DASH: Self = Traces(8);
    /// In `BEGIN`, `Bearer`, `Basic`.
    const B: Self = Traces(16);
    const DOT: Self = Traces(32);
    /// Long enough for a token.
    const TOKEN: Self = Traces(64);

    const fn and(self, other: Self) -> Self {
        Traces(self.0 | other.0)
    }

    const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    fn of(policy: &Redaction, text: &[u8]) -> Self {
        let is_long = text.len() >= SHORTEST_KNOWN;
        let has_token =
            if is_long || !policy.patterns.is_empty() { Self::TOKEN } else { Self::NONE };
        text.iter().fold(has_token, |traces, byte| {
            traces.and(match byte {
                b':' => Self::COLON.and(Self::SIGN),
                b'=' => Self::SIGN,
                b'@' => Self::AT,
                b'-' => Self::DASH,
                b'b' | b'B' => Self::B,
                b'.' if is_long => Self::DOT,
                _ => Self::NONE,
            })
        })
    }
}

/// [`super::secret_ranges`] by a policy.
pub(super) fn secret_ranges(policy: &Redaction, text: &[u8], found: &mut impl FnMut(Range<usize>)) {
    let traces = Traces::of(policy, text);
    let mut finders = FINDERS.map(|(find, needs)| {
        let mut at = 0;
        let next = if traces.has(needs) { find(policy, text, &mut at) } else { None };
        Finder { find, next, at }
    });
    // Each turn takes what is next of at least one finder, and each finder
    // only goes forward.
    while let Some(first) = finders
        .iter_mut()
        .filter(|finder| finder.next.is_some())
        .min_by_key(|finder| finder.next.as_ref().map(|range| range.start))
    {
        let Some(mut range) = first.take(policy, text) else { return };
        // Where several overlap, one mask covers all.
        while let Some(other) = finders
            .iter_mut()
            .find(|finder| finder.next.as_ref().is_some_and(|next| next.start <= range.end))
        {
            let Some(next) = other.take(policy, text) else { return };
            range.end = range.end.max(next.end);
        }
        if text.get(range.clone()).is_some_and(|it| !it.is_empty() && it != MASK.as_bytes()) {
            found(range);
        }
    }
}

/// One way to find secrets, and how far it has come.
struct Finder {
    find: Find,
    at: usize,
    next: Option<Range<usize>>,
}

impl Finder {
    fn take(&mut self, policy: &Redaction, text: &[u8]) -> Option<Range<usize>> {
        let next = (self.find)(policy, text, &mut self.at);
        core::mem::replace(&mut self.next, next)
    }
}

/// The longest key in a text that is looked at, in bytes: longer ones are data,
/// and looking at them again and again would make long texts slow.
const MAX_KEY_BYTES: usize = 64;

/// The longest label after `BEGIN` that is looked at, in bytes. The longest in
/// use is `ENCRYPTED PRIVATE KEY`.
const MAX_LABEL_BYTES: usize = 128;

/// How far after `Pwd=` a semicolon is looked for, in bytes: it tells a data
/// source name, in which values may hold spaces.
const MAX_DSN_VALUE_BYTES: usize = 256;

/// Between the dashes after `BEGIN … PRIVATE KEY` and those before `END`.
fn pem_private_key(_policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let (body, _) = private_key_body(text, at)?;
        if !body.is_empty() {
            return Some(body);
        }
    }
}

/// Whether `text` ends inside a private key, which may go on elsewhere.
pub(super) fn ends_in_private_key(text: &[u8]) -> bool {
    let mut at = 0;
    core::iter::from_fn(|| private_key_body(text, &mut at)).any(|(_, has_end)| !has_end)
}

/// Where the private key ends that began before `text`: at the dashes of its
/// `END`.
pub(super) fn private_key_end(text: &[u8]) -> Option<usize> {
    Some(trim_end(first(text, position(text, b"END ")?), b"- ").len())
}

/// The body of the next private key, perhaps empty, and whether its end is in
/// the text.
fn private_key_body(text: &[u8], at: &mut usize) -> Option<(Range<usize>, bool)> {
    loop {
        let begin = position(from(text, *at), b"BEGIN ")?;
        let label_start = at.saturating_add(begin).saturating_add(b"BEGIN ".len());
        *at = label_start;
        // The label ends at its dashes, or at the end of a damaged line.
        let rest = from(text, label_start);
        let label = first(rest, MAX_LABEL_BYTES);
        let label = first(label, len_until(label, |byte| matches!(byte, b'-' | b'\n' | b'\\')));
        let is_private =
            [&b"PRIVATE KEY"[..], b"SECRET KEY"].iter().any(|it| position(label, it).is_some());
        if !is_private {
            continue;
        }
        let dashes = len_until(from(rest, label.len()), |byte| byte != b'-');
        // "BEGIN X PRIVATE KEY" and then no dashes: the label may hold more
        // than the label.
        let skipped = match position(label, b" KEY") {
            Some(key) if dashes == 0 => key.saturating_add(b" KEY".len()),
            _ => label.len().saturating_add(dashes),
        };
        let start = label_start.saturating_add(skipped);
        let body = from(text, start);
        let len = private_key_end(body);
        let end = start.saturating_add(len.unwrap_or(body.len()));
        *at = end;
        return Some((start..end, len.is_some()));
    }
}

/// The password of `scheme://user:password@host`, or in HTTP the user if it
/// stands alone (an access token, as GitHub and Stripe have it).
///
/// A password that holds `/`, `?`, `#`, a quote or a space although it should
/// be escaped is recognised by what stands after the colon being no port. Then
/// all up to the last `@` of the line is masked: too much rather than too
/// little.
fn url_credentials(_policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let scheme_end = at.saturating_add(position(from(text, *at), b"://")?);
        let start = scheme_end.saturating_add(b"://".len());
        *at = start;
        let rest = from(text, start);
        let ends = |byte: u8| {
            is_gap(byte) || matches!(byte, b'/' | b'?' | b'#' | b'<' | b'>' | b'\\' | b'|')
        };
        let (authority, after) = rest.split_at_checked(len_until(rest, ends))?;
        let sign =
            last_position(authority, b'@').or_else(|| sign_after_authority(authority, after, rest));
        let Some(sign) = sign else { continue };
        *at = start.saturating_add(sign);
        let user_info = first(rest, sign);
        let user_len = len_until(user_info, |byte| byte == b':');
        let password_start = user_len.saturating_add(1);
        let is_token = matches!(from(user_info, password_start), b"" | b"x-oauth-basic");
        let secret = match (is_token, is_http(first(text, scheme_end))) {
            (true, true) => 0..user_len,
            // `ssh://git@host`: a user, and no secret.
            (true, false) if password_start >= sign => continue,
            _ => password_start..sign,
        };
        if !secret.is_empty() {
            return Some(start.saturating_add(secret.start)..start.saturating_add(secret.end));
        }
    }
}

/// The `@` of `user:pa/ss@host`; not of `host:80/@x` and `[::1]/@x`.
fn sign_after_authority(authority: &[u8], after: &[u8], rest: &[u8]) -> Option<usize> {
    let colon = authority.iter().position(|&byte| byte == b':')?;
    let port = from(authority, colon.saturating_add(1));
    let is_port = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    // The colon may be the next URL's, in a list: `a://h1,b://h2`.
    let is_next_url = port.is_empty() && after.starts_with(b"//");
    if authority.starts_with(b"[") || is_next_url || is_port {
        return None;
    }
    // The next URL first: it bounds what is looked at more than once.
    let line = first(rest, position(rest, b"://").unwrap_or(rest.len()));
    let line = first(line, len_until(line, |byte| byte == b'\n'));
    last_position(line, b'@')
}

/// Whether the scheme that ends `before` is `http`, `https` or ends in it
/// (`git+https`).
fn is_http(before: &[u8]) -> bool {
    [&b"http"[..], b"https"].iter().any(|scheme| super::bytes::ends_with(before, scheme))
}

/// `user:password@host` without a scheme, as in Go's and Oracle's data source
/// names.
fn bare_credentials(_policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    /// What may stand before a colon and an `@` and is no user name.
    const NO_USERS: [&str; 7] = ["mailto", "sip", "sips", "xmpp", "acct", "npm", "urn"];
    while *at < text.len() {
        let start = *at;
        let rest = from(text, start);
        let token =
            first(rest, len_until(rest, |byte| is_gap(byte) || matches!(byte, b'<' | b'>')));
        *at = start.saturating_add(token.len()).saturating_add(1);
        let Some(sign) = last_position(token, b'@') else { continue };
        let host = from(token, sign.saturating_add(1));
        let user_info = first(token, sign);
        let Some(colon) = user_info.iter().position(|&byte| byte == b':') else { continue };
        let user = first(user_info, colon);
        let password = from(user_info, colon.saturating_add(1));
        let is_host = host.first().is_some_and(|&byte| {
            byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b'[' | b'/' | b'(')
        });
        let is_digest = host.starts_with(b"sha256:") || host.starts_with(b"sha512:");
        let is_other = !is_host
            || is_digest
            || user.is_empty()
            || user.contains(&b'@')
            || password.is_empty()
            || position(token, b"://").is_some()
            || NO_USERS.iter().any(|no| user.eq_ignore_ascii_case(no.as_bytes()));
        if !is_other {
            return Some(start.saturating_add(colon).saturating_add(1)..start.saturating_add(sign));
        }
    }
    None
}

/// The value of `name=value` and `name: value` whose name is secret.
fn assigned_secret(policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let len = from(text, *at).iter().position(|byte| matches!(byte, b'=' | b':'))?;
        let sign_at = at.saturating_add(len);
        *at = sign_at.saturating_add(1);
        let sign = text.get(sign_at).copied()?;
        let after = from(text, *at);
        let Some(name) = name_before(text, sign_at) else { continue };
        let before_name = name.start.checked_sub(1).and_then(|at| text.get(at)).copied();
        let is_assignment = match sign {
            b'=' => after.first() != Some(&b'='),
            // `scheme://`, `path::to`, and the port in `http://token:80`.
            _ => !matches!(after, [b'/', b'/', ..] | [b':', ..]) && before_name != Some(b'/'),
        };
        if !is_assignment || !policy.names_secret(text.get(name).unwrap_or_default()) {
            continue;
        }
        let value = value_after(text, sign_at, sign, before_name);
        if !value.is_empty() && text.get(value.clone()) != Some(MASK.as_bytes()) {
            *at = value.end;
            return Some(value);
        }
    }
}

/// The name that ends before the sign at `sign_at`, quotes and spaces between.
fn name_before(text: &[u8], sign_at: usize) -> Option<Range<usize>> {
    let before = trim_end(first(text, sign_at), b" \t\"'`\\");
    let end = before.len();
    let looked_at = MAX_KEY_BYTES.saturating_add(1);
    let len = before.iter().rev().take(looked_at).take_while(|&&byte| is_key_byte(byte)).count();
    (1..=MAX_KEY_BYTES).contains(&len).then(|| end.saturating_sub(len)..end)
}

/// The value after the sign at `sign_at`. Where it ends depends on what the
/// text is: a query, a list, a data source name, a line.
fn value_after(text: &[u8], sign_at: usize, sign: u8, before_name: Option<u8>) -> Range<usize> {
    let rest = from(text, sign_at.saturating_add(1));
    let blank = len_until(rest, |byte| !matches!(byte, b' ' | b'\t' | b'\\'));
    let value = from(rest, blank);
    let start = text.len().saturating_sub(value.len());
    let of_len = |len: usize| start..start.saturating_add(len);
    if let [quote, inside @ ..] = value
        && is_quote(*quote)
    {
        let start = start.saturating_add(1);
        return start..start.saturating_add(closing_quote(inside, *quote));
    }
    if sign == b':' {
        let line = first(value, len_until(value, |byte| matches!(byte, b'\n' | b'\r')));
        return of_len(trim_end(line, b" \t").len());
    }
    if let Some(b'?' | b'&' | b'#') = before_name {
        return of_len(len_until(value, |byte| {
            byte.is_ascii_whitespace() || matches!(byte, b'&' | b'#' | b'"' | b'\'')
        }));
    }
    // `Server=db;Password=two words;`
    let near = first(value, MAX_DSN_VALUE_BYTES);
    if let Some(len) = near.iter().position(|byte| matches!(byte, b';' | b'\n'))
        && near.get(len) == Some(&b';')
    {
        return of_len(len);
    }
    let in_list = before_name == Some(b',');
    of_len(len_until(value, |byte| byte.is_ascii_whitespace() || (in_list && byte == b',')))
}

/// Where the quote closes that opened before `text`; a backslash escapes it,
/// unless the whole stands in an escaped text (`\"…\"`).
fn closing_quote(text: &[u8], quote: u8) -> usize {
    let mut escaped = false;
    for (at, &byte) in text.iter().enumerate() {
        if byte == quote && !escaped {
            return at;
        }
        escaped = byte == b'\\' && !escaped;
    }
    // None unescaped: all of it is taken for the value.
    text.len()
}

/// The word after an option whose name is secret: `--token X` within a text.
fn option_value(policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let rest = from(text, *at);
        let key_start = at.saturating_add(rest.iter().position(|&byte| is_key_byte(byte))?);
        let key = from(text, key_start);
        let key = first(key, key_len(key));
        let key_end = key_start.saturating_add(key.len());
        *at = key_end;
        if key.len() > MAX_KEY_BYTES || !key.starts_with(b"-") || !policy.names_secret(key) {
            continue;
        }
        let after = from(text, key_end);
        let quotes = len_until(after, |byte| !is_quote(byte));
        let blanks = len_until(from(after, quotes), |byte| !matches!(byte, b' ' | b'\t'));
        let start = key_end.saturating_add(quotes).saturating_add(blanks);
        let value = from(text, start);
        // A sign is for `assigned_secret`, another option is no value.
        if blanks == 0 || value.starts_with(b"--") || matches!(value, [b'=' | b':', ..]) {
            continue;
        }
        let value = match value {
            [quote, inside @ ..] if is_quote(*quote) => {
                let start = start.saturating_add(1);
                start..start.saturating_add(closing_quote(inside, *quote))
            }
            _ => start..start.saturating_add(len_until(value, is_gap)),
        };
        if !value.is_empty() {
            return Some(value);
        }
    }
}

/// The token after `Bearer`, and after `Basic` if it is `user:password`.
fn authorization_value(_policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let len = from(text, *at).iter().position(|byte| matches!(byte, b'b' | b'B'))?;
        let scheme_at = at.saturating_add(len);
        *at = scheme_at.saturating_add(1);
        let rest = from(text, scheme_at);
        let is_bearer = starts_with(rest, b"bearer");
        let scheme_len = match (is_bearer, starts_with(rest, b"basic")) {
            (true, _) => b"bearer".len(),
            (_, true) => b"basic".len(),
            _ => continue,
        };
        let before = scheme_at.checked_sub(1).and_then(|at| text.get(at));
        if before.is_some_and(u8::is_ascii_alphanumeric) {
            continue;
        }
        let after = from(rest, scheme_len);
        let blank = match after {
            [b'%', b'2', b'0', ..] => 3,
            _ => len_until(after, |byte| {
                !(byte.is_ascii_whitespace() || matches!(byte, b':' | b'='))
            }),
        };
        // Before the token is looked at, which may be all of the rest.
        if blank == 0 {
            continue;
        }
        let token = from(after, blank);
        let start = scheme_at.saturating_add(scheme_len).saturating_add(blank);
        let len = if is_bearer {
            len_until(token, |byte| is_gap(byte) || matches!(byte, b',' | b';' | b'<' | b'>'))
        } else {
            basic_len(token)
        };
        if len > 0 {
            *at = start.saturating_add(len);
            return Some(start..*at);
        }
    }
}

/// The length of the base64 of a text with a colon that `token` begins with, or
/// 0: "basic settings" is none.
fn basic_len(token: &[u8]) -> usize {
    let mut bits = 0u32;
    let mut count = 0u32;
    let mut has_colon = false;
    let mut len = 0usize;
    for &byte in token {
        let six = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = (bits << 6) | u32::from(six);
        count = count.wrapping_add(6);
        if count >= 8 {
            count = count.wrapping_sub(8);
            let [.., decoded] = bits.wrapping_shr(count).to_be_bytes();
            has_colon |= decoded == b':';
        }
        len = len.saturating_add(1);
    }
    let padding = len_until(from(token, len), |byte| byte != b'=');
    if has_colon { len.saturating_add(padding) } else { 0 }
}
