//! The report for people: the shapes of the original (`oslo.reports`).
//!
//! The shapes:
//!
//! 1. A title or section heading is a box of three lines, 72 columns wide, its
//!    text centred in 64. A longer title is not cut; its line grows.
//! 2. `key = value` is one line. A group is `key: ` after an empty line, a list
//!    `key = `, text of several lines `key: `; what is in them is indented by
//!    two. A group without a key is `[dict]`, a list `[list]`.
//! 3. A thread is a rule with its number and name, facts, an empty line and its
//!    frames, innermost first. Processes are a tree, indented by four.
//!    What a thread was doing is a line `doing = LABEL: DETAIL (AGE)` for each
//!    scope, the outermost first. Threads with the same stack are one block: its
//!    rule has their number and the first of them, then a line each (`#TID NAME:
//!    STATE`, scopes indented below it), then the frames that they share. Frames
//!    of the runtime that are left out are one line in their place, which counts
//!    them and has the end of the stack.
//! 4. A table is a line with the names of its columns, a rule of dashes below
//!    each, and a line for each row. Two spaces part the columns; what is wider
//!    than its column moves the rest of its line as little as need be. Its values
//!    are one line each.
//! 5. A finding is one line, the words of its code and its text.
//! 6. A task of an async runtime is a rule with its number, its name and what it
//!    does, facts, an empty line and its await tree ([`tasks`]): each level a line,
//!    `FILE:LINE  FUNCTION`, indented by two for each level around it; then in
//!    parentheses what is to be said of it, and `-> task N` if it waits for that
//!    one. Tasks whose trees are equal are one block, like threads.
//! 7. A section that is not whole ends with `[section CODE: EXPLANATION]`, the
//!    report with `End of report N: complete` or `… incomplete (REASONS)`.
//!    In the end block each section is a line `TITLE: CODE, TIME`, and what went
//!    wrong in it.
//!
//! Only the view itself begins a line at column 0 with `=`, `-`, `|`,
//! `[section` or `End of report`: anything else that would gets a `\` before
//! it. Keys, titles and names are always one line ([`super::escape`]).
//!
//! Not shown, though JSON has it: section numbers and times, the address of a
//! frame whose file is known, and figures that are rounded for eyes.

use super::escape::{self, CharCounter};
use super::format::{
    address, byte_count, decimal, decimal_width, duration, hex_bytes, is_json_number, put, repeat,
    signed, spaces, timestamp,
};
use super::order::{Block, CONTAINERS, Container, Layout, Ordered, SectionEnd};
use super::{Output, View};
use crate::model::{
    ActiveScope, Await, Capture, Certainty, Column, EntryFrames, Event, Finding, Frame, Incomplete,
    MAX_COLUMN_WIDTH, Process, StackEnd, Thread, ThreadGroup, ThreadMember, Value, state_name,
};

mod tasks;

/// Columns of a heading, a title within it, and a thread's title.
const WIDTH: usize = 72;
const TITLE_WIDTH: usize = 64;
const THREAD_WIDTH: usize = 60;

/// Columns that a group's members and a list's items are indented by.
const INDENT: u16 = 2;
/// Columns between those of a table.
const GAP: usize = 2;
/// A cell of a table without a value.
const NO_CELL: Value<'static> = Value::Text("-");
/// The same for what belongs to a process.
const PROCESS_INDENT: u16 = 4;

/// Writes a report as text.
///
/// Signal-safe: no allocation, no lock, no panic; about 300 bytes of state.
#[derive(Debug)]
pub struct TextView(Ordered<TextLayout>);

impl TextView {
    /// A view for one report.
    #[must_use]
    pub const fn new() -> Self {
        TextView(Ordered::new(TextLayout {
            open: [Open { indent: 0, stack_end: None }; CONTAINERS],
            depth: 0,
            last: Line::Heading,
            tree: tasks::Tree::new(),
            findings: Findings::Elsewhere,
        }))
    }
}

impl Default for TextView {
    fn default() -> Self {
        Self::new()
    }
}

impl View for TextView {
    fn event(&mut self, event: &Event<'_>, out: &mut Output<'_>) {
        self.0.event(event, out);
    }
}

#[derive(Debug)]
struct TextLayout {
    /// `open[0]` is the block or section, the rest what is open inside it.
    open: [Open; CONTAINERS],
    depth: usize,
    last: Line,
    findings: Findings,
    /// The await tree that is being written.
    tree: tasks::Tree,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// Columns before what is inside.
    indent: u16,
    /// For a block of threads or tasks: what to say when it closes.
    stack_end: Option<StackEnd>,
}

/// What the last line was, so that empty lines neither lack nor double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Heading,
    /// It says what is in the container that was opened.
    Opening,
    Content,
    Empty,
}

/// `findings = ` can be written only when it is known whether there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Findings {
    Elsewhere,
    NoneYet,
    Some,
}

impl Layout for TextLayout {
    const SHOWS_MEMBERS: bool = false;

    fn begin_report(&mut self, out: &mut Output<'_>) {
        heading(out, "Guru Meditation");
        repeat(out, "|", WIDTH);
        put(out, "\n\n");
        self.last = Line::Heading;
    }

    fn begin_block(&mut self, block: Block, out: &mut Output<'_>) {
        self.depth = 0;
        self.set_innermost(0, None);
        match block {
            // With the empty line below the bars: two, as in the original.
            Block::Head => self.empty_line(out),
            Block::Findings => {
                self.findings = Findings::NoneYet;
                self.set_innermost(INDENT, None);
            }
            Block::Sections | Block::End => self.separate(out),
        }
    }

    fn end_block(&mut self, block: Block, out: &mut Output<'_>) {
        if block == Block::Findings {
            if self.findings == Findings::NoneYet {
                put(out, "findings = none found\n");
                self.last = Line::Content;
            }
            self.findings = Findings::Elsewhere;
        }
    }

    fn skip_block(&mut self, block: Block, out: &mut Output<'_>) {
        if block == Block::Head {
            self.empty_line(out);
        }
    }

    fn begin_section(&mut self, _id: u32, title: &str, out: &mut Output<'_>) {
        heading(out, title);
        self.last = Line::Heading;
        self.depth = 0;
        self.set_innermost(0, None);
    }

    fn end_section(&mut self, end: SectionEnd, out: &mut Output<'_>) {
        if !end.is_ok() {
            put(out, "[section ");
            put(out, end.code);
            put(out, ": ");
            escape::line(out, end.explanation.as_bytes());
            put(out, "]\n");
            self.last = Line::Content;
        }
    }

    fn end_report(&mut self, sequence: u64, incomplete: Incomplete, out: &mut Output<'_>) {
        put(out, "End of report ");
        decimal(out, sequence);
        if incomplete.is_complete() {
            return put(out, ": complete\n");
        }
        put(out, ": incomplete (");
        let mut separator = "";
        for reason in incomplete.reasons() {
            put(out, separator);
            put(out, reason);
            separator = ", ";
        }
        put(out, ")\n");
    }

    fn value(&mut self, key: Option<&str>, value: &Value<'_>, out: &mut Output<'_>) {
        let lines = value_text(value).filter(|text| text.contains(&b'\n'));
        let Some(key) = key else {
            return match lines {
                None => self.one_line(first_byte(value), out, |out| one_line_value(out, value)),
                Some(text) => self.lines(text, value, LineStyle::Item, out),
            };
        };
        self.one_line(key.as_bytes(), out, |out| {
            escape::line(out, key.as_bytes());
            if lines.is_none() {
                put(out, " = ");
                one_line_value(out, value);
            } else {
                put(out, ": ");
            }
        });
        if let Some(text) = lines {
            self.lines(text, value, LineStyle::BelowKey, out);
        }
    }

    fn text(&mut self, text: &[u8], out: &mut Output<'_>) {
        self.lines(text, &Value::None, LineStyle::Paragraph, out);
    }

    fn open(&mut self, container: Container<'_>, out: &mut Output<'_>) {
        let indent = self.innermost().indent;
        let (inner_indent, stack_end) = match container {
            Container::Group(Some(key)) => {
                self.begin_findings(out);
                // In front of every group, also of the first below a heading.
                self.separate_always(out);
                self.one_line(key.as_bytes(), out, |out| {
                    escape::line(out, key.as_bytes());
                    put(out, ": ");
                });
                (indent.saturating_add(INDENT), None)
            }
            Container::Group(None) => {
                self.one_line(b"", out, |out| put(out, "[dict]"));
                (indent.saturating_add(INDENT), None)
            }
            Container::List(Some(key)) => {
                self.one_line(key.as_bytes(), out, |out| {
                    escape::line(out, key.as_bytes());
                    put(out, " = ");
                });
                (indent.saturating_add(INDENT), None)
            }
            Container::List(None) => {
                self.one_line(b"", out, |out| put(out, "[list]"));
                (indent.saturating_add(INDENT), None)
            }
            Container::Blocks(_) => (indent, None),
            Container::Thread(thread) => {
                self.begin_findings(out);
                self.separate(out);
                self.thread(thread, out);
                (indent, Some(thread.stack_end))
            }
            Container::ThreadGroup(group) => {
                self.begin_findings(out);
                self.separate(out);
                self.thread_group(group, out);
                (indent, Some(group.stack_end))
            }
            Container::Task(task) => {
                self.begin_findings(out);
                self.separate(out);
                self.task(task, out);
                // It ends like a thread, with an empty line.
                (indent, Some(StackEnd::NoStack))
            }
            Container::Member(member) => {
                self.one_line(b"", out, |out| member_line(out, member));
                (indent.saturating_add(INDENT), None)
            }
            Container::Process(process) => {
                self.one_line(b"", out, |out| process_line(out, process));
                (indent.saturating_add(PROCESS_INDENT), None)
            }
        };
        if matches!(container, Container::Group(_) | Container::List(_)) {
            self.last = Line::Opening;
        }
        self.depth = self.depth.saturating_add(1);
        self.set_innermost(inner_indent, stack_end);
    }

    fn close(&mut self, out: &mut Output<'_>) {
        if let Some(end) = self.innermost().stack_end {
            if !matches!(end, StackEnd::Complete | StackEnd::NoStack) {
                self.one_line(b"", out, |out| stack_end_line(out, end));
            }
            self.separate_always(out);
        }
        self.depth = self.depth.saturating_sub(1);
    }

    fn begin_frames(&mut self, out: &mut Output<'_>) {
        self.begin_findings(out);
        self.separate(out);
    }

    fn frame(&mut self, frame: &Frame<'_>, out: &mut Output<'_>) {
        self.one_line(b"", out, |out| frame_line(out, frame));
    }

    fn end_frames(&mut self, _out: &mut Output<'_>) {}

    fn begin_awaits(&mut self, out: &mut Output<'_>) {
        self.begin_findings(out);
        self.separate(out);
    }

    fn await_level(&mut self, level: &Await<'_>, out: &mut Output<'_>) {
        let Some(depth) = self.tree.depth_shown(level) else { return };
        let level = &Await { depth, ..*level };
        self.one_line(tasks::level_start(level), out, |out| tasks::level_line(out, level));
    }

    fn end_awaits(&mut self, _out: &mut Output<'_>) {}

    fn entry_frames(&mut self, frames: &EntryFrames<'_>, out: &mut Output<'_>) {
        self.one_line(b"", out, |out| entry_frames_line(out, frames));
    }

    fn scope(&mut self, scope: &ActiveScope<'_>, out: &mut Output<'_>) {
        self.one_line(b"", out, |out| {
            put(out, "doing = ");
            escape::line(out, scope.label.as_bytes());
            if scope.detail != Value::None {
                put(out, ": ");
                one_line_value(out, &scope.detail);
            }
            put(out, " (");
            duration(out, scope.age_ns);
            put(out, ")");
        });
    }

    fn finding(&mut self, finding: &Finding<'_>, out: &mut Output<'_>) {
        self.one_line(b"", out, |out| {
            for (number, word) in finding.code.code().split('_').enumerate() {
                put(out, if number > 0 { " " } else { "" });
                put(out, word);
            }
            put(out, ": ");
            escape::line(out, finding.text.as_bytes());
        });
    }

    fn outcome(&mut self, title: &str, end: SectionEnd, out: &mut Output<'_>) {
        self.one_line(title.as_bytes(), out, |out| {
            escape::line(out, title.as_bytes());
            put(out, ": ");
            put(out, end.code);
            if let Some(elapsed_ns) = end.elapsed_ns {
                put(out, ", ");
                duration(out, elapsed_ns);
            }
            if !end.is_ok() {
                put(out, ": ");
                escape::line(out, end.explanation.as_bytes());
            }
        });
    }

    fn table_head(&mut self, columns: &[Column<'_>], out: &mut Output<'_>) {
        if columns.is_empty() {
            return;
        }
        self.begin_findings(out);
        if self.last == Line::Content {
            self.empty_line(out);
        }
        self.cells(columns, columns.iter().map(|column| Value::Text(column.name)), out);
        spaces(out, usize::from(self.innermost().indent));
        let mut gap = 0;
        for column in columns {
            spaces(out, gap);
            repeat(out, "-", column_width(column));
            gap = GAP;
        }
        put(out, "\n");
        self.last = Line::Content;
    }

    fn row(&mut self, columns: &[Column<'_>], values: &[Value<'_>], out: &mut Output<'_>) {
        self.cells(columns, values.iter().copied(), out);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineStyle {
    /// An item: the lines after the first are indented.
    Item,
    /// Below a line with its key: all lines are indented.
    BelowKey,
    /// Text as it is.
    Paragraph,
}

impl TextLayout {
    fn innermost(&self) -> Open {
        self.open.get(self.depth).copied().unwrap_or(Open { indent: 0, stack_end: None })
    }

    fn set_innermost(&mut self, indent: u16, stack_end: Option<StackEnd>) {
        if let Some(open) = self.open.get_mut(self.depth) {
            *open = Open { indent, stack_end };
        }
    }

    fn empty_line(&mut self, out: &mut Output<'_>) {
        put(out, "\n");
        self.last = Line::Empty;
    }

    /// An empty line between content and what follows.
    fn separate(&mut self, out: &mut Output<'_>) {
        if matches!(self.last, Line::Content | Line::Opening) {
            self.empty_line(out);
        }
    }

    /// The same, but below a heading too.
    fn separate_always(&mut self, out: &mut Output<'_>) {
        if self.last != Line::Empty {
            self.empty_line(out);
        }
    }

    /// Announces the findings before the first one.
    fn begin_findings(&mut self, out: &mut Output<'_>) {
        if self.findings == Findings::NoneYet {
            self.findings = Findings::Some;
            put(out, "findings = \n");
            self.last = Line::Content;
        }
    }

    /// One line at the current indentation; `start` is what it begins with, if
    /// that is not the view's own.
    fn one_line(&mut self, start: &[u8], out: &mut Output<'_>, body: impl FnOnce(&mut Output<'_>)) {
        self.begin_findings(out);
        let indent = self.innermost().indent;
        begin_line(out, indent, start);
        body(out);
        put(out, "\n");
        self.last = Line::Content;
    }

    /// One line of a table. A cell stands under its column also behind one that
    /// is too wide, if there is room again; nothing ends in spaces.
    fn cells<'v>(
        &mut self,
        columns: &[Column<'_>],
        values: impl Iterator<Item = Value<'v>>,
        out: &mut Output<'_>,
    ) {
        self.begin_findings(out);
        let indent = self.innermost().indent;
        let mut columns = columns.iter();
        let mut written = 0usize;
        let mut column_start = 0usize;
        for value in values {
            let value = if value == Value::None { NO_CELL } else { value };
            let width = text_width(&value);
            let column = columns.next();
            let room = column.map_or(width, column_width);
            if width > 0 {
                let is_right = column.is_some_and(|column| column.is_right_aligned);
                let slack = if is_right { room.saturating_sub(width) } else { 0 };
                let target = column_start.saturating_add(slack);
                let padding = if written > 0 {
                    let padding = target.saturating_sub(written).max(GAP);
                    spaces(out, padding);
                    padding
                } else if target > 0 {
                    spaces(out, usize::from(indent).saturating_add(target));
                    target
                } else {
                    begin_line(out, indent, first_byte(&value))
                };
                one_line_value(out, &value);
                written = written.saturating_add(padding).saturating_add(width);
            }
            column_start = column_start.saturating_add(room).saturating_add(GAP);
        }
        put(out, "\n");
        self.last = if written > 0 { Line::Content } else { Line::Empty };
    }

    /// Text of several lines. A last line end is not a line of its own.
    fn lines(&mut self, text: &[u8], value: &Value<'_>, style: LineStyle, out: &mut Output<'_>) {
        self.begin_findings(out);
        let outer = self.innermost().indent;
        let inner = outer.saturating_add(INDENT);
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let mut separator = "";
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let indent = match style {
                LineStyle::Item if number == 0 => outer,
                LineStyle::Item | LineStyle::BelowKey => inner,
                LineStyle::Paragraph => outer,
            };
            put(out, separator);
            if !line.is_empty() {
                begin_line(out, indent, line);
            }
            if style == LineStyle::Paragraph {
                escape::paragraph_line(out, line);
            } else {
                escape::line(out, line);
            }
            self.last = if line.is_empty() { Line::Empty } else { Line::Content };
            separator = "\n";
        }
        if cut_mark(out, value) {
            self.last = Line::Content;
        }
        put(out, "\n");
    }

    /// A rule with what `title` writes in its middle.
    fn rule(&mut self, out: &mut Output<'_>, title: impl Fn(&mut Output<'_>)) {
        spaces(out, usize::from(self.innermost().indent));
        put(out, "------");
        let mut counter = CharCounter(0);
        title(&mut counter);
        centred(out, counter.0, THREAD_WIDTH, title);
        put(out, "------\n");
    }

    fn thread_group(&mut self, group: &ThreadGroup<'_>, out: &mut Output<'_>) {
        let is_one = group.count == 1;
        self.rule(out, |out| {
            put(out, " ");
            decimal(out, group.count);
            put(out, if is_one { " thread " } else { " threads " });
            put(
                out,
                match group.capture {
                    Capture::Own => "of the reporter: ",
                    _ => "with the same stack: ",
                },
            );
            if !group.first_name.is_empty() {
                escape::line(out, group.first_name);
                put(out, " ");
            }
            put(out, "#");
            decimal(out, u64::from(group.first_tid));
            put(out, if is_one { " " } else { ", … " });
        });
        self.last = Line::Content;
        self.capture(group.capture, out);
    }

    fn thread(&mut self, thread: &Thread<'_>, out: &mut Output<'_>) {
        self.rule(out, |out| {
            put(out, " Thread #");
            decimal(out, u64::from(thread.tid));
            put(out, " ");
            if !thread.name.is_empty() {
                escape::line(out, thread.name);
                put(out, " ");
            }
        });

        self.one_line(b"", out, |out| {
            put(out, "state = ");
            put(out, state_name(thread.state));
        });
        let role = match (thread.is_main, thread.is_triggering) {
            (true, true) => "role = main thread, triggering thread",
            (true, false) => "role = main thread",
            (false, true) => "role = triggering thread",
            (false, false) => "",
        };
        if !role.is_empty() {
            self.one_line(b"", out, |out| put(out, role));
        }
        self.capture(thread.capture, out);
    }

    fn capture(&mut self, capture: Capture, out: &mut Output<'_>) {
        if capture != Capture::Ok {
            self.one_line(b"", out, |out| {
                put(out, "stack = ");
                put(out, capture.code());
                put(out, ": ");
                put(out, capture.explanation());
            });
        }
    }
}

fn heading(out: &mut Output<'_>, title: &str) {
    repeat(out, "=", WIDTH);
    put(out, "\n====");
    let title = title.as_bytes();
    centred(out, escape::line_width(title), TITLE_WIDTH, |out| escape::line(out, title));
    put(out, "====\n");
    repeat(out, "=", WIDTH);
    put(out, "\n");
}

/// Centres what `body` writes, `width` characters, in `columns`: the odd space
/// stands right. What is too wide is not cut.
fn centred(out: &mut Output<'_>, width: usize, columns: usize, body: impl FnOnce(&mut Output<'_>)) {
    let padding = columns.saturating_sub(width);
    let left = padding / 2;
    spaces(out, left);
    body(out);
    spaces(out, padding.saturating_sub(left));
}

/// The indentation; at column 0 a mark before what could forge a heading.
/// Returns how many characters the mark has.
fn begin_line(out: &mut Output<'_>, indent: u16, start: &[u8]) -> usize {
    spaces(out, usize::from(indent));
    if indent == 0 && escape::forges_heading(start) {
        put(out, "\\");
        return 1;
    }
    0
}

/// How many characters a table keeps for a column.
fn column_width(column: &Column<'_>) -> usize {
    let name = escape::line_width(column.name.as_bytes());
    name.max(usize::from(column.width)).min(usize::from(MAX_COLUMN_WIDTH))
}

/// How many characters [`TextView`] shows a value with, where it is one line:
/// as a cell of a table.
///
/// # Signal safety
///
/// Safe: no allocation, no lock, no panic.
#[must_use]
pub fn text_width(value: &Value<'_>) -> usize {
    let mut counter = CharCounter(0);
    one_line_value(&mut counter, value);
    counter.0
}

/// The value, if it is free text.
fn value_text<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match *value {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Number(text) if !is_json_number(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) | Value::Truncated { text: bytes, .. } => Some(bytes),
        _ => None,
    }
}

/// What the value's line begins with, as far as it could forge a heading.
fn first_byte<'a>(value: &Value<'a>) -> &'a [u8] {
    match *value {
        Value::I64(i64::MIN..=-1) => b"-",
        Value::Number(text) => text.as_bytes(),
        _ => value_text(value).unwrap_or_default(),
    }
}

fn one_line_value(out: &mut Output<'_>, value: &Value<'_>) {
    match *value {
        // These three as Python prints them: so did the original.
        Value::None => put(out, "None"),
        Value::Bool(true) => put(out, "True"),
        Value::Bool(false) => put(out, "False"),
        Value::U64(number) => decimal(out, number),
        Value::I64(number) => signed(out, number),
        Value::Number(text) | Value::Text(text) => escape::line(out, text.as_bytes()),
        Value::Bytes(bytes) => escape::line(out, bytes),
        Value::ByteCount(bytes) => byte_count(out, bytes),
        Value::DurationNs(nanoseconds) => duration(out, nanoseconds),
        Value::Timestamp(time) => timestamp(out, time),
        Value::Address(number) => address(out, number),
        Value::Hex(bytes) => hex_bytes(out, bytes),
        Value::Redacted => put(out, "***"),
        Value::Truncated { text, .. } => {
            escape::line(out, text);
            cut_mark(out, value);
        }
    }
}

/// Says that text was cut, if it was.
fn cut_mark(out: &mut Output<'_>, value: &Value<'_>) -> bool {
    let Value::Truncated { full_len_bytes, .. } = *value else {
        return false;
    };
    put(out, "{...cut");
    if let Some(bytes) = full_len_bytes {
        put(out, " from ");
        decimal(out, bytes);
        put(out, " B");
    }
    put(out, "}");
    true
}

/// The original's line, with the name at its end.
fn process_line(out: &mut Output<'_>, process: &Process<'_>) {
    put(out, "Process ");
    decimal(out, u64::from(process.pid));
    put(out, " (under ");
    decimal(out, u64::from(process.parent_pid));
    put(out, ") [ run by: ");
    match (process.user, process.uid) {
        (Some(user), _) => escape::line(out, user),
        // Without a name for it, the original shows the number twice as well.
        (None, Some(uid)) => decimal(out, u64::from(uid)),
        (None, None) => put(out, "unknown"),
    }
    put(out, " (");
    match process.uid {
        Some(uid) => decimal(out, u64::from(uid)),
        None => put(out, "unknown"),
    }
    put(out, "), state: ");
    put(out, state_name(process.state));
    put(out, " ]");
    if !process.name.is_empty() {
        put(out, " ");
        escape::line(out, process.name);
    }
}

/// `#10203 api-3: sleeping, …`
fn member_line(out: &mut Output<'_>, member: &ThreadMember<'_>) {
    put(out, "#");
    decimal(out, u64::from(member.tid));
    if !member.name.is_empty() {
        put(out, " ");
        escape::line(out, member.name);
    }
    put(out, ": ");
    if member.summary.is_empty() {
        put(out, state_name(member.state));
    } else {
        escape::line(out, member.summary.as_bytes());
    }
}

/// As gdb does: aligned below 100 frames, never without a space.
fn frame_number(out: &mut Output<'_>, index: u32) {
    put(out, "#");
    let index = u64::from(index);
    decimal(out, index);
    spaces(out, 3usize.saturating_sub(decimal_width(index)).max(1));
}

pub(super) fn frame_line(out: &mut Output<'_>, frame: &Frame<'_>) {
    frame_number(out, frame.index);
    if frame.is_signal_frame {
        put(out, "<signal handler called>");
        if frame.file.is_some() || frame.module.is_some() {
            put(out, " at ");
            place(out, frame);
        }
    } else {
        place(out, frame);
    }
    function(out, frame);
    if frame.inlined {
        put(out, " (inlined)");
    }
    match frame.certainty {
        Certainty::Exact => {}
        Certainty::FramePointer => put(out, " [frame pointer]"),
        Certainty::Inferred => put(out, " [inferred]"),
    }
}

pub(super) fn entry_frames_line(out: &mut Output<'_>, frames: &EntryFrames<'_>) {
    frame_number(out, frames.last.index);
    put(out, "… ");
    decimal(out, u64::from(frames.count));
    put(out, if frames.count == 1 { " runtime entry frame" } else { " runtime entry frames" });
    put(out, " left out (to ");
    place(out, &frames.last);
    function(out, &frames.last);
    put(out, ")");
}

fn function(out: &mut Output<'_>, frame: &Frame<'_>) {
    if let Some(function) = frame.function {
        put(out, " in ");
        escape::line(out, function.as_bytes());
        if frame.function_truncated {
            put(out, "{...cut}");
        }
    }
}

/// The best that is known of: file and line, module and offset, address.
fn place(out: &mut Output<'_>, frame: &Frame<'_>) {
    match (frame.file, frame.module) {
        (Some(file), _) => {
            escape::line(out, file);
            if let Some(line) = frame.line {
                put(out, ":");
                decimal(out, u64::from(line));
            }
        }
        (None, Some(module)) => {
            escape::line(out, module);
            put(out, "+");
            address(out, frame.module_offset);
        }
        (None, None) => address(out, frame.pc),
    }
}

fn stack_end_line(out: &mut Output<'_>, end: StackEnd) {
    match end {
        StackEnd::Complete | StackEnd::NoStack => {}
        StackEnd::WindowFull { window_bytes } => {
            put(out, "(stack continues: the copied window of ");
            byte_count(out, u64::from(window_bytes));
            put(out, " ends here)");
        }
        StackEnd::FrameLimit { frames } => {
            put(out, "(stack cut after ");
            decimal(out, u64::from(frames));
            put(out, " frames)");
        }
        StackEnd::Unreadable => put(out, "(memory beyond this frame could not be read)"),
        StackEnd::NoUnwindInfo => put(out, "(no unwind information beyond this frame)"),
        StackEnd::Inconsistent => put(out, "(stack pointer does not advance beyond this frame)"),
        StackEnd::Unloaded => {
            put(out, "(ends here: objects were unloaded while the stack was taken)");
        }
        StackEnd::FramePointerUnknown => put(
            out,
            "(the stack ends here: the frame pointer is not known without asking the thread)",
        ),
        StackEnd::Guessed => put(out, "(a frame was guessed: the stack may lack frames)"),
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;
    use std::{format, vec};

    use super::*;
    use crate::model::{MAX_DEPTH, SectionStatus};
    use crate::view::testing::{
        END, SECTION, SECTION_OK, THREAD, group, item, list, rendered, sample, value,
    };

    /// What stands between the heading of a section and the end of the report.
    fn body(events: &[Event<'_>]) -> String {
        let stream: Vec<_> = [&[Event::BeginReport, SECTION], events, &[SECTION_OK, END]].concat();
        let text = rendered(TextView::new(), &stream);
        let (_, rest) = text.split_once("Test").unwrap();
        let (_, rest) = rest.split_once(&format!("\n{}\n", "=".repeat(72))).unwrap();
        let body = rest.strip_suffix("End of report 1: complete\n").unwrap();
        // The empty line before the end block.
        String::from(body.strip_suffix("\n\n").map_or(body, |_| &body[..body.len() - 1]))
    }

    #[test]
    fn a_whole_report() {
        // A dot stands for a space at the end of a line.
        let expected = "\
========================================================================
====                        Guru Meditation                         ====
========================================================================
||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||||


report = 3
service = heat-api
requested by = SIGUSR2 from pid 20711 (bash), uid 1000
time = 2026-11-22T14:03:11.482913000Z
uptime = 3d 04:11:09
pid = 10172
findings =·
  descriptors: 1012 of 1024 open
  lock wait: 38 threads wait for futex 0x7f21c0a41e10,\\nits owner is #10190 (writer)

========================================================================
====                            Package                             ====
========================================================================
product = heat-api
vendor = None
version = 2.1.0
build-id = 9f3ce1
========================================================================
====                            Threads                             ====
========================================================================
3 threads: 1 ok, 1 partial, 1 signal_blocked

------               Thread #10181 tokio-rt-worker                ------
state = sleeping
role = main thread, triggering thread
cpu = 12.1 s user, 300.0 ms system
doing = request: GET /heat{...cut from 90 B} (2.3 s)
doing = query (7.0 us)

#0  heat-api+0x1000 in clock_nanosleep
#1  src/db.rs:91 in heat::db::throttle (inlined)
#2  <signal handler called> at heat-api+0x1020
#3  heat-api+0x1030 [frame pointer]
#10 0x7f0000001234 [inferred]
#100 heat-api+0x1640 in heat::long{...cut}

------                     Thread #9 w\\n\\xff                      ------
state = running
stack = partial: the stack ends early

#0  heat-api+0x1000 in spin
(stack continues: the copied window of 16 KiB ends here)

------                         Thread #11                         ------
state = sleeping
stack = signal_blocked: the thread blocks the capture signal; it was left alone

------      38 threads with the same stack: api-3 #10203, …       ------
#10203 api-3: sleeping, futex 0x7f21c0a41e10
  doing = idle (17 ns)
#10204: running
members left out = 36

#0  heat-api+0x1000 in syscall
#1  … 8 runtime entry frames left out (to heat-api+0x1010 in _start)

------             1 thread of the reporter: gmr #12              ------
stack = own: a thread of the reporter itself
#12 gmr: sleeping

========================================================================
====                           Processes                            ====
========================================================================
Process 6567 (under 6563) [ run by: root (0), state: running ] heat-api
    Process 6594 (under 6567) [ run by: 1000 (1000), state: sleeping ] worker
        memory = 5 GiB
        Process 6600 (under 6594) [ run by: unknown (unknown), state: zombie ]
========================================================================
====                         Configuration                          ====
========================================================================

database:·
  connection = ***
  max_retries = 10
  ratio = 16.0

default:·
  debug = True
  offset = -5
  motd = welcome{...cut from 4096 B}
[section failed: the configuration went away]
========================================================================
====                             Queues                             ====
========================================================================
queue     depth   oldest
--------  -----  -------
mail       1700   3.1 us
webhooks      2        -
========================================================================
====                         Green Threads                          ====
========================================================================
summary = 294 tasks seen of 294 alive

------      Task 4711 \"poller\" running on #10181 for 12.4 s       ------
future = heat::poll::{async_fn_env#0}
spawned = src/api.rs:41

------     290 tasks with the same await tree: 12, 13, 14, …      ------
state = suspended
for = 12.4 s (the longest)
tasks = 12, 13, 14, 15, 286 more
spawned = src/main.rs:7

src/api.rs:57  heat::api::handle
  src/db.rs:20  heat::db::acquire (line within a macro)
    tokio::sync::semaphore::Acquire (permits: 1)
  tokio::sync::semaphore::Acquire -> task 17
  dyn Future (not decoded: unknown type)

------      3 tasks \"idle\" with the same await tree: 2, 3, 5      ------
state = suspended

src/api.rs:57  heat::api::handle (never polled)

========================================================================
====                      Some Special Section                      ====
========================================================================
[section skipped_stuck: an earlier report is still stuck in it]

threads = 2 of 3
section times =·
  Package: ok, 104.0 us
  Configuration: failed, 17 ns: it went\\naway
written = 46.9 KiB
End of report 3: incomplete (section failed, section skipped)
";
        assert_eq!(rendered(TextView::new(), &sample()), expected.replace('·', " "));
    }

    const TABLE: [Column<'_>; 3] =
        [Column::text("name", 6), Column::number("n", 3), Column::text("note", 0)];

    const WIDE: [Column<'_>; 1] = [Column::number("wide", u16::MAX)];

    fn head(columns: &'static [Column<'static>]) -> Event<'static> {
        Event::TableHead { columns }
    }

    fn row<'a>(values: &'a [Value<'a>]) -> Event<'a> {
        Event::Row { columns: &TABLE, values }
    }

    #[test]
    fn tables() {
        let text = body(&[
            Event::Text(b"before"),
            Event::BeginBlocks { key: "rows" },
            head(&TABLE),
            row(&["one".into(), 1u64.into(), "é\n".into()]),
            row(&["seventeen".into(), (-200i64).into(), "so".into()]),
            row(&["sevente".into(), 3u64.into(), "so".into()]),
            // The line ends behind the last cell that has something.
            row(&["short".into(), 4u64.into(), "".into()]),
            row(&[Value::None]),
            row(&["".into(), "".into(), "x".into(), "more".into(), true.into()]),
            Event::Close,
            head(&WIDE),
            group("g"),
            head(&TABLE[..1]),
            Event::Row { columns: &TABLE[..1], values: &[Value::Text("in")] },
            Event::Close,
            head(&[]),
            row(&[]),
        ]);
        let expected = format!(
            "\
before

name      n  note
------  ---  ----
one       1  é\\n
seventeen  -200  so
sevente   3  so
short     4
\\-
             x     more  True

{}wide
{}

g:·
  name
  ------
  in
",
            " ".repeat(56),
            "-".repeat(60)
        );
        assert_eq!(text, expected.replace('·', " "));
    }

    #[test]
    fn no_row_forges_a_heading() {
        let forged = [Column::text("====", 0), Column::text("x", 2), Column::number("n", 3)];
        let text = body(&[
            Event::TableHead { columns: &forged },
            Event::Row { columns: &forged, values: &["----".into(), "y".into(), 5u64.into()] },
            Event::Row { columns: &forged, values: &["".into(), "--".into()] },
            Event::Row { columns: &forged, values: &[Value::I64(-5), "-".into()] },
            Event::Row { columns: &forged[2..], values: &[Value::I64(-5)] },
            Event::Row { columns: &forged[2..], values: &[Value::I64(-500)] },
        ]);
        let expected = "\
\\====  x    n
----  --  ---
\\----  y    5
      --
\\-5   -
 -5
\\-500
";
        assert_eq!(text, expected);
    }

    /// Byte for byte what `oslo.reports` printed for the same data (`[list]`
    /// is ours: it had no list in a list).
    #[test]
    fn the_shapes_of_the_original() {
        let title = rendered(TextView::new(), &[Event::BeginReport, SECTION]);
        let expected = format!(
            "{rule}\n===={:^64}====\n{rule}\n{}\n\n\n{rule}\n===={:^64}====\n{rule}\n",
            "Guru Meditation",
            "|".repeat(72),
            "Test",
            rule = "=".repeat(72),
        );
        assert_eq!(title, expected);

        let configuration = body(&[
            group("database"),
            value("connection", Value::Redacted),
            value("max_retries", 10u64),
            Event::Close,
            group("default"),
            value("bind_host", "0.0.0.0"),
            group("caps"),
            value("a", 1u64),
            value("b", 2u64),
            Event::Close,
            value("debug", true),
            value("empty", ""),
            list("empty_list"),
            Event::Close,
            list("enabled_apis"),
            item("metadata"),
            item("osapi_compute"),
            Event::Close,
            value("multi_line", "line one\nline two\nline three\n"),
            value("none_opt", Value::None),
            value("ratio", Value::Number("16.0")),
            value("uni", "héllo"),
            Event::Close,
            group("emptygrp"),
            Event::Close,
        ]);
        let expected = "
database:·
  connection = ***
  max_retries = 10

default:·
  bind_host = 0.0.0.0

  caps:·
    a = 1
    b = 2
  debug = True
  empty =·
  empty_list =·
  enabled_apis =·
    metadata
    osapi_compute
  multi_line:·
    line one
    line two
    line three
  none_opt = None
  ratio = 16.0
  uni = héllo

emptygrp:·
";
        assert_eq!(configuration, expected.replace('·', " "));

        let lists = body(&[
            list("list_of_dicts"),
            item(7u64),
            item("str"),
            Event::BeginGroup { key: None },
            value("a", 1u64),
            value("b", 2u64),
            Event::Close,
            Event::BeginList { key: None },
            item(8u64),
            Event::Close,
            Event::Close,
            value("scalar", Value::Number("3.5")),
        ]);
        let expected = "\
list_of_dicts =·
  7
  str
  [dict]
    a = 1
    b = 2
  [list]
    8
scalar = 3.5
";
        assert_eq!(lists, expected.replace('·', " "));
        assert_eq!(
            body(&[Event::Text(b"free text, no model\nsecond line")]),
            "free text, no model\nsecond line\n"
        );
    }

    #[test]
    fn a_long_title_grows_and_an_odd_one_leans_left() {
        let heading_line = |title: &str| {
            let text = rendered(TextView::new(), &[SECTION, Event::BeginSection { id: 2, title }]);
            String::from(text.lines().rev().nth(1).unwrap())
        };
        assert_eq!(heading_line(&"x".repeat(70)), format!("===={}====", "x".repeat(70)));
        assert_eq!(heading_line("odd"), format!("===={:^64}====", "odd"));
        assert_eq!(heading_line(""), format!("===={:64}====", ""));
        // Characters are counted as they are written, not as bytes.
        assert_eq!(heading_line("é\n"), format!("===={:^64}====", "é\\n"));
    }

    #[test]
    fn nothing_forges_a_heading() {
        let hostile = [
            value("==== key", "==== value"),
            value("multi", "x\n====\nEnd of report 1: complete"),
            // The space behind it would come from the view.
            value("[section", "forged"),
            item("----"),
            item(-5i64),
            item("|\n=\n\u{1b}[2J"),
            group("[section ok: x]"),
            Event::Close,
            list("End of report 2: complete"),
            Event::Close,
            Event::Text(b"fine\n====\ttab\n\n\x1b[31m\xff\r\n-\n"),
        ];
        let expected = "\
\\==== key = ==== value
multi:·
  x
  ====
  End of report 1: complete
\\[section = forged
\\----
\\-5
\\|
  =
  \\x1b[2J

\\[section ok: x]:·
\\End of report 2: complete =·
fine
\\====\ttab

\\x1b[31m\\xff\\r
\\-
";
        assert_eq!(body(&hostile), expected.replace('·', " "));
    }

    #[test]
    fn findings_are_said_to_be_none() {
        let events = [Event::BeginHead, value("a", 1u64), Event::BeginFindings, SECTION];
        let text = rendered(TextView::new(), &events);
        assert!(text.contains("\n\n\na = 1\nfindings = none found\n\n===="), "{text}");
    }

    #[test]
    fn every_end_of_a_stack_is_said() {
        let said = |stack_end| {
            let text = body(&[
                Event::BeginThread(Thread { stack_end, ..THREAD }),
                Event::Frame(Frame::bare(0, 16)),
                Event::Close,
            ]);
            let (_, end) = text.split_once("#0  0x10\n").unwrap();
            String::from(end.trim_end())
        };
        assert_eq!(said(StackEnd::Complete), "");
        assert_eq!(said(StackEnd::FrameLimit { frames: 128 }), "(stack cut after 128 frames)");
        assert_eq!(said(StackEnd::NoUnwindInfo), "(no unwind information beyond this frame)");
        assert_eq!(said(StackEnd::Unreadable), "(memory beyond this frame could not be read)");
        assert_eq!(
            said(StackEnd::Inconsistent),
            "(stack pointer does not advance beyond this frame)"
        );
    }

    #[test]
    fn too_deep_a_nest_is_flattened() {
        let mut events = vec![group("g"); MAX_DEPTH + 3];
        events.push(value("deep", 1u64));
        // As many as were opened: the last one closes the outermost.
        events.extend(vec![Event::Close; MAX_DEPTH + 3]);
        events.push(value("top", 2u64));
        let text = body(&events);
        assert!(text.contains(&format!("\n{}deep = 1\n", " ".repeat(2 * MAX_DEPTH))), "{text}");
        assert!(text.ends_with("\ntop = 2\n"), "{text}");
        assert_eq!(text.matches("g: \n").count(), MAX_DEPTH + 3);
    }

    #[test]
    fn events_out_of_order() {
        // A section without end, an end without section, a late head.
        let text = rendered(
            TextView::new(),
            &[
                SECTION,
                group("left open"),
                Event::BeginSection { id: 2, title: "Second" },
                Event::BeginHead,
                value("still", "in Second"),
                Event::EndSection { status: SectionStatus::Deadline, elapsed_ns: 1 },
                value("nowhere", 1u64),
                SECTION_OK,
                Event::Close,
                END,
                Event::BeginReport,
                value("after", "the end"),
            ],
        );
        let (_, after) = text.split_once("left open: \n").unwrap();
        let rule = "=".repeat(72);
        let expected = format!(
            "[section unfinished: the report went on before the section ended]\n\
             {rule}\n===={:^64}====\n{rule}\n\
             still = in Second\n\
             [section deadline: stopped at its deadline; what it wrote until then is shown]\n\n\
             End of report 1: complete\n",
            "Second"
        );
        assert_eq!(after, expected);
    }
}
