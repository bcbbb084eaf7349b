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

const FINDER_COUNT: usize = 11;

/// All of them, and what a text must have for each to find anything.
static FINDERS: [(Find, Traces); FINDER_COUNT] = [
    (pem_private_key, Traces::B),
    (url_credentials, Traces::COLON),
    (bare_credentials, Traces::COLON.and(Traces::AT)),
    (escaped_url_credentials, Traces::PERCENT),
    (assigned_secret, Traces::SIGN),
    (named_value, Traces::SIGN),
    (element_text, Traces::TAG),
    (option_value, Traces::DASH),
    (authorization_value, Traces::B),
    (known_token, Traces::TOKEN),
    (json_web_token, Traces::DOT),
];

/// What one look at each byte tells of a text. Most values of a report have
/// little of it, so that most finders need not look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traces(u16);

impl Traces {
    const NONE: Self = Traces(0);
    const COLON: Self = Traces(1);
    const AT: Self = Traces(2);
    /// `=` or `:`, plain or escaped.
    const SIGN: Self = Traces(4);
    const DASH: Self = Traces(8);
    /// In `BEGIN`, `Bearer`, `Basic`.
    const B: Self = Traces(16);
    const DOT: Self = Traces(32);
    /// Long enough for a token.
    const TOKEN: Self = Traces(64);
    const PERCENT: Self = Traces(128);
    /// `<`.
    const TAG: Self = Traces(256);

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
                b'%' => Self::PERCENT.and(Self::SIGN),
                b'<' => Self::TAG,
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
    // Not `map`: without optimisation that takes 5 KiB of the supervisor's stack.
    let mut finders = [const { Finder { find: pem_private_key, at: 0, next: None } }; FINDER_COUNT];
    for (finder, (find, needs)) in finders.iter_mut().zip(&FINDERS) {
        finder.find = *find;
        if traces.has(*needs) {
            finder.next = find(policy, text, &mut finder.at);
        }
    }
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

/// How much of a key in a text is looked at, in bytes, from its end: looking at
/// all again and again would make long texts slow.
const MAX_KEY_BYTES: usize = 64;

/// The longest label after `BEGIN` that is looked at, in bytes. The longest in
/// use is `ENCRYPTED PRIVATE KEY`.
const MAX_LABEL_BYTES: usize = 128;

/// How far after `Pwd=` a semicolon is looked for, in bytes: it tells a data
/// source name, in which values may hold spaces.
const MAX_DSN_VALUE_BYTES: usize = 256;

/// How far from a `value` the name is looked for that says what it is.
const MAX_NAMED_BYTES: usize = 128;

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
    let is_end = |at: &usize| {
        let is_escaped = || {
            first(text, *at).ends_with(b"-")
                && label_gap(from(text, at.saturating_add(b"END".len()))) > 0
        };
        let rest = from(text, *at);
        rest.starts_with(b"END ") || (rest.starts_with(b"END") && is_escaped())
    };
    let end = (0..text.len()).find(is_end)?;
    Some(trim_end(first(text, end), b"- ").len())
}

/// The length of a space in a label, plain or escaped in a URL, that `text`
/// begins with, or 0.
fn label_gap(text: &[u8]) -> usize {
    match text {
        [b' ' | b'+', ..] => 1,
        [b'%', b'2', b'0', ..] => 3,
        _ => 0,
    }
}

/// Where `PRIVATE KEY` ends in a label.
fn private_label_end(label: &[u8]) -> Option<usize> {
    (0..label.len()).find_map(|at| {
        let rest = from(label, at);
        let kind = [&b"PRIVATE"[..], b"SECRET"].into_iter().find(|it| rest.starts_with(it))?;
        let gap = label_gap(from(rest, kind.len()));
        let key = from(rest, kind.len().saturating_add(gap));
        (gap > 0 && key.starts_with(b"KEY"))
            .then(|| label.len().saturating_sub(key.len()).saturating_add(b"KEY".len()))
    })
}

/// The body of the next private key, perhaps empty, and whether its end is in
/// the text.
fn private_key_body(text: &[u8], at: &mut usize) -> Option<(Range<usize>, bool)> {
    loop {
        let begin = position(from(text, *at), b"BEGIN")?;
        let label_start = at.saturating_add(begin).saturating_add(b"BEGIN".len());
        *at = label_start;
        if label_gap(from(text, label_start)) == 0 {
            continue;
        }
        // The label ends at its dashes, or at the end of a damaged line.
        let rest = from(text, label_start);
        let label = first(rest, MAX_LABEL_BYTES);
        let label = first(label, len_until(label, |byte| matches!(byte, b'-' | b'\n' | b'\\')));
        let Some(key_end) = private_label_end(label) else { continue };
        let dashes = len_until(from(rest, label.len()), |byte| byte != b'-');
        // "BEGIN X PRIVATE KEY" and then no dashes: the label may hold more
        // than the label.
        let skipped = match dashes {
            0 => key_end,
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
        let sign = last_position(authority, b'@')
            .or_else(|| sign_after_authority(first(text, scheme_end), authority, after, rest));
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
fn sign_after_authority(
    scheme: &[u8],
    authority: &[u8],
    after: &[u8],
    rest: &[u8],
) -> Option<usize> {
    /// Schemes in whose paths an `@` may stand, of a version or a scope.
    const WITH_SIGNS: [&[u8]; 9] =
        [b"http", b"https", b"ssh", b"git", b"oci", b"docker", b"ws", b"wss", b"svn"];
    let colon = authority.iter().position(|&byte| byte == b':')?;
    let port = from(authority, colon.saturating_add(1));
    let is_port = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    // The colon may be the next URL's, in a list: `a://h1,b://h2`.
    let is_next_url = port.is_empty() && after.starts_with(b"//");
    if authority.starts_with(b"[") || is_next_url {
        return None;
    }
    if is_port {
        // `amqp://u:12345/x@h`: a password that begins as a port does.
        let may_be_path = WITH_SIGNS.iter().any(|it| super::bytes::ends_with(scheme, it));
        // The next URL first, as below.
        let near = first(rest, position(rest, b"://").unwrap_or(rest.len()));
        let near = first(near, len_until(near, |byte| is_gap(byte) || matches!(byte, b'?' | b',')));
        let sign = last_position(near, b'@')?;
        let host = from(near, sign.saturating_add(1));
        return (!may_be_path
            && host.first().is_some_and(u8::is_ascii_alphanumeric)
            && !host.starts_with(b"sha"))
        .then_some(sign);
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
    const NO_USERS: [&str; 12] = [
        "mailto", "sip", "sips", "xmpp", "acct", "npm", "urn", "pkg", "docker", "oci", "tcp", "udp",
    ];
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
            || is_time(user_info)
            || NO_USERS.iter().any(|no| user.eq_ignore_ascii_case(no.as_bytes()));
        if !is_other {
            return Some(start.saturating_add(colon).saturating_add(1)..start.saturating_add(sign));
        }
    }
    None
}

/// Whether `text` is `10:32` or `10:32:11`.
fn is_time(text: &[u8]) -> bool {
    matches!(text.len(), 5 | 8)
        && text.iter().enumerate().all(|(at, &byte)| match at {
            2 | 5 => byte == b':',
            _ => byte.is_ascii_digit(),
        })
}

/// The password of a URL that is part of another, and so is escaped:
/// `https%3A%2F%2Fu%3Ax%40h`.
fn escaped_url_credentials(
    _policy: &Redaction,
    text: &[u8],
    at: &mut usize,
) -> Option<Range<usize>> {
    const CODE_BYTES: usize = 3;
    loop {
        let scheme_end = at.saturating_add(from(text, *at).iter().position(|&byte| byte == b'%')?);
        *at = scheme_end.saturating_add(1);
        let start = scheme_end.saturating_add(b"%3A%2F%2F".len());
        if !super::bytes::starts_with(from(text, scheme_end), b"%3A%2F%2F") {
            continue;
        }
        let rest = from(text, start);
        let is_code = |at: usize, codes: &[&[u8]]| {
            codes.iter().any(|code| super::bytes::starts_with(from(rest, at), code))
        };
        let ends = |at: usize, byte: u8| {
            is_gap(byte)
                || matches!(byte, b'/' | b'?' | b'#' | b'&' | b'<' | b'>')
                || is_code(at, &[b"%2F", b"%3F", b"%23"])
        };
        let len = rest.iter().enumerate().position(|(at, &byte)| ends(at, byte));
        let authority = first(rest, len.unwrap_or(rest.len()));
        *at = start.saturating_add(authority.len());
        let is_sign = |at: &usize| is_code(*at, &[b"%40", b"@"]);
        let Some(sign) = (0..authority.len()).rev().find(is_sign) else { continue };
        let colon = (0..sign).find(|&at| is_code(at, &[b"%3A", b":"]));
        let password = match colon {
            Some(at) if from(rest, at).starts_with(b":") => at.saturating_add(1)..sign,
            Some(at) => at.saturating_add(CODE_BYTES)..sign,
            None if is_http(first(text, scheme_end)) => 0..sign,
            None => continue,
        };
        if !password.is_empty() {
            return Some(start.saturating_add(password.start)..start.saturating_add(password.end));
        }
    }
}

/// The value of `name=value` and `name: value` whose name is secret.
fn assigned_secret(policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let (sign, name) = next_assignment(text, at)?;
        let key = text.get(name.clone()).unwrap_or_default();
        if is_place(text, &sign, &name)
            || is_directory(text, &sign, &name)
            || !policy.names_secret_in_text(key)
        {
            continue;
        }
        let value = value_after(policy, text, &sign, &name);
        if !value.is_empty() && text.get(value.clone()) != Some(MASK.as_bytes()) {
            *at = value.end;
            return Some(value);
        }
    }
}

/// What assigns: `=`, `:`, `=>`, `==`, `:=`, and `%3D` and `%3A` in a URL that
/// is part of another.
struct Sign {
    end: usize,
    kind: SignKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SignKind {
    Equals,
    Colon,
    Escaped,
}

/// The next sign from `at` on that has a name before it, and the name. `at`
/// moves behind the first byte of the sign.
fn next_assignment(text: &[u8], at: &mut usize) -> Option<(Sign, Range<usize>)> {
    loop {
        let len = from(text, *at).iter().position(|byte| matches!(byte, b'=' | b':' | b'%'))?;
        let start = at.saturating_add(len);
        *at = start.saturating_add(1);
        let rest = from(text, start);
        let kind = match rest {
            // `scheme://`, `path::to`.
            [b':', b'/', b'/', ..] | [b':', b':', ..] => continue,
            [b':', ..] => SignKind::Colon,
            [b'=', ..] => SignKind::Equals,
            _ if escape_len(rest, &[b"3D", b"3A"]) > 0 => SignKind::Escaped,
            _ => continue,
        };
        let Some(name) = name_before(text, start) else { continue };
        let len = match kind {
            SignKind::Colon if rest.starts_with(b":=") => 2,
            SignKind::Colon => 1,
            SignKind::Equals => len_until(rest, |byte| !matches!(byte, b'=' | b'>')),
            SignKind::Escaped => escape_len(rest, &[b"3D", b"3A"]),
        };
        return Some((Sign { end: start.saturating_add(len), kind }, name));
    }
}

/// How long the escape is that `text` begins with, if it is one of `codes`:
/// `%3D`, or `%253D` if it was escaped twice; else 0.
fn escape_len(text: &[u8], codes: &[&[u8]]) -> usize {
    let (code, len) = match text {
        [b'%', b'2', b'5', code @ ..] => (code, 5),
        [b'%', code @ ..] => (code, 3),
        _ => return 0,
    };
    if codes.iter().any(|it| super::bytes::starts_with(code, it)) { len } else { 0 }
}

/// Whether a colon comes before a port (`http://token:80`) or a line
/// (`token.rs:12`), or after a user who is judged with the URL.
fn is_place(text: &[u8], sign: &Sign, name: &Range<usize>) -> bool {
    const SOURCES: [&[u8]; 10] =
        [b".rs", b".c", b".h", b".cc", b".cpp", b".go", b".py", b".java", b".js", b".ts"];
    let after = from(text, sign.end);
    let is_number = after.first().is_some_and(u8::is_ascii_digit);
    let is_user = || {
        let rest = first(after, len_until(after, |byte| is_gap(byte) || byte == b'/'));
        rest.contains(&b'@')
    };
    let key = text.get(name.clone()).unwrap_or_default();
    sign.kind == SignKind::Colon
        && match first(text, name.start) {
            [.., b'/', b'/'] => is_number || is_user(),
            _ => is_number && SOURCES.iter().any(|it| key.ends_with(it)),
        }
}

/// Whether it is the shell's directory: a variable at the start of a text or a
/// line, and a path. Elsewhere `PWD` is a password.
fn is_directory(text: &[u8], sign: &Sign, name: &Range<usize>) -> bool {
    super::keys::is_shell_directory(text.get(name.clone()).unwrap_or_default())
        && matches!(first(text, name.start), [] | [.., b'\n' | b'\0' | b'"' | b'\''])
        && {
            let value = from(text, sign.end);
            let blank = len_until(value, |byte| !matches!(byte, b' ' | b'"' | b'\''));
            from(value, blank).starts_with(b"/")
        }
}

/// The name that ends before the sign at `sign_at`; between them quotes,
/// spaces, and what makes it an index: `user[password]=`, `token[]=`,
/// `password[0]=`.
fn name_before(text: &[u8], sign_at: usize) -> Option<Range<usize>> {
    let before = without_wrapping(first(text, sign_at));
    let name = last_key(before);
    let is_index = before.len() < sign_at
        && first(before, name.start).ends_with(b"[")
        && before.get(name.clone()).is_some_and(|it| it.iter().all(u8::is_ascii_digit));
    let name = if is_index { last_key(without_wrapping(first(before, name.start))) } else { name };
    (!name.is_empty()).then_some(name)
}

/// Without quotes, spaces and brackets at the end, plain or escaped.
fn without_wrapping(before: &[u8]) -> &[u8] {
    let mut before = before;
    loop {
        before = trim_end(before, b" \t\"'`\\[]");
        before = match before {
            [rest @ .., b'%', b'5', b'B' | b'D' | b'b' | b'd']
            | [rest @ .., b'%', b'2', b'0' | b'2' | b'7']
            | [rest @ .., b'&', b'q', b'u', b'o', b't', b';'] => rest,
            _ => return before,
        };
    }
}

/// The key that `before` ends in, or the end of one that is very long.
fn last_key(before: &[u8]) -> Range<usize> {
    let end = before.len();
    let bytes = before.iter().rev().take(MAX_KEY_BYTES);
    let start = end.saturating_sub(bytes.take_while(|&&byte| is_key_byte(byte)).count());
    // `%3Ftoken`: what belongs to an escape is none of the key.
    let is_code = |code: &[u8]| code.len() == 2 && code.iter().all(u8::is_ascii_hexdigit);
    let key = from(before, start);
    let escape = match first(before, start) {
        [.., b'%'] if key.starts_with(b"25") && key.get(2..4).is_some_and(is_code) => 4,
        [.., b'%'] if key.get(..2).is_some_and(is_code) => 2,
        _ => 0,
    };
    start.saturating_add(escape).min(end)..end
}

/// The value after a sign. Where it ends depends on what the text is: a query,
/// a list, a data source name, a line; a value that begins on this line may go
/// on in the next.
fn value_after(policy: &Redaction, text: &[u8], sign: &Sign, name: &Range<usize>) -> Range<usize> {
    let rest = from(text, sign.end);
    let blank = len_until(rest, |byte| !matches!(byte, b' ' | b'\t' | b'\\'));
    let value = from(rest, blank);
    let start = text.len().saturating_sub(value.len());
    let of_len = |len: usize| start..start.saturating_add(len);
    if let [quote, inside @ ..] = value
        && is_quote(*quote)
    {
        return quoted(start, *quote, inside);
    }
    if sign.kind == SignKind::Escaped {
        return of_len(len_until(value, |byte| is_gap(byte) || matches!(byte, b'&' | b'#')));
    }
    let is_colon = sign.kind == SignKind::Colon;
    // After `=` the value may end long before the line does: what is looked at
    // again for the next is bounded.
    let line = if is_colon { value } else { first(value, MAX_DSN_VALUE_BYTES) };
    let ends = |byte| matches!(byte, b'\n' | b'\r') || (!is_colon && matches!(byte, b' ' | b'\t'));
    let line = first(line, len_until(line, ends));
    let line = trim_end(line, b" \t");
    if let Some(len) = lines_len(policy, text, name, value, line.len()) {
        return of_len(len);
    }
    if is_colon {
        return of_len(line.len());
    }
    let before_name = name.start.checked_sub(1).and_then(|at| text.get(at)).copied();
    if let Some(b'?' | b'&' | b'#') = before_name {
        return of_len(len_until(value, |byte| {
            byte.is_ascii_whitespace() || matches!(byte, b'&' | b'#' | b'"' | b'\'')
        }));
    }
    // `Password={a;b};`, `passwords=[a, b]`
    let inside = if matches!(value, [b'{' | b'[' | b'(', ..]) {
        let line = first(value, len_until(value, |byte| byte == b'\n'));
        bracketed_len(line).unwrap_or(line.len())
    } else {
        0
    };
    let outside = from(value, inside);
    // `Server=db;Password=two words;`
    let near = first(outside, MAX_DSN_VALUE_BYTES);
    if let Some(len) = near.iter().position(|byte| matches!(byte, b';' | b'\n'))
        && near.get(len) == Some(&b';')
    {
        return of_len(inside.saturating_add(len));
    }
    let in_list = before_name == Some(b',');
    let ends = |at: usize, byte: u8| {
        byte.is_ascii_whitespace() || (in_list && byte == b',' && is_next_pair(outside, at))
    };
    let len = outside.iter().enumerate().position(|(at, &byte)| ends(at, byte));
    of_len(inside.saturating_add(len.unwrap_or(outside.len())))
}

/// Whether a key and a sign follow the comma at `comma`, rather than more of
/// the value before.
fn is_next_pair(text: &[u8], comma: usize) -> bool {
    let next = from(text, comma.saturating_add(1));
    let near = first(next, MAX_KEY_BYTES);
    let len = key_len(near);
    len > 0 && from(next, len).starts_with(b"=")
}

/// The value inside a quote that opens at `start`.
fn quoted(start: usize, quote: u8, inside: &[u8]) -> Range<usize> {
    // All of the text is in quotes, and those in it are doubled: `""a""`.
    if let [second, next, ..] = inside
        && *second == quote
        && (next.is_ascii_alphanumeric() || !next.is_ascii())
    {
        let value = from(inside, 1);
        let start = start.saturating_add(2);
        let len = value.windows(2).position(|pair| pair == [quote, quote]);
        return start..start.saturating_add(len.unwrap_or(value.len()));
    }
    let start = start.saturating_add(1);
    start..start.saturating_add(closing_quote(inside, quote))
}

/// Where the quote closes that opened before `text`; a backslash escapes it,
/// unless the whole stands in an escaped text (`\"…\"`), and so does another
/// one (`it''s`), or what a shell needs (`'it'\''s'`).
fn closing_quote(text: &[u8], quote: u8) -> usize {
    let mut escaped = false;
    let mut skipped = 0usize;
    for (at, &byte) in text.iter().enumerate() {
        if skipped > 0 {
            skipped = skipped.saturating_sub(1);
            continue;
        }
        if byte == quote && !escaped {
            skipped = match from(text, at.saturating_add(1)) {
                [second, ..] if *second == quote => 1,
                [b'\\', second, third, ..] if *second == quote && *third == quote => 3,
                _ => return at,
            };
        }
        escaped = byte == b'\\' && !escaped;
    }
    // None unescaped: all of it is taken for the value.
    text.len()
}

/// The length of a value that goes on in lines after its first, which has
/// `line_len` bytes of it. One that opens a bracket at the line's end goes on to
/// the line where that closes; an empty one, one with a bracket open, and YAML's `|` and
/// `>`, to the end of the lines that are indented deeper. `None`: it does not
/// go on.
fn lines_len(
    policy: &Redaction,
    text: &[u8],
    name: &Range<usize>,
    value: &[u8],
    line_len: usize,
) -> Option<usize> {
    let (line, after) = value.split_at_checked(line_len)?;
    let blank = len_until(after, |byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    if !from(after, blank).starts_with(b"\n") {
        return None;
    }
    let is_group = || {
        let key = core::str::from_utf8(text.get(name.clone()).unwrap_or_default());
        key.is_ok_and(|key| policy.is_secret_group(key))
    };
    let is_marker = matches!(line, [] | [b'|' | b'>', ..]);
    match line {
        // A map of settings: each is judged by itself.
        [.., b'{'] if !is_group() => return None,
        [open @ .., b'(' | b'[' | b'{'] => {
            let len = bracketed_len(from(value, open.len())).unwrap_or(value.len());
            // With the rest of the line.
            let end = open.len().saturating_add(len).min(value.len());
            let last = from(value, end);
            let last = first(last, len_until(last, |byte| matches!(byte, b'\n' | b'\r')));
            return Some(end.saturating_add(trim_end(last, b" \t").len()));
        }
        _ if !is_marker && !leaves_open(line) => return None,
        [] if begins_map(after) && !is_group() => return None,
        _ => {}
    }
    let block = first(after, deeper_len(after, indent_of_last_line(first(text, name.start))));
    let len = trim_end(block, b" \t\r\n").len();
    (len > 0).then(|| line_len.saturating_add(len))
}

/// Whether what begins `text`, after white space, is a key of a map, perhaps in
/// a list.
fn begins_map(text: &[u8]) -> bool {
    let text = from(text, len_until(text, |byte| !(is_gap(byte) || byte == b'-')));
    let after = from(text, key_len(text));
    let after = from(after, len_until(after, |byte| !is_quote(byte)));
    after.len() < text.len() && matches!(after, [b':'] | [b':', b' ' | b'\t' | b'\r' | b'\n', ..])
}

/// How far the last line of `text`, perhaps an item of a list, is indented.
fn indent_of_last_line(text: &[u8]) -> usize {
    let line = from(text, last_position(text, b'\n').map_or(0, |at| at.saturating_add(1)));
    indent(line)
}

fn indent(line: &[u8]) -> usize {
    len_until(line, |byte| !matches!(byte, b' ' | b'\t'))
}

/// The length of the lines after the first of `text` that are indented deeper
/// than `outer`, or are empty, or an item or an end at the same depth.
fn deeper_len(text: &[u8], outer: usize) -> usize {
    let mut len = len_until(text, |byte| byte == b'\n');
    while len < text.len() {
        let line = from(text, len.saturating_add(1));
        let line = first(line, len_until(line, |byte| byte == b'\n'));
        let depth = indent(line);
        let goes_on = match from(line, depth) {
            [] | [b'\r'] => true,
            [b'-', b' ', ..] | [b')' | b']' | b'}', ..] => depth >= outer,
            _ => depth > outer,
        };
        if !goes_on {
            break;
        }
        len = len.saturating_add(1).saturating_add(line.len());
    }
    len
}

/// How deep the brackets are in `text` after each byte that is no part of a
/// text in quotes.
fn depths(text: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let (mut depth, mut is_quoted, mut is_escaped) = (0usize, false, false);
    text.iter().enumerate().map(move |(at, &byte)| {
        match byte {
            b'"' if !is_escaped => is_quoted = !is_quoted,
            b'(' | b'[' | b'{' if !is_quoted => depth = depth.saturating_add(1),
            b')' | b']' | b'}' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_escaped = byte == b'\\' && !is_escaped;
        (at, depth)
    })
}

/// How long it is to where the bracket closes that `text` begins with.
fn bracketed_len(text: &[u8]) -> Option<usize> {
    depths(text).find(|&(_, depth)| depth == 0).map(|(at, _)| at.saturating_add(1))
}

/// Whether a bracket opens in `line` and does not close.
fn leaves_open(line: &[u8]) -> bool {
    depths(line).last().is_some_and(|(_, depth)| depth > 0)
}

/// The value of `{"name":"DB_PASSWORD","value":"x"}`, in whatever notation and
/// order.
fn named_value(policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let (sign, name) = next_assignment(text, at)?;
        if !text.get(name.clone()).is_some_and(|it| it.eq_ignore_ascii_case(b"value")) {
            continue;
        }
        // Of the same object.
        let before = first(text, name.start);
        let before = from(before, before.len().saturating_sub(MAX_NAMED_BYTES));
        let before = from(before, object_ends(before).last().unwrap_or_default());
        let is_secret = names_a_secret(policy, before) || {
            // A value that is very long is not looked behind.
            let near = first(text, sign.end.saturating_add(MAX_NAMED_BYTES));
            let end = value_after(policy, near, &sign, &name).end;
            let after = first(from(text, end), MAX_NAMED_BYTES);
            names_a_secret(policy, first(after, object_ends(after).next().unwrap_or(after.len())))
        };
        if !is_secret {
            continue;
        }
        let value = value_after(policy, text, &sign, &name);
        if !value.is_empty() {
            *at = value.end;
            return Some(value);
        }
    }
}

/// Whether `name`, `key` or `header` in this part of an object is the name of a
/// secret.
fn names_a_secret(policy: &Redaction, part: &[u8]) -> bool {
    let mut at = 0;
    core::iter::from_fn(|| next_assignment(part, &mut at)).any(|(sign, name)| {
        let key = part.get(name).unwrap_or_default();
        let is_name =
            [&b"name"[..], b"key", b"header"].iter().any(|it| key.eq_ignore_ascii_case(it));
        is_name && {
            let named = from(part, sign.end);
            let named = from(named, len_until(named, |byte| !(is_gap(byte) || byte == b'\\')));
            policy.names_secret(first(named, key_len(named)))
        }
    })
}

/// Where in `text` an object, a tag or an item of a list begins or ends.
fn object_ends(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    text.iter().enumerate().filter_map(|(at, byte)| {
        let is_item = || {
            let line = from(text, at.saturating_add(1));
            from(line, indent(line)).starts_with(b"- ")
        };
        let is_end = matches!(byte, b'{' | b'}' | b'<' | b'>') || (*byte == b'\n' && is_item());
        is_end.then_some(at)
    })
}

/// What stands in an element of XML whose name is secret, or that has the name
/// of a secret: `<property name="password">`.
fn element_text(policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    const CDATA: &[u8] = b"<![CDATA[";
    loop {
        let open = at.saturating_add(from(text, *at).iter().position(|&byte| byte == b'<')?);
        let name_start = open.saturating_add(1);
        *at = name_start;
        let rest = from(text, name_start);
        let tag = first(rest, len_until(rest, |byte| matches!(byte, b'<' | b'>')));
        let name = first(tag, len_until(tag, |byte| !(is_key_byte(byte) || byte == b':')));
        let name = from(name, last_position(name, b':').map_or(0, |at| at.saturating_add(1)));
        let name = from(name, name.len().saturating_sub(MAX_KEY_BYTES));
        let start = name_start.saturating_add(tag.len()).saturating_add(1);
        *at = start.saturating_sub(1);
        if text.get(*at) != Some(&b'>') || tag.ends_with(b"/") {
            continue;
        }
        if !policy.names_secret(name) && !names_a_secret(policy, tag) {
            continue;
        }
        let value = from(text, start);
        let (start, len) = match value.strip_prefix(CDATA) {
            Some(inside) => (
                start.saturating_add(CDATA.len()),
                super::bytes::position(inside, b"]]>").unwrap_or(inside.len()),
            ),
            None => (start, len_until(value, |byte| byte == b'<')),
        };
        let end = start.saturating_add(len);
        *at = end;
        let value = text.get(start..end).unwrap_or_default();
        // `--token <TOKEN> --verbose` is none.
        let is_closed = match from(text, end) {
            [b'<', b'/', ..] | [b']', ..] => true,
            [] => value.first().is_some_and(u8::is_ascii_alphanumeric) && !value.contains(&b' '),
            _ => false,
        };
        if is_closed && !trim_end(value, b" \t\r\n").is_empty() {
            return Some(start..end);
        }
    }
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
        let key_tail = from(key, key.len().saturating_sub(MAX_KEY_BYTES));
        if !key.starts_with(b"-") || !policy.names_secret(key_tail) {
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
        // `Bearer "…"`, also in an escaped text.
        let quote = match from(after, blank) {
            [b'\\', quote, ..] if is_quote(*quote) => 2,
            [quote, ..] if is_quote(*quote) => 1,
            _ => 0,
        };
        let blank = blank.saturating_add(quote);
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
