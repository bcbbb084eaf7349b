//! Tests, by what they compare with: synthetic objects and a naive oracle
//! ([`oracle`]), damaged objects ([`damaged`]), this process and objects that
//! the compiler makes ([`live`]), rustc-demangle and its stack ([`names`]).

mod damaged;
mod image;
mod live;
mod names;
mod oracle;
mod shorten;

use super::*;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

/// Resolves `addresses`; returns the names in the order of `addresses`.
fn names_of(
    source: &(impl ElfSource + ?Sized),
    addresses: &[u64],
) -> (Resolved, Vec<Option<String>>) {
    let mut memory = vec![0; 1 << 20];
    let mut names = NameArena::new(&mut memory);
    let mut scratch = vec![0; MIN_SCRATCH_BYTES];
    let mut wanted: Vec<Wanted> =
        addresses.iter().zip(0..).map(|(&svma, tag)| Wanted::new(svma, tag)).collect();
    let resolved = resolve(source, &mut wanted, &mut names, &mut scratch, &mut || true);
    let mut found = vec![None; addresses.len()];
    for entry in &wanted {
        found[entry.tag as usize] = entry.name.map(|name| names.get(name).to_string());
    }
    (resolved, found)
}

#[test]
fn file_name_is_the_last_component() {
    assert_eq!(file_name(b"/usr/lib/libc.so.6"), b"libc.so.6");
    assert_eq!(file_name(b"[vdso]"), b"[vdso]");
    assert_eq!(file_name(b"/usr/bin/app (deleted)"), b"app (deleted)");
    assert_eq!(file_name(b"/usr/lib/"), b"/usr/lib/");
    assert_eq!(file_name(b""), b"");
}

#[test]
fn arena_says_when_it_is_full() {
    let mut memory = [0; 10];
    let mut names = NameArena::new(&mut memory);
    let first = names.push("sieben!").unwrap();
    assert_eq!(names.push("four"), None);
    let second = names.push("III").unwrap();
    assert_eq!(names.push("x"), None);
    assert_eq!((names.get(first), names.get(second)), ("sieben!", "III"));
    assert_eq!((names.lost(), names.used_bytes()), (2, 10));
    names.clear();
    assert_eq!((names.get(first), names.lost()), ("", 0));
}

#[test]
fn arena_keeps_names_cut_by_their_own_limit() {
    let mut memory = [0; MAX_NAME_BYTES + 1];
    let mut names = NameArena::new(&mut memory);
    let long = "ä".repeat(MAX_NAME_BYTES);
    let name = names.push(&long).unwrap();
    assert!(name.truncated);
    assert_eq!(names.get(name), "ä".repeat(MAX_NAME_BYTES / 2));
}
