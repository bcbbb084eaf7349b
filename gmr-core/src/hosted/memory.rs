//! This process's own memory, read as a stranger's: by the kernel, which copies
//! what is there and never faults. For those who follow pointers that may be
//! stale, on behalf of a report.
//!
//! All of it is signal-safe, and leaves errno as it was.

#![expect(unsafe_code, reason = "raw system calls, and the program headers that the kernel named")]

use crate::sys::vm;

/// Ranges that one call reads.
pub const MAX_RANGES: usize = 1024;

/// A range of addresses. Laid out as the kernel's `iovec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    /// Its first address.
    pub address: u64,
    /// Its size.
    pub bytes: u64,
}

/// Copies from `address` into `buffer` up to the first unreadable page; how
/// many bytes came.
///
/// # Errors
///
/// The kernel's number if it refuses the call as such (EPERM, ENOSYS): then no
/// memory can be read in this way.
pub fn read(address: u64, buffer: &mut [u8]) -> Result<usize, i32> {
    vm::read_foreign(address, buffer)
}

/// Copies all `ranges` (at most [`MAX_RANGES`]) one after the other into
/// `buffer`, by one call of the kernel; how many bytes came. A range is there
/// whole or not at all, and none behind one that is not.
///
/// # Errors
///
/// As [`read`]; or ENOMEM, if it has none for the list just now.
pub fn read_ranges(ranges: &[Range], buffer: &mut [u8]) -> Result<usize, i32> {
    vm::read_ranges(ranges, buffer)
}

/// Where the kernel keeps the list of robust locks of a thread of this process:
/// an address within the thread's own block of libc. `None`: the thread is not
/// there, or has none.
#[must_use]
pub fn robust_list(tid: u32) -> Option<u64> {
    let _errno = crate::sys::errno::Saved::now();
    let mut head = 0_u64;
    let mut length = 0_usize;
    // SAFETY: two valid places to write to.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_get_robust_list,
            libc::c_long::from(tid.cast_signed()),
            &raw mut head,
            &raw mut length,
        )
    };
    (outcome == 0 && head != 0).then_some(head)
}

/// A segment of the executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// First address, as loaded.
    pub start: u64,
    /// Behind its last one.
    pub end: u64,
    /// Code.
    pub is_executable: bool,
    /// Data that the program may write (but for what was made read-only once it was
    /// relocated).
    pub is_writable: bool,
    /// The initial image of thread-locals (PT_TLS): only its size counts.
    pub is_tls: bool,
    /// Its alignment.
    pub align: u64,
}

/// Calls `each` with the executable's loaded segments and its PT_TLS; its load
/// bias. `None`: the kernel did not say where the program headers are.
pub fn executable(each: &mut dyn FnMut(&Segment)) -> Option<u64> {
    // SAFETY: reads the auxiliary vector.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) };
    // SAFETY: as above.
    let size = unsafe { libc::getauxval(libc::AT_PHENT) };
    if headers == 0 || size as usize != size_of::<libc::Elf64_Phdr>() {
        return None;
    }
    // SAFETY: the executable's own headers, mapped for the life of the process.
    let headers =
        unsafe { core::slice::from_raw_parts(headers as *const libc::Elf64_Phdr, count as usize) };
    let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
    let bias = own.map_or(0, |own| (headers.as_ptr() as u64).wrapping_sub(own.p_vaddr));
    for header in headers {
        let is_tls = header.p_type == libc::PT_TLS;
        if header.p_type != libc::PT_LOAD && !is_tls {
            continue;
        }
        let start = header.p_vaddr.wrapping_add(bias);
        each(&Segment {
            start,
            end: start.wrapping_add(header.p_memsz),
            is_executable: header.p_flags & libc::PF_X != 0,
            is_writable: header.p_flags & libc::PF_W != 0,
            is_tls,
            align: header.p_align,
        });
    }
    Some(bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_one_after_the_other_up_to_one_that_is_not_there() {
        let (one, two) = ([1_u8; 5], [2_u8; 9]);
        let range =
            |bytes: &[u8]| Range { address: bytes.as_ptr() as u64, bytes: bytes.len() as u64 };
        let mut buffer = [0; 32];
        assert_eq!(read_ranges(&[range(&one), range(&two)], &mut buffer), Ok(14));
        assert_eq!(buffer[..6], [1, 1, 1, 1, 1, 2]);
        let nowhere = Range { address: 8, bytes: 4 };
        assert_eq!(read_ranges(&[range(&two), nowhere, range(&one)], &mut buffer), Ok(9));
        assert_eq!(read_ranges(&[nowhere], &mut buffer), Ok(0));
        // No more than there is room for.
        assert_eq!(read_ranges(&[range(&one), range(&two)], &mut buffer[..6]), Ok(5));
        assert_eq!(read_ranges(&[], &mut buffer), Ok(0));
    }

    #[test]
    fn the_executable_holds_this_function_and_its_statics() {
        static DATA: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(7);
        let (mut code, mut data) = (false, false);
        let bias = executable(&mut |segment| {
            let holds = |address: u64| segment.start <= address && address < segment.end;
            code |= segment.is_executable && holds(executable as *const () as u64);
            data |= segment.is_writable && !segment.is_tls && holds(&raw const DATA as u64);
        });
        assert!(bias.is_some() && code && data);
    }

    #[test]
    fn every_thread_has_its_robust_list() {
        let own = robust_list(crate::sys::gettid());
        assert!(own.is_some());
        let other = std::thread::spawn(|| robust_list(crate::sys::gettid())).join().unwrap();
        assert!(other.is_some() && other != own);
        assert_eq!(robust_list(u32::MAX >> 1), None);
    }
}
