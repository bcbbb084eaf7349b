//! `gmr symbolize` makes of a stripped daemon's report what the daemon would
//! have written with its symbols and debug information.
//!
//! Each test copies the daemon, strips one copy, and has both write a report
//! with their threads parked at the same places. libc is taken out of the
//! question: whether its debug file is installed is this machine's affair.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gmr_tests::{Daemon, ErrLog, process, until};
use serde_json::Value;

const GMR: &str = env!("CARGO_BIN_EXE_gmr_command");
const PARKED: &str = env!("CARGO_BIN_EXE_parked");

/// What the copies are called.
const NAME: &str = "heat api";

/// The threads that stand still, the main thread among them: it reads.
const THREADS: [&str; 5] = ["inlined", "generic", "interrupted", NAME, "trigger"];

/// And two more, which stand at the same place.
const TWIN: &str = "twin";

const MARKER: &str = "std::sys::backtrace::__rust_begin_short_backtrace";

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gmr-symbolize-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }

    /// A directory in it.
    fn inside(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).args(paths).output().expect("binutils");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn build_id(path: &Path) -> String {
    let notes = run("readelf", &["-n"], &[path]);
    let (_, id) = notes.split_once("Build ID: ").expect("a build-id");
    id.split_whitespace().next().expect("a build-id").to_owned()
}

/// The daemon with and without its symbols, and its debug file.
struct Copies {
    directory: Directory,
    full: PathBuf,
    stripped: PathBuf,
    debug: PathBuf,
}

impl Copies {
    fn new() -> Self {
        let directory = Directory::new();
        let full = directory.inside("full").join(NAME);
        let stripped = directory.inside("stripped").join(NAME);
        let debug = directory.inside("kept").join("its.debug");
        fs::copy(PARKED, &full).expect("a copy");
        run("objcopy", &["--only-keep-debug"], &[&full, &debug]);
        run("strip", &["-o"], &[&stripped, &full]);
        Copies { directory, full, stripped, debug }
    }

    /// A new directory with a debug file at `place`.
    fn with_debug_file(&self, place: &str) -> PathBuf {
        self.with_file(&self.debug, place)
    }

    fn with_file(&self, file: &Path, place: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.inside(&format!("debug {number}"));
        let path = directory.join(place);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::copy(file, path).expect("a copy");
        directory
    }

    fn by_build_id(&self) -> PathBuf {
        let id = build_id(&self.full);
        self.with_debug_file(&format!(".build-id/{}/{}.debug", &id[..2], &id[2..]))
    }
}

/// A report of the program, libc without its build-id.
fn report_of(program: &Path, view: &str) -> String {
    report_with(program, &[view])
}

fn report_with(program: &Path, arguments: &[&str]) -> String {
    let log = ErrLog::new();
    let daemon = Daemon::start(program, arguments, log.stdio());
    until("parked threads", || {
        let threads = process::threads(daemon.pid());
        let is_parked = |tid: &u32| {
            let path = format!("/proc/{}/task/{tid}/syscall", daemon.pid());
            let call = fs::read_to_string(path).expect("a thread's system call");
            [libc::SYS_futex, libc::SYS_pause, libc::SYS_read]
                .iter()
                .any(|number| call.starts_with(&format!("{number} ")))
        };
        let is_ours = |name: &str| name == TWIN || THREADS.contains(&name);
        let parked = threads.iter().filter(|(tid, name)| is_ours(name) && is_parked(tid));
        (parked.count() == THREADS.len() + 2).then_some(())
    });
    daemon.trigger();
    let mut report = log.report(1).raw;
    assert!(report.contains("Modules"), "{report}");
    let libc = fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).expect("mappings");
    let libc =
        libc.lines().find_map(|line| line.split_once('/').filter(|_| line.contains("/libc.so")));
    let id = build_id(Path::new(&format!("/{}", libc.expect("libc").1)));
    assert!(report.contains(&id));
    report = report.replace(&format!("\"{id}\""), "null").replace(&id, "None");
    if !report.ends_with('\n') {
        report.push('\n');
    }
    report
}

struct Run {
    code: i32,
    out: String,
    said: String,
}

fn symbolize(input: &str, directories: &[&Path]) -> Run {
    symbolize_with(&[], input, directories)
}

fn symbolize_with(options: &[&str], input: &str, directories: &[&Path]) -> Run {
    let mut command = Command::new(GMR);
    command.args(["symbolize", "-"]).args(options);
    for directory in directories {
        command.arg("--debug-dir").arg(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("gmr");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().expect("its end");
    writer.join().expect("the writer");
    Run {
        code: output.status.code().expect("an exit"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        said: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// The frames of each thread's stack, as they stand in a text report. That of
/// the thread that takes the trigger is another one while it does.
fn stacks(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut stacks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut thread = None;
    let mut is_stack = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("------").and_then(|it| it.strip_suffix("------")) {
            is_stack = false;
            thread = match rest.split_once("same stack:") {
                Some(_) => Some(TWIN.to_owned()),
                None => {
                    let (_, name) = rest.trim().split_once('#').unwrap_or_default();
                    name.split_once(' ').map(|(_, name)| name.to_owned())
                }
            };
        } else if line.starts_with("====") {
            thread = None;
        } else if let Some(thread) = &thread
            && (is_stack || line.starts_with("#0 "))
            && !line.is_empty()
        {
            is_stack = true;
            stacks.entry(thread.clone()).or_default().push(line.to_owned());
        } else {
            is_stack = false;
        }
    }
    stacks.remove("trigger");
    stacks
}

/// The threads with stacks of their own, and the block of those that share one.
fn names_of<T>(stacks: &BTreeMap<String, T>) -> Vec<&str> {
    stacks.keys().map(String::as_str).collect()
}

const STACKS: [&str; 5] = ["generic", NAME, "inlined", "interrupted", TWIN];

/// The same of a JSON report, without the addresses of this very process: of
/// each stack its members, from the frames on.
fn json_stacks(json: &str) -> BTreeMap<String, Value> {
    let mut report: Value = serde_json::from_str(json).unwrap_or_else(|it| panic!("{it}: {json}"));
    let sections = report["sections"].as_array_mut().expect("sections");
    let threads = sections.iter_mut().find(|it| it["title"] == "Threads").expect("Threads");
    let threads = threads["data"]["threads"].as_array_mut().expect("threads");
    let mut stacks = BTreeMap::new();
    for thread in threads {
        let without_pc = |frame: &mut Value| {
            frame.as_object_mut().expect("a frame").remove("pc").expect("an address");
        };
        let Some(frames) = thread["frames"].as_array_mut() else { continue };
        frames.iter_mut().for_each(without_pc);
        thread.get_mut("last_entry_frame").into_iter().for_each(without_pc);
        let name = thread.get("name").or(thread["members"][0].get("name")).expect("a name");
        let name = name.as_str().expect("a name").to_owned();
        let members = ["frames", "entry_frames_left_out", "last_entry_frame"];
        let stack = members.map(|key| (key.to_owned(), thread[key].clone()));
        stacks.insert(name, stack.into_iter().collect::<Value>());
    }
    stacks.remove("trigger");
    stacks
}

/// A JSON report, line for line, but for what is this very process's.
fn json_lines(json: &str) -> Vec<String> {
    let part = json.split_once("\"threads\"").expect("threads").1;
    let part = part.split_once("\"title\"").expect("the next section").0;
    let is_of_stack = |line: &&str| {
        // Not what ends an array: a system call's arguments are one, and a thread may be
        // on its way into the call.
        ["{\"index\"", "\"frames\"", "\"entry_", "\"last_entry"]
            .iter()
            .any(|first| line.trim_start().starts_with(first))
    };
    // The thread that takes the trigger is on its way out of the handler, or is not.
    let threads = part.split("\"tid\": ").filter(|text| !text.contains("\"name\": \"trigger\""));
    let lines = threads.flat_map(str::lines).filter(is_of_stack).map(|line| {
        let (before, pc) = line.split_once("\"pc\": \"").unwrap_or((line, "\""));
        format!("{before}{}", pc.split_once('"').expect("its end").1)
    });
    lines.collect()
}

/// The frames of the block whose rule has `part`.
fn block(text: &str, part: &str) -> Vec<String> {
    let is_rule = |line: &&str| line.starts_with("------") && line.contains(part);
    let mut lines = text.lines().skip_while(|line| !is_rule(line));
    let rule = lines.next().unwrap_or_else(|| panic!("no {part} in {text}"));
    assert!(rule.contains("with the same stack"), "{rule}");
    // Its members come first, then an empty line.
    let mut lines = lines.skip_while(|line| !line.is_empty());
    lines.next();
    lines.take_while(|line| line.starts_with('#')).map(str::to_owned).collect()
}

fn without_frames(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn frame_by_frame_as_the_unstripped_daemon_in_text() {
    let copies = Copies::new();
    let expected = stacks(&report_of(&copies.full, "text"));
    let input = report_of(&copies.stripped, "text");
    let bare = stacks(&input);
    assert_eq!((names_of(&bare), names_of(&expected)), (STACKS.to_vec(), STACKS.to_vec()));
    // There is something to find, and to leave out.
    for thread in STACKS {
        assert_ne!(expected[thread], bare[thread], "{thread}");
        let last = expected[thread].last().expect("a line");
        assert!(last.contains("runtime entry frames left out"), "{expected:#?}");
        assert!(bare[thread].iter().all(|line| !line.contains(".rs:")), "{bare:#?}");
    }
    assert!(expected["inlined"].iter().any(|line| line.ends_with("innermost (inlined)")));
    let after_signal = |lines: &[String]| {
        let at = lines.iter().position(|it| it.contains("<signal handler called>")).expect("it");
        lines[at + 1].clone()
    };
    // Not the line of the trap, but the one behind it.
    let behind = after_signal(&expected["interrupted"]);
    assert!(!behind.contains("traps") || behind.contains("(inlined)"), "{behind}");

    let whole_path = copies.stripped.strip_prefix("/").expect("absolute").display().to_string();
    for directory in [
        copies.by_build_id(),
        copies.with_debug_file(&format!("{NAME}.debug")),
        copies.with_debug_file(NAME),
        copies.with_file(&copies.full, NAME),
        copies.with_debug_file(&whole_path),
        copies.with_debug_file(&format!("{whole_path}.debug")),
    ] {
        let run = symbolize(&input, &[&directory]);
        assert_eq!(stacks(&run.out), expected, "{}: {}", directory.display(), run.said);
        assert_eq!(without_frames(&run.out), without_frames(&input));
        // libc's frames.
        assert_eq!(run.code, 1, "{}", run.said);
        assert_eq!(run.said.lines().count(), 1, "{}", run.said);
        assert!(run.said.contains("the report states no build-id"), "{}", run.said);
        // What is resolved stays.
        assert_eq!(symbolize(&run.out, &[&directory]).out, run.out);
    }
}

#[test]
fn entry_frames_are_kept_if_they_are_wanted() {
    let copies = Copies::new();
    let directory = copies.by_build_id();
    let keep = |input: &str| symbolize_with(&["--entry-frames"], input, &[&directory]).out;
    let inputs = [&copies.stripped, &copies.full].map(|it| report_with(it, &["text", "whole"]));
    let [found, expected] = inputs.each_ref().map(|input| stacks(&keep(input)));
    assert_eq!(names_of(&expected), STACKS);
    for thread in STACKS.into_iter().filter(|thread| *thread != TWIN) {
        assert_eq!(found[thread], expected[thread]);
        assert!(found[thread].iter().any(|line| line.contains(MARKER)), "{found:#?}");
    }
    assert_eq!(keep(&inputs[1]), inputs[1]);
    let [found, expected] = ["json", "json-line"].map(|view| {
        let [found, expected] =
            [&copies.stripped, &copies.full].map(|it| keep(&report_with(it, &[view, "whole"])));
        assert_eq!(json_stacks(&found), json_stacks(&expected));
        json_stacks(&found)
    });
    assert_eq!(found, expected);

    // A report that has them by choice has them left out like any other.
    let short = stacks(&report_of(&copies.full, "text"));
    for input in inputs {
        let found = stacks(&symbolize(&input, &[&directory]).out);
        for thread in STACKS.into_iter().filter(|thread| *thread != TWIN) {
            let (last, frames) = found[thread].split_last().expect("lines");
            let (expected, all) = short[thread].split_last().expect("lines");
            assert_eq!(frames, all);
            // Where a frame has a line, text has no offset for it.
            let count = |line: &str| line.split(" left out").next().map(str::to_owned);
            assert_eq!(count(last), count(expected));
        }
    }
}

#[test]
fn frame_by_frame_as_the_unstripped_daemon_in_json() {
    let copies = Copies::new();
    let directory = copies.by_build_id();
    for view in ["json", "json-line"] {
        let expected = report_of(&copies.full, view);
        let input = report_of(&copies.stripped, view);
        let run = symbolize(&input, &[&directory]);
        if view == "json" {
            let is_trigger = |lines: &String| lines.contains("mask_trigger");
            assert!(!json_lines(&expected).iter().any(is_trigger));
            assert_eq!(json_lines(&run.out), json_lines(&expected));
        }
        let (found, expected) = (json_stacks(&run.out), json_stacks(&expected));
        assert_eq!(names_of(&expected), STACKS);
        for thread in STACKS {
            assert_eq!(found[thread], expected[thread], "{view}: {}", run.said);
            assert!(found[thread]["entry_frames_left_out"].as_u64() >= Some(4), "{found:#?}");
            assert_ne!(json_stacks(&input)[thread], expected[thread]);
        }
        assert_eq!(symbolize(&run.out, &[&directory]).out, run.out);
    }
}

#[test]
fn a_report_without_lines_has_its_marker_counted() {
    let copies = Copies::new();
    let directory = copies.by_build_id();
    let symbols = copies.directory.inside("symbols").join(NAME);
    run("strip", &["--strip-debug", "-o"], &[&symbols, &copies.full]);
    let expected = report_of(&copies.full, "text");
    let input = report_of(&symbols, "text");
    let of_input = stacks(&input);
    for thread in STACKS {
        let [.., marker, entry] = &*of_input[thread] else { panic!("{of_input:#?}") };
        assert!(marker.contains(MARKER) && entry.contains("left out"), "{of_input:#?}");
    }
    let answer = symbolize(&input, &[&directory]);
    assert_eq!(stacks(&answer.out), stacks(&expected), "{}", answer.said);
    // The threads in one block, too.
    assert!(block(&answer.out, TWIN).len() > 2);
    assert_eq!(block(&answer.out, TWIN), block(&expected, TWIN));
    // No module is called what that line says.
    assert_eq!(answer.said.lines().count(), 1, "{}", answer.said);
    for view in ["json", "json-line"] {
        let answer = symbolize(&report_of(&symbols, view), &[&directory]);
        assert_eq!(json_stacks(&answer.out), json_stacks(&report_of(&copies.full, view)));
    }
}

#[test]
fn reports_in_a_log_each_in_its_place() {
    let copies = Copies::new();
    let directory = copies.by_build_id();
    let [text, pretty, line] =
        ["text", "json", "json-line"].map(|view| report_of(&copies.stripped, view));
    let alone = |input: &str| symbolize(input, &[&directory]).out;
    let log = |text: &str, pretty: &str, line: &str| {
        let json = "{\"level\": \"info\"}\n{\n";
        format!("INFO #0  {NAME}+0x10\n{text}====\n{pretty}{json}{line}{text}{line}#1  end")
    };
    let run = symbolize(&log(&text, &pretty, &line), &[&directory]);
    assert_eq!(run.out, log(&alone(&text), &alone(&pretty), &alone(&line)));
    assert_ne!(run.out, log(&text, &pretty, &line));
    // Each thing once.
    assert_eq!(run.said.lines().count(), 1, "{}", run.said);
}

#[test]
fn a_file_with_another_build_id_is_not_believed() {
    let copies = Copies::new();
    let id = build_id(&copies.full);
    for view in ["text", "json"] {
        let input = report_of(&copies.stripped, view);
        // The same code, but what says so is another.
        let other_id = "0123456789abcdef0123456789abcdef01234567";
        let other = input.replace(&id, other_id);
        assert_ne!(other, input);
        let directory = copies.with_debug_file(NAME);
        let run = symbolize(&other, &[&directory]);
        assert_eq!((run.code, &run.out), (1, &other));
        let line = run.said.lines().find(|line| line.starts_with(NAME)).expect("said");
        for part in [other_id, &*id, "give --debug-dir", &*directory.display().to_string()] {
            assert!(line.contains(part), "no {part} in {line}");
        }
        // Without any directory: the stripped file itself is there, and has
        // nothing to tell.
        let run = symbolize(&input, &[]);
        assert_eq!(run.code, 1);
        assert!(run.said.contains("names only: no debug information in"), "{}", run.said);
        assert_eq!(run.out, input);
        // And if it is not:
        let elsewhere = copies.directory.0.join("moved");
        fs::rename(copies.directory.0.join("stripped"), &elsewhere).expect("a move");
        let run = symbolize(&input, &[]);
        fs::rename(elsewhere, copies.directory.0.join("stripped")).expect("a move");
        assert_eq!((run.code, &run.out), (1, &input));
        assert!(run.said.contains(&format!("no file with build-id {id} found")), "{}", run.said);
    }
}

#[test]
fn symbols_without_debug_information_give_names() {
    let copies = Copies::new();
    let symbols = copies.directory.inside("symbols").join("it");
    run("strip", &["--strip-debug", "-o"], &[&symbols, &copies.full]);
    let directory = copies.with_file(&symbols, NAME);
    let run = symbolize(&report_of(&copies.stripped, "text"), &[&directory]);
    assert!(run.said.contains(&format!("{NAME}: names only")), "{}", run.said);
    let (found, expected) =
        (stacks(&run.out), stacks(&report_of(&symbols_as(&copies, &symbols), "text")));
    assert_eq!(found, expected);
    assert!(
        found["inlined"].iter().any(|line| line.ends_with(" in parked::inlined")),
        "{found:#?}"
    );
}

/// A copy to run, under the name that all have.
fn symbols_as(copies: &Copies, file: &Path) -> PathBuf {
    let path = copies.directory.inside("named").join(NAME);
    fs::copy(file, &path).expect("a copy");
    path
}

#[test]
fn names_are_short_unless_wanted_whole() {
    const LONG: &str = "Box<dyn core::ops::function::FnOnce<(), Output = ()> + core::marker::Send>";
    let copies = Copies::new();
    let directory = copies.by_build_id();
    let input = report_of(&copies.stripped, "text");
    let has = |text: &str, part: &str| stacks(text)["inlined"].iter().any(|it| it.contains(part));
    // The long one is the runtime's.
    let short = symbolize_with(&["--entry-frames"], &input, &[&directory]).out;
    assert!(has(&short, "Box<…>") && !has(&short, LONG), "{short}");
    let full = symbolize_with(&["--full-names", "--entry-frames"], &input, &[&directory]).out;
    assert!(has(&full, LONG) && !has(&full, "Box<…>"), "{full}");
}

#[test]
fn all_resolved_is_0_and_no_report_is_2() {
    let copies = Copies::new();
    let directory = copies.by_build_id();
    // Without libc's frames, all can be found.
    let mut report: Value =
        serde_json::from_str(&report_of(&copies.stripped, "json")).expect("JSON");
    for section in report["sections"].as_array_mut().expect("sections") {
        for thread in section["data"]["threads"].as_array_mut().into_iter().flatten() {
            if let Some(frames) = thread["frames"].as_array_mut() {
                frames.retain(|frame| frame["module"] == NAME);
            }
        }
    }
    // Its first member stays the first.
    report.as_object_mut().expect("an object").remove("schema_version");
    let report = report.to_string().replacen('{', "{\"schema_version\":1,", 1);
    let run = symbolize(&report, &[&directory]);
    assert_eq!((run.code, &*run.said), (0, ""));
    assert!(run.out.contains("parked::inlined"));

    for (input, part) in [("", "no report"), ("INFO nothing\n{}\n", "no report")] {
        let run = symbolize(input, &[&directory]);
        assert_eq!((run.code, &*run.out), (2, input));
        assert!(run.said.contains(part), "{}", run.said);
    }
    let missing = copies.directory.0.join("none");
    assert_eq!(symbolize("", &[&missing]).code, 2);
    let output = Command::new(GMR).args(["symbolize"]).arg(&missing).output().expect("gmr");
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.is_empty());
    let output = Command::new(GMR).args(["symbolize"]).output().expect("gmr");
    assert_eq!(output.status.code(), Some(2));
}

/// Functions of which one is inlined.
const PROGRAM: &str = r#"
#[inline(always)]
fn inner(number: u64) -> u64 {
    std::hint::black_box(number) ^ std::hint::black_box(3)
}
#[inline(never)]
#[unsafe(no_mangle)]
fn outer(number: u64) -> u64 {
    std::hint::black_box(inner(number)) + 1
}
fn main() {
    println!("{}", outer(std::env::args().count() as u64));
}
"#;

/// A report by hand: return addresses in the function `outer` of a program.
fn report_by_hand(program: &Path) -> String {
    let symbols = run("nm", &["-S"], &[program]);
    let line = symbols.lines().find(|line| line.ends_with(" outer")).expect("the function");
    let numbers: Vec<u64> = line
        .split_whitespace()
        .take(2)
        .map(|digits| u64::from_str_radix(digits, 16).expect("a number"))
        .collect();
    let [start, bytes] = numbers[..] else { panic!("{line}") };
    let mut report = "====  Guru Meditation  ====\n====  Threads  ====\n\
                      ------ Thread #7 x ------\n\n#0  0x10\n"
        .to_owned();
    for (index, offset) in (1..=bytes).enumerate() {
        report += &format!("#{:<2} program+{:#x}\n", index + 1, start + offset);
    }
    report += "\n====  Modules  ====\nstart end load_bias build_id file\n";
    report += &format!("0x1000 0x9000000 0x0 {} /nowhere/program\n", build_id(program));
    report + "End of report 1: complete\n"
}

#[test]
fn split_debug_information_is_found_in_the_package_beside() {
    let directory = Directory::new();
    let frames_of = |split: &str| {
        let place = directory.inside(split);
        let (source, program) = (directory.0.join("program.rs"), place.join("program"));
        fs::write(&source, PROGRAM).expect("a source");
        let option = format!("-Csplit-debuginfo={split}");
        run(
            "rustc",
            &["-Cdebuginfo=2", "-Copt-level=1", "--edition=2024", &option, "-o"],
            &[&program, &source],
        );
        let dir = directory.inside(&format!("debug of {split}"));
        run("objcopy", &["--only-keep-debug"], &[&program, &dir.join("program.debug")]);
        let report = report_by_hand(&program);
        let missing = symbolize(&report, &[&dir]);
        if split == "packed" {
            fs::copy(place.join("program.dwp"), dir.join("program.dwp")).expect("a package");
        }
        let run = symbolize(&report, &[&dir]);
        assert_eq!((run.code, &*run.said), (0, ""), "{split}");
        let is_frame = |line: &&str| line.starts_with('#');
        let frames = |text: &str| text.lines().filter(is_frame).map(str::to_owned).collect();
        let (missing, found): (Vec<_>, Vec<_>) = (frames(&missing.out), frames(&run.out));
        (missing, found)
    };
    let (_, whole) = frames_of("off");
    let (missing, packed) = frames_of("packed");
    let is_inlined = |lines: &[String]| lines.iter().any(|it| it.ends_with("::inner (inlined)"));
    assert!(is_inlined(&whole), "{whole:#?}");
    assert_eq!(packed, whole);
    assert!(!is_inlined(&missing), "{missing:#?}");
}

#[test]
fn what_the_report_does_not_tell_is_said() {
    let one = |table: &str| {
        let report = format!(
            "====  Guru Meditation  ====\nreport = 1\n------ Thread #7 x ------\n\n\
             #0  a+0x10\n#1  0x77\n#2  b+0x10 in f\n{table}End of report 1: complete\n"
        );
        let run = symbolize(&report, &[]);
        assert_eq!((run.code, &run.out), (1, &report), "{}", run.said);
        run.said
    };
    assert!(one("").contains("it has no section Modules"));
    let head = "====  Modules  ====\nstart end load_bias build_id file\n";
    let said = one(&format!("{head}0x1000 0x2000 0x1000 0a /x/a\n0x3000 0x4000 0x3000 0b /y/a\n"));
    assert!(said.contains("a: several modules have this name"), "{said}");
    assert!(said.contains("b: not in the report's section Modules"), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    // No file can be meant by this.
    let said = one(&format!("{head}0x1000 0x2000 0x1000 0a0b /../a\n0x1 0x2 0x1 0a0b /etc/b\n"));
    assert!(
        said.contains("a: no file with build-id 0a0b found; looked in /usr/lib/debug;"),
        "{said}"
    );
    assert!(said.contains("b: no file with build-id 0a0b found; looked in /etc/b, /usr"), "{said}");
}
