//! Is the module table still true? Asked once per report.
//!
//! 1. Compare it with /proc/self/maps, line by line.
//! 2. If objects came or went and the program has a refresher (a normal thread
//!    that may take the loader's lock), ask it and wait a little. If it does
//!    not answer, somebody holds the loader's or the allocator's lock: the
//!    report goes on with what is known.
//! 3. Entries that are still wrong are not used: their frames show raw
//!    addresses.

use core::sync::atomic::Ordering;

use rustix::fd::AsFd;

use crate::engine::Engine;
use crate::procfs::{maps, read};
use crate::stacks::modules::FileIdentity;
use crate::sys::{clock, futex};

/// How long a report waits for the refresher.
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

/// Whether the refresher answered.
fn refresh(engine: &Engine) -> bool {
    if engine.has_refresher.load(Ordering::Acquire) == 0 {
        return false;
    }
    let deadline_ns = clock::monotonic_ns().saturating_add(REFRESH_WAIT_NS);
    let wanted = engine.refresh_wanted.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
    futex::wake(&engine.refresh_wanted, 1);
    loop {
        let done = engine.refresh_done.load(Ordering::Acquire);
        if done.wrapping_sub(wanted) <= u32::MAX / 2 {
            return true;
        }
        let left = deadline_ns.saturating_sub(clock::monotonic_ns());
        if left == 0 {
            return false;
        }
        futex::wait(&engine.refresh_done, done, Some(left));
    }
}
