//! When two names are one.
//!
//! Reports show the symbol's name, demangled (rustc-demangle, without hashes);
//! gdb shows a name that it puts together from the debug information
//! (`{impl#2}::call_once<(), …>`), but it also knows the symbol's name. So:
//!
//! 1. Where gdb has a symbol's name, that is demangled as ours is, and the two
//!    are equal or not.
//! 2. Otherwise its own name is compared as it stands: C, assembly. Of a
//!    function that is not mangled (`no_mangle`) the path goes, since the symbol
//!    has none.
//! 3. Names that differ are one if the symbol tables have both at the same
//!    address: libc has `raise` and `gsignal`, and linkers fold equal functions.
//! 4. gcc splits and clones functions: `f.part.0`, `f.cold`. The symbol says so;
//!    the debug information does not, and gdb leaves the number out.
//! 5. A name that was cut (and says so) is as good as its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use super::build::{self, Corpus};
use super::observe::{Ours, Theirs};

/// The symbol tables of some objects.
pub(crate) struct Aliases {
    objects: Vec<PathBuf>,
    /// The addresses of each demangled name; read when it is first asked.
    addresses: Option<BTreeMap<String, BTreeSet<(usize, String)>>>,
}

/// The name that gdb has, as a report would show it.
pub(crate) fn shown(theirs: &Theirs) -> Option<String> {
    match &theirs.linkage {
        Some(linkage) => Some(demangle(linkage)),
        None => theirs.function.clone(),
    }
}

/// Whether `name` is of a part or a clone of a C function.
fn is_part(name: &str, function: &str) -> bool {
    let mut parts = name.strip_prefix(function).unwrap_or_default().split('.');
    let is_known = |part: &str| {
        ["part", "cold", "isra", "constprop"].contains(&part) || part.parse::<u32>().is_ok()
    };
    parts.next() == Some("") && parts.all(is_known)
}

fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

impl Aliases {
    /// Of a program, and of libc, wherever it is, with its debug file.
    pub(crate) fn new(corpus: &Corpus) -> Self {
        let mut objects = build::objects_beside(&corpus.whole);
        let libc = build::libc();
        if let (Some(libc), Some(directory)) = (&libc, &corpus.debug_dir) {
            objects.push(build::debug_file(libc, directory));
        }
        objects.extend(libc);
        Aliases { objects, addresses: None }
    }

    /// Whether the names are one.
    pub(crate) fn are_one(&mut self, ours: &Ours, theirs: &Theirs) -> bool {
        let shown = shown(theirs);
        match (&ours.function, &shown) {
            (Some(ours), Some(theirs)) if ours == theirs => true,
            (Some(cut), Some(theirs)) if ours.function_truncated => theirs.starts_with(cut),
            (Some(ours), Some(theirs)) if theirs.rsplit("::").next() == Some(ours) => true,
            (Some(ours), Some(theirs)) if is_part(ours, theirs) => true,
            (Some(ours), Some(theirs)) => self.share_an_address(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    fn share_an_address(&mut self, a: &str, b: &str) -> bool {
        let objects = &self.objects;
        let addresses = self.addresses.get_or_insert_with(|| read(objects));
        match (addresses.get(a), addresses.get(b)) {
            (Some(a), Some(b)) => !a.is_disjoint(b),
            _ => false,
        }
    }
}

fn read(objects: &[PathBuf]) -> BTreeMap<String, BTreeSet<(usize, String)>> {
    let mut addresses: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for (index, object) in objects.iter().enumerate() {
        for table in [&[][..], &["--dynamic"]] {
            let arguments = ["--defined-only", "--portability"];
            let mut nm = Command::new("nm");
            let output = nm.args(arguments).args(table).arg(object).output().expect("nm");
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let mut fields = line.split(' ');
                if let (Some(name), Some(_kind), Some(value)) =
                    (fields.next(), fields.next(), fields.next())
                {
                    let name = name.split('@').next().unwrap_or(name);
                    addresses.entry(demangle(name)).or_default().insert((index, value.to_owned()));
                }
            }
        }
    }
    addresses
}
