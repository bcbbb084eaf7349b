//! Differences that are understood, one entry each.
//!
//! A difference that no entry explains fails the test; so does an entry that
//! explains nothing in any build.

use super::compare::{Difference, Field};

/// Who is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// gdb is wrong, or both guess: the frames are set aside, neither equal
    /// nor compared.
    GdbIsWrong,
    /// The report says less, by decision: counts against it.
    Decided,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Known {
    /// The thread's name; `*`: any.
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
        verdict: Verdict::GdbIsWrong,
        reason: "nothing says where the caller is: the report follows the frame pointer, gdb \
                 reads the code; the report marks the frame",
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
        (self.kind == "*" || self.kind == difference.kind)
            && self.field.is_none_or(|field| field == difference.field)
            && (ours.contains(self.function) || theirs.contains(self.function))
            && build.contains(self.build)
    }
}
