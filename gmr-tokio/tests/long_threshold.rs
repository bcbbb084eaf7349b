//! A threshold that no report can wait for: the report has its time all the same, and
//! calls nobody blocked.

mod common;

use std::time::Duration;

use common::{Blocked, LetGo, PATIENCE, section};

#[test]
fn a_threshold_of_an_hour_neither_takes_the_reports_time_nor_calls_anybody_blocked() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    gmr_tokio::register(runtime.handle()).unwrap();
    let reports = gmr_tokio::Options::new()
        .threshold(Duration::from_secs(3600))
        .setup_autorun(gmr_tokio::package!())
        .install()
        .unwrap();
    gmr_tokio::wait_until_ready(PATIENCE).unwrap();
    gmr_tokio::wait_until_ready(Duration::MAX).unwrap();
    let blocked = Blocked::default();
    let _let_go = LetGo(blocked.clone());
    let id = runtime.spawn(blocked.clone().blocks()).id();
    blocked.wait_for(1);
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    assert!(report.contains("findings = none found"), "{report}");
    let tasks = section(&report, "Green Threads");
    assert!(tasks.contains(&format!("Task {id} running on #")), "{tasks}");
    let runtime = section(&report, "Runtime");
    assert!(runtime.contains("0 blocked"), "{runtime}");
    assert!(runtime.contains("workers = the time was over before they could"), "{runtime}");
    assert!(report.contains("with a whole stack"), "{report}");
}
