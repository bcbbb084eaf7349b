//! Threads that give no answer, and stacks that no window holds: each comes whole,
//! and says how it came.

use gmr_tests::{Daemon, ErrLog};
use serde_json::Value;

const SILENT: &str = env!("CARGO_BIN_EXE_silent");

fn thread<'v>(report: &'v Value, name: &str) -> &'v Value {
    let sections = report["sections"].as_array().expect("sections");
    let threads = sections.iter().find(|section| section["title"] == "Threads").expect("Threads");
    let threads = threads["data"]["threads"].as_array().expect("threads");
    threads.iter().find(|thread| thread["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// How many frames are in a function of that name.
fn count(thread: &Value, function: &str) -> usize {
    let frames = thread["frames"].as_array().map_or(&[][..], Vec::as_slice);
    let is_in =
        |frame: &&Value| frame["function"].as_str().is_some_and(|name| name.ends_with(function));
    frames.iter().filter(is_in).count()
}

#[test]
fn threads_that_cannot_be_asked_and_stacks_beyond_the_window_are_whole() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(SILENT, &[], log.stdio());
    let mut whole = 0;
    for sequence in 1.. {
        daemon.trigger();
        let report = log.report(sequence);
        // What is beyond a window is read where a thread is parked again after its
        // capture, which may take a while on a busy machine.
        if !report.is_complete {
            assert!(sequence < 100, "{}", report.raw);
            continue;
        }
        whole += 1;
        if whole > 3 {
            break;
        }
        let json: Value = serde_json::from_str(&report.raw).expect("JSON");
        for (name, capture, function, depth) in [
            ("blocked", "signal_blocked", "::deeper", 21),
            ("vforked", "uninterruptible", "::deeper", 21),
            ("excluded", "excluded", "::deeper", 21),
            ("large", "ok", "::large", 21),
            ("on-alternate", "ok", "::deeper", 27),
        ] {
            let thread = thread(&json, name);
            assert_eq!(thread["capture"], capture, "{thread:#}");
            assert_eq!(thread["stack_end"], "complete", "{thread:#}");
            assert_eq!(count(thread, function), depth, "{thread:#}");
            let frames = thread["frames"].as_array().expect("frames");
            let is_continued = frames.iter().any(|frame| frame["certainty"] == "inferred");
            assert_eq!(is_continued, capture == "ok", "{thread:#}");
            let by = &thread["stack read"];
            let is_passive = by.as_str().is_some_and(|text| text.contains("parked"));
            assert_eq!(is_passive, capture != "ok", "{by}");
        }
    }
    assert_eq!(daemon.ask("kill"), "killed");
}
