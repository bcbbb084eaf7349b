//! JSON reports: the frames in them, and the section Modules.
//!
//! 1. A stack is an array that is the member `frames` or `frames_N` of an
//!    object, wherever that is.
//! 2. A frame without a file is looked up in the module that its pc lies in;
//!    if no row of the section holds that, in the one of its name.
//! 3. The runtime's frames at the end of a stack are left out ([`super::entry`]), if
//!    `capture` and `stack_end` before it say that it is whole.
//! 4. `last_entry_frame` stands behind a stack whose last frames are left out
//!    already; it is numbered on.
//! 5. What is found is written by gmr-core's own view, in the report's style.
//!    Members of a frame that are not known here stay, behind the others; those
//!    of a frame that is left out go with it.
//!
//! White space between frames is kept as it stands before the frame that is
//! replaced.

use std::io::{self, Write};
use std::ops::Range;

use gmr_core::ViewKind;
use gmr_core::model::{Capture, Frame, StackEnd};
use gmr_std::offline::Known;

use super::entry::{self, Last, Place, Tail};
use super::modules::{Module, Modules, parse_address, parse_build_id};
use super::scan::{Scanner, decode};
use super::stack::{Lookup, Pc, Question, Stack, written};

mod object;

use object::{EntryMembers, FrameObject};

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

/// Writes the report with what `lookup` knows of its frames, and without the
/// runtime's `entry_frames` unless they are wanted.
pub(super) fn rewrite(
    report: &[u8],
    modules: &Modules,
    entry_frames: bool,
    lookup: &mut dyn Lookup,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut pass = Pass { report, modules, entry_frames, lookup, out, copied: 0 };
    let mut scanner = Scanner::new(report, 0);
    let mut last: &[u8] = b"";
    let mut objects = Objects::default();
    // The white space before the last token, and the token's end.
    let (mut blanks, mut end) = (0..0, 0);
    // Of the object that the scanner is in.
    let mut stack = Stack::new();
    while let Some(token) = scanner.token() {
        let token_range = token.clone();
        match report.get(token).unwrap_or_default() {
            b":" if is_key(last, b"frames") && scanner.peek() == Some(b'[') => {
                // A further array is nobody's stack alone.
                let is_whole = objects.is_whole() && last == b"\"frames\"";
                stack = pass.stack(&mut scanner, is_whole, blanks.clone())?;
            }
            b":" if is_key(last, b"last_entry_frame") && scanner.peek() == Some(b'{') => {
                pass.entry(&mut scanner, &stack)?;
            }
            b":" => objects.member(last, scanner),
            bracket @ (b"{" | b"}") => {
                stack = Stack::new();
                objects.bracket(bracket == b"{");
            }
            token => last = token,
        }
        blanks = end..token_range.start;
        end = scanner.at;
    }
    pass.copy_to(report.len())
}

/// What the objects that are open say of the stack in them.
#[derive(Default)]
struct Objects {
    open: Vec<StackFacts>,
    /// Beyond [`MAX_DEPTH`].
    deeper: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct StackFacts {
    is_ok: bool,
    is_complete: bool,
}

/// Objects in one another. A thread's is the third.
const MAX_DEPTH: usize = 64;

impl Objects {
    fn bracket(&mut self, opens: bool) {
        if opens && self.open.len() < MAX_DEPTH {
            self.open.push(StackFacts::default());
        } else if opens {
            self.deeper += 1;
        } else if self.deeper > 0 {
            self.deeper -= 1;
        } else {
            self.open.pop();
        }
    }

    /// The member of this key, whose value is ahead.
    fn member(&mut self, key: &[u8], scanner: Scanner<'_>) {
        let Some(facts) = self.open.last_mut().filter(|_| self.deeper == 0) else { return };
        let is = |code: &str| {
            let value = scanner.string_ahead().and_then(|value| value.strip_prefix(b"\""));
            value.and_then(|value| value.strip_suffix(b"\"")) == Some(code.as_bytes())
        };
        match key {
            b"\"capture\"" => facts.is_ok = is(Capture::Ok.code()),
            b"\"stack_end\"" => facts.is_complete = is(StackEnd::Complete.code()),
            _ => {}
        }
    }

    fn is_whole(&self) -> bool {
        self.deeper == 0 && self.open.last().is_some_and(|it| it.is_ok && it.is_complete)
    }
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
    entry_frames: bool,
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

    /// Takes an array of frames; of a damaged one what is whole. `blanks` are
    /// before its key.
    fn stack(
        &mut self,
        scanner: &mut Scanner<'_>,
        is_whole: bool,
        blanks: Range<usize>,
    ) -> io::Result<Stack> {
        let mut stack = Stack::new();
        let mut tail = Tail::new(self.entry_frames);
        let mut held: Vec<Held> = Vec::new();
        scanner.take(b'[');
        let mut before = scanner.at;
        loop {
            let blanks = scanner.at;
            scanner.peek();
            let blanks = blanks..scanner.at;
            let Some(range) = scanner.value() else { break };
            let behind = range.end;
            if let Some(frame) = FrameObject::parse(self.report, range.start) {
                let frame = self.look_up(frame, &mut stack);
                let next = Held { frame, range, blanks, before };
                self.frame(next, &mut tail, &mut held)?;
            } else {
                tail.is_unknown();
                self.write_held(&mut held)?;
            }
            before = behind;
            if !scanner.take(b',') {
                break;
            }
        }
        if tail.is_holding() && scanner.peek() == Some(b']') {
            let behind = scanner.at + 1;
            let entry = EntryMembers::parse(self.report, behind);
            if let Some(entry) = &entry
                && let [marker] = &*held
                && marker.frame.is_new
            {
                // The marker was shown for want of a line, and has one now.
                self.count_marker(marker, entry)?;
                scanner.at = entry.end;
                return Ok(stack);
            }
            if entry.is_none() && is_whole && self.leave_out(&held, behind, blanks)? {
                scanner.at = behind;
                return Ok(stack);
            }
        }
        self.write_held(&mut held)?;
        Ok(stack)
    }

    fn frame(&mut self, next: Held, tail: &mut Tail, held: &mut Vec<Held>) -> io::Result<()> {
        let object = &next.frame.object;
        let place = if !object.is_inlined {
            let function = next.frame.function.as_ref().map(|(name, _)| &**name);
            let module = object.module.as_ref().map(|(module, _)| &**module);
            tail.next(function, module, object.certainty, held.len())
        } else if tail.is_holding() && held.len() < entry::MAX_HELD {
            Place::Runtime
        } else {
            if tail.is_holding() {
                tail.is_unknown();
            }
            Place::Program
        };
        if place != Place::Runtime {
            self.write_held(held)?;
        }
        if place == Place::Program {
            return self.write_frame(&next);
        }
        held.push(next);
        Ok(())
    }

    fn write_held(&mut self, held: &mut Vec<Held>) -> io::Result<()> {
        held.drain(..).try_for_each(|held| self.write_frame(&held))
    }

    fn write_frame(&mut self, held: &Held) -> io::Result<()> {
        match held.frame.objects.is_empty() {
            true => self.renumber(&held.frame.object, held.frame.number),
            false => self.write_objects(held, &held.frame.objects),
        }
    }

    /// Writes these in place of a frame.
    fn write_objects(&mut self, held: &Held, objects: &[Vec<u8>]) -> io::Result<()> {
        // Nothing in its place: nor what parts it from those before it.
        self.copy_to(if objects.is_empty() { held.before } else { held.range.start })?;
        for (number, object) in objects.iter().enumerate() {
            if number > 0 {
                self.out.write_all(b",")?;
                self.out.write_all(self.report.get(held.blanks.clone()).unwrap_or_default())?;
            }
            self.out.write_all(object)?;
        }
        self.copied = held.range.end;
        Ok(())
    }

    /// Writes what was inlined into the marker, which is the program's. Returns
    /// the number of the marker itself.
    fn write_inlined(&mut self, marker: &Held) -> io::Result<u64> {
        let inlined = marker.frame.objects.split_last().map_or(&[][..], |(_, inlined)| inlined);
        self.write_objects(marker, inlined)?;
        Ok(marker.frame.number.saturating_add(inlined.len() as u64))
    }

    /// Leaves out what is held, from the marker to the end of the array.
    /// Returns whether there was something to leave out.
    fn leave_out(
        &mut self,
        held: &[Held],
        behind: usize,
        blanks: Range<usize>,
    ) -> io::Result<bool> {
        let (Some((marker, rest)), Some(last)) = (held.split_first(), held.last()) else {
            return Ok(false);
        };
        let outwards = rest.iter().filter(|held| !held.frame.object.is_inlined).count();
        // What is inlined belongs to a frame that follows.
        if last.frame.object.is_inlined || (outwards == 0 && !marker.frame.has_line) {
            return Ok(false);
        }
        let number = if marker.frame.has_line {
            self.write_inlined(marker)?
        } else {
            self.write_frame(marker)?;
            self.copy_to(marker.range.end)?;
            rest.first().map_or(0, |next| next.frame.number)
        };
        let count = outwards + usize::from(marker.frame.has_line);
        self.copied = last.range.end;
        self.copy_to(behind)?;
        let blanks = self.report.get(blanks).unwrap_or_default();
        let between = format!(",{}", String::from_utf8_lossy(blanks));
        let object = &last.frame.object;
        let frame = Last {
            pc: object.pc,
            module: object.module.clone(),
            function: last.frame.function.clone(),
            source: None,
            is_signal_frame: object.is_signal_frame,
        };
        self.out.write_all(between.as_bytes())?;
        let members = entry::written(count, number, &frame, object.style, &between);
        self.out.write_all(members.as_bytes())?;
        Ok(true)
    }

    /// Adds the marker to those that are left out already.
    fn count_marker(&mut self, marker: &Held, entry: &EntryMembers) -> io::Result<()> {
        let number = self.write_inlined(marker)?;
        self.copy_to(entry.count_range.start)?;
        write!(self.out, "{}", entry.count.saturating_add(1))?;
        self.copied = entry.count_range.end;
        self.renumber(&entry.last, number)
    }

    /// Takes the frame that a stack ends with, where others are left out.
    fn entry(&mut self, scanner: &mut Scanner<'_>, stack: &Stack) -> io::Result<()> {
        let Some(value) = scanner.value() else { return Ok(()) };
        match FrameObject::parse(self.report, value.start) {
            Some(frame) => self.renumber(&frame, stack.number(frame.index)),
            None => Ok(()),
        }
    }

    fn renumber(&mut self, frame: &FrameObject, number: u64) -> io::Result<()> {
        if number == frame.index {
            return Ok(());
        }
        self.copy_to(frame.index_range.start)?;
        write!(self.out, "{number}")?;
        self.copied = frame.index_range.end;
        Ok(())
    }

    /// What the frame becomes.
    fn look_up(&mut self, object: FrameObject, stack: &mut Stack) -> Rewritten {
        let pc = stack.next(object.is_inlined, object.is_signal_frame);
        let number = stack.number(object.index);
        let mut new = Rewritten {
            function: object.function.clone().map(|name| (name, object.function_truncated)),
            has_line: object.has_file,
            is_new: false,
            objects: Vec::new(),
            number,
            object,
        };
        if let Some(pc) = pc.filter(|_| !new.object.is_settled) {
            self.ask(&mut new, pc);
        }
        if !new.objects.is_empty() {
            stack.became(new.objects.len());
        }
        new
    }

    fn ask(&mut self, new: &mut Rewritten, pc: Pc) {
        let frame = &new.object;
        let Some((name, offset)) = &frame.module else { return };
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
        let mut own = None;
        let known = self.lookup.look_up(&question, &mut |source| {
            let number = new.number.saturating_add(objects.len() as u64);
            let line = Frame {
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
            objects.push(written(&line, frame.style).into_bytes());
            let name = source.function.map(str::to_owned);
            own = (!source.is_inlined).then_some(name.map(|it| (it, source.function_truncated)));
        });
        if known == Known::Nothing {
            return;
        }
        if let Some(last) = objects.last_mut() {
            for other in &frame.others {
                last.pop();
                last.extend_from_slice(if frame.style == ViewKind::Json { b", " } else { b"," });
                last.extend_from_slice(self.report.get(other.clone()).unwrap_or_default());
                last.push(b'}');
            }
        }
        new.objects = objects;
        new.is_new = known == Known::Lines && own.is_some();
        new.has_line = new.is_new;
        if let Some(own) = own {
            new.function = own;
        }
    }
}

/// A frame with what it becomes.
struct Rewritten {
    object: FrameObject,
    /// Nothing if it stays.
    objects: Vec<Vec<u8>>,
    /// Of the first of them.
    number: u64,
    function: Option<(String, bool)>,
    /// File and line of the function itself are known.
    has_line: bool,
    /// And were not in the report.
    is_new: bool,
}

/// A frame that is not written yet.
struct Held {
    frame: Rewritten,
    range: Range<usize>,
    /// Before it.
    blanks: Range<usize>,
    /// Where the element before it ends.
    before: usize,
}

#[cfg(test)]
mod tests;
