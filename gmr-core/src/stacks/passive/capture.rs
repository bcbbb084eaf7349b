//! One parked thread, from its files in /proc to its frames, with the proof
//! that it did not run meanwhile.
//!
//! 1. Open the thread's `schedstat` and `syscall`.
//! 2. Read the count of how often it ran; read where it stands. Running: leave
//!    it to the signal.
//! 3. Walk its live stack.
//! 4. Read the count again. Another one: the frames are void; once more from 2,
//!    then leave it to the signal.
//!
//! A kernel without CONFIG_SCHED_INFO counts nothing. There the context switches
//! of `status` stand in. They count when the thread *leaves* its processor, so
//! that `syscall` is read again, before them: it proves that the thread has
//! left. A thread in a system call has been on a processor: a count of 0 is how
//! such a kernel is known.
//!
//! Costs two opens and five reads, 19 µs for a stack of 20 frames on the machine
//! of the README.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::super::live::LiveStack;
use super::super::unwind::{Found, Modules, Walker};
use crate::model::StackEnd;
use crate::procfs::path::SmallPath;
use crate::procfs::syscall::SyscallState;
use crate::procfs::{read, schedstat, status, syscall};

/// How often a thread is tried: one that ran meanwhile is tried once more.
const ATTEMPTS: u32 = 2;

/// The longest status file seen has 1,500 bytes; lists of CPUs of large
/// machines add to it, and the switches come last.
const STATUS_BYTES: usize = 8192;

/// What a passive capture needs of memory. Allocates when made, never when used.
#[derive(Debug)]
pub(crate) struct PassiveMemory {
    live: LiveStack,
    status: alloc::boxed::Box<[u8]>,
    /// Tests only: between the walk and the last look.
    #[cfg(test)]
    pub(crate) before_last_look: Option<fn()>,
    /// Tests only: as if the kernel did not count.
    #[cfg(test)]
    pub(crate) without_count: bool,
}

impl PassiveMemory {
    /// With nothing in it.
    pub(crate) fn new() -> Self {
        PassiveMemory {
            live: LiveStack::new(),
            status: alloc::vec![0; STATUS_BYTES].into_boxed_slice(),
            #[cfg(test)]
            before_last_look: None,
            #[cfg(test)]
            without_count: false,
        }
    }
}

/// Takes the frames, innermost first.
pub(crate) trait Frames {
    /// A walk begins: frames of an earlier one are void.
    fn begin(&mut self);

    /// One frame; `false`: no more are taken.
    fn frame(&mut self, found: Found) -> bool;
}

/// A thread that did not run while its stack was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parked {
    /// Where the stack ends.
    pub(crate) end: StackEnd,
    /// Where the thread stands: the call it is in and the arguments.
    pub(crate) state: SyscallState,
}

/// Why there are no frames. Those given to [`Frames`] are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotParked {
    /// It runs.
    Running,
    /// It ran meanwhile, each time.
    Ran,
    /// A file or the memory cannot be read: EACCES (the process is not
    /// dumpable), ENOENT (the thread ended, or there is no such file), ESRCH
    /// (it ended, or has no stack of its own), EPERM (seccomp), EBADMSG (a
    /// file that says something else).
    Refused(Errno),
}

impl From<Errno> for NotParked {
    fn from(error: Errno) -> Self {
        NotParked::Refused(error)
    }
}

/// Captures the thread `tid`; `task` is an open `/proc/self/task`.
///
/// # Errors
///
/// See [`NotParked`].
///
/// # Signal safety
///
/// Safe: no allocation, no lock, no panic; openat, pread, process_vm_readv,
/// close.
pub(crate) fn capture(
    task: BorrowedFd<'_>,
    tid: u32,
    memory: &mut PassiveMemory,
    walker: &mut Walker,
    modules: &impl Modules,
    frames: &mut impl Frames,
) -> Result<Parked, NotParked> {
    let files = Files {
        task,
        tid,
        schedstat: open(task, tid, "schedstat")?,
        syscall: open(task, tid, "syscall")?,
    };
    for _ in 0..ATTEMPTS {
        let before = files.count(memory)?;
        let state = files.state()?;
        let (pc, sp) = match state {
            SyscallState::Running => return Err(NotParked::Running),
            SyscallState::InCall { pc, sp, .. } | SyscallState::NotInCall { pc, sp } => (pc, sp),
        };
        // A thread of the kernel, or one that is ending.
        if (pc, sp) == (0, 0) {
            return Err(Errno::SRCH.into());
        }
        memory.live.begin();
        frames.begin();
        let end =
            walker.walk_parked(modules, pc, sp, &mut memory.live, |found| frames.frame(found));
        if let Some(error) = memory.live.refused() {
            return Err(Errno::from_raw_os_error(error).into());
        }
        #[cfg(test)]
        if let Some(wait) = memory.before_last_look {
            wait();
        }
        if let Count::Left(_) = before
            && files.state()? == SyscallState::Running
        {
            continue;
        }
        if files.count(memory)? == before {
            return Ok(Parked { end, state });
        }
    }
    Err(NotParked::Ran)
}

/// How often the thread was on a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    /// It was put on one.
    Came(u64),
    /// It left one.
    Left(u64),
}

struct Files<'a> {
    task: BorrowedFd<'a>,
    tid: u32,
    schedstat: OwnedFd,
    syscall: OwnedFd,
}

impl Files<'_> {
    fn state(&self) -> Result<SyscallState, Errno> {
        let mut line = [0; syscall::MAX_LINE_BYTES];
        syscall::parse(read::again(self.syscall.as_fd(), &mut line)?).ok_or(Errno::BADMSG)
    }

    fn count(&self, memory: &mut PassiveMemory) -> Result<Count, Errno> {
        let mut line = [0; schedstat::MAX_LINE_BYTES];
        let parsed = schedstat::parse(read::again(self.schedstat.as_fd(), &mut line)?)
            .ok_or(Errno::BADMSG)?;
        let counts = parsed.count != 0;
        #[cfg(test)]
        let counts = counts && !memory.without_count;
        if counts {
            return Ok(Count::Came(parsed.count));
        }
        let mut path = SmallPath::of_number(self.tid, "status");
        let path = path.as_c_str().ok_or(Errno::NAMETOOLONG)?;
        let contents = read::file(self.task, path, &mut memory.status)?;
        let parsed = status::parse(contents.bytes);
        match (parsed.voluntary_switches, parsed.involuntary_switches) {
            (Some(waited), Some(ended)) => Ok(Count::Left(waited.saturating_add(ended))),
            _ => Err(Errno::BADMSG),
        }
    }
}

fn open(task: BorrowedFd<'_>, tid: u32, name: &str) -> Result<OwnedFd, Errno> {
    let mut path = SmallPath::of_number(tid, name);
    read::open(task, path.as_c_str().ok_or(Errno::NAMETOOLONG)?)
}
