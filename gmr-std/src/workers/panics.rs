//! Panics of sections, kept out of the log and put into the report.
//!
//! The hook of a process is one; ours is put in front of it at setup (or, without
//! source lines, when the first ordinary section is registered), and hands on
//! every panic but those of a section, or of a search for source lines, on a
//! worker. The default hook would write into the middle of the
//! report that the section is for, and JSON would not be JSON any more.
//!
//! Where the panic ends the process (`panic = "abort"`, a panic during another
//! one's unwinding) nothing is kept from the log: it would be lost.
//!
//! Limits: a program that replaces the hook later without calling ours gets the
//! panics of sections too, and the report has the message without the place. A
//! panic that a section catches itself is not in the log.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// How many [`catch`] are around.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts our hook in place, once.
pub(crate) fn take_hook() {
    static ONCE: Once = Once::new();
    // While a thread panics its hook cannot be changed; the next section will.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Gone at the end of a thread's life: then it is not in a section.
            let is_ours = DEPTH.try_with(Cell::get).unwrap_or(0) > 0;
            if cfg!(panic = "abort") || !is_ours {
                return previous(info);
            }
            let earlier = MESSAGE.with_borrow_mut(|message| message.replace(info.to_string()));
            if let Some(earlier) = earlier {
                // Either caught by the section itself, or still unwinding: then
                // this one ends the process.
                eprintln!("a section {earlier}");
                previous(info);
            }
        }));
    });
}

/// Runs `body`; a panic becomes its message, with the place if that is known.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    let _ = take_message();
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let message = take_message().unwrap_or_else(|| message_of(&*payload).to_owned());
        // A payload's own drop may panic too; what that says is not kept.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        message
    });
    DEPTH.set(DEPTH.get() - 1);
    let _ = take_message();
    result
}

fn take_message() -> Option<String> {
    MESSAGE.with_borrow_mut(Option::take)
}

fn message_of(payload: &(dyn core::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic whose payload is no text")
}
