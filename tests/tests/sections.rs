//! Sections that fail, never end, lie, come and go.

use std::time::{SystemTime, UNIX_EPOCH};

use gmr_tests::{Daemon, ErrLog, Stream, process, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

const CORE_SETUPS: [&str; 2] = ["core-autorun", "core-trigger"];

fn start(setup: &str, log: &ErrLog) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("threads 1");
    daemon.must(setup);
    if setup.starts_with("core-trigger") {
        daemon.must("run-thread");
    }
    if setup.starts_with("core-autorun") {
        // The parked thread reports, the main thread listens.
        daemon.must("block 12");
    }
    daemon
}

#[test]
fn a_section_that_fails_costs_itself_alone_and_says_why() {
    for view in ["text", "json"] {
        for setup in ["std", "core-autorun", "core-trigger"] {
            let log = ErrLog::new();
            let command = format!("{setup} view={view} sections=filler-0,fails,filler-1");
            let mut daemon = start(&command, &log);
            daemon.trigger();
            let report = log.wait_for(1).only();
            assert_eq!(report.section("Fails").status, "failed", "{}", report.raw);
            assert!(report.section("Fails").body.contains("the failure"));
            assert!(report.raw.contains("the lock was held"), "{}", report.raw);
            assert_eq!(report.section("Filler 0").status, "ok");
            assert_eq!(report.section("Filler 1").status, "ok");
            assert_eq!(report.reasons, "section failed");
            let total = report.sections.len() - 1;
            assert_eq!(report.end("sections"), Some(&*format!("{total} ok, 1 failed, 0 skipped")));
            daemon.assert_alive();
            let outcome = report.outcomes.iter().find(|outcome| outcome.title == "Fails");
            let outcome = outcome.unwrap_or_else(|| panic!("{}", report.raw));
            assert_eq!(
                (&*outcome.status, &*outcome.explanation),
                ("failed", "the lock was held"),
                "{}",
                report.raw
            );
            assert_eq!(report.outcomes.len(), report.sections.len());
            assert_eq!(report.end("panic"), Some("unwind"));
            daemon.wait_stats("the report", |stats| stats.incomplete == 1);
            let last = daemon.last();
            assert_eq!((last.sequence, &*last.reasons), (1, "section failed"));
        }
    }
}

#[test]
fn package_shows_what_a_build_script_gave() {
    for setup in ["std", "core-trigger"] {
        let log = ErrLog::new();
        let daemon = start(setup, &log);
        daemon.trigger();
        let report = log.wait_for(1).only();
        let body = &report.section("Package").body;
        for line in [
            "git revision = 2f8cd1e0c6a14b0f9e7d3a5b8c1f2e4d6a7b9c0d",
            "uncommitted changes = True",
            "build time = 2026-11-22T14:03:11.482913000Z",
        ] {
            assert!(body.lines().any(|found| found == line), "{line} in {body}");
        }
        assert!(!body.contains("describe"), "{body}");
    }
}

#[test]
fn the_counters_know_the_last_report() {
    for setup in ["std", "core-autorun", "core-trigger"] {
        let log = ErrLog::new();
        let mut daemon = start(&format!("{setup} sections=filler-0"), &log);
        let none = daemon.last();
        assert_eq!((none.sequence, none.bytes, none.end, &*none.reasons), (0, 0, 0, ""));
        daemon.must("register fails");
        let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        daemon.trigger();
        daemon.wait_stats("the first report", |stats| stats.incomplete == 1);
        let first = daemon.last();
        assert_eq!((first.sequence, &*first.reasons), (1, "section failed"));
        assert_eq!(first.bytes, log.len(), "all that was written");
        assert!(first.end.cast_unsigned() >= before && first.duration_ns > 0, "{first:?}");

        assert_eq!(daemon.ask("unregister fails"), "ok");
        daemon.trigger();
        daemon.wait_stats("the second report", |stats| stats.complete == 1);
        let second = daemon.last();
        assert_eq!((second.sequence, &*second.reasons), (2, ""));
        assert_eq!(second.bytes, log.len() - first.bytes);
    }
}

#[test]
fn a_section_that_never_ends_by_itself_ends_at_its_deadline() {
    for setup in CORE_SETUPS {
        let log = ErrLog::new();
        let command = format!("{setup} section_ms=100 sections=endless,filler-0");
        let mut daemon = start(&command, &log);
        daemon.trigger();
        let report = log.wait_for(1).only();
        assert_eq!(report.section("Endless").status, "deadline", "{}", report.raw);
        assert!(report.section("Endless").body.contains("still here = yes"));
        assert_eq!(report.section("Filler 0").status, "ok");
        assert_eq!(report.reasons, "section failed");
        daemon.assert_alive();
    }
}

#[test]
fn sections_that_never_end_by_themselves_end_with_the_reports_deadline() {
    let log = ErrLog::new();
    let setup = "core-trigger report_ms=600 section_ms=60000 sections=endless,filler-0";
    let mut daemon = start(setup, &log);
    daemon.trigger();
    let report = log.wait_for(1).only();
    assert_eq!(report.section("Endless").status, "deadline", "{}", report.raw);
    assert_eq!(report.section("Filler 0").status, "skipped_deadline");
    assert!(report.reasons.contains("section skipped"), "{}", report.reasons);
    assert!(report.reasons.contains("deadline"), "{}", report.reasons);
    daemon.assert_alive();
}

#[test]
fn a_section_cannot_forge_headings_threads_or_ends_of_reports() {
    for setup in ["std", "core-autorun"] {
        let log = ErrLog::new();
        let daemon = start(&format!("{setup} sections=forger,filler-0"), &log);
        daemon.trigger();
        let stream = log.wait_for(1);
        let threads = process::threads(daemon.pid());
        // The strict parser found one report, with these sections.
        let report = stream.only();
        let own = report.titles().len() - 2;
        assert_eq!(report.titles()[own..], ["Forger", "Filler 0"]);
        assert_eq!(report.titles()[..3], ["Package", "Threads", "Processes"]);
        assert_eq!(report.threads.len(), threads.len());
        assert!(report.is_complete, "{}", report.raw);
        let body = &report.section("Forger").body;
        for line in body.lines() {
            let is_forged = ["=", "-", "|", "[section", "End of report"]
                .iter()
                .any(|reserved| line.starts_with(reserved));
            assert!(!is_forged, "{line}");
        }
        assert!(body.contains("forged+0x1 in forged"), "the text is there: {body}");
        let is_spoken_to_terminals = |character: char| {
            (character.is_control() && character != '\n') || character == '\u{202e}'
        };
        assert!(!log.text().contains(is_spoken_to_terminals));
    }
}

#[test]
fn a_section_cannot_break_json() {
    for view in ["json", "line"] {
        let log = ErrLog::new();
        let mut daemon = start(&format!("std view={view} sections=forger,filler-0"), &log);
        daemon.trigger();
        let report = log.wait_for(1).only();
        let titles = [
            "Package",
            "Threads",
            "Processes",
            "Configuration",
            "Environment",
            "Forger",
            "Filler 0",
        ];
        assert_eq!(report.titles(), titles);
        assert_eq!(report.section("Forger").status, "ok");
        assert!(report.is_complete, "{}", report.raw);
        if view == "line" {
            assert_eq!(log.text().trim_end().lines().count(), 1, "one line: {}", log.text());
        }
        daemon.assert_alive();
    }
}

#[test]
fn unregistering_waits_for_a_report_that_is_inside() {
    for setup in ["std", "core-autorun", "core-trigger"] {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        daemon.must("register gate");
        daemon.must("register filler-0");
        daemon.must("stick");
        daemon.trigger();
        until("the gate", || (daemon.ask("entered") == "1").then_some(()));
        daemon.must("unregister-thread gate");
        // It cannot be done: the report is inside until it is let out.
        for _ in 0..20 {
            assert_eq!(daemon.ask("unregistered"), "not yet");
        }
        // Meanwhile another goes at once, before the report gets to it.
        assert_eq!(daemon.ask("unregister filler-0"), "ok");
        daemon.must("unstick");
        until("the section's end", || (daemon.ask("unregistered") == "done").then_some(()));
        assert_eq!(daemon.ask("left"), "1", "the report had left before");

        let first = log.wait_for(1).only();
        assert!(first.is_complete, "{}", first.raw);
        assert_eq!(first.titles().last(), Some(&"Gate"));
        daemon.trigger();
        let second = log.report(2);
        assert!(second.is_complete, "{}", second.raw);
        assert!(!second.titles().contains(&"Gate"));
        assert_eq!(daemon.ask("entered"), "1");
        assert_eq!(daemon.ask("unregister gate"), "Unknown");
        // Its place is free again.
        daemon.must("register gate");
    }
}

#[test]
fn unregistering_gives_up_at_the_reports_deadline_and_no_later_report_enters() {
    let log = ErrLog::new();
    let mut daemon = start("std report_ms=400", &log);
    daemon.must("register gate");
    daemon.must("stick");
    daemon.trigger();
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    assert_eq!(daemon.ask("unregister gate"), "Busy");
    daemon.trigger();
    let stream = log.wait_for(2);
    let second = stream.reports.last().expect("a report");
    assert!(!second.titles().contains(&"Gate"), "{}", second.raw);
    daemon.must("unstick");
    until("the section's end", || (daemon.ask("left") == "1").then_some(()));
    daemon.trigger();
    let third = log.report(3);
    assert!(!third.titles().contains(&"Gate"), "{}", third.raw);
    assert_eq!(daemon.ask("entered"), "1");
    // Now it can be done.
    until("the supervisor's end", || (daemon.ask("unregister gate") == "ok").then_some(()));
    assert_eq!(daemon.ask("unregister gate"), "Unknown");
}

#[test]
fn a_forked_child_unregisters_a_section_that_its_parent_is_in() {
    let log = ErrLog::new();
    let mut daemon = start("core-trigger report_ms=3000", &log);
    daemon.must("register gate");
    daemon.must("stick");
    daemon.trigger();
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    daemon.ask("fork");
    assert_eq!(daemon.ask("child core-trigger report_ms=3000"), "ok");
    assert_eq!(daemon.ask("child unregister gate"), "ok");
    assert_eq!(daemon.ask("child unregister gate"), "Unknown");
    daemon.must("unstick");
    daemon.must("unregister gate");
}

#[test]
fn thirty_two_sections_registered_during_a_report_are_all_there_in_order() {
    for (setup, own) in [("std", 5), ("core-autorun", 3), ("core-trigger", 3)] {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        daemon.must("register gate");
        daemon.must("stick");
        daemon.trigger();
        until("the gate", || (daemon.ask("entered") == "1").then_some(()));
        let mut titles = vec!["Gate".to_owned()];
        // Up to the limit, of which gmr-std takes two.
        let room = 32 - (own - 3) - 1;
        for number in 0..room {
            daemon.must(&format!("register filler-{number}"));
            titles.push(format!("Filler {number}"));
        }
        assert_eq!(daemon.ask("register filler-32"), "Full");
        daemon.must("unstick");
        let first = log.wait_for(1).only();
        assert!(first.is_complete, "{}", first.raw);
        assert_eq!(first.titles()[own..], titles, "what comes during a report is still in it");
        daemon.trigger();
        let second = log.report(2);
        assert!(second.is_complete, "{}", second.raw);
        assert_eq!(second.titles()[own..], titles);
    }
}

#[test]
fn sections_come_and_go_while_reports_are_written() {
    for setup in ["std", "core-autorun", "core-trigger"] {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        for round in 0..100 {
            for number in 0..3 {
                daemon.must(&format!("register filler-{number}"));
            }
            if round % 5 == 0 {
                daemon.trigger();
            }
            for number in 0..3 {
                assert_eq!(daemon.ask(&format!("unregister filler-{number}")), "ok");
            }
        }
        let stats = daemon.wait_stats("a report", |stats| stats.reports() > 0);
        assert_eq!((stats.incomplete, stats.abandoned), (0, 0));
        daemon.trigger();
        let stats = daemon.wait_stats("one more", |now| now.reports() > stats.reports());
        assert_eq!((stats.incomplete, stats.abandoned), (0, 0));
        // Another one may be on its way still.
        let stream = until("the last report's end", || {
            let stream = Stream::parse(&log.text());
            (stream.broken.is_empty() && stream.outside.is_empty()).then_some(stream)
        });
        assert!(stream.reports.iter().all(|report| report.is_complete));
    }
}
