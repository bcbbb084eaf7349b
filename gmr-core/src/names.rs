//! The function names of one report's frames.
//!
//! 1. Every distinct address of all frames goes into a hash table.
//! 2. For each object that has any, its symbol tables are read once, by pread,
//!    for all of them together ([`crate::symbols`]).
//! 3. Frames look their names up by address.
//!
//! A file is believed only if it is the one that is mapped: the same build-id,
//! or, where there is none, the same device and inode. The executable is read
//! through the descriptor kept from setup.
//!
//! Limits: [`ADDRESSES`] distinct addresses and [`NAME_BYTES`] of names per
//! report; what does not fit keeps its module and offset, and is counted.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::engine::Engine;
use crate::procfs::read;
use crate::stacks::collect::FrameRecord;
use crate::stacks::modules::{FileIdentity, MAX_MODULES, Module, Table};
use crate::stacks::unwind::Found;
use crate::symbols::{
    ElfSource, FdSource, NameArena, NameRef, ResolveStatus, Wanted, build_id, resolve,
};
use crate::sys::memory::{Region, Zeroable};

/// Distinct addresses: a power of two. A service with a thousand threads has
/// some hundred.
const ADDRESSES: usize = 16 * 1024;

/// Kept a quarter empty, so that a search ends soon.
const MAX_ADDRESSES: u32 = 12 * 1024;

/// Demangled names.
const NAME_BYTES: usize = 1024 * 1024;

/// Addresses that one pass over an object looks for.
const WANTED: usize = 1024;

/// For symbols as they are read.
const SCRATCH_BYTES: usize = 64 * 1024;

/// An address and where its name lies.
#[derive(Debug, Clone, Copy)]
struct Address {
    /// 0: this place is empty.
    avma: u64,
    offset: u32,
    len: u16,
    flags: u16,
}

const NAMED: u16 = 1;
const TRUNCATED: u16 = 2;
/// Looked for, found or not.
const TRIED: u16 = 4;

#[expect(unsafe_code, reason = "numbers only")]
// SAFETY: all bytes zero is an empty place.
unsafe impl Zeroable for Address {}

/// The table and its memory.
#[derive(Debug)]
pub(crate) struct Names {
    addresses: &'static mut [Address],
    arena: NameArena<'static>,
    wanted: &'static mut [Wanted],
    scratch: &'static mut [u8],
    per_module: &'static mut [u32],
    count: u32,
    named: u32,
    left_out: u32,
    unreadable: u32,
    /// A pass was ended by the deadline.
    was_stopped: bool,
}

impl Names {
    pub(crate) fn bytes_needed() -> usize {
        Region::bytes_for::<Address>(ADDRESSES)
            .saturating_add(NAME_BYTES)
            .saturating_add(SCRATCH_BYTES)
            .saturating_add(Region::bytes_for::<Wanted>(WANTED))
            .saturating_add(Region::bytes_for::<u32>(MAX_MODULES))
    }

    pub(crate) fn carve(region: &mut Region) -> Option<Self> {
        Some(Names {
            addresses: region.carve::<Address>(ADDRESSES)?,
            arena: NameArena::new(region.carve::<u8>(NAME_BYTES)?),
            wanted: region.carve_with(WANTED, || Wanted::new(0, 0))?,
            scratch: region.carve::<u8>(SCRATCH_BYTES)?,
            per_module: region.carve::<u32>(MAX_MODULES)?,
            count: 0,
            named: 0,
            left_out: 0,
            unreadable: 0,
            was_stopped: false,
        })
    }

    /// Finds the names of all `frames`. `bytes` is scratch for paths.
    pub(crate) fn resolve(
        &mut self,
        engine: &Engine,
        table: &Table,
        frames: &[FrameRecord],
        bytes: &mut [u8],
        keep_going: &mut dyn FnMut() -> bool,
    ) {
        self.addresses.fill(Address { avma: 0, offset: 0, len: 0, flags: 0 });
        self.arena.clear();
        self.arena.keep_full_names(engine.options.full_names);
        (self.count, self.named, self.left_out, self.unreadable) = (0, 0, 0, 0);
        self.was_stopped = false;
        self.resolve_more(engine, table, frames, bytes, keep_going);
    }

    /// Finds the names of further `frames` of the same report.
    pub(crate) fn resolve_more(
        &mut self,
        engine: &Engine,
        table: &Table,
        frames: &[FrameRecord],
        bytes: &mut [u8],
        keep_going: &mut dyn FnMut() -> bool,
    ) {
        self.per_module.fill(0);
        for frame in frames {
            self.want(table, lookup_address(&frame.found()));
        }
        for (index, module) in table.modules().iter().enumerate() {
            let wanted = self.per_module.get(index).copied().unwrap_or(0);
            if wanted > 0 && !module.is_stale() {
                self.resolve_module(engine, module, bytes, keep_going);
            }
        }
    }

    /// The name at a frame's address, and whether it was cut.
    pub(crate) fn of(&self, found: &Found) -> Option<(&str, bool)> {
        let avma = lookup_address(found);
        let mut place = hash(avma);
        for _ in 0..ADDRESSES {
            let address = self.addresses.get(place)?;
            if address.avma == 0 {
                return None;
            }
            if address.avma == avma {
                if address.flags & NAMED == 0 {
                    return None;
                }
                let truncated = address.flags & TRUNCATED != 0;
                let name = NameRef { offset: address.offset, len: address.len, truncated };
                return Some((self.arena.get(name), truncated));
            }
            place = next(place);
        }
        None
    }

    /// Whether a limit or a deadline of ours took names away.
    pub(crate) fn was_cut(&self) -> bool {
        self.left_out > 0 || self.arena.lost() > 0 || self.was_stopped
    }

    /// For the end block.
    pub(crate) fn summary(&self) -> heapless::String<128> {
        let mut text = heapless::String::new();
        let _ = ufmt::uwrite!(&mut text, "{} of {} addresses", self.named, self.count);
        if self.left_out > 0 {
            let _ = ufmt::uwrite!(&mut text, ", {} over the limit", self.left_out);
        }
        if self.arena.lost() > 0 {
            let _ = ufmt::uwrite!(&mut text, ", {} without room", self.arena.lost());
        }
        if self.was_stopped {
            let _ = ufmt::uwrite!(&mut text, ", stopped by the deadline");
        }
        if self.unreadable > 0 {
            let _ = ufmt::uwrite!(&mut text, ", {} objects not readable", self.unreadable);
        }
        text
    }

    fn want(&mut self, table: &Table, avma: u64) {
        let Some((index, _)) = table.find(avma) else { return };
        if avma == 0 {
            return;
        }
        let mut place = hash(avma);
        for _ in 0..ADDRESSES {
            let Some(address) = self.addresses.get_mut(place) else { return };
            if address.avma == avma {
                return;
            }
            if address.avma == 0 {
                if self.count >= MAX_ADDRESSES {
                    self.left_out = self.left_out.saturating_add(1);
                    return;
                }
                address.avma = avma;
                self.count = self.count.saturating_add(1);
                if let Some(count) = self.per_module.get_mut(index) {
                    *count = count.saturating_add(1);
                }
                return;
            }
            place = next(place);
        }
    }

    fn resolve_module(
        &mut self,
        engine: &Engine,
        module: &Module,
        bytes: &mut [u8],
        keep_going: &mut dyn FnMut() -> bool,
    ) {
        if module.is_vdso {
            let image = vdso_image(module);
            self.passes(&image, module, keep_going);
        } else if module.is_executable {
            match &engine.executable {
                // Under an explicit loader /proc/self/exe is the loader.
                Some(file) if is_same(module, file.as_fd()) => {
                    self.passes(&FdSource(file.as_fd()), module, keep_going);
                }
                _ => self.unreadable = self.unreadable.saturating_add(1),
            }
        } else {
            match open(module, bytes) {
                Some(file) => self.passes(&FdSource(file.as_fd()), module, keep_going),
                None => self.unreadable = self.unreadable.saturating_add(1),
            }
        }
    }

    /// One pass for each [`WANTED`] addresses of the module.
    fn passes(
        &mut self,
        source: &impl ElfSource,
        module: &Module,
        keep_going: &mut dyn FnMut() -> bool,
    ) {
        let mut from = 0_usize;
        while from < ADDRESSES && keep_going() {
            let mut used = 0_usize;
            let places = self.addresses.iter().enumerate().skip(from);
            from = ADDRESSES;
            for (place, address) in places {
                let is_wanted = address.avma != 0
                    && address.flags & TRIED == 0
                    && (module.start..module.end).contains(&address.avma);
                if !is_wanted {
                    continue;
                }
                let Some(wanted) = self.wanted.get_mut(used) else {
                    from = place;
                    break;
                };
                *wanted = Wanted::new(address.avma.wrapping_sub(module.bias), place as u32);
                used = used.saturating_add(1);
            }
            let wanted = self.wanted.get_mut(..used).unwrap_or_default();
            if wanted.is_empty() {
                return;
            }
            let done = resolve(source, wanted, &mut self.arena, self.scratch, keep_going);
            match done.status {
                ResolveStatus::Failed(_) => self.unreadable = self.unreadable.saturating_add(1),
                ResolveStatus::Stopped => self.was_stopped = true,
                _ => {}
            }
            for wanted in wanted.iter() {
                let Some(address) = self.addresses.get_mut(wanted.tag as usize) else { continue };
                address.flags = TRIED;
                let Some(name) = wanted.name else { continue };
                address.offset = name.offset;
                address.len = name.len;
                address.flags |= NAMED | if name.truncated { TRUNCATED } else { 0 };
                self.named = self.named.saturating_add(1);
            }
        }
    }
}

impl crate::hosted::EachAddress for Names {
    fn each(&self, take: &mut dyn FnMut(u64)) {
        self.addresses.iter().map(|it| it.avma).filter(|avma| *avma != 0).for_each(take);
    }
}

/// A signal frame is looked up by its own address, like an interrupted one.
fn lookup_address(found: &Found) -> u64 {
    found.lookup_address()
}

fn hash(avma: u64) -> usize {
    // Fibonacci hashing; the table has 2^14 places.
    (avma.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as usize & ADDRESSES.wrapping_sub(1)
}

fn next(place: usize) -> usize {
    place.wrapping_add(1) & ADDRESSES.wrapping_sub(1)
}

/// The vDSO as it is mapped: the kernel never takes it away.
fn vdso_image(module: &Module) -> &'static [u8] {
    let length = usize::try_from(module.end.saturating_sub(module.start)).unwrap_or(0);
    #[expect(unsafe_code, reason = "the kernel's own mapping")]
    // SAFETY: mapped readable for the life of the process.
    unsafe {
        core::slice::from_raw_parts(module.start as *const u8, length)
    }
}

/// Opens a module's file, if it still is what is mapped.
fn open(module: &Module, bytes: &mut [u8]) -> Option<OwnedFd> {
    let path = bytes.get_mut(..module.path.len().checked_add(1)?)?;
    let (end, start) = path.split_last_mut()?;
    start.copy_from_slice(&module.path);
    *end = 0;
    let path = core::ffi::CStr::from_bytes_with_nul(path).ok()?;
    let file = read::open_following(rustix::fs::CWD, path).ok()?;
    is_same(module, file.as_fd()).then_some(file)
}

fn is_same(module: &Module, file: BorrowedFd<'_>) -> bool {
    if let Some(mapped) = &module.build_id {
        return build_id(&FdSource(file)).is_some_and(|found| **mapped == *found.as_bytes());
    }
    // Device numbers differ between maps and fstat on some file systems
    // (btrfs, overlayfs): then the names are missing, not wrong.
    rustix::fs::fstat(file).is_ok_and(|stat| {
        module.identity
            == Some(FileIdentity {
                device_major: rustix::fs::major(stat.st_dev),
                device_minor: rustix::fs::minor(stat.st_dev),
                inode: stat.st_ino,
            })
    })
}
