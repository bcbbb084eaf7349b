//! The frames of a thread, as the report and as gdb has them, one by one.
//!
//! A *physical* frame has one address; it is a list of functions, inlined ones
//! first. Physical frames are compared from the innermost on:
//!
//! 1. Their addresses are equal. One exception: a signal finds a thread that
//!    waits in a system call about to make it again (SA_RESTART), at the
//!    instruction; a debugger finds it behind the instruction, two bytes on, which
//!    may be another line.
//! 2. So are the object and the offset in it, and, for each function in them,
//!    its name ([`names`](super::names)), its file (we show the end of the path,
//!    without `./`), its line, and whether it is inlined. Where gdb has no line
//!    (code of line 0), the file does not count.
//! 3. What gdb has beyond a stack that the report says is cut is counted apart.
//!    Frames that gdb has only inferred (of tail calls) are no frames.

use std::collections::BTreeMap;

use super::modules::Modules;
use super::names::{self, Aliases};
use super::observe::{OurThread, Ours, TheirThread, Theirs};

/// A frame that is no guess.
const EXACT: &str = "exact";

/// A stack that is not cut.
const GUESSED: &str = "guessed";
const COMPLETE: &str = "complete";

/// In which way a frame differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The address: another frame altogether.
    Address,
    /// The object, or the offset in it.
    Module,
    Function,
    File,
    Line,
    /// Inlined here, not inlined there; or a function too many or too few.
    Inlined,
    /// gdb has the frame, the report has not.
    Missing,
    /// The report has the frame, gdb has not.
    Invented,
}

/// A frame that differs.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) kind: String,
    pub(crate) index: usize,
    pub(crate) field: Field,
    pub(crate) ours: Option<Ours>,
    pub(crate) theirs: Option<Theirs>,
    /// The report marks the frame, or one that led to it, as a guess.
    pub(crate) is_marked: bool,
}

/// What came of a thread.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) compared: usize,
    /// Of the frames that are equal, those that are not [`EXACT`], by certainty.
    pub(crate) marked: BTreeMap<String, usize>,
    /// The report says that the stack is cut, and gdb finds nothing beyond.
    pub(crate) is_cut_for_nothing: bool,
    /// Beyond a cut that the report states.
    pub(crate) beyond: usize,
    pub(crate) tail_calls: usize,
    pub(crate) differences: Vec<Difference>,
}

/// Whether gdb's address is behind a system call that ours is at.
fn restarts(ours: u64, theirs: &Theirs) -> bool {
    theirs.before == "0f05" && theirs.pc == ours.wrapping_add(2)
}

/// Splits into physical frames.
fn physical<T>(frames: &[T], is_inlined: impl Fn(&T) -> bool) -> Vec<&[T]> {
    frames.split_inclusive(|frame| !is_inlined(frame)).collect()
}

/// Compares one thread.
pub(crate) fn compare(
    ours: &OurThread,
    theirs: &TheirThread,
    modules: &Modules,
    aliases: &mut Aliases,
) -> Outcome {
    let mut outcome = Outcome::default();
    let all = theirs.frames.len();
    let frames: Vec<Theirs> =
        theirs.frames.iter().filter(|frame| frame.kind != "tail_call").cloned().collect();
    outcome.tail_calls = all - frames.len();
    let our_groups = physical(&ours.frames, |frame| frame.inlined);
    let their_groups = physical(&frames, |frame| frame.kind == "inline");
    // Nobody knows where it is.
    let first = usize::from(ours.is_busy());
    let mut thread = Thread {
        kind: &ours.name,
        outcome: &mut outcome,
        modules,
        aliases,
        index: 0,
        is_marked: false,
    };
    for number in first..our_groups.len().max(their_groups.len()) {
        let is_guess = |frame: &Ours| frame.certainty != EXACT;
        thread.is_marked |= our_groups.get(number).is_some_and(|ours| ours.iter().any(is_guess));
        match (our_groups.get(number), their_groups.get(number)) {
            (Some(ours), Some(theirs)) => thread.group(number, ours, theirs),
            (Some(ours), None) => {
                for frame in *ours {
                    thread.differs(Field::Invented, Some(frame), None);
                }
            }
            (None, Some(theirs)) if ![COMPLETE, GUESSED].contains(&ours.stack_end.as_str()) => {
                thread.outcome.beyond += theirs.len();
            }
            (None, theirs) => {
                for frame in theirs.copied().unwrap_or_default() {
                    thread.differs(Field::Missing, None, Some(frame));
                }
            }
        }
    }
    // A stack with a guess in it never calls itself whole, also where it is right.
    let is_cut = ![COMPLETE, GUESSED].contains(&ours.stack_end.as_str());
    outcome.is_cut_for_nothing = is_cut && outcome.beyond == 0;
    outcome
}

struct Thread<'a> {
    kind: &'a str,
    outcome: &'a mut Outcome,
    modules: &'a Modules,
    aliases: &'a mut Aliases,
    index: usize,
    is_marked: bool,
}

impl Thread<'_> {
    fn differs(&mut self, field: Field, ours: Option<&Ours>, theirs: Option<&Theirs>) {
        self.outcome.compared += 1;
        self.outcome.differences.push(Difference {
            kind: self.kind.to_owned(),
            index: self.index,
            field,
            ours: ours.cloned(),
            theirs: theirs.cloned(),
            is_marked: self.is_marked,
        });
        self.index += 1;
    }

    fn group(&mut self, number: usize, ours: &[Ours], theirs: &[Theirs]) {
        let address = ours.last().map_or(0, Ours::address);
        let is_there = theirs
            .last()
            .is_some_and(|theirs| theirs.pc == address || number == 0 && restarts(address, theirs));
        if !is_there {
            for at in 0..ours.len().max(theirs.len()) {
                self.differs(Field::Address, ours.get(at), theirs.get(at));
            }
            return;
        }
        // The outermost function is the one that both have, whatever is inlined.
        let (more_ours, more_theirs) =
            (ours.len().saturating_sub(theirs.len()), theirs.len().saturating_sub(ours.len()));
        for frame in &ours[..more_ours] {
            self.differs(Field::Inlined, Some(frame), None);
        }
        for frame in &theirs[..more_theirs] {
            self.differs(Field::Inlined, None, Some(frame));
        }
        for (ours, theirs) in ours[more_ours..].iter().zip(&theirs[more_theirs..]) {
            match self.field(ours, theirs) {
                Some(field) => self.differs(field, Some(ours), Some(theirs)),
                None => {
                    self.outcome.compared += 1;
                    if ours.certainty != EXACT {
                        *self.outcome.marked.entry(ours.certainty.clone()).or_default() += 1;
                    }
                    self.index += 1;
                }
            }
        }
    }

    /// The first field that differs.
    fn field(&mut self, ours: &Ours, theirs: &Theirs) -> Option<Field> {
        let is_same_place = ours.inlined == (theirs.kind == "inline")
            && ours.signal_frame == (theirs.kind == "signal");
        let is_same_file = match (&ours.file, &theirs.file) {
            (_, None) => ours.line == 0 && theirs.line == 0,
            (None, Some(_)) => false,
            (Some(ours), Some(theirs)) => {
                let theirs = theirs.replace("/./", "/");
                let rest = theirs.strip_suffix(ours.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
            }
        };
        if !is_same_place {
            Some(Field::Inlined)
        } else if ours.place() != self.modules.find(ours.address()) {
            Some(Field::Module)
        } else if !self.aliases.are_one(ours, theirs) {
            Some(Field::Function)
        } else if !is_same_file {
            Some(Field::File)
        } else if ours.line != theirs.line && ours.address() == theirs.pc {
            Some(Field::Line)
        } else {
            None
        }
    }
}

impl Difference {
    /// The same for all frames that differ alike, wherever they are.
    pub(crate) fn likeness(&self) -> String {
        let place = |file: Option<&String>, line| format!("{}:{line}", file.map_or("?", |it| it));
        let ours = self.ours.as_ref().map(|frame| place(frame.file.as_ref(), frame.line));
        let theirs = self.theirs.as_ref().map(|frame| place(frame.file.as_ref(), frame.line));
        format!("{:?} {:?} {ours:?} {theirs:?}", self.field, self.functions())
    }

    /// Both names, for the list of known differences.
    pub(crate) fn functions(&self) -> (String, String) {
        let ours = self.ours.as_ref().and_then(|frame| frame.function.clone());
        let theirs = self.theirs.as_ref().and_then(names::shown);
        (ours.unwrap_or_default(), theirs.unwrap_or_default())
    }
}

impl core::fmt::Display for Difference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "{} #{}: {:?}", self.kind, self.index, self.field)?;
        match &self.ours {
            Some(ours) => writeln!(
                f,
                "    ours {} {} at {}:{}{} ({})",
                ours.pc,
                ours.function.as_deref().unwrap_or("?"),
                ours.file.as_deref().unwrap_or("?"),
                ours.line,
                if ours.inlined { " inlined" } else { "" },
                ours.certainty,
            )?,
            None => writeln!(f, "    ours -")?,
        }
        match &self.theirs {
            Some(theirs) => write!(
                f,
                "    gdb  {:#x} {} at {}:{} {}",
                theirs.pc,
                names::shown(theirs).unwrap_or_default(),
                theirs.file.as_deref().unwrap_or("?"),
                theirs.line,
                theirs.kind,
            ),
            None => write!(f, "    gdb  -"),
        }
    }
}
