//! The Threads section as an operator reads it: threads with one stack as one
//! block, what matters first, and no frames that are the same in every thread.

use gmr_tests::process::{is_at_rest, threads};
use gmr_tests::report::Thread;
use gmr_tests::{Daemon, ErrLog, Report, until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

const VIEWS: [&str; 3] = ["text", "json", "line"];

/// Signals of captures.
const SIGURG: i32 = 23;

struct Puppet {
    daemon: Daemon,
    log: ErrLog,
}

fn start(commands: &[&str]) -> Puppet {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    for command in commands {
        let answer = daemon.ask(command);
        assert!(answer == "ok" || answer.parse::<u32>().is_ok(), "{command}: {answer}");
    }
    Puppet { daemon, log }
}

impl Puppet {
    /// A report in which every thread has come to where it stays.
    fn report(&self) -> Report {
        let pid = self.daemon.pid();
        until("rest", || is_at_rest(pid).then_some(()));
        self.daemon.trigger();
        self.log.report(1)
    }
}

/// The block that a thread of this name is in.
#[track_caller]
fn block_of<'r>(report: &'r Report, name: &str) -> &'r [Thread] {
    let blocks = report.blocks();
    let holds = |block: &&&[Thread]| block.iter().any(|thread| thread.name == name);
    blocks.iter().find(holds).unwrap_or_else(|| panic!("{name} in {}", report.raw))
}

/// The place of that block among all.
#[track_caller]
fn place_of(report: &Report, name: &str) -> usize {
    block_of(report, name)[0].block
}

#[test]
fn equal_stacks_are_one_block_behind_all_that_is_rarer() {
    for view in VIEWS {
        let setup = format!("std view={view}");
        let blocked = format!("scoped blocked {SIGURG}");
        let puppet = start(&[
            &setup,
            "threads 90",
            "scoped one",
            "scoped two",
            "scoped three",
            &blocked,
            "reader",
        ]);
        let report = puppet.report();
        let pid = puppet.daemon.pid();
        report.assert_whole(&report.titles(), threads(pid).keys());

        let crowd = block_of(&report, "parked-0");
        assert_eq!((crowd.len(), crowd[0].block_size), (90, 90), "{}", report.raw);
        assert!(crowd.iter().all(|thread| thread.name.starts_with("parked-")));
        assert!(crowd.iter().all(|thread| thread.is_in("parked_for_the_test")));
        let some = block_of(&report, "two");
        assert_eq!(some.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["one", "two", "three"]);
        assert!(some.iter().all(|thread| thread.is_in("follow")));
        for name in ["puppet", "blocked", "reader"] {
            assert_eq!(block_of(&report, name)[0].block_size, 1, "{name}: {}", report.raw);
        }
        let own = block_of(&report, "gmr-worker0");
        assert_eq!((own.len(), &*own[0].capture), (4, "own"));

        // The main thread, those without an answer, single ones, larger and
        // larger blocks, our own.
        let order = ["puppet", "blocked", "reader", "one", "parked-0", "gmr-worker0"];
        let places: Vec<_> = order.iter().map(|name| place_of(&report, name)).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5], "{}", report.raw);
        if view == "text" {
            let heading = "90 threads with the same stack: parked-0 #";
            assert_eq!(report.raw.matches(heading).count(), 1, "{}", report.raw);
            assert_eq!(report.raw.matches("parked_for_the_test").count(), 1, "{}", report.raw);
            assert_eq!(report.raw.matches("4 threads of the reporter: ").count(), 1);
        }
    }
}

#[test]
fn every_thread_has_its_own_block_where_that_is_asked_for() {
    for view in VIEWS {
        for setup in ["std", "core-autorun"] {
            let setup = format!("{setup} view={view} fold=0");
            let puppet = start(&[&setup, "threads 9"]);
            let report = puppet.report();
            let alive = threads(puppet.daemon.pid());
            report.assert_whole(&report.titles(), alive.keys());
            assert_eq!(report.blocks().len(), alive.len());
            let parked = report.threads.iter().filter(|it| it.name.starts_with("parked-"));
            assert_eq!(parked.filter(|it| it.is_in("parked_for_the_test")).count(), 9);
        }
    }
}

/// Sends the trigger to one thread.
#[allow(unsafe_code, reason = "calls libc")]
fn trigger_on(pid: u32, tid: u32) {
    // SAFETY: no pointers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGUSR2) };
    assert_eq!(sent, 0);
}

#[test]
fn the_triggering_thread_stands_first_and_alone() {
    for view in VIEWS {
        let setup = format!("core-autorun view={view}");
        let puppet = start(&[&setup, "threads 9"]);
        let pid = puppet.daemon.pid();
        until("rest", || is_at_rest(pid).then_some(()));
        let alive = threads(pid);
        let (tid, _) = alive.iter().find(|(_, name)| *name == "parked-4").expect("it");
        trigger_on(pid, *tid);
        let report = puppet.log.report(1);
        report.assert_whole(&report.titles(), alive.keys());
        let first = report.blocks()[0];
        assert_eq!((first.len(), first[0].tid, first[0].is_triggering), (1, *tid, true));
        assert!(first[0].is_in("parked_for_the_test"), "{}", report.raw);
        assert_eq!(report.blocks()[1][0].tid, pid, "the main thread is the second");
        assert_eq!(block_of(&report, "parked-0").len(), 8);
    }
}

#[test]
fn what_each_thread_was_doing_is_said_of_each() {
    for view in VIEWS {
        let setup = format!("std view={view}");
        let puppet = start(&[&setup, "scoped one", "scoped two", "scoped three"]);
        let mut puppet = puppet;
        puppet.daemon.must("in one enter request GET /heat");
        puppet.daemon.must("in three enter request GET /cool");
        puppet.daemon.must("in three enter query SELECT");
        let report = puppet.report();
        let block = block_of(&report, "one");
        assert_eq!(block.len(), 3, "{}", report.raw);
        let scopes = |name: &str| {
            let thread = block.iter().find(|thread| thread.name == name).expect("it");
            thread.scopes.clone()
        };
        assert_eq!(scopes("one"), ["request: GET /heat"]);
        assert_eq!(scopes("two"), [""; 0]);
        assert_eq!(scopes("three"), ["request: GET /cool", "query: SELECT"]);
    }
}

#[test]
fn a_block_lists_a_hundred_and_counts_the_rest() {
    for view in VIEWS {
        let setup = format!("std view={view}");
        let puppet = start(&[&setup, "threads 117"]);
        let report = puppet.report();
        report.assert_whole(&report.titles(), threads(puppet.daemon.pid()).keys());
        let block = block_of(&report, "parked-0");
        assert_eq!((block.len(), block[0].block_size, report.members_left_out), (100, 117, 17));
    }
}

/// Frames of a thread, and those that are left out.
fn depth(report: &Report, name: &str) -> (u64, u64) {
    let thread = &block_of(report, name)[0];
    (thread.frames.len() as u64, thread.entry_frames_left_out)
}

#[test]
fn the_runtimes_frames_are_counted_or_shown() {
    for view in VIEWS {
        for setup in ["std", "core-autorun"] {
            let report_of = |choice: &str| {
                let setup = format!("{setup} view={view} {choice}");
                start(&[&setup, "threads 1", "c-thread"]).report()
            };
            let (short, long) = (report_of(""), report_of("entry_frames=1"));
            for (name, last) in [("parked-0", "thread_start"), ("puppet", "_start")] {
                let (shown, left_out) = depth(&short, name);
                assert!(left_out >= 4, "{name}: {}", short.raw);
                // The main thread may still be in the trigger's handler.
                if name == "puppet" {
                    assert_eq!(depth(&long, name).1, 0, "{name}: {}", long.raw);
                } else {
                    assert_eq!(depth(&long, name), (shown + left_out, 0), "{}", long.raw);
                }
                assert!(block_of(&long, name)[0].is_in(last), "{name}: {}", long.raw);
                assert!(!block_of(&short, name)[0].is_in(last), "{name}: {}", short.raw);
                // Without line tables, the frame that called the program's.
                let functions: Vec<_> = block_of(&short, name)[0].functions().collect();
                let last = functions.last().expect("a function");
                assert!(last.contains("__rust_begin_short_backtrace"), "{functions:?}");
            }
            // A thread of C's has no runtime's frames; it has the process's name.
            for report in [&short, &long] {
                let of_c = report.threads.iter().find(|it| it.is_in("begins_in_c")).expect("it");
                assert_eq!(of_c.entry_frames_left_out, 0);
                let last = of_c.frames.last().expect("a frame");
                assert!(last.location.starts_with("libc"), "{last:?}");
            }
        }
    }
}

#[test]
fn what_was_inlined_into_the_runtimes_marker_is_shown() {
    let puppet = start(&["std lines=1", "threads 2"]);
    let report = puppet.report();
    if !report.is_complete {
        // A slow machine has no lines in time.
        assert_eq!(report.reasons, "source lines missing");
        return;
    }
    let thread = &block_of(&report, "parked-0")[0];
    assert!(thread.entry_frames_left_out >= 4, "{}", report.raw);
    assert!(thread.is_in("parked_for_the_test"), "{}", report.raw);
    assert!(!thread.is_in("__rust_begin_short_backtrace"), "{}", report.raw);
}

#[test]
fn names_are_short_or_full() {
    for view in VIEWS {
        for setup in ["std", "core-autorun"] {
            let name_of = |choice: &str| {
                let setup = format!("{setup} view={view} {choice}");
                let report = start(&[&setup, "generic-thread"]).report();
                let thread = &block_of(&report, "generic")[0];
                let name = thread.functions().find(|name| name.ends_with("::waits"));
                name.unwrap_or_else(|| panic!("waits in {}", report.raw)).to_owned()
            };
            let short = name_of("");
            assert_eq!(short, "<puppet::stacks::Holder<…> as puppet::stacks::Waits>::waits");
            let full = name_of("full_names=1");
            assert!(full.contains("Holder<alloc::collections::btree::map::BTreeMap<"), "{full}");
            assert!(full.ends_with(" as puppet::stacks::Waits>::waits"), "{full}");
        }
    }
}

/// `cargo test --release -p gmr-tests --test folding thousand -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_thousand_threads_with_one_stack() {
    const REPORTS: u64 = 41;
    for choice in ["", "fold=0", "fold=0 entry_frames=1 full_names=1"] {
        for view in ["text", "line"] {
            let setup = format!("std lines=1 view={view} {choice}");
            let mut puppet = start(&[&setup, "threads 1000"]);
            let pid = puppet.daemon.pid();
            until("rest", || is_at_rest(pid).then_some(()));
            let (mut sections_ns, mut bytes) = (Vec::new(), 0);
            for sequence in 1..=REPORTS {
                let offset = puppet.log.len();
                puppet.daemon.trigger();
                puppet.daemon.wait_stats("a report", |stats| stats.reports() == sequence);
                let last = puppet.daemon.last();
                assert_eq!(last.reasons, "");
                bytes = last.bytes;
                if view == "line" {
                    let report = puppet.log.wait_from(offset, sequence).only();
                    let of_threads = report.outcomes.iter().find(|it| it.title == "Threads");
                    let time = &of_threads.expect("it").time;
                    sections_ns.push(time.parse::<u64>().expect("nanoseconds"));
                }
            }
            sections_ns.sort_unstable();
            let median = sections_ns.get(sections_ns.len() / 2);
            println!("{view} {choice}: {bytes} bytes, Threads in {median:?} ns");
        }
    }
}
