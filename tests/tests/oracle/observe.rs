//! One running corpus, seen by its own report and by gdb.
//!
//! 1. Reports are asked for until two agree: the first ones look source lines
//!    and loaded libraries up.
//! 2. gdb attaches, writes what it knows ([`frames.py`]) and leaves.
//! 3. More reports, until one agrees with those before gdb came. A thread that
//!    is elsewhere in all of them has moved, and is not compared.
//!
//! Reports can differ because the main thread gets the trigger, and may be seen
//! in its handler.
//!
//! [`frames.py`]: ../../frames.py

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gmr_tests::{Daemon, ErrLog, until};
use serde::Deserialize;

use super::build::{self, Corpus};
use super::modules::Modules;

/// Reports that may differ until two agree.
const MOST_REPORTS: usize = 10;

/// A frame of a report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Ours {
    pub(crate) pc: String,
    pub(crate) module: Option<String>,
    pub(crate) module_offset: Option<String>,
    pub(crate) function: Option<String>,
    #[serde(default)]
    pub(crate) function_truncated: bool,
    pub(crate) file: Option<String>,
    #[serde(default)]
    pub(crate) line: u64,
    #[serde(default)]
    pub(crate) inlined: bool,
    #[serde(default)]
    pub(crate) signal_frame: bool,
    pub(crate) certainty: String,
}

/// A thread of a report.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct OurThread {
    pub(crate) tid: u32,
    pub(crate) name: String,
    pub(crate) capture: String,
    pub(crate) stack_end: String,
    #[serde(default)]
    pub(crate) frames: Vec<Ours>,
}

/// A frame as gdb has it; see `frames.py`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Theirs {
    pub(crate) pc: u64,
    pub(crate) kind: String,
    pub(crate) function: Option<String>,
    pub(crate) linkage: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: u64,
    pub(crate) before: String,
}

/// A thread as gdb has it.
#[derive(Debug, Deserialize)]
pub(crate) struct TheirThread {
    pub(crate) tid: u32,
    pub(crate) frames: Vec<Theirs>,
    /// What ended the frames early.
    pub(crate) error: Option<String>,
}

/// What both say of one process.
pub(crate) struct Observed {
    /// By TID, before and after gdb.
    pub(crate) ours: BTreeMap<u32, OurThread>,
    pub(crate) after: BTreeMap<u32, OurThread>,
    pub(crate) theirs: BTreeMap<u32, TheirThread>,
    pub(crate) modules: Modules,
}

impl Theirs {
    /// The symbol's name; the debug information's, where that does not know it.
    pub(crate) fn symbol(&self) -> Option<&str> {
        self.linkage.as_deref().or(self.function.as_deref())
    }
}

impl Ours {
    pub(crate) fn address(&self) -> u64 {
        number(&self.pc)
    }

    /// The object and the offset in it.
    pub(crate) fn place(&self) -> Option<(&str, u64)> {
        Some((self.module.as_deref()?, number(self.module_offset.as_deref()?)))
    }
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("an address")
}

/// The threads of the report with this number, from 1.
fn threads(log: &ErrLog, number: usize) -> BTreeMap<u32, OurThread> {
    let text = until("a report", || {
        let text = fs::read_to_string(log.path()).expect("a log");
        (text.matches('\n').count() >= number).then_some(text)
    });
    let line = text.lines().nth(number - 1).expect("a report");
    let mut report: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let sections = report["sections"].as_array_mut().expect("sections");
    let threads = sections.iter_mut().find(|section| section["title"] == "Threads");
    let threads = threads.expect("Threads")["data"]["threads"].take();
    let threads: Vec<OurThread> = serde_json::from_value(threads).expect("threads");
    threads.into_iter().map(|thread| (thread.tid, thread)).collect()
}

/// Runs the corpus, and looks at it both ways.
pub(crate) fn observe(corpus: &Corpus, arguments: &[&str]) -> Observed {
    let log = ErrLog::new();
    let mut command = Command::new(&corpus.program);
    command.args(arguments).arg(format!("--c={}", build::c_libraries().display()));
    if let Some(directory) = &corpus.debug_dir {
        command.arg(directory);
    }
    let mut daemon = Daemon::start_command(command, log.stdio());
    assert_eq!(daemon.ready, "READY");

    let mut count = 0;
    let mut report = || {
        daemon.trigger();
        count += 1;
        threads(&log, count)
    };
    let mut ours = report();
    for number in 0.. {
        let again = report();
        let is_settled = agree(&again, &ours);
        ours = again;
        if is_settled {
            break;
        }
        assert!(number < MOST_REPORTS, "no two reports agree");
    }
    let theirs = gdb(daemon.pid(), corpus);
    let mut after = report();
    for _ in 0..MOST_REPORTS {
        if agree(&after, &ours) {
            break;
        }
        after = report();
    }
    let modules = Modules::of(daemon.pid());
    assert!(daemon.finish().success());
    Observed { ours, after, theirs, modules }
}

/// Whether every thread is where it was.
fn agree(a: &BTreeMap<u32, OurThread>, b: &BTreeMap<u32, OurThread>) -> bool {
    a.len() == b.len()
        && a.iter().all(|(tid, thread)| b.get(tid).is_some_and(|other| thread.rests_as(other)))
}

impl OurThread {
    /// The one that never sleeps.
    pub(crate) fn is_busy(&self) -> bool {
        self.name == "busy"
    }

    /// Whether it is where it was; the busy one, but for its innermost frame.
    pub(crate) fn rests_as(&self, other: &OurThread) -> bool {
        if !self.is_busy() {
            return self == other;
        }
        self.name == other.name && self.frames.get(1..) == other.frames.get(1..)
    }
}

/// Whether there is a gdb that runs Python.
pub(crate) fn has_gdb() -> bool {
    let script = ["-nx", "-batch", "-ex", "python print(6 * 7)"];
    let output = Command::new("gdb").args(script).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"42"))
}

fn gdb(pid: u32, corpus: &Corpus) -> BTreeMap<u32, TheirThread> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/frames.py");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle-{pid}.jsonl"));
    // Debug files of the system, which reports do not read, are out of reach.
    let nowhere = PathBuf::from("/nonexistent");
    let debug_dir = corpus.debug_dir.as_ref().unwrap_or(&nowhere);
    let done = Command::new("gdb")
        .args(["-nx", "-batch"])
        .args(["-iex", "set debuginfod enabled off", "-iex", "set auto-load no"])
        .args(["-iex", &format!("set debug-file-directory {}", debug_dir.display())])
        .args(["-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry on"])
        .args(["-ex", "set backtrace limit 1000", "-ex", "set print demangle off"])
        .args(["-ex", &format!("set $oracle_output = \"{}\"", output.display())])
        .args(["-p", &pid.to_string(), "-x"])
        .arg(script)
        .stdin(Stdio::null())
        .output()
        .expect("gdb");
    let messages = String::from_utf8_lossy(&done.stderr);
    let text = fs::read_to_string(&output).unwrap_or_else(|error| panic!("{error}: {messages}"));
    fs::remove_file(&output).expect("to remove it");
    assert!(done.status.success() && !messages.contains("Traceback"), "{messages}");
    let threads = text.lines().map(|line| {
        let thread: TheirThread = serde_json::from_str(line).expect("JSON");
        (thread.tid, thread)
    });
    threads.collect()
}
