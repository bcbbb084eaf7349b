//! What the tests of the views share.

use super::{Output, View};
use crate::model::Event;
use core::convert::Infallible;
use std::string::String;
use ufmt::uWrite;

/// A string to write into.
pub(super) struct Buffer(pub(super) String);

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
