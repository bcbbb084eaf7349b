//! The model: a report as a stream of typed events.
//!
//! A *generator* (a section, or the reporter itself) emits [`Event`]s; a
//! *view* ([`crate::view`]) turns them into text or JSON as they come. Nothing
//! is buffered whole, so a report of any size needs a fixed amount of memory.
//!
//! The order of a report is fixed:
//!
//! 1. [`Event::BeginReport`];
//! 2. [`Event::BeginHead`], values: who asked, when, of what;
//! 3. [`Event::BeginFindings`], findings: what is proven to be abnormal;
//! 4. for each section [`Event::BeginSection`] … [`Event::EndSection`];
//! 5. [`Event::BeginEnd`], values: what the report says of itself;
//! 6. [`Event::EndReport`].
//!
//! Threads, processes and tasks of an async runtime are blocks: values, frames and
//! levels of await trees that follow belong to the innermost one that is open.
//!
//! A view must accept *any* stream all the same: a section may stop midway
//! (its deadline, its failure), and a fuzzer may send nonsense. What is open
//! when a block ends is closed by the view. Nesting is bounded by
//! [`MAX_DEPTH`]; what is opened beyond it is flattened into the innermost
//! container that is still allowed, never lost.

mod finding;
mod frame;
mod scope;
mod status;
mod table;
mod task;
mod thread;
mod value;

pub use finding::{Finding, FindingCode};
pub use frame::{Certainty, EntryFrames, Frame};
pub use scope::ActiveScope;
pub use status::{Incomplete, SectionOutcome, SectionStatus};
pub use table::{Column, MAX_COLUMN_WIDTH, MAX_COLUMNS};
pub use task::{Await, AwaitKind, Task, TaskState};
pub use thread::{
    Between, Capture, Movement, Process, StackEnd, Thread, ThreadGroup, ThreadMember, state_name,
};
pub use value::{Timestamp, Value};

/// How many groups, lists and blocks may be open inside one section.
///
/// Deep enough for any configuration a person wrote; small enough that a view
/// keeps its state in a few dozen bytes of the supervisor's stack.
pub const MAX_DEPTH: usize = 16;

/// One event of a report.
///
/// Keys and titles are chosen by the program; views escape them like values.
/// Within one group, keys should be unique: JSON has no other way to tell two
/// values apart.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A report begins.
    BeginReport,
    /// The head block begins: values follow.
    BeginHead,
    /// The findings block begins: [`Event::Finding`]s follow, none means "none
    /// found".
    BeginFindings,
    /// A section begins.
    BeginSection {
        /// Number of the section in this report, from 1.
        id: u32,
        /// Its title. Titles may repeat within a report.
        title: &'a str,
    },
    /// The section ends; whatever it left open is closed.
    EndSection {
        /// How it ended.
        status: SectionStatus,
        /// How long it took, in nanoseconds.
        elapsed_ns: u64,
    },
    /// The end block begins: values follow.
    BeginEnd,
    /// The report ends. Nothing may follow.
    EndReport {
        /// The report's number within this process.
        sequence: u64,
        /// Why it is not complete; [`Incomplete::NONE`] if it is.
        incomplete: Incomplete,
    },
    /// `key = value`.
    Value {
        /// The key.
        key: &'a str,
        /// The value.
        value: Value<'a>,
    },
    /// A value without a key: an item of a list.
    Item {
        /// The value.
        value: Value<'a>,
    },
    /// Opens a group: keyed values that belong together.
    BeginGroup {
        /// The group's key; without one the group is an item of a list.
        key: Option<&'a str>,
    },
    /// Opens a group that people read as one line, `key = text`: the text view
    /// shows that line and nothing of what is inside, JSON the group without
    /// the text. Both must say the same; an empty text is no line.
    BeginSummary {
        /// The group's key.
        key: &'a str,
        /// The line.
        text: &'a str,
    },
    /// Opens a list of items.
    BeginList {
        /// The list's key; without one the list is an item of a list.
        key: Option<&'a str>,
    },
    /// Opens a list of blocks (threads, frames, processes), which show
    /// themselves: the text view prints no line for the list, JSON makes it
    /// the array `key`.
    BeginBlocks {
        /// The array's key in JSON.
        key: &'a str,
    },
    /// A thread begins; values, frames and groups may follow.
    BeginThread(Thread<'a>),
    /// Threads with the same stack begin, or the reporter's own; their members
    /// follow, and what they have in common.
    BeginThreadGroup(ThreadGroup<'a>),
    /// One thread of several begins; its scopes may follow.
    BeginMember(ThreadMember<'a>),
    /// A process begins; values and the blocks of its children may follow.
    BeginProcess(Process<'a>),
    /// A task of an async runtime begins, or several whose await trees are equal;
    /// values and [`Event::Await`]s may follow.
    BeginTask(Task<'a>),
    /// One level of the await tree of the task that is open.
    Await(Await<'a>),
    /// One frame of the thread that is open.
    Frame(Frame<'a>),
    /// The last frames of the thread that is open are left out.
    EntryFrames(EntryFrames<'a>),
    /// One scope of the thread that is open; outer ones come first.
    Scope(ActiveScope<'a>),
    /// The head of a table: its rows follow. For eyes only: JSON names the
    /// columns in each row. [`Event::BeginBlocks`] around both is the array of
    /// the rows there.
    TableHead {
        /// The columns, from left to right.
        columns: &'a [Column<'a>],
    },
    /// One row of a table: one line in text, one object in JSON.
    Row {
        /// The columns, as in the head.
        columns: &'a [Column<'a>],
        /// A value for each column. One that is missing is left blank (`null` in
        /// JSON), one without a column is shown behind the others.
        values: &'a [Value<'a>],
    },
    /// What is abnormal, in the findings block.
    Finding(Finding<'a>),
    /// How a section of this report went, for a list in the end block.
    Outcome(SectionOutcome<'a>),
    /// Closes the innermost group, list, block list, thread, group of threads,
    /// member, task or process.
    Close,
    /// A paragraph as it is, possibly of several lines. Bytes that are not
    /// UTF-8 and control characters are escaped, line ends are kept.
    Text(&'a [u8]),
}

impl Event<'_> {
    /// Whether a section may send it: not the report's own structure.
    #[must_use]
    pub const fn is_content(&self) -> bool {
        !matches!(
            self,
            Event::BeginReport
                | Event::BeginHead
                | Event::BeginFindings
                | Event::Finding(_)
                | Event::BeginSection { .. }
                | Event::EndSection { .. }
                | Event::BeginEnd
                | Event::EndReport { .. }
        )
    }
}
