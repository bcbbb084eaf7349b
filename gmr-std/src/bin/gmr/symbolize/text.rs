//! Text reports: the frames in them, and the section Modules.
//!
//! 1. A stack begins below a thread's rule (`------ … #TID … ------`, which may
//!    name several threads) with the line `#0`, and each further frame has the
//!    next number. It ends at an empty line, a heading, the next rule, or a
//!    frame out of order. Other lines in between belong to somebody else.
//! 2. A frame without file and line has `MODULE+0xOFFSET` as its place. The
//!    names of modules are known, so what they hold does not matter.
//! 3. `… N runtime entry frames left out` has a number, and is no frame.
//! 4. What is found is written by gmr-core's own view.
//!
//! Module names are compared and written as they stand, escaped.

use std::io::{self, Write};

use gmr_core::ViewKind;
use gmr_core::model::{Certainty, Frame};

use super::input::heading;
use super::modules::{Module, Modules, parse_address, parse_build_id};
use super::stack::{Lookup, Question, Stack, written};

/// A longer line is no frame: names and paths have limits.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// In a line, so many `+0x` are tried as the end of a module's name.
const MAX_TRIES: usize = 16;

const SIGNAL_FRAME: &str = "<signal handler called>";
/// What a line about frames that are not shown begins with.
const LEFT_OUT: &str = "… ";
const CUT: &str = "{...cut}";
const INLINED: &str = " (inlined)";

/// Reads the section Modules.
pub(super) fn modules(report: &[u8]) -> Option<Modules> {
    let mut modules: Option<Modules> = None;
    let mut is_inside = false;
    let mut has_head = false;
    for line in report.split(|&byte| byte == b'\n') {
        if line.starts_with(b"====") {
            if let Some(title) = heading(line) {
                is_inside = title == "Modules";
                has_head = false;
            }
        } else if is_inside && let Ok(line) = std::str::from_utf8(line) {
            let modules = modules.get_or_insert_default();
            let mut names = line.split_whitespace();
            if ["start", "end", "load_bias", "build_id", "file"].map(Some)
                == [(); 5].map(|()| names.next())
            {
                has_head = true;
            } else if has_head && let Some(module) = row(line) {
                modules.add(module);
            }
        }
    }
    modules
}

/// One row of the table. The last cell may hold blanks.
fn row(line: &str) -> Option<Module> {
    let mut rest = line.trim_end_matches('\r');
    let mut cell = || {
        rest = rest.trim_start_matches(' ');
        let (cell, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let before = rest;
        rest = behind;
        (cell, before)
    };
    let start = parse_address(cell().0)?;
    let end = parse_address(cell().0)?;
    let load_bias = parse_address(cell().0)?;
    let (build_id, before) = cell();
    // An empty cell leaves no mark.
    let path = match build_id.starts_with(['/', '[']) {
        true => before,
        false => rest.trim_start_matches(' '),
    };
    let module =
        Module { start, end, load_bias, build_id: parse_build_id(build_id), path: path.to_owned() };
    (!path.is_empty()).then_some(module)
}

/// Writes the report with what `lookup` knows of its frames.
pub(super) fn rewrite(
    report: &[u8],
    modules: &Modules,
    lookup: &mut dyn Lookup,
    out: &mut dyn Write,
) -> io::Result<()> {
    // The number of the next frame, while in a thread's block.
    let mut expected: Option<u64> = None;
    let mut stack = Stack::new();
    for line in report.split_inclusive(|&byte| byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        if is_thread_rule(bare) {
            expected = Some(0);
            stack = Stack::new();
        } else if bare.starts_with(b"====") || (bare.is_empty() && expected > Some(0)) {
            expected = None;
        } else if let Some(number) = expected {
            let frame = FrameLine::parse(bare, modules).filter(|frame| frame.index == number);
            if let Some(frame) = frame {
                expected = number.checked_add(1);
                frame.rewrite(line, &mut stack, lookup, out)?;
                continue;
            }
            // A frame that should not be there: what follows is not certain.
            // (Before the first frame, `#10203 api-3: …` is one of the threads.)
            if number > 0 && has_number(bare) {
                expected = None;
            }
        }
        out.write_all(line)?;
    }
    Ok(())
}

/// `------   Thread #10181 tokio-rt-worker   ------`
fn is_thread_rule(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    line.starts_with(b"------ ") && line.ends_with(b" ------") && line.contains(&b'#')
}

/// A frame as it stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameLine<'l> {
    /// How many columns it is moved in.
    indent: usize,
    index: u64,
    /// What follows the number and its blanks.
    rest: &'l str,
    is_signal_frame: bool,
    is_inlined: bool,
    certainty: Certainty,
    /// Module and offset, if it has no file.
    place: Option<(&'l str, u64)>,
    /// Behind `in`, if there is a place.
    function: Option<(&'l str, bool)>,
    question: Option<Result<usize, super::modules::Unknown>>,
}

impl<'l> FrameLine<'l> {
    fn parse(line: &'l [u8], modules: &Modules) -> Option<Self> {
        if line.len() > MAX_LINE_BYTES {
            return None;
        }
        let line = std::str::from_utf8(line).ok()?;
        let inner = line.trim_start_matches(' ');
        let (index, rest) = inner.strip_prefix('#')?.split_once(' ')?;
        // A name may begin with blanks of its own.
        let rest = (1..gap(index)).try_fold(rest, |rest, _| rest.strip_prefix(' '))?;
        let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        let mut frame = FrameLine {
            indent: line.len() - inner.len(),
            index: index.parse().ok().filter(|_| is_number)?,
            rest,
            is_signal_frame: false,
            is_inlined: false,
            certainty: Certainty::Exact,
            place: None,
            function: None,
            question: None,
        };
        let mut text = frame.rest;
        for (mark, certainty) in
            [(" [frame pointer]", Certainty::FramePointer), (" [inferred]", Certainty::Inferred)]
        {
            if let Some(before) = text.strip_suffix(mark) {
                (text, frame.certainty) = (before, certainty);
                break;
            }
        }
        if let Some(before) = text.strip_suffix(INLINED) {
            (text, frame.is_inlined) = (before, true);
        }
        if let Some(behind) = text.strip_prefix(SIGNAL_FRAME) {
            frame.is_signal_frame = true;
            text = behind.strip_prefix(" at ").unwrap_or("");
        }
        if !frame.rest.starts_with(LEFT_OUT)
            && let Some((module, offset, behind)) = place(text, modules)
        {
            frame.place = Some((module, offset));
            frame.question = Some(modules.by_name(module));
            frame.function = behind.strip_prefix(" in ").map(|name| match name.strip_suffix(CUT) {
                Some(name) => (name, true),
                None => (name, false),
            });
        }
        Some(frame)
    }

    fn rewrite(
        &self,
        line: &[u8],
        stack: &mut Stack,
        lookup: &mut dyn Lookup,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let pc = stack.next(self.is_inlined, self.is_signal_frame);
        let mut lines: Vec<String> = Vec::new();
        let first = stack.number(self.index);
        if let (Some(pc), Some((name, offset)), Some(module)) = (pc, self.place, self.question) {
            let svma = pc.lookup_address(offset);
            let question = Question { name, module, svma, shown: self.function };
            let is_known = lookup.look_up(&question, &mut |source| {
                let number = first.saturating_add(lines.len() as u64);
                let frame = Frame {
                    module: Some(name.as_bytes()),
                    module_offset: offset,
                    function: source.function,
                    function_truncated: source.function_truncated,
                    inlined: source.is_inlined,
                    file: source.file.map(str::as_bytes),
                    line: source.line,
                    certainty: self.certainty,
                    is_signal_frame: self.is_signal_frame,
                    ..Frame::bare(u32::try_from(number).unwrap_or(u32::MAX), 0)
                };
                lines.push(written(&frame, ViewKind::Text));
            });
            if !is_known {
                lines.clear();
            }
        }
        let blanks = " ".repeat(self.indent);
        let end = line.get(self.indent..).unwrap_or_default();
        let end =
            end.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        let line_end = line.get(self.indent + end..).unwrap_or_default();
        if lines.is_empty() {
            if !stack.has_moved() {
                return out.write_all(line);
            }
            let number = first.to_string();
            let gap = gap(&number);
            write!(out, "{blanks}#{number}{:gap$}{}", "", self.rest)?;
            return out.write_all(line_end);
        }
        stack.became(lines.len());
        let last = lines.len() - 1;
        for (index, text) in lines.iter().enumerate() {
            write!(out, "{blanks}{text}")?;
            // The last line of the input may have no end.
            out.write_all(if index < last && line_end.is_empty() { b"\n" } else { line_end })?;
        }
        Ok(())
    }
}

/// Whether a line begins as a frame does.
fn has_number(line: &[u8]) -> bool {
    let number = line.trim_ascii_start().strip_prefix(b"#");
    number.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

/// How many blanks follow the number of a frame.
fn gap(number: &str) -> usize {
    3_usize.saturating_sub(number.len()).max(1)
}

/// Module, offset, and what follows them.
fn place<'l>(text: &'l str, modules: &Modules) -> Option<(&'l str, u64, &'l str)> {
    let mut unknown = None;
    for (at, _) in text.match_indices("+0x").take(MAX_TRIES) {
        let (name, behind) = text.split_at(at);
        let digits = behind[3..].bytes().take_while(u8::is_ascii_hexdigit).count();
        let (offset, behind) = behind[1..].split_at(2 + digits);
        let is_end = behind.is_empty() || behind.starts_with(" in ");
        let Some(offset) = parse_address(offset).filter(|_| is_end && !name.is_empty()) else {
            continue;
        };
        if modules.has_name(name) {
            return Some((name, offset, behind));
        }
        if unknown.is_none() && !name.contains(" in ") {
            unknown = Some((name, offset, behind));
        }
    }
    unknown
}

#[cfg(test)]
mod tests;
