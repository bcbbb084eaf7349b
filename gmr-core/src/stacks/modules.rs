//! The loaded objects: what is mapped where, with its unwind information.
//!
//! 1. A normal thread walks dl_iterate_phdr(3) (which takes the loader's lock)
//!    and builds a table: at setup, and at `refresh`.
//! 2. The table is immutable. Two of them exist at most: the current one, and
//!    one that a report may still be reading. `refresh` builds into the other
//!    place and switches; it waits for no report.
//! 3. A report compares the table with /proc/self/maps and does not trust an
//!    entry that is no longer what it was ([`Table::check`]).
//!
//! The sections of objects that can never be unloaded (the executable, the
//! loader, libc, the vDSO) are read in place; those of all others are copied
//! *inside* the dl_iterate_phdr callback, while the loader's lock keeps them
//! mapped.
//!
//! Limits: [`MAX_MODULES`] objects; objects of 4 GiB and more have no stacks.
//!
//! # Safety
//!
//! Program headers are read inside the callback, where the loader vouches for
//! them; each section is bounded by its PT_LOAD segment.
#![expect(unsafe_code, reason = "reads the loader's structures")]

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use framehop::{ExplicitModuleSectionInfo, Unwinder as _};

use rustix::fd::AsFd;

use super::rules::CallFrameInfo;
use super::unwind::{Framehop, Modules, Section};
use crate::procfs::{maps, read};

/// More objects than any process in the field was seen with.
pub(crate) const MAX_MODULES: usize = 4096;

/// Which file a mapping shows (proc_pid_maps(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    pub(crate) device_major: u32,
    pub(crate) device_minor: u32,
    pub(crate) inode: u64,
}

impl FileIdentity {
    /// Of a line of maps.
    pub(crate) fn of(mapping: &maps::Mapping<'_>) -> Self {
        FileIdentity {
            device_major: mapping.device_major,
            device_minor: mapping.device_minor,
            inode: mapping.inode,
        }
    }
}

/// One loaded object.
#[derive(Debug)]
pub(crate) struct Module {
    /// First mapped address.
    pub(crate) start: u64,
    /// First address behind it.
    pub(crate) end: u64,
    /// Address in memory minus address in the file.
    pub(crate) bias: u64,
    /// As the loader knows it; the executable's is read from /proc/self/exe.
    pub(crate) path: Box<[u8]>,
    /// The executable: its descriptor is kept from setup.
    pub(crate) is_executable: bool,
    /// The vDSO: it has no file.
    pub(crate) is_vdso: bool,
    /// It cannot be unloaded: the executable, the loader, libc, the vDSO.
    pub(crate) is_permanent: bool,
    /// The file that is mapped there.
    pub(crate) identity: Option<FileIdentity>,
    /// Its build-id, from memory.
    pub(crate) build_id: Option<Box<[u8]>>,
    header: Option<Part>,
    frames: Option<Part>,
    /// Set by a report that found something else mapped there.
    stale: AtomicBool,
}

#[derive(Debug, Clone)]
struct Part {
    section: Section,
    svma: u64,
}

impl Module {
    /// The file's name without its directory.
    pub(crate) fn file_name(&self) -> &[u8] {
        match self.path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => self.path.get(slash.saturating_add(1)..).unwrap_or_default(),
            None => &self.path,
        }
    }

    /// Whether a report found that this is no longer what is mapped there.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// For those who look for its source lines.
    pub(crate) fn describe(&self) -> crate::hosted::LoadedObject<'_> {
        crate::hosted::LoadedObject {
            path: &self.path,
            start: self.start,
            end: self.end,
            bias: self.bias,
            build_id: self.build_id.as_deref(),
            device_inode: self
                .identity
                .map(|file| (file.device_major, file.device_minor, file.inode)),
            is_executable: self.is_executable,
            is_vdso: self.is_vdso,
        }
    }

    fn info(&self) -> Option<CallFrameInfo<'_>> {
        let (header, frames) = (self.header.as_ref()?, self.frames.as_ref()?);
        Some(CallFrameInfo {
            header: &header.section,
            header_svma: header.svma,
            frames: &frames.section,
            frames_svma: frames.svma,
        })
    }
}

/// All objects, sorted by address.
pub(crate) struct Table {
    modules: Vec<Module>,
    framehop: Framehop,
    generation: u64,
    counts: Counts,
    /// Changes with the set of stale entries.
    stale_set: AtomicU64,
    /// There were more than [`MAX_MODULES`].
    pub(crate) is_cut: bool,
}

impl core::fmt::Debug for Table {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Table").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}

static GENERATIONS: AtomicU64 = AtomicU64::new(1);

impl Table {
    /// Walks the loaded objects. Allocates and takes the loader's lock: for
    /// normal threads only.
    pub(crate) fn collect() -> Self {
        let mut found = Found { modules: Vec::new(), counts: Counts::default(), is_cut: false };
        // SAFETY: the callback matches, and `found` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
        let Found { mut modules, counts, is_cut } = found;
        modules.sort_by_key(|module| module.start);
        identify(&mut modules);
        let mut framehop = Framehop::new();
        for module in &modules {
            let (Some(header), Some(frames)) = (&module.header, &module.frames) else { continue };
            let section_info = ExplicitModuleSectionInfo {
                base_svma: 0,
                eh_frame_hdr_svma: Some(range(header)),
                eh_frame_hdr: Some(header.section.clone()),
                eh_frame_svma: Some(range(frames)),
                eh_frame: Some(frames.section.clone()),
                ..Default::default()
            };
            framehop.add_module(framehop::Module::new(
                String::new(),
                module.start..module.end,
                module.bias,
                section_info,
            ));
        }
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        Table { modules, framehop, generation, counts, stale_set: AtomicU64::new(0), is_cut }
    }

    /// Whether any object can be unloaded.
    pub(crate) fn has_unloadable(&self) -> bool {
        self.modules.iter().any(|module| !module.is_permanent)
    }

    /// Whether no object has been unloaded between this table and `later`: then
    /// what this one says of an address was true all the while.
    pub(crate) fn outlives(&self, later: &Table) -> bool {
        self.counts.unloaded == later.counts.unloaded
    }

    /// Trusts no object that can be unloaded.
    pub(crate) fn distrust(&self) {
        for module in self.modules.iter().filter(|module| !module.is_permanent) {
            module.stale.store(true, Ordering::Relaxed);
        }
        self.summarise_stale();
    }

    /// All modules, by address.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// The module at `address`, stale ones included.
    pub(crate) fn find(&self, address: u64) -> Option<(usize, &Module)> {
        let index =
            self.modules.partition_point(|module| module.start <= address).checked_sub(1)?;
        let module = self.modules.get(index)?;
        (address < module.end).then_some((index, module))
    }

    /// The build-id of the executable, from memory.
    pub(crate) fn executable_build_id(&self) -> Option<&[u8]> {
        self.modules.iter().find(|module| module.is_executable)?.build_id.as_deref()
    }

    /// Begins a comparison with /proc/self/maps: nothing is known yet.
    pub(crate) fn begin_check(&self) -> Check<'_> {
        for module in &self.modules {
            // The vDSO and the executable cannot go away.
            let fixed = module.is_executable || module.is_vdso;
            module.stale.store(!fixed, Ordering::Relaxed);
        }
        Check { table: self, unknown: 0 }
    }

    /// Counts the stale entries, and makes their set part of the generation.
    fn summarise_stale(&self) -> usize {
        let (mut count, mut set) = (0_usize, 0_u64);
        for module in self.modules.iter().filter(|module| module.is_stale()) {
            count = count.saturating_add(1);
            // Not a secret hash: it only has to differ when the set does.
            set = set.rotate_left(7) ^ module.start.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        self.stale_set.store(set ^ (set >> 32), Ordering::Relaxed);
        count
    }

    /// Trusts every entry again: maps could not be read, and to distrust
    /// everything would be no report at all. The report says so.
    pub(crate) fn trust_all(&self) {
        for module in &self.modules {
            module.stale.store(false, Ordering::Relaxed);
        }
    }
}

/// A comparison with /proc/self/maps, line by line.
pub(crate) struct Check<'a> {
    table: &'a Table,
    /// Executable file mappings that no entry knows.
    pub(crate) unknown: u32,
}

impl Check<'_> {
    /// One line of maps.
    pub(crate) fn line(&mut self, start: u64, identity: FileIdentity, is_executable: bool) {
        if identity.inode == 0 {
            return;
        }
        match self.table.find(start) {
            Some((_, module)) if module.identity == Some(identity) => {
                let differs = module.start != start && module.is_stale();
                module.stale.store(differs, Ordering::Relaxed);
            }
            Some(_) => self.unknown = self.unknown.saturating_add(1),
            None if is_executable => self.unknown = self.unknown.saturating_add(1),
            None => {}
        }
    }

    /// Ends the comparison: how many entries are no longer mapped.
    pub(crate) fn stale(&self) -> usize {
        self.table.summarise_stale()
    }
}

impl Modules for Table {
    fn framehop(&self) -> &Framehop {
        &self.framehop
    }

    fn lookup(&self, address: u64) -> Option<(u64, Option<CallFrameInfo<'_>>)> {
        let (_, module) = self.find(address)?;
        (!module.is_stale()).then(|| (module.bias, module.info()))
    }

    fn code(&self, address: u64, into: &mut [u8]) -> usize {
        crate::sys::vm::read_foreign(address, into).unwrap_or(0)
    }

    fn generation(&self) -> u64 {
        (self.generation << 32) | (self.stale_set.load(Ordering::Relaxed) & 0xffff_ffff)
    }
}

fn range(part: &Part) -> core::ops::Range<u64> {
    part.svma..part.svma.saturating_add(part.section.len() as u64)
}

/// How many objects the loader has ever loaded and unloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    loaded: u64,
    unloaded: u64,
}

impl Counts {
    fn of(info: &libc::dl_phdr_info) -> Self {
        Counts { loaded: info.dlpi_adds, unloaded: info.dlpi_subs }
    }

    /// Takes the loader's lock: for normal threads only.
    fn now() -> Self {
        let mut counts = Counts::default();
        // SAFETY: the callback matches, and `counts` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(count), (&raw mut counts).cast()) };
        counts
    }
}

unsafe extern "C" fn count(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a valid structure.
    let info = unsafe { &*info };
    // SAFETY: `now` passes its counts.
    let counts = unsafe { &mut *data.cast::<Counts>() };
    *counts = Counts::of(info);
    1
}

struct Found {
    modules: Vec<Module>,
    counts: Counts,
    is_cut: bool,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> libc::c_int {
    // SAFETY: `collect` passes its `Found`.
    let found = unsafe { &mut *data.cast::<Found>() };
    // SAFETY: the loader passes a valid structure.
    let info = unsafe { &*info };
    found.counts = Counts::of(info);
    if found.modules.len() >= MAX_MODULES {
        found.is_cut = true;
        return 1;
    }
    // SAFETY: and it says where its program headers are.
    let headers =
        unsafe { core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    // SAFETY: a C string of the loader, or null.
    let name = unsafe { info.dlpi_name.as_ref() }
        .map_or(&b""[..], |name| unsafe { CStr::from_ptr(name) }.to_bytes());
    if let Some(module) = read_module(info.dlpi_addr, headers, name, found.modules.is_empty()) {
        found.modules.push(module);
    }
    0
}

fn read_module(
    bias: u64,
    headers: &[libc::Elf64_Phdr],
    name: &[u8],
    is_first: bool,
) -> Option<Module> {
    let loads = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let start = loads().map(|header| header.p_vaddr).min()?;
    let end = loads().map(|header| header.p_vaddr.wrapping_add(header.p_memsz)).max()?;
    let (start, end) = (bias.wrapping_add(start & !0xfff), bias.wrapping_add(end));
    // SAFETY: no preconditions; 0 if there is none.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let is_vdso = vdso != 0 && (start..end).contains(&vdso);
    let libc_code = libc::getpid as *const () as u64;
    // SAFETY: no preconditions; 0 if there is none.
    let interpreter = unsafe { libc::getauxval(libc::AT_BASE) };
    let is_interpreter = interpreter != 0 && (start..end).contains(&interpreter);
    let is_permanent = is_first || is_vdso || is_interpreter || (start..end).contains(&libc_code);
    let (header, frames) = read_sections(bias, headers, is_permanent).unzip();
    Some(Module {
        start,
        end,
        bias,
        path: if is_vdso { Box::from(&b"[vdso]"[..]) } else { Box::from(name) },
        is_executable: is_first,
        is_vdso,
        is_permanent,
        identity: None,
        build_id: read_build_id(bias, headers),
        header,
        frames,
        stale: AtomicBool::new(false),
    })
}

/// The build-id note (NT_GNU_BUILD_ID) of a loaded object.
fn read_build_id(bias: u64, headers: &[libc::Elf64_Phdr]) -> Option<Box<[u8]>> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let is_loaded = |note: &libc::Elf64_Phdr| {
        let end = note.p_vaddr.saturating_add(note.p_filesz);
        headers.iter().any(|header| {
            header.p_type == libc::PT_LOAD
                && header.p_flags & libc::PF_R != 0
                && header.p_vaddr <= note.p_vaddr
                && end <= header.p_vaddr.saturating_add(header.p_filesz)
        })
    };
    let notes = headers.iter().filter(|header| header.p_type == libc::PT_NOTE);
    for note in notes.filter(|note| is_loaded(note)) {
        let length = usize::try_from(note.p_filesz).unwrap_or(0);
        let address = bias.wrapping_add(note.p_vaddr) as *const u8;
        // SAFETY: in a readable segment; the loader keeps it mapped meanwhile.
        let mut rest = unsafe { core::slice::from_raw_parts(address, length) };
        while let Some((header, body)) = rest.split_first_chunk::<12>() {
            let word = |at: usize| {
                let bytes = header.get(at..).and_then(|rest| rest.first_chunk::<4>());
                bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
            };
            let padded = |size: u32| (size as usize).next_multiple_of(4);
            let (name, description) = (word(0), word(4));
            let Some((name_bytes, body)) = body.split_at_checked(padded(name)) else { break };
            let Some(found) = body.get(..description as usize) else { break };
            if word(8) == NT_GNU_BUILD_ID && name_bytes.starts_with(b"GNU\0") {
                return Some(Box::from(found));
            }
            rest = body.get(padded(description)..).unwrap_or_default();
        }
    }
    None
}

/// `.eh_frame_hdr` by its program header, `.eh_frame` by the former's pointer.
fn read_sections(
    bias: u64,
    headers: &[libc::Elf64_Phdr],
    is_permanent: bool,
) -> Option<(Part, Part)> {
    let segment_of = |svma: u64| {
        headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_R != 0)
            .map(|header| (header.p_vaddr, header.p_vaddr.wrapping_add(header.p_filesz)))
            .find(|(start, end)| (*start..*end).contains(&svma))
    };
    let bytes = |from: u64, to: u64| -> &'static [u8] {
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        // SAFETY: from..to lies in a readable segment that is mapped as long
        // as the caller's copy or the object's permanence demands.
        unsafe { core::slice::from_raw_parts(bias.wrapping_add(from) as *const u8, length) }
    };
    let header = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
    let header_svma = header.p_vaddr;
    let (_, segment_end) = segment_of(header_svma)?;
    let header_end = header_svma.checked_add(header.p_memsz)?.min(segment_end);
    let header_bytes = bytes(header_svma, header_end);
    // Version 1; the pointer to .eh_frame is a pc-relative signed 32-bit number
    // (0x1b), as every linker writes it.
    let (version, encoding) = (*header_bytes.first()?, *header_bytes.get(1)?);
    if (version, encoding) != (1, 0x1b) {
        return None;
    }
    let relative = i32::from_ne_bytes(*header_bytes.get(4..)?.first_chunk::<4>()?);
    let frames_svma = header_svma.wrapping_add(4).wrapping_add_signed(i64::from(relative));
    let (_, segment_end) = segment_of(frames_svma)?;
    let frames_bytes = cut_at_terminator(bytes(frames_svma, segment_end));
    let part = |bytes: &'static [u8], svma| Part {
        section: if is_permanent {
            Section::Mapped(bytes)
        } else {
            Section::Copied(Arc::from(bytes))
        },
        svma,
    };
    Some((part(header_bytes, header_svma), part(frames_bytes, frames_svma)))
}

/// Program headers do not say where `.eh_frame` ends; its zero terminator does.
fn cut_at_terminator(bytes: &[u8]) -> &[u8] {
    let mut at = 0_usize;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = u32::from_ne_bytes(*length);
        if length == 0 || length == u32::MAX {
            return bytes.get(..at.saturating_add(4)).unwrap_or(bytes);
        }
        at = at.saturating_add(4).saturating_add(length as usize);
    }
    bytes
}

/// Notes which file each module is mapped from.
fn identify(modules: &mut [Module]) {
    // Not `self`: that is the main thread, which may have ended.
    let Ok(file) = read::open(rustix::fs::CWD, c"/proc/thread-self/maps") else { return };
    let mut buffer = alloc::vec![0_u8; maps::LINE_BYTES];
    let mut lines = maps::Maps::new(|into| read::some(file.as_fd(), into), &mut buffer);
    while let Some(Ok(line)) = lines.next() {
        for module in modules.iter_mut().filter(|module| module.start == line.start) {
            module.identity = Some(FileIdentity::of(&line));
            if module.is_executable {
                module.path = Box::from(line.path);
            }
        }
    }
}

/// Two places for tables.
#[derive(Debug)]
pub(crate) struct Tables {
    places: [AtomicPtr<Table>; 2],
    readers: [AtomicU32; 2],
    current: AtomicU32,
    refreshing: AtomicBool,
}

/// A table in use by a report. Dropping ends the use; a stuck report never
/// does, so its table is never freed under it.
#[derive(Debug)]
pub(crate) struct InUse<'a> {
    pub(crate) table: &'a Table,
    readers: &'a AtomicU32,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::Release);
    }
}

/// Only a setup that failed drops its tables: nobody reads them.
impl Drop for Tables {
    fn drop(&mut self) {
        for place in &mut self.places {
            let table = core::mem::replace(place.get_mut(), core::ptr::null_mut());
            if !table.is_null() {
                // SAFETY: of `Box::into_raw`, and no reader is left.
                drop(unsafe { Box::from_raw(table) });
            }
        }
    }
}

impl Tables {
    pub(crate) const fn new() -> Self {
        Tables {
            places: [AtomicPtr::new(core::ptr::null_mut()), AtomicPtr::new(core::ptr::null_mut())],
            readers: [AtomicU32::new(0), AtomicU32::new(0)],
            current: AtomicU32::new(0),
            refreshing: AtomicBool::new(false),
        }
    }

    fn place(&self, index: u32) -> Option<(&AtomicPtr<Table>, &AtomicU32)> {
        let index = index as usize & 1;
        Some((self.places.get(index)?, self.readers.get(index)?))
    }

    /// The current table. Signal-safe.
    pub(crate) fn current(&self) -> Option<InUse<'_>> {
        loop {
            let current = self.current.load(Ordering::SeqCst);
            let (place, readers) = self.place(current)?;
            readers.fetch_add(1, Ordering::SeqCst);
            // Counted in, then looked again: `refresh` frees a place only
            // after it was switched away from *and* had no readers.
            if self.current.load(Ordering::SeqCst) == current {
                // SAFETY: a table of `Box::into_raw`, kept while counted.
                let table = unsafe { place.load(Ordering::SeqCst).as_ref() };
                match table {
                    Some(table) => return Some(InUse { table, readers }),
                    None => {
                        readers.fetch_sub(1, Ordering::Release);
                        return None;
                    }
                }
            }
            readers.fetch_sub(1, Ordering::Release);
        }
    }

    /// Builds a new table unless the loader has loaded and unloaded nothing since
    /// the current one: a cheap question, but one that takes the loader's lock.
    pub(crate) fn refresh_if_changed(&self) -> bool {
        let is_same = self.current().is_some_and(|current| current.table.counts == Counts::now());
        is_same || self.refresh()
    }

    /// Builds a new table and makes it the current one. `false`: another
    /// refresh is under way, or a report still reads the place to build in.
    pub(crate) fn refresh(&self) -> bool {
        if self.refreshing.swap(true, Ordering::Acquire) {
            return false;
        }
        let done = self.refresh_alone();
        self.refreshing.store(false, Ordering::Release);
        done
    }

    fn refresh_alone(&self) -> bool {
        let next = self.current.load(Ordering::SeqCst).wrapping_add(1);
        let Some((place, readers)) = self.place(next) else { return false };
        if readers.load(Ordering::SeqCst) != 0 {
            return false;
        }
        let table = Box::into_raw(Box::new(Table::collect()));
        if readers.load(Ordering::SeqCst) != 0 {
            // SAFETY: made above, shown to nobody.
            drop(unsafe { Box::from_raw(table) });
            return false;
        }
        let old = place.swap(table, Ordering::SeqCst);
        self.current.store(next, Ordering::SeqCst);
        if !old.is_null() {
            // SAFETY: of `Box::into_raw`; its place was not current and had no
            // readers, and who counts in late sees that it is not current.
            drop(unsafe { Box::from_raw(old) });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::process::Command;

    fn own_maps(mut take: impl FnMut(&maps::Mapping<'_>)) {
        let file = read::open(rustix::fs::CWD, c"/proc/thread-self/maps").unwrap();
        let mut buffer = alloc::vec![0_u8; maps::LINE_BYTES];
        let mut lines = maps::Maps::new(|into| read::some(file.as_fd(), into), &mut buffer);
        while let Some(line) = lines.next() {
            take(&line.unwrap());
        }
    }

    /// Executable mappings that the table does not know, and entries that are
    /// no longer mapped.
    fn compared(table: &Table) -> (u32, usize) {
        let mut check = table.begin_check();
        own_maps(|line| check.line(line.start, FileIdentity::of(line), line.is_executable()));
        (check.unknown, check.stale())
    }

    /// A library of one function, made for this test.
    fn library(name: &str) -> PathBuf {
        let source =
            std::env::temp_dir().join(alloc::format!("gmr-{}-{name}.c", std::process::id()));
        let library = source.with_extension("so");
        std::fs::write(&source, alloc::format!("int {name}(void) {{ return 1; }}\n")).unwrap();
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .expect("a C compiler");
        assert!(compiler.success());
        std::fs::remove_file(source).unwrap();
        library
    }

    #[test]
    fn every_executable_mapping_belongs_to_a_module() {
        let table = Table::collect();
        let mut seen = 0;
        own_maps(|line| {
            if line.is_executable() && (line.inode != 0 || line.path == b"[vdso]") {
                let (_, module) = table.find(line.start).expect("a module");
                assert!(module.start <= line.start && line.start < module.end);
                assert!(module.info().is_some(), "call frame information");
                assert!(module.build_id.as_deref().is_some_and(|id| !id.is_empty()));
                seen += 1;
            }
        });
        assert!(seen >= 4, "the executable, libc, the loader, the vDSO: {seen}");
        assert!(!table.is_cut);
        for module in table.modules() {
            assert_eq!(table.find(module.start).unwrap().1.start, module.start);
            assert_eq!(table.find(module.end - 1).unwrap().1.start, module.start);
            for outside in [module.start - 1, module.end] {
                assert!(table.find(outside).is_none_or(|(_, other)| other.start != module.start));
            }
        }
        for nowhere in [0, 1, u64::MAX] {
            assert!(table.find(nowhere).is_none());
        }
        let here = table.find(library as *const () as u64).unwrap().1;
        assert!(here.is_executable);
        let exe = std::fs::read_link("/proc/self/exe").unwrap();
        assert_eq!(here.file_name(), exe.file_name().unwrap().as_encoded_bytes());
    }

    /// One test, since it counts what other tests would load.
    #[test]
    fn libraries_that_come_and_go() {
        let before = Table::collect();
        assert_eq!(compared(&before), (0, 0));

        let path = library("gmr_comes_and_goes");
        let c_path = alloc::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a library without constructors.
        let handle = unsafe { libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        // SAFETY: an open library.
        let code = unsafe { libc::dlsym(handle, c"gmr_comes_and_goes".as_ptr()) } as u64;
        assert_ne!(code, 0);
        assert!(before.find(code).is_none());
        assert_eq!(compared(&before), (1, 0), "it came");

        let with = Table::collect();
        assert_eq!(compared(&with), (0, 0));
        let module = with.find(code).unwrap().1;
        assert_eq!(module.file_name(), path.file_name().unwrap().as_encoded_bytes());
        let (bias, info) = with.lookup(code).unwrap();
        assert_eq!(bias, module.bias);
        let header = info.unwrap().header.to_vec();

        // SAFETY: the handle of above; nothing of the library is in use.
        assert_eq!(unsafe { libc::dlclose(handle) }, 0);
        assert_eq!(compared(&with), (0, 1), "it went");
        assert!(module.is_stale());
        assert!(with.lookup(code).is_none());
        // Its call frame information is a copy.
        assert_eq!(module.info().unwrap().header, header);
        assert_eq!(compared(&before), (0, 0));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_table_in_use_is_not_freed() {
        let tables = Tables::new();
        assert!(tables.current().is_none());
        assert!(tables.refresh());
        let first = tables.current().unwrap();
        let generation = first.table.generation();
        assert!(tables.refresh());
        assert_ne!(tables.current().unwrap().table.generation(), generation);
        assert!(!tables.refresh(), "its place is being read");
        assert!(!first.table.modules().is_empty());
        assert_eq!(first.table.generation(), generation);
        drop(first);
        assert!(tables.refresh());
    }

    #[test]
    fn readers_and_a_refresher() {
        static TABLES: Tables = Tables::new();
        assert!(TABLES.refresh());
        let here = readers_and_a_refresher as *const () as u64;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let table = TABLES.current().unwrap();
                        assert!(table.table.find(here).is_some());
                    }
                });
            }
            for _ in 0..100 {
                TABLES.refresh();
            }
        });
    }
}
