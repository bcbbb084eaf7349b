//! What text and JSON have in common: which frames of a stack are asked for,
//! at which address, and how the stack is numbered afterwards.
//!
//! 1. An inlined function has no frame of its own: it belongs to the next
//!    frame that is not inlined. A frame with inlined functions above it was
//!    resolved in the process, and is left.
//! 2. A frame's pc is an interrupted one at the top of the stack, in a signal
//!    frame, and in the frame behind that. Elsewhere it is a return address,
//!    and the call before it is looked up: one less.
//! 3. Each frame that is added moves the numbers behind it on.

use gmr_core::ViewKind;
use gmr_core::hosted::SourceLine;
use gmr_core::model::Frame;
use gmr_core::view::write_frame;
use gmr_std::offline::Known;

use super::modules::Unknown;

/// A frame without file and line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question<'q> {
    /// Its module's name.
    pub(super) name: &'q str,
    /// The number of that module.
    pub(super) module: Result<usize, Unknown>,
    /// The address to look up, relative to the load bias.
    pub(super) svma: u64,
    /// The function that the report has, and whether its name was cut.
    pub(super) shown: Option<(&'q str, bool)>,
}

/// Who answers.
pub(super) trait Lookup {
    /// Calls `each` with the functions there, the most inlined first. Of whom
    /// nothing is known, the frame is left as it is.
    fn look_up(&mut self, question: &Question<'_>, each: &mut dyn FnMut(&SourceLine<'_>)) -> Known;
}

/// How a frame is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pc {
    /// Of the instruction that is meant.
    Interrupted,
    /// Behind the call that is meant.
    Return,
}

impl Pc {
    pub(super) fn lookup_address(self, pc: u64) -> u64 {
        match self {
            Pc::Interrupted => pc,
            Pc::Return => pc.wrapping_sub(1),
        }
    }
}

/// The place in a stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stack {
    /// Frames that were added so far.
    added: u64,
    /// Inlined functions stand before the next frame.
    has_inlined: bool,
    /// The next frame's pc is an interrupted one.
    is_interrupted: bool,
}

impl Stack {
    pub(super) const fn new() -> Self {
        Stack { added: 0, has_inlined: false, is_interrupted: true }
    }

    /// Goes to the next frame. `None`: it is nothing to ask for.
    pub(super) fn next(&mut self, is_inlined: bool, is_signal_frame: bool) -> Option<Pc> {
        if is_inlined {
            self.has_inlined = true;
            return None;
        }
        let is_interrupted = self.is_interrupted || is_signal_frame;
        self.is_interrupted = is_signal_frame;
        match std::mem::take(&mut self.has_inlined) {
            true => None,
            false if is_interrupted => Some(Pc::Interrupted),
            false => Some(Pc::Return),
        }
    }

    /// What a frame's number is now.
    pub(super) fn number(&self, index: u64) -> u64 {
        index.saturating_add(self.added)
    }

    /// Whether numbers have moved.
    pub(super) fn has_moved(&self) -> bool {
        self.added > 0
    }

    /// A frame became `count`.
    pub(super) fn became(&mut self, count: usize) {
        self.added = self.added.saturating_add(count.saturating_sub(1) as u64);
    }
}

/// A frame as gmr-core's views write it.
pub(super) fn written(frame: &Frame<'_>, kind: ViewKind) -> String {
    let mut text = String::new();
    write_frame(frame, kind, &mut |piece| text.push_str(piece));
    text
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A question, kept.
    #[derive(Debug)]
    pub(in super::super) struct Asked {
        pub(in super::super) name: String,
        pub(in super::super) module: Result<usize, Unknown>,
        pub(in super::super) svma: u64,
        /// With a mark if it was cut.
        pub(in super::super) shown: Option<String>,
    }

    /// Gives every frame of a known module the same functions; all but the last
    /// are inlined.
    #[derive(Debug)]
    pub(in super::super) struct Fixed {
        functions: Vec<&'static str>,
        /// What some addresses have instead; what ends with `-` has no line.
        others: Vec<(u64, &'static [&'static str])>,
        pub(in super::super) asked: Vec<Asked>,
    }

    impl Fixed {
        pub(in super::super) fn answering(functions: &[&'static str]) -> Self {
            Fixed { functions: functions.to_vec(), others: Vec::new(), asked: Vec::new() }
        }

        /// Answers by the address; of others nothing is known.
        pub(in super::super) fn by_address(others: &[(u64, &'static [&'static str])]) -> Self {
            Fixed { functions: Vec::new(), others: others.to_vec(), asked: Vec::new() }
        }
    }

    impl Lookup for Fixed {
        fn look_up(
            &mut self,
            question: &Question<'_>,
            each: &mut dyn FnMut(&SourceLine<'_>),
        ) -> Known {
            let mark = |is_cut| if is_cut { "{...cut}" } else { "" };
            self.asked.push(Asked {
                name: question.name.to_owned(),
                module: question.module,
                svma: question.svma,
                shown: question.shown.map(|(name, is_cut)| format!("{name}{}", mark(is_cut))),
            });
            let other = self.others.iter().find(|other| other.0 == question.svma);
            let functions = other.map_or(&*self.functions, |other| other.1);
            if let [name] = functions
                && let Some(name) = name.strip_suffix('-')
            {
                each(&SourceLine { function: Some(name), ..SourceLine::default() });
                return Known::Name;
            }
            for (index, function) in functions.iter().enumerate() {
                each(&SourceLine {
                    function: Some(function),
                    file: Some(&format!("{function}.rs")),
                    line: u32::try_from(index + 1).ok(),
                    is_inlined: index + 1 < functions.len(),
                    ..SourceLine::default()
                });
            }
            let is_known = question.module.is_ok() && !functions.is_empty();
            if is_known { Known::Lines } else { Known::Nothing }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_and_return_addresses() {
        let mut stack = Stack::new();
        let (interrupted, call) = (Some(Pc::Interrupted), Some(Pc::Return));
        assert_eq!(stack.next(false, false), interrupted);
        assert_eq!(stack.next(false, false), call);
        assert_eq!(stack.next(false, true), interrupted);
        assert_eq!(stack.next(false, false), interrupted);
        assert_eq!(stack.next(false, false), call);
        // The innermost frame, with an inlined function in it.
        let mut stack = Stack::new();
        assert_eq!(stack.next(true, false), None);
        assert_eq!(stack.next(false, false), None);
        assert_eq!(stack.next(false, false), call);
        assert_eq!(Pc::Interrupted.lookup_address(5), 5);
        assert_eq!(Pc::Return.lookup_address(5), 4);
        assert_eq!(Pc::Return.lookup_address(0), u64::MAX);
    }

    #[test]
    fn numbers_move_on() {
        let mut stack = Stack::new();
        stack.became(0);
        stack.became(1);
        assert!(!stack.has_moved());
        stack.became(3);
        assert_eq!((stack.number(4), stack.has_moved()), (6, true));
        assert_eq!(stack.number(u64::MAX), u64::MAX);
    }
}
