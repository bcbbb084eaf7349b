//! Is the module table still true? Asked once per report.
//!
//! 1. Compare it with /proc/self/maps, line by line.
//! 2. If objects came or went and the program has a worker (a normal thread
//!    that may take the loader's lock), ask it and wait a little. If it does
//!    not answer, somebody holds the loader's or the allocator's lock: the
//!    report goes on with what is known.
//! 3. Entries that are still wrong are not used: their frames show raw
//!    addresses.

use rustix::fd::AsFd;

use crate::engine::Engine;
use crate::procfs::{maps, read};
use crate::stacks::modules::FileIdentity;
use crate::sys::clock;

/// How long a report waits for the worker.
const REFRESH_WAIT_NS: u64 = 200_000_000;

/// What the comparison found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    /// maps could be read.
    pub(crate) is_trusted: bool,
}

/// Compares, and has the table refreshed if that helps.
pub(crate) fn check(engine: &Engine, bytes: &mut [u8]) -> Checked {
    match compare(engine, bytes) {
        None => Checked { is_trusted: false },
        Some(true) => Checked { is_trusted: true },
        Some(false) => {
            if refresh(engine) {
                compare(engine, bytes);
            }
            Checked { is_trusted: true }
        }
    }
}

/// Whether the table is true; `None` if maps cannot be read.
fn compare(engine: &Engine, bytes: &mut [u8]) -> Option<bool> {
    let tables = engine.tables.current()?;
    // Not `self`: that is the main thread, which may have ended.
    let Ok(file) = read::open(rustix::fs::CWD, c"/proc/thread-self/maps") else {
        tables.table.trust_all();
        return None;
    };
    let mut check = tables.table.begin_check();
    let mut lines = maps::Maps::new(|into| read::some(file.as_fd(), into), bytes);
    while let Some(Ok(line)) = lines.next() {
        check.line(line.start, FileIdentity::of(&line), line.is_executable());
    }
    Some(check.stale() == 0 && check.unknown == 0)
}

/// Whether a worker answered.
fn refresh(engine: &Engine) -> bool {
    if engine.workers.running() == 0 {
        return false;
    }
    let deadline_ns = clock::monotonic_ns().saturating_add(REFRESH_WAIT_NS);
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
