//! For the fuzz target: an answer for every frame, whatever its module.

use gmr_core::hosted::SourceLine;
use gmr_std::offline::Known;

use super::input::{Piece, each_piece};
use super::stack::{Lookup, Question};
use super::{read_modules, rewrite};

/// The source file of all of them.
pub(crate) const FILE: &str = "a b.rs";

#[derive(Default)]
struct Every {
    asked: usize,
}

impl Lookup for Every {
    fn look_up(&mut self, question: &Question<'_>, each: &mut dyn FnMut(&SourceLine<'_>)) -> Known {
        self.asked += 1;
        let (function, function_truncated) = question.shown.unwrap_or(("a::b", true));
        for is_inlined in [true, false] {
            each(&SourceLine {
                function: Some(function),
                function_truncated,
                file: Some(FILE),
                line: Some(7),
                is_inlined,
            });
        }
        Known::Lines
    }
}

/// The input with every frame resolved, and how many there were; the runtime's
/// `entry_frames` kept or not.
pub(crate) fn resolved(input: &[u8], entry_frames: bool) -> (Vec<u8>, usize) {
    let (mut out, mut every) = (Vec::new(), Every::default());
    each_piece(&mut &*input, &mut |piece| {
        match piece {
            Piece::Other(bytes) | Piece::TooLong(bytes) => out.extend_from_slice(bytes),
            Piece::Report(form, bytes) => {
                let modules = read_modules(form, bytes).unwrap_or_default();
                rewrite(form, bytes, &modules, entry_frames, &mut every, &mut out)?;
            }
        }
        Ok(())
    })
    .expect("memory takes all");
    (out, every.asked)
}
