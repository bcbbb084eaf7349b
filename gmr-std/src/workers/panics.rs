//! Panics of sections, kept out of the log and put into the report.
//!
//! The hook of a process is one; ours is put in front of it when the first
//! ordinary section is registered, and hands on every panic but those of a
//! section on a worker. The default hook would write into the middle of the
//! report that the section is for, and JSON would not be JSON any more.
//!
//! Limits: a program that replaces the hook later without calling ours gets the
//! panics of sections too, and the report has the message without the place.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static IN_SECTION: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts our hook in place, once.
pub(crate) fn take_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Gone at the end of a thread's life: then it is not in a section.
            if IN_SECTION.try_with(Cell::get).unwrap_or(false) {
                MESSAGE.with_borrow_mut(|message| *message = Some(info.to_string()));
            } else {
                previous(info);
            }
        }));
    });
}

/// Runs `body`; a panic becomes its message, with the place if that is known.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    IN_SECTION.set(true);
    let result = catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let message = MESSAGE
            .with_borrow_mut(Option::take)
            .unwrap_or_else(|| message_of(&*payload).to_owned());
        // A payload's own drop may panic too; what that says is not kept.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        MESSAGE.with_borrow_mut(|message| *message = None);
        message
    });
    IN_SECTION.set(false);
    result
}

fn message_of(payload: &(dyn core::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic whose payload is no text")
}
