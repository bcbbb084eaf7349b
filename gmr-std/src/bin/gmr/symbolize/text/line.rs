//! One line of a text report that is a frame, taken apart and written anew.

use std::borrow::Cow;

use gmr_core::ViewKind;
use gmr_core::model::{Certainty, Frame};
use gmr_std::offline::Known;

use super::super::entry::Last;
use super::super::modules::{Modules, Unknown, parse_address};
use super::super::stack::{Lookup, Question, Stack, written};

/// A longer line is no frame: names and paths have limits.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// In a line, so many places are tried as the end of a module's or file's name.
const MAX_TRIES: usize = 16;

const SIGNAL_FRAME: &str = "<signal handler called>";
/// What a line about frames that are not shown begins with.
const LEFT_OUT: &str = "… ";
const CUT: &str = "{...cut}";
const INLINED: &str = " (inlined)";

/// A frame as it stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameLine<'l> {
    /// How many columns it is moved in.
    indent: usize,
    pub(super) index: u64,
    /// What follows the number and its blanks.
    rest: &'l str,
    is_signal_frame: bool,
    pub(super) is_inlined: bool,
    pub(super) certainty: Certainty,
    /// Module and offset, if it has no file.
    place: Option<(&'l str, u64)>,
    /// File and line.
    source: Option<(&'l str, Option<u32>)>,
    /// Behind `in`.
    function: Option<(&'l str, bool)>,
    question: Option<Result<usize, Unknown>>,
}

/// A frame as it is to be written.
pub(super) struct Rewritten<'l> {
    /// What was inlined, whole lines.
    pub(super) inlined: Vec<u8>,
    /// The function itself.
    pub(super) own: Cow<'l, [u8]>,
    /// The number of the first of them, and of the last.
    pub(super) numbers: (u64, u64),
    /// File and line of the function itself are known.
    pub(super) has_line: bool,
    /// And were not in the report.
    pub(super) is_new: bool,
    pub(super) last: Last,
}

/// `… 8 runtime entry frames left out (to libc.so.6+0x1098ec)`
pub(super) struct EntryLine {
    pub(super) count: usize,
    pub(super) last: Last,
}

impl<'l> FrameLine<'l> {
    pub(super) fn parse(line: &'l [u8], modules: &Modules) -> Option<Self> {
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
            source: None,
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
        if !frame.is_left_out() {
            frame.read_place(text, modules);
        }
        Some(frame)
    }

    fn read_place(&mut self, text: &'l str, modules: &Modules) {
        let behind = if let Some((module, offset, behind)) = place(text, modules) {
            self.place = Some((module, offset));
            self.question = Some(modules.by_name(module));
            behind
        } else {
            let (place, behind) = source(text);
            self.source = place;
            behind
        };
        self.function = behind.strip_prefix(" in ").map(|name| match name.strip_suffix(CUT) {
            Some(name) => (name, true),
            None => (name, false),
        });
    }

    /// Whether it stands for frames that are not shown.
    pub(super) fn is_left_out(&self) -> bool {
        self.rest.starts_with(LEFT_OUT)
    }

    /// What it says of them.
    pub(super) fn entry(&self, modules: &Modules) -> Option<EntryLine> {
        let (count, rest) = self.rest.strip_prefix(LEFT_OUT)?.split_once(' ')?;
        let rest = rest.strip_prefix("runtime entry frame")?;
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let last = rest.strip_prefix(" left out (to ")?.strip_suffix(')')?;
        let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|_| is_number)?;
        let mut frame = *self;
        frame.read_place(last, modules);
        let last = frame.last();
        (last.module.is_some() || last.source.is_some()).then_some(EntryLine { count, last })
    }

    fn last(&self) -> Last {
        Last {
            pc: 0,
            module: self.place.map(|(module, offset)| (module.to_owned(), offset)),
            function: self.function.map(|(name, is_cut)| (name.to_owned(), is_cut)),
            source: self.source.map(|(file, line)| (file.to_owned(), line)),
            is_signal_frame: self.is_signal_frame,
        }
    }

    /// `line` is the whole one.
    pub(super) fn rewrite(
        &self,
        line: &'l [u8],
        stack: &mut Stack,
        lookup: &mut dyn Lookup,
    ) -> Rewritten<'l> {
        let pc = stack.next(self.is_inlined, self.is_signal_frame);
        let mut lines: Vec<String> = Vec::new();
        let first = stack.number(self.index);
        let mut last = self.last();
        let mut known = Known::Nothing;
        let mut has_own = false;
        if let (Some(pc), Some((name, offset)), Some(module)) = (pc, self.place, self.question) {
            let svma = pc.lookup_address(offset);
            let question = Question { name, module, svma, shown: self.function };
            known = lookup.look_up(&question, &mut |source| {
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
                has_own = !source.is_inlined;
                if has_own {
                    let name = source.function.map(str::to_owned);
                    last.function = name.map(|name| (name, source.function_truncated));
                }
            });
        }
        let content = line_content(line);
        let line_end = line.get(content.len()..).unwrap_or_default();
        let blanks = " ".repeat(self.indent);
        if known == Known::Nothing || lines.is_empty() {
            let own = if stack.has_moved() {
                let number = first.to_string();
                let gap = gap(&number);
                let mut own = format!("{blanks}#{number}{:gap$}{}", "", self.rest).into_bytes();
                own.extend_from_slice(line_end);
                Cow::Owned(own)
            } else {
                Cow::Borrowed(line)
            };
            let has_line = self.source.is_some();
            let numbers = (first, first);
            return Rewritten { inlined: Vec::new(), own, numbers, has_line, is_new: false, last };
        }
        stack.became(lines.len());
        let own = lines.pop().unwrap_or_default();
        let mut inlined = Vec::new();
        for text in &lines {
            inlined.extend_from_slice(blanks.as_bytes());
            inlined.extend_from_slice(text.as_bytes());
            // The last line of the input may have no end.
            inlined.extend_from_slice(if line_end.is_empty() { b"\n" } else { line_end });
        }
        let mut own = format!("{blanks}{own}").into_bytes();
        own.extend_from_slice(line_end);
        let has_line = known == Known::Lines && has_own;
        let numbers = (first, first.saturating_add(lines.len() as u64));
        Rewritten { inlined, own: Cow::Owned(own), numbers, has_line, is_new: has_line, last }
    }
}

/// A line without its end.
pub(super) fn line_content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line begins as a frame does.
pub(super) fn has_number(line: &[u8]) -> bool {
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

/// File and line, and what follows them. An address is neither.
fn source(text: &str) -> (Option<(&str, Option<u32>)>, &str) {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let split = |at: usize| {
        let (place, behind) = text.split_at(at);
        let (file, line) = place.rsplit_once(':').filter(|(_, line)| is_number(line))?;
        Some((Some((file, Some(line.parse().ok()?))), behind))
    };
    if text.starts_with("0x") || text.is_empty() {
        return (None, "");
    }
    let ends = text.match_indices(" in ").take(MAX_TRIES).map(|(at, _)| at);
    if let Some(found) = ends.chain([text.len()]).find_map(split) {
        return found;
    }
    // A file without a line.
    let (file, behind) = text.split_at(text.find(" in ").unwrap_or(text.len()));
    (Some((file, None)), behind)
}
