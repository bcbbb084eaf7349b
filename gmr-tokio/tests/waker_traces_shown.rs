//! Without a table a waker trace says where a tracked task waits.
#![cfg(feature = "waker-trace")]

mod common;

use common::{PATIENCE, section, until};

#[inline(never)]
async fn waits(semaphore: std::sync::Arc<tokio::sync::Semaphore>) {
    let _permit = semaphore.acquire().await;
}

#[test]
fn a_tracked_task_shows_the_stack_at_which_it_began_to_wait() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    gmr_tokio::register(runtime.handle()).unwrap();
    let reports = gmr_tokio::Options::new()
        .await_table_memory(1)
        .setup_autorun(gmr_tokio::package!())
        .install()
        .unwrap();
    gmr_tokio::wait_until_ready(PATIENCE).unwrap_err();
    gmr_tokio::trace_wakers(true);
    let entered = runtime.enter();
    gmr_tokio::spawn_named("waits", waits(std::sync::Arc::new(tokio::sync::Semaphore::new(0))));
    drop(entered);
    until("a trace", || {
        let report = reports.report(gmr_tokio::View::Text).unwrap();
        let tasks = section(&report, "Green Threads");
        let (_, task) = tasks.split_once("\"waits\"")?;
        let is_there = task.contains("waker of = the last poll")
            && task.contains("in waker_traces_shown::waits::{")
            && task.contains("gmr-tokio/tests/waker_traces_shown.rs:");
        is_there.then_some(())
    });
}
