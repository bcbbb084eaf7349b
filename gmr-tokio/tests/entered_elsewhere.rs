//! A worker that has entered another runtime in its poll: that one is not blocked by
//! it, and has no worker in this thread.

mod common;

use common::{Blocked, LetGo, PATIENCE, section};

#[test]
fn a_worker_that_has_entered_another_runtime_is_not_taken_for_that_ones() {
    let builder = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (driven, other_multi) = (builder(), builder());
    let other_current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for runtime in [&driven, &other_multi, &other_current] {
        gmr_tokio::register(runtime.handle()).unwrap();
    }
    let reports = gmr_tokio::setup_autorun(gmr_tokio::package!()).install().unwrap();
    let others = [other_current.handle().clone(), other_multi.handle().clone()];
    // The self test of the current-thread runtime has to run.
    other_current.block_on(async {
        let ready = tokio::task::spawn_blocking(|| gmr_tokio::wait_until_ready(PATIENCE));
        ready.await.unwrap().unwrap();
    });

    for (other, number) in others.into_iter().zip([3, 2]) {
        let blocked = Blocked::default();
        let _let_go = LetGo(blocked.clone());
        let inside = blocked.clone();
        let task = driven.spawn(async move {
            tokio::task::yield_now().await;
            let _entered = other.enter();
            inside.hold_the_worker();
        });
        blocked.wait_for(1);
        let report = reports.report(gmr_tokio::View::Text).unwrap();
        blocked.let_go();
        let findings = report.split("Package").next().unwrap();
        let wrong = format!("of runtime {number}");
        assert!(!findings.contains(&wrong), "{findings}");
        // It is the worker of its own.
        let right = format!("has polled task {} for at least", task.id());
        assert!(findings.contains(&right), "{findings}");
        assert!(findings.contains("the only worker of runtime 1"), "{findings}");
        let tasks = section(&report, "Green Threads");
        assert!(tasks.contains(&format!("Task {} running on #", task.id())), "{tasks}");
        // Nobody drives the other one by this thread.
        let runtime = section(&report, "Runtime");
        let row = runtime.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&number.to_string()) && line.contains("registration")
        });
        let row = row.unwrap_or_else(|| panic!("no {number} in {runtime}"));
        let driving = row.split_whitespace().nth(4).unwrap();
        assert_eq!(driving, if number == 3 { "0" } else { "1" }, "{runtime}");
    }
}
