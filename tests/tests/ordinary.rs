//! Ordinary sections: what a closure does costs nothing but its own section.

use gmr_tests::{Daemon, ErrLog, Report, process, until};

const ORDINARY: &str = env!("CARGO_BIN_EXE_ordinary");

const VIEWS: [&str; 2] = ["text", "json"];

/// Short where a section hangs, long where one may be slow.
const SHORT_MS: &str = "500";
const LONG_MS: &str = "6000";

fn start(view: &str, sections: &[&str], log: &ErrLog) -> Daemon {
    let may_hang = sections.iter().any(|name| name.starts_with("hang") || *name == "locks");
    start_with(view, if may_hang { SHORT_MS } else { LONG_MS }, sections, log)
}

fn start_with(view: &str, deadline_ms: &str, sections: &[&str], log: &ErrLog) -> Daemon {
    let mut args = vec![view, deadline_ms];
    args.extend_from_slice(sections);
    Daemon::start(ORDINARY, &args, log.stdio())
}

/// The next report.
fn report(daemon: &Daemon, log: &ErrLog, sequence: u64) -> Report {
    daemon.trigger();
    log.report(sequence)
}

#[track_caller]
fn assert_status(report: &Report, title: &str, status: &str) {
    assert_eq!(report.section(title).status, status, "{title}: {}", report.raw);
}

#[test]
fn what_a_closure_returns_is_shown_and_masked() {
    for view in VIEWS {
        let log = ErrLog::new();
        let mut daemon = start(view, &["calm", "text", "list"], &log);
        let report = report(&daemon, &log, 1);
        assert!(report.is_complete, "{}", report.raw);
        assert!(!report.raw.contains("s3kr1t"), "{}", report.raw);
        let calm = &report.section("Calm").body;
        let expected: &[&str] = if view == "text" {
            &["depth = 3", "password = ***", "workers = \n  one\n  two", "open = 1024"]
        } else {
            &["\"depth\": 3", "\"password\": \"***\"", "\"one\"", "\"open\": 1024"]
        };
        for part in expected {
            assert!(calm.contains(part), "{part} in {calm}");
        }
        let text = &report.section("Text").body;
        assert!(text.contains("first line") && text.contains("second line password=***"), "{text}");
        let list = &report.section("List").body;
        assert!(list.find('b') < list.find('a'), "the order is the closure's: {list}");
        daemon.assert_alive();
    }
}

/// A report whose section `Table` was done in time, which on a busy machine may take
/// more than one.
fn with_table(daemon: &Daemon, log: &ErrLog) -> Report {
    let mut sequence = 0;
    until("the table is in a report", || {
        sequence += 1;
        let report = report(daemon, log, sequence);
        (report.section("Table").status == "ok").then_some(report)
    })
}

#[test]
fn a_table_is_aligned_in_text_and_a_list_of_objects_in_json() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["table", "calm"], &log);
    let in_text = with_table(&daemon, &log);
    let expected = "\
queue              depth  paused  token
-----------------  -----  ------  -----
mail                1700  False   ***
\\====                  2  True    ***
amqp://u:***@host     -5";
    assert!(in_text.section("Table").body.contains(expected), "{}", in_text.raw);
    assert!(!in_text.raw.contains("s3kr1t"), "{}", in_text.raw);
    daemon.assert_alive();

    let log = ErrLog::new();
    let daemon = start("json", &["table", "calm"], &log);
    let in_json = with_table(&daemon, &log);
    let data: serde_json::Value =
        serde_json::from_str(&in_json.section("Table").body).expect("JSON");
    assert_eq!(
        data,
        serde_json::json!({"rows": [
            {"queue": "mail", "depth": 1700, "paused": false, "token": "***"},
            {"queue": "====", "depth": 2, "paused": true, "token": "***"},
            {"queue": "amqp://u:***@host", "depth": -5, "paused": null, "token": null},
        ]})
    );
    assert!(!in_json.raw.contains("s3kr1t"), "{}", in_json.raw);
}

#[test]
fn a_closure_runs_once_for_each_report() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["calm"], &log);
    for sequence in 1..=3 {
        assert!(report(&daemon, &log, sequence).is_complete);
        assert_eq!(daemon.ask("runs"), sequence.to_string());
    }
}

#[test]
fn a_panic_costs_its_section_alone_and_its_message_is_there() {
    for view in VIEWS {
        let log = ErrLog::new();
        let mut daemon = start(view, &["panics", "odd-panic", "calm"], &log);
        for sequence in 1..=2 {
            let report = report(&daemon, &log, sequence);
            assert_status(&report, "Panics", "failed");
            assert_status(&report, "Odd panic", "failed");
            assert_status(&report, "Calm", "ok");
            let panics = &report.section("Panics").body;
            assert!(panics.contains("on purpose, token=***"), "{panics}");
            assert!(panics.contains("tests/src/bin/ordinary.rs:"), "the place: {panics}");
            assert!(report.section("Odd panic").body.contains("tests/src/bin/ordinary.rs"));
            assert!(!report.raw.contains("s3kr1t"), "{}", report.raw);
            assert_eq!(report.reasons, "section failed");
        }
        daemon.assert_alive();
    }
}

#[test]
fn a_closure_that_hangs_shows_where_and_is_skipped_until_it_is_back() {
    for view in VIEWS {
        let log = ErrLog::new();
        let mut daemon = start(view, &["calm", "hang", "text"], &log);
        let first = report(&daemon, &log, 1);
        assert_status(&first, "Calm", "ok");
        assert_status(&first, "Hang", "stuck");
        assert_status(&first, "Text", "ok");
        let hang = &first.section("Hang").body;
        assert!(hang.contains("hangs_in_here"), "the worker's stack: {}", first.raw);
        assert!(hang.contains("gmr-worker"), "{hang}");
        assert_eq!(first.reasons, "section failed");

        let second = report(&daemon, &log, 2);
        assert_status(&second, "Hang", "skipped_stuck");
        assert!(second.section("Hang").body.contains("hangs_in_here"), "{}", second.raw);
        assert_status(&second, "Calm", "ok");
        assert_status(&second, "Text", "ok");
        assert!(
            second.findings.iter().any(|it| it.contains("stuck section") && it.contains("Hang")),
            "{:?}",
            second.findings
        );

        daemon.must("release");
        let mut sequence = 2;
        until("the section is back", || {
            sequence += 1;
            let report = report(&daemon, &log, sequence);
            (report.is_complete && report.section("Hang").status == "ok").then_some(())
        });
        daemon.assert_alive();
    }
}

#[test]
fn stuck_workers_are_replaced_until_too_many_are_stuck_and_leave_when_they_are_back() {
    let log = ErrLog::new();
    let hangs = ["hang", "hang-2", "hang-3", "hang-4", "hang-5"];
    let mut daemon = start("text", &[&hangs[..], &["calm"]].concat(), &log);
    let pid = daemon.pid();
    let workers =
        || process::threads(pid).values().filter(|name| name.starts_with("gmr-worker")).count();
    let mut sequence = 0;
    // Each hang takes a worker; with five of them there is none left.
    until("all workers are stuck", || {
        sequence += 1;
        let report = report(&daemon, &log, sequence);
        let stuck = report.sections.iter().filter(|section| section.status.contains("stuck"));
        let calm = report.section("Calm");
        if stuck.count() < 5 {
            return None;
        }
        assert_eq!(calm.status, "skipped", "{}", report.raw);
        Some(())
    });
    assert_eq!(workers(), 5);
    daemon.must("release");
    until("two workers are left", || (workers() == 2).then_some(()));
    sequence += 1;
    let report = report(&daemon, &log, sequence);
    assert!(report.is_complete, "{}", report.raw);
}

#[test]
fn a_closure_may_take_a_gibibyte() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["gigabyte", "calm"], &log);
    let report = report(&daemon, &log, 1);
    assert!(matches!(&*report.section("Gigabyte").status, "ok" | "stuck"), "{}", report.raw);
    assert_status(&report, "Calm", "ok");
    daemon.assert_alive();
}

#[test]
fn ten_mebibytes_are_cut_and_said() {
    for view in VIEWS {
        let log = ErrLog::new();
        let mut daemon = start(view, &["ten-mib", "ten-mib-of-lines", "calm"], &log);
        for sequence in 1..=2 {
            let report = report(&daemon, &log, sequence);
            assert_status(&report, "Ten MiB", "size_limit");
            assert_status(&report, "Ten MiB of lines", "size_limit");
            assert_status(&report, "Calm", "ok");
            assert!(report.raw.len() < 6 << 20, "{} bytes", report.raw.len());
            assert!(report.section("Ten MiB of lines").body.len() > 500_000);
        }
        daemon.assert_alive();
    }
}

#[test]
fn invalid_utf_8_is_escaped_and_what_cannot_be_shown_fails_alone() {
    for view in VIEWS {
        let log = ErrLog::new();
        let mut daemon = start(view, &["invalid", "invalid-path", "calm"], &log);
        let report = report(&daemon, &log, 1);
        assert_status(&report, "Invalid", "ok");
        assert!(report.section("Invalid").body.contains("xff"), "{}", report.raw);
        assert_status(&report, "Invalid path", "failed");
        assert!(report.section("Invalid path").body.contains("UTF-8"), "{}", report.raw);
        assert_status(&report, "Calm", "ok");
        daemon.assert_alive();
    }
}

#[test]
fn a_closure_may_register_sections() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["registers", "calm"], &log);
    let first = report(&daemon, &log, 1);
    assert_status(&first, "Calm", "ok");
    assert!(first.section("Registers").body.contains("registered"));
    let second = report(&daemon, &log, 2);
    assert!(second.is_complete, "{}", second.raw);
    assert!(second.section("Registered by a section").body.contains("born in a report"));
    // The registry's room ends, the reports do not.
    for sequence in 3..=40 {
        assert!(report(&daemon, &log, sequence).is_complete);
    }
    assert!(report(&daemon, &log, 41).section("Registers").body.contains("full"));
    daemon.assert_alive();
}

#[test]
fn a_closure_that_triggers_a_report_gets_none() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["triggers", "calm"], &log);
    for sequence in 1..=3 {
        let report = report(&daemon, &log, sequence);
        assert!(report.is_complete, "{}", report.raw);
        assert!(report.section("Triggers").body.contains("triggered"));
        // Nobody's but ours: one that the section asked for would come first.
        let from_us = format!("SIGUSR2 from pid {} ", std::process::id());
        let who = report.head("requested by").unwrap_or_default();
        assert!(who.starts_with(&from_us), "{who}");
    }
    // What somebody else asks for comes, and is the next one.
    let last = report(&daemon, &log, 4);
    assert_eq!(last.sequence, 4);
    assert_eq!(log.wait_for(4).reports.len(), 4, "nobody asked for more");
    assert!(last.head("requests ignored (forked children, after shutdown or release)").is_some());
    daemon.assert_alive();
}

#[test]
fn a_closure_that_asks_for_a_report_and_waits_is_refused_at_once() {
    let log = ErrLog::new();
    let daemon = start("text", &["asks", "calm"], &log);
    let report = report(&daemon, &log, 1);
    assert!(report.is_complete, "{}", report.raw);
    assert!(report.section("Asks").body.contains("cannot ask for another"), "{}", report.raw);
}

#[test]
fn a_section_that_takes_a_lock_held_by_the_main_thread_costs_itself_alone() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["locks", "calm"], &log);
    daemon.must("lock");
    let locked = report(&daemon, &log, 1);
    assert_status(&locked, "Locks", "stuck");
    assert!(locked.section("Locks").body.contains("lock"), "{}", locked.raw);
    assert_status(&locked, "Calm", "ok");
    daemon.must("unlock");
    let mut sequence = 1;
    until("the section is back", || {
        sequence += 1;
        report(&daemon, &log, sequence).is_complete.then_some(())
    });
}

#[test]
fn a_section_that_switches_the_destination_does_not_wait_for_its_own_report() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["switches", "calm"], &log);
    let first = report(&daemon, &log, 1);
    assert!(first.is_complete, "{}", first.raw);
    // The second finds no report in the destination that the first one set.
    let body = &first.section("Switches").body;
    assert!(body.contains("[Err(StillInUse), Ok(())]"), "{body}");
    assert_status(&report(&daemon, &log, 2), "Calm", "ok");
    daemon.assert_alive();
}

#[test]
fn sections_come_and_go() {
    let log = ErrLog::new();
    // One that hangs is registered later.
    let mut daemon = start_with("text", SHORT_MS, &["calm"], &log);
    for round in 0..50 {
        daemon.must("register text");
        let with = report(&daemon, &log, 2 * round + 1);
        assert_status(&with, "Text", "ok");
        daemon.must("unregister text");
        let without = report(&daemon, &log, 2 * round + 2);
        assert!(without.sections.iter().all(|section| section.title != "Text"));
    }
    // A section that hangs may go too: its worker frees it.
    daemon.must("register hang");
    assert_status(&report(&daemon, &log, 101), "Hang", "stuck");
    daemon.must("unregister hang");
    assert!(report(&daemon, &log, 102).is_complete);
    daemon.must("release");
    assert!(report(&daemon, &log, 103).is_complete);
    daemon.assert_alive();
}

#[test]
fn a_closure_that_panics_when_it_is_dropped_costs_no_worker() {
    let log = ErrLog::new();
    let mut daemon = start_with("text", SHORT_MS, &["calm"], &log);
    // As many as there are workers: each of them frees one.
    for round in 0..2 {
        daemon.must("hang");
        daemon.must("register grenade");
        assert_status(&report(&daemon, &log, 4 * round + 1), "Grenade", "stuck");
        daemon.must("unregister grenade");
        daemon.must("release");
        for sequence in 4 * round + 2..=4 * round + 4 {
            assert_status(&report(&daemon, &log, sequence), "Calm", "ok");
        }
    }
    daemon.assert_alive();
}

#[test]
fn a_panic_that_a_closure_catches_is_not_shown_as_anothers() {
    let log = ErrLog::new();
    let daemon = start("text", &["catches", "resumes", "calm"], &log);
    for sequence in 1..=2 {
        let report = report(&daemon, &log, sequence);
        assert_status(&report, "Catches", "ok");
        assert_status(&report, "Resumes", "failed");
        assert!(report.section("Resumes").body.contains("payload is no text"), "{}", report.raw);
        assert!(!report.raw.contains("caught by the section"), "{}", report.raw);
        assert_status(&report, "Calm", "ok");
    }
}

#[test]
fn a_setup_that_is_refused_changes_nothing_and_gives_its_closures_back() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["calm"], &log);
    assert_eq!(daemon.ask("set-up-again"), "Some(Core(AlreadySetUp)), 1 held");
    let report = report(&daemon, &log, 1);
    assert!(report.is_complete, "{}", report.raw);
    let configuration = &report.section("Configuration").body;
    assert!(configuration.contains("card = of the first setup"), "{configuration}");
}

/// Waits until so many background jobs are done, and so many hang.
fn wait_for_jobs(daemon: &mut Daemon, done: u32, at: u32) {
    let wanted = format!("{done} done, {at} at");
    until(&wanted, || (daemon.ask("jobs") == wanted).then_some(()));
}

#[test]
fn extensions_are_called_in_their_order_with_a_handle_that_works() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["extended"], &log);
    assert_eq!(daemon.ask("installed"), "first, second");
    wait_for_jobs(&mut daemon, 1, 0);
    let report = report(&daemon, &log, 1);
    assert!(report.section("Extension").body.contains("of an extension"), "{}", report.raw);
    // A setup that is refused calls none.
    assert_eq!(daemon.ask("set-up-again"), "Some(Core(AlreadySetUp)), 1 held");
    assert_eq!(daemon.ask("installed"), "first, second");
}

#[test]
fn a_job_that_panics_costs_neither_a_worker_nor_a_line_in_the_log() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["calm"], &log);
    for round in 1..=6 {
        daemon.must("job panics");
        daemon.must("job ok");
        wait_for_jobs(&mut daemon, round, 0);
    }
    assert!(report(&daemon, &log, 1).is_complete);
    assert!(!log.text().contains("of a job"), "{}", log.text());
    assert!(log.wait_for(1).outside.is_empty());
}

#[test]
fn a_job_keeps_no_section_waiting_and_leaves_no_thread_behind() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["calm", "text", "list"], &log);
    assert!(report(&daemon, &log, 1).is_complete);
    let threads = daemon.ask("threads");
    daemon.must("job hangs");
    wait_for_jobs(&mut daemon, 0, 1);
    // They wait behind the one that hangs, whatever worker is free.
    daemon.must("job hangs");
    daemon.must("job ok");
    for sequence in 2..=6 {
        let report = report(&daemon, &log, sequence);
        for title in ["Calm", "Text", "List"] {
            assert_status(&report, title, "ok");
        }
        // Its thread is one of ours, and is not taken for a section that is stuck.
        assert!(!report.raw.contains("stuck"), "{}", report.raw);
        let workers = report.threads.iter().filter(|it| it.name.starts_with("gmr-worker"));
        assert!(workers.clone().all(|worker| worker.capture == "own"), "{}", report.raw);
        assert_eq!(workers.count(), 3, "{}", report.raw);
    }
    assert_eq!(daemon.ask("jobs"), "0 done, 1 at");
    daemon.must("release-job");
    wait_for_jobs(&mut daemon, 3, 2);
    until("as many threads as before", || (daemon.ask("threads") == threads).then_some(()));
    assert!(report(&daemon, &log, 7).is_complete);
}

#[test]
fn a_job_that_hangs_and_a_section_that_hangs_leave_workers_for_the_others() {
    let log = ErrLog::new();
    let mut daemon = start("text", &["hang", "calm"], &log);
    daemon.must("job hangs");
    wait_for_jobs(&mut daemon, 0, 1);
    assert_status(&report(&daemon, &log, 1), "Hang", "stuck");
    for sequence in 2..=4 {
        let report = report(&daemon, &log, sequence);
        assert_status(&report, "Hang", "skipped_stuck");
        assert_status(&report, "Calm", "ok");
    }
    daemon.must("shutdown");
    daemon.assert_alive();
}
