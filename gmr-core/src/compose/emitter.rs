//! View and sink of one report, and the deadlines of what is written.

use crate::model::{Event, Value};
use crate::section::{EventSink, Stop};
use crate::sink::Sink;
use crate::sink::destination::OpenLine;
use crate::sys::clock;
use crate::view::{JsonStyle, JsonView, TextView, View, ViewKind};

pub(super) enum AnyView {
    Text(TextView),
    Json(JsonView),
}

impl AnyView {
    pub(super) fn new(kind: ViewKind) -> Self {
        match kind {
            ViewKind::Text => AnyView::Text(TextView::new()),
            ViewKind::Json => AnyView::Json(JsonView::new(JsonStyle::Pretty)),
            ViewKind::JsonLine => AnyView::Json(JsonView::new(JsonStyle::Line)),
        }
    }
}

/// View and sink of one report, and its deadlines.
pub(super) struct Emitter<'a> {
    pub(super) view: AnyView,
    pub(super) sink: Sink<'a, OpenLine<'a>>,
    pub(super) is_current: &'a dyn Fn() -> bool,
    pub(super) section_deadline_ns: u64,
    /// Size of the report at which the section is cut.
    pub(super) section_limit_bytes: u64,
}

impl Emitter<'_> {
    /// The reporter's own event: no deadline applies.
    pub(super) fn put(&mut self, event: &Event<'_>) {
        match &mut self.view {
            AnyView::Text(view) => view.event(event, &mut self.sink),
            AnyView::Json(view) => view.event(event, &mut self.sink),
        }
    }

    pub(super) fn value<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.put(&Event::Value { key, value: value.into() });
    }
}

impl EventSink for Emitter<'_> {
    fn deadline_ns(&self) -> u64 {
        self.section_deadline_ns
    }

    fn check(&self) -> Result<(), Stop> {
        let is_over = !(self.is_current)() || clock::monotonic_ns() >= self.section_deadline_ns;
        if is_over { Err(Stop) } else { Ok(()) }
    }

    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        self.check()?;
        if self.sink.total_bytes() > self.section_limit_bytes {
            return Err(Stop);
        }
        // The report's own structure is not a section's to write.
        if !event.is_content() {
            return Ok(());
        }
        self.put(event);
        Ok(())
    }
}
