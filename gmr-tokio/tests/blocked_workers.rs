//! Every worker of a runtime is blocked: all tasks are listed, and the blocked workers
//! and their tasks are named.

mod common;

use common::{Blocked, LetGo, PATIENCE, parked_for_ever, parked_place, section};

const WORKERS: usize = 3;
const PARKED: usize = 40;

#[test]
fn all_tasks_are_listed_and_blocked_workers_named_while_every_worker_sleeps() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .unwrap();
    let entered = runtime.enter();
    let reports = gmr_tokio::setup_autorun(gmr_tokio::package!()).install().unwrap();
    drop(entered);
    gmr_tokio::wait_until_ready(PATIENCE).unwrap();
    let before = reports.report(gmr_tokio::View::Text).unwrap();
    assert!(before.contains("findings = none found"), "{before}");
    assert!(section(&before, "Runtime").contains("3 parked, 0 blocked"), "{before}");

    for _ in 0..PARKED {
        runtime.spawn(parked_for_ever());
    }
    let blocked = Blocked::default();
    let _let_go = LetGo(blocked.clone());
    let ids = blocked.block_workers(&runtime, WORKERS as u32);
    // What was spawned before may be in the queues behind the workers that block: it is
    // listed all the same.
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    let again = reports.report(gmr_tokio::View::Text).unwrap();
    blocked.let_go();

    for report in [&report, &again] {
        let tasks = section(report, "Green Threads");
        assert!(tasks.contains("summary = 43 tasks seen of 43 alive, 1 runtime\n"), "{tasks}");
        let findings = report.split("Package").next().unwrap();
        assert!(findings.contains("stalled runtime: all workers of runtime 1"), "{findings}");
        for id in &ids {
            assert!(tasks.contains(&format!("Task {id} running on #")), "{tasks}");
            let line = findings
                .lines()
                .find(|line| line.contains(&format!("has polled task {id} for at least")))
                .unwrap_or_else(|| panic!("{id} in {findings}"));
            for part in [
                "blocked worker: tokio-rt-worker #",
                "without using the CPU",
                "Blocked::blocks, defined at gmr-tokio/tests/common/mod.rs:",
                "Blocked::hold_the_worker, gmr-tokio/tests/common/mod.rs:",
            ] {
                assert!(line.contains(part), "{part} in {line}");
            }
        }
        let runtime = section(report, "Runtime");
        assert!(runtime.contains("3 workers: 0 parked, 3 blocked"), "{runtime}");
        assert!(runtime.contains(" in std::thread::"), "the stack of a blocked worker: {runtime}");
        // Every one that has been polled is where it parks; the others are new.
        let places = parked_place();
        let is_new = tasks.contains("state = new");
        assert!(is_new || tasks.contains(&places), "{places} in {tasks}");
    }
    // The same episode, known from the report before.
    let milliseconds = |report: &str| {
        let at = report.find("for at least ").unwrap() + "for at least ".len();
        let text = &report[at..at + 12];
        let (number, unit) = text.split_once(' ').unwrap();
        let factor = if unit.starts_with("ms") { 1.0 } else { 1000.0 };
        number.parse::<f64>().unwrap() * factor
    };
    assert!(milliseconds(&again) > milliseconds(&report), "{again}");
}
