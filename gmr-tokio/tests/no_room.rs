//! A process that may not have the memory that a list of tasks takes: its setup succeeds,
//! its reports are whole but for the green threads, and say so.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::time::Duration;

use gmr_tokio::View;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than the setup itself takes, less than so many tasks do.
const ROOM_BYTES: u64 = 400 << 20;
const TASKS: usize = 1 << 23;

#[test]
fn without_memory_for_tasks_a_report_says_so() {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split_whitespace().next().unwrap().parse().unwrap();
    let current = Some(pages * rustix::param::page_size() as u64 + ROOM_BYTES);
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let entered = runtime.enter();
    let reports = gmr_tokio::Options::new()
        .max_tasks(TASKS)
        .setup_autorun(gmr_tokio::package!())
        .install()
        .unwrap();
    drop(entered);
    let error = gmr_tokio::wait_until_ready(Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().contains("RLIMIT_AS"), "{error}");
    let report = reports.report(View::Text).unwrap();
    assert!(report.contains("no address space for a list of tasks"), "{report}");
    assert!(report.contains("End of report 1: incomplete"), "{report}");
}
