//! The reporter's own threads run where and as they were told to.

use std::fs;

use gmr_tests::process::{status, threads};
use gmr_tests::{Daemon, ErrLog};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// As /proc/PID/stat has it (proc_pid_stat(5)): SCHED_OTHER, SCHED_FIFO.
const OTHER: i64 = 0;
const FIFO: i64 = 1;

/// Policy, real-time priority and nice value of a thread.
fn scheduling(pid: u32, tid: u32) -> (i64, i64, i64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).expect("a thread");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    // The first of them is the third, the state.
    let fields: Vec<_> = rest.split(' ').collect();
    let field = |number: usize| fields[number - 3].parse().expect("a number");
    (field(41), field(40), field(19))
}

fn own_threads(daemon: &Daemon) -> Vec<u32> {
    let threads = threads(daemon.pid());
    let own: Vec<_> = threads
        .into_iter()
        .filter(|(_, name)| name.starts_with("gmr-"))
        .map(|(tid, _)| tid)
        .collect();
    assert!(own.len() >= 3, "the supervisors and a worker");
    own
}

#[track_caller]
fn assert_reports(daemon: &Daemon, log: &ErrLog) {
    daemon.trigger();
    let report = log.report(1);
    assert!(report.is_complete, "{}", report.raw);
}

#[test]
fn by_default_they_are_as_the_process_is() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("std");
    let main = scheduling(daemon.pid(), daemon.pid());
    for tid in own_threads(&daemon) {
        assert_eq!(scheduling(daemon.pid(), tid), main);
        assert_eq!(status(tid, "Cpus_allowed_list"), status(daemon.pid(), "Cpus_allowed_list"));
    }
    assert_reports(&daemon, &log);
}

#[test]
fn cpus_are_those_that_were_chosen() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    let allowed = status(daemon.pid(), "Cpus_allowed_list");
    let last = allowed.rsplit([',', '-']).next().expect("a CPU").to_owned();
    daemon.must(&format!("std cpus={last}"));
    for tid in own_threads(&daemon) {
        assert_eq!(status(tid, "Cpus_allowed_list"), last);
    }
    assert_eq!(status(daemon.pid(), "Cpus_allowed_list"), allowed, "of the program's threads");
    assert_reports(&daemon, &log);
}

#[test]
fn a_nice_value_is_the_one_that_was_chosen() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    let before = scheduling(daemon.pid(), daemon.pid());
    daemon.must("std nice=19");
    for tid in own_threads(&daemon) {
        assert_eq!(scheduling(daemon.pid(), tid), (OTHER, 0, 19));
    }
    assert_eq!(scheduling(daemon.pid(), daemon.pid()), before, "of the program's threads");
    assert_reports(&daemon, &log);
}

#[test]
fn in_a_real_time_process_they_are_ordinary_unless_they_are_to_inherit() {
    for (setup, policy) in
        [("std", OTHER), ("std nice=19", OTHER), ("std scheduling=inherit", FIFO)]
    {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        if daemon.ask("real-time 3") != "ok" {
            eprintln!("no real-time policy is allowed: not tested");
            return;
        }
        daemon.must(setup);
        assert_eq!(scheduling(daemon.pid(), daemon.pid()).0, FIFO);
        for tid in own_threads(&daemon) {
            assert_eq!(scheduling(daemon.pid(), tid).0, policy, "{setup}");
        }
        assert_reports(&daemon, &log);
    }
}

#[test]
fn what_the_kernel_refuses_is_an_error_and_leaves_nothing() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    for (setup, error) in [
        ("std nice=20", "Scheduling(Policy"),
        ("std nice=-21", "Scheduling(Policy"),
        ("std cpus=1023", "Scheduling(Cpus"),
        ("std cpus=100000", "Scheduling(Cpus"),
    ] {
        let answer = daemon.ask(setup);
        assert!(answer.starts_with(error), "{setup}: {answer}");
        gmr_tests::until("the end of the report threads", || {
            let names = threads(daemon.pid());
            (!names.values().any(|name| name.starts_with("gmr-"))).then_some(())
        });
    }
    daemon.must("std");
    assert_reports(&daemon, &log);
}

#[test]
fn an_unprivileged_daemon_with_a_nice_value_sets_up_and_may_only_go_higher() {
    let log = ErrLog::new();
    let mut command = std::process::Command::new("nice");
    command.args(["-n", "5", PUPPET]);
    let mut daemon = Daemon::start_command(command, log.stdio());
    if daemon.ask("become 65534") != "ok" {
        eprintln!("needs root: not tested");
        return;
    }
    let answer = daemon.ask("std nice=0");
    assert!(answer.starts_with("Scheduling(Policy"), "{answer}");
    daemon.must("std");
    let main = scheduling(daemon.pid(), daemon.pid());
    assert!(main.2 >= 5, "a nice value: {main:?}");
    for tid in own_threads(&daemon) {
        assert_eq!(scheduling(daemon.pid(), tid), main);
    }
    assert_reports(&daemon, &log);
}
