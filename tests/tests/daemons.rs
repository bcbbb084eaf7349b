//! What real daemons do before and after their setup: fork themselves into the
//! background, fork workers, give up privileges, lock their memory, change
//! directories and roots.
//!
//! A forked child without a setup of its own: see lifecycle.rs.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{self as own, Command, Stdio};

use gmr_tests::process::{catches, is_at_rest, status, threads};
use gmr_tests::{Daemon, ErrLog, Report, Stream, until};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");
const PREFORK: &str = env!("CARGO_BIN_EXE_prefork");

const SETUPS: [&[&str]; 3] = [&["std"], &["core-autorun"], &["core-trigger", "run-thread"]];

const NOBODY: &str = "become 65534";

fn trigger(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, Signal::USR2).expect("a living process");
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("needs root: not tested");
    }
    is_root
}

/// A complete report in which /proc refused nothing.
#[track_caller]
fn assert_whole(report: &Report, pid: u32) {
    report.assert_whole(&report.titles(), threads(pid).keys());
    // A process that is not dumpable may not read its threads' calls.
    let calls = "syscalls = not readable (EACCES: the process is not dumpable, PR_SET_DUMPABLE)";
    assert!(!report.raw.replace(calls, "").contains("not readable"), "{}", report.raw);
    assert_eq!(report.head("pid"), Some(&*pid.to_string()));
}

#[test]
fn a_setup_after_daemonising_answers() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &["arm"], log.stdio());
        let pid: u32 = daemon.ask("daemonise").parse().expect("a process id");
        assert_ne!(pid, daemon.pid());
        daemon.must("chdir /");
        for command in setup {
            daemon.must(command);
        }
        trigger(pid);
        assert_whole(&log.report(1), pid);
        assert_eq!(daemon.ask("ping"), "pong");
    }
}

#[test]
fn an_early_request_before_daemonising_is_not_lost_on_the_daemon() {
    // It was for the process that has ended since; the daemon answers it.
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &["arm"], log.stdio());
    daemon.trigger();
    until("the early request", || (daemon.ask("ping") == "pong").then_some(()));
    let pid: u32 = daemon.ask("daemonise").parse().expect("a process id");
    daemon.must("std");
    assert_whole(&log.report(1), pid);
}

/// Every process of the server answers once; the numbers of its processes.
fn start_prefork(workers: usize, log: &ErrLog) -> (Daemon, Vec<u32>) {
    let mut parent = Daemon::start(PREFORK, &[&workers.to_string()], log.stdio());
    let mut pids = vec![parent.pid()];
    for _ in 0..workers {
        let line = parent.line();
        let pid = line.rsplit(' ').next().and_then(|pid| pid.parse().ok());
        pids.push(pid.unwrap_or_else(|| panic!("a worker: {line}")));
    }
    (parent, pids)
}

#[test]
fn each_process_of_a_prefork_server_answers_its_own_request() {
    let log = ErrLog::new();
    let (parent, pids) = start_prefork(4, &log);
    for (asked, pid) in pids.iter().enumerate() {
        let offset = log.len();
        trigger(*pid);
        // Each counts from 1.
        let report = log.wait_from(offset, 1).only();
        assert_whole(&report, *pid);
        let service = report.head("service").expect("a service");
        assert_eq!(service.starts_with("prefork worker"), asked > 0, "{service}");
        // Those of the parent are not the workers'.
        assert_eq!(report.threads.len(), threads(*pid).len());
    }
    // They go on serving, all of them.
    let address = parent.ready.split([' ', ',']).nth(2).expect("an address");
    let mut greeting = String::new();
    TcpStream::connect(address)
        .and_then(|mut peer| peer.read_to_string(&mut greeting))
        .expect("it");
    assert!(greeting.starts_with("worker "), "{greeting}");
    // The parent's report has its children, which end with it.
    let offset = log.len();
    trigger(parent.pid());
    let report = log.wait_from(offset, 2).only();
    assert!(report.section("Processes").body.contains("descendants = 4"), "{}", report.raw);
}

#[test]
fn all_processes_of_a_prefork_server_asked_at_once_answer() {
    let log = ErrLog::new();
    let (parent, pids) = start_prefork(4, &log);
    for pid in &pids {
        trigger(*pid);
    }
    // On one shared log they may interleave, line by line; none is lost.
    until("five reports", || {
        // Five searches for source lines at once may be late on a busy machine.
        const ENDS: [&str; 2] =
            ["End of report 1: complete", "End of report 1: incomplete (source lines missing)"];
        let ends = log.text().lines().filter(|line| ENDS.contains(line)).count();
        (ends == pids.len()).then_some(())
    });
    drop(parent);
}

#[test]
fn privileges_given_up_before_or_after_setup_leave_the_report_whole() {
    if !is_root() {
        return;
    }
    for setup in SETUPS {
        for is_before in [true, false] {
            let log = ErrLog::new();
            let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
            daemon.must("threads 2");
            let order = if is_before { [&[NOBODY], setup] } else { [setup, &[NOBODY]] };
            for command in order.concat() {
                daemon.must(command);
            }
            // glibc gives each thread its new ids in a handler on the alternate
            // stack, which may go on for a moment, and beyond which a capture
            // does not see.
            until("all threads to rest", || is_at_rest(daemon.pid()).then_some(()));
            // The kernel makes such a process undumpable: its /proc files are
            // root's.
            let refused = Command::new("setpriv")
                .args(["--reuid=65534", "--clear-groups", "readlink"])
                .arg(format!("/proc/{}/exe", daemon.pid()))
                .stdout(Stdio::null())
                .status()
                .expect("setpriv");
            assert!(!refused.success(), "others may look at an undumpable process");
            daemon.trigger();
            let report = log.report(1);
            assert_whole(&report, daemon.pid());
            let parked = report.threads.iter().filter(|thread| thread.is_in("parked_for_the_test"));
            assert_eq!(parked.count(), 2, "{}", report.raw);
        }
    }
}

#[test]
fn an_undumpable_daemon_reports_in_whole() {
    for setup in SETUPS {
        for is_before in [true, false] {
            let log = ErrLog::new();
            let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
            let order = if is_before { [&["dumpable 0"], setup] } else { [setup, &["dumpable 0"]] };
            for command in order.concat() {
                daemon.must(command);
            }
            daemon.trigger();
            assert_whole(&log.report(1), daemon.pid());
        }
    }
}

#[test]
fn an_executable_that_the_new_user_may_not_read_costs_the_names_and_that_is_said() {
    if !is_root() {
        return;
    }
    let copy = std::env::temp_dir().join(format!("gmr-test-{}-unreadable", own::id()));
    fs::copy(PUPPET, &copy).expect("a copy");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o711)).expect("its mode");
    for (order, has_names) in [(["std", NOBODY], true), ([NOBODY, "std"], false)] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(&copy, &[], log.stdio());
        for command in order {
            daemon.must(command);
        }
        daemon.trigger();
        let report = log.report(1);
        assert!(report.is_complete, "{}", report.raw);
        let main = report.thread(daemon.pid());
        assert_eq!(main.is_in("puppet::main"), has_names, "{}", report.raw);
        let names = report.end("names").expect("a summary");
        assert_eq!(!names.contains("not readable"), has_names, "{names}");
        // With or without: module and offset.
        let own = main.frames.iter().filter(|frame| frame.location.contains("-unreadable+0x"));
        assert!(own.count() > 3, "{}", report.raw);
    }
    fs::remove_file(&copy).expect("the copy");
}

#[test]
fn a_pipe_that_only_root_may_open_still_gets_the_report_of_nobody() {
    if !is_root() {
        return;
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    rustix::fs::fchmod(&writer, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a mode");
    let mut daemon = Daemon::start(PUPPET, &[], writer.into());
    daemon.must(NOBODY);
    daemon.must("std");
    daemon.trigger();
    let mut reader = File::from(reader);
    let (mut bytes, mut text) = (Vec::new(), String::new());
    let mut buffer = vec![0; 65536];
    until("the report's end", || {
        let count = reader.read(&mut buffer).expect("the pipe");
        bytes.extend_from_slice(&buffer[..count]);
        text = String::from_utf8_lossy(&bytes).into_owned();
        gmr_tests::log::has_end(&text, 1).then_some(())
    });
    let report = Stream::parse(&text).only();
    assert_whole(&report, daemon.pid());
    // It could not be opened anew, and nothing of the shared one was changed.
    assert_eq!(report.end("destination"), Some("shared description, no-wait writes"));
}

#[test]
fn a_daemon_with_its_memory_locked_reports_within_a_stated_cost() {
    // (flags, setup, most that the setup may add, in KiB)
    for (flags, setup, most_kib) in [
        ("current future", "std", 40 << 10),
        ("current future", "std max_threads=256", 20 << 10),
        ("current future onfault", "std", 8 << 10),
    ] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        // Whoever is not root has little that may be locked.
        let may_lock = daemon.ask(&format!("mlockall {flags}"));
        if may_lock != "ok" {
            eprintln!("mlockall: {may_lock}: not tested");
            return;
        }
        let before = resident_kib(daemon.pid());
        daemon.must(setup);
        let added = resident_kib(daemon.pid()) - before;
        println!("{flags}, {setup}: {added} KiB");
        assert!(added <= most_kib, "{flags}, {setup}: {added} KiB");
        daemon.trigger();
        assert_whole(&log.report(1), daemon.pid());
    }
}

fn resident_kib(pid: u32) -> u64 {
    status(pid, "VmRSS").trim_end_matches(" kB").parse().expect("a number of KiB")
}

#[test]
fn memory_that_may_not_be_locked_is_an_error_of_the_setup() {
    if !is_root() {
        return;
    }
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    let limit = Rlimit { current: Some(4 << 20), maximum: Some(4 << 20) };
    prlimit(pid, Resource::Memlock, limit).expect("a limit");
    // Root's memory has no such limit.
    daemon.must(NOBODY);
    daemon.must("mlockall future");
    let answer = daemon.ask("std");
    // The stacks of the threads come first.
    assert!(answer.starts_with("Thread(Os { code: 11"), "EAGAIN, as mmap(2) has it: {answer}");
    until("the end of the report threads", || (threads(daemon.pid()).len() == 1).then_some(()));
    daemon.must("munlockall");
    daemon.must("std");
    daemon.trigger();
    assert_whole(&log.report(1), daemon.pid());
}

#[test]
fn a_changed_directory_and_a_panic_hook_do_not_matter() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        for command in setup {
            daemon.must(command);
        }
        daemon.must("chdir /");
        daemon.must("panic-hook");
        daemon.trigger();
        let report = log.report(1);
        assert_whole(&report, daemon.pid());
        assert!(report.section("Processes").body.contains("cwd = /"), "{}", report.raw);
    }
}

#[test]
fn in_a_root_without_proc_the_report_comes_and_says_what_it_could_not_see() {
    if !is_root() {
        return;
    }
    let root = std::env::temp_dir().join(format!("gmr-test-{}-root", own::id()));
    fs::create_dir(&root).expect("an empty directory");
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
        for command in setup {
            daemon.must(command);
        }
        daemon.must(&format!("chroot {}", root.display()));
        daemon.trigger();
        let report = log.report(1);
        assert!(!report.is_complete);
        assert!(report.reasons.contains("threads without a whole stack"), "{}", report.reasons);
        let threads = &report.section("Threads").body;
        assert!(threads.contains("list of threads = not readable (ENOENT)"), "{threads}");
        // In the handler there is the stack of the thread that was asked.
        let count = report.end("threads").expect("a summary");
        assert!(count.ends_with("with a whole stack"), "{count}");
        assert!(report.titles().contains(&"Processes"), "{}", report.raw);
        assert_eq!(report.head("pid"), Some(&*daemon.pid().to_string()));
        daemon.assert_alive();
    }
    fs::remove_dir(&root).expect("the directory");
}

#[test]
fn a_trigger_that_the_parent_ignored_is_taken_by_the_setup() {
    for setup in SETUPS {
        let log = ErrLog::new();
        let mut command = Command::new("env");
        command.args(["--ignore-signal=USR2", PUPPET]);
        let mut daemon = Daemon::start_command(command, log.stdio());
        // Before its setup it is as the parent wanted it.
        daemon.trigger();
        daemon.assert_alive();
        for command in setup {
            daemon.must(command);
        }
        assert!(catches(daemon.pid(), 12));
        daemon.trigger();
        assert_whole(&log.report(1), daemon.pid());
    }
}

#[test]
fn the_environment_of_a_supervisor_does_not_matter() {
    // s6, runit and containers start daemons with next to nothing.
    let log = ErrLog::new();
    let mut command = Command::new(PUPPET);
    command.env_clear().current_dir("/");
    let mut daemon = Daemon::start_command(command, log.stdio());
    daemon.must("std");
    daemon.trigger();
    assert_whole(&log.report(1), daemon.pid());
}
