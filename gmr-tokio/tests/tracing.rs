//! A thread's spans stand beside its stack.
#![cfg(all(feature = "tracing", target_os = "linux", target_arch = "x86_64"))]

use gmr_tokio::View;
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn a_report_shows_the_spans_that_a_thread_is_in() {
    let reports = gmr_std::setup_autorun(gmr_std::package!()).install().unwrap();
    let subscriber = tracing_subscriber::registry().with(gmr_tokio::adapters::tracing::layer());
    let doing = || -> Vec<String> {
        let report = reports.report(View::Text).unwrap();
        let lines = report.lines().filter_map(|line| line.strip_prefix("doing = "));
        // Without the time.
        lines.map(|line| line.rsplit_once(" (").unwrap().0.to_owned()).collect()
    };
    tracing::subscriber::with_default(subscriber, || {
        let request =
            tracing::info_span!("request", method = "GET", status = tracing::field::Empty);
        assert!(doing().is_empty(), "made, but not entered");
        let inside = request.enter();
        assert_eq!(doing(), ["request: method=GET"]);
        request.record("status", 200);
        let login = tracing::info_span!("login", user = "ann", password = "hunter2");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(tracing::Instrument::instrument(
            async {
                assert_eq!(doing(), ["request: method=GET", "login: user=ann password=***"]);
                tokio::task::yield_now().await;
            },
            login,
        ));
        drop(inside);
        let _again = request.enter();
        assert_eq!(doing(), ["request: method=GET status=200"]);
    });
    assert!(doing().is_empty());
}
