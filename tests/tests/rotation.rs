//! The destination changes while the daemon runs: rotated logs, other types,
//! none at all.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, process as own, thread};

use gmr_tests::process::{descriptors, threads};
use gmr_tests::{Daemon, ErrLog, Stream, until};
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// gmr-std, the core in the handler (of the thread that listens to commands,
/// too), and on lent threads.
const SETUPS: [&[&str]; 3] = [
    &["std sections=filler-0"],
    &["core-autorun sections=filler-0"],
    &["core-trigger supervisors=2 sections=filler-0", "run-thread", "run-thread"],
];

/// What is in the background while the first report is stuck.
const STUCK: [&[&str]; 2] = [
    &["std sections=gate report_ms=REPORT_MS"],
    &["core-trigger sections=gate report_ms=REPORT_MS", "run-thread"],
];

fn start(setup: &[&str], stderr: impl Into<Stdio>) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], stderr.into());
    daemon.must("threads 2");
    for command in setup {
        daemon.must(command);
    }
    daemon
}

/// A daemon whose first report is stuck, with its report deadline.
fn start_stuck(setup: &[&str], report_ms: &str, stderr: impl Into<Stdio>) -> Daemon {
    let setup: Vec<_> = setup.iter().map(|one| one.replace("REPORT_MS", report_ms)).collect();
    let setup: Vec<_> = setup.iter().map(|one| &**one).collect();
    let mut daemon = start(&setup, stderr);
    daemon.must("stick");
    daemon.trigger();
    until("the gate", || (daemon.ask("entered") == "1").then_some(()));
    daemon
}

/// A directory that goes away with the test, unless it failed.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("gmr-test-{}-{name}", own::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the logs are in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Triggers without a pause, until it is dropped.
struct Storm {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Storm {
    fn on(daemon: &Daemon) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let pid = Pid::from_raw(daemon.pid().cast_signed()).expect("a pid");
        let seen = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                kill_process(pid, Signal::USR2).expect("a daemon that is alive");
                thread::yield_now();
            }
        });
        Storm { stop, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for the report in progress, and has what is asked for still ignored.
/// How many reports there were.
fn settle(daemon: &mut Daemon) -> u64 {
    daemon.must("release");
    daemon.stats().reports()
}

/// Every report of all files: whole, and in one of them only.
fn reports_of<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> BTreeMap<u64, PathBuf> {
    let mut all = BTreeMap::new();
    for path in files {
        let path = path.as_ref();
        let stream = Stream::parse(&fs::read_to_string(path).expect("a log"));
        stream.assert_clean();
        for report in stream.reports {
            assert!(report.is_complete, "{}: {}", path.display(), report.raw);
            assert!(report.titles().ends_with(&["Filler 0"]), "{}", report.raw);
            let before = all.insert(report.sequence, path.to_owned());
            assert_eq!(before, None, "report {} in two files", report.sequence);
        }
    }
    all
}

/// A pipe whose reading end is ours alone.
fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    rustix::io::ioctl_fionbio(&reader, true).expect("our own end");
    (reader.into(), writer)
}

/// Reads what is there. Whether the pipe has ended.
fn read_on(reader: &mut File, text: &mut String) -> bool {
    let mut buffer = [0; 4096];
    let mut bytes = Vec::new();
    let has_ended = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break false;
            }
        }
    };
    // Pieces end at line ends, or with the report.
    text.push_str(str::from_utf8(&bytes).expect("UTF-8"));
    has_ended
}

fn read_to_end(reader: &mut File, text: &mut String) {
    until("the pipe's end", || read_on(reader, text).then_some(()));
}

#[test]
fn under_a_storm_of_triggers_each_report_is_whole_in_exactly_one_rotated_log() {
    const ROTATIONS: usize = 30;
    for (number, setup) in SETUPS.iter().enumerate() {
        let folder = Folder::new(&format!("rotation-{number}"));
        let log = folder.path("log");
        let mut daemon =
            start(setup, File::options().append(true).create(true).open(&log).unwrap());
        let before = descriptors(daemon.pid());
        let storm = Storm::on(&daemon);
        let mut logs = Vec::new();
        for rotation in 0..ROTATIONS {
            let moved = folder.path(&format!("log.{rotation}"));
            fs::rename(&log, &moved).expect("mv");
            daemon.must(&format!("reopen {log}"));
            // Once that is said, the old one is nobody's any more.
            let length = fs::metadata(&moved).expect("the old log").len();
            let reports = daemon.stats().reports();
            daemon.wait_stats("a report", |stats| stats.reports() > reports);
            assert_eq!(fs::metadata(&moved).expect("the old log").len(), length);
            logs.push(moved);
        }
        drop(storm);
        logs.push(log);
        // (A report opens some for a moment.)
        until("as many descriptors as before", || {
            (descriptors(daemon.pid()).len() == before.len()).then_some(())
        });
        assert_eq!(daemon.stats().ignored, 0);
        let reports = settle(&mut daemon);
        let written = reports_of(&logs);
        let sequences: Vec<_> = written.keys().copied().collect();
        assert_eq!(sequences, (1..=reports).collect::<Vec<_>>());
        let files: std::collections::BTreeSet<_> = written.values().collect();
        assert!(files.len() >= ROTATIONS, "{} of {ROTATIONS} files", files.len());
    }
}

#[test]
fn threads_that_change_the_destination_at_the_same_time_lose_no_report() {
    for (number, setup) in SETUPS.iter().enumerate() {
        let folder = Folder::new(&format!("switches-{number}"));
        let logs: Vec<_> = (0..3).map(|log| folder.path(&log.to_string())).collect();
        for log in &logs {
            File::create(log).expect("a log");
        }
        let first = File::options().append(true).open(&logs[0]).expect("a log");
        let mut daemon = start(setup, first);
        let before = (descriptors(daemon.pid()).len(), threads(daemon.pid()).len());
        let storm = Storm::on(&daemon);
        daemon.must(&format!("switch-threads 12 20 {}", logs.join(" ")));
        drop(storm);
        until("the switchers' end", || {
            let after = (descriptors(daemon.pid()).len(), threads(daemon.pid()).len());
            (after == before).then_some(())
        });
        let reports = settle(&mut daemon);
        let sequences: Vec<_> = reports_of(&logs).into_keys().collect();
        assert_eq!(sequences, (1..=reports).collect::<Vec<_>>());
    }
}

#[test]
fn a_pipe_then_a_file_then_a_socket_then_the_null_device() {
    for (number, setup) in SETUPS.iter().enumerate() {
        let folder = Folder::new(&format!("types-{number}"));
        let (mut reader, writer) = pipe();
        let mut daemon = start(setup, writer);
        daemon.trigger();
        let mut text = String::new();
        until("report 1", || {
            read_on(&mut reader, &mut text);
            gmr_tests::log::has_end(&text, 1).then_some(())
        });
        assert_eq!(
            Stream::parse(&text).only().end("destination"),
            Some("own non-blocking description")
        );

        let log = folder.path("log");
        daemon.must(&format!("reopen {log}"));
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == 2);
        let report = Stream::parse(&fs::read_to_string(&log).expect("the log")).only();
        assert_eq!((report.sequence, report.end("destination")), (2, Some("file")));

        let path = folder.path("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        daemon.must(&format!("connect {path}"));
        let (mut socket, _) = listener.accept().expect("the daemon");
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == 3);
        // Ours is its only end: the stream ends with the change.
        daemon.must("reopen /dev/null");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("text");
        let report = Stream::parse(&text).only();
        assert_eq!((report.sequence, report.end("destination")), (3, Some("socket")));

        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == 4);
        daemon.must(&format!("reopen {log}"));
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == 5);
        assert_eq!(reports_of([&log]).into_keys().collect::<Vec<_>>(), [2, 5]);
    }
}

#[test]
fn what_cannot_be_a_destination_is_refused_and_reports_go_where_they_went() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        assert_eq!(daemon.ask("set-destination 2"), "NotSetUp");
        assert_eq!(daemon.ask("release"), "NotSetUp");
        for command in setup {
            daemon.must(command);
        }
        assert_eq!(daemon.ask("set-destination 77"), "Closed { fd: 77 }");
        assert_eq!(daemon.ask("set-destination -1"), "Closed { fd: -1 }");
        assert_eq!(daemon.ask("set-destination 0"), "NotWritable { fd: 0 }");
        let before = descriptors(daemon.pid());
        daemon.must("limit-descriptors");
        assert_eq!(daemon.ask("set-destination 2"), "NoDescriptor { errno: 24 }");
        assert_eq!(descriptors(daemon.pid()), before);
        daemon.trigger();
        assert_eq!(log.report(1).titles().last(), Some(&"Filler 0"));
        daemon.must("shutdown");
        assert_eq!(daemon.ask("set-destination 2"), "NotSetUp");
    }
}

#[test]
fn after_a_release_the_pipes_reader_gets_its_end_and_requests_are_ignored_and_counted() {
    for (number, setup) in SETUPS.iter().enumerate() {
        let folder = Folder::new(&format!("release-{number}"));
        let (mut reader, writer) = pipe();
        let mut daemon = start(setup, writer);
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == 1);
        let mut text = String::new();
        daemon.must("close 2");
        assert!(!read_on(&mut reader, &mut text), "our descriptors keep it open");
        daemon.must("release");
        read_to_end(&mut reader, &mut text);
        assert!(Stream::parse(&text).only().is_complete);

        for count in 1..=3 {
            daemon.trigger();
            daemon.wait_stats("an ignored request", |stats| stats.ignored == count);
        }
        daemon.must("release");
        assert_eq!(daemon.stats().reports(), 1);

        let log = folder.path("log");
        daemon.must(&format!("reopen {log}"));
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.complete == 2);
        let report = Stream::parse(&fs::read_to_string(&log).expect("the log")).only();
        assert_eq!(report.sequence, 2);
        let ignored = "requests ignored (forked children, after shutdown or release)";
        assert_eq!(report.head(ignored), Some("3"), "{}", report.raw);
    }
}

#[test]
fn a_shutdown_releases_the_destination_too() {
    for setup in SETUPS {
        let (mut reader, writer) = pipe();
        let mut daemon = start(setup, writer);
        daemon.must("close 2");
        daemon.must("shutdown");
        read_to_end(&mut reader, &mut String::new());
        daemon.must("release");
        daemon.assert_alive();
    }
}

#[test]
fn a_release_waits_for_the_report_in_progress_which_is_whole() {
    for setup in STUCK {
        let (mut reader, writer) = pipe();
        let mut daemon = start_stuck(setup, "60000", writer);
        daemon.must("close 2");
        daemon.must("release-thread");
        until("the release to be in force", || {
            daemon.trigger();
            (daemon.stats().ignored > 0).then_some(())
        });
        assert_eq!(daemon.ask("answer"), "not yet");
        let mut text = String::new();
        assert!(!read_on(&mut reader, &mut text));
        daemon.must("unstick");
        until("the release", || (daemon.ask("answer") == "ok").then_some(()));
        read_to_end(&mut reader, &mut text);
        let report = Stream::parse(&text).only();
        assert!(report.is_complete, "{}", report.raw);
        assert_eq!(report.section("Gate").status, "ok");
    }
}

#[test]
fn a_stuck_report_does_not_hold_a_change_up_for_ever_and_lets_go_when_it_comes_back() {
    for (number, setup) in STUCK.iter().enumerate() {
        let folder = Folder::new(&format!("stuck-{number}"));
        let (mut reader, writer) = pipe();
        let mut daemon = start_stuck(setup, "300", writer);
        let before = descriptors(daemon.pid()).len();
        daemon.must("close 2");
        let log = folder.path("log");
        assert_eq!(daemon.ask(&format!("reopen {log}")), "StillInUse");
        let mut text = String::new();
        assert!(!read_on(&mut reader, &mut text));
        // As often as logs are rotated meanwhile.
        for _ in 0..5 {
            daemon.must(&format!("reopen {log}"));
        }
        daemon.must("unstick");
        read_to_end(&mut reader, &mut text);
        assert!(Stream::parse(&text).only().titles().contains(&"Gate"));
        until("all descriptors but stderr", || {
            (descriptors(daemon.pid()).len() == before - 1).then_some(())
        });
        daemon.trigger();
        daemon.wait_stats("a report", |stats| stats.reports() == 2);
        assert_eq!(Stream::parse(&fs::read_to_string(&log).expect("the log")).reports.len(), 1);
    }
}

#[test]
fn a_takeover_after_a_change_writes_to_the_new_one_and_ends_the_report_in_the_old_one() {
    let folder = Folder::new("takeover");
    let (mut reader, writer) = pipe();
    let mut daemon = start_stuck(STUCK[0], "400", writer);
    daemon.must("close 2");
    let log = folder.path("log");
    assert_eq!(daemon.ask(&format!("reopen {log}")), "StillInUse");
    daemon.trigger();
    daemon.wait_stats("a takeover", |stats| stats.abandoned == 1 && stats.reports() == 1);
    let report = Stream::parse(&fs::read_to_string(&log).expect("the log")).only();
    assert_eq!((report.sequence, report.section("Gate").status.as_str()), (2, "skipped_stuck"));
    assert_eq!(report.head("previous report.abandoned in"), Some("Gate"));
    daemon.must("unstick");
    let mut text = String::new();
    read_to_end(&mut reader, &mut text);
    let abandoned = Stream::parse(&text).only();
    assert_eq!((abandoned.sequence, &*abandoned.reasons), (1, "abandoned in Gate"));
}

#[test]
fn a_section_that_changes_the_destination_of_its_own_report_waits_for_nothing() {
    let log = ErrLog::new();
    let mut daemon = start(&["core-trigger sections=asks", "run-thread"], log.stdio());
    daemon.trigger();
    let report = log.report(1);
    assert!(report.is_complete, "{}", report.raw);
    assert!(report.section("Asks").body.contains("still in use = True"), "{}", report.raw);
    daemon.trigger();
    assert!(log.report(2).is_complete);
    daemon.assert_alive();
}

#[test]
fn a_forked_child_can_close_its_copies_and_its_own_setup_does() {
    for (number, setup) in SETUPS.iter().enumerate() {
        let folder = Folder::new(&format!("fork-{number}"));
        for own_setup in [false, true] {
            let (mut reader, writer) = pipe();
            let mut daemon = start(setup, writer);
            daemon.ask("fork");
            daemon.must("release");
            daemon.must("close 2");
            assert!(!read_on(&mut reader, &mut String::new()), "the child has it");
            assert_eq!(daemon.ask("child set-destination 2"), "NotSetUp");
            if own_setup {
                daemon.must(&format!("child {}", setup[0].replace("sections=filler-0", "")));
                let log = folder.path("child");
                daemon.must(&format!("child reopen {log}"));
            } else {
                daemon.must("child release");
            }
            daemon.must("child close 2");
            read_to_end(&mut reader, &mut String::new());
            assert_eq!(daemon.ask("child ping"), "pong");
            // The parent is not concerned.
            daemon.must(&format!("reopen {}", folder.path("parent")));
            daemon.trigger();
            daemon.wait_stats("a report", |stats| stats.complete == 1);
        }
    }
}
