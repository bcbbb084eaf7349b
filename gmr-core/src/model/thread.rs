//! Threads and processes as the report shows them.

/// How the capture of a thread's stack ended.
///
/// The words of [`Capture::code`] are stable: grep and JSON may rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Capture {
    /// The stack is whole, down to the thread's entry.
    Ok,
    /// There is a stack, but it ends early; the thread says where and why.
    Partial,
    /// The thread did not answer within its deadline.
    Timeout,
    /// The thread blocks the capture signal, so it was not asked.
    SignalBlocked,
    /// The thread ended meanwhile.
    Exited,
    /// The kernel's queue of real-time signals is full (RLIMIT_SIGPENDING).
    QueueFull,
    /// All capture slots were held by threads that did not answer.
    NoSlot,
    /// Somebody replaced our handler of the capture signal.
    HandlerReplaced,
    /// The kernel refused to send the signal (seccomp).
    Refused,
    /// Excluded by `exclude_threads`.
    Excluded,
    /// A worker of the kernel (io_uring): it has no user stack.
    KernelWorker,
    /// The thread is in an uninterruptible sleep (state D), in which it cannot
    /// run a handler.
    Uninterruptible,
    /// The thread changed while it was read.
    Changed,
    /// A thread of the reporter itself.
    Own,
    /// This build captures no stacks (feature `stacks` is off, or the
    /// platform has no capture).
    NotBuilt,
}

impl Capture {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Capture::Ok => "ok",
            Capture::Partial => "partial",
            Capture::Timeout => "timeout",
            Capture::SignalBlocked => "signal_blocked",
            Capture::Exited => "exited",
            Capture::QueueFull => "queue_full",
            Capture::NoSlot => "no_slot",
            Capture::HandlerReplaced => "handler_replaced",
            Capture::Refused => "refused",
            Capture::Excluded => "excluded",
            Capture::KernelWorker => "kernel_worker",
            Capture::Uninterruptible => "uninterruptible",
            Capture::Changed => "changed",
            Capture::Own => "own",
            Capture::NotBuilt => "not_built",
        }
    }

    /// One line for the operator: what happened and what to do.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Capture::Ok => "whole stack",
            Capture::Partial => "the stack ends early",
            Capture::Timeout => "the thread did not answer within its deadline",
            Capture::SignalBlocked => "the thread blocks the capture signal; it was left alone",
            Capture::Exited => "the thread ended while the report was written",
            Capture::QueueFull => "the kernel's signal queue is full (RLIMIT_SIGPENDING)",
            Capture::NoSlot => "all capture slots are held by threads that do not answer",
            Capture::HandlerReplaced => "another library replaced the capture signal's handler",
            Capture::Refused => "the kernel refused to send the capture signal",
            Capture::Excluded => "excluded by the program's set-up",
            Capture::KernelWorker => "a kernel worker has no user stack",
            Capture::Uninterruptible => {
                "the thread is in an uninterruptible sleep; it cannot run a handler"
            }
            Capture::Changed => "the thread changed while it was read",
            Capture::Own => "a thread of the reporter itself",
            Capture::NotBuilt => "this build captures no stacks (gmr-core feature `stacks`)",
        }
    }

    /// Whether a report with such a thread may still call itself complete:
    /// nothing was cut by a limit or a deadline of ours.
    #[must_use]
    pub const fn keeps_complete(self) -> bool {
        matches!(
            self,
            Capture::Ok
                | Capture::SignalBlocked
                | Capture::Exited
                | Capture::Excluded
                | Capture::KernelWorker
                | Capture::Uninterruptible
                | Capture::Own
                | Capture::NotBuilt
        )
    }
}

/// Where a stack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum StackEnd {
    /// At the thread's entry function: the stack is whole.
    Complete,
    /// There is no stack.
    NoStack,
    /// At the end of the copied window.
    WindowFull {
        /// Size of the window, in bytes.
        window_bytes: u32,
    },
    /// At the maximum number of frames.
    FrameLimit {
        /// The maximum.
        frames: u32,
    },
    /// The memory there could not be read.
    Unreadable,
    /// The unwind information leads nowhere.
    NoUnwindInfo,
    /// The step contradicts itself (a stack pointer that does not advance).
    Inconsistent,
    /// In code that may have been unloaded, or exchanged for other code, while the
    /// stack was taken.
    Unloaded,
    /// The next step needs the frame pointer, which nobody knows without
    /// interrupting the thread.
    FramePointerUnknown,
    /// At the thread's entry function, but at least one frame on the way was
    /// guessed ([`Certainty::FramePointer`](super::Certainty::FramePointer)):
    /// frames may be missing or wrong.
    Guessed,
}

impl StackEnd {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            StackEnd::Complete => "complete",
            StackEnd::NoStack => "no_stack",
            StackEnd::WindowFull { .. } => "window_full",
            StackEnd::FrameLimit { .. } => "frame_limit",
            StackEnd::Unreadable => "unreadable",
            StackEnd::NoUnwindInfo => "no_unwind_info",
            StackEnd::Inconsistent => "inconsistent",
            StackEnd::Unloaded => "unloaded",
            StackEnd::FramePointerUnknown => "frame_pointer_unknown",
            StackEnd::Guessed => "guessed",
        }
    }
}

/// What a thread did between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Movement {
    /// Its stack is another one.
    Moved,
    /// Its stack is the same and it had no CPU time (less than a hundredth of the
    /// interval, or than 0.2 ms).
    SameStackNoCpu,
    /// Its stack is the same, and it had CPU time: it spins, or it is in a loop
    /// that both samples met at the same place.
    SameStackBurningCpu,
    /// Its stack is the same; its CPU time could not be read.
    SameStack,
}

impl Movement {
    /// The stable words for it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Movement::Moved => "moved",
            Movement::SameStackNoCpu => "same stack, no CPU",
            Movement::SameStackBurningCpu => "same stack, burning CPU",
            Movement::SameStack => "same stack, CPU time not known",
        }
    }
}

/// Two samples of one thread compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// `None` if that cannot be told: one of the samples has no stack, or both are in
    /// the same function and one was cut.
    pub movement: Option<Movement>,
    /// CPU time in between, in nanoseconds, if the kernel says (it was built with
    /// SCHED_INFO).
    pub cpu_ns: Option<u64>,
    /// Time in between that it was ready to run and other threads had the CPUs, in
    /// nanoseconds, up to when it last got one.
    pub cpu_wait_ns: Option<u64>,
    /// From one reading of the CPU time to the other, in nanoseconds.
    pub interval_ns: u64,
}

/// The head of a thread's block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thread<'a> {
    /// Thread id, as `ps -L` and `/proc/PID/task` know it.
    pub tid: u32,
    /// The thread's name (`comm`), raw.
    pub name: &'a [u8],
    /// The kernel's state letter (`R`, `S`, `D`, …), or `?`.
    pub state: u8,
    /// How the capture ended.
    pub capture: Capture,
    /// Where the stack ends.
    pub stack_end: StackEnd,
    /// The main thread.
    pub is_main: bool,
    /// The thread on which the trigger was delivered, if the report is
    /// written there.
    pub is_triggering: bool,
}

/// The head of a block of threads that are shown together.
///
/// Its members follow, each as [`Event::BeginMember`](super::Event::BeginMember),
/// then the frames that they have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThreadGroup<'a> {
    /// How many threads they are, those included that are not listed.
    pub count: u64,
    /// Thread id of the first.
    pub first_tid: u32,
    /// Its name, raw.
    pub first_name: &'a [u8],
    /// How the capture of each of them ended. [`Capture::Own`]: they are the
    /// reporter's own and have no stack; else their stacks are the same.
    pub capture: Capture,
    /// Where each of their stacks ends.
    pub stack_end: StackEnd,
}

/// One thread of a block of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThreadMember<'a> {
    /// Thread id.
    pub tid: u32,
    /// The thread's name (`comm`), raw.
    pub name: &'a [u8],
    /// The kernel's state letter, or `?`.
    pub state: u8,
    /// What the kernel says of it in a few words, its state among them; empty if
    /// there is nothing to add to that.
    pub summary: &'a str,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process<'a> {
    /// Process id.
    pub pid: u32,
    /// Its parent's.
    pub parent_pid: u32,
    /// Its command name (`comm`), raw.
    pub name: &'a [u8],
    /// Real user id, if it could be read.
    pub uid: Option<u32>,
    /// The user's name from /etc/passwd, if there.
    pub user: Option<&'a [u8]>,
    /// The kernel's state letter, or `?`.
    pub state: u8,
}

/// The word for a state letter of `/proc/PID/stat` (proc_pid_stat(5)).
#[must_use]
pub const fn state_name(letter: u8) -> &'static str {
    match letter {
        b'R' => "running",
        b'S' => "sleeping",
        b'D' => "disk-sleep",
        b'Z' => "zombie",
        b'T' => "stopped",
        b't' => "tracing-stop",
        b'X' | b'x' => "dead",
        b'I' => "idle",
        b'P' => "parked",
        b'K' => "wakekill",
        b'W' => "waking",
        _ => "unknown",
    }
}
