//! Text reports: the frames in them, and the section Modules.
//!
//! 1. A stack begins below a thread's rule (`------ … #TID … ------`, which may
//!    name several threads) with the line `#0`, and each further frame has the
//!    next number. It ends at an empty line, a heading, the next rule, or a
//!    frame out of order. Other lines in between belong to somebody else.
//! 2. A frame without file and line has `MODULE+0xOFFSET` as its place. The
//!    names of modules are known, so what they hold does not matter.
//! 3. `… N runtime entry frames left out` has a number, and is no frame.
//! 4. A stack is whole if its threads' block does not say otherwise (`stack =`),
//!    no line in parentheses follows the frames, and an empty one does. At its
//!    end the runtime's frames are left out ([`super::entry`]); lines of somebody
//!    else's between them stay.
//! 5. What is found is written by gmr-core's own view.
//!
//! Module names are compared and written as they stand, escaped.

use std::borrow::Cow;
use std::io::{self, Write};

use gmr_core::ViewKind;

use super::entry::{self, Last, Place, Tail};
use super::input::heading;
use super::modules::{Module, Modules, parse_address, parse_build_id};
use super::stack::{Lookup, Stack};

mod line;

use line::{FrameLine, has_number, line_content};

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

/// Writes the report with what `lookup` knows of its frames, and without the
/// runtime's `entry_frames` unless they are wanted.
pub(super) fn rewrite(
    report: &[u8],
    modules: &Modules,
    entry_frames: bool,
    lookup: &mut dyn Lookup,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut pass = Pass { modules, entry_frames, lookup, out, block: None };
    let mut lines = report.split_inclusive(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        pass.line(line, lines.peek().copied().unwrap_or_default())?;
    }
    pass.end_block(false)
}

struct Pass<'r, 'p> {
    modules: &'p Modules,
    entry_frames: bool,
    lookup: &'p mut dyn Lookup,
    out: &'p mut dyn Write,
    block: Option<Block<'r>>,
}

/// A thread's block, and the stack in it.
struct Block<'r> {
    /// The number of the next frame.
    expected: u64,
    stack: Stack,
    tail: Tail,
    /// Nothing says that frames are missing.
    is_whole: bool,
    /// Frames of the runtime, with what stands between them.
    held: Vec<Held<'r>>,
    last: Last,
}

/// Whole lines that are not written yet.
struct Held<'r> {
    lines: Cow<'r, [u8]>,
    /// Of the first of them; somebody else's line has none.
    number: Option<u64>,
    /// One of those that are counted.
    is_frame: bool,
    has_line: bool,
    is_new: bool,
}

impl<'r> Held<'r> {
    fn other(line: &'r [u8]) -> Self {
        let lines = Cow::Borrowed(line);
        Held { lines, number: None, is_frame: false, has_line: false, is_new: false }
    }
}

impl<'r> Pass<'r, '_> {
    fn line(&mut self, line: &'r [u8], behind: &'r [u8]) -> io::Result<()> {
        let bare = line_content(line);
        if is_thread_rule(bare) {
            self.end_block(false)?;
            self.block = Some(Block {
                expected: 0,
                stack: Stack::new(),
                tail: Tail::new(self.entry_frames),
                is_whole: true,
                held: Vec::new(),
                last: Last::default(),
            });
            return self.out.write_all(line);
        }
        let Some(block) = &mut self.block else { return self.out.write_all(line) };
        if bare.starts_with(b"====") {
            self.end_block(false)?;
        } else if bare.is_empty() && block.expected > 0 {
            let next = FrameLine::parse(line_content(behind), self.modules);
            let goes_on = next.is_some_and(|frame| frame.index == block.expected);
            self.end_block(!goes_on)?;
        } else {
            let frame = FrameLine::parse(bare, self.modules);
            if let Some(frame) = frame.filter(|frame| frame.index == block.expected) {
                return self.frame(&frame, line);
            }
            let inner = bare.trim_ascii_start();
            let mark: &[u8] = if block.expected == 0 { b"stack = " } else { b"(" };
            block.is_whole &= !inner.starts_with(mark);
            // A frame that should not be there: what follows is not certain.
            // (Before the first frame, `#10203 api-3: …` is one of the threads.)
            if block.expected > 0 && has_number(bare) {
                self.end_block(false)?;
            } else if block.tail.is_holding() && block.has_room() {
                block.held.push(Held::other(line));
                return Ok(());
            } else if !block.held.is_empty() {
                block.give_up(self.out)?;
            }
        }
        self.out.write_all(line)
    }

    fn frame(&mut self, frame: &FrameLine<'r>, line: &'r [u8]) -> io::Result<()> {
        let Some(block) = &mut self.block else { return Ok(()) };
        block.expected = block.expected.saturating_add(1);
        if frame.is_left_out() {
            return self.left_out(frame, line);
        }
        let found = frame.rewrite(line, &mut block.stack, self.lookup);
        let place = if !frame.is_inlined {
            let function = found.last.function.as_ref().map(|(name, _)| &**name);
            let module = found.last.module.as_ref().map(|(module, _)| &**module);
            block.tail.next(function, module, frame.certainty, block.held.len())
        } else if block.tail.is_holding() && block.has_room() {
            Place::Runtime
        } else {
            if block.tail.is_holding() {
                block.give_up(self.out)?;
            }
            Place::Program
        };
        if place != Place::Runtime {
            block.write_held(self.out)?;
            // Also what was inlined into the marker is the program's.
            self.out.write_all(&found.inlined)?;
        }
        let (lines, number) = match place {
            Place::Program => return self.out.write_all(&found.own),
            Place::Marker => (found.own, found.numbers.1),
            Place::Runtime if found.inlined.is_empty() => (found.own, found.numbers.0),
            Place::Runtime => {
                let lines = [&*found.inlined, &*found.own].concat();
                (Cow::Owned(lines), found.numbers.0)
            }
        };
        let (is_frame, has_line, is_new) = (!frame.is_inlined, found.has_line, found.is_new);
        block.held.push(Held { lines, number: Some(number), is_frame, has_line, is_new });
        if is_frame {
            block.last = found.last;
        }
        Ok(())
    }

    /// Takes the line that stands for frames that are not shown.
    fn left_out(&mut self, frame: &FrameLine<'r>, line: &'r [u8]) -> io::Result<()> {
        let Some(block) = &mut self.block else { return Ok(()) };
        let moved = frame.rewrite(line, &mut block.stack, self.lookup);
        // The marker was shown for want of a line, and has one now.
        let marker = block.held.first().filter(|it| {
            let mut behind = block.held.iter().skip(1);
            it.is_new && block.tail.is_holding() && behind.all(|it| it.number.is_none())
        });
        let number = marker.and_then(|marker| marker.number);
        if let (Some(number), Some(entry)) = (number, frame.entry(self.modules)) {
            let count = entry.count.saturating_add(1);
            block.write_left_out(count, number, &entry.last, self.out)?;
        } else {
            block.write_held(self.out)?;
            self.out.write_all(&moved.own)?;
        }
        block.tail.is_unknown();
        Ok(())
    }

    /// Nothing more belongs to the block. `is_end`: as its end looks.
    fn end_block(&mut self, is_end: bool) -> io::Result<()> {
        let Some(mut block) = self.block.take() else { return Ok(()) };
        let is_shown = |held: &Held<'_>| !held.has_line;
        let counted = block.held.iter().filter(|held| held.is_frame);
        // The first is the marker.
        let marker_shown = usize::from(block.held.first().is_some_and(is_shown));
        let mut count = counted.count().saturating_sub(marker_shown);
        let last_frame = block.held.iter().rfind(|held| held.number.is_some());
        let is_end = is_end && last_frame.is_some_and(|held| held.is_frame);
        if !is_end || !block.is_whole || !block.tail.is_holding() {
            count = 0;
        }
        if count == 0 {
            return block.write_held(self.out);
        }
        if marker_shown > 0 {
            let marker = block.held.remove(0);
            self.out.write_all(&marker.lines)?;
        }
        let number = block.held.iter().find_map(|held| held.number).unwrap_or_default();
        let last = std::mem::take(&mut block.last);
        block.write_left_out(count, number, &last, self.out)
    }
}

impl Block<'_> {
    fn has_room(&self) -> bool {
        self.held.len() < entry::MAX_HELD
    }

    /// Leaves nothing out of this stack.
    fn give_up(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.tail.is_unknown();
        self.write_held(out)
    }

    fn write_held(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.held.drain(..).try_for_each(|held| out.write_all(&held.lines))
    }

    /// Writes one line for what is held, where the first of it stands.
    fn write_left_out(
        &mut self,
        count: usize,
        number: u64,
        last: &Last,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut is_written = false;
        for held in self.held.drain(..) {
            if held.number.is_none() {
                out.write_all(&held.lines)?;
            } else if !is_written {
                is_written = true;
                let lines = &*held.lines;
                let indent = lines.iter().take_while(|&&byte| byte == b' ').count();
                let line_end = lines.get(line_content(lines).len()..).unwrap_or_default();
                let text = entry::written(count, number, last, ViewKind::Text, "");
                write!(out, "{:indent$}{text}", "")?;
                out.write_all(line_end)?;
            }
        }
        Ok(())
    }
}

/// `------   Thread #10181 tokio-rt-worker   ------`
fn is_thread_rule(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    line.starts_with(b"------ ") && line.ends_with(b" ------") && line.contains(&b'#')
}

#[cfg(test)]
mod tests;
