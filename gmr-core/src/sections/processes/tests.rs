//! The section against real processes, its events recorded.

use std::boxed::Box;
use std::format;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::string::String;
use std::vec::Vec;

use super::*;
use crate::model::{Event, Process, Value};
use crate::section::{EventSink, SectionError, Stop};

/// One event, as a line: `+` opens, `-` closes.
#[derive(Default)]
struct Recorder {
    lines: Vec<String>,
    /// Events until the deadline.
    left: Option<usize>,
}

impl EventSink for Recorder {
    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(Stop)?;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = |value: &Value<'_>| match value {
            Value::Bytes(bytes) => text(bytes),
            Value::Text(text) => String::from(*text),
            Value::U64(number) | Value::ByteCount(number) => format!("{number}"),
            other => format!("{other:?}"),
        };
        self.lines.push(match event {
            Event::Value { key, value } => format!("{key} = {}", shown(value)),
            Event::Item { value } => format!("* {}", shown(value)),
            Event::BeginGroup { key: Some(key) } => format!("+group {key}"),
            Event::BeginList { key: Some(key) } => format!("+list {key}"),
            Event::BeginBlocks { key } => format!("+blocks {key}"),
            Event::BeginProcess(Process { pid, parent_pid, name, uid, user, state }) => format!(
                "+process {pid} under {parent_pid} {} {uid:?} {:?} {}",
                text(name),
                user.map(text),
                char::from(*state)
            ),
            Event::Close => String::from("-"),
            other => format!("{other:?}"),
        });
        Ok(())
    }
}

fn run(table_entries: usize, left: Option<usize>) -> (Recorder, SectionResult) {
    let mut facts = Box::new(Facts::new());
    facts.collect(&crate::redact::Redaction::new(), &mut [0; SCRATCH_BYTES]);
    let mut recorder = Recorder { left, ..Recorder::default() };
    let mut scratch = Scratch {
        table: &mut std::vec![Entry::EMPTY; table_entries],
        bytes: &mut [0; SCRATCH_BYTES],
        dirents: &mut [MaybeUninit::uninit(); DIRENTS_BYTES],
        limit_hit: false,
    };
    let result = write(&facts, &mut scratch, &mut SectionWriter::new(&mut recorder));
    (recorder, result)
}

fn report() -> Vec<String> {
    let (recorder, result) = run(TABLE_ENTRIES, None);
    assert_eq!(result, Ok(()));
    let mut depth = 0usize;
    for line in &recorder.lines {
        match line.as_bytes().first() {
            Some(b'+') => depth += 1,
            Some(b'-') => depth -= 1,
            _ => {}
        }
        assert!(depth <= crate::model::MAX_DEPTH);
    }
    assert_eq!(depth, 0, "{:#?}", recorder.lines);
    recorder.lines
}

/// The pids of the processes around the line at `index`, innermost last.
fn ancestors(lines: &[String], index: usize) -> Vec<u32> {
    let mut open = Vec::new();
    for line in &lines[..index] {
        if let Some(process) = line.strip_prefix("+process ") {
            open.push(process.split(' ').next().unwrap().parse().ok());
        } else if line.starts_with('+') {
            open.push(None);
        } else if line == "-" {
            open.pop();
        }
    }
    open.into_iter().flatten().collect()
}

fn find(lines: &[String], pid: u32) -> Option<usize> {
    lines.iter().position(|line| line.starts_with(&format!("+process {pid} ")))
}

/// A shell that prints pids and then waits; killed when dropped.
struct Shell(Child);

impl Shell {
    fn start(script: &str, pids: usize) -> (Self, Vec<u32>) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pids = lines.take(pids).map(|line| line.unwrap().trim().parse().unwrap()).collect();
        (Shell(child), pids)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The end of its standard input ends it, and all below it.
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn this_process_is_described() {
    let lines = report();
    let own = std::process::id();
    assert_eq!(lines[0], "+blocks processes");
    let stat = std::fs::read_to_string("/proc/self/comm").unwrap();
    let uid = rustix::process::getuid().as_raw();
    let begin = format!(
        "+process {own} under {} {} Some({uid}) ",
        std::os::unix::process::parent_id(),
        stat.trim_end()
    );
    assert!(lines[1].starts_with(&begin), "{} {begin}", lines[1]);
    let value = |key: &str| {
        let start = format!("{key} = ");
        lines.iter().find_map(|line| line.strip_prefix(&start)).map(String::from)
    };
    assert_eq!(value("exe").unwrap(), std::env::current_exe().unwrap().to_str().unwrap());
    assert_eq!(value("cwd").unwrap(), std::env::current_dir().unwrap().to_str().unwrap());
    assert!(value("uptime").unwrap().starts_with("DurationNs("));
    let number = |key: &str| value(key).unwrap().parse::<u64>().unwrap();
    assert!(number("threads") >= 1);
    assert!(number("open files") >= 3);
    assert!(number("rss") > 100_000 && number("peak rss") >= number("rss") / 2);
    assert!(lines.contains(&String::from("+group limits")));
    assert!(lines.contains(&String::from("+group cgroup")));
    assert!(lines.contains(&String::from("+list cmdline")));
    let argument = format!("* {}", std::env::args().next().unwrap());
    assert!(lines.contains(&argument));
}

#[test]
fn a_zombie_is_listed() {
    let mut child = Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
    let path = format!("/proc/{}/stat", child.id());
    for _ in 0..500 {
        if std::fs::read_to_string(&path).unwrap().contains(") Z ") {
            break;
        }
        std::thread::sleep(core::time::Duration::from_millis(10));
    }
    let lines = report();
    child.wait().unwrap();
    let at = find(&lines, child.id()).unwrap();
    assert!(lines[at].ends_with(" Z") && lines[at].contains(" sh Some("), "{}", lines[at]);
    assert_eq!(ancestors(&lines, at), [std::process::id()]);
    // It has neither threads nor memory.
    assert!(lines[at + 1].starts_with("uptime = ") && lines[at + 2] == "-");
    // Reaped, it is gone.
    assert_eq!(find(&report(), child.id()), None);
}

#[test]
fn descendants_are_nested() {
    let (_shell, pids) =
        Shell::start("echo $$; sh -c 'echo $$; sh -c \"echo \\$\\$; read x; :\"; :' ; :", 3);
    let lines = report();
    let at = find(&lines, pids[2]).unwrap_or_else(|| panic!("{pids:?} {lines:#?}"));
    assert_eq!(ancestors(&lines, at), [std::process::id(), pids[0], pids[1]]);
    assert_eq!(lines[at - 1], "+blocks children");
    assert!(lines.iter().any(|line| line.starts_with("descendants = ")));
}

#[test]
fn what_is_too_deep_is_listed_flat() {
    // Each shell starts the next, ten deep.
    let script = "f() { echo $$; if [ $1 -gt 0 ]; then sh -c \"$S\" sh $(($1 - 1)); else read x; fi; :; }; f $1; :";
    let (_shell, pids) = Shell::start(&format!("S='{script}'; export S; sh -c \"$S\" sh 9; :"), 10);
    let lines = report();
    for pid in &pids {
        let at = find(&lines, *pid).unwrap_or_else(|| panic!("{pids:?} {lines:#?}"));
        assert!(ancestors(&lines, at).len() <= 7);
    }
    assert!(lines.iter().any(|line| line.starts_with("descendants nested too deep")));
}

#[test]
fn nasty_names_are_shown() {
    let dir = std::env::temp_dir().join(format!("gmr-nasty-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let name = "a) R 1 (\nb";
    let path = dir.join(name);
    std::fs::copy("/bin/sleep", &path).unwrap();
    let mut child = Command::new(&path).arg("60").spawn().unwrap();
    let comm = format!("/proc/{}/comm", child.id());
    for _ in 0..500 {
        if std::fs::read_to_string(&comm).unwrap().contains("R 1") {
            break;
        }
        std::thread::sleep(core::time::Duration::from_millis(10));
    }
    let lines = report();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let at = find(&lines, child.id()).unwrap();
    assert!(lines[at].contains(name), "{}", lines[at]);
    assert_eq!(ancestors(&lines, at), [std::process::id()]);
}

#[test]
fn a_full_table_is_said() {
    let (recorder, result) = run(1, None);
    assert_eq!(result, Ok(()));
    let said = "process table full at (descendants may be missing) = 1";
    assert!(recorder.lines.iter().any(|line| line == said), "{:#?}", recorder.lines);
}

#[test]
fn the_deadline_stops_it_anywhere() {
    let (_shell, _pids) = Shell::start("echo $$; sh -c 'echo $$; read x; :'; :", 2);
    let total = report().len();
    for left in 0..total {
        let (recorder, result) = run(TABLE_ENTRIES, Some(left));
        // Other tests start and end processes: the whole may be shorter now.
        if result != Ok(()) {
            assert_eq!(result, Err(SectionError::Stopped));
            assert_eq!(recorder.lines.len(), left);
        }
    }
}

#[test]
fn little_scratch_memory_loses_little() {
    let mut recorder = Recorder::default();
    let facts = Facts::new();
    let mut scratch =
        Scratch { table: &mut [], bytes: &mut [0; 8], dirents: &mut [], limit_hit: false };
    let result = write(&facts, &mut scratch, &mut SectionWriter::new(&mut recorder));
    assert_eq!(result, Ok(()));
    assert!(recorder.lines.iter().any(|line| line == "+group limits"));
}

/// Set where a test has a process to itself.
const ALONE: &str = "GMR_TEST_ALONE";

/// Runs the ignored test `name` in a process of its own, since it changes the
/// process. `false` if it cannot be started there.
fn run_alone(name: &str, user: Option<u32>) -> bool {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ALONE, "1");
    if let Some(user) = user {
        command.uid(user);
    }
    let name = format!("sections::processes::tests::{name}");
    let output = command.args(["--exact", &name, "--ignored", "--nocapture"]).output();
    let Ok(output) = output else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    true
}

#[test]
fn without_descriptors_the_rest_is_said() {
    assert!(run_alone("alone_without_descriptors", None));
}

#[test]
#[ignore = "changes the process; run by without_descriptors_the_rest_is_said"]
fn alone_without_descriptors() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let mut rlimit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rlimit.current = Some(0);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, rlimit).unwrap();
    let lines = report();
    let said = |line: &str| assert!(lines.iter().any(|other| other == line), "{lines:#?}");
    assert!(lines[1].starts_with(&format!("+process {} under ", std::process::id())));
    said("open files = not readable (EMFILE)");
    said("cgroup = not readable (EMFILE)");
    said("children = not readable (EMFILE)");
    said("open files limit = 0");
    said("+group limits");
}

#[test]
fn an_undumpable_process_is_described() {
    // The kernel lets root read everything.
    if rustix::process::geteuid().is_root() {
        // Where the test binary lies, another user may not be allowed to go.
        let _ran = run_alone("alone_undumpable", Some(65534));
    }
}

#[test]
#[ignore = "changes the process; run by an_undumpable_process_is_described"]
fn alone_undumpable() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap();
    assert!(std::fs::read("/proc/self/environ").is_err());
    let mut child = Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
    let lines = report();
    child.wait().unwrap();
    assert!(find(&lines, child.id()).is_some());
    for key in ["rss", "peak rss", "cwd", "exe", "open files"] {
        let start = format!("{key} = ");
        let value = lines.iter().find_map(|line| line.strip_prefix(&start)).unwrap();
        assert!(!value.contains("not readable"), "{key} = {value}");
    }
}

/// Counts, so that nothing but the section uses the stack.
struct Counter(usize);

impl EventSink for Counter {
    fn emit(&mut self, _event: &Event<'_>) -> Result<(), Stop> {
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn a_small_stack_is_enough() {
    let mut facts = Box::new(Facts::new());
    facts.collect(&crate::redact::Redaction::new(), &mut [0; SCRATCH_BYTES]);
    let mut table = std::vec![Entry::EMPTY; TABLE_ENTRIES];
    let mut bytes = std::vec![0; SCRATCH_BYTES];
    let mut dirents = std::vec![MaybeUninit::uninit(); DIRENTS_BYTES];
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let mut scratch = Scratch {
            table: &mut table,
            bytes: &mut bytes,
            dirents: &mut dirents,
            limit_hit: false,
        };
        let mut counter = Counter(0);
        let result = write(&facts, &mut scratch, &mut SectionWriter::new(&mut counter));
        (result, counter.0)
    });
    let (result, events) = thread.unwrap().join().unwrap();
    assert_eq!(result, Ok(()));
    assert!(events > 20);
}

/// Of a debug build, with what the thread itself needs.
const STACK_BYTES: usize = 24 * 1024;
