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
        let is_mangled = |name: &String| name.starts_with("_R") || name.starts_with("_ZN");
        let has_path = !theirs.linkage.as_ref().is_some_and(is_mangled);
        match (&ours.function, &shown(theirs)) {
            (Some(ours), Some(theirs)) if ours == theirs => true,
            (Some(cut), Some(theirs)) if ours.function_truncated => theirs.starts_with(cut),
            (Some(ours), Some(theirs)) if has_path && theirs.rsplit("::").next() == Some(ours) => {
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
