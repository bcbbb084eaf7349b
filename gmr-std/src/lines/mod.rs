//! File, line and inlined frames of addresses, from DWARF, within a memory
//! budget: step 2 of the symbol ladder.
//!
//! 1. [`locate`] finds the file that holds the debug information of an object,
//!    and makes sure that it belongs to what is mapped.
//! 2. [`file`] finds its sections and decompresses what is compressed;
//!    [`bytes`] reads them by pread, through a cache of fixed size.
//! 3. [`dwarf`] goes through the units; those that hold wanted addresses are
//!    read in one pass ([`unit`]), in which nothing is kept but what is found.
//! 4. [`table`] is what remains. Everything else is given back.
//!
//! The usual way, an index over all functions and lines (addr2line's), takes
//! as much memory as the debug information itself. A pass takes none: what
//! counts against the budget is the cache, one unit's abbreviations and list
//! of source files, and the result. So the budget is over only where a unit
//! has a monstrous list of files, or sections are compressed (they have to be
//! held as a whole).
//!
//! It runs on an ordinary thread: it allocates, and reading may wait for the
//! disk. The deadline is looked at before each read and in each loop.
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
//! - C++ names stay mangled.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gimli::{DwarfPackageSections, DwarfSections, SectionId};

mod budget;
mod bytes;
mod cgroup;
mod dwarf;
mod file;
mod locate;
mod names;
mod paths;
mod table;
mod unit;

pub(crate) use budget::Limits;
pub(crate) use cgroup::default_memory_bytes;
pub(crate) use table::{LineFrame, LineTable};

use budget::{Budget, Failure};
use bytes::{Cache, Section};
use dwarf::{ObjectDwarf, Output};
use file::{ElfFile, open};
use table::Builder;
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

/// What has become of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Found,
    Lost,
}

/// Why addresses, or units, or objects, were not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    OverBudget,
    Late,
    Damaged,
    Panicked,
    OtherFile,
    NoDebugInfo,
    SplitMissing,
    NotCovered,
    SystemLibrary,
}

impl Reason {
    const ALL: [(Reason, &'static str); 9] = [
        (Reason::OverBudget, "over the memory budget"),
        (Reason::Late, "not in time"),
        (Reason::Damaged, "debug information damaged or not readable"),
        (Reason::Panicked, "panicked"),
        (Reason::OtherFile, "the file is not what is mapped, or not there"),
        (Reason::NoDebugInfo, "without debug information"),
        (Reason::SplitMissing, "split-off debug information not found"),
        (Reason::NotCovered, "in no unit"),
        (Reason::SystemLibrary, "system libraries, left to symbol tables"),
    ];
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::OverBudget => Reason::OverBudget,
            Failure::Stopped => Reason::Late,
            Failure::Damaged(_) => Reason::Damaged,
        }
    }
}

/// What the summary is made of.
#[derive(Debug, Default)]
struct Tally {
    addresses: usize,
    found: usize,
    units: usize,
    lost: [Lost; Reason::ALL.len()],
    /// Sections that were left out for want of memory.
    sections: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Lost {
    objects: usize,
    units: usize,
    addresses: usize,
}

impl Tally {
    fn lose_unit(&mut self, reason: Reason, addresses: usize) {
        let lost = &mut self.lost[reason as usize];
        lost.units += 1;
        lost.addresses += addresses;
    }

    fn lose_object(&mut self, reason: Reason, addresses: usize) {
        let lost = &mut self.lost[reason as usize];
        lost.objects += 1;
        lost.addresses += addresses;
    }

    fn was_cut(&self) -> bool {
        let lost = |reason: Reason| {
            let lost = self.lost[reason as usize];
            lost.objects + lost.units > 0
        };
        lost(Reason::OverBudget) || lost(Reason::Late) || !self.sections.is_empty()
    }

    fn summary(&self, limits: &Limits<'_>) -> String {
        let mut parts = vec![format!(
            "{} of {} addresses, {}",
            self.found,
            self.addresses,
            counted(self.units, "unit")
        )];
        for (lost, (reason, text)) in self.lost.iter().zip(Reason::ALL) {
            let mut what = Vec::new();
            if lost.objects > 0 {
                what.push(counted(lost.objects, "object"));
            }
            if lost.units > 0 {
                what.push(counted(lost.units, "unit"));
            }
            if reason == Reason::OverBudget && !self.sections.is_empty() {
                what.extend(self.sections.iter().cloned());
            }
            if !what.is_empty() {
                let size = match reason {
                    Reason::OverBudget => format!(" of {}", size(limits.memory_bytes)),
                    _ => String::new(),
                };
                let addresses = match lost.addresses {
                    0 => String::new(),
                    count => format!(" ({})", counted(count, "address")),
                };
                parts.push(format!("{text}{size}: {}{addresses}", what.join(", ")));
            }
        }
        parts.join("; ")
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = match noun {
        _ if count == 1 => "",
        "address" => "es",
        _ => "s",
    };
    format!("{count} {noun}{plural}")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
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
    let (Ok(cache), Ok(mut table)) = (cache, builder) else {
        tally.lost[Reason::OverBudget as usize] =
            Lost { objects: objects.len(), units: 0, addresses: tally.addresses };
        return LineTable::empty(tally.summary(limits));
    };
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
    }
    table.finish(tally.summary(limits), tally.was_cut())
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
    let (elf, path) = locate::debug_file(elf, &path, build_id, budget)
        .map_err(reason)?
        .ok_or(Reason::NoDebugInfo)?;

    // What is kept of an address while it is looked for.
    let per_address = (size_of::<Found>() + 3 * size_of::<u64>()) as u64;
    let _reserved = budget.reserve(object.wanted.len() as u64 * per_address).map_err(reason)?;
    let sections = load(&elf, false, cache, budget, &mut tally.sections).map_err(reason)?;
    let dwarf = sections.borrow(|section| section.bytes());
    // What has been split off lies beside the object, or its debug file.
    let packed = [Path::new(std::ffi::OsStr::from_bytes(&object.path)), &path]
        .iter()
        .find_map(|path| open(&with_suffix(path, ".dwp")))
        .and_then(|(file, _)| ElfFile::new(file));
    let empty = Section::unread(cache, 0);
    let packed_sections = packed
        .as_ref()
        .map(|elf| load_package(elf, cache, budget, &mut tally.sections))
        .transpose()
        .map_err(reason)?;
    let package = packed_sections
        .as_ref()
        .map(|sections| sections.borrow(|section| section.bytes(), empty.bytes()))
        .transpose()
        .map_err(|error| reason(error.into()))?;
    ObjectDwarf { dwarf: &dwarf, package: package.as_ref(), cache, budget }
        .resolve(&mut Output { wanted: &object.wanted, fates, tally, table })
        .map_err(reason)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Loads the sections that are needed: those of an object, or with `is_split`
/// those of a `.dwo` file.
fn load<'a>(
    elf: &'a ElfFile,
    is_split: bool,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
    left_out: &mut Vec<String>,
) -> Result<DwarfSections<Section<'a>>, Failure> {
    let name = |id: SectionId| if is_split { id.dwo_name() } else { Some(id.name()) };
    let mut sections = DwarfSections::load(|id| load_section(elf, id, name(id), cache, budget))?;
    let strings = load_strings(elf, name(SectionId::DebugStr), cache, budget, left_out)?;
    sections.debug_str = strings.into();
    Ok(sections)
}

/// Loads the sections of a `.dwp` file.
fn load_package<'a>(
    elf: &'a ElfFile,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
    left_out: &mut Vec<String>,
) -> Result<DwarfPackageSections<Section<'a>>, Failure> {
    let mut sections =
        DwarfPackageSections::load(|id| load_section(elf, id, id.dwo_name(), cache, budget))?;
    let name = SectionId::DebugStr.dwo_name();
    sections.debug_str = load_strings(elf, name, cache, budget, left_out)?.into();
    Ok(sections)
}

fn load_section<'a>(
    elf: &'a ElfFile,
    id: SectionId,
    name: Option<&str>,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
) -> Result<Section<'a>, Failure> {
    use SectionId::*;
    let Some(name) = name else { return Ok(Section::unread(cache, 0)) };
    match id {
        DebugAbbrev | DebugAddr | DebugCuIndex | DebugInfo | DebugLine | DebugLineStr
        | DebugRanges | DebugRngLists | DebugStrOffsets => elf.section(name, cache, budget),
        // A package's index refers to the others all the same.
        _ => Ok(Section::unread(cache, elf.section_bytes(name))),
    }
}

/// Loads the strings, after all else: lines without names are worth having,
/// since symbol tables know names too.
fn load_strings<'a>(
    elf: &'a ElfFile,
    name: Option<&str>,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
    left_out: &mut Vec<String>,
) -> Result<Section<'a>, Failure> {
    let name = name.unwrap_or_default();
    match elf.section(name, cache, budget) {
        Err(Failure::OverBudget) => {
            left_out.push(name.to_owned());
            Ok(Section::unread(cache, 0))
        }
        loaded => loaded,
    }
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

#[cfg(test)]
mod tests;
