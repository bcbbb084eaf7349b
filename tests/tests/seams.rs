//! What sections may do beside writing: collect beside the capture, have findings,
//! show the report's own threads, stand behind Threads.

use gmr_tests::{Daemon, ErrLog, Report, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

const SETUPS: [&str; 3] = ["std", "core-trigger", "core-autorun"];

/// A daemon with the thread that the section Witness looks for, and its number.
fn start(setup: &str, rest: &str, log: &ErrLog) -> (Daemon, String) {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    let tid = daemon.ask("secret-thread");
    daemon.must(&format!("{setup} {rest}"));
    if setup == "core-trigger" {
        daemon.must("run-thread");
    }
    (daemon, tid)
}

/// The report with this number.
fn report(daemon: &Daemon, log: &ErrLog, sequence: u64) -> Report {
    daemon.trigger();
    log.report(sequence)
}

fn titles(report: &Report) -> Vec<&str> {
    report.sections.iter().map(|section| &*section.title).collect()
}

#[test]
fn a_section_collects_beside_the_capture_and_shows_what_the_report_has() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let (daemon, tid) = start(setup, "sections=filler-0,witness fold=0", &log);
        for sequence in 1..=2 {
            let report = report(&daemon, &log, sequence);
            let titles = titles(&report);
            assert_eq!(titles[..4], ["Package", "Threads", "Witness", "Processes"]);
            // The other one stands where it always stood.
            assert_eq!(titles[titles.len() - 2..], ["Filler 0", "Modules"]);
            let own = report.threads.iter().filter(|thread| thread.capture == "own").count();
            let body = &report.section("Witness").body;
            for line in [
                "steps before = 2",
                "same report = True",
                &format!("number = {sequence}"),
                &format!("listed = {}", report.threads.len()),
                &format!("own = {own}"),
                "saw the thread = True",
                "in time = True",
                "frames until told to end = 3",
                "saw the function = True",
                "showed the thread = True",
                "showed another's = False",
            ] {
                assert!(body.lines().any(|found| found == line), "{line} in {body}");
            }
            // The thread's block is the one that Threads has.
            let block = |body: &str| {
                let (_, rest) = body.split_once(&format!("Thread #{tid} token=*** ")).expect(body);
                let (block, _) = rest.split_once("\n------").unwrap_or((rest, ""));
                let is_of_stack = |line: &&str| line.starts_with('#');
                block.lines().filter(is_of_stack).map(String::from).collect::<Vec<_>>()
            };
            let stack = block(body);
            assert!(stack.iter().any(|frame| frame.contains("waits_in_secret")), "{body}");
            assert_eq!(stack, block(&report.section("Threads").body));
            assert!(body.contains("Task 4711 \"token=***\" suspended"), "{body}");
            let tree = "future = coop::Coop<…>\n\n\
                        src/api.rs:57  heat::api::handle (password=***)\n  coop::Coop<…>\n";
            assert!(body.contains(tree), "{body}");
            assert!(!report.raw.contains("s3am"), "{}", report.raw);
        }
    }
}

#[test]
fn added_stacks_have_names_and_lines_up_to_a_limit() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let (daemon, _) = start(setup, "sections=witness lines=1", &log);
        let mut sequence = 0;
        until("the stack has its lines", || {
            sequence += 1;
            let report = report(&daemon, &log, sequence);
            let body = report.section("Witness").body.clone();
            let (_, stack) = body.split_once("coop::Coop<…>\n\n#").expect(&body);
            let stack = &format!("#{stack}");
            // What is inlined there has frames of its own.
            let frames: Vec<_> = stack.lines().take_while(|line| line.starts_with('#')).collect();
            assert!(frames[0].starts_with("#0  "), "{stack}");
            let at = |function: &str| {
                let end = format!(" in puppet::seams::{function}");
                frames.iter().position(|line| line.ends_with(&end)).expect(stack)
            };
            let places = [at("a_known_place"), at("its_caller")];
            assert!(places[0] < places[1] && places[1] == frames.len() - 1, "{stack}");
            let has_lines = places.map(|at| frames[at].contains("puppet/seams.rs:"));
            assert!(body.lines().any(|line| line == "more stacks = 254"), "{body}");
            // One that is longer than a thread's stack may be.
            assert!(body.contains("\n  frames left out = 72\n  shown = True\n"), "{body}");
            // The core alone has names only.
            (has_lines == [setup == "std"; 2]).then_some(())
        });
    }
}

#[test]
fn what_a_section_finds_is_among_the_findings_masked_and_limited() {
    let log = ErrLog::new();
    let (daemon, _) = start("std", "sections=witness", &log);
    let text = report(&daemon, &log, 1);
    let own: Vec<_> = text.findings.iter().map(|finding| &**finding).collect();
    assert_eq!(own, ["blocked worker: password=*** in a poll", "stalled runtime: all of them"]);
    assert!(text.is_complete, "{}", text.raw);

    let log = ErrLog::new();
    let (daemon, tid) = start("std", "view=line sections=witness full_names=1", &log);
    let json = report(&daemon, &log, 1).raw;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let tid: u64 = tid.parse().expect("a number");
    assert_eq!(
        json["findings"],
        serde_json::json!([
            {"code": "blocked_worker", "text": "password=*** in a poll", "threads": [tid]},
            {
                "code": "stalled_runtime",
                "text": "all of them",
                "threads": vec![tid; 16],
                "threads_left_out": 4,
            },
        ])
    );
    let sections = json["sections"].as_array().expect("sections");
    let witness = sections.iter().find(|section| section["title"] == "Witness").expect("it");
    let data = &witness["data"];
    assert_eq!(data["thread"][0]["tid"], tid, "{data}");
    let task = &data["tasks"][0];
    assert_eq!(task["name"], "token=***", "{data}");
    assert_eq!(task["stack"][0]["note"], "password=***", "{data}");
    let full = "coop::Coop<tokio::sync::watch::Receiver<T>::wait_for_inner<bool, \
                heat_api_tokio::is_set::{closure#0}>>";
    assert_eq!(task["stack"][1]["function"], full, "{data}");
    assert_eq!(task["future"], full, "{data}");
    assert_eq!(task["frames"][1]["function"], "puppet::seams::its_caller", "{data}");
    assert!(!json.to_string().contains("s3am"), "{json}");
}

#[test]
fn a_section_that_does_not_come_back_from_a_call_is_named_and_left_out() {
    let setups: [&[&str]; 2] =
        [&["std"], &["core-trigger supervisors=2", "run-thread", "run-thread"]];
    for setup in setups {
        for (name, title) in [("collect-gate", "Collect gate"), ("findings-gate", "Findings gate")]
        {
            let log = ErrLog::new();
            let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
            daemon.must("threads 2");
            daemon.must("stick-seams");
            daemon.must(&format!("{} report_ms=400 sections={name},filler-0", setup[0]));
            setup[1..].iter().for_each(|command| daemon.must(command));
            daemon.trigger();
            until("the gate", || (daemon.ask("entered-seams") == "1").then_some(()));
            daemon.trigger();
            let stream = log.wait_for(2);
            stream.assert_clean();
            let [abandoned, second] = &stream.reports[..] else { panic!("two: {stream:#?}") };
            assert_eq!(abandoned.reasons, format!("abandoned in {title}"));
            assert_eq!(second.head("previous report.abandoned in"), Some(title));
            for report in [second, &report(&daemon, &log, 3)] {
                assert_eq!(report.section(title).status, "skipped_stuck", "{}", report.raw);
                assert!(!report.raw.contains("behind the gate"), "{}", report.raw);
                assert_eq!(report.section("Filler 0").status, "ok", "{}", report.raw);
                // What is left out is that section alone.
                assert!(report.threads.len() > 2, "{}", report.raw);
                assert_eq!(report.reasons, "section skipped");
                assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
                assert!(report.findings[0].contains(title), "{:?}", report.findings);
            }
            assert_eq!(daemon.ask("entered-seams"), "1");

            daemon.must("unstick-seams");
            let mut sequence = 3;
            until("a complete report", || {
                sequence += 1;
                let report = report(&daemon, &log, sequence);
                report.is_complete.then(|| {
                    assert!(report.section(title).body.contains("generated"), "{}", report.raw);
                    assert_eq!(report.findings, ["stalled runtime: behind the gate"]);
                })
            });
            assert_eq!(daemon.stats().abandoned, 1);
        }
    }
}

#[test]
fn collecting_has_a_part_of_the_reports_time() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let (daemon, _) = start(setup, "report_ms=3000 sections=patient,filler-0,witness", &log);
        let report = report(&daemon, &log, 1);
        assert!(report.is_complete, "{}", report.raw);
        let body = &report.section("Patient").body;
        assert!(body.contains("rests until the deadline = 1"), "{body}");
        assert_eq!(report.section("Filler 0").status, "ok");
        // Nothing was left for who comes behind.
        assert!(report.section("Witness").body.contains("in time = False"), "{}", report.raw);
    }
}
