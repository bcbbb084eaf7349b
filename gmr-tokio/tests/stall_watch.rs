//! The stall watch writes exactly one report for each episode.

mod common;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::time::Duration;

use common::{Blocked, LetGo, PATIENCE, until};

#[test]
fn each_poll_that_does_not_come_back_has_one_report_and_no_other() {
    let log = std::env::temp_dir().join(format!("gmr-stall-{}", std::process::id()));
    let mut file = File::options().create(true).read(true).append(true).open(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    gmr_tokio::register(runtime.handle()).unwrap();
    let reports = gmr_tokio::Options::new()
        .stall_cooldown(Duration::ZERO)
        .setup_autorun(gmr_tokio::package!())
        .destination_fd(file.as_raw_fd())
        .install()
        .unwrap();
    gmr_tokio::wait_until_ready(PATIENCE).unwrap();
    let watch = gmr_tokio::stall_watch(Duration::from_millis(40)).unwrap();
    let second = gmr_tokio::stall_watch(Duration::from_millis(40));
    assert!(matches!(second, Err(gmr_tokio::StallWatchError::Running)), "{second:?}");

    let mut written = || {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let reports: Vec<String> =
            text.split_inclusive(": complete\n").map(str::to_owned).collect();
        reports
    };
    for episode in 1..=3 {
        let blocked = Blocked::default();
        let _let_go = LetGo(blocked.clone());
        let id = runtime.spawn(blocked.clone().blocks()).id();
        blocked.wait_for(1);
        let all = until("a report", || {
            let all = written();
            (all.len() >= episode && all[episode - 1].contains("End of report")).then_some(all)
        });
        let report = &all[episode - 1];
        assert!(report.contains("requested by = stall watch (#"), "{report}");
        assert!(report.contains(&format!("has polled task {id} for")), "{report}");
        assert!(report.contains("it blocks in "), "{report}");
        // It goes on for many thresholds more, at which the watch looks as before: what
        // would be a second report is one by now, as the next episode's would be late.
        let looks = std::time::Instant::now();
        until("ten thresholds", || (looks.elapsed() > Duration::from_millis(400)).then_some(()));
        assert_eq!((watch.reports(), written().len()), (episode as u64, episode), "{report}");
        blocked.let_go();
    }
    // Long, but not in one poll: many short ones of the same task.
    let busy = runtime.spawn(async {
        for _ in 0..300 {
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    });
    runtime.block_on(busy).unwrap();
    assert_eq!(watch.reports(), 3);
    watch.stop();
    assert_eq!(reports.stats().last_sequence, 3);
    // A stopped one makes room for another.
    gmr_tokio::stall_watch(Duration::from_millis(40)).unwrap().stop();
}
