//! Reports for a caller: whole, its own, and none of the destination's business.

use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process as own;
use std::{env, fs, thread};

use gmr_tests::process::{descriptors, threads};
use gmr_tests::{DEADLINE, Daemon, ErrLog, Report, Stream, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const ADMIN_ENDPOINT: &str = env!("CARGO_BIN_EXE_admin_endpoint");

/// gmr-std through its anonymous file, and the core into a file.
const SETUPS: [&[&str]; 2] = [
    &["std sections=filler-0"],
    &["core-trigger supervisors=2 sections=filler-0", "run-thread", "run-thread"],
];

/// The same with a section that can be stuck.
const STUCK: [&[&str]; 2] = [
    &["std report_ms=1000 sections=gate,filler-0"],
    &[
        "core-trigger report_ms=1000 supervisors=2 sections=gate,filler-0",
        "run-thread",
        "run-thread",
    ],
];

fn start(setup: &[&str], log: &ErrLog) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("threads 2");
    for command in setup {
        daemon.must(command);
    }
    let lent = setup.iter().filter(|command| **command == "run-thread").count();
    if lent > 0 {
        // Callers need them to be there.
        until("the supervisors", || (daemon.ask("running") == lent.to_string()).then_some(()));
    }
    daemon
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A file that a caller's report goes to, removed with this value.
struct Wanted(PathBuf);

impl Wanted {
    fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Wanted(env::temp_dir().join(format!("gmr-test-{}-wanted-{number}", own::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).expect("what was ordered")
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Orders a report and reads it; the daemon's answer must be as said.
#[track_caller]
fn order(daemon: &mut Daemon, view: &str) -> Report {
    let wanted = Wanted::new();
    let answer = daemon.ask(&format!("order {view} {}", wanted.path()));
    let report = Stream::parse(&wanted.text()).only();
    assert_eq!(answer, format!("ok {} {}", report.sequence, report.is_complete));
    report
}

/// The answer of a command on a thread of its own.
#[track_caller]
fn answer(daemon: &mut Daemon) -> String {
    until("an answer", || Some(daemon.ask("answer")).filter(|answer| answer != "not yet"))
}

#[test]
fn a_caller_gets_a_whole_report_in_its_own_view_and_the_destination_nothing() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        for (sequence, view) in (1..).zip(["text", "json", "line", "text"]) {
            let alive = threads(daemon.pid());
            let report = order(&mut daemon, view);
            assert_eq!((report.sequence, report.is_complete), (sequence, true), "{}", report.raw);
            assert_eq!(report.head("requested by"), Some("a call of the program"));
            assert_eq!(report.head("service"), Some("puppet"));
            assert_eq!(report.titles().last(), Some(&"Filler 0"));
            for tid in alive.keys() {
                assert!(report.threads.iter().any(|thread| thread.tid == *tid), "{tid}");
            }
            assert_eq!(view == "text", report.raw.starts_with("===="));
        }
        assert!(log.is_empty(), "{}", log.text());
        let stats = daemon.stats();
        assert_eq!((stats.complete, stats.coalesced, stats.ignored), (4, 0, 0));
        // The trigger's reports are in the same sequence, and go where they go.
        daemon.trigger();
        assert_eq!(log.wait_for(5).only().sequence, 5);
    }
}

#[test]
fn a_released_destination_is_no_hindrance() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        daemon.must("release");
        assert!(order(&mut daemon, "text").is_complete);
        assert!(log.is_empty());
    }
}

#[test]
fn who_cannot_have_a_report_is_told_why() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    assert_eq!(daemon.ask("order text /dev/null"), "NotSetUp");
    daemon.must("core-autorun");
    assert_eq!(daemon.ask("order text /dev/null"), "NoSupervisor");
    daemon.must("shutdown");
    assert_eq!(daemon.ask("order text /dev/null"), "ShutDown");
    daemon.must("core-trigger sections=asks");
    assert_eq!(daemon.ask("order text /dev/null"), "NoSupervisor");
    daemon.must("run-thread");
    let report = until("a supervisor", || {
        let wanted = Wanted::new();
        let answer = daemon.ask(&format!("order text {}", wanted.path()));
        answer.starts_with("ok ").then(|| Stream::parse(&wanted.text()).only())
    });
    let body = &report.section("Asks").body;
    assert!(body.contains("report = refused\n"), "{body}");
    assert!(body.contains("for the right reason = True"), "{body}");
    daemon.ask("fork");
    assert_eq!(daemon.ask("child order text /dev/null"), "NotSetUp");
    assert_eq!(daemon.ask("order text /dev/full"), "NotWritten");
    daemon.assert_alive();
}

#[test]
fn callers_during_a_storm_of_triggers_each_get_their_own_and_the_log_none_of_them() {
    const CALLERS: u32 = 6;
    const TIMES: u32 = 15;
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        let wanted = Wanted::new();
        daemon.tell(&format!("orders {CALLERS} {TIMES} {}", wanted.path()));
        let busy = loop {
            daemon.trigger();
            match daemon.try_line() {
                Some(line) => break line,
                None => thread::yield_now(),
            }
        };
        // There are more of them than places.
        assert!(busy.parse::<u32>().is_ok_and(|busy| busy > 0), "{busy}");
        daemon.must("release");

        let stream = Stream::parse(&log.text());
        stream.assert_clean();
        assert!(!stream.reports.is_empty());
        let mut sequences = BTreeSet::new();
        for report in &stream.reports {
            let who = report.head("requested by").expect("a requester");
            assert!(who.starts_with("SIGUSR2 from pid "), "{who}");
            assert!(report.is_complete && sequences.insert(report.sequence));
        }
        let requested = sequences.len();
        for caller in 0..CALLERS {
            for time in 0..TIMES {
                let path = format!("{}.{caller}.{time}", wanted.path());
                let report = Stream::parse(&fs::read_to_string(&path).expect("a report")).only();
                assert_eq!(report.head("requested by"), Some("a call of the program"));
                assert_eq!(report.coalesced(), 0);
                assert!(report.is_complete && sequences.insert(report.sequence));
                let _ = fs::remove_file(path);
            }
        }
        let stats = daemon.stats();
        assert_eq!(stats.complete, u64::from(CALLERS * TIMES) + requested as u64);
        let coalesced: u64 = stream.reports.iter().map(Report::coalesced).sum();
        assert_eq!(stats.coalesced, coalesced);
        assert_eq!((stats.incomplete, stats.abandoned), (0, 0));
    }
}

#[test]
fn an_order_whose_supervisor_is_stuck_is_taken_over_and_whole() {
    for setup in STUCK {
        for view in ["text", "json"] {
            let log = ErrLog::new();
            let mut daemon = start(setup, &log);
            let before = descriptors(daemon.pid());
            daemon.must("stick");
            let report = if setup[0].starts_with("std") {
                order(&mut daemon, view)
            } else {
                // The core's caller finds the abandoned attempt before it.
                let wanted = Wanted::new();
                let answer = daemon.ask(&format!("order {view} {}", wanted.path()));
                assert_eq!(answer, "ok 2 false");
                let stream = Stream::parse(&wanted.text());
                assert_eq!(stream.broken.len() + stream.reports.len(), 2);
                stream.reports.into_iter().last().expect("a report")
            };
            assert_eq!(report.sequence, 2);
            assert_eq!(report.section("Gate").status, "skipped_stuck", "{}", report.raw);
            assert_eq!(report.section("Filler 0").status, "ok");
            assert_eq!(report.head("previous report.abandoned in"), Some("Gate"));
            assert!(!report.threads.is_empty());
            assert_eq!(daemon.stats().abandoned, 1);
            assert!(log.is_empty(), "{}", log.text());

            daemon.must("unstick");
            until("the section's end", || (daemon.ask("left") == "1").then_some(()));
            assert!(log.is_empty());
            // The descriptors of the order go when its first supervisor is back.
            until("the order's end", || (descriptors(daemon.pid()) == before).then_some(()));
            until("a whole report", || {
                let answer = daemon.ask("order text /dev/null");
                (answer.starts_with("ok ") && answer.ends_with(" true")).then_some(())
            });
            // The log's own lines are the trigger's.
            assert!(log.is_empty());
            daemon.trigger();
            until("the trigger's report", || (!log.is_empty()).then_some(()));
        }
    }
}

#[test]
fn a_trigger_takes_over_from_an_order_and_the_order_is_written_all_the_same() {
    let log = ErrLog::new();
    let mut daemon = start(STUCK[0], &log);
    daemon.must("stick");
    let wanted = Wanted::new();
    daemon.must(&format!("order-thread text {}", wanted.path()));
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    daemon.trigger();
    let answered = answer(&mut daemon);
    daemon.wait_stats("both reports", |stats| stats.reports() == 2);
    let requested = Stream::parse(&log.text()).only();
    let ordered = Stream::parse(&wanted.text()).only();
    assert_eq!(answered, format!("ok {} false", ordered.sequence));
    assert!(requested.head("requested by").is_some_and(|who| who.starts_with("SIGUSR2")));
    assert_eq!(ordered.head("requested by"), Some("a call of the program"));
    for report in [requested, ordered] {
        assert_eq!(report.section("Gate").status, "skipped_stuck", "{}", report.raw);
    }
}

#[test]
fn an_order_takes_over_from_a_triggers_report_which_is_ended_in_the_log() {
    let log = ErrLog::new();
    let mut daemon = start(STUCK[0], &log);
    daemon.must("stick");
    daemon.trigger();
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    let report = order(&mut daemon, "text");
    assert_eq!((report.sequence, report.head("previous report.report")), (2, Some("1")));
    assert_eq!(report.section("Gate").status, "skipped_stuck");
    let abandoned = log.wait_for(1).only();
    assert_eq!(abandoned.reasons, "abandoned in Gate");
    daemon.must("unstick");
    until("the section's end", || (daemon.ask("left") == "1").then_some(()));
    assert_eq!(log.text().matches("after the gate").count(), 0);
}

#[test]
fn when_nobody_can_take_over_callers_are_told_and_nothing_is_lost() {
    const PLACES: usize = 4;
    // Long enough for all callers to be there at the same time.
    for setup in [
        &["std report_ms=2000 sections=gate,second-gate,filler-0"][..],
        &["core-trigger report_ms=10000 sections=gate", "run-thread"][..],
    ] {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        let before = descriptors(daemon.pid());
        daemon.must("stick");
        for _ in 0..=PLACES {
            daemon.must("order-thread text /dev/null");
        }
        let mut answers: Vec<_> = (0..=PLACES).map(|_| answer(&mut daemon)).collect();
        answers.sort();
        assert_eq!(answers[0], "Busy");
        assert!(answers[1..].iter().all(|answer| answer == "Stuck"), "{answers:?}");
        daemon.assert_alive();
        daemon.must("unstick");
        until("a whole report", || {
            let wanted = Wanted::new();
            let answer = daemon.ask(&format!("order text {}", wanted.path()));
            answer.ends_with(" true").then(|| Stream::parse(&wanted.text()).only())
        });
        until("the orders' end", || (descriptors(daemon.pid()) == before).then_some(()));
        assert!(log.is_empty(), "{}", log.text());
    }
}

/// Reports that take more than half of their time, and as long a rest.
const SLOW: [&str; 3] =
    ["core-trigger report_ms=2000 supervisors=2 sections=slow", "run-thread", "run-thread"];

#[test]
fn callers_that_wait_for_their_turn_are_not_told_that_anything_is_stuck() {
    const PLACES: usize = 4;
    let log = ErrLog::new();
    let mut daemon = start(&SLOW, &log);
    for _ in 0..PLACES {
        daemon.must("order-thread text /dev/null");
    }
    for _ in 0..PLACES {
        let answer = answer(&mut daemon);
        assert!(answer.starts_with("ok "), "{answer}");
    }
    assert_eq!(daemon.stats().abandoned, 0);
}

#[test]
fn callers_whose_turn_does_not_come_are_told_that_reports_are_busy() {
    const PLACES: usize = 4;
    let log = ErrLog::new();
    let mut daemon = start(&SLOW, &log);
    // Every second report is for a request.
    daemon.trigger();
    for _ in 0..PLACES {
        daemon.must("order-thread text /dev/null");
    }
    let mut answers: Vec<String> = Vec::new();
    until("all answers", || {
        daemon.trigger();
        answers.extend(Some(daemon.ask("answer")).filter(|answer| answer != "not yet"));
        (answers.len() == PLACES).then_some(())
    });
    let busy = answers.iter().filter(|answer| *answer == "Busy").count();
    let served = answers.iter().filter(|answer| answer.starts_with("ok ")).count();
    assert!(busy > 0 && served > 0 && busy + served == PLACES, "{answers:?}");
    assert_eq!(daemon.stats().abandoned, 0);
}

#[test]
fn a_forked_child_keeps_nothing_of_an_order_once_it_has_a_setup_or_releases() {
    for command in ["core-trigger", "release"] {
        let log = ErrLog::new();
        let mut daemon = start(STUCK[1], &log);
        daemon.must("stick");
        let wanted = Wanted::new();
        daemon.must(&format!("order-thread text {}", wanted.path()));
        until("the gate", || (daemon.ask("entered") == "1").then_some(()));
        let child: u32 = daemon.ask("fork").parse().expect("a process id");
        let leading_there = || {
            let all = descriptors(child);
            all.values().filter(|target| *target == wanted.path()).count()
        };
        assert!(leading_there() > 1);
        assert_eq!(daemon.ask(&format!("child {command}")), "ok");
        assert_eq!(leading_there(), 1, "the caller's own");
        daemon.must("unstick");
        assert!(answer(&mut daemon).starts_with("ok "));
    }
}

#[test]
fn a_shutdown_ends_the_wait() {
    let log = ErrLog::new();
    let setup = ["core-trigger sections=gate", "run-thread"];
    let mut daemon = start(&setup, &log);
    daemon.must("stick");
    daemon.trigger();
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    daemon.must("order-thread text /dev/null");
    thread::yield_now();
    daemon.must("shutdown");
    assert_eq!(answer(&mut daemon), "ShutDown");
    daemon.must("unstick");
    daemon.assert_alive();
}

#[test]
fn after_a_thousand_orders_no_descriptor_and_no_thread_is_more() {
    // (The core's way is the same but for the file.)
    for (setup, rounds) in [(SETUPS[0], 50), (SETUPS[1], 5)] {
        let log = ErrLog::new();
        let mut daemon = start(setup, &log);
        order(&mut daemon, "text");
        let before = (descriptors(daemon.pid()), threads(daemon.pid()));
        let wanted = Wanted::new();
        for _ in 0..rounds {
            daemon.ask(&format!("orders 4 5 {}", wanted.path()));
        }
        until("the callers' end", || {
            let after = (descriptors(daemon.pid()), threads(daemon.pid()));
            (after == before).then_some(())
        });
        assert_eq!(daemon.stats().complete, 1 + 20 * rounds);
        for caller in 0..4 {
            for time in 0..5 {
                let _ = fs::remove_file(format!("{}.{caller}.{time}", wanted.path()));
            }
        }
    }
}

#[test]
fn the_admin_endpoint_answers_on_loopback() {
    let log = ErrLog::new();
    let daemon = Daemon::start(ADMIN_ENDPOINT, &[], log.stdio());
    let addr = daemon.ready.strip_prefix("http://127.0.0.1:").expect("loopback");
    let port: u16 = addr.trim_end_matches('/').parse().expect("a port");
    let get = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nAccept: */*\r\n\r\n")
            .expect("a reader");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("a line"), 0, "{head}");
        }
        let mut body = String::new();
        reader.read_to_string(&mut body).expect("the whole answer");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        (head, body)
    };
    let (head, body) = get("/");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain"), "{head}");
    let report = Stream::parse(&body).only();
    assert!(report.is_complete && report.raw.starts_with("===="));
    assert!(report.threads.iter().any(|thread| thread.name == "admin"));
    let (head, body) = get("/json");
    assert!(head.contains("Content-Type: application/json\r\n"), "{head}");
    assert!(Stream::parse(&body).only().is_complete);
    assert!(get("/other").0.starts_with("HTTP/1.1 404"));
    assert!(log.is_empty(), "{}", log.text());
}
