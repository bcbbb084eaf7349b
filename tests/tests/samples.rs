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
    let sections = json["sections"].as_array().expect("sections");
    let threads = sections.iter().find(|section| section["title"] == "Threads").expect("Threads");
    (threads["data"].clone(), json["findings"].clone())
}

fn thread<'v>(section: &'v Value, name: &str) -> &'v Value {
    let threads = section["threads"].as_array().expect("threads");
    threads.iter().find(|thread| thread["name"] == name).unwrap_or_else(|| panic!("no {name}"))
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
        assert_eq!(
            thread(&section, name)["between samples"]["movement"],
            mark,
            "{name}: {section:#}"
        );
    }
}

#[test]
fn what_the_threads_of_a_block_did_is_said_of_each() {
    let log = ErrLog::new();
    let daemon = Daemon::start(SAMPLES, &["500"], log.stdio());
    // One may still be on its way back from a capture.
    for sequence in 1.. {
        let (section, _) = next(&daemon, &log, sequence);
        let blocks = section["threads"].as_array().expect("threads");
        let Some(block) = blocks.iter().find(|block| block["count"] == 3) else {
            assert!(sequence < 20, "{section:#}");
            continue;
        };
        let members = block["members"].as_array().expect("members");
        for member in members {
            let between = &member["between samples"];
            assert_eq!(member["name"], "alike", "{block:#}");
            assert_eq!(between["movement"], members[0]["between samples"]["movement"]);
            assert!(between["movement"].is_string() && between["cpu_ns"].is_u64(), "{block:#}");
            assert!(between["time_ns"].is_u64(), "{block:#}");
        }
        break;
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
fn one_sample_says_nothing_of_movement() {
    let (section, _) = report(&["500", "1"]);
    assert!(section.get("samples").is_none());
    assert!(thread(&section, "parked").get("between samples").is_none(), "{section:#}");
}
