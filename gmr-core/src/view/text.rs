//! placeholder
use super::{Output, View};
use crate::model::Event;
/// Text.
#[derive(Debug)]
pub struct TextView {}
impl TextView {
    /// A view for one report.
    #[must_use]
    pub const fn new() -> Self {
        TextView {}
    }
}
impl View for TextView {
    fn event(&mut self, _event: &Event<'_>, _out: &mut Output<'_>) {}
}
