//! Excluded threads are described, and left alone.

use gmr_tests::{Daemon, ErrLog, until};

const EXCLUDER: &str = env!("CARGO_BIN_EXE_excluder");

#[test]
fn an_excluded_thread_is_described_and_never_interrupted() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(EXCLUDER, &[], log.stdio());
    let is_real_time = daemon.ready == "ready true";
    daemon.trigger();
    let report = log.report(1);
    assert!(report.is_complete, "{}", report.raw);
    for (name, is_excluded) in
        [("critical-thread", true), ("real-time", is_real_time), ("common", false)]
    {
        let thread = report.threads.iter().find(|thread| thread.name == name);
        let thread = thread.unwrap_or_else(|| panic!("{name}: {}", report.raw));
        // It sleeps: its stack is there all the same, read where it is.
        assert!(thread.is_in("excluder::sleep"), "{name}: {}", report.raw);
        let is_read_parked = thread.fact("stack read").is_some();
        assert_eq!(is_read_parked, is_excluded, "{name}: {}", report.raw);
    }
    let expected = if is_real_time { "2 excluded" } else { "1 excluded" };
    assert!(report.raw.contains(expected), "{}", report.raw);
    // The one that was captured was woken; the others slept on.
    let counts = until("the thread that was interrupted", || {
        let counts = daemon.ask("interrupted");
        counts.ends_with("common:1").then_some(counts)
    });
    let real_time = u8::from(!is_real_time);
    assert_eq!(counts, format!("critical:0 real-time:{real_time} common:1"));
}
