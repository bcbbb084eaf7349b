//! The runtime's frames at the end of a stack, left out as a live report leaves
//! them out, by the functions of [`gmr_core::symbols::entry`].
//!
//! 1. From std's marker on, frames are held back. A further marker begins anew.
//! 2. A frame that is not the runtime's has what is held written. So has one
//!    that was guessed, and nothing behind it is held.
//! 3. At the end of a stack that is known to be whole, what is held is one line;
//!    the marker's own frame is held and shown if there is no line for it.
//! 4. A stack with such a line has the marker as its last frame, if no line was
//!    known for it; with one, the marker is counted as well.
//!
//! Limits: [`MAX_HELD`].

use gmr_core::ViewKind;
use gmr_core::model::{Certainty, EntryFrames, Frame};
use gmr_core::symbols::entry::{is_entry_marker, is_runtime, is_runtime_object};
use gmr_core::view::write_entry_frames;

/// Frames that are held: a stack has no more of them (`max_frames`). Lines of
/// others between them count as well. Beyond that nothing is left out.
pub(super) const MAX_HELD: usize = 4096;

/// What a frame is to its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Not known to be the runtime's: shown, with all that is held.
    Program,
    /// Held, after what was held is written.
    Marker,
    /// Held.
    Runtime,
}

/// The end of a stack, as far as it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    /// Entry frames can be left out here.
    is_certain: bool,
    is_holding: bool,
}

impl Tail {
    /// Of a stack whose entry frames are shown, or not.
    pub(super) const fn new(entry_frames: bool) -> Self {
        Tail { is_certain: !entry_frames, is_holding: false }
    }

    /// Takes the next frame that is not inlined; `held` are those before it.
    pub(super) fn next(
        &mut self,
        function: Option<&str>,
        module: Option<&str>,
        certainty: Certainty,
        held: usize,
    ) -> Place {
        self.is_certain &= certainty == Certainty::Exact;
        if self.is_certain && function.is_some_and(is_entry_marker) {
            self.is_holding = true;
            return Place::Marker;
        }
        let is_runtime = match (function, module) {
            (Some(name), _) => is_runtime(name),
            (None, Some(module)) => is_runtime_object(module.as_bytes()),
            (None, None) => false,
        };
        self.is_holding &= self.is_certain && is_runtime && held < MAX_HELD;
        if self.is_holding { Place::Runtime } else { Place::Program }
    }

    /// Something that is no frame stands among them.
    pub(super) fn is_unknown(&mut self) {
        *self = Tail { is_certain: false, is_holding: false };
    }

    pub(super) fn is_holding(self) -> bool {
        self.is_holding
    }
}

/// The last frame of a stack; what the line about left out ones ends with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) pc: u64,
    pub(super) module: Option<(String, u64)>,
    pub(super) function: Option<(String, bool)>,
    /// As it stands in the report, where that says no module.
    pub(super) source: Option<(String, Option<u32>)>,
    pub(super) is_signal_frame: bool,
}

/// What stands for `count` frames, from the number `index` on.
pub(super) fn written(
    count: usize,
    index: u64,
    last: &Last,
    kind: ViewKind,
    between: &str,
) -> String {
    let mut frame = Frame::bare(u32::try_from(index).unwrap_or(u32::MAX), last.pc);
    if let Some((module, offset)) = &last.module {
        (frame.module, frame.module_offset) = (Some(module.as_bytes()), *offset);
    } else if let Some((file, line)) = &last.source {
        (frame.file, frame.line) = (Some(file.as_bytes()), *line);
    }
    if let Some((name, is_cut)) = &last.function {
        (frame.function, frame.function_truncated) = (Some(name.as_str()), *is_cut);
    }
    frame.is_signal_frame = last.is_signal_frame;
    let frames = EntryFrames { count: u32::try_from(count).unwrap_or(u32::MAX), last: frame };
    let mut text = String::new();
    write_entry_frames(&frames, kind, between, &mut |piece| text.push_str(piece));
    text
}

#[cfg(test)]
pub(super) const MARKER: &str = "std::sys::backtrace::__rust_begin_short_backtrace::<…>";

#[cfg(test)]
mod tests {
    use super::*;

    fn places(entry_frames: bool, stack: &[(Option<&str>, Option<&str>)]) -> String {
        let mut tail = Tail::new(entry_frames);
        let place = |frame: &(Option<&str>, Option<&str>)| {
            let certainty = match frame.1 {
                Some("guessed") => Certainty::Inferred,
                _ => Certainty::Exact,
            };
            match tail.next(frame.0, frame.1, certainty, 1) {
                Place::Program => 'p',
                Place::Marker => 'M',
                Place::Runtime => 'r',
            }
        };
        stack.iter().map(place).collect()
    }

    #[test]
    fn what_is_held() {
        let marker = (Some(MARKER), None);
        let (runtime, libc) = ((Some("std::rt::x"), None), (None, Some("libc.so.6")));
        let (mine, guessed) =
            ((Some("mine::f"), Some("libc.so.6")), (Some("main"), Some("guessed")));
        let unknown = (None, None);
        for (stack, expected) in [
            (&[runtime, libc, marker, runtime, libc][..], "ppMrr"),
            (&[marker, runtime, marker, libc, runtime], "MrMrr"),
            (&[marker, runtime, mine, runtime, libc], "Mrppp"),
            (&[marker, runtime, mine, marker, libc], "MrpMr"),
            (&[marker, unknown, libc], "Mpp"),
            (&[guessed, marker, runtime], "ppp"),
            (&[marker, guessed, runtime, marker], "Mppp"),
        ] {
            assert_eq!(places(false, stack), expected, "{stack:?}");
            assert_eq!(places(true, stack), "p".repeat(stack.len()));
        }
    }

    #[test]
    fn no_more_than_the_limit_is_held() {
        let mut tail = Tail::new(false);
        assert_eq!(tail.next(Some(MARKER), None, Certainty::Exact, 0), Place::Marker);
        let mut next = |held| tail.next(Some("main"), None, Certainty::Exact, held);
        assert_eq!(next(MAX_HELD - 1), Place::Runtime);
        assert_eq!(next(MAX_HELD), Place::Program);
        assert_eq!(next(0), Place::Program);
    }

    #[test]
    fn something_else_ends_it() {
        let mut tail = Tail::new(false);
        tail.next(Some(MARKER), None, Certainty::Exact, 0);
        assert!(tail.is_holding());
        tail.is_unknown();
        assert!(!tail.is_holding());
        assert_eq!(tail.next(Some(MARKER), None, Certainty::Exact, 0), Place::Program);
    }
}
