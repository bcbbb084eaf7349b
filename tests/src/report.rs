//! Reports as tests see them: one form for text and JSON.

mod json;
mod text;

use core::fmt::Write as _;

/// The section that ends a report.
const MODULES: &str = "Modules";

/// Everything that a destination got.
#[derive(Debug, Default)]
pub struct Stream {
    /// Reports with an end line, also those that were abandoned.
    pub reports: Vec<Report>,
    /// JSON that was cut off by a takeover or a destination.
    pub broken: Vec<String>,
    /// Lines of text between reports.
    pub outside: Vec<String>,
}

/// One report.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its number.
    pub sequence: u64,
    /// Whether it says it is complete.
    pub is_complete: bool,
    /// Why not.
    pub reasons: String,
    /// `key = value` of the head; groups as `group.key`.
    pub head: Vec<(String, String)>,
    /// What is abnormal.
    pub findings: Vec<String>,
    /// The sections.
    pub sections: Vec<Section>,
    /// The threads of the Threads section, each with its stack, also those that
    /// are shown as one block.
    pub threads: Vec<Thread>,
    /// How many threads are counted in blocks and not listed there.
    pub members_left_out: u64,
    /// `key = value` of the end block.
    pub end: Vec<(String, String)>,
    /// How the sections went, as the end block says it.
    pub outcomes: Vec<Outcome>,
    /// Everything as it was written.
    pub raw: String,
}

/// One section.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// `ok`, `failed`, `deadline`, `skipped_stuck`, …
    pub status: String,
    /// Its lines; in JSON its `data`.
    pub body: String,
}

/// How a section went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its title.
    pub title: String,
    /// `ok`, `failed`, …
    pub status: String,
    /// How long it took: in text for eyes, in JSON in nanoseconds.
    pub time: String,
    /// What went wrong, if something did.
    pub explanation: String,
}

/// One thread.
#[derive(Debug, Clone)]
pub struct Thread {
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// `ok`, `own`, `timeout`, …
    pub capture: String,
    /// Whether the stack ends where the thread began.
    pub is_whole: bool,
    /// Whether the report ran on it.
    pub is_triggering: bool,
    /// What it was doing: `LABEL: DETAIL`, outermost first.
    pub scopes: Vec<String>,
    /// What the kernel says of it: `syscall`, `waits for`, `cpu`, …: in text the
    /// line, in JSON the member.
    pub facts: Vec<(String, String)>,
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// How many frames of the runtime are left out behind them.
    pub entry_frames_left_out: u64,
    /// The number of its block, from 0, and how many threads that has.
    pub block: usize,
    /// 1: it is alone, with a block of its own kind.
    pub block_size: u64,
}

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// `module+0xoffset`, `file:line` or an address.
    pub location: String,
    /// The function's name, demangled.
    pub function: Option<String>,
}

impl Stream {
    /// Reads whole reports in either form.
    ///
    /// # Panics
    ///
    /// If something stands where the format has no place for it.
    #[must_use]
    #[track_caller]
    pub fn parse(written: &str) -> Self {
        if written.trim_start().starts_with('{') {
            json::parse(written)
        } else {
            text::parse(written)
        }
    }

    /// Nothing but one report.
    ///
    /// # Panics
    ///
    /// If there is more or less.
    #[must_use]
    #[track_caller]
    pub fn only(mut self) -> Report {
        self.assert_clean();
        assert_eq!(self.reports.len(), 1, "one report");
        self.reports.remove(0)
    }

    /// Asserts that nothing stands between reports.
    ///
    /// # Panics
    ///
    /// If something does.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.broken.is_empty(), "broken: {:#?}", self.broken);
        assert!(self.outside.is_empty(), "outside of reports: {:#?}", self.outside);
    }
}

impl Report {
    /// The titles, in order, but for Modules, with which a whole report ends.
    #[must_use]
    pub fn titles(&self) -> Vec<&str> {
        let mut titles: Vec<_> = self.sections.iter().map(|section| &*section.title).collect();
        if titles.last() == Some(&MODULES) {
            titles.pop();
        }
        titles
    }

    /// A section by its title.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    #[track_caller]
    pub fn section(&self, title: &str) -> &Section {
        self.sections.iter().find(|section| section.title == title).unwrap_or_else(|| {
            panic!("no section {title:?} in report {}: {:?}", self.sequence, self.titles())
        })
    }

    /// A value of the head.
    #[must_use]
    pub fn head(&self, key: &str) -> Option<&str> {
        self.head.iter().find(|(found, _)| found == key).map(|(_, value)| &**value)
    }

    /// A value of the end block.
    #[must_use]
    pub fn end(&self, key: &str) -> Option<&str> {
        self.end.iter().find(|(found, _)| found == key).map(|(_, value)| &**value)
    }

    /// The blocks of the Threads section, each with the threads in it.
    #[must_use]
    pub fn blocks(&self) -> Vec<&[Thread]> {
        self.threads.chunk_by(|one, other| one.block == other.block).collect()
    }

    /// How many requests this report answered beyond the first.
    #[must_use]
    pub fn coalesced(&self) -> u64 {
        self.head("requests coalesced").map_or(0, |count| count.parse().expect("a number"))
    }

    /// A thread by its number.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    #[track_caller]
    pub fn thread(&self, tid: u32) -> &Thread {
        let found = self.threads.iter().find(|thread| thread.tid == tid);
        found.unwrap_or_else(|| panic!("no thread {tid} in report {}", self.sequence))
    }

    /// Asserts what holds for every whole report: it is complete, begins with
    /// `sections` in this order and ends with Modules, all of them ok, and every
    /// thread of `alive` is in it, with a whole stack or a reason that excuses it.
    ///
    /// # Panics
    ///
    /// If something does not hold.
    #[track_caller]
    pub fn assert_whole<'t>(&self, sections: &[&str], alive: impl IntoIterator<Item = &'t u32>) {
        let mut wrong = String::new();
        if !self.is_complete {
            let _ = writeln!(wrong, "incomplete: {}", self.reasons);
        }
        if self.sections.last().is_none_or(|section| section.title != MODULES) {
            let _ = writeln!(wrong, "it does not end with {MODULES}");
        }
        if self.titles() != sections {
            let _ = writeln!(wrong, "sections {:?}, expected {sections:?}", self.titles());
        }
        for section in self.sections.iter().filter(|section| section.status != "ok") {
            let _ = writeln!(wrong, "section {}: {}", section.title, section.status);
        }
        let is_missing = |tid: &&u32| !self.threads.iter().any(|thread| thread.tid == **tid);
        let missing: Vec<_> = alive.into_iter().filter(is_missing).collect();
        if missing.len() as u64 > self.members_left_out {
            let _ = writeln!(wrong, "threads {missing:?} are missing");
        }
        for thread in &self.threads {
            match &*thread.capture {
                "ok" if thread.is_whole && !thread.frames.is_empty() => {}
                "own" | "exited" | "signal_blocked" => {}
                other => {
                    let _ = writeln!(wrong, "thread {} {}: {other}", thread.tid, thread.name);
                }
            }
        }
        let outcomes = self.outcomes.iter().map(|outcome| (&outcome.title, &outcome.status));
        let sections = self.sections.iter().map(|section| (&section.title, &section.status));
        if !outcomes.eq(sections) {
            let _ = writeln!(wrong, "the end block has it otherwise: {:?}", self.outcomes);
        }
        for key in ["report", "requested by", "time", "pid"] {
            if self.head(key).is_none() {
                let _ = writeln!(wrong, "no {key:?} in the head");
            }
        }
        for key in ["threads", "sections", "destination"] {
            if self.end(key).is_none() {
                let _ = writeln!(wrong, "no {key:?} in the end block");
            }
        }
        assert!(wrong.is_empty(), "report {}:\n{wrong}\n{}", self.sequence, self.raw);
    }
}

impl Thread {
    /// What the kernel says of it under `key`.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.iter().find(|(found, _)| found == key).map(|(_, value)| &**value)
    }

    /// The functions on the stack, innermost first.
    pub fn functions(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.frames.iter().filter_map(|frame| frame.function.as_deref())
    }

    /// Whether a function with `part` in its name is on the stack.
    #[must_use]
    pub fn is_in(&self, part: &str) -> bool {
        self.functions().any(|function| function.contains(part))
    }
}
