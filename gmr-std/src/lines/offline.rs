//! Names and lines for a report that another process wrote, on any machine:
//! what `gmr symbolize` is made of. Not for programs.
//!
//! 1. [`DebugFile::open`] takes a file if its build-id is the stated one, and
//!    no other reason.
//! 2. [`find`] looks up all wanted addresses of one object: in the symbol
//!    tables, then in the debug information.
//! 3. [`Found::lines`] puts the two together as the Threads section does.
//!
//! Limits: 1 GiB (`MEMORY_BYTES`) and 10 minutes for each object; what they
//! take away is said in [`Found::summary`].

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use gmr_core::hosted::SourceLine;
use gmr_core::symbols::{self, FdSource, NameArena};

use super::file::{ElfFile, open};
use super::{Limits, LineTable, Object, Wanted, resolve};

/// For the search in one object. Nobody's service waits behind this one, and
/// compressed sections have to be held as a whole.
const MEMORY_BYTES: u64 = 1 << 30;

/// For the search in one object: a slow disk, not a file without an end.
const LONGEST_SEARCH: Duration = Duration::from_secs(600);

/// Addresses that one pass over a symbol table looks for.
const NAMES_AT_ONCE: usize = 4096;

/// Enough for the longest name of each of them.
const NAME_BYTES: usize = NAMES_AT_ONCE * symbols::MAX_NAME_BYTES;

/// For symbols as they are read.
const SCRATCH_BYTES: usize = 64 * 1024;

/// An object's file, or its debug file: it has the object's build-id.
pub struct DebugFile {
    elf: ElfFile,
    path: PathBuf,
}

impl std::fmt::Debug for DebugFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DebugFile").field(&self.path).finish()
    }
}

/// Why a file is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no regular file that can be opened.
    Absent,
    /// No 64-bit little-endian ELF file.
    NotElf,
    /// Its build-id is another one, or it has none.
    OtherBuildId(Option<Vec<u8>>),
}

impl DebugFile {
    /// Opens a file that must have this build-id.
    ///
    /// # Errors
    ///
    /// [`Refused`]: it is not there, or not the one.
    pub fn open(path: &Path, build_id: &[u8]) -> Result<Self, Refused> {
        let (file, _) = open(path).ok_or(Refused::Absent)?;
        let elf = ElfFile::new(file).ok_or(Refused::NotElf)?;
        match elf.build_id() {
            Some(found) if found == build_id => Ok(DebugFile { elf, path: path.to_owned() }),
            other => Err(Refused::OtherBuildId(other)),
        }
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has debug information: file and line.
    #[must_use]
    pub fn has_lines(&self) -> bool {
        self.elf.has(".debug_info")
    }

    /// Has the whole symbol table.
    #[must_use]
    pub fn has_symbols(&self) -> bool {
        self.elf.has(".symtab")
    }

    /// Has the symbols that a stripped object keeps.
    #[must_use]
    pub fn has_dynamic_symbols(&self) -> bool {
        self.elf.has(".dynsym")
    }
}

/// What [`Found::lines`] knows of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// The name of the function.
    Name,
    /// What debug information has of it.
    Lines,
}

/// What is known of the addresses of one object.
#[derive(Debug, Default)]
pub struct Found {
    names: HashMap<u64, (Rc<str>, bool)>,
    table: LineTable,
    /// A symbol table was not read to its end.
    names_were_cut: bool,
}

/// Looks addresses up: SVMAs, 1 less for return addresses.
///
/// Names come from the symbol tables of `symbols`, the first that has one for
/// an address; files, lines and inlined functions from `lines`. What has been
/// split off is looked for at `packages`, each with `.dwp` behind it. Long
/// generic arguments are left out unless `full_names` are wanted.
#[must_use]
pub fn find(
    svmas: &[u64],
    symbols: &[&DebugFile],
    lines: Option<&DebugFile>,
    packages: &[PathBuf],
    full_names: bool,
) -> Found {
    let mut found = Found::default();
    for file in symbols {
        found.find_names(file, svmas, full_names);
    }
    let Some((lines, file)) =
        lines.and_then(|lines| Some((lines, lines.elf.file.try_clone().ok()?)))
    else {
        return found;
    };
    let has_package = |path: &&PathBuf| super::with_suffix(path, ".dwp").is_file();
    let path = packages.iter().find(has_package).map_or(lines.path(), PathBuf::as_path);
    let object = Object {
        path: path.as_os_str().as_bytes().to_vec(),
        file: Some(file),
        build_id: lines.elf.build_id(),
        device_inode: None,
        is_executable: true,
        wanted: svmas.iter().map(|&svma| Wanted { avma: svma, svma }).collect(),
    };
    let limits = Limits {
        memory_bytes: MEMORY_BYTES,
        deadline: Instant::now() + LONGEST_SEARCH,
        is_wanted: &|| true,
        debug_dirs: &[],
        system_libraries: true,
        full_names,
    };
    found.table = resolve(vec![object], &limits);
    found
}

impl Found {
    fn find_names(&mut self, file: &DebugFile, svmas: &[u64], full_names: bool) {
        let end = Instant::now() + LONGEST_SEARCH;
        let left: Vec<u64> =
            svmas.iter().copied().filter(|svma| !self.names.contains_key(svma)).collect();
        if left.is_empty() {
            return;
        }
        let (mut memory, mut scratch) = (vec![0; NAME_BYTES], vec![0; SCRATCH_BYTES]);
        for svmas in left.chunks(NAMES_AT_ONCE) {
            let mut arena = NameArena::new(&mut memory);
            arena.keep_full_names(full_names);
            let mut wanted: Vec<_> =
                svmas.iter().map(|&svma| symbols::Wanted::new(svma, 0)).collect();
            let source = FdSource(file.elf.file.as_fd());
            let mut keep_going = || Instant::now() < end;
            let done =
                symbols::resolve(&source, &mut wanted, &mut arena, &mut scratch, &mut keep_going);
            self.names_were_cut |= done.status == symbols::ResolveStatus::Stopped;
            // One text for all addresses of a function.
            let mut functions: HashMap<Option<u64>, Rc<str>> = HashMap::new();
            for wanted in &wanted {
                let Some(name) = wanted.name else { continue };
                let text = functions
                    .entry(wanted.function_svma)
                    .or_insert_with(|| Rc::from(arena.get(name)));
                self.names.insert(wanted.svma, (Rc::clone(text), name.truncated));
            }
        }
    }

    /// Calls `each` with the functions at an address, the most inlined first,
    /// as a report of the unstripped object has them. `shown` is the name that
    /// the report has already, and whether it was cut.
    pub fn lines(
        &self,
        svma: u64,
        shown: Option<(&str, bool)>,
        each: &mut dyn FnMut(&SourceLine<'_>),
    ) -> Known {
        // The symbol table's name is the better one: line tables alone name
        // functions without their modules.
        let named = self.names.get(&svma).map(|(name, is_cut)| (&**name, *is_cut));
        let symbol = named.or(shown);
        let mut has_lines = false;
        for line in self.table.frames(svma) {
            has_lines = true;
            let (function, function_truncated) = match symbol {
                Some((name, is_cut)) if !line.is_inlined => (Some(name), is_cut),
                _ => (line.function, line.function_truncated),
            };
            each(&SourceLine {
                function,
                function_truncated,
                file: line.file,
                line: line.line,
                is_inlined: line.is_inlined,
            });
        }
        match named {
            _ if has_lines => Known::Lines,
            Some((name, is_cut)) => {
                each(&SourceLine {
                    function: Some(name),
                    function_truncated: is_cut,
                    ..SourceLine::default()
                });
                Known::Name
            }
            None => Known::Nothing,
        }
    }

    /// What a limit took away, in one line.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        if self.table.was_cut() {
            return Some(self.table.summary());
        }
        self.names_were_cut.then_some("the symbol table was not read in time")
    }
}
