//! What the collected facts prove to be abnormal.

/// One finding: its evidence in words, and the threads it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding<'a> {
    /// What kind of finding it is.
    pub code: FindingCode,
    /// The evidence, and where to look.
    pub text: &'a str,
    /// The threads it is about, up to a limit.
    pub tids: &'a [u32],
    /// How many more threads it is about.
    pub tids_left_out: u32,
}

/// The kinds of findings.
///
/// | code | what proves it | what to do |
/// |---|---|---|
/// | `stuck_section` | a section's worker, or an earlier report, has not come back from it | its stack is in that section |
/// | `capture` | threads gave no stack, or not the whole of it | see their blocks in Threads |
/// | `deadlock` | threads wait in a circle without a timeout, each for a lock that the next one owns or for its end, and two looks agree | their stacks show where each took its lock; only a restart frees them |
/// | `lock_wait` | two threads or more wait for one lock whose owner is known; or threads wait in a circle, and one of them with a timeout | look at what the owner does |
/// | `uninterruptible` | two looks found the thread in one call that no signal ends (state D) | look at the device, the network file system, or for vfork(2) the child |
/// | `stopped` | two looks found the thread stopped, by a signal or a tracer | `kill -CONT`, or detach the debugger |
/// | `blocked_worker` | a thread of an async runtime has not come back from one poll for longer than the threshold, with how long it was seen there | its stack says where it blocks; use `spawn_blocking` there |
/// | `stalled_runtime` | all threads of an async runtime are like that, or its queue does not get shorter while none of them parks | see Runtime |
/// | `burning_cpu` | both samples ([`Options::samples`](crate::Options::samples)) found the thread in one stack, and for at least half the time in between it had a CPU or waited for one | it spins or computes where its stack says |
/// | `main_thread_ended` | the main thread is a zombie while others run | it called `pthread_exit`: is that meant? |
/// | `descriptors` | nine tenths of RLIMIT_NOFILE are open | a leak, or too low a limit: see Processes, `ls -l /proc/PID/fd` |
/// | `threads` | nine tenths of the control group's `pids.max` are there | see Processes |
/// | `memory` | nine tenths of the control group's memory limit are used, file cache that is not in use left aside | see Processes |
/// | `executable_replaced` | the file that runs has no name any more | an upgrade without a restart |
/// | `left_out` | there were more findings than are shown | see Threads |
///
/// The words of [`FindingCode::code`] are stable: grep and JSON may rely on
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingCode {
    /// An earlier report has not come back from a section.
    StuckSection,
    /// Threads gave no stack, or not the whole of it.
    Capture,
    /// Threads wait for each other in a circle, none of them with a timeout.
    Deadlock,
    /// Threads wait for a lock whose owner is known, or in a circle until a timeout.
    LockWait,
    /// A thread is in a call that no signal ends.
    Uninterruptible,
    /// A thread is stopped, by a signal or a tracer.
    Stopped,
    /// A thread of an async runtime does not come back from a poll.
    BlockedWorker,
    /// An async runtime makes no progress.
    StalledRuntime,
    /// A thread used CPU time and did not move.
    BurningCpu,
    /// The main thread has ended, others go on.
    MainThreadEnded,
    /// Descriptors are near their limit.
    Descriptors,
    /// Threads are near the control group's limit.
    Threads,
    /// Memory is near the control group's limit.
    Memory,
    /// The executable was deleted or replaced.
    ExecutableReplaced,
    /// There were more findings than are shown.
    LeftOut,
}

impl FindingCode {
    /// The stable word for it. In text its words are parted by blanks.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            FindingCode::StuckSection => "stuck_section",
            FindingCode::Capture => "capture",
            FindingCode::Deadlock => "deadlock",
            FindingCode::LockWait => "lock_wait",
            FindingCode::Uninterruptible => "uninterruptible",
            FindingCode::Stopped => "stopped",
            FindingCode::BlockedWorker => "blocked_worker",
            FindingCode::StalledRuntime => "stalled_runtime",
            FindingCode::BurningCpu => "burning_cpu",
            FindingCode::MainThreadEnded => "main_thread_ended",
            FindingCode::Descriptors => "descriptors",
            FindingCode::Threads => "threads",
            FindingCode::Memory => "memory",
            FindingCode::ExecutableReplaced => "executable_replaced",
            FindingCode::LeftOut => "left_out",
        }
    }
}
