//! Reports need no allocator: they make no call, and they come while its lock
//! is held for ever.

use std::collections::BTreeMap;

use gmr_tests::{Daemon, ErrLog, Report, process, until};

const HELD: &str = env!("CARGO_BIN_EXE_held_alloc");
const COUNTING: &str = env!("CARGO_BIN_EXE_counting_alloc");

const OWN: [&str; 3] = ["Package", "Threads", "Processes"];
const RECORDED: [&str; 2] = ["Configuration", "Environment"];
/// Closures, which need a worker that can allocate.
const ORDINARY: [&str; 2] = ["Allocates", "Allocates too"];

fn assert_stacks(report: &Report) {
    let stack_of = |name: &str, function: &str| {
        let mut named = report.threads.iter().filter(|thread| thread.name == name);
        assert!(
            named.all(|thread| thread.is_whole && thread.is_in(function)),
            "{name} in {function}: {}",
            report.raw
        );
    };
    stack_of("holder", "keeps_the_lock_for_ever");
    stack_of("waiter", "held_alloc::lock");
    stack_of("waiter", "held_alloc::waiter");
    assert!(!report.raw.contains("s3kr1t"));
}

#[test]
fn a_report_is_complete_while_another_thread_holds_the_allocator_for_ever() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(HELD, &["core"], log.stdio());
    assert_eq!(daemon.ask("now"), "held");
    let alive = process::threads(daemon.pid());
    for sequence in 1..=3 {
        daemon.trigger();
        let report = log.report(sequence);
        report.assert_whole(&OWN, alive.keys());
        assert_stacks(&report);
    }
    assert!(daemon.has_ended().is_none());
}

#[test]
fn what_needs_no_memory_is_there_while_the_allocator_is_held_and_the_rest_is_marked() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(HELD, &["std"], log.stdio());
    assert_eq!(daemon.ask("now"), "held");
    for sequence in 1..=3 {
        daemon.trigger();
        let report = log.report(sequence);
        assert_stacks(&report);
        for title in OWN.iter().chain(&RECORDED) {
            assert_eq!(report.section(title).status, "ok", "{title}: {}", report.raw);
        }
        for title in ORDINARY {
            let status = &*report.section(title).status;
            assert!(matches!(status, "stuck" | "skipped" | "skipped_stuck"), "{title}: {status}");
        }
        let configuration = &report.section("Configuration").body;
        assert!(configuration.contains("workers = 4"), "{configuration}");
        assert!(configuration.contains("password = ***"), "{configuration}");
        assert!(report.reasons.contains("section"), "{}", report.reasons);
        assert!(report.reasons.contains("source lines missing"), "{}", report.reasons);
    }
    assert_eq!(daemon.ask("let go"), "released");
    let mut sequence = 3;
    let whole = until("a complete report", || {
        sequence += 1;
        daemon.trigger();
        Some(log.report(sequence)).filter(|report| report.is_complete)
    });
    let expected = [&OWN[..], &RECORDED, &ORDINARY].concat();
    whole.assert_whole(&expected, process::threads(daemon.pid()).keys());
    assert!(whole.section("Allocates").body.contains("made of memory"));
    assert!(daemon.has_ended().is_none());
}

/// Allocator calls by thread.
fn counts(daemon: &mut Daemon) -> BTreeMap<u32, u64> {
    let answer = daemon.ask("counts");
    let pairs = answer.split_whitespace().filter_map(|pair| pair.split_once(':'));
    pairs
        .map(|(tid, count)| (tid.parse().expect("a tid"), count.parse().expect("a count")))
        .collect()
}

#[test]
fn no_thread_but_workers_calls_the_allocator_from_trigger_to_end_block() {
    for mode in ["std", "lent", "core"] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(COUNTING, &[mode], log.stdio());
        // Threads come to rest: what they do at their start may allocate.
        until("rest", || process::is_at_rest(daemon.pid()).then_some(()));
        let before = counts(&mut daemon);
        let names = process::threads(daemon.pid());
        assert!(before.get(&daemon.pid()).is_some_and(|count| *count > 0), "counting works");
        for sequence in 1..=3 {
            daemon.trigger();
            let report = log.report(sequence);
            assert!(report.is_complete, "{}", report.raw);
            assert!(report.threads.len() >= 4);
            let blocked = report.threads.iter().find(|thread| thread.name == "blocked");
            let blocked = blocked.unwrap_or_else(|| panic!("{}", report.raw));
            assert!(blocked.is_in("counting_alloc::blocked"), "{blocked:#?}");
            assert!(blocked.fact("stack read").is_some(), "{blocked:#?}");
            // So does what a section shows of the report.
            let extends = &report.section("Extends").body;
            let deepest = "(depth 99) src/api.rs:57  password=*** (token=***) -> task 7\n";
            for part in [" blocked ", deepest, "counting_alloc::main"] {
                assert!(extends.contains(part), "{part} in {extends}");
            }
            assert_eq!(report.findings, ["blocked worker: seen with its stack"]);
            let after = counts(&mut daemon);
            for (tid, count) in &after {
                let had = before.get(tid).copied().unwrap_or_default();
                let name = names.get(tid).map_or("a thread that ended", String::as_str);
                // Workers are there to allocate.
                if name.starts_with("gmr-worker") {
                    continue;
                }
                assert_eq!(count - had, 0, "calls by {tid} {name} in {mode}, report {sequence}");
            }
        }
    }
}
