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
//! 5. Facts that are usual are left out of frames: `inlined`, `signal_frame`
//!    and `function_truncated` are there if true, names and places if known.

use super::escape;
use super::format::{address, decimal, hex_bytes, is_json_number, put, signed, spaces, timestamp};
use super::order::{Block, CONTAINERS, Container, Layout, Ordered, SectionEnd};
use super::{Output, View};
use crate::model::{
    Capture, Event, Frame, Incomplete, Process, StackEnd, Thread, Value, state_name,
};

/// Version of the schema: grows when a member changes its meaning or goes.
const SCHEMA_VERSION: u64 = 1;

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
/// Signal-safe: no allocation, no lock, no panic; about 300 bytes of state.
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
}

impl Open {
    const fn new(kind: Kind) -> Self {
        Open { kind, is_wrapped: false, items: 0, frames: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    /// Objects with members of the view's own.
    Thread,
    Process,
    End,
}

impl Kind {
    /// The members that the view itself may write.
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
                "max_frames",
            ],
            Kind::Process => &["pid", "parent_pid", "name", "user", "uid", "state"],
            Kind::End => &["sequence", "complete", "incomplete"],
        }
    }

    /// Whether a key of the program could meet one of the view's own. What a
    /// key has of `_` at its end does not count, so that one more keeps all
    /// keys apart.
    fn reserves(self, key: &str) -> bool {
        let stem = key.trim_end_matches('_');
        stem == "frames"
            || self.own_members().contains(&stem)
            || stem.strip_prefix("frames_").is_some_and(is_numbered)
            || stem.strip_prefix("item_").is_some_and(is_numbered)
    }
}

/// Whether this is a number, with the suffix of a unit or without.
fn is_numbered(text: &str) -> bool {
    let digits = text.strip_suffix("_ns").or_else(|| text.strip_suffix("_bytes")).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

impl Layout for JsonLayout {
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
        self.string_member(out, "status", end.code.as_bytes());
        if !end.is_ok() {
            self.string_member(out, "explanation", end.explanation.as_bytes());
        }
        if let Some(elapsed_ns) = end.elapsed_ns {
            self.member(out, "elapsed_ns");
            decimal(out, elapsed_ns);
        }
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
            Container::Process(_) => (None, Kind::Process, "{"),
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
            Container::Process(process) => self.process(process, out),
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

    /// The key of a `frames` array.
    fn frames_member(&mut self, out: &mut Output<'_>) {
        let mut open = self.innermost();
        open.frames = open.frames.saturating_add(1);
        self.set_innermost(open);
        self.separate(out);
        put(out, "\"frames");
        if open.frames > 1 {
            put(out, "_");
            decimal(out, u64::from(open.frames));
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
        self.string_member(out, "capture", thread.capture.code().as_bytes());
        if thread.capture != Capture::Ok {
            self.string_member(out, "explanation", thread.capture.explanation().as_bytes());
        }
        self.string_member(out, "stack_end", thread.stack_end.code().as_bytes());
        match thread.stack_end {
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
            | StackEnd::Inconsistent => {}
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

/// A frame is one line in either style: stacks are most of a report.
fn frame_object(out: &mut Output<'_>, frame: &Frame<'_>, style: JsonStyle) {
    let member = |out: &mut Output<'_>, key: &str| {
        put(out, if style == JsonStyle::Pretty { ", \"" } else { ",\"" });
        put(out, key);
        put(out, if style == JsonStyle::Pretty { "\": " } else { "\":" });
    };
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
