//! `gmr check` tells of real processes whether they can be asked for a report.

use std::process::{Child, Command, Stdio};

use gmr_tests::process::{self, status};
use gmr_tests::{Daemon, until};
use rustix::process::{Pid, Signal, kill_process};

const GMR: &str = env!("CARGO_BIN_EXE_gmr_command");
const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// Runs it. Returns exit code and output.
fn check(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(GMR).arg("check").args(arguments).output().expect("gmr");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code().expect("an exit"), text)
}

#[track_caller]
fn assert_check(pid: u32, code: i32, parts: &[&str]) {
    let (found, text) = check(&[&pid.to_string()]);
    assert_eq!(found, code, "{text}");
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

/// A process that is ended and collected with the test.
struct Other(Child);

impl Other {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        Other(command.args(arguments).stdin(Stdio::piped()).spawn().expect("a process"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it runs `name`: between fork(2) and execve(2) it is a copy of
    /// the test.
    fn once_it_is(self, name: &str) -> Self {
        until(name, || (status(self.pid(), "Name") == name).then_some(()));
        self
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn puppet(setup: &[&str]) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], Stdio::null());
    for command in setup {
        daemon.must(command);
    }
    daemon
}

#[test]
fn a_daemon_before_its_setup_would_end_and_after_it_answers() {
    let mut daemon = puppet(&[]);
    assert_check(daemon.pid(), 1, &["(puppet): no: ", "do not send it, it would END"]);
    daemon.must("std");
    assert_check(
        daemon.pid(),
        0,
        &[
            "(puppet): yes: it has a handler for SIGUSR2",
            "3 of 5 threads take SIGUSR2",
            "2 of its threads are called gmr-supervisor",
            "/dev/null",
        ],
    );
    daemon.assert_alive();
    assert_eq!(daemon.stats().reports(), 0, "a check is no request");
}

#[test]
fn a_daemon_that_only_armed_or_has_the_core_alone_answers_and_nothing_is_claimed() {
    let daemon = Daemon::start(PUPPET, &["arm"], Stdio::null());
    assert_check(daemon.pid(), 0, &["yes", "/proc does not say"]);
    let daemon = puppet(&["core-autorun"]);
    assert_check(daemon.pid(), 0, &["yes", "/proc does not say"]);
}

#[test]
fn the_supervisors_of_a_daemon_tell_which_signal_is_its_trigger() {
    // It handles both; only one of them is for reports.
    let daemon = puppet(&["std signal=10", "listen-hook 12"]);
    assert_check(daemon.pid(), 1, &["asked for by SIGUSR1", "gmr check --signal usr1"]);
    let pid = daemon.pid().to_string();
    for signal in ["usr1", "SIGUSR1", "10"] {
        let (code, text) = check(&["--signal", signal, &pid]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("a handler for SIGUSR1"), "{text}");
    }
}

#[test]
fn a_program_without_reports_would_end() {
    let sleep = Other::start("sleep", &["600"]).once_it_is("sleep");
    assert_check(sleep.pid(), 1, &["(sleep): no: ", "would END"]);
    let (code, text) = check(&["--signal", "28", &sleep.pid().to_string()]);
    assert_eq!(code, 1);
    assert!(text.contains("no handler for signal 28: harmless"), "{text}");
}

#[test]
fn a_wrapper_leads_to_the_child_that_has_the_handler() {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\"; true", PUPPET]);
    let mut daemon = Daemon::start_command(command, Stdio::null());
    let child = daemon.ready.split(' ').nth(1).expect("a process id").to_owned();
    assert_check(daemon.pid(), 1, &["(sh): no: ", "would END"]);
    daemon.must("std");
    let hint = format!("Its child {child} (puppet) has a handler");
    assert_check(daemon.pid(), 1, &["(sh): no: ", "would END", &hint]);
    assert_eq!(check(&[&child]).0, 0);
}

#[test]
fn a_process_that_ignores_the_signal_does_not_answer() {
    let sleep = Other::start("env", &["--ignore-signal=USR2", "sleep", "600"]).once_it_is("sleep");
    assert_check(sleep.pid(), 1, &["it ignores SIGUSR2: harmless"]);
}

#[test]
fn a_daemon_whose_threads_all_block_the_signal_does_not_answer() {
    let daemon = puppet(&["core-autorun", "block 12"]);
    assert_check(daemon.pid(), 1, &["all its threads block SIGUSR2"]);
    // gmr-std's own threads leave it open.
    let daemon = puppet(&["block 12", "std"]);
    assert_check(daemon.pid(), 0, &["2 of 5 threads take SIGUSR2"]);
}

#[test]
fn a_stopped_daemon_answers_once_it_goes_on() {
    let daemon = puppet(&["std"]);
    daemon.signal(Signal::STOP);
    until("all threads to stop", || is_in_state(daemon.pid(), 'T').then_some(()));
    assert_check(daemon.pid(), 1, &["it is stopped"]);
    daemon.signal(Signal::CONT);
    until("the threads to go on", || (!is_in_state(daemon.pid(), 'T')).then_some(()));
    assert_check(daemon.pid(), 0, &["yes"]);
}

#[test]
fn a_zombie_and_a_process_that_is_gone_do_not_answer() {
    let mut sleep = Other::start("sleep", &["600"]);
    let pid = sleep.pid();
    sleep.0.kill().expect("a living process");
    until("a zombie", || is_in_state(pid, 'Z').then_some(()));
    let parent = format!("process {} to collect", std::process::id());
    assert_check(pid, 1, &["zombie", &parent]);
    drop(sleep);
    assert_check(pid, 2, &["unknown: there is no such process"]);
}

#[test]
fn a_thread_is_not_taken_for_a_process() {
    let daemon = puppet(&["std"]);
    let threads = process::threads(daemon.pid());
    let tid = *threads.keys().find(|tid| **tid != daemon.pid()).expect("a further thread");
    assert_check(tid, 2, &["a thread of process", &daemon.pid().to_string()]);
}

#[test]
fn of_several_processes_each_is_told_and_the_exit_code_is_the_worst() {
    let (daemon, sleep) = (puppet(&["std"]), Other::start("sleep", &["600"]).once_it_is("sleep"));
    let (yes, no) = (daemon.pid().to_string(), sleep.pid().to_string());
    let (code, text) = check(&[&yes, &no]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("{yes} (puppet): yes")), "{text}");
    assert!(text.contains(&format!("{no} (sleep): no")), "{text}");
}

#[test]
fn a_wrong_command_line_is_told_apart_from_an_answer() {
    for arguments in [&[][..], &["x"], &["-1"], &["0"], &["--signal", "kill", "1"]] {
        assert_eq!(check(arguments).0, 2, "{arguments:?}");
    }
}

/// `gmr check` as nobody, after `before` in a shell of its own mount namespace.
/// `None`: not allowed here.
fn check_as_nobody(before: &str, pid: u32) -> Option<(i32, String)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("needs root: not tested");
        return None;
    }
    // The build's directory may be closed to others.
    let copy = std::env::temp_dir().join(format!("gmr-test-{}-gmr", std::process::id()));
    std::fs::copy(GMR, &copy).expect("a copy");
    let script = format!(
        "{before} exec setpriv --reuid=65534 --regid=65534 --clear-groups {} check {pid}",
        copy.display()
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output();
    std::fs::remove_file(&copy).expect("the copy");
    let output = output.expect("unshare");
    if !output.stderr.is_empty() {
        eprintln!("not tested: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some((output.status.code().expect("an exit"), text))
}

#[test]
fn what_may_not_be_signalled_or_seen_is_said_to_be_so() {
    let daemon = puppet(&["std"]);
    if let Some((code, text)) = check_as_nobody("", daemon.pid()) {
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("may not send it signals"), "{text}");
    }
    let hidden = "mount -t proc -o hidepid=invisible proc /proc &&";
    if let Some((code, text)) = check_as_nobody(hidden, daemon.pid()) {
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("/proc hides it"), "{text}");
    }
}

#[test]
fn a_daemon_in_another_pid_namespace_has_two_numbers() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", PUPPET]);
    if Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .status()
        .is_ok_and(|s| !s.success())
    {
        eprintln!("pid namespaces are not allowed: not tested");
        return;
    }
    let mut daemon = Daemon::start_command(command, Stdio::null());
    assert_eq!(daemon.ready, "ready 1");
    let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
    let outer = std::fs::read_to_string(children).expect("unshare's child");
    let outer: u32 = outer.trim().parse().expect("one child");
    // As pid 1 it is not ended by what it does not handle.
    assert_check(outer, 1, &["the kernel shields it", "It is pid 1 in a pid namespace of its own"]);
    let pid = Pid::from_raw(outer.cast_signed()).expect("a process id");
    kill_process(pid, Signal::USR2).expect("a living process");
    daemon.assert_alive();
    daemon.must("std");
    assert_check(outer, 0, &["yes", "It is pid 1 in a pid namespace of its own"]);
}

fn is_in_state(pid: u32, state: char) -> bool {
    process::threads(pid).keys().all(|tid| status(*tid, "State").starts_with(state))
}
