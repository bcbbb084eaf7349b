//! Slices without panics: what is out of range is empty.

/// From `at` on.
pub(super) fn from(text: &[u8], at: usize) -> &[u8] {
    text.get(at..).unwrap_or_default()
}

/// The first `len` bytes, or all if there are fewer.
pub(super) fn first(text: &[u8], len: usize) -> &[u8] {
    text.get(..len).unwrap_or(text)
}

/// How many bytes come before the first that `ends`.
pub(super) fn len_until(text: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| ends(byte)).unwrap_or(text.len())
}

/// Where `wanted` stands first.
pub(super) fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Where `wanted` stands last.
pub(super) fn last_position(text: &[u8], wanted: u8) -> Option<usize> {
    text.iter().rposition(|&byte| byte == wanted)
}

/// Whether `text` begins with `wanted`, in lower or upper case.
pub(super) fn starts_with(text: &[u8], wanted: &[u8]) -> bool {
    text.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
}

/// Whether `text` ends in `wanted`, in lower or upper case.
pub(super) fn ends_with(text: &[u8], wanted: &[u8]) -> bool {
    text.len()
        .checked_sub(wanted.len())
        .is_some_and(|start| from(text, start).eq_ignore_ascii_case(wanted))
}

/// Without the last bytes that are among `trimmed`.
pub(super) fn trim_end<'t>(text: &'t [u8], trimmed: &[u8]) -> &'t [u8] {
    let len = text.iter().rposition(|byte| !trimmed.contains(byte));
    first(text, len.map_or(0, |last| last.saturating_add(1)))
}

/// Whether a key that stands in a text may hold this byte.
pub(super) const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// How long the key is that `text` begins with.
pub(super) fn key_len(text: &[u8]) -> usize {
    len_until(text, |byte| !is_key_byte(byte))
}

/// Whether a word of a key in camel case begins at `at`: `dbPassword` before P,
/// `APIKey` before K.
pub(super) fn begins_word(key: &[u8], at: usize) -> bool {
    let at_offset = |offset: usize| key.get(at.saturating_add(offset)).copied().unwrap_or(0);
    let before = at.checked_sub(1).and_then(|at| key.get(at)).copied().unwrap_or(0);
    at_offset(0).is_ascii_uppercase()
        && (before.is_ascii_lowercase()
            || (before.is_ascii_uppercase() && at_offset(1).is_ascii_lowercase()))
}

/// White space, or a quote: `"`, `'` and `` ` ``.
pub(super) const fn is_gap(byte: u8) -> bool {
    byte.is_ascii_whitespace() || is_quote(byte)
}

/// `"`, `'` or `` ` ``.
pub(super) const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}
