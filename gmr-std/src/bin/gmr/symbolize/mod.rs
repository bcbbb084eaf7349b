//! `gmr symbolize`: gives the frames of a report their functions, files and
//! lines, on any machine that has the debug files.
//!
//! 1. [`input`] cuts reports out of what is read; all else is written as it is.
//! 2. A report is read twice by [`text`] or [`json`]: first to learn which
//!    addresses are wanted, then to be written with what was found.
//! 3. [`modules`] knows which file a frame's code came from, by the report's
//!    own section Modules.
//! 4. [`find`] finds that file or its debug file, by its build-id alone, and
//!    has gmr-std look the addresses up, as the process itself would have.
//! 5. The runtime's frames at the end of a stack, which have names now, are left
//!    out ([`entry`]).
//! 6. What is left as it was is said ([`notes`]), with what to do.
//!
//! Reports are believed in nothing: they are text from a log. Limits:
//! [`input::MAX_REPORT_BYTES`], [`modules::MAX_MODULES`], [`MAX_ADDRESSES`].

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use gmr_core::hosted::SourceLine;
use gmr_std::offline::{Found, Known};

mod entry;
mod find;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod input;
mod json;
mod modules;
mod notes;
mod scan;
mod stack;
mod text;

pub(crate) use find::Places;

use find::Files;
use input::{Form, Piece, each_piece};
use modules::{Module, Modules};
use notes::Notes;
use stack::{Lookup, Question};

/// Distinct addresses that are looked up for a report. gmr-core names 12 Ki.
const MAX_ADDRESSES: usize = 256 * 1024;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) reports: usize,
    /// Frames that were left though a file could have told more.
    pub(crate) left: usize,
}

impl Outcome {
    fn exit_code(self) -> u8 {
        match self {
            Outcome { reports: 0, .. } => 2,
            Outcome { left: 0, .. } => 0,
            _ => 1,
        }
    }
}

/// What a report leaves out unless it is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown {
    /// Long generic arguments in names.
    pub(crate) full_names: bool,
    /// The runtime's frames at the end of a stack.
    pub(crate) entry_frames: bool,
}

/// The command: exit code.
pub(crate) fn run(report: &Path, debug_dirs: Vec<PathBuf>, shown: Shown) -> u8 {
    if let Some(dir) = debug_dirs.iter().find(|dir| !dir.is_dir()) {
        eprintln!("gmr: {}: not a directory", dir.display());
        return 2;
    }
    let mut input: Box<dyn BufRead> = if report == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        match File::open(report) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => {
                eprintln!("gmr: {}: {error}", report.display());
                return 2;
            }
        }
    };
    let places = Places { dirs: debug_dirs, this_machine: true, full_names: shown.full_names };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut say = |text: &str| eprintln!("{text}");
    let outcome = symbolize(&mut *input, &mut out, &places, shown.entry_frames, &mut say)
        .and_then(|outcome| out.flush().map(|()| outcome));
    match outcome {
        Ok(outcome) => {
            if outcome.reports == 0 {
                eprintln!("gmr: {}: no report in it", report.display());
            }
            outcome.exit_code()
        }
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 2,
        Err(error) => {
            eprintln!("gmr: from {} to standard output: {error}", report.display());
            2
        }
    }
}

/// Copies `input` to `out` with its frames resolved, as far as the files at
/// `places` allow, and without the runtime's `entry_frames` unless they are
/// wanted; `say` gets a line for each thing that is to be known.
pub(crate) fn symbolize(
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    places: &Places,
    entry_frames: bool,
    say: &mut dyn FnMut(&str),
) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut notes = Notes::new(say);
    each_piece(input, &mut |piece| match piece {
        Piece::Other(bytes) => out.write_all(bytes),
        Piece::TooLong(bytes) => {
            outcome.reports += 1;
            outcome.left += 1;
            notes.too_long(outcome.reports);
            out.write_all(bytes)
        }
        Piece::Report(form, bytes) => {
            outcome.reports += 1;
            notes.report = outcome.reports;
            outcome.left += symbolize_report(form, bytes, out, places, entry_frames, &mut notes)?;
            Ok(())
        }
    })?;
    Ok(outcome)
}

/// Returns how many frames were left.
fn symbolize_report(
    form: Form,
    report: &[u8],
    out: &mut dyn Write,
    places: &Places,
    entry_frames: bool,
    notes: &mut Notes<'_>,
) -> io::Result<usize> {
    let listed = read_modules(form, report);
    let has_section = listed.is_some();
    let modules = listed.unwrap_or_default();
    let mut wanted = Wanted::new(modules.all().len());
    rewrite(form, report, &modules, entry_frames, &mut wanted, &mut io::sink())?;
    let answers =
        wanted.svmas.iter().zip(modules.all()).map(|(svmas, module)| {
            (!svmas.is_empty()).then(|| Answer::find(module, svmas, places))
        });
    let mut answers =
        Answers { modules: answers.collect(), unknown: Vec::new(), unknown_frames: 0 };
    rewrite(form, report, &modules, entry_frames, &mut answers, out)?;

    if modules.left_out > 0 {
        notes.modules_left_out(modules.left_out);
    }
    if wanted.left_out > 0 {
        notes.addresses_left_out(wanted.left_out);
    }
    let mut left = answers.unknown_frames;
    if has_section {
        answers.unknown.iter().for_each(|(name, why)| notes.unknown_module(name, *why));
    } else if left > 0 {
        notes.no_section();
    }
    for (answer, module) in answers.modules.iter().zip(modules.all()) {
        let Some(answer) = answer else { continue };
        left += answer.left(module);
        notes.module(module, answer, places);
    }
    Ok(left)
}

fn read_modules(form: Form, report: &[u8]) -> Option<Modules> {
    match form {
        Form::Text => text::modules(report),
        Form::Json => json::modules(report),
    }
}

fn rewrite(
    form: Form,
    report: &[u8],
    modules: &Modules,
    entry_frames: bool,
    lookup: &mut dyn Lookup,
    out: &mut dyn Write,
) -> io::Result<()> {
    match form {
        Form::Text => text::rewrite(report, modules, entry_frames, lookup, out),
        Form::Json => json::rewrite(report, modules, entry_frames, lookup, out),
    }
}

/// Collects what is asked, and answers nothing.
struct Wanted {
    /// For each module.
    svmas: Vec<HashSet<u64>>,
    count: usize,
    left_out: usize,
}

impl Wanted {
    fn new(modules: usize) -> Self {
        Wanted { svmas: vec![HashSet::new(); modules], count: 0, left_out: 0 }
    }
}

impl Lookup for Wanted {
    fn look_up(&mut self, question: &Question<'_>, _: &mut dyn FnMut(&SourceLine<'_>)) -> Known {
        if let Ok(module) = question.module
            && let Some(svmas) = self.svmas.get_mut(module)
            && !svmas.contains(&question.svma)
        {
            if self.count < MAX_ADDRESSES {
                svmas.insert(question.svma);
                self.count += 1;
            } else {
                self.left_out += 1;
            }
        }
        Known::Nothing
    }
}

/// What was found for a module.
struct Answer {
    files: Files,
    found: Found,
    /// Frames that were asked for.
    asked: usize,
    /// Those that have neither name nor line now.
    nameless: usize,
}

impl Answer {
    fn find(module: &Module, svmas: &HashSet<u64>, places: &Places) -> Self {
        let files = places.find(module);
        let mut sorted: Vec<u64> = svmas.iter().copied().collect();
        sorted.sort_unstable();
        let found = places.look_up(module, &files, &sorted);
        Answer { files, found, asked: 0, nameless: 0 }
    }

    /// Frames that a file could have told more about.
    fn left(&self, module: &Module) -> usize {
        match self.files.is_empty() {
            true if find::is_file(module) => self.asked,
            true => 0,
            false => self.nameless,
        }
    }
}

/// Answers from what was found.
struct Answers {
    modules: Vec<Option<Answer>>,
    /// Names that say of no module which it is, the first few.
    unknown: Vec<(String, modules::Unknown)>,
    unknown_frames: usize,
}

impl Lookup for Answers {
    fn look_up(&mut self, question: &Question<'_>, each: &mut dyn FnMut(&SourceLine<'_>)) -> Known {
        let module = match question.module {
            Ok(module) => module,
            Err(why) => {
                self.unknown_frames += 1;
                let is_said = self.unknown.iter().any(|(name, _)| name == question.name);
                if !is_said && self.unknown.len() < notes::MAX_NAMES {
                    self.unknown.push((question.name.to_owned(), why));
                }
                return Known::Nothing;
            }
        };
        let Some(answer) = self.modules.get_mut(module).and_then(Option::as_mut) else {
            return Known::Nothing;
        };
        answer.asked += 1;
        let known = answer.found.lines(question.svma, question.shown, each);
        if known == Known::Nothing && question.shown.is_none() {
            answer.nameless += 1;
        }
        known
    }
}
