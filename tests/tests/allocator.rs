//! Reports need no allocator: they make no call, and they come while its lock
//! is held for ever.

use std::collections::BTreeMap;

use gmr_tests::{Daemon, ErrLog, process, until};

const HELD: &str = env!("CARGO_BIN_EXE_held_alloc");
const COUNTING: &str = env!("CARGO_BIN_EXE_counting_alloc");

#[test]
fn a_report_is_complete_while_another_thread_holds_the_allocator_for_ever() {
    for mode in ["std", "core"] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(HELD, &[mode], log.stdio());
        assert_eq!(daemon.ask("now"), "held");
        let alive = process::threads(daemon.pid());
        for sequence in 1..=3 {
            daemon.trigger();
            let report = log.report(sequence);
            let expected: &[&str] = if mode == "std" {
                &["Package", "Threads", "Processes", "Configuration", "Environment"]
            } else {
                &["Package", "Threads", "Processes"]
            };
            report.assert_whole(expected, alive.keys());
            let stack_of = |name: &str, function: &str| {
                let mut named = report.threads.iter().filter(|thread| thread.name == name);
                assert!(
                    named.all(|thread| thread.is_in(function)),
                    "{name} in {function}: {}",
                    report.raw
                );
            };
            stack_of("holder", "keeps_the_lock_for_ever");
            stack_of("waiter", "held_alloc::lock");
            stack_of("waiter", "held_alloc::waiter");
            if mode == "std" {
                let configuration = &report.section("Configuration").body;
                assert!(configuration.contains("workers = 4"), "{configuration}");
                assert!(configuration.contains("password = ***"), "{configuration}");
            }
            assert!(!report.raw.contains("s3kr1t"));
        }
        assert!(daemon.has_ended().is_none());
    }
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
fn no_thread_calls_the_allocator_from_trigger_to_end_block() {
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
            let after = counts(&mut daemon);
            for (tid, count) in &after {
                let had = before.get(tid).copied().unwrap_or_default();
                let name = names.get(tid).map_or("a thread that ended", String::as_str);
                assert_eq!(count - had, 0, "calls by {tid} {name} in {mode}, report {sequence}");
            }
        }
    }
}
