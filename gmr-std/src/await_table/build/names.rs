//! Names of types as a report shows them.

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
}
