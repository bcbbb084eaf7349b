//! Threads that wait for each other, and threads that wait for one owner.
//!
//! 1. Each circle that the second look confirmed ([`crate::waits`]) is one
//!    finding, with all its threads and locks: a deadlock, or if somebody in it
//!    waits with a timeout, a wait for locks.
//! 2. Each lock with two waiters or more and a known owner is one, with what the
//!    owner does itself: its call, or along the chain what it waits for.
//!
//! Limits: a chain is followed for [`MAX_CHAIN`] owners.

use super::Report;
use crate::line::Line;
use crate::model::FindingCode;
use crate::syscalls;
use crate::threads::ThreadRecord;
use crate::threads::facts::Call;
use crate::waits::{Kind, Owner, words};

/// Waiters of one lock from which it is a finding.
const MIN_WAITERS: u32 = 2;

/// Owners that are followed.
const MAX_CHAIN: usize = 8;

pub(super) fn write(records: &[ThreadRecord], report: &mut Report<'_>) {
    for (index, record) in records.iter().enumerate() {
        // The circle is told of by the first of its threads.
        if record.wait.is_on_circle() && is_least(records, index) {
            waits_in_circle(records, index, report);
        }
    }
    for record in records {
        let wait = &record.wait;
        let is_lock = wait.owner != Owner::Unknown && wait.kind != Kind::ThreadEnd;
        if is_lock && wait.is_first && wait.waiters >= MIN_WAITERS {
            lock_wait(records, record, report);
        }
    }
}

/// The threads of the circle that `start` is on, from it on.
fn circle(records: &[ThreadRecord], start: usize) -> impl Iterator<Item = (usize, &ThreadRecord)> {
    let step = move |at: &usize| records.get(*at)?.wait.next().filter(|next| *next != start);
    core::iter::successors(Some(start), step)
        .take(records.len())
        .filter_map(move |at| records.get(at).map(|record| (at, record)))
}

fn is_least(records: &[ThreadRecord], start: usize) -> bool {
    circle(records, start).all(|(at, _)| at >= start)
}

fn waits_in_circle(records: &[ThreadRecord], start: usize, report: &mut Report<'_>) {
    let members = || circle(records, start).map(|(_, record)| record);
    let count = members().count();
    let is_deadlock = members().all(|record| record.wait.is_deadlock);
    let mut text = Line::<1024>::new();
    if count == 1 {
        text.push("a thread waits for itself");
    } else {
        text.push_number(count as u64);
        text.push(" threads wait for each other");
    }
    text.push(if is_deadlock { ": " } else { ", until a timeout: " });
    let mut separator = "";
    for record in members() {
        text.push(separator);
        separator = "; ";
        words::write_record(&mut text, record);
        text.push(" waits for ");
        words::write_lock(&mut text, &record.wait);
        if record.wait.has_timeout {
            text.push(" (with a timeout)");
        }
    }
    text.push("; see their stacks in Threads");
    let code = if is_deadlock { FindingCode::Deadlock } else { FindingCode::LockWait };
    report.add_of(code, text.as_str(), members().map(|record| record.tid));
}

fn lock_wait(records: &[ThreadRecord], first: &ThreadRecord, report: &mut Report<'_>) {
    let mut text = Line::<1024>::new();
    text.push_number(u64::from(first.wait.waiters));
    text.push(" threads wait for ");
    words::write_lock(&mut text, &first.wait);
    let mut at = first.wait.next();
    for _ in 0..MAX_CHAIN {
        let Some(owner) = at.and_then(|at| records.get(at)) else { break };
        if is_on(owner, first.wait.address) && owner.wait.address == 0 {
            // Its call was read while it still waited.
            text.push(", which has just got it");
            at = None;
            break;
        }
        at = write_owner_state(&mut text, owner);
    }
    if at.is_some() {
        text.push(", …");
    }
    text.push("; see Threads");
    let address = first.wait.address;
    let waiters = records.iter().filter(|record| record.wait.address == address);
    let owner = Some(first.wait.owner_tid).filter(|tid| *tid != 0);
    // The owner first: it is the one to look at.
    let threads = owner.into_iter().chain(waiters.map(|record| record.tid));
    report.add_of(FindingCode::LockWait, text.as_str(), threads);
}

/// Whether a thread was listed as waiting on a futex.
fn is_on(record: &ThreadRecord, address: u64) -> bool {
    matches!(&record.kernel.call, Call::Made { arguments: [first, ..], .. } if *first == address)
}

/// What an owner does itself; whom it waits for, if the chain goes on.
fn write_owner_state<const N: usize>(text: &mut Line<N>, owner: &ThreadRecord) -> Option<usize> {
    text.push(", which ");
    if owner.wait.is_on_circle() {
        let is_deadlock = owner.wait.is_deadlock;
        text.push(if is_deadlock { "is in a deadlock" } else { "waits in a circle" });
        return None;
    }
    if owner.wait.owner != Owner::Unknown {
        text.push("waits for ");
        words::write_lock(text, &owner.wait);
        return owner.wait.next();
    }
    match &owner.kernel.call {
        Call::Made { number, arguments, .. } => {
            text.push("is in ");
            let _ = syscalls::write(text, *number, arguments);
        }
        Call::Running => text.push("runs"),
        Call::Fault => text.push("waits for a page of memory"),
        Call::Unknown => {
            text.push("is ");
            text.push(crate::model::state_name(owner.state));
        }
    }
    None
}
