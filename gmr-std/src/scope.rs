//! Scopes for std programs: formatted, and without a system call each.
//!
//! 1. The detail is formatted into a buffer on the stack; what does not fit is
//!    only counted.
//! 2. The thread's id is kept in a thread-local, since the core, which has none,
//!    asks the kernel for it each time: that is the dearest part of a scope.
//! 3. After a fork the thread that goes on has another id: a handler of
//!    pthread_atfork(3) forgets the old one.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use gmr_core::{Scope, ThisThread};

thread_local! {
    // Without a destructor: it is there until the thread is gone.
    static HERE: Cell<Option<ThisThread>> = const { Cell::new(None) };
}

/// Says what this thread is doing until what it returns is dropped; reports show
/// it beside the thread's stack. [`scope!`](macro@crate::scope) is the way to
/// write it.
///
/// What [`Scope`] says of secrets and limitations holds here too.
///
/// # Signal safety
///
/// Not safe, for what the formatting may do and for the first call on a thread.
/// In a signal handler use [`Scope::enter_with`].
///
/// # Limitations
///
/// A child made by the bare system call (clone(2), not fork(3)) does not show the
/// scopes of the thread that made it.
pub fn scope(label: &'static str, detail: fmt::Arguments<'_>) -> Scope {
    if let Some(text) = detail.as_str() {
        return here().enter_with(label, text);
    }
    let mut buffer = Buffer::new();
    // An error is the program's own: what came before it is shown.
    let _ = buffer.write_fmt(detail);
    here().enter_cut(label, buffer.kept(), buffer.full_len)
}

/// Says what this thread is doing until what it returns is dropped: a label,
/// and then, as for [`format!`], what tells this one from others.
///
/// ```
/// # let path = "/heat";
/// let _request = gmr_std::scope!("request", "GET {path}");
/// let _parsing = gmr_std::scope!("parsing");
/// // A report now shows of this thread:
/// //   doing = request: GET /heat (2.3 s)
/// //   doing = parsing (4.1 us)
/// ```
///
/// Bind it to a name: `let _ = scope!(…)` ends it at once. Nothing is allocated;
/// of the detail 88 bytes are kept. See [`scope()`] and [`Scope`].
#[macro_export]
macro_rules! scope {
    ($label:expr $(,)?) => {
        $crate::scope($label, ::core::format_args!(""))
    };
    ($label:expr, $($detail:tt)+) => {
        $crate::scope($label, ::core::format_args!($($detail)+))
    };
}

fn here() -> ThisThread {
    HERE.with(|here| {
        here.get().unwrap_or_else(|| {
            forget_at_fork();
            let this = ThisThread::get();
            here.set(Some(this));
            this
        })
    })
}

#[cfg(gmr_engine)]
fn forget_at_fork() {
    use std::sync::atomic::{AtomicBool, Ordering};
    // Not a `Once`: a child forked during the first call would wait for ever.
    static IS_REGISTERED: AtomicBool = AtomicBool::new(false);
    extern "C" fn forget() {
        HERE.with(|here| here.set(None));
    }
    if !IS_REGISTERED.swap(true, Ordering::Relaxed) {
        #[expect(unsafe_code, reason = "libc's registration")]
        // SAFETY: a function that may run in any child: it sets one cell of the
        // thread that forked. If it is refused (no memory), children lack scopes.
        unsafe {
            libc::pthread_atfork(None, None, Some(forget));
        }
    }
}

#[cfg(not(gmr_engine))]
fn forget_at_fork() {}

/// As much of a text as a scope keeps, and how long it was.
struct Buffer {
    bytes: [u8; Scope::MAX_DETAIL_BYTES],
    used: usize,
    full_len: usize,
}

impl Buffer {
    fn new() -> Self {
        Buffer { bytes: [0; Scope::MAX_DETAIL_BYTES], used: 0, full_len: 0 }
    }

    fn kept(&self) -> &str {
        // Whole characters only, one after the other.
        str::from_utf8(&self.bytes[..self.used]).unwrap_or_default()
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Once something was cut, nothing may follow it.
        if self.used == self.full_len {
            let room = &mut self.bytes[self.used..];
            let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
            let len = ends.take_while(|end| *end <= room.len()).last().unwrap_or(0);
            room[..len].copy_from_slice(&text.as_bytes()[..len]);
            self.used += len;
        }
        self.full_len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(detail: fmt::Arguments<'_>) -> (String, usize) {
        let mut buffer = Buffer::new();
        buffer.write_fmt(detail).unwrap();
        (buffer.kept().to_owned(), buffer.full_len)
    }

    #[test]
    fn what_fits_is_kept_and_the_rest_counted() {
        assert_eq!(kept(format_args!("GET {}", "/heat")), ("GET /heat".to_owned(), 9));
        let max = Scope::MAX_DETAIL_BYTES;
        let full = "x".repeat(max);
        assert_eq!(kept(format_args!("{full}")), (full.clone(), max));
        assert_eq!(kept(format_args!("{full}{}", "yz")), (full, max + 2));
    }

    #[test]
    fn a_cut_is_between_characters_and_nothing_follows_it() {
        let max = Scope::MAX_DETAIL_BYTES;
        let nearly = "x".repeat(max - 1);
        // The second piece does not fit, the third one would.
        assert_eq!(kept(format_args!("{nearly}{}{}", "é", "y")), (nearly, max + 2));
    }
}
