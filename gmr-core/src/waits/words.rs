//! What a thread waits for, in words: the same in its block and in findings.

use super::{Kind, Owner, Wait};
use crate::line::Line;
use crate::threads::ThreadRecord;

impl Kind {
    /// The stable word for it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Kind::Futex => "futex",
            Kind::PiLock => "pi_lock",
            Kind::RobustMutex => "robust_mutex",
            Kind::Mutex => "mutex",
            Kind::RwLock => "rwlock",
            Kind::ThreadEnd => "thread_end",
        }
    }

    /// For people.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Kind::Futex => "futex",
            Kind::PiLock => "PI lock",
            Kind::RobustMutex => "robust pthread mutex",
            Kind::Mutex => "pthread mutex",
            Kind::RwLock => "pthread rwlock",
            Kind::ThreadEnd => "thread",
        }
    }
}

/// `#10190 api-3`.
pub(crate) fn write_thread<const N: usize>(line: &mut Line<N>, tid: u32, name: &[u8]) {
    line.push("#");
    line.push_number(u64::from(tid));
    if !name.is_empty() {
        line.push(" ");
        line.push_bytes(name);
    }
}

/// `#10190 api-3`, of a record.
pub(crate) fn write_record<const N: usize>(line: &mut Line<N>, record: &ThreadRecord) {
    write_thread(line, record.tid, record.name());
}

/// `futex 0x7f21c0a41e10 (38 threads wait on it), pthread mutex owned by #10190
/// api-3`, or `thread #10190 api-3 to end`.
pub(crate) fn write<const N: usize>(line: &mut Line<N>, wait: &Wait) {
    if wait.kind == Kind::ThreadEnd {
        return write_what(line, wait);
    }
    line.push("futex ");
    write_address(line, wait.address);
    if wait.waiters > 1 {
        line.push(" (");
        line.push_number(u64::from(wait.waiters));
        line.push(" threads wait on it)");
    }
    if wait.kind != Kind::Futex {
        line.push(", ");
        write_what(line, wait);
    }
}

/// The same without the futex: `pthread mutex owned by #10190 api-3`.
pub(crate) fn write_what<const N: usize>(line: &mut Line<N>, wait: &Wait) {
    if wait.kind == Kind::ThreadEnd {
        write_end(line, wait);
    } else {
        line.push(wait.kind.noun());
        write_owner(line, wait);
    }
    // No colon behind a name: `token: …` would be masked as a secret.
    if wait.is_deadlock {
        line.push(" (deadlock, see findings)");
    } else if wait.is_timed_circle {
        line.push(" (in a circle until a timeout, see findings)");
    }
}

/// `the pthread mutex 0x7f21c0a41e10 owned by #12 writer`, or `thread #12 writer
/// to end`.
pub(crate) fn write_lock<const N: usize>(line: &mut Line<N>, wait: &Wait) {
    if wait.kind == Kind::ThreadEnd {
        return write_end(line, wait);
    }
    line.push("the ");
    line.push(wait.kind.noun());
    line.push(" ");
    write_address(line, wait.lock);
    write_owner(line, wait);
}

fn write_end<const N: usize>(line: &mut Line<N>, wait: &Wait) {
    line.push("thread ");
    write_thread(line, wait.owner_tid, wait.owner_name.as_bytes());
    line.push(" to end");
}

/// ` owned by #10190 api-3`.
pub(crate) fn write_owner<const N: usize>(line: &mut Line<N>, wait: &Wait) {
    match wait.owner {
        Owner::Unknown => {}
        Owner::Died => line.push(", its owner ended without unlocking it"),
        Owner::Listed { .. } | Owner::Unlisted { .. } => {
            line.push(" owned by ");
            write_thread(line, wait.owner_tid, wait.owner_name.as_bytes());
        }
        Owner::Gone { .. } => {
            line.push(" owned by ");
            write_thread(line, wait.owner_tid, b"");
            line.push(", which is no thread of this process any more");
        }
    }
}

/// `0x7f21c0a41e10`.
pub(crate) fn write_address<const N: usize>(line: &mut Line<N>, address: u64) {
    crate::view::address(line, address);
}
