//! Two runtimes, one registered and one met, a local set, and blocking tasks; then the
//! registered one is shut down while a worker is blocked.

mod common;

use std::sync::mpsc;

use common::{
    Blocked, LetGo, PATIENCE, count_in_block, parked_for_ever, parked_place, section, until,
};

async fn local_task() {
    std::future::pending::<()>().await;
}

#[test]
fn all_runtimes_of_the_process_are_listed_also_while_one_shuts_down() {
    let multi = |name: &str| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(name)
            .build()
            .unwrap()
    };
    let (registered, met) = (multi("registered"), multi("met"));
    // Before the setup.
    gmr_tokio::register(registered.handle()).unwrap();
    let reports = gmr_tokio::setup_autorun(gmr_tokio::package!()).install().unwrap();
    gmr_tokio::wait_until_ready(PATIENCE).unwrap();
    for _ in 0..30 {
        registered.spawn(parked_for_ever());
    }
    for _ in 0..12 {
        met.spawn(parked_for_ever());
    }
    let blocking = Blocked::default();
    let _let_go = LetGo(blocking.clone());
    let inside = blocking.clone();
    let blocking_id = met.spawn_blocking(move || inside.hold_the_worker()).id();

    let (ready, is_ready) = mpsc::channel();
    let (done, until_done) = tokio::sync::oneshot::channel::<()>();
    let local = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let set = tokio::task::LocalSet::new();
        gmr_tokio::register_local_set(&set).unwrap();
        for _ in 0..5 {
            set.spawn_local(local_task());
        }
        set.block_on(&runtime, async move {
            tokio::task::yield_now().await;
            ready.send(()).unwrap();
            let _ = until_done.await;
        });
    });
    is_ready.recv().unwrap();
    blocking.wait_for(1);

    let report = until("all tasks parked", || {
        let report = reports.report(gmr_tokio::View::Text).unwrap();
        let tasks = section(&report, "Green Threads");
        let is_at_rest = !["state = new", "state = scheduled", "running on"]
            .iter()
            .any(|state| tasks.contains(state));
        is_at_rest.then_some(report)
    });
    let tasks = section(&report, "Green Threads");
    let summary =
        "summary = 47 tasks seen of 47 alive, 3 runtimes (1 registered, 2 met), 1 local set\n";
    assert!(tasks.contains(summary), "{tasks}");
    assert_eq!(count_in_block(tasks, "local_task"), 5, "{tasks}");
    assert!(tasks.contains("30 tasks with the same await tree"), "{tasks}");
    assert!(tasks.contains("12 tasks with the same await tree"), "{tasks}");
    assert!(tasks.contains(&parked_place()), "{tasks}");
    assert!(tasks.contains(&format!("Task {blocking_id} blocking on #")), "{tasks}");
    let runtime = section(&report, "Runtime");
    assert!(runtime.contains("registration") && runtime.contains("its threads"), "{runtime}");

    // The local set and its runtime go.
    done.send(()).unwrap();
    local.join().unwrap();
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    let tasks = section(&report, "Green Threads");
    assert!(
        tasks.contains("summary = 42 tasks seen of 42 alive, 2 runtimes (1 registered, 1 met)\n"),
        "{tasks}"
    );

    // One worker never comes back: the runtime cannot end.
    let blocked = Blocked::default();
    let _let_go = LetGo(blocked.clone());
    let id = registered.spawn(blocked.clone().blocks()).id();
    blocked.wait_for(1);
    registered.shutdown_background();
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    let tasks = section(&report, "Green Threads");
    assert!(tasks.contains(&format!("Task {id} running on #")), "{tasks}");
    let findings = report.split("Package").next().unwrap();
    assert!(findings.contains(&format!("has polled task {id} for at least")), "{findings}");
    blocked.let_go();
    blocking.let_go();
    // Nothing is left of it.
    until("the runtime has ended", || {
        let report = reports.report(gmr_tokio::View::Text).unwrap();
        let tasks = section(&report, "Green Threads");
        tasks.contains("summary = 12 tasks seen of 12 alive").then_some(())
    });
}
