//! One process at one moment: what `stat` says, out of its buffer.

use heapless::Vec;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::facts::Facts;
use crate::procfs::path::SmallPath;
use crate::procfs::stat::{self, Stat};
use crate::procfs::{read, status, uptime};

/// The fields of [`Stat`] that the section shows.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The pid in the namespace of this /proc.
    pub(super) pid: u32,
    pub(super) parent_pid: u32,
    pub(super) name: Vec<u8, { status::MAX_NAME_BYTES }>,
    pub(super) state: u8,
    pub(super) flags: u64,
    pub(super) threads: Option<u64>,
    pub(super) start_ticks: Option<u64>,
    resident_pages: Option<u64>,
}

impl Snapshot {
    /// Reads `PATH/stat` of a process.
    ///
    /// # Errors
    ///
    /// The kernel's; EINVAL if the content is none.
    pub(super) fn read(
        dir: BorrowedFd<'_>,
        path: &core::ffi::CStr,
        buffer: &mut [u8],
    ) -> Result<Self, Errno> {
        let content = read::file(dir, path, buffer)?;
        stat::parse(content.bytes).map(|stat| Self::of(&stat)).ok_or(Errno::INVAL)
    }

    /// Reads `PID/stat` below `proc_dir`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn of_pid(
        proc_dir: BorrowedFd<'_>,
        pid: u32,
        buffer: &mut [u8],
    ) -> Result<Self, Errno> {
        let mut path = SmallPath::of_number(pid, "stat");
        Self::read(proc_dir, path.as_c_str().ok_or(Errno::NAMETOOLONG)?, buffer)
    }

    fn of(stat: &Stat<'_>) -> Self {
        let name = stat.comm.get(..stat.comm.len().min(status::MAX_NAME_BYTES));
        Snapshot {
            pid: stat.pid,
            parent_pid: stat.parent_pid,
            name: Vec::from_slice(name.unwrap_or_default()).unwrap_or_default(),
            state: stat.state,
            flags: stat.flags.unwrap_or(0),
            threads: stat.threads,
            start_ticks: stat.start_ticks,
            resident_pages: stat.resident_pages,
        }
    }

    /// Whether it has ended and waits to be reaped: it has no memory then.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Its age, in nanoseconds.
    pub(super) fn age_ns(&self, facts: &Facts) -> Option<u64> {
        uptime::age_ns(uptime::boot_time_ns(), self.start_ticks?, facts.ticks_per_second())
    }

    /// Its resident memory, in bytes.
    pub(super) fn resident_bytes(&self, facts: &Facts) -> Option<u64> {
        self.resident_pages?.checked_mul(facts.page_bytes())
    }
}
