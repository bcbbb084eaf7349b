//! Tasks of an async runtime, and where they wait.

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// A thread polls it just now.
    Running,
    /// It was woken, and waits for a thread to poll it.
    Scheduled,
    /// It waits at an `.await`.
    Suspended,
    /// It was never polled.
    New,
    /// It has ended; its result waits to be fetched.
    Complete,
    /// It changed each time it was looked at.
    Unstable,
    /// A blocking closure (`spawn_blocking`), which a thread runs.
    Blocking,
    /// It is there; no more is known.
    Unknown,
}

impl TaskState {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            TaskState::Running => "running",
            TaskState::Scheduled => "scheduled",
            TaskState::Suspended => "suspended",
            TaskState::New => "new",
            TaskState::Complete => "complete",
            TaskState::Unstable => "unstable",
            TaskState::Blocking => "blocking",
            TaskState::Unknown => "unknown",
        }
    }
}

/// A task's block, or that of several whose await trees are equal. Values and
/// [`Event::Await`](super::Event::Await)s follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task<'a> {
    /// How many tasks it is about. Text shows one in the rule alone, of several
    /// what they have in common in lines of their own.
    pub count: u64,
    /// Their ids, the first of them if they are many, in the order in which they are
    /// to be shown; empty: they have none.
    pub ids: &'a [u64],
    /// What the program calls it.
    pub name: Option<&'a str>,
    /// What it does, or all of them do.
    pub state: TaskState,
    /// The thread that polls or runs it.
    pub tid: Option<u32>,
    /// How long it has been polled or has been waiting, if that is known; of
    /// several the longest. In nanoseconds.
    pub for_ns: Option<u64>,
    /// The type of its future, if the await tree does not begin with it; shortened like
    /// [`Await::function`].
    pub future: Option<&'a str>,
}

/// What is known of one level of an await tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AwaitKind {
    /// It is suspended at the place that is named.
    Suspended,
    /// The same, but the place is within a macro: the call's line is not known.
    InMacro,
    /// It was never polled.
    Unresumed,
    /// It has returned.
    Returned,
    /// It has panicked.
    Panicked,
    /// A future that is no `async` code, and holds others, which follow.
    Holder,
    /// A future that is no `async` code: what is really waited for.
    Leaf,
    /// What follows here could not be decoded; the note says why.
    Undecoded,
}

impl AwaitKind {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            AwaitKind::Suspended => "suspended",
            AwaitKind::InMacro => "in_macro",
            AwaitKind::Unresumed => "unresumed",
            AwaitKind::Returned => "returned",
            AwaitKind::Panicked => "panicked",
            AwaitKind::Holder => "holder",
            AwaitKind::Leaf => "leaf",
            AwaitKind::Undecoded => "undecoded",
        }
    }
}

/// One level of a task's await tree. Levels come in the order of a walk from
/// the task's own future inwards; those of one depth below the same level are
/// branches that are awaited together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Await<'a> {
    /// How deep it is; 0 is the task's own future.
    pub depth: u32,
    /// What is known.
    pub kind: AwaitKind,
    /// The async function, or the type of the future. In a report long generic
    /// arguments are left out of it, as out of the names of frames, unless
    /// [`Options::full_names`](crate::Options::full_names) is set; a view shows it as
    /// it is.
    pub function: &'a str,
    /// Source file.
    pub file: Option<&'a str>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// The task that it waits for (a `JoinHandle`).
    pub waits_for: Option<u64>,
    /// More, in words that need no sentence around them; empty: nothing.
    pub note: &'a str,
}
