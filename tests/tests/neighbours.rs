//! Other users of the same signals: everybody gets theirs, in each order.

use gmr_tests::{Daemon, ErrLog, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

const TRIGGER: i32 = 12;
const CAPTURE: i32 = 23;

/// Installs in the given order, triggers twice, and sees that each of the
/// three was told twice.
#[track_caller]
fn all_get_it(order: &[&str]) {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    for command in order {
        match *command {
            "hook" | "tokio" => daemon.must(&format!("listen-{command} {TRIGGER}")),
            setup => daemon.must(setup),
        }
    }
    let has_hook = u32::from(order.contains(&"hook"));
    let has_tokio = u32::from(order.contains(&"tokio"));
    for count in 1..=2 {
        daemon.trigger_by_shell();
        let report = log.report(u64::from(count));
        assert!(report.is_complete, "{order:?}: {}", report.raw);
        assert!(report.head("requested by").is_some_and(|who| who.starts_with("SIGUSR2 from pid")));
        let expected = format!("hook {} tokio {}", has_hook * count, has_tokio * count);
        until(&format!("{expected} after {order:?}"), || {
            (daemon.ask("heard") == expected).then_some(())
        });
    }
    daemon.assert_alive();
    let stats = daemon.wait_stats("both reports", |stats| stats.reports() >= 2);
    assert_eq!(stats.reports(), 2, "{order:?}: one request, one report");
}

#[test]
fn gmr_std_tokio_and_signal_hook_share_the_trigger_in_each_order() {
    for order in [
        ["std", "hook", "tokio"],
        ["std", "tokio", "hook"],
        ["hook", "std", "tokio"],
        ["tokio", "std", "hook"],
        ["hook", "tokio", "std"],
        ["tokio", "hook", "std"],
    ] {
        all_get_it(&order);
    }
}

#[test]
fn the_core_alone_installed_first_is_chained_by_the_others() {
    all_get_it(&["core-autorun", "hook", "tokio"]);
    all_get_it(&["core-autorun", "tokio", "hook"]);
    all_get_it(&["core-trigger", "run-thread", "hook", "tokio"]);
}

#[test]
fn the_core_alone_installed_last_chains_the_others() {
    all_get_it(&["hook", "tokio", "core-autorun"]);
    all_get_it(&["tokio", "hook", "core-autorun"]);
    all_get_it(&["hook", "tokio", "core-trigger", "run-thread"]);
}

#[test]
fn the_core_alone_installed_between_them_is_chained_and_chains() {
    all_get_it(&["hook", "core-autorun", "tokio"]);
    all_get_it(&["tokio", "core-autorun", "hook"]);
}

#[test]
fn after_arm_the_order_of_the_others_does_not_matter_either() {
    for order in [["hook", "std"], ["std", "hook"], ["core-autorun", "hook"]] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &["arm"], log.stdio());
        for command in order {
            match command {
                "hook" => daemon.must(&format!("listen-hook {TRIGGER}")),
                setup => daemon.must(setup),
            }
        }
        daemon.trigger();
        assert!(log.report(1).is_complete);
        let heard = daemon.ask("heard");
        assert_eq!(heard, "hook 1 tokio 0", "{order:?}");
        daemon.assert_alive();
        let stats = daemon.wait_stats("the report", |stats| stats.reports() >= 1);
        assert_eq!(stats.reports(), 1, "{order:?}: one request, one report");
    }
}

#[test]
fn after_arm_the_core_alone_finds_itself_behind_another_handler() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &["arm"], log.stdio());
    daemon.must(&format!("listen-hook {TRIGGER}"));
    daemon.must("core-autorun");
    daemon.trigger();
    assert!(log.wait_for(1).only().is_complete);
    // Twice: the setup asks with a signal whether its handler is reached, and
    // a handler before it cannot tell that one from others.
    until("the hook", || (daemon.ask("heard") == "hook 2 tokio 0").then_some(()));
    let stats = daemon.wait_stats("the report", |stats| stats.reports() >= 1);
    assert_eq!(stats.reports(), 1);
}

#[test]
fn a_program_that_uses_the_capture_signal_keeps_it_and_stacks_stay_whole() {
    for setup in ["std", "core-autorun"] {
        for is_first in [true, false] {
            let log = ErrLog::new();
            let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
            daemon.must("threads 3");
            if is_first {
                daemon.must(&format!("listen-hook {CAPTURE}"));
                daemon.must(setup);
            } else {
                daemon.must(setup);
                daemon.must(&format!("listen-hook {CAPTURE}"));
            }
            daemon.must(&format!("raise {CAPTURE}"));
            assert_eq!(daemon.ask("heard"), "hook 1 tokio 0");
            daemon.trigger();
            let report = log.report(1);
            assert!(report.is_complete, "{}", report.raw);
            let parked = report.threads.iter().filter(|thread| thread.name.starts_with("parked-"));
            assert!(parked.clone().all(|thread| thread.is_in("parked_for_the_test")));
            assert_eq!(parked.count(), 3);
            if is_first {
                assert_eq!(daemon.ask("heard"), "hook 1 tokio 0", "captures use another signal");
            }
        }
    }
}
