//! What the kernel says of one thread: its system call, its processor time, how
//! often it gave the processor up, and where it waits in the kernel.
//!
//! | file | of it | read |
//! |---|---|---|
//! | `status` | state, signals, context switches, tracer | with the listing |
//! | `stat` | time in user and kernel mode, scheduling policy | with the listing |
//! | `syscall` | the call and its arguments | with the listing: before a capture's signal |
//! | `wchan` | the kernel function that waits | of threads in state D, and of those that did not answer |
//!
//! Each is opened relative to the task directory and read once. All numbers are
//! plain, so that the arena of threads needs no initialisation.
//!
//! Limits: `syscall` is refused for a process that is not dumpable
//! (PR_SET_DUMPABLE), and some systems do not have it (gVisor): the first
//! refusal is kept for the section, and no thread is asked any more. Times have
//! the resolution of the kernel's tick.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::procfs::path::SmallPath;
use crate::procfs::syscall::{self, SyscallState};
use crate::procfs::{read, schedstat, stat, status, uptime};

/// Longest name of a kernel function that is kept.
const WCHAN_BYTES: usize = 40;

/// Where a thread stands, as [`SyscallState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Call {
    /// It was not asked, or its answer was not understood.
    Unknown,
    Running,
    /// Blocked outside of any call: a page fault.
    Fault,
    Made {
        number: i64,
        arguments: [u64; 6],
        sp: u64,
        pc: u64,
    },
}

impl From<SyscallState> for Call {
    fn from(state: SyscallState) -> Self {
        match state {
            SyscallState::Running => Call::Running,
            SyscallState::NotInCall { .. } => Call::Fault,
            SyscallState::InCall { number, arguments, sp, pc } => {
                Call::Made { number, arguments, sp, pc }
            }
        }
    }
}

/// The facts of one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelFacts {
    pub(crate) call: Call,
    pub(crate) has_cpu: bool,
    pub(crate) cpu_user_ns: u64,
    pub(crate) cpu_system_ns: u64,
    pub(crate) has_switches: bool,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// `SCHED_*`; 0, SCHED_OTHER, if it is not known.
    pub(crate) policy: u32,
    pub(crate) rt_priority: u32,
    /// 0: none.
    pub(crate) tracer_pid: u32,
    wchan: [u8; WCHAN_BYTES],
    wchan_len: u8,
}

impl KernelFacts {
    pub(crate) const EMPTY: Self = KernelFacts {
        call: Call::Unknown,
        has_cpu: false,
        cpu_user_ns: 0,
        cpu_system_ns: 0,
        has_switches: false,
        voluntary_switches: 0,
        involuntary_switches: 0,
        policy: 0,
        rt_priority: 0,
        tracer_pid: 0,
        wchan: [0; WCHAN_BYTES],
        wchan_len: 0,
    };

    /// The kernel function that the thread waits in; empty if it is not known.
    pub(crate) fn wchan(&self) -> &[u8] {
        self.wchan.get(..usize::from(self.wchan_len)).unwrap_or_default()
    }

    /// Takes what `status` has.
    pub(super) fn take_status(&mut self, status: &status::Status) {
        if let (Some(voluntary), Some(involuntary)) =
            (status.voluntary_switches, status.involuntary_switches)
        {
            self.has_switches = true;
            (self.voluntary_switches, self.involuntary_switches) = (voluntary, involuntary);
        }
        self.tracer_pid = status.tracer_pid.unwrap_or(0);
    }

    /// Reads `stat`. What it does not say stays unknown.
    pub(super) fn read_stat(
        &mut self,
        task: BorrowedFd<'_>,
        tid: u32,
        ticks_per_second: u64,
        bytes: &mut [u8],
    ) {
        let Ok(content) = read_file(task, tid, "stat", bytes) else { return };
        let Some(stat) = stat::parse(content) else { return };
        let ns = |ticks: Option<u64>| uptime::ticks_to_ns(ticks?, ticks_per_second);
        if let (Some(user), Some(system)) = (ns(stat.user_ticks), ns(stat.system_ticks)) {
            self.has_cpu = true;
            (self.cpu_user_ns, self.cpu_system_ns) = (user, system);
        }
        let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        self.policy = small(stat.policy).unwrap_or(0);
        self.rt_priority = small(stat.rt_priority).unwrap_or(0);
    }

    /// Reads `wchan`. The kernel says `0` if it does not want to tell.
    pub(crate) fn read_wchan(&mut self, task: BorrowedFd<'_>, tid: u32, bytes: &mut [u8]) {
        let name = match read_file(task, tid, "wchan", bytes) {
            Ok(b"0") | Err(_) => &[],
            Ok(name) => name,
        };
        self.wchan_len = name.len().min(WCHAN_BYTES) as u8;
        for (to, from) in self.wchan.iter_mut().zip(name) {
            *to = *from;
        }
    }
}

/// Whether `syscall` can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Why not.
    pub(crate) error: Option<Errno>,
}

impl Calls {
    /// Where `tid` stands.
    pub(super) fn read(&mut self, task: BorrowedFd<'_>, tid: u32, bytes: &mut [u8]) -> Call {
        // A thread that reads its own is in read(2).
        if self.error.is_some() || tid == crate::sys::gettid() {
            return Call::Unknown;
        }
        match call(task, tid, bytes) {
            Ok(call) => call,
            // The thread ended meanwhile.
            Err(Errno::SRCH) => Call::Unknown,
            Err(Errno::NOENT) if has_file(task, bytes) => Call::Unknown,
            Err(error) => {
                self.error = Some(error);
                Call::Unknown
            }
        }
    }
}

/// Whether there is such a file at all: this thread has not ended.
fn has_file(task: BorrowedFd<'_>, bytes: &mut [u8]) -> bool {
    read_file(task, crate::sys::gettid(), "syscall", bytes) != Err(Errno::NOENT)
}

/// Where `tid` stands, by one read.
pub(crate) fn call(task: BorrowedFd<'_>, tid: u32, bytes: &mut [u8]) -> Result<Call, Errno> {
    let content = read_file(task, tid, "syscall", bytes)?;
    Ok(syscall::parse(content).map_or(Call::Unknown, Call::from))
}

/// How long and how often `tid` ran.
pub(crate) fn schedstat(
    task: BorrowedFd<'_>,
    tid: u32,
    bytes: &mut [u8],
) -> Option<schedstat::Schedstat> {
    read_file(task, tid, "schedstat", bytes).ok().and_then(schedstat::parse)
}

pub(crate) fn read_file<'b>(
    task: BorrowedFd<'_>,
    tid: u32,
    name: &str,
    bytes: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let mut path = SmallPath::of_number(tid, name);
    let path = path.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    read::once(task, path, bytes)
}
