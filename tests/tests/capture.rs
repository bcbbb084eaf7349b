//! The capture of all threads' stacks, end to end: daemons of
//! `src/bin/capture_daemon` play scenes, each in a process of its own, and are
//! asked for reports.
//!
//! Nothing here depends on how fast the machine is: each wait is for a
//! condition, and the one limit is for tests that hang.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code, reason = "sends signals and traces threads")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// After this long a test hangs.
const HANGS: Duration = Duration::from_secs(240);

struct Daemon {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
    reports: Receiver<String>,
}

fn lines(source: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            if line.is_err() || sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Daemon {
    fn new(scene: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_capture_daemon"))
            .args(scene)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let input = child.stdin.take().expect("piped");
        let output = lines(child.stdout.take().expect("piped"));
        let reports = lines(child.stderr.take().expect("piped"));
        let daemon = Daemon { child, input, output, reports };
        assert_eq!(daemon.says(), "ready");
        daemon
    }

    fn says(&self) -> String {
        self.output.recv_timeout(HANGS).expect("a line of the daemon")
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the daemon reads");
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// A report in which the stack of `name` is whole. One that no window holds goes
    /// on where its thread is parked again, which may take a while after a capture on
    /// a busy machine.
    fn report_with_whole(&self, name: &str) -> Report {
        for _ in 0..100 {
            let report = self.report();
            if report.thread(name).text("stack_end") == "complete" {
                return report;
            }
        }
        panic!("{name} never whole")
    }

    fn report(&self) -> Report {
        // SAFETY: sends a signal to our child.
        assert_eq!(unsafe { libc::kill(self.pid(), libc::SIGUSR2) }, 0);
        let line = self.reports.recv_timeout(HANGS).expect("a report");
        Report(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Report(Value);

impl Report {
    fn is_complete(&self) -> bool {
        self.0["end"]["complete"].as_bool().expect("a bool")
    }

    fn reasons(&self) -> &Value {
        &self.0["end"]["incomplete"]
    }

    fn threads(&self) -> Vec<Thread<'_>> {
        let sections = self.0["sections"].as_array().expect("sections");
        let section = sections.iter().find(|section| section["title"] == "Threads");
        let threads = section.expect("Threads")["data"]["threads"].as_array().expect("threads");
        threads.iter().map(Thread).collect()
    }

    fn named(&self, prefix: &str) -> Vec<Thread<'_>> {
        self.threads().into_iter().filter(|thread| thread.name().starts_with(prefix)).collect()
    }

    fn thread(&self, name: &str) -> Thread<'_> {
        let mut found = self.named(name);
        assert_eq!(found.len(), 1, "threads called {name}");
        found.remove(0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Thread<'a>(&'a Value);

impl<'a> Thread<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.0[key].as_str().unwrap_or("")
    }

    fn name(&self) -> &'a str {
        self.text("name")
    }

    fn tid(&self) -> i32 {
        i32::try_from(self.0["tid"].as_i64().expect("a tid")).expect("a tid")
    }

    fn frames(&self) -> &'a [Value] {
        self.0["frames"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Functions, innermost first, without their paths.
    fn functions(&self) -> Vec<&'a str> {
        let names = self.frames().iter().map(|frame| frame["function"].as_str().unwrap_or(""));
        names.map(|name| name.rsplit("::").next().unwrap_or(name)).collect()
    }

    fn pcs(&self) -> Vec<u64> {
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        self.frames()
            .iter()
            .map(|frame| frame["pc"].as_str().and_then(number).expect("an address"))
            .collect()
    }

    #[track_caller]
    fn assert_whole(&self) {
        assert_eq!((self.text("capture"), self.text("stack_end")), ("ok", "complete"), "{self:#?}");
        assert!(
            self.frames()
                .iter()
                .all(|frame| frame["certainty"] == "exact" || frame["certainty"] == Value::Null),
            "{self:#?}"
        );
    }

    /// All 25 functions of the chain, in order, one after the other.
    #[track_caller]
    fn assert_descended(&self) {
        let names: Vec<_> =
            self.functions().into_iter().filter(|name| name.starts_with("frame_")).collect();
        let wanted: Vec<_> = ('a'..='y').rev().map(|letter| format!("frame_{letter}")).collect();
        assert_eq!(names, wanted, "{self:#?}");
    }
}

#[test]
fn a_thousand_deep_threads_are_whole() {
    let daemon = Daemon::new(&["parked", "1000"]);
    let report = daemon.report();
    let threads = report.named("deep");
    assert_eq!(threads.len(), 1000);
    for thread in threads {
        thread.assert_whole();
        thread.assert_descended();
        assert_eq!(thread.functions().last().copied(), Some(""), "clone, which has no symbol");
    }
    assert!(report.is_complete(), "{}", report.reasons());
}

#[test]
fn threads_that_come_and_go_have_right_reasons() {
    let daemon = Daemon::new(&["churn", "200"]);
    let mut seen_short = 0;
    for _ in 0..20 {
        let report = daemon.report();
        for thread in report.threads() {
            match thread.text("capture") {
                "ok" => thread.assert_whole(),
                // Threads are born and die with all signals blocked.
                "exited" | "signal_blocked" => {
                    assert!(thread.name() != "stays0" && thread.name() != "stays1", "{thread:?}");
                }
                "own" => assert_eq!(thread.name(), "lent"),
                _ => panic!("{thread:#?}"),
            }
            seen_short += usize::from(thread.name() == "short");
        }
        for thread in report.named("stays") {
            thread.assert_whole();
            thread.assert_descended();
        }
        assert_eq!(report.named("stays").len(), 2);
        assert!(report.is_complete(), "{}", report.reasons());
    }
    assert!(seen_short > 0);
}

#[test]
fn threads_that_block_the_signal_are_left_alone() {
    let daemon = Daemon::new(&["blocked"]);
    let report = daemon.report();
    for thread in report.named("blocks-") {
        assert_eq!(thread.text("capture"), "signal_blocked");
        assert_eq!(thread.text("stack_end"), "complete", "read while it is parked: {thread:#?}");
    }
    report.thread("open").assert_whole();
    assert!(report.is_complete(), "{}", report.reasons());
}

#[test]
fn a_main_thread_that_ended_has_exited() {
    let daemon = Daemon::new(&["main_ends"]);
    let main = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        status.rsplit(") ").next().unwrap().starts_with('Z')
    };
    while !main() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let report = daemon.report();
    let leader = report.threads().into_iter().find(|thread| thread.tid() == daemon.pid());
    assert_eq!(leader.expect("the main thread").text("capture"), "exited");
    report.thread("goes-on").assert_descended();
    assert!(report.is_complete(), "{}", report.reasons());
}

/// Stops one thread as a debugger does; it answers nothing until it is let go.
struct Tracer(i32);

impl Tracer {
    fn stop(tid: i32) -> Self {
        // SAFETY: traces a thread of our child.
        let attached = unsafe { libc::ptrace(libc::PTRACE_ATTACH, tid, 0, 0) };
        assert_eq!(attached, 0, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: waits for the thread we trace.
        let waited = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
        assert_eq!(waited, tid);
        Tracer(tid)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // SAFETY: the thread we trace is stopped.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) }, 0);
    }
}

#[test]
fn a_late_answer_does_not_touch_the_next_report() {
    let roles = ["role_red", "role_green", "role_blue", "role_black", "role_white"];
    let daemon = Daemon::new(&["roles"]);
    let check = |report: &Report, except: Option<&str>| {
        for role in roles.iter().filter(|role| Some(**role) != except) {
            let thread = report.thread(role);
            thread.assert_whole();
            thread.assert_descended();
            let found: Vec<_> =
                thread.functions().into_iter().filter(|name| name.starts_with("role_")).collect();
            assert_eq!(found, [*role], "the stack of another thread");
        }
    };
    let first = daemon.report();
    check(&first, None);
    assert!(first.is_complete(), "{}", first.reasons());

    for role in ["role_blue", "role_red"] {
        let tracer = Tracer::stop(first.thread(role).tid());
        // Asked, and late; then not asked again, since the signal is pending.
        for _ in 0..2 {
            let report = daemon.report();
            check(&report, Some(role));
            assert_eq!(report.thread(role).text("capture"), "timeout");
            // Stopped where it was parked: that can be read.
            let held = report.thread(role);
            assert_eq!(held.text("stack_end"), "complete", "{held:#?}");
            held.assert_descended();
            assert!(!report.is_complete());
        }
        drop(tracer);
        // The late answer may come at any moment of these.
        for _ in 0..5 {
            let report = daemon.report();
            check(&report, Some(role));
            if report.is_complete() {
                check(&report, None);
            }
        }
        let report = daemon.report();
        check(&report, None);
        assert!(report.is_complete(), "{}", report.reasons());
    }
}

#[test]
fn a_handler_that_was_there_before_keeps_its_signal() {
    let mut daemon = Daemon::new(&["foreign_before"]);
    let report = daemon.report();
    for thread in report.named("worker") {
        thread.assert_whole();
        thread.assert_descended();
    }
    assert!(report.is_complete(), "{}", report.reasons());
    let capture = report.0["end"]["capture"].as_str().expect("the settings");
    assert!(capture.starts_with("real-time signal,"), "{capture}");
    daemon.tell("urg");
    assert_eq!(daemon.says(), "1");
}

#[test]
fn a_handler_that_chains_ours_is_no_harm() {
    let mut daemon = Daemon::new(&["chained_after"]);
    for _ in 0..3 {
        let report = daemon.report();
        assert_eq!(report.named("worker").len(), 3);
        for thread in report.named("worker") {
            thread.assert_whole();
            thread.assert_descended();
        }
        assert!(report.is_complete(), "{}", report.reasons());
        daemon.tell("urg");
        assert_eq!(daemon.says(), "1");
    }
}

#[test]
fn a_handler_that_replaced_ours_is_named() {
    let mut daemon = Daemon::new(&["replaced_after"]);
    let report = daemon.report();
    assert_eq!(report.named("worker").len(), 3);
    for thread in report.named("worker") {
        assert_eq!(thread.text("capture"), "handler_replaced", "{thread:#?}");
        assert_eq!(thread.text("stack_end"), "complete", "read while it is parked: {thread:#?}");
        thread.assert_descended();
    }
    assert!(!report.is_complete());
    daemon.tell("urg");
    assert_eq!(daemon.says(), "1");
}

#[test]
fn frames_below_a_signal_handler_are_found() {
    let daemon = Daemon::new(&["in_handler"]);
    let report = daemon.report_with_whole("alternate");
    let thread = report.thread("own-stack");
    thread.assert_whole();
    thread.assert_descended();
    let functions = thread.functions();
    let position = |name: &str| {
        functions.iter().position(|found| *found == name).unwrap_or_else(|| panic!("{thread:#?}"))
    };
    let signal_frames: Vec<_> = (0..functions.len())
        .filter(|at| thread.frames()[*at]["signal_frame"] == Value::Bool(true))
        .collect();
    assert_eq!(signal_frames.len(), 1, "{thread:#?}");
    assert!(position("stuck_inside") < position("stuck_handler"));
    assert_eq!(position("stuck_handler") + 1, signal_frames[0]);
    assert!(signal_frames[0] < position("raise_usr1"));
    assert!(position("raise_usr1") < position("frame_y"));

    // The interrupted stack is another one, which no window holds: read where it is
    // parked, and marked.
    let thread = report.thread("alternate");
    assert_eq!((thread.text("capture"), thread.text("stack_end")), ("ok", "complete"));
    thread.assert_descended();
    let frames = thread.frames();
    let is_inferred = |frame: &Value| frame["certainty"] == "inferred";
    let marked = frames.iter().position(is_inferred).expect("a mark");
    assert!(frames[marked..].iter().all(is_inferred), "{thread:#?}");
    let at = |name: &str| thread.functions().iter().position(|found| *found == name);
    assert!(at("stuck_handler") < Some(marked) && Some(marked) <= at("raise_alrm"), "{thread:#?}");
    assert!(report.is_complete(), "{}", report.reasons());
}

/// The frame of the capture signal goes onto the alternate stack that its thread
/// is on, SA_ONSTACK or not; std's 8 KiB hold two.
#[test]
fn a_handler_on_stds_alternate_stack_survives() {
    let daemon = Daemon::new(&["std_alternate"]);
    for _ in 0..3 {
        let report = daemon.report_with_whole("alternate");
        let thread = report.thread("alternate");
        assert_eq!((thread.text("capture"), thread.text("stack_end")), ("ok", "complete"));
        assert!(thread.functions().contains(&"paused_handler"));
    }
}

#[test]
fn limits_that_are_hit_are_said() {
    let daemon = Daemon::new(&["deep"]);
    let report = daemon.report();
    let wide = report.thread("wide");
    assert_eq!((wide.text("capture"), wide.text("stack_end")), ("partial", "window_full"));
    assert!(wide.functions().iter().filter(|name| **name == "wide").count() > 20);
    let narrow = report.thread("narrow");
    assert_eq!((narrow.text("capture"), narrow.text("stack_end")), ("partial", "frame_limit"));
    assert_eq!(narrow.frames().len(), 64);
    assert!(!report.is_complete());
}

#[test]
fn the_smallest_stacks_bear_it() {
    let daemon = Daemon::new(&["small"]);
    for _ in 0..3 {
        let report = daemon.report();
        assert_eq!(report.named("small-").len(), 2);
        for thread in report.named("small-") {
            thread.assert_whole();
            thread.assert_descended();
        }
        assert!(report.is_complete(), "{}", report.reasons());
    }
}

#[test]
fn a_refused_process_vm_readv_is_replaced_and_said() {
    let daemon = Daemon::new(&["refused"]);
    for _ in 0..2 {
        let report = daemon.report();
        assert_eq!(report.named("deep").len(), 4);
        for thread in report.named("deep") {
            thread.assert_whole();
            thread.assert_descended();
        }
        let capture = report.0["end"]["capture"].as_str().expect("the settings");
        assert!(capture.contains("process_vm_readv refused"), "{capture}");
        assert!(report.is_complete(), "{}", report.reasons());
    }
}

/// A library made for this test; kept where the binaries are.
fn plugin() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join(format!("plugin{}.c", std::process::id()));
    let library = source.with_extension("so");
    let text = "void plugin_entry(void (*inside)(void)) { inside(); __asm__ volatile(\"\"); }\n";
    std::fs::write(&source, text).expect("to write");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .expect("a C compiler");
    assert!(status.success());
    library
}

#[test]
fn a_library_that_is_loaded_later_is_known() {
    let library = plugin();
    let daemon = Daemon::new(&["library", library.to_str().expect("a plain path")]);
    // The refresher may be slow to start, or to answer.
    loop {
        let report = daemon.report();
        let thread = report.thread("in-library");
        let frames = thread.frames();
        let Some(frame) = frames.iter().find(|frame| frame["function"] == "plugin_entry") else {
            continue;
        };
        thread.assert_whole();
        assert_eq!(frame["module"].as_str(), library.file_name().unwrap().to_str());
        assert!(report.is_complete(), "{}", report.reasons());
        return;
    }
}

#[test]
fn the_thread_that_takes_the_trigger_has_a_stack() {
    let daemon = Daemon::new(&["parked", "2"]);
    for _ in 0..200 {
        let report = daemon.report();
        let main = report.threads().into_iter().find(|thread| thread.tid() == daemon.pid());
        main.expect("the main thread").assert_whole();
    }
}

/// The addresses of each thread's frames, outermost last, as gdb finds them:
/// it prints the address of each frame but of inlined ones and of those that
/// are at the first instruction of a line.
fn gdb(pid: i32) -> Option<Vec<(i32, Vec<u64>)>> {
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set debuginfod enabled off"])
        .args(["-iex", "set auto-load no", "-ex", "set pagination off", "-ex", "set width 0"])
        .args(["-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry on"])
        .args(["-ex", "thread apply all bt", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut threads: Vec<(i32, Vec<u64>)> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Thread ") {
            let tid = line.split("(LWP ").nth(1).and_then(|rest| rest.split(')').next());
            threads.push((tid.and_then(|tid| tid.parse().ok()).expect("a TID"), Vec::new()));
        } else if line.starts_with('#')
            && let Some(address) = line.split_whitespace().nth(1)
            && let Some(address) = address.strip_prefix("0x")
            && let Ok(address) = u64::from_str_radix(address, 16)
            && let Some((_, addresses)) = threads.last_mut()
        {
            addresses.push(address);
        }
    }
    Some(threads)
}

#[test]
fn the_frames_are_those_that_gdb_finds() {
    let daemon = Daemon::new(&["parked", "20"]);
    let report = daemon.report();
    let Some(threads) = gdb(daemon.pid()) else {
        eprintln!("gdb is not installed: nothing to compare with");
        return;
    };
    let mut compared = 0;
    for thread in report.named("deep") {
        let (_, addresses) = threads
            .iter()
            .find(|(tid, _)| *tid == thread.tid())
            .expect("gdb sees the same threads");
        let mut ours = thread.pcs();
        ours.dedup();
        let mut gdbs = addresses.clone();
        gdbs.dedup();
        assert!(gdbs.len() > 30, "{gdbs:x?}");
        // gdb leaves out the address of a frame at the beginning of a line.
        let missing = ours.iter().filter(|pc| !gdbs.contains(pc)).count();
        assert!(missing <= 2, "\nours {ours:x?}\ngdb  {gdbs:x?}");
        ours.retain(|pc| gdbs.contains(pc));
        assert_eq!(ours, gdbs);
        compared += 1;
    }
    assert_eq!(compared, 20);
}
