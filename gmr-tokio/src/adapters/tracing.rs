//! The spans of `tracing` as scopes: beside a thread's stack stands which spans it is
//! in.
//!
//! 1. When a span is made its fields are kept with it, as text.
//! 2. A thread that enters a span enters a [`Scope`], and leaves it with the span.
//!
//! A span around a future (`#[instrument]`, `.instrument(span)`) is entered by each
//! poll. So the thread that polls a task just now says for what, also when it hangs;
//! a task that waits is in no span.
//!
//! Limits: those of [`Scope`]: 88 bytes of fields, 128 spans deep. A span that is left
//! on another thread than it was entered on (`tracing` does not allow it) is shown until
//! its thread ends.

use std::cell::RefCell;
use std::fmt::{self, Write as _};

use gmr_std::{Scope, ThisThread};
use tracing_core::Subscriber;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<(u64, Scope)>> = const { RefCell::new(Vec::new()) };
}

/// A layer that shows in reports the spans that each thread is in:
///
/// ```text
/// doing = request: method=GET path=/heat (2.3 s)
/// ```
///
/// The name and the fields of the span; secrets in the fields are masked when a report
/// shows them.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(gmr_tokio::adapters::tracing::layer());
/// # let _ = subscriber;
/// ```
///
/// # Cost
///
/// For each span the text of its fields; for each entry a scope (some 80 ns), in an
/// `#[instrument]`ed future at each poll. A filter of its own (`with_filter`) keeps small
/// spans out.
pub fn layer() -> SpanScopes {
    SpanScopes(())
}

/// The layer that [`layer`] makes.
#[derive(Debug)]
pub struct SpanScopes(());

/// The fields of a span, as far as they are kept, and how many bytes they are in all.
struct Fields {
    text: String,
    full_len: usize,
}

impl fmt::Write for Fields {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.full_len += piece.len();
        let room = Scope::MAX_DETAIL_BYTES.saturating_sub(self.text.len());
        let cut = (0..=piece.len().min(room)).rev().find(|at| piece.is_char_boundary(*at));
        // Nothing behind a cut: it would look as if it belonged together.
        if self.full_len - piece.len() == self.text.len() {
            self.text.push_str(&piece[..cut.unwrap_or(0)]);
        }
        Ok(())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let gap = if self.full_len == 0 { "" } else { " " };
        // An error is the program's own: what came before it is shown.
        let _ = write!(self, "{gap}{}={value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl<S> Layer<S> for SpanScopes
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields { text: String::new(), full_len: 0 };
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let extensions = span.extensions();
        let (text, full_len) =
            extensions.get::<Fields>().map_or(("", 0), |fields| (&*fields.text, fields.full_len));
        let scope = ThisThread::get().enter_cut(span.name(), text, full_len);
        // Not in a thread that ends.
        let _ = ENTERED.try_with(|entered| {
            if let Ok(mut entered) = entered.try_borrow_mut() {
                entered.push((id.into_u64(), scope));
            }
        });
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let _ = ENTERED.try_with(|entered| {
            let Ok(mut entered) = entered.try_borrow_mut() else { return };
            // Spans may be left in another order than they were entered.
            if let Some(place) = entered.iter().rposition(|(entered, _)| *entered == id.into_u64())
            {
                drop(entered.remove(place));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_between_characters_and_nothing_follows() {
        let mut fields = Fields { text: String::new(), full_len: 0 };
        let most = Scope::MAX_DETAIL_BYTES;
        write!(fields, "{}", "x".repeat(most - 1)).unwrap();
        write!(fields, "ü").unwrap();
        write!(fields, "y").unwrap();
        assert_eq!(fields.text, "x".repeat(most - 1));
        assert_eq!(fields.full_len, most + 2);
    }
}
