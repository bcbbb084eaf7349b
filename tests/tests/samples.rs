//! Two samples of every thread.

use gmr_tests::{Daemon, ErrLog};
use serde_json::Value;

const SAMPLES: &str = env!("CARGO_BIN_EXE_samples");

/// The Threads section and the findings of one report.
fn report(arguments: &[&str]) -> (Value, Value) {
    let log = ErrLog::new();
    let daemon = Daemon::start(SAMPLES, arguments, log.stdio());
    next(&daemon, &log, 1)
}

fn next(daemon: &Daemon, log: &ErrLog, sequence: u64) -> (Value, Value) {
    daemon.trigger();
    let report = log.report(sequence);
    assert!(report.is_complete, "{}", report.raw);
    let json: Value = serde_json::from_str(&report.raw).expect("JSON");
    (threads(&json).clone(), json["findings"].clone())
}

fn threads(json: &Value) -> &Value {
    let sections = json["sections"].as_array().expect("sections");
    let threads = sections.iter().find(|section| section["title"] == "Threads").expect("Threads");
    &threads["data"]
}

fn thread<'v>(section: &'v Value, name: &str) -> &'v Value {
    let threads = section["threads"].as_array().expect("threads");
    threads.iter().find(|thread| thread["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// Threads that were shown together.
fn members<'v>(section: &'v Value, name: &str) -> &'v [Value] {
    let blocks = section["threads"].as_array().expect("threads");
    let members = blocks.iter().filter_map(|block| block["members"].as_array());
    let mut named = members.filter(|members| members[0]["name"] == name);
    named.next().unwrap_or_else(|| panic!("no block of {name}: {section:#}"))
}

fn movement(thread: &Value) -> &Value {
    &thread["between samples"]["movement"]
}

#[test]
fn two_samples_tell_who_moved_who_slept_and_who_burned() {
    let (section, _) = report(&["500"]);
    assert_eq!(section["samples"], 2);
    assert_eq!(section["threads that ended between samples"], 0);
    for (name, mark) in [
        ("parked", "same stack, no CPU"),
        ("spinner", "same stack, burning CPU"),
        ("mover", "moved"),
    ] {
        assert_eq!(movement(thread(&section, name)), mark, "{name}: {section:#}");
    }
}

#[test]
fn a_thread_that_burns_a_cpu_is_a_finding() {
    let log = ErrLog::new();
    let daemon = Daemon::start(SAMPLES, &["100"], log.stdio());
    // On a busy machine it may get less than half a CPU for a while.
    for sequence in 1.. {
        let (section, findings) = next(&daemon, &log, sequence);
        let findings = findings.as_array().expect("findings");
        let found = findings.iter().find(|finding| finding["code"] == "burning_cpu");
        let Some(finding) = found else {
            assert!(sequence < 100, "{findings:#?}");
            continue;
        };
        assert_eq!(finding["threads"][0], thread(&section, "spinner")["tid"], "{finding:#}");
        assert_eq!(finding["threads"].as_array().map(Vec::len), Some(1), "{finding:#}");
        break;
    }
}

#[test]
fn each_thread_of_a_block_has_its_mark() {
    let (section, _) = report(&["500"]);
    let twins = members(&section, "twin");
    assert_eq!(twins.len(), 2, "{section:#}");
    for twin in twins {
        assert_eq!(movement(twin), "same stack, no CPU", "{twin:#}");
        assert!(twin["between samples"]["time_ns"].is_number(), "{twin:#}");
    }
}

/// A thread that no signal reaches keeps the first capture until its deadline.
#[test]
fn what_the_first_sample_takes_is_not_taken_from_the_second() {
    let log = ErrLog::new();
    let daemon = Daemon::start(SAMPLES, &["500", "2", "silent"], log.stdio());
    daemon.trigger();
    let report = log.report(1);
    let json: Value = serde_json::from_str(&report.raw).expect("JSON");
    let section = threads(&json);
    assert_eq!(thread(section, "held")["capture"], "uninterruptible", "{section:#}");
    for name in ["parked", "spinner"] {
        assert_eq!(thread(section, name)["capture"], "ok", "{section:#}");
    }
}

#[test]
fn one_sample_says_nothing_of_movement() {
    let (section, _) = report(&["500", "1"]);
    assert!(section.get("samples").is_none());
    assert!(thread(&section, "parked").get("between samples").is_none(), "{section:#}");
}
