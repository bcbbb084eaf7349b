//! What the tests of the views share: a sink, a report, arbitrary streams.

use core::convert::Infallible;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;
use ufmt::uWrite;

use super::{JsonStyle, JsonView, Output, TextView, View};
use crate::model::{
    ActiveScope, Await, AwaitKind, Capture, Certainty, Column, EntryFrames, Event, Finding,
    FindingCode, Frame, Incomplete, MAX_DEPTH, Process, SectionOutcome, SectionStatus, StackEnd,
    Task, TaskState, Thread, ThreadGroup, ThreadMember, Timestamp, Value,
};

/// A string to write into.
struct Buffer(String);

impl uWrite for Buffer {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        self.0.push_str(text);
        Ok(())
    }
}

/// What `body` writes.
pub(super) fn written(body: impl FnOnce(&mut Output<'_>)) -> String {
    let mut buffer = Buffer(String::new());
    body(&mut buffer);
    buffer.0
}

/// What `view` makes of the events.
pub(super) fn rendered(mut view: impl View, events: &[Event<'_>]) -> String {
    written(|out| events.iter().for_each(|event| view.event(event, out)))
}

pub(super) fn value<'a>(key: &'a str, value: impl Into<Value<'a>>) -> Event<'a> {
    Event::Value { key, value: value.into() }
}

pub(super) fn item<'a>(value: impl Into<Value<'a>>) -> Event<'a> {
    Event::Item { value: value.into() }
}

pub(super) fn group(key: &str) -> Event<'_> {
    Event::BeginGroup { key: Some(key) }
}

pub(super) fn list(key: &str) -> Event<'_> {
    Event::BeginList { key: Some(key) }
}

pub(super) const SECTION: Event<'_> = Event::BeginSection { id: 1, title: "Test" };
pub(super) const SECTION_OK: Event<'_> =
    Event::EndSection { status: SectionStatus::Ok, elapsed_ns: 5 };
pub(super) const END: Event<'_> = Event::EndReport { sequence: 1, incomplete: Incomplete::NONE };
pub(super) const THREAD: Thread<'_> = Thread {
    tid: 10181,
    name: b"tokio-rt-worker",
    state: b'S',
    capture: Capture::Ok,
    stack_end: StackEnd::Complete,
    is_main: false,
    is_triggering: false,
};

pub(super) const TASK: Task<'_> = Task {
    count: 1,
    ids: &[4711],
    name: None,
    state: TaskState::Suspended,
    tid: None,
    for_ns: None,
    future: None,
};
/// A level with file and line.
pub(super) const LEVEL: Await<'_> = Await {
    depth: 0,
    kind: AwaitKind::Suspended,
    function: "heat::api::handle",
    file: Some("src/api.rs"),
    line: Some(57),
    waits_for: None,
    note: "",
};
/// One without.
pub(super) const LEAF: Await<'_> = Await {
    kind: AwaitKind::Leaf,
    function: "tokio::sync::semaphore::Acquire",
    file: None,
    line: None,
    ..LEVEL
};

const QUEUE_COLUMNS: &[Column<'_>] =
    &[Column::text("queue", 8), Column::number("depth", 0), Column::number("oldest", 7)];

/// A whole report with something of everything.
pub(super) fn sample() -> Vec<Event<'static>> {
    let frame = |index, function| Frame {
        module: Some(b"heat-api"),
        module_offset: 0x1000 + 0x10 * u64::from(index),
        function,
        ..Frame::bare(index, 0x5555_5555_5000 + 0x10 * u64::from(index))
    };
    vec![
        Event::BeginReport,
        Event::BeginHead,
        value("report", 3u64),
        value("service", "heat-api"),
        value("requested by", "SIGUSR2 from pid 20711 (bash), uid 1000"),
        value(
            "time",
            Value::Timestamp(Timestamp { unix_seconds: 1_795_356_191, nanoseconds: 482_913_000 }),
        ),
        value("uptime", Value::DurationNs(274_269_000_000_000)),
        value("pid", 10172u32),
        Event::BeginFindings,
        Event::Finding(Finding {
            code: FindingCode::Descriptors,
            text: "1012 of 1024 open",
            tids: &[],
            tids_left_out: 0,
        }),
        Event::Finding(Finding {
            code: FindingCode::LockWait,
            text: "38 threads wait for futex 0x7f21c0a41e10,\nits owner is #10190 (writer)",
            tids: &[10203, 10204],
            tids_left_out: 36,
        }),
        Event::BeginSection { id: 1, title: "Package" },
        value("product", "heat-api"),
        value("vendor", Value::None),
        value("version", "2.1.0"),
        value("build-id", Value::Hex(&[0x9f, 0x3c, 0xe1])),
        SECTION_OK,
        Event::BeginSection { id: 2, title: "Threads" },
        Event::Text(b"3 threads: 1 ok, 1 partial, 1 signal_blocked"),
        Event::BeginBlocks { key: "threads" },
        Event::BeginThread(Thread { is_main: true, is_triggering: true, ..THREAD }),
        Event::BeginSummary { key: "cpu", text: "12.1 s user, 300.0 ms system" },
        value("user", Value::DurationNs(12_100_000_000)),
        value("system", Value::DurationNs(300_000_000)),
        Event::Close,
        Event::BeginBlocks { key: "scopes" },
        Event::Scope(ActiveScope {
            label: "request",
            detail: Value::Truncated { text: b"GET /heat", full_len_bytes: Some(90) },
            age_ns: 2_300_000_000,
        }),
        Event::Scope(ActiveScope { label: "query", detail: Value::None, age_ns: 7_000 }),
        Event::Close,
        Event::Frame(Frame { index: 0, ..frame(0, Some("clock_nanosleep")) }),
        Event::Frame(Frame {
            file: Some(b"src/db.rs"),
            line: Some(91),
            inlined: true,
            ..frame(1, Some("heat::db::throttle"))
        }),
        Event::Frame(Frame { is_signal_frame: true, ..frame(2, None) }),
        Event::Frame(Frame { certainty: Certainty::FramePointer, ..frame(3, None) }),
        Event::Frame(Frame { certainty: Certainty::Inferred, ..Frame::bare(10, 0x7f00_0000_1234) }),
        Event::Frame(Frame { function_truncated: true, ..frame(100, Some("heat::long")) }),
        Event::Close,
        Event::BeginThread(Thread {
            tid: 9,
            name: b"w\n\xff",
            state: b'R',
            capture: Capture::Partial,
            stack_end: StackEnd::WindowFull { window_bytes: 16 * 1024 },
            ..THREAD
        }),
        Event::Frame(frame(0, Some("spin"))),
        Event::Close,
        Event::BeginThread(Thread {
            tid: 11,
            name: b"",
            capture: Capture::SignalBlocked,
            stack_end: StackEnd::NoStack,
            ..THREAD
        }),
        Event::Close,
        Event::BeginThreadGroup(ThreadGroup {
            count: 38,
            first_tid: 10203,
            first_name: b"api-3",
            capture: Capture::Ok,
            stack_end: StackEnd::Complete,
        }),
        Event::BeginBlocks { key: "members" },
        Event::BeginMember(ThreadMember {
            tid: 10203,
            name: b"api-3",
            state: b'S',
            summary: "sleeping, futex 0x7f21c0a41e10",
        }),
        Event::BeginBlocks { key: "scopes" },
        Event::Scope(ActiveScope { label: "idle", detail: Value::None, age_ns: 17 }),
        Event::Close,
        Event::Close,
        Event::BeginMember(ThreadMember { tid: 10204, name: b"", state: b'R', summary: "" }),
        Event::Close,
        Event::Close,
        value("members left out", 36u64),
        Event::Frame(frame(0, Some("syscall"))),
        Event::EntryFrames(EntryFrames { count: 8, last: frame(1, Some("_start")) }),
        Event::Close,
        Event::BeginThreadGroup(ThreadGroup {
            count: 1,
            first_tid: 12,
            first_name: b"gmr",
            capture: Capture::Own,
            stack_end: StackEnd::NoStack,
        }),
        Event::BeginBlocks { key: "members" },
        Event::BeginMember(ThreadMember { tid: 12, name: b"gmr", state: b'S', summary: "" }),
        Event::Close,
        Event::Close,
        Event::Close,
        Event::Close,
        SECTION_OK,
        Event::BeginSection { id: 3, title: "Processes" },
        Event::BeginBlocks { key: "processes" },
        Event::BeginProcess(Process {
            pid: 6567,
            parent_pid: 6563,
            name: b"heat-api",
            uid: Some(0),
            user: Some(b"root"),
            state: b'R',
        }),
        Event::BeginBlocks { key: "children" },
        Event::BeginProcess(Process {
            pid: 6594,
            parent_pid: 6567,
            name: b"worker",
            uid: Some(1000),
            user: None,
            state: b'S',
        }),
        value("memory", Value::ByteCount(5 << 30)),
        Event::BeginBlocks { key: "children" },
        Event::BeginProcess(Process {
            pid: 6600,
            parent_pid: 6594,
            name: b"",
            uid: None,
            user: None,
            state: b'Z',
        }),
        Event::Close,
        Event::Close,
        Event::Close,
        Event::Close,
        Event::Close,
        Event::Close,
        SECTION_OK,
        Event::BeginSection { id: 4, title: "Configuration" },
        group("database"),
        value("connection", Value::Redacted),
        value("max_retries", 10u64),
        value("ratio", Value::Number("16.0")),
        Event::Close,
        group("default"),
        value("debug", true),
        value("offset", -5i64),
        value("motd", Value::Truncated { text: b"welcome", full_len_bytes: Some(4096) }),
        Event::EndSection {
            status: SectionStatus::Failed("the configuration went away"),
            elapsed_ns: 17,
        },
        Event::BeginSection { id: 5, title: "Queues" },
        Event::BeginBlocks { key: "queues" },
        Event::TableHead { columns: QUEUE_COLUMNS },
        Event::Row {
            columns: QUEUE_COLUMNS,
            values: &[Value::Text("mail"), Value::U64(1700), Value::DurationNs(3_100)],
        },
        Event::Row {
            columns: QUEUE_COLUMNS,
            values: &[Value::Text("webhooks"), Value::U64(2), Value::None],
        },
        Event::Close,
        SECTION_OK,
        Event::BeginSection { id: 6, title: "Green Threads" },
        value("summary", "294 tasks seen of 294 alive"),
        Event::BeginBlocks { key: "tasks" },
        Event::BeginTask(Task {
            name: Some("poller"),
            state: TaskState::Running,
            tid: Some(10181),
            for_ns: Some(12_400_000_000),
            future: Some("heat::poll::{async_fn_env#0}"),
            ..TASK
        }),
        value("spawned", "src/api.rs:41"),
        Event::Close,
        Event::BeginTask(Task {
            count: 290,
            ids: &[12, 13, 14, 15],
            for_ns: Some(12_400_000_000),
            ..TASK
        }),
        value("spawned", "src/main.rs:7"),
        Event::Await(LEVEL),
        Event::Await(Await {
            depth: 1,
            kind: AwaitKind::InMacro,
            function: "heat::db::acquire",
            file: Some("src/db.rs"),
            line: Some(20),
            ..LEVEL
        }),
        Event::Await(Await { depth: 2, note: "permits: 1", ..LEAF }),
        Event::Await(Await { depth: 1, waits_for: Some(17), ..LEAF }),
        Event::Await(Await {
            depth: 1,
            kind: AwaitKind::Undecoded,
            function: "dyn Future",
            note: "unknown type",
            ..LEAF
        }),
        Event::Close,
        Event::BeginTask(Task { count: 3, ids: &[2, 3, 5], name: Some("idle"), ..TASK }),
        Event::Await(Await { kind: AwaitKind::Unresumed, ..LEVEL }),
        Event::Close,
        Event::Close,
        SECTION_OK,
        Event::BeginSection { id: 7, title: "Some Special Section" },
        Event::EndSection { status: SectionStatus::SkippedStuck, elapsed_ns: 0 },
        Event::BeginEnd,
        value("threads", "2 of 3"),
        list("section times"),
        Event::Outcome(SectionOutcome {
            title: "Package",
            status: SectionStatus::Ok,
            elapsed_ns: 104_000,
        }),
        Event::Outcome(SectionOutcome {
            title: "Configuration",
            status: SectionStatus::Failed("it went\naway"),
            elapsed_ns: 17,
        }),
        Event::Close,
        value("written", Value::ByteCount(48_123)),
        Event::EndReport {
            sequence: 3,
            incomplete: Incomplete::SECTION_FAILED.with(Incomplete::SECTION_SKIPPED),
        },
    ]
}

/// An event that owns what it says.
#[derive(Debug, Clone)]
struct Op {
    kind: u8,
    number: u64,
    flag: bool,
    text: String,
    bytes: Vec<u8>,
}

impl Op {
    fn value(&self) -> Value<'_> {
        match self.number % 16 {
            0 => Value::None,
            1 => Value::Bool(self.flag),
            2 => Value::U64(self.number),
            3 => Value::I64(self.number.cast_signed()),
            4 => Value::Number("-1.5e3"),
            5 => Value::Number(&self.text),
            6 => Value::Text(&self.text),
            7 => Value::Bytes(&self.bytes),
            8 => Value::ByteCount(self.number),
            9 => Value::DurationNs(self.number),
            10 => Value::Timestamp(Timestamp {
                unix_seconds: self.number.cast_signed(),
                nanoseconds: u32::MAX,
            }),
            11 => Value::Address(self.number),
            12 => Value::Hex(&self.bytes),
            13 => Value::Redacted,
            14 => Value::Truncated { text: &self.bytes, full_len_bytes: None },
            _ => Value::Truncated { text: &self.bytes, full_len_bytes: Some(self.number) },
        }
    }

    /// What an event of a table borrows.
    fn table(&self) -> Table<'_> {
        let width = self.number as u16;
        // A name twice would be a key twice.
        let names = [self.text.as_str(), "b", "=c"];
        let columns = names.map(|name| Column { name, width, is_right_aligned: self.flag });
        let values = [self.value(), Value::Text(&self.text), Value::Bytes(&self.bytes)];
        let up_to_3 = |bits: u64| (bits % 4) as usize;
        Table {
            columns: columns[..up_to_3(self.number >> 16)].to_vec(),
            values: values[..up_to_3(self.number >> 18)].to_vec(),
        }
    }

    fn event<'a>(&'a self, table: &'a Table<'a>) -> Event<'a> {
        let small = (self.number >> 32) as u32;
        let key = self.flag.then_some(self.text.as_str());
        match self.kind % 36 {
            0 => Event::BeginReport,
            1 => Event::BeginHead,
            2 => Event::BeginFindings,
            3 => Event::BeginSection { id: small, title: &self.text },
            4 => Event::EndSection {
                status: if self.flag { SectionStatus::Ok } else { SectionStatus::Deadline },
                elapsed_ns: self.number,
            },
            5 => Event::BeginEnd,
            6 => Event::EndReport { sequence: self.number, incomplete: Incomplete::OUTPUT },
            7 | 8 => Event::Value { key: &self.text, value: self.value() },
            9 => Event::Item { value: self.value() },
            10 => Event::BeginGroup { key },
            11 => Event::BeginList { key },
            12 => Event::BeginBlocks { key: &self.text },
            13 => Event::BeginThread(Thread {
                tid: small,
                name: &self.bytes,
                state: b'S',
                capture: if self.flag { Capture::Ok } else { Capture::Timeout },
                stack_end: match self.number % 4 {
                    0 => StackEnd::Complete,
                    1 => StackEnd::WindowFull { window_bytes: small },
                    2 => StackEnd::FrameLimit { frames: small },
                    _ => StackEnd::Inconsistent,
                },
                is_main: self.flag,
                is_triggering: !self.flag,
            }),
            14 => Event::BeginProcess(Process {
                pid: small,
                parent_pid: small,
                name: &self.bytes,
                uid: self.flag.then_some(small),
                user: self.flag.then_some(&self.bytes),
                state: b'?',
            }),
            15 | 16 => Event::Frame(Frame {
                module: self.flag.then_some(&self.bytes),
                function: Some(&self.text),
                function_truncated: self.flag,
                inlined: self.flag,
                file: (!self.flag).then_some(&self.bytes),
                line: Some(small),
                certainty: Certainty::FramePointer,
                is_signal_frame: self.number.is_multiple_of(2),
                ..Frame::bare(small, self.number)
            }),
            17 | 18 => Event::Close,
            19 => Event::Scope(ActiveScope {
                label: &self.text,
                detail: self.value(),
                age_ns: self.number,
            }),
            20 => Event::Outcome(SectionOutcome {
                title: &self.text,
                status: if self.flag { SectionStatus::Ok } else { SectionStatus::SizeLimit },
                elapsed_ns: self.number,
            }),
            21 => Event::TableHead { columns: &table.columns },
            24 | 25 => Event::BeginSummary { key: &self.text, text: &self.text },
            26 => Event::Finding(Finding {
                code: FindingCode::LockWait,
                text: &self.text,
                tids: &[1, 2],
                tids_left_out: small,
            }),
            22 | 23 => Event::Row { columns: &table.columns, values: &table.values },
            27 => Event::BeginThreadGroup(ThreadGroup {
                count: self.number % 3,
                first_tid: small,
                first_name: &self.bytes,
                capture: if self.flag { Capture::Own } else { Capture::Partial },
                stack_end: StackEnd::FrameLimit { frames: small },
            }),
            28 => Event::BeginMember(ThreadMember {
                tid: small,
                name: &self.bytes,
                state: b'S',
                summary: &self.text,
            }),
            29 => Event::EntryFrames(EntryFrames {
                count: small,
                last: Frame {
                    module: Some(&self.bytes),
                    function: Some(&self.text),
                    ..Frame::bare(small, self.number)
                },
            }),
            30 => Event::BeginTask(Task {
                count: self.number % 5,
                ids: [&[][..], &[7], &[7, 8, 9, 10]][(self.number % 3) as usize],
                name: self.flag.then_some(&self.text),
                state: if self.flag { TaskState::Blocking } else { TaskState::Running },
                tid: self.flag.then_some(small),
                for_ns: (!self.flag).then_some(self.number),
                future: Some(&self.text),
            }),
            31 | 32 => Event::Await(Await {
                depth: if self.flag { small } else { small % 4 },
                kind: [
                    AwaitKind::Suspended,
                    AwaitKind::InMacro,
                    AwaitKind::Unresumed,
                    AwaitKind::Returned,
                    AwaitKind::Panicked,
                    AwaitKind::Holder,
                    AwaitKind::Leaf,
                    AwaitKind::Undecoded,
                ][(self.number % 8) as usize],
                function: &self.text,
                file: self.flag.then_some(&self.text),
                line: self.flag.then_some(small),
                waits_for: (!self.flag).then_some(self.number),
                note: if self.number.is_multiple_of(3) { &self.text } else { "" },
            }),
            _ => Event::Text(&self.bytes),
        }
    }
}

struct Table<'a> {
    columns: Vec<Column<'a>>,
    values: Vec<Value<'a>>,
}

fn tables(ops: &[Op]) -> Vec<Table<'_>> {
    ops.iter().map(Op::table).collect()
}

fn events<'a>(ops: &'a [Op], tables: &'a [Table<'a>]) -> Vec<Event<'a>> {
    ops.iter().zip(tables).map(|(op, table)| op.event(table)).collect()
}

/// Text that tries to be something else.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\n=|\\-]{0,4}(====|----|\\|\\|\\||End of report 1: complete|\\[section ok: x\\])\n?",
        "(item_1|item_2_ns|frames|frames_2|entry_frames_left_out|count|tid|pid|sequence|complete|stack|stack_2|for_ns)_{0,2}",
        "[a-z]{0,3}\n{0,2}[a-z\t\u{1b}\u{202e}\u{2028}]{0,3}",
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        hostile().prop_map(String::into_bytes),
    ];
    let op = (any::<u8>(), any::<u64>(), any::<bool>(), hostile(), bytes)
        .prop_map(|(kind, number, flag, text, bytes)| Op { kind, number, flag, text, bytes });
    proptest::collection::vec(op, 0..60)
}

/// The same, but each text is a token that stands nowhere else.
fn marked_ops() -> impl Strategy<Value = Vec<Op>> {
    ops().prop_map(|mut ops| {
        for (at, op) in ops.iter_mut().enumerate() {
            op.text = format!("text{at}x");
            op.bytes = format!("bytes{at}x").into_bytes();
        }
        ops
    })
}

fn json(style: JsonStyle, events: &[Event<'_>]) -> serde_json::Value {
    let text = rendered(JsonView::new(style), events);
    assert!(text.ends_with("}\n"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
    if style == JsonStyle::Line {
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

proptest! {
    #[test]
    fn any_stream_gives_valid_json(ops in ops()) {
        let tables = tables(&ops);
        let mut events = events(&ops, &tables);
        events.push(END);
        let pretty = json(JsonStyle::Pretty, &events);
        prop_assert_eq!(&pretty, &json(JsonStyle::Line, &events));
        for (member, is_array) in
            [("head", false), ("findings", true), ("sections", true), ("end", false)]
        {
            prop_assert_eq!(pretty[member].is_array(), is_array);
            prop_assert_eq!(pretty[member].is_object(), !is_array);
        }
    }

    #[test]
    fn no_stream_forges_a_heading(ops in ops()) {
        let tables = tables(&ops);
        let mut events = events(&ops, &tables);
        events.push(END);
        let text = rendered(TextView::new(), &events);
        let sections = events
            .iter()
            .take_while(|event| !matches!(event, Event::BeginEnd | Event::EndReport { .. }))
            .filter(|event| matches!(event, Event::BeginSection { .. }))
            .count();
        let blocks = events
            .iter()
            .filter(|event| {
                matches!(
                    event,
                    Event::BeginThread(_) | Event::BeginThreadGroup(_) | Event::BeginTask(_)
                )
            })
            .count();
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        prop_assert_eq!(lines("="), 3 * (1 + sections), "{}", text);
        prop_assert_eq!(lines("|"), 1);
        let heads = events.iter().filter(|event| matches!(event, Event::TableHead { .. })).count();
        prop_assert!(lines("-") <= blocks + heads);
        prop_assert!(lines("[section ") <= sections);
        prop_assert_eq!(lines("End of report"), 1);
        let last = text.lines().last().unwrap();
        prop_assert!(last.starts_with("End of report "));
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    }

    /// A key, name or text is in both views or, left out alike, in neither.
    #[test]
    fn both_views_carry_the_same_facts(ops in marked_ops()) {
        let tables = tables(&ops);
        let mut events = events(&ops, &tables);
        // What is in a summary is for machines alone.
        for event in &mut events {
            if let Event::BeginSummary { key, .. } = *event {
                *event = Event::BeginGroup { key: Some(key) };
            }
        }
        events.push(END);
        let text = rendered(TextView::new(), &events);
        let json = json(JsonStyle::Line, &events).to_string();
        for (at, (op, event)) in ops.iter().zip(&events).enumerate() {
            // The key of a list of blocks, and the columns of a row, are for machines
            // alone; the head of a table is for eyes.
            let is_for_both = !matches!(
                event,
                Event::BeginBlocks { .. } | Event::TableHead { .. } | Event::Row { .. }
            );
            // Said again by its member.
            if matches!(event, Event::BeginThreadGroup(_)) {
                continue;
            }
            if is_for_both {
                let token = format!("text{at}x");
                prop_assert_eq!(text.contains(&token), json.contains(&token), "{}\n{}", text, json);
            }
            let hex: String = op.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for token in [format!("bytes{at}x"), hex] {
                prop_assert_eq!(text.contains(&token), json.contains(&token), "{}\n{}", text, json);
            }
        }
    }

    /// Inside a section nothing is lost, however it is nested.
    #[test]
    fn a_section_loses_nothing(ops in marked_ops()) {
        let tables = tables(&ops);
        let inside = events(&ops, &tables).into_iter().filter(|event| {
            matches!(
                event,
                Event::Value { .. }
                    | Event::BeginGroup { key: Some(_) }
                    | Event::BeginList { key: Some(_) }
                    | Event::BeginThread(_)
                    | Event::BeginMember(_)
                    | Event::BeginTask(_)
                    | Event::Await(_)
                    | Event::EntryFrames(_)
                    | Event::Frame(_)
                    | Event::Text(_)
                    | Event::Scope(_)
                    | Event::Outcome(_)
                    | Event::Row { .. }
                    | Event::Close
            )
        });
        let mut events = vec![SECTION];
        // Half of the streams begin beyond the depth that is shown.
        if ops.len().is_multiple_of(2) {
            events.extend([group("deep"); MAX_DEPTH + 2]);
        }
        events.extend(inside);
        events.extend([SECTION_OK, END]);
        let text = rendered(TextView::new(), &events);
        let json = json_tokens(&events);
        for event in &events {
            if let Event::Row { values, .. } = event {
                for token in values.iter().filter_map(|value| match value {
                    Value::Text(token) => Some(*token),
                    _ => None,
                }) {
                    prop_assert!(text.contains(token), "{token} in {text}");
                    prop_assert!(json.contains(token), "{token} in {json}");
                }
            }
            let token = match *event {
                Event::Value { key, .. } => key.to_string(),
                Event::BeginGroup { key } | Event::BeginList { key } => key.unwrap().to_string(),
                Event::BeginThread(thread) => String::from_utf8_lossy(thread.name).into_owned(),
                Event::BeginMember(member) => member.summary.to_string(),
                Event::BeginTask(task) => task.future.unwrap().to_string(),
                Event::Await(level) => level.function.to_string(),
                Event::EntryFrames(frames) => frames.last.function.unwrap().to_string(),
                Event::Frame(frame) => frame.function.unwrap().to_string(),
                Event::Scope(scope) => scope.label.to_string(),
                Event::Outcome(outcome) => outcome.title.to_string(),
                Event::Text(text) => String::from_utf8_lossy(text).into_owned(),
                _ => continue,
            };
            prop_assert!(text.contains(&token), "{token} in {text}");
            prop_assert!(json.contains(&token), "{token} in {json}");
        }
    }
}

/// A report as a parser sees it, so that a doubled key shows as a loss.
fn json_tokens(events: &[Event<'_>]) -> String {
    json(JsonStyle::Pretty, events).to_string()
}

/// The sample's facts, each in both views: as text shows them and as JSON does.
#[test]
fn the_sample_says_the_same_in_both_views() {
    let events = sample();
    let text = rendered(TextView::new(), &events);
    let json = json_tokens(&events);
    let facts = [
        ("SIGUSR2 from pid 20711 (bash), uid 1000", "SIGUSR2 from pid 20711 (bash), uid 1000"),
        ("2026-11-22T14:03:11.482913000Z", "2026-11-22T14:03:11.482913000Z"),
        ("descriptors: 1012 of 1024 open\n", "\"code\":\"descriptors\""),
        ("lock wait: 38 threads", "\"threads\":[10203,10204],\"threads_left_out\":36"),
        ("cpu = 12.1 s user, 300.0 ms system", "\"user_ns\":12100000000"),
        ("uptime = 3d 04:11:09", "\"uptime_ns\":274269000000000"),
        ("vendor = None", "\"vendor\":null"),
        ("build-id = 9f3ce1", "\"build-id\":\"9f3ce1\""),
        ("heat-api+0x1000", "\"module_offset\":\"0x1000\""),
        ("doing = request: GET /heat{...cut from 90 B} (2.3 s)", "\"age_ns\":2300000000"),
        ("doing = query (7.0 us)", "\"detail\":null"),
        ("Package: ok, 104.0 us", "\"elapsed_ns\":104000"),
        ("Configuration: failed, 17 ns: it went", "it went\\naway"),
        ("src/db.rs:91 in heat::db::throttle (inlined)", "\"inlined\":true"),
        ("<signal handler called>", "\"signal_frame\":true"),
        ("[frame pointer]", "\"certainty\":\"frame_pointer\""),
        ("[inferred]", "\"certainty\":\"inferred\""),
        ("heat::long{...cut}", "\"function_truncated\":true"),
        ("0x7f0000001234", "\"pc\":\"0x7f0000001234\""),
        ("w\\n\\xff", "w\\n\\\\xff"),
        ("stack = signal_blocked: ", "\"capture\":\"signal_blocked\""),
        ("the copied window of 16 KiB", "\"window_bytes\":16384"),
        ("38 threads with the same stack: api-3 #10203, …", "\"count\":38"),
        ("#10203 api-3: sleeping, futex 0x7f21c0a41e10", "sleeping, futex 0x7f21c0a41e10"),
        ("#10204: running", "{\"name\":\"\",\"state\":\"running\",\"tid\":10204}"),
        ("members left out = 36", "\"members left out\":36"),
        ("  doing = idle (17 ns)", "\"label\":\"idle\""),
        (
            "#1  … 8 runtime entry frames left out (to heat-api+0x1010 in _start)",
            "\"entry_frames_left_out\":8",
        ),
        ("1 thread of the reporter: gmr #12", "\"count\":1"),
        ("main thread, triggering thread", "\"is_triggering\":true"),
        ("state: zombie", "\"state\":\"zombie\""),
        ("memory = 5 GiB", "\"memory_bytes\":5368709120"),
        ("connection = ***", "\"connection\":\"***\""),
        ("debug = True", "\"debug\":true"),
        ("offset = -5", "\"offset\":-5"),
        ("ratio = 16.0", "\"ratio\":16.0"),
        ("welcome{...cut from 4096 B}", "\"full_len_bytes\":4096"),
        ("webhooks      2", "{\"depth\":2,\"oldest\":null,\"queue\":\"webhooks\"}"),
        (" 3.1 us", "\"oldest_ns\":3100"),
        ("Task 4711 \"poller\" running on #10181 for 12.4 s", "\"name\":\"poller\""),
        ("future = heat::poll::{async_fn_env#0}", "\"future\":\"heat::poll::{async_fn_env#0}\""),
        ("290 tasks with the same await tree: 12, 13, 14, …", "\"count\":290"),
        ("tasks = 12, 13, 14, 15, 286 more", "\"ids\":[12,13,14,15]"),
        ("for = 12.4 s (the longest)", "\"for_ns\":12400000000"),
        ("3 tasks \"idle\" with the same await tree: 2, 3, 5 ", "\"ids\":[2,3,5]"),
        ("src/api.rs:57  heat::api::handle\n", "\"line\":57"),
        ("heat::db::acquire (line within a macro)", "\"kind\":\"in_macro\""),
        ("Acquire (permits: 1)", "\"note\":\"permits: 1\""),
        ("Acquire -> task 17", "\"waits_for\":17"),
        ("dyn Future (not decoded: unknown type)", "\"kind\":\"undecoded\""),
        ("handle (never polled)", "\"kind\":\"unresumed\""),
        ("[section failed: the configuration went away]", "the configuration went away"),
        ("[section skipped_stuck: ", "\"status\":\"skipped_stuck\""),
        ("written = 46.9 KiB", "\"written_bytes\":48123"),
        (
            "incomplete (section failed, section skipped)",
            "[\"section failed\",\"section skipped\"]",
        ),
        ("End of report 3", "\"sequence\":3"),
    ];
    for (in_text, in_json) in facts {
        assert!(text.contains(in_text), "{in_text} in {text}");
        assert!(json.contains(in_json), "{in_json} in {json}");
    }
}

/// Whatever is in a summary, and however it ends, text shows its line alone.
#[test]
fn a_summary_is_a_line_for_people_and_a_group_for_machines() {
    let member = ThreadMember { tid: 1, name: b"", state: b'S', summary: "" };
    let inside = [
        value("secret of machines", 1u64),
        item("x"),
        Event::BeginTask(TASK),
        Event::Await(LEVEL),
        Event::Close,
        Event::BeginMember(member),
        Event::Close,
        group("g"),
        Event::Text(b"y"),
    ];
    let summary = Event::BeginSummary { key: "call", text: "read(fd 7)" };
    for closes in [2, 1, 0] {
        let mut events = vec![SECTION, summary];
        events.extend(inside);
        events.extend(vec![Event::Close; closes]);
        if closes == 2 {
            events.push(value("after", 2u64));
        }
        events.extend([SECTION_OK, END]);
        let text = rendered(TextView::new(), &events);
        assert!(text.contains("call = read(fd 7)\n"), "{text}");
        assert!(!text.contains("secret of machines") && !text.contains('y'), "{text}");
        assert!(!text.contains("Task") && !text.contains("src"), "{text}");
        assert_eq!(text.contains("after = 2\n"), closes == 2, "{text}");
        let json = json(JsonStyle::Line, &events);
        let call = &json["sections"][0]["data"]["call"];
        assert_eq!(call["secret of machines"], 1, "{json}");
        assert_eq!(call["g"]["item_1"], "y", "{json}");
    }
}

/// The state of a view lies on the supervisor's stack or in its bank.
#[test]
fn views_are_small() {
    assert!(size_of::<TextView>() <= 512, "{}", size_of::<TextView>());
    assert!(size_of::<JsonView>() <= 512, "{}", size_of::<JsonView>());
}
