//! A supervisor that is stuck in a section is taken over, visibly.

use gmr_tests::{Daemon, ErrLog, Report, Stream, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// gmr-std, and the core on two lent threads. The deadline is short so that
/// the takeover comes soon; how soon is not asserted.
const SETUPS: [&[&str]; 2] = [
    &["std report_ms=400 sections=gate,filler-0"],
    &[
        "core-trigger report_ms=400 supervisors=2 sections=gate,filler-0",
        "run-thread",
        "run-thread",
    ],
];

/// Starts a daemon whose first report is stuck in the section Gate.
fn start_stuck(setup: &[&str], view: &str, log: &ErrLog) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("threads 2");
    for (index, command) in setup.iter().enumerate() {
        let view = if index == 0 { format!(" view={view}") } else { String::new() };
        daemon.must(&format!("{command}{view}"));
    }
    daemon.must("stick");
    daemon.trigger();
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    daemon
}

/// What every report shows that had to skip the Gate.
#[track_caller]
fn assert_skips_the_gate(report: &Report) {
    assert_eq!(report.section("Gate").status, "skipped_stuck", "{}", report.raw);
    assert!(!report.section("Gate").body.contains("the gate ="), "{}", report.raw);
    assert_eq!(report.section("Filler 0").status, "ok");
    assert!(!report.is_complete);
    assert!(report.reasons.contains("section skipped"), "{}", report.reasons);
    assert!(report.findings.iter().any(|finding| finding.contains("Gate")), "{}", report.raw);
    assert!(!report.threads.is_empty());
}

/// Asks until a report is complete again, and returns everything after `offset`.
fn ask_until_complete(daemon: &mut Daemon, log: &ErrLog, offset: u64) -> Stream {
    let mut complete = None;
    until("a complete report", || {
        let before = daemon.stats();
        daemon.trigger();
        let stats = daemon.wait_stats("a report", |stats| stats.reports() > before.reports());
        if stats.complete > 0 {
            complete = Some(Stream::parse(&log.text_from(offset)));
        }
        complete.take()
    })
}

#[test]
fn the_next_trigger_abandons_a_stuck_text_report_and_writes_a_whole_one() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start_stuck(setup, "text", &log);
        daemon.trigger();
        let stream = log.wait_for(2);
        stream.assert_clean();
        let [abandoned, second] = &stream.reports[..] else { panic!("two reports: {stream:#?}") };
        assert_eq!(abandoned.sequence, 1);
        assert_eq!(abandoned.reasons, "abandoned in Gate");
        assert!(abandoned.raw.ends_with("\n\nEnd of report 1: incomplete (abandoned in Gate)"));

        assert_eq!(second.head("previous report.report"), Some("1"), "{}", second.raw);
        assert_eq!(second.head("previous report.complete"), Some("False"), "{}", second.raw);
        assert_eq!(second.head("previous report.abandoned in"), Some("Gate"));
        assert_skips_the_gate(second);
        daemon.assert_alive();
        let stats = daemon.wait_stats("the second report", |stats| stats.reports() >= 1);
        assert_eq!((stats.complete, stats.incomplete, stats.abandoned), (0, 1, 1));

        // Still stuck: skipped again, and nothing is abandoned for it.
        daemon.trigger();
        let stream = log.wait_for(3);
        assert_skips_the_gate(&stream.reports[2]);
        assert_eq!(stream.reports[2].head("previous report.report"), None);

        // Back: what it still writes lands nowhere, and it is shown again.
        let offset = log.len();
        daemon.must("unstick");
        until("the section's end", || (daemon.ask("left") != "0").then_some(()));
        let stream = ask_until_complete(&mut daemon, &log, offset);
        stream.assert_clean();
        let last = stream.reports.last().expect("a report");
        assert_eq!(last.section("Gate").status, "ok");
        assert!(last.section("Gate").body.contains("after the gate = 2"));
        let before = log.text();
        let before = &before[..usize::try_from(offset).expect("a length")];
        assert!(!before.contains("after the gate"), "{before}");
        assert_eq!(daemon.stats().abandoned, 1);
    }
}

#[test]
fn the_next_trigger_abandons_a_stuck_json_report_and_writes_a_whole_one() {
    for view in ["json", "line"] {
        let log = ErrLog::new();
        let mut daemon = start_stuck(SETUPS[0], view, &log);
        daemon.trigger();
        let stream = log.wait_for(2);
        assert_eq!(stream.broken.len(), usize::from(!log.text().starts_with('\n')), "{stream:#?}");
        let [second] = &stream.reports[..] else { panic!("one whole report: {stream:#?}") };
        assert_eq!(second.sequence, 2);
        assert_eq!(second.head("previous report.report"), Some("1"), "{}", second.raw);
        assert_eq!(second.head("previous report.complete"), Some("false"));
        assert_eq!(second.head("previous report.abandoned in"), Some("Gate"));
        assert_skips_the_gate(second);

        let offset = log.len();
        daemon.must("unstick");
        until("the section's end", || (daemon.ask("left") != "0").then_some(()));
        let stream = ask_until_complete(&mut daemon, &log, offset);
        stream.assert_clean();
        let last = stream.reports.last().expect("a report");
        assert_eq!(last.section("Gate").status, "ok");
        assert!(last.section("Gate").body.contains("after the gate"));
    }
}

#[test]
fn when_both_supervisors_are_stuck_the_process_goes_on_and_requests_are_kept() {
    let log = ErrLog::new();
    let setup: &[&str] = &["std report_ms=400 sections=gate,second-gate,filler-0"];
    let mut daemon = start_stuck(setup, "text", &log);
    daemon.trigger();
    until("the second gate", || (daemon.ask("entered") == "2").then_some(()));
    for _ in 0..3 {
        daemon.trigger();
        daemon.assert_alive();
    }
    assert_eq!(daemon.stats().reports(), 0);
    daemon.must("unstick");
    // The requests that were kept are answered by one report.
    daemon.wait_stats("two reports", |stats| stats.reports() == 2);
    assert_eq!(log.wait_for(3).reports.last().map(Report::coalesced), Some(2));
    until("the sections' end", || (daemon.ask("left") != "1").then_some(()));
    let stream = ask_until_complete(&mut daemon, &log, 0);
    stream.assert_clean();
    assert_eq!(daemon.stats().abandoned, 1);
    let last = stream.reports.last().expect("a report");
    assert!(last.is_complete, "{}", last.raw);
    assert_eq!(last.section("Second gate").status, "ok");
}
