//! What the closures of ordinary sections return, and what becomes of it.
//!
//! Any `Serialize` value: text is shown as it is, a struct or map as
//! `key = value`, a list as items, a [`Table`](crate::Table) as aligned lines.
//! It is flattened and masked like a configuration, on the worker.

use gmr_core::redact::Redaction;
use serde::Serialize;

use crate::config::{Blob, BlobBuilder, Recorded, record_section, record_under};

/// A section's closure, as workers call it.
pub(crate) type Generator = Box<dyn FnMut(&Redaction) -> Output + Send>;

/// What a run left.
#[derive(Debug)]
#[cfg_attr(not(gmr_engine), allow(dead_code, reason = "nothing runs there"))]
pub(crate) enum Output {
    /// What it returned.
    Returned(Recorded),
    /// Why there is nothing, and what it said itself.
    Failed { reason: &'static str, message: Blob },
}

impl Output {
    /// A failure with a message, masked.
    pub(crate) fn failed(reason: &'static str, message: &str, policy: &Redaction) -> Self {
        let mut blob = BlobBuilder::new();
        // A text can always be recorded.
        let _ = record_under(&mut blob, "message", message, policy);
        Output::Failed { reason, message: blob.finish() }
    }
}

/// Makes a closure callable by workers.
pub(crate) fn generator<T: Serialize>(
    mut generate: impl FnMut() -> T + Send + 'static,
) -> Generator {
    Box::new(move |policy| match record_section(&generate(), policy) {
        Ok(recorded) => Output::Returned(recorded),
        Err(error) => {
            Output::failed("what it returned could not be shown", &error.to_string(), policy)
        }
    })
}
