//! A daemon with ordinary sections, good ones and bad ones.
//!
//! `ordinary VIEW DEADLINE_MS SECTION...`: installs with these sections, in this
//! order.
//! Commands on stdin: `lock`, `unlock` (a mutex that the section `locks` takes),
//! `hang`, `release` (for those that hang), `runs`, `unregister NAME`,
//! `register NAME`, `job NAME` (`ok`, `panics`, `hangs`), `release-job`, `jobs` (how
//! many were done, and how many began to hang), `threads` (how many there are),
//! `installed` (what ran at the end of the setup, if a SECTION is `extended`).
#![allow(unsafe_code, reason = "signals to itself")]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, io, process, thread};

use gmr_core::{Requester, SectionId};
use gmr_std::{Handle, Setup, Table, View};
use serde::Serialize;

static LOCK: Mutex<u32> = Mutex::new(7);
static HANGS: AtomicBool = AtomicBool::new(true);
static RUNS: AtomicU32 = AtomicU32::new(0);
static INSTALLED: Mutex<Option<Handle>> = Mutex::new(None);
static JOBS: AtomicU32 = AtomicU32::new(0);
static HANGING_JOBS: AtomicU32 = AtomicU32::new(0);
static JOB_HANGS: AtomicBool = AtomicBool::new(true);
static EXTENSIONS: Mutex<String> = Mutex::new(String::new());

#[derive(Serialize)]
struct Queue {
    depth: u32,
    workers: Vec<&'static str>,
    limits: BTreeMap<&'static str, u64>,
    password: &'static str,
}

struct Invalid;

impl Serialize for Invalid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(b"before \xff\xfe after")
    }
}

#[inline(never)]
fn hangs_in_here() {
    while HANGS.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn calm() -> Queue {
    RUNS.fetch_add(1, Ordering::AcqRel);
    Queue {
        depth: 3,
        workers: vec!["one", "two"],
        limits: BTreeMap::from([("open", 1024), ("used", 12)]),
        password: "s3kr1t-ordinary",
    }
}

fn table() -> Table {
    let mut queues = Table::new(["queue", "depth", "paused", "token"]);
    for (name, depth) in [("mail", 1700), ("====", 2)] {
        queues.push((name, depth, depth < 10, format!("s3kr1t-{name}")));
    }
    queues.row(("amqp://u:s3kr1t@host", -5))
}

fn hang() -> &'static str {
    hangs_in_here();
    "back"
}

fn gigabyte() -> usize {
    let mut memory = vec![0_u8; 1 << 30];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    core::hint::black_box(&memory).len()
}

fn locks() -> u32 {
    *LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn handle() -> Handle {
    INSTALLED.lock().unwrap_or_else(PoisonError::into_inner).expect("installed")
}

fn registers() -> &'static str {
    match handle().register_section("Registered by a section", || "born in a report") {
        Ok(_) => "registered",
        Err(_) => "full",
    }
}

fn triggers() -> &'static str {
    let pid = i32::try_from(process::id()).expect("a pid");
    // SAFETY: sends a signal that this process handles.
    unsafe { libc::kill(pid, libc::SIGUSR2) };
    handle().reporter().request(Requester::call());
    "triggered"
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("on purpose, in a drop");
    }
}

/// Hangs, and is expensive to get rid of.
fn hangs_with_a_grenade() -> impl FnMut() -> &'static str + Send + 'static {
    let grenade = Grenade;
    move || {
        let _kept = &grenade;
        hang()
    }
}

fn catches() -> &'static str {
    let _ = std::panic::catch_unwind(|| panic!("caught by the section itself"));
    "went on"
}

fn resumes() -> u32 {
    std::panic::resume_unwind(Box::new(7_u32));
}

/// A second setup, which is refused.
fn set_up_again() -> String {
    let held = Arc::new(());
    let in_closure = Arc::clone(&held);
    let config = BTreeMap::from([("card", "of the second setup")]);
    let outcome = gmr_std::setup_autorun(gmr_std::package!())
        .conf(&config)
        .register_section("Never", move || Arc::strong_count(&in_closure))
        .on_installed(|_| extended("never"))
        .install();
    format!("{:?}, {} held", outcome.err(), Arc::strong_count(&held))
}

fn asks() -> String {
    match handle().report(View::Text) {
        Ok(report) => report,
        Err(error) => error.to_string(),
    }
}

/// Two changes of the destination that the report is in.
fn switches() -> String {
    let handle = handle();
    let answers = [handle.set_destination(io::stderr()), handle.release_destination()];
    let _ = handle.set_destination(io::stderr());
    format!("{answers:?}")
}

/// Notes that an extension was called.
fn extended(name: &str) {
    EXTENSIONS.lock().expect("no panic yet").push_str(name);
}

fn extend(setup: Setup<'_>) -> Setup<'_> {
    setup
        .on_installed(|handle| {
            extended("first, ");
            handle.in_background(job("ok"));
        })
        .on_installed(|handle| {
            let id = handle.register_section("Extension", || "of an extension");
            extended(if id.is_ok() { "second" } else { "full" });
        })
}

fn job(name: &str) -> Box<dyn FnOnce() + Send> {
    match name {
        "ok" => Box::new(|| {
            JOBS.fetch_add(1, Ordering::AcqRel);
        }),
        "panics" => Box::new(|| panic!("of a job, on purpose")),
        "hangs" => Box::new(|| {
            HANGING_JOBS.fetch_add(1, Ordering::AcqRel);
            while JOB_HANGS.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
            }
            JOBS.fetch_add(1, Ordering::AcqRel);
        }),
        other => panic!("what is {other}?"),
    }
}

/// How many threads the process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc").count()
}

/// Registers the section `name` on whatever `add` adds to.
macro_rules! section {
    ($name:expr, $target:expr) => {
        match $name {
            "calm" => $target.register_section("Calm", calm),
            "text" => {
                $target.register_section("Text", || "first line\nsecond line password=s3kr1t-text")
            }
            "list" => $target.register_section("List", || vec!["b", "a"]),
            "table" => $target.register_section("Table", table),
            "panics" => $target
                .register_section("Panics", || -> u32 { panic!("on purpose, token=s3kr1t-panic") }),
            "odd-panic" => {
                $target.register_section("Odd panic", || -> u32 { std::panic::panic_any(7_u32) })
            }
            "hang" => $target.register_section("Hang", hang),
            "hang-2" => $target.register_section("Hang 2", hang),
            "hang-3" => $target.register_section("Hang 3", hang),
            "hang-4" => $target.register_section("Hang 4", hang),
            "hang-5" => $target.register_section("Hang 5", hang),
            "gigabyte" => $target.register_section("Gigabyte", gigabyte),
            "ten-mib" => $target.register_section("Ten MiB", || "x".repeat(10 << 20)),
            "ten-mib-of-lines" => {
                $target.register_section("Ten MiB of lines", || "0123456789\n".repeat(1 << 20))
            }
            "invalid" => $target.register_section("Invalid", || Invalid),
            "invalid-path" => $target.register_section("Invalid path", || {
                use std::os::unix::ffi::OsStrExt;
                std::path::PathBuf::from(std::ffi::OsStr::from_bytes(b"/\xff"))
            }),
            "registers" => $target.register_section("Registers", registers),
            "triggers" => $target.register_section("Triggers", triggers),
            "asks" => $target.register_section("Asks", asks),
            "grenade" => $target.register_section("Grenade", hangs_with_a_grenade()),
            "catches" => $target.register_section("Catches", catches),
            "resumes" => $target.register_section("Resumes", resumes),
            "switches" => $target.register_section("Switches", switches),
            "locks" => $target.register_section("Locks", locks),
            other => panic!("what is {other}?"),
        }
    };
}

fn main() {
    let mut args = env::args().skip(1);
    let view = match args.next().as_deref() {
        Some("json") => View::Json,
        _ => View::Text,
    };
    let deadline_ms = args.next().and_then(|millis| millis.parse().ok()).expect("milliseconds");
    let config = BTreeMap::from([("card", "of the first setup")]);
    let mut setup: Setup<'_> = gmr_std::setup_autorun(gmr_std::package!())
        .view(view)
        .conf(&config)
        .section_deadline(Duration::from_millis(deadline_ms));
    for name in args {
        setup = if name == "extended" { extend(setup) } else { section!(&*name, setup) };
    }
    let installed = setup.install().expect("a setup");
    *INSTALLED.lock().expect("no panic yet") = Some(installed);
    println!("ready {}", process::id());
    obey(installed);
}

fn obey(installed: Handle) {
    let mut held: Option<MutexGuard<'_, u32>> = None;
    let mut ids: HashMap<String, SectionId> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("stdin");
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "ping" => {
                println!("pong");
                continue;
            }
            "lock" => held = Some(LOCK.lock().unwrap_or_else(PoisonError::into_inner)),
            "unlock" => held = None,
            "hang" => HANGS.store(true, Ordering::Release),
            "release" => HANGS.store(false, Ordering::Release),
            "job" => installed.in_background(job(rest)),
            "release-job" => JOB_HANGS.store(false, Ordering::Release),
            "jobs" => {
                let [done, at] = [&JOBS, &HANGING_JOBS].map(|count| count.load(Ordering::Acquire));
                println!("{done} done, {at} at");
                continue;
            }
            "threads" => {
                println!("{}", threads());
                continue;
            }
            "installed" => {
                println!("{}", EXTENSIONS.lock().expect("no panic yet"));
                continue;
            }
            "shutdown" => installed.shutdown(),
            "set-up-again" => {
                println!("{}", set_up_again());
                continue;
            }
            "runs" => {
                println!("{}", RUNS.load(Ordering::Acquire));
                continue;
            }
            "register" => {
                let id = section!(rest, installed).expect("registered");
                ids.insert(rest.to_owned(), id);
            }
            "unregister" => {
                let id = ids.remove(rest).expect("registered before");
                installed.unregister_section(id).expect("unregistered");
            }
            other => panic!("what is {other}?"),
        }
        println!("ok");
    }
    drop(held);
}
