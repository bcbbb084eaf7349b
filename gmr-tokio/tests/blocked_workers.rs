//! Every worker of a runtime is blocked: all tasks are listed, and the blocked workers
//! and their tasks are named.

use std::time::Duration;

async fn parked_for_ever() {
    std::future::pending::<()>().await;
}

async fn blocks(released: std::sync::Arc<std::sync::atomic::AtomicBool>) {
    tokio::task::yield_now().await;
    hold_the_worker(&released);
}

#[inline(never)]
fn hold_the_worker(released: &std::sync::atomic::AtomicBool) {
    while !released.load(std::sync::atomic::Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1000));
    }
}

#[test]
fn all_tasks_are_listed_and_blocked_workers_named_while_every_worker_sleeps() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let entered = runtime.enter();
    let reports = gmr_tokio::setup_autorun(gmr_tokio::package!()).install().unwrap();
    drop(entered);
    gmr_tokio::wait_until_ready(Duration::from_secs(60)).unwrap();
    for _ in 0..40 {
        runtime.spawn(parked_for_ever());
    }
    let released = std::sync::Arc::default();
    let blocked: Vec<_> =
        (0..3).map(|_| runtime.spawn(blocks(std::sync::Arc::clone(&released)))).collect();
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    println!("{report}");
    released.store(true, std::sync::atomic::Ordering::Release);
    for task in &blocked {
        assert!(report.contains(&format!("has polled task {}", task.id())), "{report}");
    }
}
