//! Names that cost the most, for tests of stack budgets.

use super::demangle::MAX_MANGLED_BYTES;

/// Room for [`deep_v0_name`].
pub const DEEP_NAME_BYTES: usize = MAX_MANGLED_BYTES;

/// How many levels rustc-demangle lets a name of this shape have: its limit
/// of 500, less the outer path and the innermost trait's.
const LEVELS: usize = 498;

/// The valid v0 name known to take the most stack of rustc-demangle, written
/// to `buf`: `a::b::<dyn <dyn <dyn …>>>`, trait objects whose trait's generic
/// argument is a trait object. Each level is one of the 500 that are allowed
/// and eight functions deep. 3,996 bytes, so it is demangled.
///
/// Empty if `buf` is shorter than the name; [`DEEP_NAME_BYTES`] are enough.
#[must_use]
pub fn deep_v0_name(buf: &mut [u8]) -> &str {
    // Crate `a`, function `b`, generic arguments …
    const HEAD: &[u8] = b"_RINvC1a1b";
    // … `dyn`, generic trait "" (C0) of …
    const OPEN: &[u8] = b"DIC0";
    // end of the arguments, end of the bounds, lifetime '_
    const CLOSE: &[u8] = b"EEL_";
    let parts = core::iter::once(HEAD)
        .chain(core::iter::repeat_n(OPEN, LEVELS))
        .chain(core::iter::once(&b"p"[..]))
        .chain(core::iter::repeat_n(CLOSE, LEVELS))
        .chain(core::iter::once(&b"E"[..]));
    let mut len = 0_usize;
    for part in parts {
        let end = len.saturating_add(part.len());
        match buf.get_mut(len..end) {
            Some(to) => to.copy_from_slice(part),
            None => return "",
        }
        len = end;
    }
    buf.get(..len).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
}
