//! Long generic arguments: what is left out, and that nothing else is.

use proptest::prelude::*;
use std::format;
use std::vec;

use super::*;
use crate::symbols::demangle::demangle_full_into;
use crate::symbols::shorten::{MAX_ARGUMENTS_BYTES, MAX_READ_BYTES, shorten_into};

fn shortened(name: &str) -> String {
    let mut out = [0; MAX_NAME_BYTES];
    let cut = shorten_into(name, &mut out);
    core::str::from_utf8(&out[..cut.len]).unwrap().to_string()
}

/// An argument that is too long for any list.
const LONG: &str = "a::long::path::of::a::type::that::nobody::wants::to::read::Twice";

#[test]
fn paths_stay_and_long_arguments_go() {
    let table = [
        // As they are.
        ("main", "main"),
        ("core::mem::drop::<usize>", "core::mem::drop::<usize>"),
        (
            "core::ptr::drop_in_place::<alloc::vec::Vec<alloc::string::String>>",
            "core::ptr::drop_in_place::<alloc::vec::Vec<alloc::string::String>>",
        ),
        ("<u8 as core::ops::Shl<u8>>::shl", "<u8 as core::ops::Shl<u8>>::shl"),
        ("<dyn Fn(A) -> B as X>::y", "<dyn Fn(A) -> B as X>::y"),
        ("a::b::{closure#0}::{closure#1}", "a::b::{closure#0}::{closure#1}"),
        // Lists go, the path around them stays.
        ("f::<LONG>", "f::<…>"),
        ("f::<LONG>::{closure#0}", "f::<…>::{closure#0}"),
        ("<hyper::Http<LONG>>::serve", "<hyper::Http<…>>::serve"),
        (
            "<core::iter::adapters::map::Map<LONG, b::{closure#0}> as core::iter::Iterator>::fold",
            "<core::iter::adapters::map::Map<…> as core::iter::Iterator>::fold",
        ),
        ("<<A<LONG> as B<LONG>>::C as D>::e::<LONG>", "<<A<…> as B<…>>::C as D>::e::<…>"),
        ("m::<impl T<LONG> for U<LONG>>::f", "m::<impl T<…> for U<…>>::f"),
        ("<impl T<LONG> for U>::f", "<impl T<…> for U>::f"),
        ("f::<A, fn(LONG) -> <B as C>::D>::g", "f::<…>::g"),
        ("<&mut A<LONG> as C>::d", "<&mut A<…> as C>::d"),
        ("{closure#0}<LONG>", "{closure#0}<…>"),
        ("drop_in_place<LONG>", "drop_in_place<…>"),
        // The marks of lists may be text.
        ("f::<\"<\", LONG>::g", "f::<…>::g"),
        ("f::<\"a\\\">>\", '>', '\\'', LONG>::g", "f::<…>::g"),
        ("f::<'<'>::g", "f::<'<'>::g"),
        ("f::<'>', 'ä', '\"', {K}, LONG>::g::<'>'>", "f::<…>::g::<'>'>"),
        ("f::<&'a u8, for<'b> fn(&'b LONG) -> &'b u8>::g", "f::<…>::g"),
        ("<A<'_> as B<'a, LONG>>::c", "<A<'_> as B<…>>::c"),
        // Operators.
        ("operator<<", "operator<<"),
        ("std::operator<< <LONG>(int)", "std::operator<< <LONG>(int)"),
        ("A<LONG>::operator->", "A<…>::operator->"),
        ("A<LONG>::operator>>=(A<LONG>)", "A<…>::operator>>=(A<…>)"),
        ("my_operator<LONG>::f", "my_operator<…>::f"),
        // Legacy closures.
        ("a::{{closure}}::b::{{vtable.shim}}", "a::{closure}::b::{vtable.shim}"),
        ("f::<A{{closure}}>", "f::<A{closure}>"),
        ("f::<{{S { x: {1} }}}>", "f::<{{S { x: {1} }}}>"),
        ("}}", "}}"),
        ("{{}}", "{{}}"),
        // Not names.
        (">", ">"),
        ("a->b<LONG", "a->b<…"),
        ("a>>::b<c>", "a>>::b<c>"),
    ];
    for (name, expected) in table {
        assert_eq!(shortened(&name.replace("LONG", LONG)), expected.replace("LONG", LONG));
    }
}

#[test]
fn the_longest_list_that_stays() {
    let list = "a".repeat(MAX_ARGUMENTS_BYTES);
    assert_eq!(shortened(&format!("f<{list}>")), format!("f<{list}>"));
    assert_eq!(shortened(&format!("f<{list}a>")), "f<…>");
    // All of it counts, also what is in lists within it.
    assert_eq!(shortened(&format!("f<b<{}>>", &list[..46])), "f<…>");
}

#[test]
fn what_is_passed_over_has_an_end() {
    let mut out = [0; MAX_NAME_BYTES];
    let name = |length| format!("f<{}>::g", "a".repeat(length));
    let cut = shorten_into(&name(MAX_READ_BYTES - 6), &mut out);
    assert_eq!(&out[..cut.len], "f<…>::g".as_bytes());
    assert!(!cut.truncated);
    let cut = shorten_into(&name(MAX_READ_BYTES - 5), &mut out);
    assert_eq!(&out[..cut.len], "f<…>::".as_bytes());
    assert!(cut.truncated);
}

#[test]
fn mangled_names_are_shortened_or_not() {
    // f::<(u8, u8, …)>, ten times.
    let mangled = format!("_RINvC1a1fT{}EE", "h".repeat(30));
    let mut out = [0; MAX_NAME_BYTES];
    let cut = demangle_into(&mangled, &mut out);
    assert_eq!(core::str::from_utf8(&out[..cut.len]).unwrap(), "a::f::<…>");
    let cut = demangle_full_into(&mangled, &mut out);
    let full = core::str::from_utf8(&out[..cut.len]).unwrap();
    assert_eq!(full, format!("a::f::<({})>", vec!["u8"; 30].join(", ")));
    // One form of closures, and no hash: legacy and v0.
    for (mangled, expected) in [
        ("_ZN1a1f28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "a::f::{closure}"),
        ("_RNCNvCs1_1a1f0", "a::f::{closure#0}"),
    ] {
        for demangle in [demangle_into, demangle_full_into] {
            let cut = demangle(mangled, &mut out);
            assert_eq!(core::str::from_utf8(&out[..cut.len]).unwrap(), expected);
        }
    }
    let mut memory = [0; 1024];
    let mut names = NameArena::new(&mut memory);
    let short = names.push_demangled(&mangled).unwrap();
    names.keep_full_names(true);
    let full = names.push_demangled(&mangled).unwrap();
    assert_eq!(names.get(short), "a::f::<…>");
    assert!(names.get(full).len() > 100);
}

/// Brackets, braces and parentheses outside of quotes, each as deep as its like.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    is_balanced: bool,
    /// The name without the content of its lists.
    path: String,
    lists: Vec<String>,
}

/// By looking ahead, which a stream cannot.
fn parse(name: &str) -> Parsed {
    let chars: Vec<char> = name.chars().collect();
    let mut parsed = Parsed { is_balanced: true, ..Parsed::default() };
    let (mut open, mut at, mut list_at) = (0_i32, 0, None);
    while at < chars.len() {
        let here = at;
        let rest = &chars[at..];
        at += match rest {
            ['\'', '\\', _, tail @ ..] => 3 + tail.iter().position(|c| *c == '\'').unwrap() + 1,
            ['\'', _, '\'', ..] => 3,
            ['"', tail @ ..] => {
                let mut end = 0;
                while tail[end] != '"' {
                    end += if tail[end] == '\\' { 2 } else { 1 };
                }
                end + 2
            }
            ['-', '>', ..] => 2,
            _ => 1,
        };
        let piece: String = chars[here..at].iter().collect();
        match (&*piece, list_at) {
            ("<", None) => {
                open += 1;
                parsed.path.push('<');
                let before = here.checked_sub(1).map(|before| chars[before]);
                let is_list = before.is_some_and(|c| c.is_alphanumeric() || "_:})".contains(c));
                if is_list && !chars[at..].starts_with(&['i', 'm', 'p', 'l', ' ']) {
                    list_at = Some(open);
                    parsed.lists.push(String::new());
                }
            }
            (">", _) => {
                if list_at == Some(open) {
                    list_at = None;
                }
                open -= 1;
                parsed.is_balanced &= open >= 0;
                match list_at {
                    None => parsed.path.push('>'),
                    Some(_) => parsed.lists.last_mut().unwrap().push('>'),
                }
            }
            (piece, Some(_)) => {
                open += i32::from(piece == "<");
                parsed.lists.last_mut().unwrap().push_str(piece);
            }
            (piece, None) => parsed.path.push_str(piece),
        }
    }
    parsed.is_balanced &= open == 0;
    parsed
}

/// Names as a compiler could make them.
fn names() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        &[
            "u8",
            "T",
            "alloc::string::String",
            "a::{closure#3}",
            "ä::Öl",
            "'a",
            "'_",
            "'<'",
            "'>'",
            "'\\''",
            "'\"'",
            "\"<<\"",
            "\"a\\\"b>\"",
            "-5",
            "{0x1f}",
            "{a::S { x: 'x', y: \"}\" }}",
            "[u8; 4]",
            "()",
            "!",
        ][..],
    )
    .prop_map(str::to_string);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let some = || prop::collection::vec(inner.clone(), 1..4).prop_map(|all| all.join(", "));
        prop_oneof![
            (some(), any::<bool>()).prop_map(|(list, is_value)| {
                format!("core::x::Type{}<{list}>", if is_value { "::" } else { "" })
            }),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("<{a} as b::Trait<{b}>>::function::<{c}>")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("m::<impl Trait<{a}> for Type<{b}>>::function")),
            (some(), inner.clone()).prop_map(|(a, b)| format!("dyn for<'a> Fn({a}) -> {b}")),
            (some(), inner.clone()).prop_map(|(a, b)| format!("f::<{a}>::{{closure#1}}::<{b}>")),
            some().prop_map(|a| format!("({a})")),
            some().prop_map(|a| format!("&mut [{a}]")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn lists_are_whole_or_left_out(name in names()) {
        let short = shortened(&name);
        let (before, after) = (parse(&name), parse(&short));
        prop_assert!(before.is_balanced, "{name}");
        prop_assert!(short.len() <= name.len());
        prop_assert_eq!(shortened(&short), short.clone());
        // The rest may be cut with the name.
        if short.len() < MAX_NAME_BYTES - 3 {
            prop_assert!(after.is_balanced, "{name}\n{short}");
            prop_assert_eq!(&after.path, &before.path);
            prop_assert_eq!(after.lists.len(), before.lists.len());
        }
        let whole = after.lists.len().saturating_sub(1);
        for (list, was) in after.lists.iter().zip(&before.lists).take(whole) {
            let expected = if was.len() > MAX_ARGUMENTS_BYTES { "…" } else { was };
            prop_assert_eq!(list, expected);
        }
    }

    #[test]
    fn any_text_is_survived(
        name in prop_oneof![any::<String>(), "([a<>:'\"\\\\{}-]|operator|impl ){0,200}"],
        room in 0_usize..600,
    ) {
        let mut out = vec![0; room];
        let cut = shorten_into(&name, &mut out);
        prop_assert!(cut.len <= room.min(MAX_NAME_BYTES).min(name.len()));
        let short = core::str::from_utf8(&out[..cut.len]).unwrap().to_string();
        if !cut.truncated {
            prop_assert_eq!(shortened(&short), short.clone());
        }
    }

    /// However the demangler cuts its output into pieces.
    #[test]
    fn pieces_do_not_matter(name in names(), piece in 1_usize..7) {
        use core::fmt::Write as _;
        let mut out = [0; MAX_NAME_BYTES];
        let mut writer = crate::symbols::shorten::NameWriter::new(&mut out, true);
        let chars: Vec<char> = name.chars().collect();
        for piece in chars.chunks(piece) {
            let _ = writer.write_str(&piece.iter().collect::<String>());
        }
        let cut = writer.finish();
        prop_assert_eq!(core::str::from_utf8(&out[..cut.len]).unwrap(), shortened(&name));
    }
}
