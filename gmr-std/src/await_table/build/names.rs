//! Names of types as a report shows them.
//!
//! Debug information has `tokio::sync::mutex::{impl#10}::lock::{async_fn_env#0}<u32>`
//! for what everybody calls `tokio::sync::mutex::Mutex<T>::lock<u32>`. Which type
//! an `{impl#10}` is of, the symbols of functions in it say.

use std::collections::HashMap;

use gmr_core::symbols::{MAX_NAME_BYTES, demangle_full_into};

/// What the compiler calls a part of a function, and what a reader does.
const PARTS: [(&str, &str); 5] = [
    // An async fn's future is called like the fn.
    ("::{async_fn_env#0}", ""),
    ("::{async_fn#0}", ""),
    ("{async_block_env#", "{async_block#"),
    ("{async_closure_env#", "{async_closure#"),
    ("{closure_env#", "{closure#"),
];

/// The allocator that everybody has.
const GLOBAL: &str = ", alloc::alloc::Global";

/// What begins the number of an `impl`.
const IMPL: &str = "{impl#";

/// The types of `impl`s, by the paths of these.
#[derive(Debug, Default)]
pub(super) struct Impls {
    /// `None`: two crates have the same path.
    types: HashMap<String, Option<String>>,
}

impl Impls {
    /// Takes a function's path and symbol.
    pub(super) fn learn(&mut self, path: &str, symbol: &str) {
        let Some(at) = path.rfind(IMPL) else { return };
        let Some(end) = path[at..].find('}').map(|length| at + length + 1) else { return };
        let Some(rest) = path[end..].strip_prefix("::") else { return };
        let mut buffer = [0; MAX_NAME_BYTES];
        let cut = demangle_full_into(symbol, &mut buffer);
        if cut.truncated {
            return;
        }
        let Ok(name) = str::from_utf8(&buffer[..cut.len]) else { return };
        let (inside, parts) = (components(rest), components(name));
        let Some(first) = parts.len().checked_sub(inside.len()).filter(|first| *first > 0) else {
            return;
        };
        if generic(parts[first]) != generic(inside[0]) {
            return;
        }
        let ty = parts[..first].join("::");
        let known = self.types.entry(path[..end].to_owned()).or_insert_with(|| Some(ty.clone()));
        if let Some(there) = known
            && *there != ty
        {
            // Of several instances what they have in common.
            *known = (generic(there) == generic(&ty)).then(|| generic(&ty).to_owned());
        }
    }

    /// Puts types in place of `impl`s.
    fn apply(&self, name: String) -> String {
        let mut out = String::with_capacity(name.len());
        let mut rest = &*name;
        while let Some(at) = rest.find(IMPL) {
            let end = rest[at..].find('}').map_or(rest.len(), |length| at + length + 1);
            let is_path = |char: char| char.is_alphanumeric() || "_:{}#".contains(char);
            let begin = rest[..at].rfind(|char| !is_path(char)).map_or(0, |before| {
                before + rest[before..].chars().next().map_or(1, char::len_utf8)
            });
            out.push_str(&rest[..begin]);
            let path = &rest[begin..end];
            out.push_str(self.types.get(path).and_then(Option::as_deref).unwrap_or(path));
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    /// A name as it is shown.
    pub(super) fn shown(&self, name: &str) -> String {
        let name = shown(name);
        if name.contains(IMPL) { self.apply(name) } else { name }
    }
}

/// The parts of a path, each with its generic arguments.
fn components(path: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    let bytes = path.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            // The arrow of a function's type is no bracket.
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' | b')' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes.get(at + 1) == Some(&b':') => {
                parts.push(&path[begin..at]);
                begin = at + 2;
            }
            _ => {}
        }
    }
    parts.push(&path[begin..]);
    parts
}

/// A name without the compiler's own parts.
pub(super) fn shown(name: &str) -> String {
    let mut name = name.replace(GLOBAL, "");
    for (part, text) in PARTS {
        if name.contains(part) {
            name = name.replace(part, text);
        }
    }
    name
}

/// A path without generic arguments.
pub(super) fn generic(name: &str) -> &str {
    // `<` begins arguments, unless it begins the name.
    match name.find('<') {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_for_readers() {
        assert_eq!(shown("heat::db::query::{async_fn_env#0}<u8>"), "heat::db::query<u8>");
        assert_eq!(
            shown("heat::serve::{async_fn#0}::{async_block_env#1}"),
            "heat::serve::{async_block#1}"
        );
        assert_eq!(
            shown("alloc::vec::Vec<heat::f::{closure_env#0}, alloc::alloc::Global>"),
            "alloc::vec::Vec<heat::f::{closure#0}>"
        );
        assert_eq!(generic("a::B<c::D<e>>"), "a::B");
        assert_eq!(generic("a::b"), "a::b");
        assert_eq!(generic("<a>"), "<a>");
    }

    #[test]
    fn methods_are_called_by_their_type() {
        let mut impls = Impls::default();
        let path = "t::mutex::{impl#10}::lock::{async_fn#0}<u32>";
        impls.learn(
            path,
            "_ZN1t5mutex14Mutex$LT$T$GT$4lock28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE",
        );
        // That of another crate's symbol has another method.
        impls.learn("t::{impl#1}::other::{async_fn#0}", "_ZN1t5mutex4lock1x17h0123456789abcdefE");
        assert_eq!(
            impls.shown("a::B<t::mutex::{impl#10}::lock::{async_fn_env#0}<u32>, t::{impl#1}::x>"),
            "a::B<t::mutex::Mutex<T>::lock<u32>, t::{impl#1}::x>"
        );
        // The same path in another version of the crate.
        impls.learn(
            path,
            "_ZN1t6rwlock6RwLock4lock28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE",
        );
        assert_eq!(impls.shown("t::mutex::{impl#10}::lock"), "t::mutex::{impl#10}::lock");
        assert_eq!(
            components("<a::b as c::d<fn() -> e::f>>::g::h"),
            ["<a::b as c::d<fn() -> e::f>>", "g", "h"]
        );
        assert_eq!(impls.shown("é{impl#"), "é{impl#");
    }
}
