//! A current-thread runtime whose one thread is blocked: by a task, and by the future
//! of `block_on` itself.

mod common;

use common::{Blocked, PATIENCE, parked_for_ever, parked_place, section};
use gmr_tokio::TrackedExt;

#[test]
fn a_blocked_current_thread_runtime_is_told_with_its_task_or_its_root_future() {
    let reports = gmr_tokio::setup_autorun(gmr_tokio::package!()).install().unwrap();
    let (root, task) = (Blocked::default(), Blocked::default());
    let (root_inside, task_inside) = (root.clone(), task.clone());
    let thread = std::thread::Builder::new().name("one-thread".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        gmr_tokio::register(runtime.handle()).unwrap();
        gmr_tokio::register(runtime.handle()).unwrap();
        for _ in 0..20 {
            runtime.spawn(parked_for_ever());
        }
        // All of them are polled once, and so is the self test.
        runtime.block_on(async {
            tokio::task::spawn_blocking(|| gmr_tokio::wait_until_ready(PATIENCE))
                .await
                .unwrap()
                .unwrap();
            // The self test's task ends, too.
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 20 {
                tokio::task::yield_now().await;
            }
        });
        let main = async move {
            root_inside.hold_the_worker();
            tokio::spawn(task_inside.blocks()).await.unwrap();
        };
        runtime.block_on(main.tracked("main"));
    });

    root.wait_for(1);
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    root.let_go();
    let findings = report.split("Package").next().unwrap();
    assert!(findings.contains("one-thread #"), "{report}");
    assert!(findings.contains("has polled the future of block_on for"), "{findings}");
    assert!(findings.contains("Blocked::hold_the_worker"), "{findings}");
    let tasks = section(&report, "Green Threads");
    assert!(tasks.contains("summary = 20 tasks seen of 20 alive, 1 runtime\n"), "{tasks}");
    assert!(tasks.contains(&parked_place()), "{tasks}");
    assert!(tasks.contains("20 tasks with the same await tree"), "{tasks}");
    assert!(tasks.contains("\"main\""), "{tasks}");

    task.wait_for(1);
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    task.let_go();
    thread.unwrap().join().unwrap();
    let findings = report.split("Package").next().unwrap();
    assert!(findings.contains("one-thread #"), "{report}");
    assert!(
        findings.contains("the only worker of runtime 1 (current_thread) is blocked"),
        "{findings}"
    );
    assert!(findings.contains("Blocked::blocks, defined at"), "{findings}");
    let tasks = section(&report, "Green Threads");
    assert!(tasks.contains("summary = 21 tasks seen of 21 alive, 1 runtime\n"), "{tasks}");

    // Nobody drives it any more: it has ended, and its tasks with it.
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    assert!(report.contains("findings = none found"), "{report}");
    assert!(
        section(&report, "Green Threads").contains("summary = 0 tasks seen of 0 alive"),
        "{report}"
    );
    assert!(section(&report, "Runtime").contains("undriven"), "{report}");
}
