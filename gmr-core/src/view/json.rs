//! placeholder
use super::{Output, View};
use crate::model::Event;
/// Layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonStyle {
    /// Indented, many lines.
    Pretty,
    /// One line.
    Line,
}
/// JSON.
#[derive(Debug)]
pub struct JsonView {}
impl JsonView {
    /// A view for one report.
    #[must_use]
    pub const fn new(_style: JsonStyle) -> Self {
        JsonView {}
    }
}
impl View for JsonView {
    fn event(&mut self, _event: &Event<'_>, _out: &mut Output<'_>) {}
}
