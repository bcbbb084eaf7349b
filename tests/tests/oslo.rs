//! The weaknesses of the original, `oslo.reports`, each with a test named after
//! it: what made its reports late, lost or wrong must not do so here.
//!
//! Fails exactly when it is wanted:
//!
//! | in the original | here |
//! |---|---|
//! | a main thread in a C call delays the report, one that hangs there prevents it | `main_thread_in_a_c_call_does_not_delay_the_report` |
//! | a section that takes a lock of the interrupted thread hangs for ever | `a_section_that_takes_a_lock_held_by_the_main_thread_costs_itself_alone` in ordinary.rs; signal-safe sections: takeover.rs |
//! | one failing section loses the whole report | `a_panic_costs_its_section_alone_and_its_message_is_there` in ordinary.rs, `a_section_that_fails_costs_itself_alone_and_says_why` in sections.rs |
//! | a zombie child loses the report | `a_zombie_child_does_not_lose_the_report` |
//! | children that come and go lose it most of the time | `children_churning_do_not_lose_the_report`, and together with many children `a_thousand_reports_of_a_service_with_a_hundred_children_are_all_whole` |
//! | a bad configuration value loses the report | gmr-std's unit tests of `config`: a value that cannot be serialised is an error of `conf`, never of a report |
//! | a value that cannot be copied or has no view loses the report | `invalid_utf_8_is_escaped_and_what_cannot_be_shown_fails_alone` in ordinary.rs |
//! | a full stderr pipe blocks the program for ever | `a_full_stderr_pipe_does_not_block_the_service`; further kinds in destinations.rs |
//! | a broken pipe raises into the program | `a_broken_pipe_does_not_end_the_service` |
//! | stderr closed: the report goes elsewhere | `stderr_closed_after_setup_and_taken_by_a_client_gets_no_byte` in destinations.rs |
//! | busy threads delay the report to many times its length | `a_cpu_busy_process_answers_with_every_stack` |
//! | no report at a crash | does not apply yet: crash reports are not there |
//! | calls return early, or with EINTR | `reads_are_restarted_after_a_report` |
//! | the service stands still while a report is written | `the_service_goes_on_while_a_report_is_written` |
//! | a report during a report is nested into it | coalescing.rs |
//!
//! Wrong or thin content:
//!
//! | in the original | here |
//! |---|---|
//! | torn stacks: callers that never were | `no_torn_stacks` |
//! | threads have no name, native id or state | `threads_have_names_tids_and_states` |
//! | native frames and threads made by native code are invisible | `main_thread_in_a_c_call_does_not_delay_the_report` (a frame of libc), capture.rs |
//! | a thousand equal stacks are printed a thousand times | does not apply yet: equal stacks are not folded |
//! | green threads without id, name or owner; asyncio's absent | does not apply yet: no tasks in reports |
//! | source lines are read from disk at report time, and wrong after an upgrade | `an_executable_that_was_replaced…` in lifecycle.rs (names come from the descriptor kept since the setup) |
//! | children get one line, flat after the first level | gmr-core's unit tests of the process tree |
//! | a blocking scan of /proc for each child | `a_thousand_reports_of_a_service_with_a_hundred_children_are_all_whole` prints the time per report |
//! | no time, host, pid, cause or number in the head | `the_head_says_who_asked_whom_and_when` |
//! | values are printed raw and can forge headings | `a_section_cannot_forge_headings_threads_or_ends_of_reports` in sections.rs |
//! | no JSON of the whole report | every test that has a JSON view |

use std::fs::File;
use std::io::Read;
use std::process as own;
use std::time::Instant;

use gmr_tests::process::{status, threads};
use gmr_tests::{Daemon, ErrLog, Report, until};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

const SECTIONS: [&str; 5] = ["Package", "Threads", "Processes", "Configuration", "Environment"];

fn start(log: &ErrLog) -> Daemon {
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("std");
    daemon
}

/// Asks for a report, and returns it alone.
#[track_caller]
fn report(daemon: &Daemon, log: &ErrLog, sequence: u64) -> Report {
    let offset = log.len();
    daemon.trigger();
    log.wait_from(offset, sequence).only()
}

fn number(answer: &str) -> u64 {
    answer.parse().unwrap_or_else(|_| panic!("a number: {answer}"))
}

#[test]
fn main_thread_in_a_c_call_does_not_delay_the_report() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("hang");
    // No answer: the main thread waits in the C library for a lock that is
    // never given back.
    daemon.tell("hang-main");
    until("the main thread to hang", || {
        let syscall = std::fs::read_to_string(format!("/proc/{}/wchan", daemon.pid()));
        syscall.is_ok_and(|place| place.starts_with("futex")).then_some(())
    });
    for sequence in 1..=3 {
        let report = report(&daemon, &log, sequence);
        report.assert_whole(&SECTIONS, threads(daemon.pid()).keys());
        let main = report.thread(daemon.pid());
        assert!(main.is_in("pthread_mutex_lock"), "{}", report.raw);
        assert!(main.is_in("hangs_in_c"), "{}", report.raw);
        let holder = report.threads.iter().find(|thread| thread.name == "holder");
        assert!(holder.is_some_and(|holder| holder.is_in("hang_main")), "{}", report.raw);
    }
}

#[test]
fn a_zombie_child_does_not_lose_the_report() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("zombies 3");
    until("the zombies", || {
        let next = daemon.stats().reports() + 1;
        let report = report(&daemon, &log, next);
        report.assert_whole(&SECTIONS, threads(daemon.pid()).keys());
        let body = &report.section("Processes").body;
        (body.matches("state: zombie").count() == 3).then_some(())
    });
}

#[test]
fn children_churning_do_not_lose_the_report() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("churn");
    for sequence in 1..=60 {
        let before = number(&daemon.ask("churned"));
        report(&daemon, &log, sequence).assert_whole(&SECTIONS, threads(daemon.pid()).keys());
        // They did come and go.
        until("children that ended", || (number(&daemon.ask("churned")) > before).then_some(()));
    }
    let stats = daemon.wait_stats("the last report", |stats| stats.reports() == 60);
    assert_eq!(stats.complete, 60);
}

/// Every report in a build with optimisation; without, the tenth part, so that
/// nobody waits for it. All of them, and the time each takes:
/// `cargo test --release -p gmr-tests --test oslo thousand -- --nocapture`
const THOUSAND: u64 = if cfg!(debug_assertions) { 100 } else { 1000 };

#[test]
fn a_thousand_reports_of_a_service_with_a_hundred_children_are_all_whole() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("threads 10");
    daemon.must("children 80");
    daemon.must("zombies 20");
    daemon.must("churn");
    let before = number(&daemon.ask("churned"));
    let (mut longest_ns, mut whole_ns, mut offset) = (0, 0, 0);
    for sequence in 1..=THOUSAND {
        let began = Instant::now();
        daemon.trigger();
        let report = log.wait_from(offset, sequence).only();
        let elapsed_ns = began.elapsed().as_nanos();
        offset = log.len();
        longest_ns = elapsed_ns.max(longest_ns);
        whole_ns += elapsed_ns;

        report.assert_whole(&SECTIONS, threads(daemon.pid()).keys());
        let body = &report.section("Processes").body;
        let sleeping = body.matches("state: sleeping").count();
        // The puppet itself is one more, when it sleeps.
        assert!(sleeping >= 80, "{sleeping} children: {body}");
        assert!(body.matches("state: zombie").count() >= 20, "{body}");
    }
    println!(
        "{THOUSAND} reports: {} us each from kill to the last line, the longest {} us; {} \
         children came and went",
        whole_ns / u128::from(THOUSAND) / 1000,
        longest_ns / 1000,
        number(&daemon.ask("churned")) - before
    );
    let stats = daemon.wait_stats("the last report", |stats| stats.reports() == THOUSAND);
    assert_eq!((stats.complete, stats.incomplete, stats.abandoned), (THOUSAND, 0, 0));
    daemon.assert_alive();
}

#[test]
fn a_full_stderr_pipe_does_not_block_the_service() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    fcntl_setpipe_size(&writer, 4096).expect("a size");
    let mut daemon = Daemon::start(PUPPET, &[], writer.into());
    daemon.must("std");
    daemon.must("tick");
    // Nobody reads: what fits is written, and the service answers all the time.
    daemon.trigger();
    while daemon.stats().reports() == 0 {
        let before = number(&daemon.ask("ticks"));
        until("the service's work", || (number(&daemon.ask("ticks")) > before).then_some(()));
    }
    assert_eq!(daemon.stats().incomplete, 1);
    daemon.assert_alive();
    drop(reader);
}

#[test]
fn a_broken_pipe_does_not_end_the_service() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    // Here SIGPIPE has its default action, as in a C program.
    let mut daemon = Daemon::start(PUPPET, &[], writer.into());
    daemon.must("std");
    drop(reader);
    for count in 1..=3 {
        daemon.trigger();
        daemon.wait_stats("the report's end", |stats| stats.incomplete == count);
        daemon.assert_alive();
    }
}

#[test]
fn a_cpu_busy_process_answers_with_every_stack() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("spin 16");
    let mut sequence = 0;
    until("a report with every stack", || {
        sequence += 1;
        let report = report(&daemon, &log, sequence);
        assert_eq!(report.titles(), SECTIONS);
        let mut spinners = report.threads.iter().filter(|thread| thread.name == "spinner");
        if spinners.clone().count() < 16 {
            // One that has just begun has no name yet.
            return None;
        }
        // Where much else runs, one may get no processor for a second: that is
        // said of it, and costs nothing else.
        let is_known = |capture: &str| ["ok", "timeout"].contains(&capture);
        assert!(spinners.clone().all(|thread| is_known(&thread.capture)), "{}", report.raw);
        spinners.all(|thread| thread.is_in("trouble::spin")).then_some(())
    });
}

#[test]
fn reads_are_restarted_after_a_report() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("reader");
    until("the reader in its read", || {
        let threads = threads(daemon.pid());
        let (tid, _) = threads.iter().find(|(_, name)| *name == "reader")?;
        let place = std::fs::read_to_string(format!("/proc/{}/task/{tid}/wchan", daemon.pid()));
        place.is_ok_and(|place| place.contains("pipe_read")).then_some(())
    });
    for sequence in 1..=10 {
        let report = report(&daemon, &log, sequence);
        let reader = report.threads.iter().find(|thread| thread.name == "reader");
        assert!(reader.is_some_and(|reader| reader.is_in("read_once")), "{}", report.raw);
    }
    assert_eq!(daemon.ask("read"), "not yet", "an interrupted read was seen by the program");
    daemon.must("feed");
    until("what was fed", || (daemon.ask("read") != "not yet").then_some(()));
    assert_eq!(daemon.ask("read"), "5");
}

#[test]
fn the_service_goes_on_while_a_report_is_written() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must("std sections=gate");
    daemon.must("tick");
    daemon.must("stick");
    daemon.trigger();
    until("a report that is being written", || (daemon.ask("entered") == "1").then_some(()));
    for _ in 0..20 {
        let before = number(&daemon.ask("ticks"));
        until("the service's work", || (number(&daemon.ask("ticks")) > before).then_some(()));
    }
    // All of that was during one report.
    assert_eq!(daemon.ask("left"), "0");
    assert_eq!(daemon.stats().reports(), 0);
    daemon.must("unstick");
    assert!(log.wait_for(1).only().is_complete);
}

#[test]
fn no_torn_stacks() {
    let log = ErrLog::new();
    let mut daemon = start(&log);
    daemon.must("spin 4");
    let mut seen = [0_u32; 2];
    for sequence in 1..=25 {
        let report = report(&daemon, &log, sequence);
        for thread in report.threads.iter().filter(|thread| thread.name == "spinner") {
            // Innermost first: each caller is the one of its own way.
            let functions: Vec<_> = thread.functions().collect();
            for pair in functions.windows(2) {
                let caller = match pair[0].rsplit("::").next().unwrap_or_default() {
                    "one_way_inner" => "one_way_middle",
                    "one_way_middle" => "one_way_outer",
                    "other_way_inner" => "other_way_middle",
                    "other_way_middle" => "other_way_outer",
                    "one_way_outer" | "other_way_outer" => "spin",
                    _ => continue,
                };
                assert!(pair[1].ends_with(caller), "{functions:#?}");
            }
            let has = |part: &str| functions.iter().any(|function| function.contains(part));
            let (one, other) = (has("one_way_"), has("other_way_"));
            assert!(!(one && other), "both ways at once: {functions:#?}");
            seen[0] += u32::from(one);
            seen[1] += u32::from(other);
        }
    }
    // Both were there to be mixed up.
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn threads_have_names_tids_and_states() {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    // Each in a block of its own: what those of several say, see folding.rs.
    daemon.must("std fold=0");
    daemon.must("threads 2");
    daemon.must("spin 1");
    let known = threads(daemon.pid());
    let report = report(&daemon, &log, 1);
    assert_eq!(report.threads.len(), known.len());
    for thread in &report.threads {
        assert_eq!(known.get(&thread.tid), Some(&thread.name), "{}", report.raw);
    }
    // Each block says it, in the kernel's words.
    let states = report.section("Threads").body.matches("\nstate = ").count();
    assert_eq!(states, known.len(), "{}", report.raw);
    let block = report.raw.split("\n------").find(|block| block.contains(" spinner "));
    assert!(block.is_some_and(|block| block.contains("state = running")), "{}", report.raw);
}

#[test]
fn the_head_says_who_asked_whom_and_when() {
    let log = ErrLog::new();
    let daemon = start(&log);
    let report = report(&daemon, &log, 1);
    let head = |key: &str| report.head(key).unwrap_or_else(|| panic!("{key}: {}", report.raw));
    assert_eq!(head("report"), "1");
    assert_eq!(head("service"), "puppet");
    assert_eq!(head("pid"), daemon.pid().to_string());
    let uid = status(own::id(), "Uid");
    let uid = uid.split_whitespace().next().expect("a user");
    let name = status(own::id(), "Name");
    assert_eq!(head("requested by"), format!("SIGUSR2 from pid {} ({name}), uid {uid}", own::id()));
    let mut host = String::new();
    File::open("/proc/sys/kernel/hostname")
        .and_then(|mut file| file.read_to_string(&mut host))
        .expect("the host's name");
    assert_eq!(head("host"), host.trim_end());
    // 2026-11-23T12:10:03.184004937Z
    let time = head("time");
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
}
