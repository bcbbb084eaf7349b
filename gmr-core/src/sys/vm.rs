//! Reading this process's own memory without faulting.
//!
//! 1. process_vm_readv(2) on ourselves: the kernel copies what is mapped and
//!    stops at what is not. One remote vector per page, because a vector is
//!    transferred whole or not at all.
//! 2. Where that is refused (seccomp), each page is probed with
//!    rt_sigprocmask(2): an unreadable set is EFAULT, a readable one with an
//!    invalid `how` is EINVAL, and neither changes anything. Then it is copied.
//!
//! Discarded: a write to a pipe as the probe (needs descriptors and draining);
//! mincore(2) (says mapped, not readable); parsing /proc/self/maps (too slow in
//! a handler, and stale at once). The probe depends on the kernel reading the
//! set before it checks `how`; the test fails if a kernel changes that.
//!
//! Limits: between probe and copy another thread could unmap the page. For a
//! thread's own stack that does not happen.
//!
//! # Safety
//!
//! The copy in 2 reads memory that was just found readable; everything else is
//! the kernel's work on addresses that it checks.
#![expect(unsafe_code, reason = "raw system calls")]

use core::sync::atomic::{AtomicBool, Ordering};

const PAGE_BYTES: usize = 4096;

/// Pages per call: a window of the default 16 KiB that starts in the middle of
/// a page. Larger ones take more calls; the vectors are on the stack of the
/// thread that is captured.
const PAGES_PER_CALL: usize = 5;

/// Once refused, always refused: seccomp filters are never taken off.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Copies from `address` into `buffer` up to the first unreadable page; how
/// many bytes came.
pub(crate) fn read(address: u64, buffer: &mut [u8]) -> usize {
    if !REFUSED.load(Ordering::Relaxed) {
        match read_by_kernel(address, buffer) {
            Ok(bytes) => return bytes,
            Err(_) => REFUSED.store(true, Ordering::Relaxed),
        }
    }
    read_by_probe(address, buffer)
}

/// As [`read`], by the kernel only: for memory that another thread may unmap
/// at any moment, so that a probe would prove nothing.
///
/// # Errors
///
/// The kernel's number if it refuses the call as such (EPERM, ENOSYS).
pub(crate) fn read_foreign(address: u64, buffer: &mut [u8]) -> Result<usize, i32> {
    if REFUSED.load(Ordering::Relaxed) {
        return Err(libc::EPERM);
    }
    let _errno = super::errno::Saved::now();
    read_by_kernel(address, buffer).inspect_err(|_| REFUSED.store(true, Ordering::Relaxed))
}

/// Copies all `ranges`, one after the other, by one call of the kernel; how many
/// bytes came. A range that does not fit into `buffer`, or is not wholly there, ends
/// it.
///
/// # Errors
///
/// As [`read_foreign`].
pub(crate) fn read_ranges(
    ranges: &[crate::hosted::memory::Range],
    buffer: &mut [u8],
) -> Result<usize, i32> {
    if REFUSED.load(Ordering::Relaxed) {
        return Err(libc::EPERM);
    }
    let mut asked = 0_u64;
    let mut count = 0_usize;
    for range in ranges.iter().take(crate::hosted::memory::MAX_RANGES) {
        let with = asked.saturating_add(range.bytes);
        if with > buffer.len() as u64 {
            break;
        }
        asked = with;
        count = count.wrapping_add(1);
    }
    if count == 0 {
        return Ok(0);
    }
    let _errno = super::errno::Saved::now();
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: asked as usize };
    // SAFETY: the local vector is the first `asked` bytes of `buffer`; the remote
    // ones, which have the layout of `iovec`, are only read, and checked, by the
    // kernel.
    let copied = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            libc::c_long::from(super::gettid().cast_signed()),
            &raw const local,
            1_usize,
            ranges.as_ptr(),
            count,
            0_usize,
        )
    };
    match usize::try_from(copied) {
        Ok(copied) => Ok(whole_ranges(ranges.get(..count).unwrap_or_default(), copied)),
        Err(_) => match last_errno() {
            libc::EFAULT => Ok(0),
            // The kernel copies the ranges, for which it may have no memory just now.
            libc::ENOMEM => Err(libc::ENOMEM),
            error => {
                REFUSED.store(true, Ordering::Relaxed);
                Err(error)
            }
        },
    }
}

/// Of `copied` bytes those that make whole ranges: the kernel may stop within one, at
/// the end of a page.
fn whole_ranges(ranges: &[crate::hosted::memory::Range], copied: usize) -> usize {
    let mut whole = 0_usize;
    for range in ranges {
        let with = whole.saturating_add(range.bytes as usize);
        if with > copied {
            break;
        }
        whole = with;
    }
    whole
}

/// Whether process_vm_readv was refused; the report says so.
pub(crate) fn was_refused() -> bool {
    REFUSED.load(Ordering::Relaxed)
}

fn bytes_to_page_end(address: u64) -> usize {
    let in_page = (address as usize) & PAGE_BYTES.wrapping_sub(1);
    PAGE_BYTES.wrapping_sub(in_page)
}

fn read_by_kernel(address: u64, buffer: &mut [u8]) -> Result<usize, i32> {
    let mut done = 0_usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let (asked, copied) = read_pages(address.wrapping_add(done as u64), rest);
        match usize::try_from(copied) {
            Ok(copied) => {
                done = done.wrapping_add(copied);
                if copied < asked {
                    break;
                }
            }
            Err(_) => match last_errno() {
                libc::EFAULT => break,
                error => return Err(error),
            },
        }
    }
    Ok(done)
}

/// One call: how many bytes it asked for, and what it returned.
fn read_pages(address: u64, buffer: &mut [u8]) -> (usize, libc::c_long) {
    let empty = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };
    let mut remote = [empty; PAGES_PER_CALL];
    let mut asked = 0_usize;
    let mut used = 0_usize;
    while let Some(vector) = remote.get_mut(used) {
        let at = address.wrapping_add(asked as u64);
        let piece = bytes_to_page_end(at).min(buffer.len().wrapping_sub(asked));
        if piece == 0 {
            break;
        }
        *vector = libc::iovec { iov_base: at as *mut _, iov_len: piece };
        asked = asked.wrapping_add(piece);
        used = used.wrapping_add(1);
    }
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: asked };
    // SAFETY: the local vector is the first `asked` bytes of `buffer`; the
    // remote ones are only read, and checked, by the kernel.
    let copied = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            // By thread: a main thread that ended has no memory any more.
            libc::c_long::from(super::gettid().cast_signed()),
            &raw const local,
            1_usize,
            remote.as_ptr(),
            used,
            0_usize,
        )
    };
    (asked, copied)
}

fn read_by_probe(address: u64, buffer: &mut [u8]) -> usize {
    let mut done = 0_usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = address.wrapping_add(done as u64);
        let piece = bytes_to_page_end(at).min(rest.len());
        if !is_readable(at) {
            break;
        }
        // SAFETY: the page of `at` is readable and `piece` ends within it;
        // source and destination do not overlap (the destination is ours).
        unsafe { core::ptr::copy_nonoverlapping(at as *const u8, rest.as_mut_ptr(), piece) };
        done = done.wrapping_add(piece);
    }
    done
}

/// Whether the page of `address` can be read.
fn is_readable(address: u64) -> bool {
    // The kernel reads 8 bytes; stay within the page.
    let page = address & !(PAGE_BYTES as u64).wrapping_sub(1);
    // SAFETY: the kernel checks the pointer; with an invalid `how` it changes
    // nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::c_long::from(!0_i32),
            page as *const libc::c_void,
            core::ptr::null_mut::<libc::c_void>(),
            8_usize,
        )
    };
    result == -1 && last_errno() == libc::EINVAL
}

fn last_errno() -> i32 {
    // SAFETY: no preconditions.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own.
    unsafe { location.read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two readable pages below an unreadable one.
    fn pages() -> (u64, rustix::mm::ProtFlags) {
        let prot = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        // SAFETY: a fresh mapping.
        let address = unsafe {
            rustix::mm::mmap_anonymous(
                core::ptr::null_mut(),
                3 * PAGE_BYTES,
                prot,
                rustix::mm::MapFlags::PRIVATE,
            )
        }
        .unwrap() as u64;
        let last = address + 2 * PAGE_BYTES as u64;
        // SAFETY: our own page.
        unsafe {
            rustix::mm::mprotect(last as *mut _, PAGE_BYTES, rustix::mm::MprotectFlags::empty())
        }
        .unwrap();
        // SAFETY: both pages are writable.
        unsafe { core::ptr::write_bytes(address as *mut u8, 0xa5, 2 * PAGE_BYTES) };
        (address, prot)
    }

    #[test]
    fn both_ways_stop_at_the_first_unreadable_page() {
        let (address, _) = pages();
        for way in [
            (|at, buffer: &mut [u8]| read_by_kernel(at, buffer).unwrap())
                as fn(u64, &mut [u8]) -> usize,
            read_by_probe,
        ] {
            let mut buffer = [0_u8; 16 * 1024];
            let start = address + 100;
            let readable = 2 * PAGE_BYTES - 100;
            assert_eq!(way(start, &mut buffer), readable);
            assert!(buffer[..readable].iter().all(|byte| *byte == 0xa5));
            assert!(buffer[readable..].iter().all(|byte| *byte == 0));
        }
        assert_eq!(read_by_kernel(address + 2 * PAGE_BYTES as u64, &mut [0; 8]), Ok(0));
        assert_eq!(read_by_probe(address + 2 * PAGE_BYTES as u64, &mut [0; 8]), 0);
        assert_eq!(read(0, &mut [0; 8]), 0);
        assert_eq!(read_foreign(address + 8, &mut [0; 16 * 1024]), Ok(2 * PAGE_BYTES - 8));
        assert_eq!(read_foreign(0, &mut [0; 8]), Ok(0));
        assert_eq!(read(u64::MAX - 7, &mut [0; 64]), 0);
    }
}
