//! Is the module table true, and was it while the stacks were taken?
//!
//! Before the capture:
//!
//! 1. If the program has a worker (a normal thread that may take the loader's
//!    lock) and objects that can be unloaded, ask it whether the loader has loaded
//!    or unloaded anything since, and have the table made anew if so.
//! 2. Compare the table with /proc/self/maps, line by line. If something differs,
//!    wait longer for the worker. If it does not answer, somebody holds the
//!    loader's or the allocator's lock: the report goes on with what is known.
//! 3. Entries that are still wrong are not used: their frames show raw
//!    addresses.
//!
//! After it: ask again. If an object was unloaded in between, another may have been
//! where a stack was unwound: nothing that can be unloaded is believed, and stacks
//! end where they enter it ([`super::collect::Collector::cut`]).
//!
//! Limits: without a worker that answers, the maps are compared a second time. That
//! misses an object that was exchanged for another and back in between.

use rustix::fd::AsFd;

use crate::engine::Engine;
use crate::procfs::{maps, read};
use crate::stacks::modules::{FileIdentity, Table};
use crate::stacks::unwind::Modules as _;
use crate::sys::clock;

/// How long a report waits for the worker when the table is wrong.
const REFRESH_WAIT_NS: u64 = 200_000_000;

/// How long when it only wants to be sure.
const ASK_WAIT_NS: u64 = 20_000_000;

/// What the comparison found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    /// maps could be read.
    pub(crate) is_trusted: bool,
}

/// Compares, and has the table refreshed if that helps.
pub(crate) fn check(engine: &Engine, bytes: &mut [u8]) -> Checked {
    ask_if_unloadable(engine);
    match compare(engine, bytes) {
        None => Checked { is_trusted: false },
        Some(true) => Checked { is_trusted: true },
        Some(false) => {
            if refresh(engine, REFRESH_WAIT_NS) {
                compare(engine, bytes);
            }
            Checked { is_trusted: true }
        }
    }
}

/// After the capture with the table `used`: whether nothing was unloaded since
/// [`check`]. If something was, neither `used` nor the current table is believed of
/// what can be unloaded.
pub(crate) fn look_back(engine: &Engine, used: &Table, bytes: &mut [u8]) -> bool {
    if !used.has_unloadable() {
        return true;
    }
    let answered = ask_if_unloadable(engine);
    let Some(current) = engine.tables.current() else { return true };
    let is_true = if answered {
        used.outlives(current.table)
    } else {
        let before = used.generation();
        compare_with(used, bytes).is_none() || used.generation() == before
    };
    if !is_true {
        used.distrust();
        current.table.distrust();
    }
    is_true
}

/// Has a worker ask the loader, unless nothing can be unloaded. Whether it answered.
fn ask_if_unloadable(engine: &Engine) -> bool {
    engine.tables.current().is_some_and(|current| current.table.has_unloadable())
        && refresh(engine, ASK_WAIT_NS)
}

/// Whether the table is true; `None` if maps cannot be read.
fn compare(engine: &Engine, bytes: &mut [u8]) -> Option<bool> {
    compare_with(engine.tables.current()?.table, bytes)
}

fn compare_with(table: &Table, bytes: &mut [u8]) -> Option<bool> {
    // Not `self`: that is the main thread, which may have ended.
    let Ok(file) = read::open(rustix::fs::CWD, c"/proc/thread-self/maps") else {
        table.trust_all();
        return None;
    };
    let mut check = table.begin_check();
    let mut lines = maps::Maps::new(|into| read::some(file.as_fd(), into), bytes);
    while let Some(Ok(line)) = lines.next() {
        check.line(line.start, FileIdentity::of(&line), line.is_executable());
    }
    Some(check.stale() == 0 && check.unknown == 0)
}

/// Whether a worker answered.
fn refresh(engine: &Engine, wait_ns: u64) -> bool {
    if engine.workers.running() == 0 {
        return false;
    }
    let deadline_ns = clock::monotonic_ns().saturating_add(wait_ns);
    let wanted = engine.workers.want_refresh();
    loop {
        let Err(seen) = engine.workers.has_refreshed(wanted) else { return true };
        let left = deadline_ns.saturating_sub(clock::monotonic_ns());
        if left == 0 {
            return false;
        }
        engine.workers.wait_refreshed(seen, left);
    }
}
