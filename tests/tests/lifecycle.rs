//! Before setup, after shutdown, across fork and exec, and setups that fail.

use std::fs::File;
use std::process::{self as own, Stdio};
use std::thread;
use std::time::Instant;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use gmr_tests::process::{catches, descriptors, is_alive, status, threads};
use gmr_tests::{DEADLINE, Daemon, ErrLog, Stream, until};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const EXECER: &str = env!("CARGO_BIN_EXE_execer");

const USR2: i32 = 12;

const SETUPS: [&[&str]; 3] = [&["std"], &["core-autorun"], &["core-trigger", "run-thread"]];

#[test]
fn armed_early_requests_are_answered_by_a_report_after_setup() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &["arm"], log.stdio());
        for _ in 0..3 {
            daemon.trigger();
            daemon.assert_alive();
        }
        assert!(log.is_empty());
        for command in setup {
            daemon.must(command);
        }
        let report = log.wait_for(1).only();
        assert!(report.is_complete, "{}", report.raw);
        let from_us = format!("SIGUSR2 from pid {} ", own::id());
        assert!(report.head("requested by").is_some_and(|who| who.starts_with(&from_us)));
        daemon.trigger();
        assert!(log.report(2).is_complete);
        let stats = daemon.wait_stats("both reports", |stats| stats.reports() >= 2);
        assert_eq!((stats.complete, stats.incomplete), (2, 0));
    }
}

#[test]
fn without_arm_an_early_request_ends_the_process_as_it_always_did() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.trigger();
    assert!(!daemon.wait().success());
}

#[test]
fn a_forked_child_ignores_the_trigger_until_its_own_setup() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        daemon.must("threads 2");
        for command in setup {
            daemon.must(command);
        }
        let child: i32 = daemon.ask("fork").parse().expect("a process id");
        let child = Pid::from_raw(child).expect("a process id");
        for count in 1..=2 {
            kill_process(child, Signal::USR2).expect("a child that is alive");
            until("a counted request", || {
                let stats = gmr_tests::daemon::Stats::parse(&daemon.ask("child stats"));
                assert_eq!(stats.reports(), 0);
                (stats.ignored == count).then_some(())
            });
        }
        assert!(log.is_empty(), "a child without setup wrote: {}", log.text());
        assert_eq!(daemon.stats().ignored, 0, "counted in the child only");

        // Its own setup.
        for command in setup {
            assert_eq!(daemon.ask(&format!("child {command}")), "ok");
        }
        kill_process(child, Signal::USR2).expect("a child that is alive");
        let report = log.wait_for(1).only();
        assert!(report.is_complete, "{}", report.raw);
        let pid = child.as_raw_nonzero().to_string();
        assert_eq!(report.head("pid"), Some(&*pid));
        let alive = threads(child.as_raw_nonzero().get().unsigned_abs());
        assert_eq!(report.threads.len(), alive.len(), "only the child's own threads");

        // The parent's is untouched.
        let offset = log.len();
        daemon.trigger();
        let report = log.wait_from(offset, 1).only();
        assert!(report.is_complete, "{}", report.raw);
        assert_eq!(report.head("pid"), Some(&*daemon.pid().to_string()));
        daemon.wait_stats("the parent's report", |stats| stats.reports() == 1);
    }
}

#[test]
fn an_exec_while_captures_are_pending_does_not_end_the_new_image() {
    for mode in ["std", "core"] {
        let mut daemon = Daemon::start(EXECER, &[mode, "0", "300"], Stdio::inherit());
        assert_eq!(daemon.ready, "image 0");
        let pid = Pid::from_raw(daemon.pid().cast_signed()).expect("a process id");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // The rain: over each of the 300 images, by another process.
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    // It fails at the end, when nobody is there any more.
                    let _ = kill_process(pid, Signal::USR2);
                    thread::sleep(Duration::from_micros(200));
                }
            });
            let mut line = String::new();
            for image in 1..=30 {
                line = match daemon.next_line() {
                    Some(line) => line,
                    None => break,
                };
                assert!(line.starts_with(&format!("image {image}0")), "{mode}: {line}");
            }
            is_over.store(true, Ordering::Release);
            assert_eq!(line, "image 300 survived", "{mode}: {:?}", daemon.wait());
        });
        assert!(daemon.wait().success());
    }
}

/// What a failed setup may not change.
type Trace = (usize, Vec<(u32, String)>, bool, bool, String);

/// Waits, since a thread that was joined may be seen for a moment.
#[track_caller]
fn leaves_nothing(daemon: &Daemon, before: &Trace, what: &str) {
    let end = Instant::now() + DEADLINE;
    while trace(daemon) != *before {
        assert!(Instant::now() < end, "{what} left {:#?} of {before:#?}", trace(daemon));
    }
}

fn trace(daemon: &Daemon) -> Trace {
    let pid = daemon.pid();
    (
        threads(pid).len(),
        descriptors(pid).into_iter().collect(),
        catches(pid, USR2),
        catches(pid, 10),
        status(pid, "SigBlk"),
    )
}

/// Each of `commands` fails as it should and leaves nothing; then a correct
/// setup works.
#[track_caller]
fn fails_cleanly(commands: &[(&str, &str)], setup: &[&str]) {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("threads 1");
    let before = trace(&daemon);
    assert!(!before.2);
    for (command, error) in commands {
        let answer = daemon.ask(command);
        assert!(answer.starts_with(error), "{command}: {answer}");
        leaves_nothing(&daemon, &before, command);
    }
    assert!(log.is_empty(), "{}", log.text());
    for command in setup {
        daemon.must(command);
    }
    daemon.trigger();
    let report = log.report(1);
    assert!(report.is_complete, "{}", report.raw);
}

#[test]
fn signals_that_cannot_be_taken_are_refused() {
    let commands: Vec<(String, String)> = ["std", "core-autorun", "core-trigger"]
        .iter()
        .flat_map(|setup| {
            [9, 19, 11, 7, 4, 8, 6, 23, 17, 13, 32, 33, 0, -1, 65, 1000].map(|signal| {
                let core = format!("BadSignal {{ signal: {signal}, ");
                let error = if *setup == "std" { format!("Core({core}") } else { core };
                (format!("{setup} signal={signal}"), error)
            })
        })
        .collect();
    let commands: Vec<_> = commands.iter().map(|(one, two)| (&**one, &**two)).collect();
    fails_cleanly(&commands, &["std"]);
    fails_cleanly(&commands[..1], &["core-autorun"]);
}

#[test]
fn destinations_that_cannot_be_used_are_refused() {
    fails_cleanly(
        &[
            ("std fd=77", "Core(Destination { fd: 77, errno: 9 })"),
            ("std fd=-1", "Core(Destination { fd: -1, errno: 9 })"),
            ("core-autorun fd=77", "Destination { fd: 77, errno: 9 }"),
            ("core-trigger fd=77", "Destination { fd: 77, errno: 9 }"),
        ],
        &["std"],
    );
}

#[test]
fn a_destination_that_is_open_for_reading_only_is_refused() {
    fails_cleanly(
        // The puppet's stdin: a pipe's reading end.
        &[
            ("std fd=0", "Core(Destination { fd: 0, errno: 9 })"),
            ("core-autorun fd=0", "Destination { fd: 0, errno: 9 }"),
        ],
        &["std"],
    );
}

#[test]
fn too_many_sections_are_refused() {
    let names: Vec<_> = (0..33).map(|number| format!("filler-{number}")).collect();
    let command = format!("std sections={}", names.join(","));
    fails_cleanly(&[(&command, "Section { title: \"Filler 30\", error: Full }")], &["std"]);

    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    for name in &names[..32] {
        daemon.must(&format!("register {name}"));
    }
    assert_eq!(daemon.ask("register filler-32"), "Full");
    daemon.must("core-autorun");
    daemon.trigger();
    let report = log.report(1);
    assert!(report.is_complete, "{}", report.raw);
    assert_eq!(report.titles().len(), 3 + 32);
}

#[test]
fn without_a_signal_for_captures_setup_is_refused() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("take-capture-signals");
    let before = trace(&daemon);
    for (command, error) in [("std", "Core(NoCaptureSignal)"), ("core-autorun", "NoCaptureSignal")]
    {
        assert_eq!(daemon.ask(command), error);
        leaves_nothing(&daemon, &before, command);
    }
}

/// Sets a limit, tries, and lifts the limit again: until a setup works.
fn fails_cleanly_under(limits: impl Iterator<Item = (Resource, u64)>, setup: &str, error: &str) {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("grow-heap");
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    let before = trace(&daemon);
    for (failures, (resource, more)) in limits.enumerate() {
        let base = match resource {
            Resource::As => memory_bytes(daemon.pid()),
            // Numbers from 3 on are free.
            _ => 3,
        };
        let limited = Some(base + more);
        let maximum = getrlimit(resource).maximum;
        let lifted = prlimit(pid, resource, Rlimit { current: limited, maximum });
        let answer = daemon.ask(setup);
        prlimit(pid, resource, lifted.expect("a limit")).expect("no limit");
        if answer == "ok" {
            assert!(failures > 0, "the limit was no limit");
            if setup == "core-trigger" {
                daemon.must("run-thread");
            }
            daemon.trigger();
            // With hardly a descriptor it could not look at the loaded objects.
            let report = log.report(1);
            assert!(report.is_complete || resource == Resource::Nofile, "{}", report.raw);
            return;
        }
        assert!(answer.contains(error), "{setup} under {resource:?} + {more}: {answer}");
        leaves_nothing(&daemon, &before, &format!("{setup} under {resource:?} + {more}: {answer}"));
    }
    panic!("{setup} never worked");
}

fn memory_bytes(pid: u32) -> u64 {
    let size = status(pid, "VmSize");
    size.trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") << 10
}

#[test]
fn without_enough_descriptors_setup_is_refused() {
    for setup in ["std", "core-autorun", "core-trigger"] {
        let limits = (1..20).map(|more| (Resource::Nofile, more));
        fails_cleanly_under(limits, setup, "errno: 24");
    }
}

#[test]
fn without_enough_address_space_setup_is_refused() {
    for setup in ["std", "core-autorun", "core-trigger"] {
        let limits = (0..10_000).map(|step| (Resource::As, step * 12 * 1024));
        fails_cleanly_under(limits, setup, "");
    }
}

#[test]
fn a_second_setup_is_refused_and_the_first_goes_on() {
    for (setup, is_std) in [("std", true), ("core-autorun", false), ("core-trigger", false)] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        daemon.must(setup);
        if setup == "core-trigger" {
            daemon.must("run-thread");
        }
        let before = trace(&daemon);
        for (second, error) in [
            ("std", "Core(AlreadySetUp)"),
            ("core-autorun", "AlreadySetUp"),
            ("other-core-autorun", "AlreadySetUp"),
        ] {
            assert_eq!(daemon.ask(second), error, "{second} after {setup}");
            leaves_nothing(&daemon, &before, &format!("{second} after {setup}"));
        }
        daemon.trigger();
        let report = log.wait_for(1).only();
        assert!(report.is_complete, "{}", report.raw);
        assert_eq!(report.titles().contains(&"Configuration"), is_std);
    }
}

#[test]
fn run_without_a_thread_to_lend_to_says_why() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    assert_eq!(daemon.ask("run"), "NotSetUp");
    daemon.must("core-autorun");
    assert_eq!(daemon.ask("run"), "ComposedInHandler");
    daemon.must("shutdown");
    assert_eq!(daemon.ask("run"), "NotSetUp");
    daemon.must("core-trigger");
    daemon.must("run-thread");
    until("the lent thread", || threads(daemon.pid()).values().any(|n| n == "lent").then_some(()));
    // It has its bank before it answers.
    daemon.trigger();
    assert!(log.report(1).is_complete);
    assert_eq!(daemon.ask("run"), "Taken");
    daemon.trigger();
    assert!(log.report(2).is_complete);
}

#[test]
fn requests_are_kept_until_a_thread_is_lent() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("core-trigger");
    daemon.trigger();
    daemon.assert_alive();
    assert!(log.is_empty());
    daemon.must("run-thread");
    assert!(log.wait_for(1).only().is_complete);
}

#[test]
fn after_shutdown_triggers_are_ignored_and_counted_and_setup_works_again() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        for command in setup {
            daemon.must(command);
        }
        daemon.trigger();
        assert!(log.report(1).is_complete);
        daemon.wait_stats("the report's end", |stats| stats.complete == 1);
        daemon.must("shutdown");
        until("the end of the report threads", || {
            let names = threads(daemon.pid());
            let is_ours = |name: &String| name.starts_with("gmr-") || name == "lent";
            (!names.values().any(is_ours)).then_some(())
        });
        let length = log.len();
        for count in 1..=3 {
            daemon.trigger();
            daemon.wait_stats("a counted request", |stats| stats.ignored == count);
        }
        assert_eq!(log.len(), length, "a report after shutdown");
        assert_eq!(daemon.stats().reports(), 1);

        for command in setup {
            daemon.must(command);
        }
        daemon.trigger();
        let report = log.wait_from(length, 1).only();
        assert!(report.is_complete, "{}", report.raw);
        assert!(is_alive(daemon.pid()));
    }
}

#[test]
fn plain_setup_reports_where_it_is_called_or_on_a_lent_thread() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("core-plain");
    assert!(!catches(daemon.pid(), USR2));
    assert_eq!(daemon.ask("report-here"), "true");
    let report = log.wait_for(1).only();
    assert!(report.is_complete, "{}", report.raw);
    assert_eq!(report.head("requested by"), Some("a call of the program"));
    daemon.must("run-thread");
    daemon.must("request");
    assert!(log.report(2).is_complete);
}

#[test]
fn the_executable_may_be_replaced_while_the_daemon_runs() {
    // An upgrade in place: the names come from the image that runs.
    let copy = std::env::temp_dir().join(format!("gmr-test-{}-upgraded", own::id()));
    std::fs::copy(PUPPET, &copy).expect("a copy");
    let log = ErrLog::new();
    let mut daemon = Daemon::start(&copy, &[], log.stdio());
    daemon.must("threads 1");
    daemon.must("std");
    std::fs::remove_file(&copy).expect("the copy");
    drop(File::create(&copy).expect("another file"));
    daemon.trigger();
    let report = log.report(1);
    std::fs::remove_file(&copy).expect("the other file");
    let Stream { .. } = Stream::parse(&log.text());
    assert!(
        report.threads.iter().any(|thread| thread.is_in("parked_for_the_test")),
        "{}",
        report.raw
    );
}

#[test]
fn a_daemon_that_blocks_the_trigger_in_all_its_threads_still_reports() {
    // Only the supervisors leave it open, and each does, from its start.
    for _ in 0..10 {
        let log = ErrLog::new();
        let mut command = std::process::Command::new("env");
        command.args(["--block-signal=USR2", PUPPET]);
        let mut daemon = Daemon::start_command(command, log.stdio());
        daemon.must("threads 1");
        daemon.must("std");
        daemon.trigger();
        assert!(log.report(1).is_complete);
    }
}
