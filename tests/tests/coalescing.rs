//! Many requests at once, and requests during a report.

use std::process::Command;

use gmr_tests::{Daemon, ErrLog, process, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// Setup commands that answer SIGUSR2: gmr-std's, and the core's two ways. The
/// main thread listens to commands: in-handler reports run on another.
const SETUPS: [&[&str]; 3] = [
    &["std sections=gate"],
    &["core-autorun sections=gate", "block 12"],
    &["core-trigger sections=gate", "run-thread"],
];

const BUILT_IN: [&str; 4] = ["Package", "Threads", "Processes", "Gate"];
const STD: [&str; 6] = ["Package", "Threads", "Processes", "Configuration", "Environment", "Gate"];

fn sections(setup: &[&str]) -> &'static [&'static str] {
    if setup[0].starts_with("std") { &STD } else { &BUILT_IN }
}

fn start(setup: &[&str], log: &ErrLog) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("threads 3");
    for command in setup {
        daemon.must(command);
    }
    daemon
}

#[test]
fn a_request_gives_one_whole_report_in_each_setup() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        let threads = process::threads(daemon.pid());
        daemon.trigger();
        let report = log.wait_for(1).only();
        report.assert_whole(sections(setup), threads.keys());
        assert_eq!(report.coalesced(), 0);
        let parked = report.threads.iter().filter(|thread| thread.is_in("parked_for_the_test"));
        assert_eq!(parked.count(), 3, "{}", report.raw);
        daemon.assert_alive();
    }
}

#[test]
fn requests_during_a_report_are_answered_by_exactly_one_more() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        daemon.must("stick");
        daemon.trigger();
        until("the gate", || (daemon.ask("entered") == "1").then_some(()));
        // Standard signals that are pending already merge in the kernel, so
        // the number of those accepted is between one and five.
        for _ in 0..5 {
            daemon.trigger();
        }
        daemon.must("unstick");
        let stream = log.wait_for(2);
        stream.assert_clean();
        assert_eq!(stream.reports.len(), 2);
        for report in &stream.reports {
            report.assert_whole(sections(setup), &[]);
        }
        assert!(stream.reports[1].coalesced() <= 4);
        let stats = daemon.wait_stats("both reports", |stats| stats.reports() >= 2);
        assert_eq!((stats.complete, stats.incomplete, stats.ignored), (2, 0, 0));
        assert_eq!(stats.coalesced, stream.reports[1].coalesced());
        assert_eq!(daemon.ask("entered"), "2");
    }
}

#[test]
fn every_request_of_a_storm_is_answered_by_a_report_or_counted_as_coalesced() {
    const CALLS: u64 = 100;
    for setup in [SETUPS[0], SETUPS[2]] {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        // Calls do not merge in the kernel, so each is accepted.
        for _ in 0..CALLS {
            daemon.must("request");
        }
        let stats = daemon.wait_stats("all answers", |stats| {
            stats.reports() + stats.coalesced == CALLS && stats.reports() > 0
        });
        assert_eq!((stats.incomplete, stats.ignored), (0, 0));
        let stream = log.wait_for(stats.reports());
        stream.assert_clean();
        assert_eq!(stream.reports.len() as u64, stats.reports());
        let coalesced: u64 = stream.reports.iter().map(gmr_tests::Report::coalesced).sum();
        assert_eq!(coalesced, stats.coalesced, "the reports say what the counters say");
        assert_eq!(stream.reports.last().expect("a report").sequence, stats.reports());
    }
}

#[test]
fn a_storm_of_signals_from_a_shell_does_no_harm() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        let script = "i=0; while [ $i -lt 200 ]; do kill -USR2 $1; i=$((i+1)); done";
        let pid = daemon.pid().to_string();
        let status = Command::new("sh").args(["-c", script, "sh", &pid]).status().expect("a shell");
        assert!(status.success());
        // One more after the storm is answered by a report that begins later.
        daemon.assert_alive();
        let before = daemon.stats();
        daemon.trigger();
        let stats =
            daemon.wait_stats("one more report", |stats| stats.reports() > before.reports());
        assert!(stats.reports() + stats.coalesced <= 201);
        assert_eq!(stats.incomplete, 0);
    }
}
