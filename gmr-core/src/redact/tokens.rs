//! Tokens that are known by their form: a provider's prefix and enough
//! characters after it, and JSON web tokens.
//!
//! The prefix stays, it says whose token it was; the rest is masked. Each
//! pattern asks for so many characters that no ordinary word is hit. A token
//! begins where no letter or digit stands before it, an escape aside
//! (`\nghp_…`, `%20ghp_…`).

use core::ops::Range;

use super::bytes::{first, from, len_until};
use super::policy::Redaction;

/// The form of a token: a prefix, and at least so many characters after it.
///
/// Characters of a token are ASCII letters, digits, `_` and `-`; it ends before
/// anything else. There are no regular expressions: they need memory, or time
/// that nobody can bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    prefix: &'static str,
    min_len: usize,
    alphabet: Alphabet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// `A`–`Z` and digits.
    Upper,
    /// Letters and digits.
    Alphanumeric,
    /// Letters, digits, `_`, `-`.
    Token,
    /// As `Token`, and dots.
    Dotted,
    /// As `Token`, and slashes.
    Path,
    /// Base64, perhaps in several lines.
    Base64,
}

impl Alphabet {
    const fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alphabet::Alphanumeric => byte.is_ascii_alphanumeric(),
            Alphabet::Token => is_token_byte(byte),
            Alphabet::Dotted => is_token_byte(byte) || byte == b'.',
            Alphabet::Path => is_token_byte(byte) || byte == b'/',
            Alphabet::Base64 => is_token_byte(byte) || matches!(byte, b'/' | b'+' | b'='),
        }
    }
}

/// A longer minimum is taken for this one: it bounds what is looked at twice.
const MAX_MIN_LEN: usize = 128;

impl Pattern {
    /// Tokens that begin with `prefix`, case included, and have at least
    /// `min_len` (1..=128) characters after it.
    ///
    /// Choose as many as every token has: with few, words that begin so are
    /// masked, too.
    #[must_use]
    pub const fn prefixed(prefix: &'static str, min_len: usize) -> Self {
        Self::of(prefix, min_len, Alphabet::Token)
    }

    const fn of(prefix: &'static str, min_len: usize, alphabet: Alphabet) -> Self {
        let min_len = match min_len {
            0 => 1,
            len if len > MAX_MIN_LEN => MAX_MIN_LEN,
            len => len,
        };
        Pattern { prefix, min_len, alphabet }
    }

    /// The secret part of the token that `text` begins with.
    fn secret_in(&self, text: &[u8]) -> Option<Range<usize>> {
        let body = text.strip_prefix(self.prefix.as_bytes())?;
        let is_other = |byte: u8| !self.alphabet.has(byte);
        if len_until(first(body, self.min_len), is_other) < self.min_len {
            return None;
        }
        // A certificate or a public key.
        let is_public = [&b"BDRVJU"[..], b"BQVUJM"].iter().any(|it| body.starts_with(it));
        if self.prefix == BASE64_PEM && is_public {
            return None;
        }
        // All that may belong to it, whatever the alphabet.
        let len = match self.alphabet {
            Alphabet::Base64 => base64_lines_len(body),
            _ => len_until(body, |byte| is_other(byte) && !is_token_byte(byte)),
        };
        Some(self.prefix.len()..self.prefix.len().saturating_add(len))
    }
}

/// What `-----BEGIN ` is in base64, but for the bits that its last byte shares
/// with the next.
const BASE64_PEM: &str = "LS0tLS1CRUdJTi";

/// How long the base64 is that `text` begins with, in lines as they are broken
/// by convention.
fn base64_lines_len(text: &[u8]) -> usize {
    const LINE: Range<usize> = 48..81;
    let mut len = 0usize;
    loop {
        let line = from(text, len);
        let line_len = len_until(line, |byte| !Alphabet::Base64.has(byte));
        len = len.saturating_add(line_len);
        let after = from(line, line_len);
        let blank = len_until(after, |byte| !byte.is_ascii_whitespace());
        let is_broken = LINE.contains(&line_len)
            && matches!(after, [b'\n', ..] | [b'\r', b'\n', ..])
            && from(after, blank).first().is_some_and(|&byte| Alphabet::Base64.has(byte));
        if !is_broken {
            return len;
        }
        len = len.saturating_add(blank);
    }
}

/// No shorter text holds anything that [`known_token`] finds by [`KNOWN`], or
/// [`json_web_token`].
pub(super) const SHORTEST_KNOWN: usize = 16;

/// Tokens by whom they are for. The minimum is what the provider documents, or
/// somewhat less where it says that the length may change.
const KNOWN: [Pattern; 45] = [
    // AWS access key ids, of users and temporary ones.
    Pattern::of("AKIA", 16, Alphabet::Upper),
    Pattern::of("ASIA", 16, Alphabet::Upper),
    // GitHub.
    Pattern::of("ghp_", 30, Alphabet::Alphanumeric),
    Pattern::of("gho_", 30, Alphabet::Alphanumeric),
    Pattern::of("ghu_", 30, Alphabet::Alphanumeric),
    Pattern::of("ghs_", 30, Alphabet::Alphanumeric),
    Pattern::of("ghr_", 30, Alphabet::Alphanumeric),
    Pattern::prefixed("github_pat_", 40),
    // GitLab.
    Pattern::prefixed("glpat-", 20),
    Pattern::prefixed("gldt-", 20),
    Pattern::prefixed("glrt-", 20),
    Pattern::prefixed("glptt-", 20),
    Pattern::prefixed("glcbt-", 20),
    Pattern::prefixed("glsoat-", 20),
    Pattern::prefixed("glft-", 20),
    Pattern::prefixed("glagent-", 20),
    // Slack.
    Pattern::prefixed("xoxa-", 20),
    Pattern::prefixed("xoxb-", 20),
    Pattern::prefixed("xoxe-", 20),
    Pattern::prefixed("xoxp-", 20),
    Pattern::prefixed("xoxr-", 20),
    Pattern::prefixed("xoxs-", 20),
    Pattern::prefixed("xapp-", 20),
    Pattern::of("hooks.slack.com/services/", 20, Alphabet::Path),
    Pattern::of("discord.com/api/webhooks/", 20, Alphabet::Path),
    // Stripe.
    Pattern::of("sk_live_", 16, Alphabet::Alphanumeric),
    Pattern::of("sk_test_", 16, Alphabet::Alphanumeric),
    Pattern::of("rk_live_", 16, Alphabet::Alphanumeric),
    Pattern::of("rk_test_", 16, Alphabet::Alphanumeric),
    Pattern::of("whsec_", 24, Alphabet::Base64),
    // Google.
    Pattern::prefixed("AIza", 35),
    // npm, PyPI, Hugging Face.
    Pattern::of("npm_", 30, Alphabet::Alphanumeric),
    Pattern::prefixed("pypi-", 50),
    Pattern::of("hf_", 30, Alphabet::Alphanumeric),
    // Anthropic, OpenAI, DigitalOcean.
    Pattern::prefixed("sk-ant-", 20),
    Pattern::prefixed("sk-proj-", 20),
    Pattern::prefixed("sk-svcacct-", 20),
    Pattern::prefixed("sk-admin-", 20),
    Pattern::of("sk-", 40, Alphabet::Alphanumeric),
    Pattern::of("dop_v1_", 32, Alphabet::Alphanumeric),
    // SendGrid, HashiCorp Vault, age.
    Pattern::of("SG.", 40, Alphabet::Dotted),
    Pattern::prefixed("hvs.", 20),
    Pattern::prefixed("hvb.", 20),
    Pattern::of("AGE-SECRET-KEY-", 20, Alphabet::Upper),
    // A PEM file in base64, as in a kubeconfig.
    Pattern::of(BASE64_PEM, 24, Alphabet::Base64),
];

/// Which bytes a known token begins with: most words of a text do not.
const FIRST_BYTES: [bool; 256] = first_bytes();

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "run by the compiler")]
const fn first_bytes() -> [bool; 256] {
    let mut is_first = [false; 256];
    let mut number = 0;
    while number < KNOWN.len() {
        is_first[KNOWN[number].prefix.as_bytes()[0] as usize] = true;
        number += 1;
    }
    is_first
}

/// What follows the prefix of a known token, or of one of the program's own.
pub(super) fn known_token(policy: &Redaction, text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    while *at < text.len() {
        let start = *at;
        *at = start.saturating_add(1);
        if !is_token_start(text, start) {
            continue;
        }
        let rest = from(text, start);
        let may_be_known = rest.first().and_then(|&byte| FIRST_BYTES.get(usize::from(byte)));
        let known = if may_be_known == Some(&true) { &KNOWN[..] } else { &[] };
        let mut patterns = known.iter().chain(policy.patterns);
        if let Some(secret) = patterns.find_map(|pattern| pattern.secret_in(rest)) {
            *at = start.saturating_add(secret.end);
            return Some(start.saturating_add(secret.start)..*at);
        }
    }
    None
}

/// `eyJ….….…`: a header in base64 that begins with `{"`, and two parts or
/// more after it (signed; encrypted ones have four).
pub(super) fn json_web_token(
    _policy: &Redaction,
    text: &[u8],
    at: &mut usize,
) -> Option<Range<usize>> {
    /// `{"alg":"…"}` has more.
    const MIN_HEADER: usize = 12;
    loop {
        // From one run of base64 to the next: if the first `eyJ` in a run does
        // not begin a token, then neither does another.
        let run_start = at.saturating_add(from(text, *at).iter().position(|&b| is_token_byte(b))?);
        let run = from(text, run_start);
        let run = first(run, len_until(run, |byte| !is_token_byte(byte)));
        let run_end = run_start.saturating_add(run.len());
        *at = run_end;
        let mut starts = (0..run.len()).filter(|&start| {
            from(run, start).starts_with(b"eyJ")
                && is_token_start(text, run_start.saturating_add(start))
        });
        let Some(start) = starts.next() else { continue };
        let (Some(payload_end), true) =
            (part_end(text, run_end), run.len().saturating_sub(start) >= MIN_HEADER)
        else {
            continue;
        };
        let Some(mut end) = part_end(text, payload_end) else { continue };
        while let Some(next) = part_end(text, end) {
            end = next;
        }
        *at = end;
        return Some(run_start.saturating_add(start)..end);
    }
}

/// Where the `.…` ends that begins at `dot`.
fn part_end(text: &[u8], dot: usize) -> Option<usize> {
    let part = from(text, dot).strip_prefix(b".")?;
    let len = len_until(part, |byte| !is_token_byte(byte));
    (len > 0).then(|| dot.saturating_add(1).saturating_add(len))
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Whether a token may begin at `at`.
fn is_token_start(text: &[u8], at: usize) -> bool {
    match first(text, at) {
        [.., b'\\', b'a'..=b'z'] => true,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., before] => !before.is_ascii_alphanumeric(),
        [] => true,
    }
}
