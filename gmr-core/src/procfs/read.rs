//! Reading one small file into a buffer of the caller's.
//!
//! 1. open it relative to a directory descriptor (or `rustix::fs::CWD` for an
//!    absolute path), close-on-exec;
//! 2. read until the end or until the buffer is full, again after EINTR;
//! 3. close it.
//!
//! The kernel makes most files of /proc afresh for each read at offset 0, so
//! one read into a large enough buffer is one consistent picture; more reads
//! are not.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// What was read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents<'b> {
    /// The bytes, from the file's beginning.
    pub bytes: &'b [u8],
    /// There is more than the buffer holds.
    pub cut: bool,
}

/// openat(2) for reading. A symbolic link as the last component is refused
/// (ELOOP): no file of /proc that we read is one.
///
/// # Errors
///
/// The kernel's.
pub fn open(dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open_with(dir, path, OFlags::NOFOLLOW)
}

/// openat(2) for reading, through a symbolic link if it is one: /etc/passwd
/// may be. Does not wait for a writer if it is a FIFO.
///
/// # Errors
///
/// The kernel's.
pub fn open_following(dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open_with(dir, path, OFlags::NONBLOCK)
}

/// openat(2) of a directory. `/proc/self` is a symbolic link, so links are
/// followed.
///
/// # Errors
///
/// The kernel's.
pub fn open_dir(dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open_with(dir, path, OFlags::DIRECTORY)
}

fn open_with(dir: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    retry(|| rustix::fs::openat(dir, path, flags, Mode::empty()))
}

/// Opens, reads and closes the file at `path`.
///
/// # Errors
///
/// The kernel's: ENOENT or ESRCH for a process that is gone.
pub fn file<'b>(
    dir: BorrowedFd<'_>,
    path: &CStr,
    buffer: &'b mut [u8],
) -> Result<Contents<'b>, Errno> {
    let fd = open(dir, path)?;
    to_end(fd.as_fd(), buffer)
}

/// Opens, reads once and closes the file at `path`: for the short files of /proc
/// that the kernel gives whole by one read. What does not fit is not seen.
///
/// # Errors
///
/// The kernel's: ENOENT or ESRCH for a process that is gone.
pub fn once<'b>(dir: BorrowedFd<'_>, path: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let fd = open(dir, path)?;
    let len = some(fd.as_fd(), buffer)?;
    Ok(buffer.get(..len).unwrap_or_default())
}

/// Reads an open file from its position to its end.
///
/// # Errors
///
/// The kernel's.
pub fn to_end<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<Contents<'b>, Errno> {
    let mut len = 0usize;
    let cut = loop {
        let room = buffer.get_mut(len..).unwrap_or_default();
        if room.is_empty() {
            // Full: only one more byte tells whether that was all.
            break some(fd, &mut [0])? != 0;
        }
        match some(fd, room)? {
            0 => break false,
            count => len = len.saturating_add(count),
        }
    };
    Ok(Contents { bytes: buffer.get(..len).unwrap_or_default(), cut })
}

/// One read(2), again after EINTR. 0 is the end of the file.
///
/// # Errors
///
/// The kernel's.
pub fn some(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    retry(|| rustix::io::read(fd, &mut *buffer))
}

/// pread(2) at offset 0, again after EINTR: an open file of /proc as it is
/// now, as far as the buffer goes.
///
/// # Errors
///
/// The kernel's.
pub fn again<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let count = retry(|| rustix::io::pread(fd, &mut *buffer, 0))?;
    Ok(buffer.get(..count).unwrap_or_default())
}

/// readlinkat(2): where a symbolic link points. A target that fills the
/// buffer may have been longer and is marked as cut.
///
/// # Errors
///
/// The kernel's.
pub fn link<'b>(
    dir: BorrowedFd<'_>,
    path: &CStr,
    buffer: &'b mut [u8],
) -> Result<Contents<'b>, Errno> {
    let capacity = buffer.len();
    let len = retry(|| rustix::fs::readlinkat_raw(dir, path, &mut *buffer))?;
    Ok(Contents { bytes: buffer.get(..len).unwrap_or_default(), cut: len >= capacity })
}

/// How often a call is made again after EINTR, so that a storm of signals
/// cannot keep us here.
const MAX_RETRIES: usize = 100;

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..MAX_RETRIES {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
    Err(Errno::INTR)
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn a_file_is_read_whole_or_marked() {
        let text = std::fs::read("/proc/self/limits").unwrap();
        let mut buffer = [0; 8192];
        let contents = file(CWD, c"/proc/self/limits", &mut buffer).unwrap();
        assert_eq!(contents, Contents { bytes: &text, cut: false });

        let mut exact = std::vec![0; text.len()];
        assert!(!file(CWD, c"/proc/self/limits", &mut exact).unwrap().cut);
        let mut short = [0; 10];
        let contents = file(CWD, c"/proc/self/limits", &mut short).unwrap();
        assert_eq!(contents, Contents { bytes: &text[..10], cut: true });
        assert!(file(CWD, c"/proc/self/limits", &mut []).unwrap().cut);
    }

    #[test]
    fn errors_are_the_kernels() {
        let mut buffer = [0; 16];
        assert_eq!(file(CWD, c"/proc/nothing", &mut buffer), Err(Errno::NOENT));
        // A symbolic link is refused.
        assert_eq!(file(CWD, c"/proc/self/exe", &mut buffer), Err(Errno::LOOP));
        assert_eq!(file(CWD, c"/proc/self", &mut buffer), Err(Errno::LOOP));
    }

    #[test]
    fn links_are_read() {
        let mut buffer = [0; 4096];
        let contents = link(CWD, c"/proc/self/exe", &mut buffer).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(contents.bytes, exe.as_os_str().as_encoded_bytes());
        assert!(!contents.cut);
        assert!(link(CWD, c"/proc/self/exe", &mut [0; 4]).unwrap().cut);
    }
}
