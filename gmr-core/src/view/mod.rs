//! Views: the event stream as text or JSON.
//!
//! A view is a small state machine without buffers. It accepts any stream of
//! events: JSON always parses, text never shows a heading that the reporter
//! did not make, and nothing panics.

use core::convert::Infallible;

use ufmt::uWrite;

use crate::model::{EntryFrames, Event, Frame};

mod escape;
mod format;
mod json;
mod order;
#[cfg(test)]
mod testing;
mod text;

pub(crate) use format::{address, byte_count, duration};
pub use json::{JsonStyle, JsonView};
pub use text::{TextView, text_width};

/// Where a view writes. What becomes of the bytes (a full pipe, a deadline) is
/// the sink's business: a view never fails.
pub type Output<'a> = dyn uWrite<Error = Infallible> + 'a;

/// Turns events into bytes.
///
/// ```
/// use core::convert::Infallible;
/// use gmr_core::model::{Event, Incomplete, SectionStatus, Value};
/// use gmr_core::view::{JsonStyle, JsonView, View};
///
/// struct Buffer(String);
/// impl ufmt::uWrite for Buffer {
///     type Error = Infallible;
///     fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
///         self.0.push_str(text);
///         Ok(())
///     }
/// }
///
/// let mut out = Buffer(String::new());
/// let mut view = JsonView::new(JsonStyle::Line);
/// for event in [
///     Event::BeginSection { id: 1, title: "Queues" },
///     Event::Value { key: "age", value: Value::DurationNs(1_500) },
///     Event::EndSection { status: SectionStatus::Ok, elapsed_ns: 20 },
///     Event::EndReport { sequence: 1, incomplete: Incomplete::NONE },
/// ] {
///     view.event(&event, &mut out);
/// }
/// assert!(out.0.contains(r#""data":{"age_ns":1500},"status":"ok""#));
/// ```
pub trait View {
    /// Takes the next event.
    ///
    /// # Signal safety
    ///
    /// Safe: no allocation, no lock, no panic, bounded stack.
    fn event(&mut self, event: &Event<'_>, out: &mut Output<'_>);
}

/// Which view a report is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ViewKind {
    /// For people: the original's shapes.
    #[default]
    Text,
    /// For machines: one JSON object of many lines.
    Json,
    /// For log collectors: one JSON object on one line.
    JsonLine,
}

/// Hands a single frame to `write` as it stands in a report of that kind,
/// without what parts it from others: for `gmr symbolize`.
///
/// # Signal safety
///
/// As safe as `write`.
#[doc(hidden)]
pub fn write_frame(frame: &Frame<'_>, kind: ViewKind, write: &mut dyn FnMut(&str)) {
    let out = &mut Pieces(write);
    match kind {
        ViewKind::Text => text::frame_line(out, frame),
        ViewKind::Json => json::frame_object(out, frame, JsonStyle::Pretty),
        ViewKind::JsonLine => json::frame_object(out, frame, JsonStyle::Line),
    }
}

/// The same of the runtime's frames that are left out at the end of a stack. In
/// JSON they are two members, which `between` parts.
///
/// # Signal safety
///
/// As safe as `write`.
#[doc(hidden)]
pub fn write_entry_frames(
    frames: &EntryFrames<'_>,
    kind: ViewKind,
    between: &str,
    write: &mut dyn FnMut(&str),
) {
    let out = &mut Pieces(write);
    match kind {
        ViewKind::Text => text::entry_frames_line(out, frames),
        ViewKind::Json => json::entry_frames_members(out, frames, JsonStyle::Pretty, between),
        ViewKind::JsonLine => json::entry_frames_members(out, frames, JsonStyle::Line, between),
    }
}

/// Writes by handing on.
struct Pieces<'w>(&'w mut dyn FnMut(&str));

impl uWrite for Pieces<'_> {
    type Error = Infallible;
    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        (self.0)(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::testing::{END, SECTION, SECTION_OK, rendered};
    use super::*;

    #[test]
    fn entry_frames_alone_are_as_in_a_report() {
        let frames = EntryFrames { count: 8, last: Frame::bare(1, 0x1010) };
        let events = [SECTION, Event::EntryFrames(frames), SECTION_OK, END];
        for (kind, between, report) in [
            (ViewKind::Text, "", rendered(TextView::new(), &events)),
            (ViewKind::Json, ",\n        ", rendered(JsonView::new(JsonStyle::Pretty), &events)),
            (ViewKind::JsonLine, ",", rendered(JsonView::new(JsonStyle::Line), &events)),
        ] {
            let mut alone = String::new();
            write_entry_frames(&frames, kind, between, &mut |piece| alone.push_str(piece));
            assert!(report.contains(&alone), "{alone} in {report}");
        }
    }
}
