//! What threads wait for, in reports of daemons that set it up: owners, circles,
//! calls, and that nothing is said where nothing is proven.

use std::collections::BTreeMap;
use std::process::{Child, ChildStdin, Command, Stdio};

use gmr_tests::report::Thread;
use gmr_tests::{Daemon, ErrLog, Report, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const WAITS: &str = env!("CARGO_BIN_EXE_waits");

/// A scenario in place, and what it says of itself.
struct Scene {
    daemon: Daemon,
    log: ErrLog,
    facts: BTreeMap<String, String>,
    reports: u64,
}

impl Scene {
    #[track_caller]
    fn start(scenario: &str, view: &str) -> Self {
        let log = ErrLog::new();
        let daemon = Daemon::start(WAITS, &[scenario, view], log.stdio());
        let facts = daemon.ready.strip_prefix("ready").expect("a scene");
        let facts = facts
            .split_whitespace()
            .map(|fact| fact.split_once('=').expect("a fact"))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Scene { daemon, log, facts, reports: 0 }
    }

    #[track_caller]
    fn report(&mut self) -> Report {
        self.reports += 1;
        self.daemon.trigger();
        self.log.report(self.reports)
    }

    /// A report in which every thread of `names` is back in its call: on a busy
    /// machine one may still be on its way from the capture.
    #[track_caller]
    fn settled(&mut self, is_settled: impl Fn(&Report) -> bool) -> Report {
        until("a report with what was set up", || {
            let report = self.report();
            is_settled(&report).then_some(report)
        })
    }

    #[track_caller]
    fn fact(&self, key: &str) -> &str {
        self.facts.get(key).unwrap_or_else(|| panic!("{key}: {:?}", self.facts))
    }

    #[track_caller]
    fn tid(&self, name: &str) -> u32 {
        self.fact(name).parse().expect("a thread's number")
    }

    /// `#TID NAME`, as reports have it.
    fn named(&self, name: &str) -> String {
        format!("#{} {name}", self.fact(name))
    }

    #[track_caller]
    fn thread<'r>(&self, report: &'r Report, name: &str) -> &'r Thread {
        report.thread(self.tid(name))
    }
}

/// What is said of a thread's wait: its own line, or that of a folded block.
fn wait_of(thread: &Thread) -> &str {
    thread.fact("waits for").or_else(|| thread.fact("summary")).unwrap_or_default()
}

fn finding<'r>(report: &'r Report, words: &str) -> Option<&'r str> {
    let mut found =
        report.findings.iter().filter_map(|it| it.strip_prefix(words)?.strip_prefix(": "));
    let first = found.next();
    assert_eq!(found.next(), None, "one finding: {:#?}", report.findings);
    first
}

/// The findings of a JSON report: code and threads.
#[track_caller]
fn codes(report: &Report) -> Vec<(String, Vec<u64>)> {
    let json: Value = serde_json::from_str(&report.raw).expect("JSON");
    let findings = json["findings"].as_array().expect("an array");
    findings
        .iter()
        .map(|finding| {
            let tids = finding["threads"].as_array().expect("an array");
            let tids = tids.iter().map(|tid| tid.as_u64().expect("a number")).collect();
            (finding["code"].as_str().expect("text").to_owned(), tids)
        })
        .collect()
}

#[track_caller]
fn member(thread: &Thread, key: &str) -> Value {
    let text = thread.fact(key).unwrap_or_else(|| panic!("no {key}: {thread:#?}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn circles_of_each_length_are_deadlocks_with_all_their_threads_and_locks() {
    for (scenario, count) in [("deadlock-self", 1), ("deadlock-2", 2), ("deadlock-3", 3)] {
        let mut scene = Scene::start(scenario, "text");
        let report = scene.settled(|report| finding(report, "deadlock").is_some());
        let text = finding(&report, "deadlock").expect("a deadlock");
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        let steps: Vec<_> = (0..count)
            .map(|index| {
                let owner = (index + 1) % count;
                format!(
                    "{} waits for the pthread mutex {} owned by {}",
                    scene.named(&format!("locker-{index}")),
                    scene.fact(&format!("lock-{owner}")),
                    scene.named(&format!("locker-{owner}")),
                )
            })
            .collect();
        let begins = match count {
            1 => "a thread waits for itself".to_owned(),
            count => format!("{count} threads wait for each other"),
        };
        assert_eq!(text, format!("{begins}: {}; see their stacks in Threads", steps.join("; ")));
        for index in 0..count {
            let owner = (index + 1) % count;
            let thread = scene.thread(&report, &format!("locker-{index}"));
            assert_eq!(
                thread.fact("waits for"),
                Some(&*format!(
                    "futex {}, pthread mutex owned by {} (deadlock, see findings)",
                    scene.fact(&format!("lock-{owner}")),
                    scene.named(&format!("locker-{owner}")),
                ))
            );
        }
    }
}

#[test]
fn a_deadlock_in_json_names_its_code_and_threads() {
    let mut scene = Scene::start("deadlock-2", "json");
    let report = scene.settled(|report| finding(report, "deadlock").is_some());
    let tids = ["locker-0", "locker-1"].map(|name| u64::from(scene.tid(name)));
    assert_eq!(codes(&report), [("deadlock".to_owned(), tids.to_vec())]);
    let thread = scene.thread(&report, "locker-0");
    assert_eq!(
        member(thread, "waits for"),
        serde_json::json!({
            "kind": "mutex",
            "address": scene.fact("lock-1"),
            "threads": 1,
            "owner": tids[1],
            "owner name": "locker-1",
            "owner ended": false,
            "deadlock": true,
        })
    );
}

#[test]
fn a_circle_with_a_timeout_is_no_deadlock() {
    let mut scene = Scene::start("timed-circle", "text");
    let circle = "2 threads wait for each other, until a timeout: ";
    let report = scene.settled(|report| finding(report, "lock wait").is_some());
    let text = finding(&report, "lock wait").expect("a wait");
    assert!(text.starts_with(circle), "{text}");
    assert_eq!(text.matches(" (with a timeout)").count(), 1, "{text}");
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    for name in ["locker-0", "locker-1"] {
        let wait = wait_of(scene.thread(&report, name));
        assert!(wait.ends_with(" (in a circle until a timeout, see findings)"), "{wait}");
    }
    let mut scene = Scene::start("timed-circle", "json");
    let report = scene.settled(|report| finding(report, "lock wait").is_some());
    let tids = ["locker-0", "locker-1"].map(|name| u64::from(scene.tid(name)));
    assert_eq!(codes(&report), [("lock_wait".to_owned(), tids.to_vec())]);
    assert_eq!(member(scene.thread(&report, "locker-0"), "waits for")["deadlock"], false);
}

#[test]
fn a_circle_may_lead_through_the_end_of_a_thread() {
    let mut scene = Scene::start("deadlock-join", "text");
    let report = scene.settled(|report| finding(report, "deadlock").is_some());
    let text = finding(&report, "deadlock").expect("a deadlock");
    assert!(text.contains(&format!("{} waits for thread #", scene.named("joiner"))), "{text}");
    let lock = format!("the pthread mutex {} owned by", scene.fact("lock"));
    assert!(text.contains(&format!("{lock} {}", scene.named("joiner"))), "{text}");
}

/// Owner in read(2), `waiters` want its lock: every kind of proof.
#[track_caller]
fn held(scenario: &str, noun: &str, kind: &str, waiters: usize) {
    let mut scene = Scene::start(scenario, "text");
    let has_all = |report: &Report| {
        let begin = format!("{waiters} threads wait for the {noun} ");
        finding(report, "lock wait").is_some_and(|text| text.starts_with(&begin))
    };
    let report = scene.settled(has_all);
    let (lock, owner) = (scene.fact("lock").to_owned(), scene.named("owner"));
    let text = finding(&report, "lock wait").expect("a wait");
    let begin = format!(
        "{waiters} threads wait for the {noun} {lock} owned by {owner}, which is in read(fd "
    );
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    for index in 0..waiters {
        // All have one stack: one block.
        let thread = scene.thread(&report, &format!("waiter-{index}"));
        let expected = format!("sleeping, futex {lock}, {noun} owned by {owner}");
        assert_eq!(thread.fact("summary"), Some(&*expected));
        assert_eq!(thread.block_size, waiters as u64);
    }
    assert_eq!(scene.thread(&report, "owner").fact("waits for"), None);

    let mut scene = Scene::start(scenario, "json");
    let report = scene.settled(|report| finding(report, "lock wait").is_some());
    let [(code, tids)] = &*codes(&report) else { panic!("{:#?}", report.findings) };
    assert_eq!((code.as_str(), tids[0]), ("lock_wait", u64::from(scene.tid("owner"))));
    assert_eq!(tids.len(), (waiters + 1).min(16), "{tids:?}");
    let json: Value = serde_json::from_str(&report.raw).expect("JSON");
    let left_out = (waiters + 1).checked_sub(16).filter(|left_out| *left_out > 0);
    assert_eq!(json["findings"][0]["threads_left_out"].as_u64(), left_out.map(|it| it as u64));
    let wait = member(scene.thread(&report, "waiter-1"), "waits for");
    assert_eq!((&wait["kind"], &wait["threads"]), (&Value::from(kind), &Value::from(waiters)));
    assert_eq!(wait["owner"], scene.tid("owner"));
}

#[test]
fn the_owner_of_a_mutex_is_named_to_all_who_wait() {
    held("crowd", "pthread mutex", "mutex", 30);
}

#[test]
fn the_owner_of_a_pi_mutex_is_the_kernels_word() {
    held("pi", "PI lock", "pi_lock", 2);
}

#[test]
fn the_owner_of_a_robust_mutex_has_it_on_its_list() {
    held("robust", "robust pthread mutex", "robust_mutex", 2);
}

#[test]
fn the_writer_that_has_a_rwlock_is_named_to_readers_and_writers() {
    let mut scene = Scene::start("rwlock", "text");
    let owned = format!("pthread rwlock owned by {}", scene.named("owner"));
    let names = ["reader", "reader-2", "writer"];
    let (tids, wanted) = (names.map(|name| scene.tid(name)), owned.clone());
    let report = scene.settled(move |report| {
        tids.iter().all(|tid| wait_of(report.thread(*tid)).ends_with(&wanted))
    });
    let lock = format!("2 threads wait for the pthread rwlock {} owned", scene.fact("lock"));
    assert!(finding(&report, "lock wait").is_some_and(|text| text.starts_with(&lock)));
    let writer = scene.thread(&report, "writer").fact("waits for").expect("a wait");
    let base = u64::from_str_radix(&scene.fact("lock")[2..], 16).expect("an address");
    assert_eq!(writer, format!("futex {:#x}, {owned}", base + 12));
}

#[test]
fn an_owner_that_has_ended_is_said() {
    let mut scene = Scene::start("gone", "text");
    let report = scene.settled(|report| finding(report, "lock wait").is_some());
    let owner = format!(
        "pthread mutex owned by #{}, which is no thread of this process any more",
        scene.fact("owner")
    );
    let wait = wait_of(scene.thread(&report, "waiter-0"));
    assert!(wait.ends_with(&owner), "{wait}");
    let mut scene = Scene::start("gone", "json");
    let report = scene.settled(|report| finding(report, "lock wait").is_some());
    let wait = member(scene.thread(&report, "waiter-1"), "waits for");
    assert_eq!((&wait["owner ended"], &wait["deadlock"]), (&true.into(), &false.into()));
}

#[test]
fn a_chain_is_followed_to_its_end() {
    let mut scene = Scene::start("chain", "text");
    let report = scene.settled(|report| {
        finding(report, "lock wait").is_some_and(|text| text.contains("read(fd "))
    });
    let text = finding(&report, "lock wait").expect("a wait");
    let (middle, last) = (scene.named("middle"), scene.named("last"));
    assert!(
        text.contains(&format!("owned by {middle}, which waits for the pthread mutex")),
        "{text}"
    );
    assert!(text.contains(&format!("owned by {last}, which is in read(fd ")), "{text}");
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
}

#[test]
fn a_lock_without_an_owner_in_memory_has_none() {
    let mut scene = Scene::start("std", "text");
    let report = scene.report();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    for index in 0..3 {
        let wait = wait_of(scene.thread(&report, &format!("waiter-{index}")));
        assert!(wait.contains("futex 0x") && !wait.contains("owned"), "{wait}");
    }
    let mut scene = Scene::start("std", "json");
    let report = scene.report();
    let wait = member(scene.thread(&report, "waiter-0"), "waits for");
    assert_eq!((&wait["kind"], &wait["owner"]), (&"futex".into(), &Value::Null));
}

#[test]
fn a_thread_that_joins_another_waits_for_its_end() {
    let mut scene = Scene::start("join", "text");
    let joiner = scene.tid("joiner");
    let report = scene.settled(move |report| report.thread(joiner).fact("waits for").is_some());
    let expected = format!("thread {} to end", scene.named("reader"));
    assert_eq!(scene.thread(&report, "joiner").fact("waits for"), Some(&*expected));
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[test]
fn what_is_no_deadlock_is_never_called_one() {
    let mut scene = Scene::start("near", "text");
    let mut waits = 0;
    for _ in 0..150 {
        let report = scene.report();
        assert_eq!(finding(&report, "deadlock"), None, "{}", report.raw);
        for finding in &report.findings {
            assert!(finding.starts_with("lock wait: "), "{finding}");
            // An owner never waits for its own lock, unless that is a deadlock.
            let owner = finding.split(" owned by ").nth(1).expect("an owner");
            assert!(
                !owner.contains("which waits for the pthread mutex") || finding.contains("end")
            );
            waits += 1;
        }
        for thread in &report.threads {
            let own = format!("owned by #{} ", thread.tid);
            assert!(!wait_of(thread).contains(&own), "{}", report.raw);
        }
        let middle = wait_of(scene.thread(&report, "middle"));
        assert!(!middle.contains("deadlock"), "{middle}");
    }
    assert!(waits > 0, "the scene has waits to find");
}

#[test]
fn a_process_with_nothing_of_it_has_no_finding() {
    for view in ["text", "json"] {
        let mut scene = Scene::start("nothing", view);
        for _ in 0..20 {
            let report = scene.report();
            assert!(report.findings.is_empty(), "{}", report.raw);
        }
    }
}

#[test]
fn calls_stand_by_name_with_their_arguments() {
    let mut scene = Scene::start("calls", "text");
    let report = scene.report();
    let call = |name: &str| scene.thread(&report, name).fact("syscall").unwrap_or_default();
    let read = format!("read(fd {}, 0x", scene.fact("pipe"));
    assert!(call("in-read").starts_with(&read), "{}", call("in-read"));
    assert!(call("in-read").ends_with(", 1)"), "{}", call("in-read"));
    assert!(call("in-poll").ends_with(", 1, 1000000 ms)"), "{}", call("in-poll"));
    assert!(call("in-sleep").starts_with("clock_nanosleep("), "{}", call("in-sleep"));
    assert_eq!(call("real-time"), "pause()");
    assert_eq!(call("spinner"), "running");
    // The reporter's own are one block.
    for thread in report.threads.iter().filter(|thread| thread.capture != "own") {
        let cpu = thread.fact("cpu").unwrap_or_else(|| panic!("{}", report.raw));
        let (user, system) = cpu.split_once(" user, ").expect("two times");
        assert!(user.ends_with(" s") && system.ends_with(" s system"), "{cpu}");
        let switches = thread.fact("switches").expect("switches");
        assert!(switches.contains(" voluntary, ") && switches.ends_with(" involuntary"));
    }
    // Root may have a real-time policy.
    let policy = scene.thread(&report, "real-time").fact("scheduling");
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(policy, is_root.then_some("SCHED_RR, priority 7"));
    assert_eq!(scene.thread(&report, "in-read").fact("scheduling"), None);
    assert!(!report.raw.contains("syscalls = "), "{}", report.raw);
}

#[test]
fn calls_in_json_have_names_numbers_and_addresses() {
    let mut scene = Scene::start("calls", "json");
    let report = scene.settled({
        let spinner = scene.tid("spinner");
        move |report| {
            // It has run for a tick of the kernel's clock.
            member(report.thread(spinner), "cpu")["user_ns"].as_u64() > Some(0)
        }
    });
    let call = member(scene.thread(&report, "in-read"), "syscall");
    assert_eq!((&call["state"], &call["name"]), (&"in_call".into(), &"read".into()));
    assert_eq!(call["number"], 0);
    let arguments = call["arguments"].as_array().expect("an array");
    let pipe: u64 = scene.fact("pipe").parse().expect("a descriptor");
    assert_eq!(arguments.len(), 3, "{call}");
    assert_eq!((&arguments[0], &arguments[2]), (&format!("{pipe:#x}").into(), &"0x1".into()));
    let call = member(scene.thread(&report, "spinner"), "syscall");
    assert_eq!(call, serde_json::json!({"state": "running"}));
    let switches = member(scene.thread(&report, "in-sleep"), "switches");
    assert!(switches["voluntary"].as_u64() > Some(0), "{switches}");
}

#[test]
fn a_process_that_is_not_dumpable_says_so_once() {
    // As root, who has privileges to give up.
    for view in ["text", "json"] {
        let mut scene = Scene::start("not-dumpable", view);
        let report = scene.report();
        assert!(report.is_complete, "{}", report.raw);
        assert!(report.threads.iter().all(|thread| thread.fact("syscall").is_none()));
        // The others are not refused.
        let mut others = report.threads.iter().filter(|thread| thread.capture != "own");
        assert!(others.all(|thread| thread.fact("cpu").is_some()), "{}", report.raw);
        let refusal = "not readable (EACCES: the process is not dumpable, PR_SET_DUMPABLE)";
        assert_eq!(report.raw.matches(refusal).count(), 1, "{}", report.raw);
        scene.daemon.assert_alive();
    }
}

#[test]
fn a_thread_that_no_signal_reaches_is_found_with_its_call() {
    let mut scene = Scene::start("vfork", "text");
    let report = scene.report();
    let text = finding(&report, "uninterruptible").unwrap_or_else(|| panic!("{}", report.raw));
    let thread = scene.named("in-vfork");
    let begin = format!("1 thread is in a call that no signal ends: {thread} in clone(0x4111, ");
    assert!(text.starts_with(&begin), "{text}");
    let thread = scene.thread(&report, "in-vfork");
    assert!(thread.fact("syscall").is_some_and(|call| call.starts_with("clone(")), "{thread:#?}");
    // libc's clone has no unwind information from the system call on: where it
    // stands is known, its callers are not.
    assert_eq!(thread.capture, "uninterruptible", "{thread:#?}");
    assert_eq!(thread.functions().collect::<Vec<_>>(), ["clone"], "{thread:#?}");
    assert!(thread.fact("wchan").is_some(), "{thread:#?}");
}

/// A process that keeps a thread stopped, until it is dropped.
struct Tracer(Child, Option<ChildStdin>);

impl Tracer {
    #[track_caller]
    fn of(tid: u32) -> Self {
        let mut child = Command::new(WAITS)
            .args(["tracer", &tid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a tracer");
        let stdin = child.stdin.take();
        let mut ready = [0; 6];
        let mut stdout = child.stdout.take().expect("stdout");
        std::io::Read::read_exact(&mut stdout, &mut ready).expect("a tracer that is allowed to");
        assert_eq!(&ready, b"ready\n");
        Tracer(child, stdin)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        drop(self.1.take());
        let _ended = self.0.wait();
    }
}

#[test]
fn a_thread_that_is_stopped_is_found_with_who_stops_it() {
    let mut scene = Scene::start("calls", "text");
    let tracer = Tracer::of(scene.tid("in-read"));
    let report = scene.report();
    let text = finding(&report, "stopped").unwrap_or_else(|| panic!("{}", report.raw));
    let thread = scene.named("in-read");
    assert!(text.starts_with(&format!("1 thread is stopped: {thread} in read(fd ")), "{text}");
    let by = format!("(traced by process {})", tracer.0.id());
    assert!(text.contains(&by), "{text}");
    drop(tracer);
    let report = scene.settled(|report| report.findings.is_empty());
    assert!(report.is_complete, "{}", report.raw);
}

#[test]
fn a_main_thread_that_has_ended_is_found() {
    let mut scene = Scene::start("main-ended", "text");
    until("the main thread's end", || {
        let stat = std::fs::read_to_string(format!("/proc/{0}/task/{0}/stat", scene.daemon.pid()));
        stat.is_ok_and(|stat| stat.contains(") Z ")).then_some(())
    });
    let report = scene.report();
    assert!(finding(&report, "main thread ended").is_some(), "{}", report.raw);
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    assert_eq!(report.thread(scene.daemon.pid()).fact("syscall"), None);
}

#[test]
fn an_executable_that_is_gone_is_found() {
    let directory = std::env::temp_dir().join(format!("gmr-waits-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory");
    let copy = directory.join("waits-copy");
    std::fs::copy(WAITS, &copy).expect("a copy");
    let log = ErrLog::new();
    let mut daemon = Daemon::start(&copy, &["nothing"], log.stdio());
    daemon.trigger();
    assert!(log.report(1).findings.is_empty());
    std::fs::remove_file(&copy).expect("the copy");
    std::fs::remove_dir(&directory).expect("the directory");
    daemon.trigger();
    let report = log.report(2);
    let text = finding(&report, "executable replaced").unwrap_or_else(|| panic!("{}", report.raw));
    assert!(text.ends_with("/waits-copy"), "{text}");
    daemon.assert_alive();
}

#[test]
fn a_daemon_whose_threads_were_all_stopped_goes_on() {
    let mut scene = Scene::start("deadlock-2", "text");
    let pid = Pid::from_raw(scene.daemon.pid().cast_signed()).expect("a process");
    kill_process(pid, Signal::STOP).expect("it is ours");
    kill_process(pid, Signal::CONT).expect("it is ours");
    // Their calls are restarted: what is found is what it was.
    scene.settled(|report| finding(report, "deadlock").is_some());
    scene.daemon.assert_alive();
}
