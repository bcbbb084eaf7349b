//! The descendants of this process, as a tree.
//!
//! 1. /proc is listed once; of each process `stat` is read and (pid, parent)
//!    kept in the table. Kernel threads are no one's descendants here.
//! 2. The table is sorted by parent, so that siblings lie side by side.
//! 3. It is walked from this process down: to the first child, else to the
//!    next sibling, else up. Each entry remembers the one it was entered from
//!    and that it was, so the walk needs no stack of its own and ends whatever
//!    the table holds (pids may be reused during the scan).
//! 4. A process that is gone when its turn comes is skipped; its children hang
//!    on the ancestor above.
//!
//! Views nest [`MAX_DEPTH`] containers, two per level here: deeper processes
//! are listed at the last level, with their parent's pid, and counted.
//!
//! `/proc/PID/task/TID/children` would spare the scan, but is not reliable
//! while children come and go (proc_tid_children(5)) and depends on
//! CONFIG_PROC_CHILDREN.

use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::facts::Facts;
use super::snapshot::Snapshot;
use super::users::Users;
use super::{Scratch, not_readable};
use crate::model::{Event, MAX_DEPTH, Process, Value};
use crate::procfs::path::SmallPath;
use crate::procfs::{list, read, stat, status};
use crate::section::{SectionResult, SectionWriter, Stop};

/// A process of the scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pid: u32,
    parent_pid: u32,
    /// When it started: the pid's next owner is another process.
    start_ticks: Option<u64>,
    /// The entry from which the walk came here.
    from: Option<u32>,
    visited: bool,
}

impl Entry {
    /// For filling a table.
    pub(crate) const EMPTY: Self =
        Entry { pid: 0, parent_pid: 0, start_ticks: None, from: None, visited: false };
}

/// Levels of descendants that are shown nested, within the containers that
/// this section has open.
const MAX_LEVELS: usize = (MAX_DEPTH - 2) / 2;

/// Writes the blocks of all descendants of `own_pid` (as /proc knows it).
pub(super) fn write(
    facts: &Facts,
    own_pid: u32,
    scratch: &mut Scratch<'_>,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let proc_dir = match read::open_dir(CWD, c"/proc") {
        Ok(dir) => dir,
        Err(error) => return Ok(out.value("children", not_readable(error).as_str())?),
    };
    let scan = scan(proc_dir.as_fd(), own_pid, scratch);
    let table = scratch.table.get_mut(..scan.filled).unwrap_or_default();
    table.sort_unstable_by_key(|entry| (entry.parent_pid, entry.pid));
    let mut users = Users::new(facts);
    let mut blocks = Blocks::default();
    let mut walk = Walk::new(table, own_pid);
    while let Some((entry, level)) = walk.next() {
        let level = level.min(MAX_LEVELS);
        blocks.close_to(level, out)?;
        let Ok(process) = Snapshot::of_pid(proc_dir.as_fd(), entry.pid, scratch.bytes) else {
            continue;
        };
        if process.start_ticks != entry.start_ticks {
            continue;
        }
        blocks.begin_child(out)?;
        begin_process(proc_dir.as_fd(), &process, &mut users, scratch.bytes, out)?;
        blocks.opened();
        values(facts, &process, out)?;
    }
    blocks.close_to(0, out)?;
    said(&scan, &blocks, walk.too_deep, table_len(scratch), out)?;
    Ok(())
}

fn table_len(scratch: &Scratch<'_>) -> u64 {
    u64::try_from(scratch.table.len()).unwrap_or(u64::MAX)
}

/// What a reader must know of the tree above.
fn said(
    scan: &Scan,
    blocks: &Blocks,
    too_deep: u64,
    table_len: u64,
    out: &mut SectionWriter<'_>,
) -> Result<(), Stop> {
    if let Some(error) = scan.error {
        // Part of it may be shown: say it without using the blocks' key.
        let key = if blocks.shown == 0 { "children" } else { "more children" };
        out.value(key, not_readable(error).as_str())?;
    }
    out.value("descendants", blocks.shown)?;
    if too_deep > 0 {
        out.value("descendants nested too deep to show as such", too_deep)?;
    }
    if scan.limit_hit {
        out.value("process table full at (descendants may be missing)", table_len)?;
    }
    if scan.unreadable > 0 {
        out.value("processes not readable (hidepid)", scan.unreadable)?;
    }
    Ok(())
}

/// What became of the scan.
#[derive(Debug, Default)]
struct Scan {
    /// Entries of the table that are filled.
    filled: usize,
    /// There are more processes than the table holds.
    limit_hit: bool,
    /// Processes whose `stat` was refused.
    unreadable: u64,
    /// The scan ended early.
    error: Option<Errno>,
}

fn scan(proc_dir: BorrowedFd<'_>, own_pid: u32, scratch: &mut Scratch<'_>) -> Scan {
    let mut scan = Scan::default();
    let Scratch { table, bytes, dirents, limit_hit } = scratch;
    let listed = list::numbers(proc_dir, dirents, |pid| {
        if pid == own_pid {
            return ControlFlow::Continue(());
        }
        match Snapshot::of_pid(proc_dir, pid, bytes) {
            Ok(process) if process.flags & stat::KERNEL_THREAD != 0 => {}
            Ok(process) => {
                let Some(slot) = table.get_mut(scan.filled) else {
                    scan.limit_hit = true;
                    *limit_hit = true;
                    return ControlFlow::Break(());
                };
                let Snapshot { parent_pid, start_ticks, .. } = process;
                *slot = Entry { pid, parent_pid, start_ticks, ..Entry::EMPTY };
                scan.filled = scan.filled.saturating_add(1);
            }
            Err(Errno::ACCESS | Errno::PERM) => scan.unreadable = scan.unreadable.saturating_add(1),
            // Gone meanwhile.
            Err(Errno::NOENT | Errno::SRCH | Errno::INVAL) => {}
            // No descriptor, no memory: the next will fare no better.
            Err(error) => {
                scan.error = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = listed {
        scan.error = Some(error);
    }
    scan
}

/// The walk over a table that is sorted by (parent, pid).
struct Walk<'t> {
    table: &'t mut [Entry],
    root_pid: u32,
    /// The entry given last and its level, 1 for children of the root.
    at: Option<(usize, usize)>,
    /// How many entries lay below [`MAX_LEVELS`].
    too_deep: u64,
}

impl<'t> Walk<'t> {
    fn new(table: &'t mut [Entry], root_pid: u32) -> Self {
        Walk { table, root_pid, at: None, too_deep: 0 }
    }

    /// The next descendant, parents before children, and its level.
    fn next(&mut self) -> Option<(Entry, usize)> {
        let (index, from, level) = match self.at {
            None => (self.first_child(self.root_pid)?, None, 1),
            Some((at, level)) => self.after(at, level)?,
        };
        let entry = self.table.get_mut(index)?;
        entry.visited = true;
        entry.from = from.and_then(|index| u32::try_from(index).ok());
        self.at = Some((index, level));
        if level > MAX_LEVELS {
            self.too_deep = self.too_deep.saturating_add(1);
        }
        Some((*entry, level))
    }

    /// Index, origin and level of what comes after the entry at `at`.
    fn after(&self, at: usize, level: usize) -> Option<(usize, Option<usize>, usize)> {
        let entry = self.table.get(at)?;
        if let Some(child) = self.first_child(entry.pid) {
            return Some((child, Some(at), level.saturating_add(1)));
        }
        let (mut at, mut level) = (at, level);
        loop {
            let entry = self.table.get(at)?;
            let from = entry.from.and_then(|index| usize::try_from(index).ok());
            let next = at.saturating_add(1);
            let is_sibling = |next: &Entry| next.parent_pid == entry.parent_pid && !next.visited;
            if self.table.get(next).is_some_and(is_sibling) {
                return Some((next, from, level));
            }
            at = from?;
            level = level.saturating_sub(1);
        }
    }

    /// The first entry with this parent, unless the walk was there.
    fn first_child(&self, parent_pid: u32) -> Option<usize> {
        let index = self.table.partition_point(|entry| entry.parent_pid < parent_pid);
        let entry = self.table.get(index)?;
        (entry.parent_pid == parent_pid && !entry.visited).then_some(index)
    }
}

/// The containers that are open: processes, each with or without its list of
/// children.
#[derive(Debug, Default)]
struct Blocks {
    /// How many descendants are open, one inside the other.
    open: usize,
    /// Bit N: the list of children of the process at level N is open (level
    /// 0 is this process).
    lists: u32,
    /// How many were shown.
    shown: u64,
}

impl Blocks {
    /// The bit of a level. There are few: MAX_LEVELS is less than 32.
    fn bit(level: usize) -> u32 {
        u32::try_from(level).ok().and_then(|level| 1u32.checked_shl(level)).unwrap_or(0)
    }

    /// Closes processes until a new one would be at `level` (1 for children
    /// of this process); 0 closes everything.
    fn close_to(&mut self, level: usize, out: &mut SectionWriter<'_>) -> Result<(), Stop> {
        while self.open >= level.max(1) {
            self.close_list(out)?;
            out.event(&Event::Close)?;
            self.open = self.open.saturating_sub(1);
        }
        if level == 0 {
            self.close_list(out)?;
        }
        Ok(())
    }

    fn close_list(&mut self, out: &mut SectionWriter<'_>) -> Result<(), Stop> {
        let bit = Self::bit(self.open);
        if self.lists & bit != 0 {
            self.lists &= !bit;
            out.event(&Event::Close)?;
        }
        Ok(())
    }

    /// Opens the innermost process's list of children, if it is not.
    fn begin_child(&mut self, out: &mut SectionWriter<'_>) -> Result<(), Stop> {
        let bit = Self::bit(self.open);
        if self.lists & bit == 0 {
            self.lists |= bit;
            out.event(&Event::BeginBlocks { key: "children" })?;
        }
        Ok(())
    }

    fn opened(&mut self) {
        self.open = self.open.saturating_add(1);
        self.shown = self.shown.saturating_add(1);
    }
}

fn begin_process(
    proc_dir: BorrowedFd<'_>,
    process: &Snapshot,
    users: &mut Users,
    buffer: &mut [u8],
    out: &mut SectionWriter<'_>,
) -> Result<(), Stop> {
    let mut path = SmallPath::of_number(process.pid, "status");
    let uid = path
        .as_c_str()
        .and_then(|path| read::file(proc_dir, path, buffer).ok())
        .and_then(|content| status::parse(content.bytes).uid);
    out.event(&Event::BeginProcess(Process {
        pid: process.pid,
        parent_pid: process.parent_pid,
        name: &process.name,
        uid,
        user: uid.and_then(|uid| users.name(uid, buffer)),
        state: process.state,
    }))
}

fn values(facts: &Facts, process: &Snapshot, out: &mut SectionWriter<'_>) -> Result<(), Stop> {
    if let Some(age_ns) = process.age_ns(facts) {
        out.value("uptime", Value::DurationNs(age_ns))?;
    }
    if !process.is_dead() {
        out.value("threads", process.threads)?;
        if let Some(bytes) = process.resident_bytes(facts) {
            out.value("rss", Value::ByteCount(bytes))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn table(pairs: &[(u32, u32)]) -> Vec<Entry> {
        let mut table: Vec<_> = pairs
            .iter()
            .map(|&(pid, parent_pid)| Entry { pid, parent_pid, ..Entry::EMPTY })
            .collect();
        table.sort_unstable_by_key(|entry| (entry.parent_pid, entry.pid));
        table
    }

    fn walked(pairs: &[(u32, u32)], root: u32) -> Vec<(u32, usize)> {
        let mut table = table(pairs);
        let mut walk = Walk::new(&mut table, root);
        core::iter::from_fn(|| walk.next()).map(|(entry, level)| (entry.pid, level)).collect()
    }

    #[test]
    fn parents_come_before_children() {
        let pairs = [(1, 0), (20, 10), (30, 20), (31, 20), (21, 10), (40, 31), (9, 1), (8, 9)];
        assert_eq!(walked(&pairs, 10), [(20, 1), (30, 2), (31, 2), (40, 3), (21, 1)]);
        assert_eq!(walked(&pairs, 40), []);
        assert_eq!(walked(&[], 10), []);
    }

    #[test]
    fn cycles_end() {
        // 20 → 30 → 20 by reuse of pids, and one that is its own parent.
        assert_eq!(walked(&[(20, 10), (30, 20), (20, 30)], 10), [(20, 1), (30, 2), (20, 3)]);
        assert_eq!(walked(&[(20, 10), (5, 5)], 5), [(5, 1)]);
    }

    proptest! {
        #[test]
        fn every_table_is_walked_once(
            pairs in proptest::collection::vec((0u32..12, 0u32..12), 0..40),
            root in 0u32..12,
        ) {
            prop_assert!(walked(&pairs, root).len() <= pairs.len());
        }

        #[test]
        fn every_descendant_is_walked(parents in proptest::collection::vec(any::<prop::sample::Index>(), 1..60)) {
            // Process N + 2 has a parent among 1..N + 2: all descend from 1.
            let pairs: Vec<(u32, u32)> = parents.iter().enumerate()
                .map(|(n, parent)| (n as u32 + 2, parent.index(n + 1) as u32 + 1))
                .collect();
            let walked = walked(&pairs, 1);
            prop_assert_eq!(walked.len(), pairs.len());
            let mut levels = std::collections::BTreeMap::from([(1, 0)]);
            for (pid, level) in walked {
                let parent = pairs[pid as usize - 2].1;
                prop_assert_eq!(levels.get(&parent), Some(&(level - 1)));
                levels.insert(pid, level);
            }
        }
    }
}
