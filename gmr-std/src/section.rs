//! What the closures of ordinary sections return, and what becomes of it.
//!
//! Any `Serialize` value: text is shown as it is, a struct or map as
//! `key = value`, a list as items. It is flattened and masked like a
//! configuration, on the worker.

use serde::Serialize;

use crate::config::record::{Recorded, record, record_text};

/// What the closure of a section is turned into.
pub(crate) type Generator = Box<dyn FnMut() -> Output + Send>;

/// What a run left.
pub(crate) enum Output {
    /// What it returned.
    Returned(Recorded),
    /// The message of its panic, or why its value could not be recorded.
    Failed { message: Recorded, reason: &'static str },
}

/// The closure of a section, as workers call it.
pub(crate) fn generator<T: Serialize>(
    mut generate: impl FnMut() -> T + Send + 'static,
) -> Generator {
    Box::new(move || match record(&generate()) {
        Ok(recorded) => Output::Returned(recorded),
        Err(error) => Output::Failed {
            message: record_text("error", &error.to_string()),
            reason: "what it returned could not be shown",
        },
    })
}
