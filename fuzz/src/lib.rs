//! What the fuzz targets share: bytes as a stream of events.
//!
//! The decoder is written by hand, so that a byte of the input means one thing
//! and small changes of the input are small changes of the stream: one byte
//! chooses the event, further ones its numbers; a string is one byte of length
//! and that many bytes of the input, borrowed. Where the input ends, everything
//! left is zero. At most [`MAX_EVENTS`] events are made.

pub mod cfi;
pub mod module;

use core::convert::Infallible;

use arbitrary::Unstructured;
use gmr_core::model::{
    ActiveScope, Await, AwaitKind, Capture, Certainty, Column, EntryFrames, Event, Finding,
    FindingCode, Frame, Incomplete, Process, SectionOutcome, SectionStatus, StackEnd, Task,
    TaskState, Thread, ThreadGroup, ThreadMember, Timestamp, Value,
};
use gmr_core::view::View;
use ufmt::uWrite;

/// Enough to open more than the maximum depth several times.
pub const MAX_EVENTS: usize = 256;

/// A string to write into.
struct Buffer(String);

impl uWrite for Buffer {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        self.0.push_str(text);
        Ok(())
    }
}

/// What `view` makes of the events.
pub fn rendered(mut view: impl View, events: &[Event<'_>]) -> String {
    let mut buffer = Buffer(String::new());
    for event in events {
        view.event(event, &mut buffer);
    }
    buffer.0
}

/// An event, or what one of a table borrows.
pub enum Op<'a> {
    Event(Event<'a>),
    TableHead(Vec<Column<'a>>),
    Row(Vec<Column<'a>>, Vec<Value<'a>>),
}

/// What `data` stands for: see [`events`].
pub fn ops(data: &[u8]) -> Vec<Op<'_>> {
    let mut input = Input(Unstructured::new(data));
    let mut ops = Vec::new();
    while !input.0.is_empty() && ops.len() < MAX_EVENTS {
        ops.push(input.op());
    }
    ops
}

/// The events, and an [`Event::EndReport`] behind them.
pub fn events<'a>(ops: &'a [Op<'a>]) -> Vec<Event<'a>> {
    let end = Event::EndReport { sequence: 7, incomplete: Incomplete::NONE };
    let events = ops.iter().map(|op| match op {
        Op::Event(event) => *event,
        Op::TableHead(columns) => Event::TableHead { columns },
        Op::Row(columns, values) => Event::Row { columns, values },
    });
    events.chain([end]).collect()
}

struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        // At its end the input is zeros.
        self.0.arbitrary().unwrap_or(0)
    }

    fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    fn small(&mut self) -> u32 {
        u32::from(self.byte())
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn bytes(&mut self) -> &'a [u8] {
        let wanted = usize::from(self.byte());
        let len = wanted.min(self.0.len());
        self.0.bytes(len).unwrap_or_default()
    }

    /// As much of the bytes as is UTF-8.
    fn text(&mut self) -> &'a str {
        self.bytes().utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    fn option<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(value(self)) } else { None }
    }

    fn value(&mut self) -> Value<'a> {
        match self.byte() % 15 {
            0 => Value::None,
            1 => Value::Bool(self.flag()),
            2 => Value::U64(self.number()),
            3 => Value::I64(self.number().cast_signed()),
            4 => Value::Number(self.text()),
            5 => Value::Text(self.text()),
            6 => Value::Bytes(self.bytes()),
            7 => Value::ByteCount(self.number()),
            8 => Value::DurationNs(self.number()),
            9 => Value::Timestamp(Timestamp {
                unix_seconds: self.number().cast_signed(),
                nanoseconds: self.small() << 24,
            }),
            10 => Value::Address(self.number()),
            11 => Value::Hex(self.bytes()),
            12 => Value::Redacted,
            13 => Value::Truncated { text: self.bytes(), full_len_bytes: None },
            _ => Value::Truncated { text: self.bytes(), full_len_bytes: Some(self.number()) },
        }
    }

    fn thread(&mut self) -> Thread<'a> {
        Thread {
            tid: self.small(),
            name: self.bytes(),
            state: self.byte(),
            capture: match self.byte() % 4 {
                0 => Capture::Ok,
                1 => Capture::Partial,
                2 => Capture::Timeout,
                _ => Capture::NotBuilt,
            },
            stack_end: match self.byte() % 9 {
                0 => StackEnd::Complete,
                1 => StackEnd::NoStack,
                2 => StackEnd::WindowFull { window_bytes: self.small() << 10 },
                3 => StackEnd::FrameLimit { frames: self.small() },
                4 => StackEnd::Unreadable,
                5 => StackEnd::NoUnwindInfo,
                6 => StackEnd::Inconsistent,
                7 => StackEnd::FramePointerUnknown,
                _ => StackEnd::Guessed,
            },
            is_main: self.flag(),
            is_triggering: self.flag(),
        }
    }

    fn thread_group(&mut self) -> ThreadGroup<'a> {
        let Thread { tid, name, capture, stack_end, is_main, .. } = self.thread();
        ThreadGroup {
            count: self.number(),
            first_tid: tid,
            first_name: name,
            capture: if is_main { Capture::Own } else { capture },
            stack_end,
        }
    }

    fn member(&mut self) -> ThreadMember<'a> {
        let Thread { tid, name, state, .. } = self.thread();
        ThreadMember { tid, name, state, summary: self.text() }
    }

    fn process(&mut self) -> Process<'a> {
        Process {
            pid: self.small(),
            parent_pid: self.small(),
            name: self.bytes(),
            uid: self.option(Self::small),
            user: self.option(Self::bytes),
            state: self.byte(),
        }
    }

    fn task(&mut self) -> Task<'a> {
        Task {
            count: self.number(),
            ids: if self.flag() { &[1, 2, 3, 4] } else { &[] },
            name: self.option(Self::text),
            state: match self.byte() % 4 {
                0 => TaskState::Running,
                1 => TaskState::Suspended,
                2 => TaskState::Blocking,
                _ => TaskState::Unknown,
            },
            tid: self.option(Self::small),
            for_ns: self.option(Self::number),
            future: self.option(Self::text),
        }
    }

    fn level(&mut self) -> Await<'a> {
        Await {
            depth: self.small(),
            kind: match self.byte() % 4 {
                0 => AwaitKind::Suspended,
                1 => AwaitKind::InMacro,
                2 => AwaitKind::Leaf,
                _ => AwaitKind::Undecoded,
            },
            function: self.text(),
            file: self.option(Self::text),
            line: self.option(Self::small),
            waits_for: self.option(Self::number),
            note: self.text(),
        }
    }

    fn frame(&mut self) -> Frame<'a> {
        let flags = self.byte();
        Frame {
            index: self.small(),
            pc: self.number(),
            module: self.option(Self::bytes),
            module_offset: u64::from(self.small()),
            function: self.option(Self::text),
            function_truncated: flags & 1 != 0,
            inlined: flags & 2 != 0,
            file: self.option(Self::bytes),
            line: self.option(Self::small),
            certainty: match flags >> 6 {
                0 | 1 => Certainty::Exact,
                2 => Certainty::FramePointer,
                _ => Certainty::Inferred,
            },
            is_signal_frame: flags & 4 != 0,
        }
    }

    fn status(&mut self) -> SectionStatus {
        match self.byte() % 5 {
            0 => SectionStatus::Ok,
            1 => SectionStatus::Failed("the reason"),
            2 => SectionStatus::Deadline,
            3 => SectionStatus::SkippedStuck,
            _ => SectionStatus::SkippedDeadline,
        }
    }

    fn columns(&mut self) -> Vec<Column<'a>> {
        let count = self.byte() % 20;
        (0..count)
            .map(|_| Column {
                name: self.text(),
                width: u16::from(self.byte()) << 8,
                is_right_aligned: self.flag(),
            })
            .collect()
    }

    fn values(&mut self) -> Vec<Value<'a>> {
        let count = self.byte() % 20;
        (0..count).map(|_| self.value()).collect()
    }

    fn op(&mut self) -> Op<'a> {
        match self.byte() % 29 {
            20 => Op::TableHead(self.columns()),
            21 => Op::Row(self.columns(), self.values()),
            24 => Op::Event(Event::BeginThreadGroup(self.thread_group())),
            25 => Op::Event(Event::BeginMember(self.member())),
            26 => Op::Event(Event::EntryFrames(EntryFrames {
                count: self.small(),
                last: self.frame(),
            })),
            27 => Op::Event(Event::BeginTask(self.task())),
            28 => Op::Event(Event::Await(self.level())),
            kind => Op::Event(self.event(kind)),
        }
    }

    fn event(&mut self, kind: u8) -> Event<'a> {
        match kind {
            0 => Event::BeginReport,
            1 => Event::BeginHead,
            2 => Event::BeginFindings,
            3 => Event::BeginSection { id: self.small(), title: self.text() },
            4 => Event::EndSection { status: self.status(), elapsed_ns: self.number() },
            5 => Event::BeginEnd,
            6 => Event::EndReport { sequence: self.number(), incomplete: Incomplete::DEADLINE },
            7 => Event::Value { key: self.text(), value: self.value() },
            8 => Event::Item { value: self.value() },
            9 => Event::BeginGroup { key: self.option(Self::text) },
            10 => Event::BeginList { key: self.option(Self::text) },
            11 => Event::BeginBlocks { key: self.text() },
            12 => Event::BeginThread(self.thread()),
            13 => Event::BeginProcess(self.process()),
            14 => Event::Frame(self.frame()),
            15 | 16 => Event::Close,
            17 => Event::Scope(ActiveScope {
                label: self.text(),
                detail: self.value(),
                age_ns: self.number(),
            }),
            18 => Event::Outcome(SectionOutcome {
                title: self.text(),
                status: self.status(),
                elapsed_ns: self.number(),
            }),
            22 => Event::BeginSummary { key: self.text(), text: self.text() },
            23 => Event::Finding(Finding {
                code: FindingCode::LockWait,
                text: self.text(),
                tids: &[1, 2],
                tids_left_out: self.small(),
            }),
            _ => Event::Text(self.bytes()),
        }
    }
}

/// Panics if a text report holds a line that looks like the view's own and is
/// not, or a control character.
pub fn check_text(events: &[Event<'_>], text: &str) {
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
    let heads = events.iter().filter(|event| matches!(event, Event::TableHead { .. })).count();
    let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();

    assert_eq!(lines("="), 3 * (1 + sections));
    assert_eq!(lines("|"), 1);
    assert!(lines("-") <= blocks + heads);
    assert!(lines("[section ") <= sections);
    assert_eq!(lines("End of report"), 1);
    assert!(text.ends_with('\n'));
    assert!(text.lines().last().is_some_and(|line| line.starts_with("End of report ")));
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
}

/// Panics if a JSON report is not one, or has not the members that it always
/// has.
pub fn check_json(json: &str) {
    let report: serde_json::Value = serde_json::from_str(json).expect("a report is valid JSON");
    assert!(report["head"].is_object());
    assert!(report["findings"].is_array());
    assert!(report["sections"].is_array());
    for section in report["sections"].as_array().into_iter().flatten() {
        assert!(section["data"].is_object());
        assert!(section["status"].is_string());
    }
    assert!(report["end"]["complete"].is_boolean());
    assert!(json.ends_with("}\n"));
    assert!(!json.chars().any(|c| c.is_control() && c != '\n'));
}
