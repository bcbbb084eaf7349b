//! When two names are one.
//!
//! Reports show the symbol's name, demangled (rustc-demangle, without hashes);
//! gdb puts names together from the debug information
//! (`{impl#2}::call_once<(), …>`), but it also knows the symbols' names. So:
//!
//! 1. Where gdb has a symbol's name, that is demangled as ours is, and the two
//!    are equal or not.
//! 2. Otherwise its own name is compared as it stands: C, assembly. It may have
//!    a path that the symbol has not (`no_mangle`), or none where the symbol has
//!    one (line tables alone, which say the generic arguments, too): then the last
//!    parts are compared, without generic arguments and numbers of closures.
//! 3. Names that differ are one if the object's symbol tables have both where the
//!    function begins: libc has `raise` and `gsignal`, and linkers fold equal
//!    functions.
//! 4. gcc splits and clones functions: `f.part.0`, `f.cold`. The symbol says so;
//!    the debug information does not, and gdb leaves the number out.
//! 5. A name that was cut (and says so) is as good as its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{self, Corpus};
use super::observe::{Ours, Theirs};

/// The symbol tables of some objects.
pub(crate) struct Aliases {
    /// By name, as reports have it, with the files that have symbols.
    objects: Vec<(&'static str, PathBuf)>,
    /// Read when they are first asked.
    symbols: BTreeMap<&'static str, Symbols>,
}

/// Demangled names, by where they begin.
type Symbols = BTreeMap<u64, BTreeSet<String>>;

/// The name that gdb has, as a report would show it.
pub(crate) fn shown(theirs: &Theirs) -> Option<String> {
    theirs.symbol().map(demangle)
}

/// Whether `name` is of a part or a clone of a C function.
fn is_part(name: &str, function: &str) -> bool {
    let is_known = |part: &str| {
        ["part", "cold", "isra", "constprop"].contains(&part) || part.parse::<u32>().is_ok()
    };
    let suffix = name.strip_prefix(function).and_then(|rest| rest.strip_prefix('.'));
    suffix.is_some_and(|suffix| suffix.split('.').all(is_known))
}

/// `a::b::<c>::f<d::e>` is `f`; closures are `{closure}`.
fn last_part(name: &str) -> &str {
    let name = name.strip_suffix("{vtable.shim}").unwrap_or(name);
    // From the end: what is in brackets is skipped.
    let (mut depth, mut end) = (0_i32, name.len());
    for (at, byte) in name.bytes().enumerate().rev() {
        match byte {
            // Not the arrow of a function's type.
            b'>' if name.as_bytes().get(at.wrapping_sub(1)) != Some(&b'-') => depth += 1,
            b'<' => depth -= 1,
            _ => continue,
        }
        if depth == 0 && name[..at].ends_with("::") {
            end = at - 2;
        } else if depth == 0 {
            end = at;
        }
        if depth == 0 {
            break;
        }
    }
    let end = if name.ends_with('>') { end } else { name.len() };
    let last = name[..end].rsplit("::").next().unwrap_or(name);
    let is_closure = ["{closure", "{async_"].iter().any(|begin| last.contains(begin));
    if is_closure { "{closure}" } else { last }
}

/// As reports show it: legacy names double the braces of closures, which reports
/// bring into the form of the others.
fn demangle(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    name.replace("{{", "{").replace("}}", "}")
}

impl Aliases {
    /// Of a program, and of libc, wherever it is, with its debug file.
    pub(crate) fn new(corpus: &Corpus) -> Self {
        let [program, plugin] = build::OBJECTS;
        let of = |object| (object, corpus.whole.with_file_name(object));
        let mut objects = vec![of(program), of(plugin)];
        if let Some(libc) = build::libc() {
            let debug_dir = corpus.debug_dir.iter();
            let debug_files = debug_dir.map(|directory| build::debug_file(&libc, directory));
            objects.extend(debug_files.map(|file| (build::LIBC, file)));
            objects.push((build::LIBC, libc));
        }
        Aliases { objects, symbols: BTreeMap::new() }
    }

    /// Whether the names are one.
    pub(crate) fn are_one(&mut self, ours: &Ours, theirs: &Theirs) -> bool {
        let place = ours.place();
        let is_mangled = |name: &str| name.starts_with("_R") || name.starts_with("_ZN");
        let has_symbol = theirs.symbol().is_some_and(is_mangled);
        match (&ours.function, &shown(theirs)) {
            (Some(ours), Some(theirs)) if ours == theirs => true,
            (Some(cut), Some(theirs)) if ours.function_truncated => theirs.starts_with(cut),
            (Some(ours), Some(theirs)) if !has_symbol && last_part(ours) == last_part(theirs) => {
                true
            }
            (Some(ours), Some(theirs)) if is_part(ours, theirs) => true,
            (Some(ours), Some(theirs)) => {
                place.is_some_and(|(object, offset)| self.begin_alike(object, offset, ours, theirs))
            }
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Whether both are names of the function at an offset: of the last one that
    /// begins before and has the first name.
    fn begin_alike(&mut self, object: &str, offset: u64, a: &str, b: &str) -> bool {
        if self.symbols.is_empty() {
            for (name, file) in &self.objects {
                read(file, self.symbols.entry(name).or_default());
            }
        }
        let Some(symbols) = self.symbols.get(object) else { return false };
        let mut before = symbols.range(..=offset).rev();
        before.find(|(_, names)| names.contains(a)).is_some_and(|(_, names)| names.contains(b))
    }
}

/// Adds the symbols of a file, if it is there.
fn read(file: &Path, symbols: &mut Symbols) {
    for table in [&[][..], &["--dynamic"]] {
        let mut nm = Command::new("nm");
        let arguments = nm.args(["--defined-only", "--portability"]).args(table).arg(file);
        let output = arguments.output().expect("nm");
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut fields = line.split(' ');
            if let (Some(name), Some(_kind), Some(value)) =
                (fields.next(), fields.next(), fields.next())
            {
                let name = name.split('@').next().unwrap_or(name);
                let value = u64::from_str_radix(value, 16).expect("an address");
                symbols.entry(value).or_default().insert(demangle(name));
            }
        }
    }
}

#[test]
fn last_parts() {
    for (name, last) in [
        ("f", "f"),
        ("a::b::f", "f"),
        ("<a::B as c::D>::f", "f"),
        ("<a::B>::f::<c::D, fn() -> e::F>", "f"),
        ("f<a::B<c::D>, (dyn e::F<(), Output=()>)>", "f"),
        ("a::f::{closure}", "{closure}"),
        ("{closure#1}<fn(), ()>", "{closure}"),
        ("{async_fn#0}", "{closure}"),
        ("a::FnOnce::call_once{vtable.shim}", "call_once"),
    ] {
        assert_eq!(last_part(name), last, "{name}");
    }
}

#[test]
fn parts_of_functions() {
    for (name, function) in [("f.part.0", "f"), ("f.cold", "f"), ("f.constprop.0", "f.constprop")] {
        assert!(is_part(name, function), "{name} {function}");
    }
    for (name, function) in [("f", "f"), ("g", "f"), ("a::f", "f"), ("f.g", "f"), ("f2.cold", "f")]
    {
        assert!(!is_part(name, function), "{name} {function}");
    }
}
