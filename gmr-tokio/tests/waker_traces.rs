//! A report shows where tracked futures wait, by their waker traces.
#![cfg(all(feature = "waker-trace", target_os = "linux", target_arch = "x86_64"))]

use std::time::Duration;

use gmr_tokio::View;

async fn takes_its_time() {
    tokio::time::sleep(Duration::from_secs(3_600)).await; // LINE sleep
}

async fn serves() {
    tokio::select! {
        () = takes_its_time() => {}
        () = std::future::pending() => {}
    }
}

fn line_of(mark: &str) -> usize {
    let source = include_str!("waker_traces.rs");
    let is_marked = |line: &str| line.ends_with(&format!("// LINE {mark}"));
    source.lines().position(is_marked).expect("the mark") + 1
}

#[test]
fn a_report_shows_where_a_tracked_task_waits() {
    let reports = gmr_std::setup_autorun(gmr_std::package!())
        .register_signal_safe_section("Waker Traces", gmr_tokio::waker_traces())
        .install()
        .unwrap();
    gmr_tokio::trace_wakers(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let task = gmr_tokio::spawn_named("server", serves()); // LINE spawn
        tokio::task::yield_now().await;
        let text = reports.report(View::Text).unwrap();
        let (_, section) = text.split_once("Waker Traces").unwrap();
        assert!(section.contains("traces = 1\n"), "{section}");
        let block = section.split_once("server").expect("its block").1;
        assert!(
            block.contains(&format!(
                "spawned = gmr-tokio/tests/waker_traces.rs:{}\n",
                line_of("spawn")
            )),
            "{block}"
        );
        let awaits = format!("tests/waker_traces.rs:{}", line_of("sleep"));
        assert!(block.contains(&awaits), "{awaits}: {block}");
        // With optimisation both are inlined, and line tables hold no path of such.
        if cfg!(debug_assertions) {
            let inner = block.find("in waker_traces::takes_its_time").expect("the inner function");
            assert!(inner < block.find("in waker_traces::serves").expect("the outer"), "{block}");
        }
        assert!(!block.contains("tokio::runtime::task"), "no frames of the runtime: {block}");

        let json = reports.report(View::Json).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json.to_string().contains("\"server\""));

        task.abort();
        let _ = task.await;
        let text = reports.report(View::Text).unwrap();
        assert!(text.contains("traces = 0\n"), "{text}");
        assert!(text.trim_end().ends_with(": complete"), "{text}");
    });
}
