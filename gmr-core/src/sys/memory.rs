//! Memory from the kernel, taken at setup: arenas and stacks.
//!
//! 1. One anonymous private mapping, MAP_NORESERVE, with an inaccessible page
//!    below it: an overflow faults instead of writing into somebody's data.
//! 2. Typed pieces are carved from it at setup; untouched pages cost nothing.
//!
//! # Safety
//!
//! A region hands out each byte at most once (`carve` only moves forward), so
//! the references it makes never overlap. The bytes are zero, which is a valid
//! value of everything carved: the trait [`Zeroable`] says so.
#![expect(unsafe_code, reason = "mapping memory and handing it out")]

use core::mem::{align_of, size_of};
use core::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

/// Types of which all bytes zero is a value.
///
/// # Safety
///
/// The implementer promises just that.
pub(crate) unsafe trait Zeroable {}

// SAFETY: zero is a number.
unsafe impl Zeroable for u8 {}
// SAFETY: zero is a number.
unsafe impl Zeroable for u32 {}
// SAFETY: zero is a number.
unsafe impl Zeroable for u64 {}

/// A mapping that lives until [`Region::release`].
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    mapped_bytes: usize,
    /// Offset of the next byte to hand out.
    next: usize,
}

/// One page: the guard below each region.
const GUARD_BYTES: usize = 4096;

impl Region {
    /// Maps at least `bytes`, page by page, above a guard page.
    pub(crate) fn map(bytes: usize) -> Result<Self, Errno> {
        let rounded = bytes.checked_next_multiple_of(GUARD_BYTES).ok_or(Errno::NOMEM)?;
        let mapped_bytes = rounded.checked_add(GUARD_BYTES).ok_or(Errno::NOMEM)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches
        // nothing that exists.
        let address = unsafe {
            rustix::mm::mmap_anonymous(
                core::ptr::null_mut(),
                mapped_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        // SAFETY: the first page of our own mapping, not yet handed out.
        let guarded = unsafe { rustix::mm::mprotect(address, GUARD_BYTES, MprotectFlags::empty()) };
        let base = NonNull::new(address.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let region = Region { base, mapped_bytes, next: GUARD_BYTES };
        if let Err(error) = guarded {
            region.release();
            return Err(error);
        }
        Ok(region)
    }

    /// `count` values, all bytes zero.
    pub(crate) fn carve<T: Zeroable>(&mut self, count: usize) -> Option<&'static mut [T]> {
        let start = self.next.checked_next_multiple_of(align_of::<T>())?;
        let bytes = count.checked_mul(size_of::<T>())?;
        let end = start.checked_add(bytes)?;
        if end > self.mapped_bytes {
            return None;
        }
        self.next = end;
        // SAFETY: start..end lies in the mapping.
        let first = unsafe { self.base.add(start) };
        // SAFETY: aligned, in the mapping, handed out once (`next` moved on),
        // zero and thus valid; the mapping lives until `release`, which only
        // setup's failure path calls, before anything carved is used.
        Some(unsafe { core::slice::from_raw_parts_mut(first.cast::<T>().as_ptr(), count) })
    }

    /// `count` values, each made by `make`. Touches all of them: for types of
    /// which zero is no value.
    pub(crate) fn carve_with<T>(
        &mut self,
        count: usize,
        mut make: impl FnMut() -> T,
    ) -> Option<&'static mut [T]> {
        self.carve_fallible(count, || Some(make()))
    }

    /// As [`carve_with`](Self::carve_with); `None` if `make` says so.
    pub(crate) fn carve_fallible<T>(
        &mut self,
        count: usize,
        mut make: impl FnMut() -> Option<T>,
    ) -> Option<&'static mut [T]> {
        let start = self.next.checked_next_multiple_of(align_of::<T>())?;
        let end = start.checked_add(count.checked_mul(size_of::<T>())?)?;
        if end > self.mapped_bytes {
            return None;
        }
        // SAFETY: start..end lies in the mapping.
        let first = unsafe { self.base.add(start) }.cast::<T>();
        for index in 0..count {
            // SAFETY: index < count, all of which lies in the mapping.
            let place = unsafe { first.add(index) };
            // SAFETY: aligned, in the mapping, not handed out yet.
            unsafe { place.write(make()?) };
        }
        self.next = end;
        // SAFETY: just written; lives as long as the mapping (see `carve`).
        Some(unsafe { core::slice::from_raw_parts_mut(first.as_ptr(), count) })
    }

    /// Moves a value into the region.
    pub(crate) fn place<T>(&mut self, value: T) -> Option<&'static mut T> {
        let start = self.next.checked_next_multiple_of(align_of::<T>())?;
        let end = start.checked_add(size_of::<T>())?;
        if end > self.mapped_bytes {
            return None;
        }
        self.next = end;
        // SAFETY: start..end lies in the mapping.
        let place = unsafe { self.base.add(start) }.cast::<T>();
        // SAFETY: aligned, in the mapping, handed out once.
        unsafe { place.write(value) };
        // SAFETY: just written; lives as long as the mapping (see `carve`).
        Some(unsafe { &mut *place.as_ptr() })
    }

    /// Bytes that `carve` needs for `count` values, alignment included.
    pub(crate) const fn bytes_for<T>(count: usize) -> usize {
        count.saturating_mul(size_of::<T>()).saturating_add(align_of::<T>())
    }

    /// Unmaps it. Only for a setup that failed: nothing carved may be in use.
    pub(crate) fn release(self) {
        // SAFETY: our own mapping, whole.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.mapped_bytes) };
    }
}

/// A page that a forked child finds wiped (MADV_WIPEONFORK): tells a copy of
/// the process from the process, also where process ids repeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForkMark(NonNull<u32>);

// SAFETY: the page is written once, before it is shared.
unsafe impl Send for ForkMark {}
// SAFETY: as above; afterwards it is only read.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// Maps and marks the page. `None`: the kernel has no MADV_WIPEONFORK
    /// (before 4.14); then the process id alone must do.
    pub(crate) fn new() -> Option<Self> {
        let mut region = Region::map(GUARD_BYTES).ok()?;
        let page = region.carve::<u32>(1)?;
        let first = page.first_mut()?;
        // SAFETY: our own page.
        let advised = unsafe {
            rustix::mm::madvise(
                core::ptr::from_mut(first).cast(),
                GUARD_BYTES,
                rustix::mm::Advice::LinuxWipeOnFork,
            )
        };
        if advised.is_err() {
            region.release();
            return None;
        }
        *first = 1;
        Some(ForkMark(NonNull::from(first)))
    }

    /// Whether this is the process that made the mark, or shares its memory.
    pub(crate) fn is_intact(self) -> bool {
        // SAFETY: the page lives for ever; nobody writes it after `new`.
        unsafe { self.0.read_volatile() == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carves_do_not_overlap_and_end_at_the_mapping() {
        let mut region = Region::map(100).unwrap();
        let bytes = region.carve::<u8>(3).unwrap();
        let words = region.carve::<u64>(4).unwrap();
        bytes.fill(0xff);
        assert_eq!(words, [0; 4]);
        assert!(words.as_ptr().is_aligned());
        assert!(region.carve::<u8>(1 << 20).is_none());
        region.release();
    }

    #[test]
    fn an_absurd_size_is_an_error() {
        assert!(Region::map(usize::MAX).is_err());
        assert!(Region::map(usize::MAX / 2).is_err());
    }
}
