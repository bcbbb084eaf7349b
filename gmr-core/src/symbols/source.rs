//! Where the bytes of an ELF object come from.
//!
//! 1. A slice: the vDSO, which is in memory only, and tests.
//! 2. A file descriptor, by `pread`: no file position is shared or moved, and
//!    nothing is mapped, so a file that is truncated meanwhile gives a short
//!    read where a mapping would give SIGBUS.

/// A read failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The kernel refused it.
    Os {
        /// The error number, as in errno(3).
        errno: i32,
    },
}

/// Bytes that can be read at any offset.
pub trait ElfSource {
    /// `pread(fd, buf, offset)`: reads at most `buf.len()` bytes from
    /// `offset` (in bytes) and returns how many; 0 means the end.
    ///
    /// Implementations must be async-signal-safe: no allocation, no lock, no
    /// panic. They may read less than asked, and never wait but for the disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the kernel refuses.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError>;
}

impl ElfSource for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}

impl<T: ElfSource + ?Sized> ElfSource for &T {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        (**self).read_at(offset, buf)
    }
}

/// An open file, read by `pread`.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
pub struct FdSource<'a>(pub rustix::fd::BorrowedFd<'a>);

#[cfg(target_os = "linux")]
impl FdSource<'_> {
    /// How often one read is begun again after a signal. Regular files are
    /// not interrupted at all; on FUSE and NFS a storm of signals could
    /// otherwise keep us here.
    const MAX_INTERRUPTIONS: u32 = 64;
}

#[cfg(target_os = "linux")]
impl ElfSource for FdSource<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        // pread takes a signed offset; one beyond its range lies behind the
        // end of any file.
        if i64::try_from(offset).is_err() {
            return Ok(0);
        }
        let mut interruptions = 0_u32;
        loop {
            match rustix::io::pread(self.0, &mut *buf, offset) {
                Ok(len) => return Ok(len),
                Err(rustix::io::Errno::INTR) if interruptions < Self::MAX_INTERRUPTIONS => {
                    interruptions = interruptions.saturating_add(1);
                }
                Err(errno) => return Err(ReadError::Os { errno: errno.raw_os_error() }),
            }
        }
    }
}
