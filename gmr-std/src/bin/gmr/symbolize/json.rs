//! JSON reports: the frames in them, and the section Modules.
//!
//! 1. A stack is an array that is the member `frames` or `frames_N` of an
//!    object, wherever that is.
//! 2. A frame without a file is looked up in the module that its pc lies in;
//!    if no row of the section holds that, in the one of its name.
//! 3. `last_entry_frame` stands behind a stack whose last frames are left out; it
//!    is numbered on, and no more.
//! 4. What is found is written by gmr-core's own view, in the report's style.
//!    Members of a frame that are not known here stay, behind the others.
//!
//! White space between frames is kept as it stands before the frame that is
//! replaced.

use std::io::{self, Write};
use std::ops::Range;

use gmr_core::ViewKind;
use gmr_core::model::{Certainty, Frame};

use super::modules::{Module, Modules, parse_address, parse_build_id};
use super::scan::{Scanner, decode};
use super::stack::{Lookup, Pc, Question, Stack, written};

/// Reads the section Modules.
pub(super) fn modules(report: &[u8]) -> Option<Modules> {
    let mut sections = None;
    Scanner::new(report, 0).members(|key, value| {
        if key == b"sections" {
            sections = Some(value.start);
        }
    })?;
    let mut modules: Option<Modules> = None;
    Scanner::new(report, sections?).elements(|section| {
        let (mut is_it, mut data) = (false, None);
        Scanner::new(report, section.start).members(|key, value| match key {
            b"title" => is_it = report.get(value) == Some(b"\"Modules\""),
            b"data" => data = Some(value.start),
            _ => {}
        });
        let Some(data) = data.filter(|_| is_it) else { return };
        let modules = modules.get_or_insert_default();
        Scanner::new(report, data).members(|key, value| {
            if key == b"modules" {
                Scanner::new(report, value.start).elements(|row| {
                    module(report, row.start).into_iter().for_each(|row| modules.add(row));
                });
            }
        });
    })?;
    modules
}

fn module(report: &[u8], at: usize) -> Option<Module> {
    let (mut start, mut end, mut load_bias, mut build_id, mut path) =
        (None, None, None, None, None);
    Scanner::new(report, at).members(|key, value| {
        let text = report.get(value).and_then(decode);
        let address = || text.as_deref().and_then(parse_address);
        match key {
            b"start" => start = address(),
            b"end" => end = address(),
            b"load_bias" => load_bias = address(),
            b"build_id" => build_id = text.as_deref().and_then(parse_build_id),
            b"file" => path = text,
            _ => {}
        }
    })?;
    Some(Module { start: start?, end: end?, load_bias: load_bias?, build_id, path: path? })
}

/// Writes the report with what `lookup` knows of its frames.
pub(super) fn rewrite(
    report: &[u8],
    modules: &Modules,
    lookup: &mut dyn Lookup,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut pass = Pass { report, modules, lookup, out, copied: 0 };
    let mut scanner = Scanner::new(report, 0);
    let mut last: &[u8] = b"";
    // Of the object that the scanner is in.
    let mut stack = Stack::new();
    while let Some(token) = scanner.token() {
        match report.get(token).unwrap_or_default() {
            b":" if is_key(last, b"frames") && scanner.peek() == Some(b'[') => {
                stack = pass.stack(&mut scanner)?;
            }
            b":" if is_key(last, b"last_entry_frame") && scanner.peek() == Some(b'{') => {
                pass.entry(&mut scanner, &stack)?;
            }
            b"{" | b"}" => stack = Stack::new(),
            token => last = token,
        }
    }
    pass.copy_to(report.len())
}

/// Whether this is the key `name` or `name_N`, with its quotes.
fn is_key(token: &[u8], name: &[u8]) -> bool {
    let inner = token.strip_prefix(b"\"").and_then(|token| token.strip_suffix(b"\""));
    match inner.and_then(|inner| inner.strip_prefix(name)) {
        Some([b'_', number @ ..]) => !number.is_empty() && number.iter().all(u8::is_ascii_digit),
        Some(rest) => rest.is_empty(),
        None => false,
    }
}

struct Pass<'p> {
    report: &'p [u8],
    modules: &'p Modules,
    lookup: &'p mut dyn Lookup,
    out: &'p mut dyn Write,
    /// How much of the report is written.
    copied: usize,
}

impl Pass<'_> {
    fn copy_to(&mut self, end: usize) -> io::Result<()> {
        let bytes = self.report.get(self.copied..end).unwrap_or_default();
        self.copied = end.max(self.copied);
        self.out.write_all(bytes)
    }

    /// Takes an array of frames; of a damaged one what is whole.
    fn stack(&mut self, scanner: &mut Scanner<'_>) -> io::Result<Stack> {
        let mut stack = Stack::new();
        scanner.take(b'[');
        loop {
            let blanks = scanner.at;
            scanner.peek();
            let blanks = blanks..scanner.at;
            let Some(value) = scanner.value() else { return Ok(stack) };
            if let Some(frame) = FrameObject::parse(self.report, value.start) {
                self.frame(&frame, value, blanks, &mut stack)?;
            }
            if !scanner.take(b',') {
                return Ok(stack);
            }
        }
    }

    /// Takes the frame that a stack ends with, where others are left out.
    fn entry(&mut self, scanner: &mut Scanner<'_>, stack: &Stack) -> io::Result<()> {
        let Some(value) = scanner.value() else { return Ok(()) };
        match FrameObject::parse(self.report, value.start) {
            Some(frame) => self.renumber(&frame, stack),
            None => Ok(()),
        }
    }

    fn renumber(&mut self, frame: &FrameObject, stack: &Stack) -> io::Result<()> {
        if !stack.has_moved() {
            return Ok(());
        }
        self.copy_to(frame.index_range.start)?;
        write!(self.out, "{}", stack.number(frame.index))?;
        self.copied = frame.index_range.end;
        Ok(())
    }

    fn frame(
        &mut self,
        frame: &FrameObject,
        range: Range<usize>,
        blanks: Range<usize>,
        stack: &mut Stack,
    ) -> io::Result<()> {
        let pc = stack.next(frame.is_inlined, frame.is_signal_frame);
        let first = stack.number(frame.index);
        let objects = match pc.filter(|_| !frame.is_settled) {
            Some(pc) => self.look_up(frame, pc, first),
            None => Vec::new(),
        };
        if objects.is_empty() {
            return self.renumber(frame, stack);
        }
        stack.became(objects.len());
        self.copy_to(range.start)?;
        for (number, object) in objects.iter().enumerate() {
            if number > 0 {
                self.out.write_all(b",")?;
                self.out.write_all(self.report.get(blanks.clone()).unwrap_or_default())?;
            }
            self.out.write_all(object)?;
        }
        self.copied = range.end;
        Ok(())
    }

    /// What the frame becomes; nothing if it stays.
    fn look_up(&mut self, frame: &FrameObject, pc: Pc, first: u64) -> Vec<Vec<u8>> {
        let Some((name, offset)) = &frame.module else { return Vec::new() };
        let address = pc.lookup_address(frame.pc);
        let by_address = self.modules.by_address(address, name);
        let row = by_address.and_then(|index| Some((index, self.modules.all().get(index)?)));
        let (module, svma) = match row {
            Some((index, row)) => (Ok(index), address.wrapping_sub(row.load_bias)),
            None => (self.modules.by_name(name), pc.lookup_address(*offset)),
        };
        let shown = frame.function.as_deref().map(|function| (function, frame.function_truncated));
        let question = Question { name, module, svma, shown };
        let mut objects: Vec<Vec<u8>> = Vec::new();
        let is_known = self.lookup.look_up(&question, &mut |source| {
            let number = first.saturating_add(objects.len() as u64);
            let new = Frame {
                module: Some(name.as_bytes()),
                module_offset: *offset,
                function: source.function,
                function_truncated: source.function_truncated,
                inlined: source.is_inlined,
                file: source.file.map(str::as_bytes),
                line: source.line,
                certainty: frame.certainty,
                is_signal_frame: frame.is_signal_frame,
                ..Frame::bare(u32::try_from(number).unwrap_or(u32::MAX), frame.pc)
            };
            objects.push(written(&new, frame.style).into_bytes());
        });
        if !is_known {
            objects.clear();
        }
        if let Some(last) = objects.last_mut() {
            for other in &frame.others {
                last.pop();
                last.extend_from_slice(if frame.style == ViewKind::Json { b", " } else { b"," });
                last.extend_from_slice(self.report.get(other.clone()).unwrap_or_default());
                last.push(b'}');
            }
        }
        objects
    }
}

/// A frame as it stands in the report.
#[derive(Debug)]
struct FrameObject {
    index: u64,
    index_range: Range<usize>,
    pc: u64,
    /// Name and offset.
    module: Option<(String, u64)>,
    function: Option<String>,
    function_truncated: bool,
    /// Has a file, or is of a kind that is not known here.
    is_settled: bool,
    is_inlined: bool,
    is_signal_frame: bool,
    certainty: Certainty,
    style: ViewKind,
    /// Members that are not known here, with their keys.
    others: Vec<Range<usize>>,
}

impl FrameObject {
    fn parse(report: &[u8], at: usize) -> Option<Self> {
        let (mut index, mut pc, mut module, mut offset) = (None, None, None, None);
        let mut frame = FrameObject {
            index: 0,
            index_range: 0..0,
            pc: 0,
            module: None,
            function: None,
            function_truncated: false,
            is_settled: false,
            is_inlined: false,
            is_signal_frame: false,
            certainty: Certainty::Exact,
            style: ViewKind::Json,
            others: Vec::new(),
        };
        Scanner::new(report, at).members_with_keys(|_, key, value| {
            let bytes = report.get(value.clone()).unwrap_or_default();
            let is_true = bytes == b"true";
            match report.get(key.start + 1..key.end - 1).unwrap_or_default() {
                b"index" => index = Some(value),
                b"pc" => pc = decode(bytes),
                b"module" => module = decode(bytes),
                b"module_offset" => offset = decode(bytes),
                b"function" => frame.function = decode(bytes),
                b"function_truncated" => frame.function_truncated = is_true,
                b"file" => frame.is_settled = true,
                b"line" => {}
                b"inlined" => frame.is_inlined = is_true,
                b"signal_frame" => frame.is_signal_frame = is_true,
                b"certainty" => {
                    let all = [Certainty::Exact, Certainty::FramePointer, Certainty::Inferred];
                    let code = decode(bytes).unwrap_or_default();
                    match all.into_iter().find(|certainty| certainty.code() == code) {
                        Some(certainty) => frame.certainty = certainty,
                        None => frame.is_settled = true,
                    }
                }
                _ => frame.others.push(key.start..value.end),
            }
        })?;
        frame.index_range = index?;
        let digits = report.get(frame.index_range.clone())?;
        frame.index = std::str::from_utf8(digits).ok()?.parse().ok()?;
        frame.pc = parse_address(&pc?)?;
        frame.module = module.zip(offset.as_deref().and_then(parse_address));
        if frame.index_range.start.checked_sub(1).and_then(|at| report.get(at)) == Some(&b':') {
            frame.style = ViewKind::JsonLine;
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests;
