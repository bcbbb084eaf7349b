//! Reports are shut down and set up again: the self test and the stall watch of the
//! first setup do not stand in the way of the second's.

mod common;

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::time::Duration;

use common::{Blocked, LetGo, PATIENCE, section, until};

#[test]
fn a_second_setup_has_its_own_stall_watch_and_self_tests() {
    let log = std::env::temp_dir().join(format!("gmr-again-{}", std::process::id()));
    let mut file = File::options().create(true).read(true).append(true).open(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    gmr_tokio::register(runtime.handle()).unwrap();
    let set_up = || {
        gmr_tokio::Options::new()
            .stall_watch(Duration::from_millis(40))
            .stall_cooldown(Duration::ZERO)
            .setup_autorun(gmr_tokio::package!())
            .destination_fd(file.as_raw_fd())
            .install()
            .unwrap()
    };
    // Shut down at once: the self test may be anywhere.
    set_up().shutdown();
    let reports = set_up();
    gmr_tokio::wait_until_ready(PATIENCE).unwrap();
    until("the self test's task ends", || {
        (runtime.handle().metrics().num_alive_tasks() == 0).then_some(())
    });
    let report = reports.report(gmr_tokio::View::Text).unwrap();
    assert!(!section(&report, "Runtime").contains("stall watch"), "{report}");
    let blocked = Blocked::default();
    let _let_go = LetGo(blocked.clone());
    let id = runtime.spawn(blocked.clone().blocks()).id();
    blocked.wait_for(1);
    let mut text = String::new();
    until("the report of the second watch", || {
        text.clear();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text.contains("End of report").then_some(())
    });
    assert!(text.contains(&format!("has polled task {id} for")), "{text}");
}
