//! The numbers in a directory: the threads of a process, the processes of the
//! system, the descriptors that are open.
//!
//! getdents64(2) into the caller's buffer. The kernel gives the entries of
//! /proc and of `task` in ascending order; one that appears or goes meanwhile
//! may or may not be seen, the others are.

use core::mem::MaybeUninit;
use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::{bytes, read};

/// A buffer for directory entries that is large enough for any name
/// (NAME_MAX is 255 bytes) and small enough for a stack.
pub const DIRENTS_BYTES: usize = 2048;

/// What became of a listing into a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// How many entries of the slice are filled.
    pub count: usize,
    /// There were more than the slice holds.
    pub limit_hit: bool,
}

/// Calls `each` with every name of `dir` that is a number, until it breaks.
/// Starts at the beginning, so one descriptor can be kept and listed again.
///
/// # Errors
///
/// The kernel's; EINVAL if `dirents` is too small for an entry
/// ([`DIRENTS_BYTES`] is not).
pub fn numbers(
    dir: BorrowedFd<'_>,
    dirents: &mut [MaybeUninit<u8>],
    mut each: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Errno> {
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    let mut entries = RawDir::new(dir, dirents);
    while let Some(entry) = entries.next() {
        let number = match entry {
            Ok(entry) => bytes::parse_u32(entry.file_name().to_bytes()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        if let Some(number) = number
            && each(number).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Lists the numbers in `dir` into `into`.
///
/// # Errors
///
/// As [`numbers`].
pub fn numbers_into(
    dir: BorrowedFd<'_>,
    dirents: &mut [MaybeUninit<u8>],
    into: &mut [u32],
) -> Result<Listed, Errno> {
    let mut slots = into.iter_mut();
    let mut count = 0usize;
    let flow = numbers(dir, dirents, |number| match slots.next() {
        Some(slot) => {
            *slot = number;
            count = count.saturating_add(1);
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    })?;
    Ok(Listed { count, limit_hit: flow.is_break() })
}

/// How many descriptors the process has open. `proc_self` is a descriptor of
/// its directory in /proc; it counts, if it is the process's own.
///
/// Since Linux 6.2 the size of the directory `fd` is that number; before it
/// is 0, and the entries are counted.
///
/// # Errors
///
/// The kernel's.
pub fn open_descriptors(
    proc_self: BorrowedFd<'_>,
    dirents: &mut [MaybeUninit<u8>],
) -> Result<u64, Errno> {
    let size = rustix::fs::statat(proc_self, c"fd", AtFlags::SYMLINK_NOFOLLOW)?.st_size;
    match u64::try_from(size) {
        Ok(0) | Err(_) => count_descriptors(proc_self, dirents),
        Ok(count) => Ok(count),
    }
}

fn count_descriptors(
    proc_self: BorrowedFd<'_>,
    dirents: &mut [MaybeUninit<u8>],
) -> Result<u64, Errno> {
    let dir = read::open_dir(proc_self, c"fd")?;
    let mut count = 0u64;
    let _whole = numbers(dir.as_fd(), dirents, |_| {
        count = count.saturating_add(1);
        ControlFlow::Continue(())
    })?;
    // `dir` itself was open while we counted.
    Ok(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn threads_are_listed_and_the_limit_is_said() {
        let mut dirents = [MaybeUninit::uninit(); DIRENTS_BYTES];
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let dir = read::open_dir(CWD, c"/proc/self/task").unwrap();
        let own = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let mut tids = [0; 512];
        // Twice: the descriptor is rewound.
        for _ in 0..2 {
            let listed = numbers_into(dir.as_fd(), &mut dirents, &mut tids).unwrap();
            assert!(listed.count >= 2 && !listed.limit_hit);
            assert!(tids[..listed.count].contains(&own));
        }
        let listed = numbers_into(dir.as_fd(), &mut dirents, &mut tids[..1]).unwrap();
        assert_eq!(listed, Listed { count: 1, limit_hit: true });
        drop(go);
        let _closed = other.join().unwrap();
    }

    #[test]
    fn a_buffer_too_small_is_an_error() {
        let dir = read::open_dir(CWD, c"/proc/self/task").unwrap();
        let mut dirents = [MaybeUninit::uninit(); 8];
        assert_eq!(numbers_into(dir.as_fd(), &mut dirents, &mut [0]), Err(Errno::INVAL));
    }

    #[test]
    fn both_ways_of_counting_descriptors_agree() {
        // Of a child, since other tests open descriptors in this process.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::thread::sleep(core::time::Duration::from_millis(100));
        let path = std::ffi::CString::new(std::format!("/proc/{}", child.id())).unwrap();
        let dir = read::open_dir(CWD, &path).unwrap();
        let mut dirents = [MaybeUninit::uninit(); DIRENTS_BYTES];
        let quick = open_descriptors(dir.as_fd(), &mut dirents).unwrap();
        // Our descriptor of its directory is not one of its own.
        let counted = count_descriptors(dir.as_fd(), &mut dirents).unwrap() + 1;
        let listed: Vec<_> =
            std::fs::read_dir(std::format!("/proc/{}/fd", child.id())).unwrap().collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((quick, counted), (listed.len() as u64, listed.len() as u64));
    }
}
