//! Brings any stream of events into the order of a report, once for all views.
//!
//! A view has two halves. [`Ordered`] is the first: it decides which event
//! counts where, so that the second, a [`Layout`], is called in a proper nest
//! only and all views carry the same facts. The rules:
//!
//! 1. The first event begins the report, whatever it is.
//! 2. Title, head, findings, sections, end come in this order. A block that is
//!    left out is told to the layout ([`Layout::skip_block`]); one that comes
//!    too late or twice is not begun, and what follows stays where it is.
//! 3. Content before any block belongs to the head. Between two sections
//!    there is no place for content: it is left out.
//! 4. A block that ends closes what is open in it. A section that another
//!    block interrupts ends as [`UNFINISHED`].
//! 5. A container beyond [`MAX_DEPTH`] is opened and closed at once; its
//!    content goes to the innermost one that is open. Its `Close` is counted.
//! 6. Consecutive frames are one run, and so are consecutive levels of an await
//!    tree.
//! 7. What is inside a summary goes to layouts that show its members
//!    ([`Layout::SHOWS_MEMBERS`]), its text to the others.
//! 8. After the end of the report nothing counts.

use super::Output;
use crate::model::{
    ActiveScope, Await, Column, EntryFrames, Event, Finding, Frame, Incomplete, MAX_DEPTH,
    SectionOutcome, SectionStatus, Value,
};

/// Room for the containers of a layout: the block, [`MAX_DEPTH`] inside it, and
/// one that is opened and closed at once.
pub(super) const CONTAINERS: usize = MAX_DEPTH + 2;

/// Status word and explanation of a section that had no end.
pub(super) const UNFINISHED: (&str, &str) =
    ("unfinished", "the report went on before the section ended");

/// The parts of a report, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Block {
    Head,
    Findings,
    Sections,
    End,
}

/// How a section ended, as both views show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SectionEnd {
    pub(super) code: &'static str,
    pub(super) explanation: &'static str,
    pub(super) elapsed_ns: Option<u64>,
}

/// Writes what [`Ordered`] has put into order. Every `begin` and `open` is
/// followed by its `end` and `close`, unless the stream just stops.
pub(super) trait Layout {
    /// Whether a summary is shown by its members, or by its text.
    const SHOWS_MEMBERS: bool;

    fn begin_report(&mut self, out: &mut Output<'_>);
    fn begin_block(&mut self, block: Block, out: &mut Output<'_>);
    fn end_block(&mut self, block: Block, out: &mut Output<'_>);
    fn skip_block(&mut self, block: Block, out: &mut Output<'_>);
    fn begin_section(&mut self, id: u32, title: &str, out: &mut Output<'_>);
    fn end_section(&mut self, end: SectionEnd, out: &mut Output<'_>);
    /// Ends [`Block::End`] too.
    fn end_report(&mut self, sequence: u64, incomplete: Incomplete, out: &mut Output<'_>);

    /// A value with its key, or an item without one.
    fn value(&mut self, key: Option<&str>, value: &Value<'_>, out: &mut Output<'_>);
    fn text(&mut self, text: &[u8], out: &mut Output<'_>);
    fn open(&mut self, container: Container<'_>, out: &mut Output<'_>);
    fn close(&mut self, out: &mut Output<'_>);
    fn begin_frames(&mut self, out: &mut Output<'_>);
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Output<'_>);
    fn end_frames(&mut self, out: &mut Output<'_>);
    fn begin_awaits(&mut self, out: &mut Output<'_>);
    fn await_level(&mut self, level: &Await<'_>, out: &mut Output<'_>);
    fn end_awaits(&mut self, out: &mut Output<'_>);
    /// Behind a run of frames, or where one would be.
    fn entry_frames(&mut self, frames: &EntryFrames<'_>, out: &mut Output<'_>);
    fn scope(&mut self, scope: &ActiveScope<'_>, out: &mut Output<'_>);
    fn finding(&mut self, finding: &Finding<'_>, out: &mut Output<'_>);
    fn outcome(&mut self, title: &str, end: SectionEnd, out: &mut Output<'_>);
    fn table_head(&mut self, columns: &[Column<'_>], out: &mut Output<'_>);
    fn row(&mut self, columns: &[Column<'_>], values: &[Value<'_>], out: &mut Output<'_>);
}

/// What can be opened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Container<'a> {
    Group(Option<&'a str>),
    List(Option<&'a str>),
    Blocks(&'a str),
    Thread(&'a crate::model::Thread<'a>),
    ThreadGroup(&'a crate::model::ThreadGroup<'a>),
    Member(&'a crate::model::ThreadMember<'a>),
    Process(&'a crate::model::Process<'a>),
    Task(&'a crate::model::Task<'a>),
}

/// What the event before belongs to, if that is a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Frames,
    Awaits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Title,
    /// In a block, or behind one that was skipped or whose section ended.
    In(Block),
    Done,
}

/// A layout and the place in the report.
#[derive(Debug)]
pub(super) struct Ordered<L> {
    layout: L,
    stage: Stage,
    /// There is a place for content: a block, and in `Sections` a section.
    is_open: bool,
    run: Option<Run>,
    depth: usize,
    /// Containers that were opened beyond [`MAX_DEPTH`] and not yet closed.
    flattened: u64,
    /// Containers that are open in a summary whose members are not shown, with
    /// the summary itself.
    hidden: u64,
}

impl<L: Layout> Ordered<L> {
    pub(super) const fn new(layout: L) -> Self {
        Ordered {
            layout,
            stage: Stage::Before,
            is_open: false,
            run: None,
            depth: 0,
            flattened: 0,
            hidden: 0,
        }
    }

    pub(super) fn event(&mut self, event: &Event<'_>, out: &mut Output<'_>) {
        match self.stage {
            Stage::Done => return,
            Stage::Before => {
                self.layout.begin_report(out);
                self.stage = Stage::Title;
            }
            Stage::Title | Stage::In(_) => {}
        }
        if self.hidden > 0 && event.is_content() {
            match *event {
                Event::BeginGroup { .. }
                | Event::BeginSummary { .. }
                | Event::BeginList { .. }
                | Event::BeginBlocks { .. }
                | Event::BeginThread(_)
                | Event::BeginThreadGroup(_)
                | Event::BeginMember(_)
                | Event::BeginTask(_)
                | Event::BeginProcess(_) => self.hidden = self.hidden.saturating_add(1),
                Event::Close => self.hidden = self.hidden.saturating_sub(1),
                _ => {}
            }
            return;
        }
        match *event {
            Event::BeginReport => {}
            Event::BeginHead => self.begin(Block::Head, out),
            Event::BeginFindings => self.begin(Block::Findings, out),
            Event::BeginSection { id, title } => self.begin_section(id, title, out),
            Event::EndSection { status, elapsed_ns } => {
                self.end_section(SectionEnd::new(status, elapsed_ns), out);
            }
            Event::BeginEnd => self.begin(Block::End, out),
            Event::EndReport { sequence, incomplete } => {
                self.begin(Block::End, out);
                self.close_all(out);
                self.layout.end_report(sequence, incomplete, out);
                self.stage = Stage::Done;
            }
            Event::Close => self.close(out),
            Event::Frame(ref frame) => {
                if self.enter(Run::Frames, out) {
                    self.layout.frame(frame, out);
                }
            }
            Event::Await(ref level) => {
                if self.enter(Run::Awaits, out) {
                    self.layout.await_level(level, out);
                }
            }
            Event::EntryFrames(ref frames) => {
                if self.has_place_without_run(out) {
                    self.layout.entry_frames(frames, out);
                }
            }
            Event::Value { key, ref value } => {
                if self.has_place_without_run(out) {
                    self.layout.value(Some(key), value, out);
                }
            }
            Event::Item { ref value } => {
                if self.has_place_without_run(out) {
                    self.layout.value(None, value, out);
                }
            }
            Event::Text(text) => {
                if self.has_place_without_run(out) {
                    self.layout.text(text, out);
                }
            }
            Event::Scope(ref scope) => {
                if self.has_place_without_run(out) {
                    self.layout.scope(scope, out);
                }
            }
            Event::Outcome(SectionOutcome { title, status, elapsed_ns }) => {
                if self.has_place_without_run(out) {
                    self.layout.outcome(title, SectionEnd::new(status, elapsed_ns), out);
                }
            }
            Event::Finding(ref finding) => {
                if self.has_place_without_run(out) {
                    self.layout.finding(finding, out);
                }
            }
            Event::TableHead { columns } => {
                if self.has_place_without_run(out) {
                    self.layout.table_head(columns, out);
                }
            }
            Event::Row { columns, values } => {
                if self.has_place_without_run(out) {
                    self.layout.row(columns, values, out);
                }
            }
            Event::BeginGroup { key } => self.open(Container::Group(key), out),
            Event::BeginSummary { key, .. } if L::SHOWS_MEMBERS => {
                self.open(Container::Group(Some(key)), out);
            }
            Event::BeginSummary { key, text } => {
                if self.has_place_without_run(out) {
                    if !text.is_empty() {
                        self.layout.value(Some(key), &Value::Text(text), out);
                    }
                    self.hidden = 1;
                }
            }
            Event::BeginList { key } => self.open(Container::List(key), out),
            Event::BeginBlocks { key } => self.open(Container::Blocks(key), out),
            Event::BeginThread(ref thread) => self.open(Container::Thread(thread), out),
            Event::BeginThreadGroup(ref group) => self.open(Container::ThreadGroup(group), out),
            Event::BeginMember(ref member) => self.open(Container::Member(member), out),
            Event::BeginProcess(ref process) => self.open(Container::Process(process), out),
            Event::BeginTask(ref task) => self.open(Container::Task(task), out),
        }
    }

    /// Goes on to `block`, unless the report is there or further already.
    fn begin(&mut self, block: Block, out: &mut Output<'_>) {
        const ORDER: [Block; 4] = [Block::Head, Block::Findings, Block::Sections, Block::End];
        let current = match self.stage {
            Stage::In(current) => Some(current),
            Stage::Before | Stage::Title | Stage::Done => None,
        };
        if current.is_some_and(|current| current >= block) {
            return;
        }
        if current == Some(Block::Sections) {
            self.end_section(SectionEnd::UNFINISHED, out);
            self.layout.end_block(Block::Sections, out);
        } else if let Some(current) = current {
            self.close_all(out);
            self.layout.end_block(current, out);
        }
        for skipped in ORDER {
            if current.is_none_or(|current| current < skipped) && skipped < block {
                self.layout.skip_block(skipped, out);
            }
        }
        self.layout.begin_block(block, out);
        self.stage = Stage::In(block);
        self.is_open = block != Block::Sections;
    }

    fn begin_section(&mut self, id: u32, title: &str, out: &mut Output<'_>) {
        if self.stage == Stage::In(Block::End) {
            return;
        }
        self.begin(Block::Sections, out);
        self.end_section(SectionEnd::UNFINISHED, out);
        self.layout.begin_section(id, title, out);
        self.is_open = true;
    }

    fn end_section(&mut self, end: SectionEnd, out: &mut Output<'_>) {
        if self.stage == Stage::In(Block::Sections) && self.is_open {
            self.close_all(out);
            self.layout.end_section(end, out);
            self.is_open = false;
        }
    }

    /// Whether content can be written here; begins the head if nothing is begun.
    fn has_place(&mut self, out: &mut Output<'_>) -> bool {
        if self.stage == Stage::Title {
            self.begin(Block::Head, out);
        }
        self.is_open
    }

    /// The same, with `run` begun if this is not its continuation.
    fn enter(&mut self, run: Run, out: &mut Output<'_>) -> bool {
        if self.run == Some(run) {
            return true;
        }
        let has_place = self.has_place_without_run(out);
        if has_place {
            self.run = Some(run);
            match run {
                Run::Frames => self.layout.begin_frames(out),
                Run::Awaits => self.layout.begin_awaits(out),
            }
        }
        has_place
    }

    fn has_place_without_run(&mut self, out: &mut Output<'_>) -> bool {
        self.end_run(out);
        self.has_place(out)
    }

    fn open(&mut self, container: Container<'_>, out: &mut Output<'_>) {
        if !self.has_place_without_run(out) {
            return;
        }
        self.layout.open(container, out);
        if self.depth < MAX_DEPTH {
            self.depth = self.depth.saturating_add(1);
        } else {
            self.layout.close(out);
            self.flattened = self.flattened.saturating_add(1);
        }
    }

    fn close(&mut self, out: &mut Output<'_>) {
        self.end_run(out);
        if self.flattened > 0 {
            self.flattened = self.flattened.saturating_sub(1);
        } else if self.depth > 0 {
            self.depth = self.depth.saturating_sub(1);
            self.layout.close(out);
        }
    }

    fn close_all(&mut self, out: &mut Output<'_>) {
        self.end_run(out);
        self.flattened = 0;
        self.hidden = 0;
        while self.depth > 0 {
            self.close(out);
        }
    }

    fn end_run(&mut self, out: &mut Output<'_>) {
        match self.run.take() {
            None => {}
            Some(Run::Frames) => self.layout.end_frames(out),
            Some(Run::Awaits) => self.layout.end_awaits(out),
        }
    }
}

impl SectionEnd {
    const UNFINISHED: Self =
        SectionEnd { code: UNFINISHED.0, explanation: UNFINISHED.1, elapsed_ns: None };

    fn new(status: SectionStatus, elapsed_ns: u64) -> Self {
        SectionEnd {
            code: status.code(),
            explanation: status.explanation(),
            elapsed_ns: Some(elapsed_ns),
        }
    }

    pub(super) fn is_ok(self) -> bool {
        self.code == SectionStatus::Ok.code()
    }
}
