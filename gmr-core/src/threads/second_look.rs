//! A second look at threads that do not run at all: in an uninterruptible sleep,
//! or stopped.
//!
//! Every thread that reads a disk is in state D for a moment. What is found in
//! the same state and the same call twice, before and after all stacks were
//! collected, stays there. Of threads that did not answer the capture, the
//! kernel function that they wait in is read as well.

use rustix::fd::{AsFd, BorrowedFd};

use super::ThreadRecord;
use super::facts::{self, Call};
use crate::model::Capture;
use crate::procfs::{read, stat};

/// Looks again at threads that do not run, and says of each whether it is still
/// where it was ([`ThreadRecord::is_held`]).
pub(crate) fn look(records: &mut [ThreadRecord], bytes: &mut [u8]) {
    let is_wanted = |record: &&mut ThreadRecord| is_held_state(record.state) || is_silent(record);
    if !records.iter_mut().any(|record| is_wanted(&record)) {
        return;
    }
    let Ok(task) = read::open_dir(rustix::fs::CWD, c"/proc/self/task") else { return };
    for record in records.iter_mut().filter(is_wanted) {
        record.is_held = is_held_state(record.state) && is_unchanged(record, task.as_fd(), bytes);
        if record.kernel.wchan().is_empty() && (record.is_held || is_silent(record)) {
            record.kernel.read_wchan(task.as_fd(), record.tid, bytes);
        }
    }
}

fn is_held_state(state: u8) -> bool {
    matches!(state, b'D' | b'T' | b't')
}

fn is_silent(record: &ThreadRecord) -> bool {
    matches!(record.capture, Capture::Timeout | Capture::Uninterruptible)
}

/// Whether it is in the same state, and in the same call where that is known.
fn is_unchanged(record: &ThreadRecord, task: BorrowedFd<'_>, bytes: &mut [u8]) -> bool {
    let now = facts::read_file(task, record.tid, "stat", bytes).ok().and_then(stat::parse);
    if now.is_none_or(|now| now.state != record.state) {
        return false;
    }
    match record.kernel.call {
        // Refused, or it had not got there.
        Call::Unknown => true,
        before => facts::call(task, record.tid, bytes) == Ok(before),
    }
}
