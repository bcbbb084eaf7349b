//! Two samples of every thread: what it did between them.
//!
//! 1. After the first capture: a fingerprint of each thread's stack, and the CPU
//!    time it has had.
//! 2. The report rests for the interval.
//! 3. Before the second capture: the CPU time again; after it: is the stack the
//!    same?
//!
//! What is printed is the second stack. Both captures wake a thread for some
//! microseconds, outside the time that is counted but for the way back to sleep.
//!
//! Limits: of the thread that is interrupted by the report nothing is said. A thread that left and came back in between with an equal stack counts
//! as the same; its CPU time tells. The innermost frame is the same if it is in the
//! same function. Of stacks of which one was cut, and that differ in length only, nobody
//! knows. Fingerprints are 128 bits of FNV-1a.

use rustix::fd::{AsFd, BorrowedFd};

use crate::model::{Between, Movement, StackEnd};
use crate::procfs::{read, schedstat};
use crate::stacks::collect::FrameRecord;
use crate::sys::clock;
use crate::sys::memory::Zeroable;
use crate::threads::{Listed, ThreadRecord, facts};

/// What a capture costs a thread on its way back to sleep, and more: below this,
/// or below a hundredth of the interval, it had no CPU time.
const NOISE_NS: u64 = 200_000;

/// What is remembered of one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    tid: u32,
    frame_count: u32,
    pc: u64,
    callers: [u64; 2],
    is_whole: bool,
    /// CPU time until `at_ns`; [`UNKNOWN`] if it could not be read.
    cpu_ns: u64,
    /// Time that it was ready to run and had no CPU.
    wait_ns: u64,
    at_ns: u64,
}

const UNKNOWN: u64 = u64::MAX;

#[expect(unsafe_code, reason = "numbers only")]
// SAFETY: all bytes zero is a sample of no thread.
unsafe impl Zeroable for Sample {}

/// The first sample of all threads.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) places: &'static mut [Sample],
    pub(crate) used: usize,
}

impl Samples {
    /// After the first capture.
    pub(crate) fn remember(&mut self, records: &[ThreadRecord], frames: &[FrameRecord]) {
        let task = read::open_dir(rustix::fs::CWD, c"/proc/self/task").ok();
        self.used = 0;
        for (place, record) in self.places.iter_mut().zip(records) {
            let (pc, callers) = fingerprint(record.frames(frames));
            let time = cpu_time(task.as_ref().map(AsFd::as_fd), record.tid);
            *place = Sample {
                tid: record.tid,
                frame_count: record.frame_count,
                pc,
                callers,
                is_whole: record.stack_end == StackEnd::Complete,
                cpu_ns: time.map_or(UNKNOWN, |(cpu_ns, _)| cpu_ns),
                wait_ns: time.map_or(0, |(_, wait_ns)| wait_ns),
                at_ns: clock::monotonic_ns(),
            };
            self.used = self.used.saturating_add(1);
        }
        let used = self.places.get_mut(..self.used).unwrap_or_default();
        used.sort_unstable_by_key(|sample| sample.tid);
    }

    /// Before the second capture: the CPU time since the first.
    pub(crate) fn read_cpu(&self, records: &mut [ThreadRecord]) {
        let task = read::open_dir(rustix::fs::CWD, c"/proc/self/task").ok();
        for record in records {
            // In the handler it composes the report: its CPU time is the report's.
            if record.is_triggering {
                continue;
            }
            let Some(first) = self.of(record.tid) else { continue };
            let now = cpu_time(task.as_ref().map(AsFd::as_fd), record.tid);
            let now = now.filter(|_| first.cpu_ns != UNKNOWN);
            record.between = Some(Between {
                movement: None,
                cpu_ns: now.map(|(cpu_ns, _)| cpu_ns.saturating_sub(first.cpu_ns)),
                cpu_wait_ns: now.map(|(_, wait_ns)| wait_ns.saturating_sub(first.wait_ns)),
                interval_ns: clock::monotonic_ns().saturating_sub(first.at_ns),
            });
        }
    }

    /// After the second capture. `same_function` compares two addresses.
    pub(crate) fn compare(
        &self,
        records: &mut [ThreadRecord],
        frames: &[FrameRecord],
        same_function: &mut dyn FnMut(u64, u64) -> bool,
    ) {
        for record in records {
            let frames = record.frames(frames);
            let (Some(first), Some(mut between)) = (self.of(record.tid), record.between) else {
                continue;
            };
            if frames.is_empty() || first.frame_count == 0 {
                // Nothing to compare, but the CPU time is known.
                continue;
            }
            let (pc, callers) = fingerprint(frames);
            let is_same_place = first.pc == pc || same_function(first.pc, pc);
            let is_as_deep = first.frame_count == record.frame_count;
            let are_whole = first.is_whole && record.stack_end == StackEnd::Complete;
            if is_same_place && !is_as_deep && !are_whole {
                // The rest of the shorter one may be the same.
                continue;
            }
            let is_same = is_same_place && is_as_deep && first.callers == callers;
            between.movement = Some(match between.cpu_ns {
                _ if !is_same => Movement::Moved,
                Some(cpu_ns) if cpu_ns >= NOISE_NS.max(between.interval_ns / 100) => {
                    Movement::SameStackBurningCpu
                }
                Some(_) => Movement::SameStackNoCpu,
                None => Movement::SameStack,
            });
            record.between = Some(between);
        }
    }

    /// Threads of the first sample that are not among `records`; `None` if those are
    /// not all there are.
    pub(crate) fn ended(&self, listed: &Listed, records: &[ThreadRecord]) -> Option<usize> {
        if listed.error.is_some() || listed.total > records.len() as u64 {
            return None;
        }
        let still_there = records.iter().filter(|record| self.of(record.tid).is_some()).count();
        Some(self.used.saturating_sub(still_there))
    }

    fn of(&self, tid: u32) -> Option<&Sample> {
        let used = self.places.get(..self.used)?;
        let at = used.binary_search_by_key(&tid, |sample| sample.tid).ok()?;
        used.get(at)
    }
}

/// The innermost address, and what stands for all its callers.
fn fingerprint(frames: &[FrameRecord]) -> (u64, [u64; 2]) {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut pcs = frames.iter().map(|frame| frame.pc);
    let innermost = pcs.next().unwrap_or(0);
    let mut hash = OFFSET;
    for pc in pcs {
        for byte in pc.to_ne_bytes() {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    (innermost, [hash as u64, (hash >> 64) as u64])
}

/// The CPU time of a thread until now, and the time that it waited for a CPU until it
/// last got one (0 where the kernel does not count it).
fn cpu_time(task: Option<BorrowedFd<'_>>, tid: u32) -> Option<(u64, u64)> {
    let cpu_ns = clock::thread_cpu_ns(tid)?;
    let mut bytes = [0; schedstat::MAX_LINE_BYTES];
    let stat = task.and_then(|task| facts::schedstat(task, tid, &mut bytes));
    Some((cpu_ns, stat.map_or(0, |stat| stat.wait_ns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn samples(count: usize) -> Samples {
        let empty = Sample {
            tid: 0,
            frame_count: 0,
            pc: 0,
            callers: [0; 2],
            is_whole: false,
            cpu_ns: 0,
            wait_ns: 0,
            at_ns: 0,
        };
        Samples { places: Box::leak(std::vec![empty; count].into_boxed_slice()), used: 0 }
    }

    fn record(tid: u32, first_frame: u32, frame_count: u32) -> ThreadRecord {
        let mut record = ThreadRecord::EMPTY;
        (record.tid, record.first_frame, record.frame_count) = (tid, first_frame, frame_count);
        record
    }

    fn frames(pcs: &[u64]) -> Vec<FrameRecord> {
        pcs.iter().map(|pc| FrameRecord::at(*pc)).collect()
    }

    /// The mark of one thread whose stacks were `first` and `second`.
    fn compared(first: &[u64], second: &[u64], cpu_ns: Option<u64>) -> Option<Movement> {
        compared_ending(first, second, cpu_ns, [StackEnd::Complete; 2])
    }

    fn compared_ending(
        first: &[u64],
        second: &[u64],
        cpu_ns: Option<u64>,
        ends: [StackEnd; 2],
    ) -> Option<Movement> {
        let mut samples = samples(4);
        let mut before = record(7, 0, first.len() as u32);
        before.stack_end = ends[0];
        samples.remember(&[before], &frames(first));
        let mut records = [record(7, 0, second.len() as u32), record(8, 0, 1)];
        records[0].stack_end = ends[1];
        records[0].is_triggering = true;
        samples.read_cpu(&mut records);
        assert!(records[0].between.is_none(), "thread 7 is at the report");
        records[0].is_triggering = false;
        samples.read_cpu(&mut records);
        assert!(records[1].between.is_none(), "thread 8 is new");
        records[0].between =
            Some(Between { movement: None, cpu_ns, cpu_wait_ns: None, interval_ns: 100_000_000 });
        samples.compare(&mut records, &frames(second), &mut |a, b| a / 100 == b / 100);
        let mut listed = Listed { count: 1, total: 1, ..Listed::default() };
        assert_eq!(samples.ended(&listed, &records[1..]), Some(1));
        listed.total = 2;
        assert_eq!(samples.ended(&listed, &records[1..]), None, "one was not listed");
        records[0].between.and_then(|between| between.movement)
    }

    #[test]
    fn a_thread_moved_or_slept_or_burned() {
        let same = [110, 2, 3];
        assert_eq!(compared(&same, &same, Some(0)), Some(Movement::SameStackNoCpu));
        assert_eq!(compared(&same, &same, Some(999_999)), Some(Movement::SameStackNoCpu));
        assert_eq!(compared(&same, &same, Some(1_000_000)), Some(Movement::SameStackBurningCpu));
        assert_eq!(compared(&same, &same, None), Some(Movement::SameStack));
        assert_eq!(
            compared(&same, &[120, 2, 3], Some(90_000_000)),
            Some(Movement::SameStackBurningCpu)
        );
        assert_eq!(compared(&same, &[210, 2, 3], Some(0)), Some(Movement::Moved));
        assert_eq!(compared(&same, &[110, 3, 2], Some(0)), Some(Movement::Moved));
        assert_eq!(compared(&same, &[110, 2], Some(0)), Some(Movement::Moved));
        assert_eq!(compared(&same, &[], Some(0)), None, "no stack");
    }

    #[test]
    fn a_stack_that_was_cut_elsewhere_has_not_moved_for_that() {
        let cut = StackEnd::WindowFull { window_bytes: 16384 };
        let whole = StackEnd::Complete;
        for ends in [[cut, whole], [whole, cut], [cut, cut]] {
            let compared =
                |first: &[u64], second: &[u64]| compared_ending(first, second, Some(0), ends);
            assert_eq!(compared(&[110, 2, 3], &[110, 2]), None);
            assert_eq!(compared(&[110, 2], &[120, 2, 3]), None);
            assert_eq!(compared(&[110, 2, 3], &[210, 2]), Some(Movement::Moved));
            assert_eq!(compared(&[110, 2, 3], &[110, 2, 4]), Some(Movement::Moved));
            assert_eq!(compared(&[110, 2, 3], &[110, 2, 3]), Some(Movement::SameStackNoCpu));
        }
    }

    #[test]
    fn our_own_cpu_time_is_read() {
        let task = read::open_dir(rustix::fs::CWD, c"/proc/self/task").unwrap();
        let tid = crate::sys::gettid();
        let own = || cpu_time(Some(task.as_fd()), tid).unwrap().0;
        let before = own();
        let mut after = before;
        while after == before {
            after = own();
        }
        assert!(after > before);
        assert_eq!(cpu_time(Some(task.as_fd()), u32::MAX >> 4), None);
    }
}
