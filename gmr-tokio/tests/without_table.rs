//! No await table can be had: the report says why, and shows what the program tracks
//! itself, who polls what, and blocked workers.

mod common;

use common::{Blocked, LetGo, PATIENCE, parked_for_ever, section};

#[test]
fn without_a_table_tracked_tasks_and_workers_are_shown_with_the_reason() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    gmr_tokio::register(runtime.handle()).unwrap();
    let too_early = gmr_tokio::wait_until_ready(PATIENCE).unwrap_err();
    assert_eq!(too_early.to_string(), "there was no setup");
    let reports = gmr_tokio::Options::new()
        .await_table_memory(1)
        .setup_autorun(gmr_tokio::package!())
        .install()
        .unwrap();
    let never = gmr_tokio::wait_until_ready(PATIENCE).unwrap_err();
    assert!(never.to_string().contains("over the memory limit"), "{never}");

    let entered = runtime.enter();
    gmr_tokio::spawn_named("parked one", parked_for_ever());
    drop(entered);
    runtime.spawn(parked_for_ever());
    let blocked = Blocked::default();
    let _let_go = LetGo(blocked.clone());
    let id = runtime.spawn(blocked.clone().blocks()).id();
    blocked.wait_for(1);
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    let tasks = section(&report, "Green Threads");
    assert!(tasks.contains("summary = tasks are not listed, 3 are alive, 1 runtime\n"), "{tasks}");
    assert!(tasks.contains("await table = none: "), "{tasks}");
    assert!(tasks.contains("over the memory limit"), "{tasks}");
    assert!(tasks.contains("all tasks = unavailable without an await table"), "{tasks}");
    assert!(tasks.contains("\"parked one\""), "{tasks}");
    assert!(tasks.contains("undecoded = no await table"), "{tasks}");
    assert!(tasks.contains(&format!("Task {id} running on #")), "{tasks}");
    let findings = report.split("Package").next().unwrap();
    assert!(findings.contains(&format!("has polled task {id} for at least")), "{findings}");
    assert!(findings.contains("Blocked::hold_the_worker"), "{findings}");
    assert!(section(&report, "Runtime").contains(" 1 blocked"), "{report}");
}
