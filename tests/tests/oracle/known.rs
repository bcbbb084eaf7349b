//! Differences that are understood, one entry each.
//!
//! A difference that no entry explains fails the test; so does an entry that
//! explains nothing in any build.

use super::compare::{Difference, Field};

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The report marks the frame, or one that led to it, as a guess: set aside,
    /// neither equal nor compared. Explains nothing that is not marked.
    Guess,
    /// The report says less, by decision: counts against it.
    Decided,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Known {
    /// The thread's name; `*` at its end stands for any rest.
    pub(crate) kind: &'static str,
    /// `None`: any.
    pub(crate) field: Option<Field>,
    /// A part of the function's name, of ours or of gdb's; empty: any.
    pub(crate) function: &'static str,
    /// A part of the build's name; empty: any.
    pub(crate) build: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) reason: &'static str,
}

/// The list.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        kind: "asm_no_cfi",
        field: None,
        function: "",
        build: "",
        verdict: Verdict::Guess,
        reason: "nothing says where the caller is: the report follows the frame pointer, gdb \
                 reads the code",
    },
    Known {
        kind: "c_none_*",
        field: None,
        function: "",
        build: "",
        verdict: Verdict::Guess,
        reason: "C without unwind tables: gdb reads .debug_frame, which is not in memory; the \
                 report follows the frame pointer, which is not one",
    },
    Known {
        kind: "*",
        field: Some(Field::Function),
        function: "__restore_rt",
        build: "system",
        verdict: Verdict::Decided,
        reason: "a symbol without a size names nothing; the frame is marked as the signal's",
    },
];

impl Known {
    /// Whether this entry explains a difference.
    pub(crate) fn explains(&self, build: &str, difference: &Difference) -> bool {
        let (ours, theirs) = difference.functions();
        let is_of_kind = match self.kind.strip_suffix('*') {
            Some(beginning) => difference.kind.starts_with(beginning),
            None => difference.kind == self.kind,
        };
        is_of_kind
            && (self.verdict != Verdict::Guess || difference.is_marked)
            && self.field.is_none_or(|field| field == difference.field)
            && (ours.contains(self.function) || theirs.contains(self.function))
            && build.contains(self.build)
    }
}
