//! What threads were doing stands beside their stacks, and goes when it is over.

use gmr_tests::{Daemon, ErrLog, Report, until};
use rustix::process::{Pid, Signal, kill_process};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

const SETUPS: [&str; 3] = ["std", "core-autorun", "core-trigger"];

/// The signal that threads are captured with.
const SIGURG: i32 = 23;

fn start(setup: &str, log: &ErrLog) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    if setup.starts_with("core-autorun") {
        // A parked thread reports, the main thread listens.
        daemon.must("threads 1");
        daemon.must("block 12");
    }
    daemon.must(setup);
    if setup.starts_with("core-trigger") {
        daemon.must("run-thread");
    }
    daemon
}

fn scoped(daemon: &mut Daemon, name: &str) -> u32 {
    daemon.ask(&format!("scoped {name}")).parse().expect("a thread's number")
}

/// Asks for one more report.
fn report(daemon: &Daemon, log: &ErrLog, sequence: u64) -> Report {
    daemon.trigger();
    log.report(sequence)
}

/// Threads that are in a scope, with their scopes.
fn doing(report: &Report) -> Vec<(u32, &[String])> {
    let mut doing: Vec<_> = report
        .threads
        .iter()
        .filter(|thread| !thread.scopes.is_empty())
        .map(|thread| (thread.tid, &*thread.scopes))
        .collect();
    doing.sort_unstable();
    doing
}

#[test]
fn scopes_stand_beside_their_threads_outermost_first_and_vanish() {
    for view in ["text", "json"] {
        for setup in SETUPS {
            let log = ErrLog::new();
            let mut daemon = start(&format!("{setup} view={view}"), &log);
            let busy = scoped(&mut daemon, "busy");
            let deaf = scoped(&mut daemon, &format!("deaf {SIGURG}"));
            let idle = scoped(&mut daemon, "idle");
            daemon.must("in busy enter request GET /heat?x=1 (a) = b");
            daemon.must("in busy format query stacks");
            daemon.must("in deaf enter-std waiting");

            let first = report(&daemon, &log, 1);
            let busy_scopes = ["request: GET /heat?x=1 (a) = b", "query: <stacks>"];
            assert_eq!(first.thread(busy).scopes, busy_scopes, "{}", first.raw);
            assert!(first.thread(busy).is_in("follow"), "with its stack: {}", first.raw);
            assert_eq!(first.thread(deaf).scopes, ["waiting"]);
            assert_eq!(first.thread(deaf).capture, "signal_blocked", "without a stack");
            assert!(first.thread(idle).scopes.is_empty());
            assert_eq!(doing(&first).len(), 2, "{}", first.raw);
            assert!(first.is_complete, "{}", first.raw);

            daemon.must("in busy leave");
            daemon.must("in deaf leave");
            daemon.must("in busy enter answer");
            let second = report(&daemon, &log, 2);
            let busy_scopes = ["request: GET /heat?x=1 (a) = b".to_owned(), "answer".to_owned()];
            assert_eq!(doing(&second), [(busy, &busy_scopes[..])], "{}", second.raw);

            daemon.must("in busy leave-all");
            let third = report(&daemon, &log, 3);
            assert!(doing(&third).is_empty(), "{}", third.raw);
            daemon.assert_alive();
        }
    }
}

#[test]
fn a_report_in_the_handler_shows_what_its_own_thread_was_doing() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("core-autorun");
    daemon.must("in here enter listening to the test");
    let first = report(&daemon, &log, 1);
    let main = first.thread(daemon.pid());
    assert!(main.is_triggering, "{}", first.raw);
    assert_eq!(main.scopes, ["listening: to the test"]);
}

#[test]
fn long_details_are_cut_with_a_mark_and_secrets_masked() {
    for view in ["text", "json"] {
        let log = ErrLog::new();
        let mut daemon = start(&format!("std view={view}"), &log);
        let tid = scoped(&mut daemon, "busy");
        let long = "é".repeat(60);
        daemon.must(&format!("in busy enter long {long}"));
        daemon.must(&format!("in busy format long {long}"));
        daemon.must("in busy enter login password=s3kr1t-scope https://u:s3kr1t-scope@h/");
        let padding = "p".repeat(62);
        daemon.must(&format!("in busy enter cut {padding} https://user:s3kr1t-scope@h/"));
        let first = report(&daemon, &log, 1);
        let kept = "é".repeat(44);
        let formatted = "é".repeat(43);
        let expected = [
            format!("long: {kept}{{...cut from 120 B}}"),
            format!("long: <{formatted}{{...cut from 122 B}}"),
            "login: password=*** https://u:***@h/".to_owned(),
            format!("cut: {padding} https://user:***{{...cut from 91 B}}"),
        ];
        assert_eq!(first.thread(tid).scopes, expected, "{}", first.raw);
        assert!(!first.raw.contains("s3kr1t"), "{}", first.raw);
        assert!(first.is_complete, "{}", first.raw);
    }
}

#[test]
fn a_detail_cannot_forge_what_a_report_says() {
    let log = ErrLog::new();
    let mut daemon = start("std", &log);
    let tid = scoped(&mut daemon, "busy");
    // (A line end cannot be told to the puppet.)
    daemon.must("in busy enter ==== \u{1b}[2J\u{202e}");
    let first = report(&daemon, &log, 1);
    assert_eq!(first.thread(tid).scopes, [r"====: \x1b[2J\u{202e}"]);
}

#[test]
fn scopes_that_have_no_room_are_counted_and_cost_the_report_its_completeness() {
    let log = ErrLog::new();
    let mut daemon = start("core-trigger", &log);
    let tid = scoped(&mut daemon, "deep");
    daemon.must("in deep fill level 200");
    let first = report(&daemon, &log, 1);
    assert_eq!(first.thread(tid).scopes.len(), 128, "{}", first.raw);
    assert!(first.section("Threads").body.contains("scopes not recorded = 72"), "{}", first.raw);
    assert_eq!(first.reasons, "truncated");
    daemon.must("in deep leave-all");
    daemon.must("in deep enter one");
    let second = report(&daemon, &log, 2);
    assert_eq!(second.thread(tid).scopes, ["one"]);
    assert!(second.is_complete, "{}", second.raw);
}

#[test]
fn a_thread_that_ends_inside_a_scope_leaves_nothing_behind() {
    let log = ErrLog::new();
    let mut daemon = start("std", &log);
    let tid = scoped(&mut daemon, "rude");
    daemon.must("in rude enter never over");
    assert_eq!(daemon.ask("in rude leak-and-end"), "it ended");
    until("the thread's end", || {
        (!gmr_tests::process::threads(daemon.pid()).contains_key(&tid)).then_some(())
    });
    let first = report(&daemon, &log, 1);
    assert!(!first.raw.contains("never over"), "{}", first.raw);
    assert!(first.is_complete, "{}", first.raw);
}

#[test]
fn scopes_of_the_parent_that_had_no_room_cost_a_forked_child_nothing() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("std");
    scoped(&mut daemon, "deep");
    daemon.must("in deep fill level 200");
    daemon.must("in here fill level 200");
    let child: i32 = daemon.ask("fork").parse().expect("a process id");
    assert_eq!(daemon.ask("child std"), "ok");
    // Those that its thread was in end now.
    assert_eq!(daemon.ask("child in here leave-all"), "ok");
    let child = Pid::from_raw(child).expect("a process id");
    kill_process(child, Signal::USR2).expect("a child that is alive");
    let first = log.report(1);
    assert!(first.is_complete && !first.raw.contains("not recorded"), "{}", first.raw);
    assert_eq!(daemon.ask("child in here fill level 200"), "ok");
    kill_process(child, Signal::USR2).expect("a child that is alive");
    let second = log.report(2);
    assert!(second.raw.contains("scopes not recorded = 72\n"), "{}", second.raw);
    daemon.assert_alive();
}

#[test]
fn a_forked_child_shows_its_own_scopes_and_none_of_its_parent() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    scoped(&mut daemon, "busy");
    daemon.must("in busy enter parent's-thread");
    daemon.must("in here enter-std before-the-fork");
    let child: i32 = daemon.ask("fork").parse().expect("a process id");
    assert_eq!(daemon.ask("child std"), "ok");
    assert_eq!(daemon.ask("child in here enter-std after-the-fork"), "ok");
    let child = Pid::from_raw(child).expect("a process id");
    kill_process(child, Signal::USR2).expect("a child that is alive");
    let first = log.report(1);
    let main = child.as_raw_nonzero().get().unsigned_abs();
    assert_eq!(doing(&first), [(main, &["after-the-fork".to_owned()][..])], "{}", first.raw);
    assert_eq!(daemon.ask("child in here leave-all"), "ok");
    daemon.assert_alive();
}
