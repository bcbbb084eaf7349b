//! The report for machines: one JSON object, its members in stream order.
//!
//! ```json
//! {"schema_version": 1, "head": {…}, "findings": […],
//!  "sections": [{"id": 1, "title": "…", "data": {…}, "status": "ok", "elapsed_ns": 1}, …],
//!  "end": {…, "sequence": 3, "complete": true, "incomplete": []}}
//! ```
//!
//! All five members and a section's `data` are always there, empty if need be.
//! How events become JSON:
//!
//! 1. A group is an object, a list and a list of blocks are arrays, a thread, a
//!    process and a frame are objects.
//! 2. What has a unit has it in its key: `…_ns`, `…_bytes`; in an array it is
//!    `{"ns": N}` or `{"bytes": N}`. Addresses and identifiers are strings.
//! 3. What has no key in an object is `item_1`, `item_2`, …; what has one in an
//!    array is an object of one member. A run of frames in an object is the
//!    array `frames` (a further one `frames_2`), in an array its elements are
//!    the frames.
//! 4. A key of the program that the view itself may use in that object (`tid`
//!    in a thread, `item_1` anywhere) gets a `_` at its end, as often as needed
//!    to stay unique. Keys that the program itself uses twice stay doubled:
//!    there is no memory here to find them.
//! 5. A scope of a thread is `{"label": …, "detail": …, "age_ns": N}`, in a thread
//!    the array `scopes`, the outermost first. How a section went is
//!    `{"title": …, "status": …, "elapsed_ns": N}`, in `end` the array
//!    `section times`; what is not ok has an `explanation`, as in `sections`.
//! 6. A row of a table is an object, its keys the names of the columns; the head
//!    of a table is not shown.
//! 7. A finding is `{"code": …, "text": …, "threads": [TID, …]}`; threads beyond
//!    its limit are counted in `threads_left_out`.
//! 8. Threads that are shown together are one object with a `count`, by which it
//!    is told from a thread; each of them is an object of its array `members`.
//!    What is left out at the end of `frames` is counted by
//!    `entry_frames_left_out`, and `last_entry_frame` is the frame that the stack
//!    ends with.
//! 9. A task of an async runtime, or several whose await trees are equal, is an
//!    object with `count`, `ids` (the first of them) and `state`; `name`, `tid`,
//!    `for_ns` and `future` if known. Its await tree is the array `stack` (a
//!    further run of levels `stack_2`), there if there is a level: objects with
//!    `depth`, `kind` and `function`; `file`, `line`, `waits_for` (a task's id) and
//!    `note` if there are.
//! 10. Facts that are usual are left out of frames: `inlined`, `signal_frame`
//!     and `function_truncated` are there if true, names and places if known.

mod tasks;

use super::escape;
use super::format::{address, decimal, hex_bytes, is_json_number, put, signed, spaces, timestamp};
use super::order::{Block, CONTAINERS, Container, Layout, Ordered, SectionEnd};
use super::{Output, View};
use crate::model::{
    ActiveScope, Await, Capture, Column, EntryFrames, Event, Finding, Frame, Incomplete, Process,
    StackEnd, Thread, ThreadGroup, ThreadMember, Value, state_name,
};

/// Version of the schema: grows when a member changes its meaning or goes.
const SCHEMA_VERSION: u64 = 1;

const ENTRY_FRAMES: &str = "entry_frames_left_out";
const LAST_ENTRY_FRAME: &str = "last_entry_frame";

/// Layout of a JSON report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonStyle {
    /// Indented, many lines; a frame is one line.
    Pretty,
    /// One line.
    Line,
}

/// Writes a report as one JSON object and a line end.
///
/// Signal-safe: no allocation, no lock, no panic; about 400 bytes of state.
#[derive(Debug)]
pub struct JsonView(Ordered<JsonLayout>);

impl JsonView {
    /// A view for one report.
    #[must_use]
    pub const fn new(style: JsonStyle) -> Self {
        JsonView(Ordered::new(JsonLayout {
            style,
            open: [Open::new(Kind::Object); CONTAINERS],
            depth: 0,
            brackets: 0,
            is_empty: true,
        }))
    }
}

impl View for JsonView {
    fn event(&mut self, event: &Event<'_>, out: &mut Output<'_>) {
        self.0.event(event, out);
    }
}

#[derive(Debug)]
struct JsonLayout {
    style: JsonStyle,
    /// `open[0]` is the block or a section's data, the rest what is open inside.
    open: [Open; CONTAINERS],
    depth: usize,
    /// Brackets that are open: the indentation.
    brackets: u8,
    /// Nothing stands yet behind the innermost open bracket. One flag is
    /// enough: behind a bracket that closes, there is something.
    is_empty: bool,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    /// Inside an object of one member, made for its key.
    is_wrapped: bool,
    /// The number of the last `item_N`.
    items: u32,
    /// The number of the last `frames` array.
    frames: u32,
    /// The same of `entry_frames_left_out`.
    entries: u32,
    /// The same of `stack`, in a task.
    awaits: u32,
}

impl Open {
    const fn new(kind: Kind) -> Self {
        Open { kind, is_wrapped: false, items: 0, frames: 0, entries: 0, awaits: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    /// Objects with members of the view's own.
    Thread,
    ThreadGroup,
    Member,
    Process,
    Task,
    End,
}

impl Kind {
    /// The members that the view itself may write; those with a unit also without
    /// it, as the program gives such a key.
    fn own_members(self) -> &'static [&'static str] {
        match self {
            Kind::Object | Kind::Array => &[],
            Kind::Thread => &[
                "tid",
                "name",
                "state",
                "is_main",
                "is_triggering",
                "capture",
                "explanation",
                "stack_end",
                "window_bytes",
                "window",
                "max_frames",
            ],
            Kind::ThreadGroup => &[
                "count",
                "capture",
                "explanation",
                "stack_end",
                "window_bytes",
                "window",
                "max_frames",
            ],
            Kind::Member => &["tid", "name", "state", "summary"],
            Kind::Process => &["pid", "parent_pid", "name", "user", "uid", "state"],
            Kind::Task => &tasks::MEMBERS,
            Kind::End => &["sequence", "complete", "incomplete"],
        }
    }

    /// Whether a key of the program could meet one of the view's own. What a
    /// key has of `_` at its end does not count, so that one more keeps all
    /// keys apart.
    fn reserves(self, key: &str) -> bool {
        let stem = key.trim_end_matches('_');
        let is_one_of = |name: &str| {
            stem.strip_prefix(name).is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('_').is_some_and(is_numbered)
            })
        };
        self.own_members().contains(&stem)
            || is_one_of("frames")
            || is_one_of(ENTRY_FRAMES)
            || is_one_of(LAST_ENTRY_FRAME)
            || (self == Kind::Task && is_one_of(tasks::STACK))
            || stem.strip_prefix("item_").is_some_and(is_numbered)
    }
}

/// Whether this is a number, with the suffix of a unit or without.
fn is_numbered(text: &str) -> bool {
    let digits = text.strip_suffix("_ns").or_else(|| text.strip_suffix("_bytes")).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl Layout for JsonLayout {
    const SHOWS_MEMBERS: bool = true;

    fn begin_report(&mut self, out: &mut Output<'_>) {
        self.open_bracket(out, "{");
        self.member(out, "schema_version");
        decimal(out, SCHEMA_VERSION);
    }

    fn begin_block(&mut self, block: Block, out: &mut Output<'_>) {
        let (key, kind) = match block {
            Block::Head => ("head", Kind::Object),
            Block::Findings => ("findings", Kind::Array),
            Block::Sections => ("sections", Kind::Array),
            Block::End => ("end", Kind::End),
        };
        self.member(out, key);
        self.begin_base(kind, out);
    }

    fn end_block(&mut self, block: Block, out: &mut Output<'_>) {
        self.close_bracket(
            out,
            match block {
                Block::Head | Block::End => "}",
                Block::Findings | Block::Sections => "]",
            },
        );
    }

    fn skip_block(&mut self, block: Block, out: &mut Output<'_>) {
        self.begin_block(block, out);
        self.end_block(block, out);
    }

    fn begin_section(&mut self, id: u32, title: &str, out: &mut Output<'_>) {
        self.separate(out);
        self.open_bracket(out, "{");
        self.member(out, "id");
        decimal(out, u64::from(id));
        self.string_member(out, "title", title.as_bytes());
        self.member(out, "data");
        self.begin_base(Kind::Object, out);
    }

    fn end_section(&mut self, end: SectionEnd, out: &mut Output<'_>) {
        self.close_bracket(out, "}");
        self.section_end(end, out);
        self.close_bracket(out, "}");
    }

    fn end_report(&mut self, sequence: u64, incomplete: Incomplete, out: &mut Output<'_>) {
        self.member(out, "sequence");
        decimal(out, sequence);
        self.member(out, "complete");
        boolean(out, incomplete.is_complete());
        self.member(out, "incomplete");
        self.open_bracket(out, "[");
        for reason in incomplete.reasons() {
            self.separate(out);
            string(out, reason.as_bytes());
        }
        self.close_bracket(out, "]");
        self.close_bracket(out, "}");
        self.close_bracket(out, "}");
        put(out, "\n");
    }

    fn value(&mut self, key: Option<&str>, value: &Value<'_>, out: &mut Output<'_>) {
        let (unit, number) = match *value {
            Value::DurationNs(nanoseconds) => ("ns", nanoseconds),
            Value::ByteCount(bytes) => ("bytes", bytes),
            _ => {
                let is_wrapped = self.begin_entry(key, "", out);
                self.unitless(value, out);
                return self.end_entry(is_wrapped, out);
            }
        };
        // An item of an array has no key to carry the unit.
        if key.is_none() && self.innermost().kind == Kind::Array {
            self.separate(out);
            self.open_bracket(out, "{");
            self.member(out, unit);
            decimal(out, number);
            return self.close_bracket(out, "}");
        }
        let is_wrapped = self.begin_entry(key, unit, out);
        decimal(out, number);
        self.end_entry(is_wrapped, out);
    }

    fn text(&mut self, text: &[u8], out: &mut Output<'_>) {
        let is_wrapped = self.begin_entry(None, "", out);
        string(out, text);
        self.end_entry(is_wrapped, out);
    }

    fn open(&mut self, container: Container<'_>, out: &mut Output<'_>) {
        let (key, kind, bracket) = match container {
            Container::Group(key) => (key, Kind::Object, "{"),
            Container::List(key) => (key, Kind::Array, "["),
            Container::Blocks(key) => (Some(key), Kind::Array, "["),
            Container::Thread(_) => (None, Kind::Thread, "{"),
            Container::ThreadGroup(_) => (None, Kind::ThreadGroup, "{"),
            Container::Member(_) => (None, Kind::Member, "{"),
            Container::Process(_) => (None, Kind::Process, "{"),
            Container::Task(_) => (None, Kind::Task, "{"),
        };
        let is_wrapped = if matches!(container, Container::Blocks("frames"))
            && self.innermost().kind != Kind::Array
        {
            // The generator's way to name what the view would name so too.
            self.frames_member(out);
            false
        } else {
            self.begin_entry(key, "", out)
        };
        self.open_bracket(out, bracket);
        match container {
            Container::Thread(thread) => self.thread(thread, out),
            Container::ThreadGroup(group) => self.thread_group(group, out),
            Container::Member(member) => self.thread_member(member, out),
            Container::Process(process) => self.process(process, out),
            Container::Task(task) => self.task(task, out),
            Container::Group(_) | Container::List(_) | Container::Blocks(_) => {}
        }
        self.depth = self.depth.saturating_add(1);
        self.set_innermost(Open { is_wrapped, ..Open::new(kind) });
    }

    fn close(&mut self, out: &mut Output<'_>) {
        let Open { kind, is_wrapped, .. } = self.innermost();
        self.close_bracket(out, if kind == Kind::Array { "]" } else { "}" });
        self.end_entry(is_wrapped, out);
        self.depth = self.depth.saturating_sub(1);
    }

    fn begin_frames(&mut self, out: &mut Output<'_>) {
        if self.innermost().kind != Kind::Array {
            self.frames_member(out);
            self.open_bracket(out, "[");
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Output<'_>) {
        self.separate(out);
        frame_object(out, frame, self.style);
    }

    fn end_frames(&mut self, out: &mut Output<'_>) {
        if self.innermost().kind != Kind::Array {
            self.close_bracket(out, "]");
        }
    }

    fn begin_awaits(&mut self, out: &mut Output<'_>) {
        if self.innermost().kind == Kind::Task {
            self.stack_member(out);
            self.open_bracket(out, "[");
        }
    }

    fn await_level(&mut self, level: &Await<'_>, out: &mut Output<'_>) {
        if self.innermost().kind == Kind::Task {
            self.separate(out);
        } else {
            self.begin_entry(None, "", out);
        }
        tasks::level_object(out, level, self.style);
    }

    fn end_awaits(&mut self, out: &mut Output<'_>) {
        if self.innermost().kind == Kind::Task {
            self.close_bracket(out, "]");
        }
    }

    fn entry_frames(&mut self, frames: &EntryFrames<'_>, out: &mut Output<'_>) {
        let is_wrapped = self.innermost().kind == Kind::Array;
        if is_wrapped {
            self.separate(out);
            self.open_bracket(out, "{");
        }
        let mut open = self.innermost();
        open.entries = if is_wrapped { 1 } else { open.entries.saturating_add(1) };
        self.set_innermost(open);
        self.numbered_member(out, ENTRY_FRAMES, open.entries);
        decimal(out, u64::from(frames.count));
        self.numbered_member(out, LAST_ENTRY_FRAME, open.entries);
        frame_object(out, &frames.last, self.style);
        if is_wrapped {
            self.close_bracket(out, "}");
        }
    }

    fn scope(&mut self, scope: &ActiveScope<'_>, out: &mut Output<'_>) {
        let is_wrapped = self.begin_entry(None, "", out);
        self.open_bracket(out, "{");
        self.string_member(out, "label", scope.label.as_bytes());
        self.member(out, "detail");
        self.unitless(&scope.detail, out);
        self.member(out, "age_ns");
        decimal(out, scope.age_ns);
        self.close_bracket(out, "}");
        self.end_entry(is_wrapped, out);
    }

    fn finding(&mut self, finding: &Finding<'_>, out: &mut Output<'_>) {
        let is_wrapped = self.begin_entry(None, "", out);
        self.open_bracket(out, "{");
        self.string_member(out, "code", finding.code.code().as_bytes());
        self.string_member(out, "text", finding.text.as_bytes());
        self.member(out, "threads");
        self.open_bracket(out, "[");
        for tid in finding.tids {
            self.separate(out);
            decimal(out, u64::from(*tid));
        }
        self.close_bracket(out, "]");
        if finding.tids_left_out > 0 {
            self.member(out, "threads_left_out");
            decimal(out, u64::from(finding.tids_left_out));
        }
        self.close_bracket(out, "}");
        self.end_entry(is_wrapped, out);
    }

    fn outcome(&mut self, title: &str, end: SectionEnd, out: &mut Output<'_>) {
        let is_wrapped = self.begin_entry(None, "", out);
        self.open_bracket(out, "{");
        self.string_member(out, "title", title.as_bytes());
        self.section_end(end, out);
        self.close_bracket(out, "}");
        self.end_entry(is_wrapped, out);
    }

    fn table_head(&mut self, _columns: &[Column<'_>], _out: &mut Output<'_>) {}

    fn row(&mut self, columns: &[Column<'_>], values: &[Value<'_>], out: &mut Output<'_>) {
        self.open(Container::Group(None), out);
        let mut values = values.iter();
        for column in columns {
            self.value(Some(column.name), values.next().unwrap_or(&Value::None), out);
        }
        for value in values {
            self.value(None, value, out);
        }
        self.close(out);
    }
}

impl JsonLayout {
    fn innermost(&self) -> Open {
        self.open.get(self.depth).copied().unwrap_or(Open::new(Kind::Object))
    }

    fn set_innermost(&mut self, new: Open) {
        if let Some(open) = self.open.get_mut(self.depth) {
            *open = new;
        }
    }

    /// Opens the block or section that content goes to.
    fn begin_base(&mut self, kind: Kind, out: &mut Output<'_>) {
        self.open_bracket(out, if matches!(kind, Kind::Array) { "[" } else { "{" });
        self.depth = 0;
        self.set_innermost(Open::new(kind));
    }

    // Brackets, commas and line ends.

    fn open_bracket(&mut self, out: &mut Output<'_>, bracket: &str) {
        put(out, bracket);
        self.brackets = self.brackets.saturating_add(1);
        self.is_empty = true;
    }

    fn close_bracket(&mut self, out: &mut Output<'_>, bracket: &str) {
        self.brackets = self.brackets.saturating_sub(1);
        if !self.is_empty {
            self.line_end(out);
        }
        put(out, bracket);
        self.is_empty = false;
    }

    fn separate(&mut self, out: &mut Output<'_>) {
        if !self.is_empty {
            put(out, ",");
        }
        self.is_empty = false;
        self.line_end(out);
    }

    fn line_end(&self, out: &mut Output<'_>) {
        if self.style == JsonStyle::Pretty {
            put(out, "\n");
            spaces(out, usize::from(self.brackets).saturating_mul(2));
        }
    }

    fn colon(&self, out: &mut Output<'_>) {
        put(out, if self.style == JsonStyle::Pretty { ": " } else { ":" });
    }

    // Members.

    /// A member of the view's own; its value must follow.
    fn member(&mut self, out: &mut Output<'_>, key: &str) {
        self.separate(out);
        string(out, key.as_bytes());
        self.colon(out);
    }

    fn string_member(&mut self, out: &mut Output<'_>, key: &str, value: &[u8]) {
        self.member(out, key);
        string(out, value);
    }

    fn section_end(&mut self, end: SectionEnd, out: &mut Output<'_>) {
        self.string_member(out, "status", end.code.as_bytes());
        if !end.is_ok() {
            self.string_member(out, "explanation", end.explanation.as_bytes());
        }
        if let Some(elapsed_ns) = end.elapsed_ns {
            self.member(out, "elapsed_ns");
            decimal(out, elapsed_ns);
        }
    }

    /// The key of a `frames` array.
    fn frames_member(&mut self, out: &mut Output<'_>) {
        let mut open = self.innermost();
        open.frames = open.frames.saturating_add(1);
        self.set_innermost(open);
        self.numbered_member(out, "frames", open.frames);
    }

    /// A key of the view's own, with a number from its second time on.
    fn numbered_member(&mut self, out: &mut Output<'_>, key: &str, number: u32) {
        self.separate(out);
        put(out, "\"");
        put(out, key);
        if number > 1 {
            put(out, "_");
            decimal(out, u64::from(number));
        }
        put(out, "\"");
        self.colon(out);
    }

    /// Whatever stands before a value here: a key in an object, nothing in an
    /// array, or an object for the key. Returns whether that object must be
    /// closed behind the value ([`Self::end_entry`]).
    fn begin_entry(&mut self, key: Option<&str>, unit: &str, out: &mut Output<'_>) -> bool {
        let mut open = self.innermost();
        self.separate(out);
        let is_wrapped = match (key, open.kind) {
            (None, Kind::Array) => return false,
            (Some(_), Kind::Array) => {
                self.open_bracket(out, "{");
                self.separate(out);
                true
            }
            _ => false,
        };
        put(out, "\"");
        match key {
            Some(key) => {
                escape::json(out, key.as_bytes());
                // The object for one key has no members of the view's own.
                if !is_wrapped && open.kind.reserves(key) {
                    put(out, "_");
                }
            }
            None => {
                open.items = open.items.saturating_add(1);
                self.set_innermost(open);
                put(out, "item_");
                decimal(out, u64::from(open.items));
            }
        }
        if !unit.is_empty() {
            put(out, "_");
            put(out, unit);
        }
        put(out, "\"");
        self.colon(out);
        is_wrapped
    }

    fn end_entry(&mut self, is_wrapped: bool, out: &mut Output<'_>) {
        if is_wrapped {
            self.close_bracket(out, "}");
        }
    }

    /// A value whose unit, if any, is written already.
    fn unitless(&mut self, value: &Value<'_>, out: &mut Output<'_>) {
        match *value {
            Value::None => put(out, "null"),
            Value::Bool(truth) => boolean(out, truth),
            Value::U64(number) | Value::ByteCount(number) | Value::DurationNs(number) => {
                decimal(out, number);
            }
            Value::I64(number) => signed(out, number),
            Value::Number(text) if is_json_number(text) => put(out, text),
            Value::Number(text) | Value::Text(text) => string(out, text.as_bytes()),
            Value::Bytes(bytes) => string(out, bytes),
            Value::Timestamp(time) => quoted(out, |out| timestamp(out, time)),
            Value::Address(number) => quoted(out, |out| address(out, number)),
            Value::Hex(bytes) => quoted(out, |out| hex_bytes(out, bytes)),
            Value::Redacted => put(out, "\"***\""),
            Value::Truncated { text, full_len_bytes } => {
                self.open_bracket(out, "{");
                self.string_member(out, "text", text);
                self.member(out, "truncated");
                boolean(out, true);
                self.member(out, "full_len_bytes");
                match full_len_bytes {
                    Some(bytes) => decimal(out, bytes),
                    None => put(out, "null"),
                }
                self.close_bracket(out, "}");
            }
        }
    }

    fn thread(&mut self, thread: &Thread<'_>, out: &mut Output<'_>) {
        self.member(out, "tid");
        decimal(out, u64::from(thread.tid));
        self.string_member(out, "name", thread.name);
        self.string_member(out, "state", state_name(thread.state).as_bytes());
        self.member(out, "is_main");
        boolean(out, thread.is_main);
        self.member(out, "is_triggering");
        boolean(out, thread.is_triggering);
        self.capture(thread.capture, thread.stack_end, out);
    }

    fn thread_group(&mut self, group: &ThreadGroup<'_>, out: &mut Output<'_>) {
        self.member(out, "count");
        decimal(out, group.count);
        self.capture(group.capture, group.stack_end, out);
    }

    fn thread_member(&mut self, member: &ThreadMember<'_>, out: &mut Output<'_>) {
        self.member(out, "tid");
        decimal(out, u64::from(member.tid));
        self.string_member(out, "name", member.name);
        self.string_member(out, "state", state_name(member.state).as_bytes());
        if !member.summary.is_empty() {
            self.string_member(out, "summary", member.summary.as_bytes());
        }
    }

    fn capture(&mut self, capture: Capture, stack_end: StackEnd, out: &mut Output<'_>) {
        self.string_member(out, "capture", capture.code().as_bytes());
        if capture != Capture::Ok {
            self.string_member(out, "explanation", capture.explanation().as_bytes());
        }
        self.string_member(out, "stack_end", stack_end.code().as_bytes());
        match stack_end {
            StackEnd::WindowFull { window_bytes } => {
                self.member(out, "window_bytes");
                decimal(out, u64::from(window_bytes));
            }
            StackEnd::FrameLimit { frames } => {
                self.member(out, "max_frames");
                decimal(out, u64::from(frames));
            }
            StackEnd::Complete
            | StackEnd::NoStack
            | StackEnd::Unreadable
            | StackEnd::NoUnwindInfo
            | StackEnd::Inconsistent
            | StackEnd::Unloaded
            | StackEnd::FramePointerUnknown
            | StackEnd::Guessed => {}
        }
    }

    fn process(&mut self, process: &Process<'_>, out: &mut Output<'_>) {
        self.member(out, "pid");
        decimal(out, u64::from(process.pid));
        self.member(out, "parent_pid");
        decimal(out, u64::from(process.parent_pid));
        self.string_member(out, "name", process.name);
        self.member(out, "user");
        match process.user {
            Some(user) => string(out, user),
            None => put(out, "null"),
        }
        self.member(out, "uid");
        match process.uid {
            Some(uid) => decimal(out, u64::from(uid)),
            None => put(out, "null"),
        }
        self.string_member(out, "state", state_name(process.state).as_bytes());
    }
}

/// The key of a further member of an object that is one line.
fn line_member(out: &mut Output<'_>, key: &str, style: JsonStyle) {
    put(out, if style == JsonStyle::Pretty { ", \"" } else { ",\"" });
    put(out, key);
    put(out, if style == JsonStyle::Pretty { "\": " } else { "\":" });
}

/// A frame is one line in either style: stacks are most of a report.
pub(super) fn frame_object(out: &mut Output<'_>, frame: &Frame<'_>, style: JsonStyle) {
    let member = |out: &mut Output<'_>, key: &str| line_member(out, key, style);
    put(out, if style == JsonStyle::Pretty { "{\"index\": " } else { "{\"index\":" });
    decimal(out, u64::from(frame.index));
    member(out, "pc");
    quoted(out, |out| address(out, frame.pc));
    if let Some(module) = frame.module {
        member(out, "module");
        string(out, module);
        member(out, "module_offset");
        quoted(out, |out| address(out, frame.module_offset));
    }
    if let Some(function) = frame.function {
        member(out, "function");
        string(out, function.as_bytes());
    }
    if let Some(file) = frame.file {
        member(out, "file");
        string(out, file);
    }
    if let Some(line) = frame.line {
        member(out, "line");
        decimal(out, u64::from(line));
    }
    member(out, "certainty");
    string(out, frame.certainty.code().as_bytes());
    for (key, truth) in [
        ("function_truncated", frame.function_truncated),
        ("inlined", frame.inlined),
        ("signal_frame", frame.is_signal_frame),
    ] {
        if truth {
            member(out, key);
            boolean(out, true);
        }
    }
    put(out, "}");
}

/// The members of an object that has no other such; `between` parts them.
pub(super) fn entry_frames_members(
    out: &mut Output<'_>,
    frames: &EntryFrames<'_>,
    style: JsonStyle,
    between: &str,
) {
    let key = |out: &mut Output<'_>, key: &str| {
        quoted(out, |out| put(out, key));
        put(out, if style == JsonStyle::Pretty { ": " } else { ":" });
    };
    key(out, ENTRY_FRAMES);
    decimal(out, u64::from(frames.count));
    put(out, between);
    key(out, LAST_ENTRY_FRAME);
    frame_object(out, &frames.last, style);
}

fn boolean(out: &mut Output<'_>, truth: bool) {
    put(out, if truth { "true" } else { "false" });
}

fn string(out: &mut Output<'_>, bytes: &[u8]) {
    quoted(out, |out| escape::json(out, bytes));
}

fn quoted(out: &mut Output<'_>, body: impl FnOnce(&mut Output<'_>)) {
    put(out, "\"");
    body(out);
    put(out, "\"");
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    use serde_json::json;

    use super::*;
    use crate::model::{MAX_DEPTH, SectionStatus, Timestamp};
    use crate::view::testing::{
        END, SECTION, SECTION_OK, THREAD, group, item, list, rendered, sample, value,
    };

    fn line(events: &[Event<'_>]) -> String {
        rendered(JsonView::new(JsonStyle::Line), events)
    }

    fn parsed(events: &[Event<'_>]) -> serde_json::Value {
        serde_json::from_str(&line(events)).unwrap()
    }

    /// The `data` of a section with these events.
    fn data(events: &[Event<'_>]) -> serde_json::Value {
        let stream: Vec<_> = [&[SECTION], events, &[SECTION_OK, END]].concat();
        parsed(&stream)["sections"][0]["data"].take()
    }

    #[test]
    fn a_programs_key_does_not_meet_the_count_of_entry_frames() {
        let left_out =
            Event::EntryFrames(crate::model::EntryFrames { count: 8, last: Frame::bare(1, 16) });
        let frame = json!({"index": 1, "pc": "0x10", "certainty": "exact"});
        assert_eq!(
            data(&[
                value("entry_frames_left_out", 5u64),
                value("last_entry_frame_2", 6u64),
                left_out,
                left_out,
                list("l"),
                left_out,
                Event::Close,
            ]),
            json!({
                "entry_frames_left_out_": 5,
                "last_entry_frame_2_": 6,
                "entry_frames_left_out": 8,
                "last_entry_frame": frame,
                "entry_frames_left_out_2": 8,
                "last_entry_frame_2": frame,
                "l": [{"entry_frames_left_out": 8, "last_entry_frame": frame}],
            })
        );
    }

    #[test]
    fn a_whole_report() {
        let report = parsed(&sample());
        assert_eq!(report["schema_version"], 1);
        assert_eq!(
            report["head"],
            json!({
                "report": 3,
                "service": "heat-api",
                "requested by": "SIGUSR2 from pid 20711 (bash), uid 1000",
                "time": "2026-11-22T14:03:11.482913000Z",
                "uptime_ns": 274_269_000_000_000u64,
                "pid": 10172,
            })
        );
        assert_eq!(report["findings"].as_array().unwrap().len(), 2);
        let sections = report["sections"].as_array().unwrap();
        assert_eq!(sections.len(), 7);
        assert_eq!(
            sections[0],
            json!({
                "id": 1,
                "title": "Package",
                "data": {
                    "product": "heat-api", "vendor": null, "version": "2.1.0", "build-id": "9f3ce1",
                },
                "status": "ok",
                "elapsed_ns": 5,
            })
        );
        let threads = &sections[1]["data"];
        assert_eq!(threads["item_1"], "3 threads: 1 ok, 1 partial, 1 signal_blocked");
        assert_eq!(
            threads["threads"][0]["frames"][1],
            json!({
                "index": 1,
                "pc": "0x555555555010",
                "module": "heat-api",
                "module_offset": "0x1010",
                "function": "heat::db::throttle",
                "file": "src/db.rs",
                "line": 91,
                "certainty": "exact",
                "inlined": true,
            })
        );
        assert_eq!(
            threads["threads"][0]["scopes"],
            json!([
                {
                    "label": "request",
                    "detail": {"text": "GET /heat", "truncated": true, "full_len_bytes": 90},
                    "age_ns": 2_300_000_000u64,
                },
                {"label": "query", "detail": null, "age_ns": 7_000},
            ])
        );
        assert_eq!(
            threads["threads"][2],
            json!({
                "tid": 11,
                "name": "",
                "state": "sleeping",
                "is_main": false,
                "is_triggering": false,
                "capture": "signal_blocked",
                "explanation": Capture::SignalBlocked.explanation(),
                "stack_end": "no_stack",
            })
        );
        assert_eq!(
            threads["threads"][3],
            json!({
                "count": 38,
                "capture": "ok",
                "stack_end": "complete",
                "members": [
                    {
                        "tid": 10203,
                        "name": "api-3",
                        "state": "sleeping",
                        "summary": "sleeping, futex 0x7f21c0a41e10",
                        "scopes": [{"label": "idle", "detail": null, "age_ns": 17}],
                    },
                    {"tid": 10204, "name": "", "state": "running"},
                ],
                "members left out": 36,
                "frames": [{
                    "index": 0,
                    "pc": "0x555555555000",
                    "module": "heat-api",
                    "module_offset": "0x1000",
                    "function": "syscall",
                    "certainty": "exact",
                }],
                "entry_frames_left_out": 8,
                "last_entry_frame": {
                    "index": 1,
                    "pc": "0x555555555010",
                    "module": "heat-api",
                    "module_offset": "0x1010",
                    "function": "_start",
                    "certainty": "exact",
                },
            })
        );
        assert_eq!(threads["threads"][4]["capture"], "own");
        assert_eq!(threads["threads"][4]["explanation"], Capture::Own.explanation());
        let child = &sections[2]["data"]["processes"][0]["children"][0];
        assert_eq!(child["memory_bytes"], 5u64 << 30);
        assert_eq!(child["children"][0]["uid"], serde_json::Value::Null);
        assert_eq!(
            sections[3]["data"]["default"]["motd"],
            json!({"text": "welcome", "truncated": true, "full_len_bytes": 4096})
        );
        assert_eq!(sections[3]["explanation"], "the configuration went away");
        assert_eq!(sections[5]["data"], tasks::tests::sample_data());
        assert_eq!(
            report["end"],
            json!({
                "threads": "2 of 3",
                "section times": [
                    {"title": "Package", "status": "ok", "elapsed_ns": 104_000},
                    {
                        "title": "Configuration",
                        "status": "failed",
                        "explanation": "it went\naway",
                        "elapsed_ns": 17,
                    },
                ],
                "written_bytes": 48123,
                "sequence": 3,
                "complete": false,
                "incomplete": ["section failed", "section skipped"],
            })
        );
    }

    #[test]
    fn both_styles_exactly() {
        let events = [
            Event::BeginHead,
            value("pid", 7u64),
            SECTION,
            list("empty"),
            Event::Close,
            Event::BeginThread(THREAD),
            Event::Frame(Frame::bare(0, 16)),
            SECTION_OK,
            END,
        ];
        assert_eq!(
            line(&events),
            concat!(
                r#"{"schema_version":1,"head":{"pid":7},"findings":[],"sections":["#,
                r#"{"id":1,"title":"Test","data":{"empty":[],"#,
                r#""item_1":{"tid":10181,"name":"tokio-rt-worker","state":"sleeping","#,
                r#""is_main":false,"is_triggering":false,"capture":"ok","#,
                r#""stack_end":"complete","frames":["#,
                r#"{"index":0,"pc":"0x10","certainty":"exact"}]}},"#,
                r#""status":"ok","elapsed_ns":5}],"#,
                r#""end":{"sequence":1,"complete":true,"incomplete":[]}}"#,
                "\n"
            )
        );
        let expected = r#"{
  "schema_version": 1,
  "head": {
    "pid": 7
  },
  "findings": [],
  "sections": [
    {
      "id": 1,
      "title": "Test",
      "data": {
        "empty": [],
        "item_1": {
          "tid": 10181,
          "name": "tokio-rt-worker",
          "state": "sleeping",
          "is_main": false,
          "is_triggering": false,
          "capture": "ok",
          "stack_end": "complete",
          "frames": [
            {"index": 0, "pc": "0x10", "certainty": "exact"}
          ]
        }
      },
      "status": "ok",
      "elapsed_ns": 5
    }
  ],
  "end": {
    "sequence": 1,
    "complete": true,
    "incomplete": []
  }
}
"#;
        assert_eq!(rendered(JsonView::new(JsonStyle::Pretty), &events), expected);
    }

    #[test]
    fn values() {
        let time = Timestamp { unix_seconds: 0, nanoseconds: 1 };
        let facts = data(&[
            value("none", Value::None),
            value("yes", true),
            value("big", u64::MAX),
            value("small", i64::MIN),
            value("float", Value::Number("1.5e3")),
            value("not a number", Value::Number("NaN")),
            value("too big", Value::Number("1e999")),
            value("lossy", Value::Bytes(b"a\xff\"\\\n")),
            value("wait", Value::DurationNs(7)),
            value("memory", Value::ByteCount(8)),
            value("at", Value::Timestamp(time)),
            value("address", Value::Address(0x7f00)),
            value("id", Value::Hex(&[0, 0xff])),
            value("secret", Value::Redacted),
            value("cut", Value::Truncated { text: b"x", full_len_bytes: None }),
        ]);
        assert_eq!(
            facts,
            json!({
                "none": null,
                "yes": true,
                "big": u64::MAX,
                "small": i64::MIN,
                "float": 1500.0,
                "not a number": "NaN",
                "too big": "1e999",
                "lossy": "a\\xff\"\\\n",
                "wait_ns": 7,
                "memory_bytes": 8,
                "at": "1970-01-01T00:00:00.000000001Z",
                "address": "0x7f00",
                "id": "00ff",
                "secret": "***",
                "cut": {"text": "x", "truncated": true, "full_len_bytes": null},
            })
        );
    }

    #[test]
    fn what_lacks_a_key_gets_one_and_what_must_not_have_one_is_wrapped() {
        let facts = data(&[
            item("loose"),
            item(Value::DurationNs(3)),
            Event::Text(b"words"),
            Event::BeginGroup { key: None },
            Event::Close,
            list("items"),
            item(Value::DurationNs(1)),
            item(Value::ByteCount(2)),
            value("key", Value::ByteCount(3)),
            group("group"),
            value("a", 1u64),
            Event::Close,
            Event::BeginList { key: None },
            item(4u64),
            Event::Close,
            Event::Frame(Frame::bare(0, 5)),
        ]);
        assert_eq!(
            facts,
            json!({
                "item_1": "loose",
                "item_2_ns": 3,
                "item_3": "words",
                "item_4": {},
                "items": [
                    {"ns": 1},
                    {"bytes": 2},
                    {"key_bytes": 3},
                    {"group": {"a": 1}},
                    [4],
                    {"index": 0, "pc": "0x5", "certainty": "exact"},
                ],
            })
        );
    }

    #[test]
    fn rows_are_objects() {
        let columns =
            [Column::text("name", 3), Column::number("wait", 3), Column::text("item_1", 0)];
        let facts = data(&[
            Event::BeginBlocks { key: "rows" },
            Event::TableHead { columns: &columns },
            Event::Row { columns: &columns, values: &["a".into(), Value::DurationNs(7)] },
            Event::Row {
                columns: &columns,
                values: &["b".into(), Value::None, true.into(), 4u64.into()],
            },
            Event::Close,
            Event::BeginBlocks { key: "empty" },
            Event::TableHead { columns: &columns },
            Event::Close,
            Event::Row { columns: &columns[..1], values: &["c".into()] },
        ]);
        assert_eq!(
            facts,
            json!({
                "rows": [
                    {"name": "a", "wait_ns": 7, "item_1_": null},
                    {"name": "b", "wait": null, "item_1_": true, "item_1": 4},
                ],
                "empty": [],
                "item_1": {"name": "c"},
            })
        );
    }

    #[test]
    fn no_key_of_the_program_meets_one_of_the_views() {
        let keys = ["tid", "tid_", "frames", "frames_2", "item_1", "item_1_", "item_2_ns", "items"];
        let mut events = vec![Event::BeginThread(THREAD)];
        events.extend(keys.map(|key| value(key, "program's")));
        events.push(item("view's"));
        events.push(Event::Frame(Frame::bare(0, 1)));
        events.push(item(Value::DurationNs(2)));
        events.push(Event::Frame(Frame::bare(0, 3)));
        // A generator may name its frames, too.
        events.push(Event::BeginBlocks { key: "frames" });
        events.push(Event::Frame(Frame::bare(0, 4)));
        let facts = data(&events);
        let thread = facts["item_1"].as_object().unwrap();
        let of_the_view = 7;
        assert_eq!(thread.len(), of_the_view + keys.len() + 5, "{thread:?}");
        assert_eq!(thread["tid"], 10181);
        assert_eq!(thread["tid_"], "program's");
        assert_eq!(thread["tid__"], "program's");
        assert_eq!(thread["item_1"], "view's");
        assert_eq!(thread["items"], "program's");
        assert_eq!(thread["frames"][0]["pc"], "0x1");
        assert_eq!(thread["frames_2"][0]["pc"], "0x3");
        assert_eq!(thread["frames_3"][0]["pc"], "0x4");
    }

    #[test]
    fn too_deep_a_nest_is_flattened() {
        let mut events = vec![Event::BeginGroup { key: Some("g") }; MAX_DEPTH];
        events.push(Event::BeginThread(THREAD));
        events.push(value("deep", 1u64));
        events.push(Event::Close);
        events.push(value("deep too", 2u64));
        let facts = data(&events);
        let innermost = facts.pointer(&"/g".repeat(MAX_DEPTH)).unwrap();
        assert_eq!(innermost["item_1"]["tid"], 10181);
        assert_eq!(innermost["deep"], 1);
        assert_eq!(innermost["deep too"], 2);
    }

    #[test]
    fn events_out_of_order() {
        let report = parsed(&[
            Event::Close,
            SECTION_OK,
            value("early", "counts as head"),
            Event::BeginSection { id: 1, title: "First" },
            group("left open"),
            SECTION,
            Event::BeginFindings,
            value("still", "in the second"),
            Event::EndSection { status: SectionStatus::Failed("why\n\"not\""), elapsed_ns: 1 },
            value("nowhere", 1u64),
            END,
            Event::BeginReport,
            END,
        ]);
        assert_eq!(report["head"], json!({"early": "counts as head"}));
        assert_eq!(report["findings"], json!([]));
        assert_eq!(
            report["sections"],
            json!([
                {
                    "id": 1,
                    "title": "First",
                    "data": {"left open": {}},
                    "status": "unfinished",
                    "explanation": "the report went on before the section ended",
                },
                {
                    "id": 1,
                    "title": "Test",
                    "data": {"still": "in the second"},
                    "status": "failed",
                    "explanation": "why\n\"not\"",
                    "elapsed_ns": 1,
                },
            ])
        );
    }

    #[test]
    fn the_shortest_report() {
        let empty = r#"{"schema_version":1,"head":{},"findings":[],"sections":[],"#;
        let end = r#""end":{"sequence":1,"complete":true,"incomplete":[]}}"#;
        assert_eq!(line(&[END]), format!("{empty}{end}\n"));
        assert_eq!(line(&[]), "");
    }
}
