//! How a thread comes to rest, and how that is seen.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// The name of a thread, and what it does; it never comes back.
pub(crate) type Kind = (&'static str, fn());

/// The one thread that does not sleep.
pub(crate) const BUSY: &str = "busy";

/// Threads that were started, and those that are about to wait.
static STARTED: AtomicUsize = AtomicUsize::new(0);
static ARRIVED: AtomicUsize = AtomicUsize::new(0);

/// Never set. What depends on it the compiler has to keep.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Another thread will arrive.
pub(crate) fn expect() {
    STARTED.fetch_add(1, Ordering::AcqRel);
}

/// Starts a thread.
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    assert!(name.len() <= 15, "{name} is cut by the kernel");
    expect();
    thread::Builder::new().name(name.into()).spawn(run).expect("a thread")
}

/// The last thing before a thread waits.
pub(crate) fn arrive() {
    ARRIVED.fetch_add(1, Ordering::AcqRel);
}

pub(crate) fn is_over() -> bool {
    IS_OVER.load(Ordering::Relaxed)
}

/// Waits for ever. The compiler may see that, and lay nothing behind the call.
#[inline(never)]
pub(crate) fn rest_for_ever() -> ! {
    arrive();
    loop {
        thread::park();
    }
}

/// Waits for ever, but may come back for all the compiler knows.
#[inline(never)]
pub(crate) fn rest() -> u64 {
    arrive();
    while !is_over() {
        thread::park();
    }
    black_box(7)
}

/// The same, inlined where it is called.
#[inline(always)]
pub(crate) fn rest_here() -> u64 {
    rest().wrapping_add(1)
}

/// Waits until all threads have arrived, and sleep: in two looks one after the
/// other, with no change of context in between.
pub(crate) fn wait_until_all_rest() {
    while ARRIVED.load(Ordering::Acquire) < STARTED.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
    let mut before = BTreeMap::new();
    loop {
        let now = sleepers();
        if now.as_ref().is_some_and(|now| *now == before) {
            return;
        }
        before = now.unwrap_or_default();
        thread::sleep(Duration::from_millis(20));
    }
}

/// How often each thread but this one and the busy one has gone to sleep, if
/// all of them do.
fn sleepers() -> Option<BTreeMap<String, String>> {
    let mut switches = BTreeMap::new();
    // SAFETY: asks for a number.
    let own = unsafe { libc::gettid() }.to_string();
    for entry in fs::read_dir("/proc/self/task").ok()? {
        let entry = entry.ok()?;
        let tid = entry.file_name().into_string().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let field = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key))?;
            Some(value.trim().to_owned())
        };
        if tid == own || field("Name:")? == BUSY {
            continue;
        }
        if !field("State:")?.starts_with('S') {
            return None;
        }
        switches.insert(tid, field("voluntary_ctxt_switches:")?);
    }
    Some(switches)
}
