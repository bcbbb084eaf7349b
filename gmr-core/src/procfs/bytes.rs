//! Small parsing steps over bytes that all the formats share.
//!
//! Numbers are decimal or hexadecimal digits and nothing else: no sign, no
//! white space, no overflow; anything else is `None`.

/// A decimal number.
pub(crate) fn parse_u64(digits: &[u8]) -> Option<u64> {
    parse_radix(digits, 10)
}

/// A decimal number that fits 32 bits: a pid, a uid.
pub(crate) fn parse_u32(digits: &[u8]) -> Option<u32> {
    parse_u64(digits).and_then(|number| u32::try_from(number).ok())
}

/// A hexadecimal number without prefix.
pub(crate) fn parse_hex(digits: &[u8]) -> Option<u64> {
    parse_radix(digits, 16)
}

fn parse_radix(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        number.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

/// What stands before and after the first `separator`.
pub(crate) fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == separator)?;
    let (before, from) = bytes.split_at_checked(at)?;
    Some((before, from.split_first()?.1))
}

/// The fields between white space.
pub(crate) fn fields(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// Undoes the kernel's escapes (`\040`, `\n`, `\\`; mangle_path and
/// string_escape_str) into `out`; returns what was written and whether all
/// of it fitted. A backslash that begins no known escape stands for itself.
pub(crate) fn unescape<'o>(escaped: &[u8], out: &'o mut [u8]) -> (&'o [u8], bool) {
    let mut rest = escaped;
    let mut len = 0usize;
    let mut whole = true;
    while let Some((&byte, after)) = rest.split_first() {
        let (value, next) = match byte {
            b'\\' => unescape_one(after).unwrap_or((b'\\', after)),
            _ => (byte, after),
        };
        let Some(slot) = out.get_mut(len) else {
            whole = false;
            break;
        };
        *slot = value;
        len = len.saturating_add(1);
        rest = next;
    }
    (out.get(..len).unwrap_or_default(), whole)
}

/// One escape, after its backslash: the byte it stands for and what follows.
fn unescape_one(after: &[u8]) -> Option<(u8, &[u8])> {
    match after {
        [b'n', rest @ ..] => Some((b'\n', rest)),
        [b'\\', rest @ ..] => Some((b'\\', rest)),
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
            let digit = |byte: &u8| byte & 7;
            Some(((digit(a) << 6) | (digit(b) << 3) | digit(c), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        for wrong in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"0x1", b"1a"] {
            assert_eq!(parse_u64(wrong), None);
        }
        assert_eq!(parse_hex(b"fFf"), Some(0xfff));
        assert_eq!(parse_u32(b"4294967296"), None);
    }

    #[test]
    fn escapes_are_undone() {
        let mut out = [0; 32];
        assert_eq!(unescape(br"a\040b\\c\nd\134", &mut out), (&b"a b\\c\nd\\"[..], true));
        assert_eq!(unescape(br"\x\9\", &mut out), (&br"\x\9\"[..], true));
        assert_eq!(unescape(b"abc", &mut [0; 2]), (&b"ab"[..], false));
    }
}
