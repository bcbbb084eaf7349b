//! File, line and inlined frames of addresses, from DWARF, within a memory
//! budget: step 2 of the symbol ladder.
//!
//! 1. [`locate`] finds the file that holds the debug information of an object,
//!    and makes sure that it belongs to what is mapped.
//! 2. [`file`] finds its sections and decompresses what is compressed;
//!    [`bytes`] reads them by pread, through a cache of fixed size.
//! 3. [`dwarf`] goes through the units; those that hold wanted addresses are
//!    read in one pass ([`unit`]), in which nothing is kept but what is found.
//! 4. [`symbols`] has the names of a stripped object's functions, where its debug
//!    file has kept them.
//! 5. [`table`] is what remains. Everything else is given back.
//!
//! The usual way, an index over all functions and lines (addr2line's), takes
//! as much memory as the debug information itself. A pass takes none: what
//! counts against the budget is the cache, one unit's abbreviations and list
//! of source files, and the result. So the budget is over only where a unit
//! has a monstrous list of files, or sections are compressed (they have to be
//! held as a whole).
//!
//! It runs on an ordinary thread: it allocates, and reading may wait for the
//! disk. The deadline is looked at before each read of a file and in each loop:
//! within a few milliseconds, whatever the file says.
//! Demangling takes [`MAX_STACK_BYTES`](gmr_core::symbols::MAX_STACK_BYTES) of
//! stack for the worst name.
//!
//! # Limitations
//!
//! - ELF, 64-bit, little-endian.
//! - Compressed sections that do not fit into the budget are not read at all.
//! - Supplementary files (`.gnu_debugaltlink`, made by dwz for distributions'
//!   debug packages) are not read: names that are there are missing.
//! - Type units are not read. No function is there.
//! - Where the linker folded equal functions into one, the first is shown.
//! - Source files that a line program itself defines (DW_LNE_define_file, which
//!   no compiler writes) are not known.
//! - C++ names stay mangled.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

pub(crate) mod budget;
pub(crate) mod bytes;
mod cgroup;
pub(crate) mod dwarf;
pub(crate) mod file;
pub(crate) mod locate;
pub(crate) mod names;
pub mod offline;
mod paths;
pub(crate) mod sections;
mod symbols;
mod table;
pub(crate) mod tally;
pub(crate) mod unit;

pub(crate) use budget::Limits;
pub(crate) use cgroup::default_memory_bytes;
#[cfg(test)]
use table::LineFrame;
pub(crate) use table::LineTable;

use budget::{Budget, Failure};
use bytes::{Cache, Section};
use dwarf::{ObjectDwarf, Output};
use file::{ElfFile, open};
use sections::{load, load_package};
use table::{Builder, NewFrame};
use tally::{Fate, Lost, Reason, Tally};
use unit::Found;

/// A loaded object with wanted addresses.
pub(crate) struct Object {
    /// As mapped.
    pub path: Vec<u8>,
    /// Already open; else `path` is opened.
    pub file: Option<File>,
    /// Of the mapped object: a file with another one is not believed.
    pub build_id: Option<Vec<u8>>,
    /// Of the mapped object, `st_dev` and `st_ino`; asked where there is no
    /// build-id.
    pub device_inode: Option<(u64, u64)>,
    /// The program itself is no system library, wherever it lies.
    pub is_executable: bool,
    /// What to look up.
    pub wanted: Vec<Wanted>,
}

/// An address to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// In the process: the key of what is found.
    pub avma: u64,
    /// In the file: load bias subtracted, and 1 if it is a return address.
    pub svma: u64,
}

/// Looks addresses up. Never fails: what is not found is said in the table's
/// [summary](LineTable::summary).
///
/// Blocks for as long as reading the files takes, at most until the deadline
/// (but for one read that the disk does not answer). A panic costs the object
/// it happened in; the program's panic hook is called all the same.
pub(crate) fn resolve(objects: Vec<Object>, limits: &Limits<'_>) -> LineTable {
    let budget = Budget::new(limits);
    let addresses = objects.iter().map(|object| object.wanted.len()).sum();
    let mut tally = Tally { addresses, ..Tally::default() };
    let (cache, builder) = (Cache::new(&budget), Builder::new(&budget));
    // Twice: the vector grows by doubling.
    let lost = budget.reserve(2 * addresses as u64 * size_of::<u64>() as u64);
    let (Ok(cache), Ok(mut table), Ok(_lost)) = (cache, builder, lost) else {
        tally.lost[Reason::OverBudget as usize] =
            Lost { objects: objects.len(), units: 0, addresses: tally.addresses };
        let all = objects.iter().flat_map(|object| &object.wanted).map(|wanted| wanted.avma);
        return LineTable::empty(tally.summary(limits), all.collect());
    };
    let mut lost_for_now = Vec::new();
    for mut object in objects {
        object.wanted.sort_unstable_by_key(|wanted| wanted.svma);
        let mut fates = vec![Fate::Open; object.wanted.len()];
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            resolve_object(&mut object, &budget, &cache, &mut fates, &mut tally, &mut table)
        }));
        let count = |wanted: Fate| fates.iter().filter(|&&fate| fate == wanted).count();
        tally.found += count(Fate::Found);
        let left = count(Fate::Open);
        let reason = match outcome {
            Ok(Ok(())) => Reason::NotCovered,
            Ok(Err(reason)) => reason,
            Err(_) => Reason::Panicked,
        };
        if left > 0 {
            tally.lose_object(reason, left);
        }
        let is_for_now = |fate: Fate| match fate {
            Fate::Open => reason.fate() == Fate::LostForNow,
            fate => fate == Fate::LostForNow,
        };
        let lost = object.wanted.iter().zip(&fates).filter(|&(_, &fate)| is_for_now(fate));
        lost_for_now.extend(lost.map(|(wanted, _)| wanted.avma));
    }
    table.finish(tally.summary(limits), tally.was_cut(), lost_for_now)
}

fn resolve_object(
    object: &mut Object,
    budget: &Budget<'_>,
    cache: &Cache<'_>,
    fates: &mut [Fate],
    tally: &mut Tally,
    table: &mut Builder<'_>,
) -> Result<(), Reason> {
    let reason = |failure: Failure| Reason::from(budget.explain(failure));
    budget.check().map_err(reason)?;
    if !object.is_executable && !budget.limits().system_libraries && is_system(&object.path) {
        return Err(Reason::SystemLibrary);
    }
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&object.path));
    let build_id = object.build_id.as_deref();
    let elf = open_object(object.file.take(), &path, build_id, object.device_inode)
        .ok_or(Reason::OtherFile)?;
    let has_symbols = elf.has(symbols::SYMTAB);
    let (elf, path) = locate::debug_file(elf, &path, build_id, budget)
        .map_err(reason)?
        .ok_or(Reason::NoDebugInfo)?;

    // What is kept of an address while it is looked for.
    let per_address = (size_of::<Found>() + 4 * size_of::<u64>()) as u64;
    let _reserved = budget.reserve(object.wanted.len() as u64 * per_address).map_err(reason)?;
    let sections = load(&elf, false, cache, budget, tally).map_err(reason)?;
    let dwarf = sections.borrow(|section| section.bytes());
    // What has been split off lies beside the object, or its debug file.
    let packed = [Path::new(std::ffi::OsStr::from_bytes(&object.path)), &path]
        .iter()
        .find_map(|path| open(&with_suffix(path, ".dwp")))
        .and_then(|(file, _)| ElfFile::new(file));
    let empty = Section::unread(cache, 0);
    let packed_sections = packed
        .as_ref()
        .map(|elf| load_package(elf, cache, budget, tally))
        .transpose()
        .map_err(reason)?;
    let package = packed_sections
        .as_ref()
        .map(|sections| sections.borrow(|section| section.bytes(), empty.bytes()))
        .transpose()
        .map_err(|error| reason(error.into()))?;
    let symbols = if has_symbols || !elf.has(symbols::SYMTAB) {
        Vec::new()
    } else {
        missing_symbols(&elf, &object.wanted, budget, tally, table).map_err(reason)?
    };
    ObjectDwarf { dwarf: &dwarf, package: package.as_ref(), cache, budget }
        .resolve(&mut Output { wanted: &object.wanted, fates, tally, table, symbols: &symbols })
        .map_err(reason)?;
    for ((wanted, fate), symbol) in object.wanted.iter().zip(&*fates).zip(&symbols) {
        if *fate == Fate::Open && symbol.is_some() {
            let frame = NewFrame { function: *symbol, file: None, line: 0, is_inlined: false };
            table.add(wanted.avma, &[frame]).map_err(reason)?;
        }
    }
    Ok(())
}

/// The names that the core cannot find: those of an object without a symbol
/// table of its own.
fn missing_symbols(
    elf: &ElfFile,
    wanted: &[Wanted],
    budget: &Budget<'_>,
    tally: &mut Tally,
    table: &mut Builder<'_>,
) -> Result<Vec<symbols::Name>, Failure> {
    match symbols::names(elf, wanted, budget, table) {
        // The debug information has names, too.
        Err(Failure::OverBudget) => {
            tally.lose_section(symbols::SYMTAB);
            Ok(Vec::new())
        }
        names => names,
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Whether an object belongs to the system rather than to the program.
fn is_system(path: &[u8]) -> bool {
    let path = path.strip_prefix(b"/usr").unwrap_or(path);
    [&b"/lib/"[..], b"/lib32/", b"/lib64/", b"/libx32/"].iter().any(|dir| path.starts_with(dir))
}

/// Opens the object's file, if it is what is mapped.
fn open_object(
    file: Option<File>,
    path: &Path,
    build_id: Option<&[u8]>,
    device_inode: Option<(u64, u64)>,
) -> Option<ElfFile> {
    let (file, metadata) = match file {
        Some(file) => file.metadata().ok().map(|metadata| (file, metadata))?,
        None => open(path)?,
    };
    let elf = ElfFile::new(file)?;
    let is_it = match build_id {
        Some(build_id) => elf.build_id().as_deref() == Some(build_id),
        None => device_inode == Some((metadata.dev(), metadata.ino())),
    };
    is_it.then_some(elf)
}

/// Looks addresses up in a file with a budget in bytes; how many frames were
/// found.
#[cfg(fuzzing)]
pub fn fuzzing(path: &Path, svmas: &[u64], memory_bytes: u64) -> usize {
    let Some((file, metadata)) = open(path) else { return 0 };
    let object = Object {
        path: path.as_os_str().as_bytes().to_vec(),
        file: Some(file),
        build_id: None,
        device_inode: Some((metadata.dev(), metadata.ino())),
        is_executable: true,
        wanted: svmas.iter().map(|&svma| Wanted { avma: svma, svma }).collect(),
    };
    let limits = Limits {
        memory_bytes,
        deadline: std::time::Instant::now() + std::time::Duration::from_secs(5),
        is_wanted: &|| true,
        debug_dirs: &[],
        system_libraries: false,
        full_names: false,
    };
    let table = resolve(vec![object], &limits);
    assert!(!table.summary().contains("not in time"), "{}", table.summary());
    svmas.iter().map(|&svma| table.frames(svma).count()).sum()
}

#[cfg(test)]
mod tests;
