//! Stacks that no signal brought: of threads that gave no answer, and the rest of
//! those that a window did not hold.
//!
//! 1. A thread that blocks the signal, sleeps uninterruptibly, is excluded, or did
//!    not answer for another reason: if it is parked, its stack is read where it is
//!    ([`super::passive`]). It stays what it was called: nobody asked it, or it did
//!    not answer.
//! 2. A stack that ends where its window ended (it is deep, or goes on behind an
//!    alternate stack): if the thread is parked now, and its stack begins with the
//!    very frames that were captured, the others are its callers. They carry the
//!    mark [`Certainty::Inferred`](crate::model::Certainty::Inferred): the thread
//!    may have left and come back since.
//!
//! A thread is tried once; one that runs keeps what it has. One that was not tried,
//! for lack of time or of room for its frames, says so, and the report is not complete.
//!
//! Limits: those of the passive capture. Where /proc does not tell where a thread
//! stands (the process is not dumpable), it has no stack, and says why.

use rustix::fd::{AsFd, BorrowedFd};

use super::collect::{Collector, FrameRecord};
use super::passive::capture::{Frames, NotParked, capture};
use super::unwind::Found;
use crate::model::{Capture, Certainty, StackEnd};
use crate::procfs::read;
use crate::sys::{clock, futex};
use crate::threads::{ThreadRecord, WhileParked};

/// The system call's instruction: a call that is to be restarted stands before it
/// when a handler runs, behind it while the thread sleeps.
const SYSCALL_BYTES: u64 = 2;

/// How often threads that still run after their capture are looked at.
const ROUNDS: u32 = 5;

/// Between two looks: longer than a thread needs to go back to sleep, on a machine
/// that is not busy.
const REST_NS: u64 = 1_000_000;

/// Takes the frames into a free part of the arena.
struct Free<'a> {
    records: &'a mut [FrameRecord],
    count: usize,
}

impl Frames for Free<'_> {
    fn begin(&mut self) {
        self.count = 0;
    }

    fn frame(&mut self, found: Found) -> bool {
        let Some(record) = self.records.get_mut(self.count) else { return false };
        *record = FrameRecord::of(&found);
        self.count = self.count.saturating_add(1);
        true
    }
}

impl Collector<'_> {
    /// See the module's page.
    pub(crate) fn run_parked(
        &mut self,
        threads: &mut [ThreadRecord],
        is_current: &dyn Fn() -> bool,
    ) {
        if !threads.iter().any(|thread| is_silent(thread) || is_cut(thread)) {
            return;
        }
        let task = match read::open_dir(rustix::fs::CWD, c"/proc/self/task") {
            Ok(task) => task,
            Err(error) => {
                for thread in threads.iter_mut().filter(|thread| is_silent(thread)) {
                    thread.while_parked = WhileParked::of(NotParked::Refused(error));
                }
                return;
            }
        };
        for round in 1..=ROUNDS {
            let mut still_running = false;
            for thread in &mut *threads {
                // A silent one was not woken by us: it runs, or it does not.
                let is_wanted = round == 1 && is_silent(thread);
                if is_wanted || is_cut(thread) {
                    still_running |= !self.try_parked(task.as_fd(), thread, is_current);
                }
            }
            let now_ns = clock::monotonic_ns();
            if !still_running || round == ROUNDS || now_ns >= self.deadline_ns {
                break;
            }
            futex::rest(REST_NS);
        }
    }

    /// Reads one thread's stack. `false`: another try may bring more.
    fn try_parked(
        &mut self,
        task: BorrowedFd<'_>,
        thread: &mut ThreadRecord,
        is_current: &dyn Fn() -> bool,
    ) -> bool {
        let is_silent = is_silent(thread);
        let mut not_read = |reason: WhileParked| {
            if is_silent {
                thread.while_parked = reason;
            }
        };
        if clock::monotonic_ns() >= self.deadline_ns || !is_current() {
            not_read(WhileParked::NoTime);
            return true;
        }
        let (used, rest) =
            self.frames.records.split_at_mut_checked(self.frames.used).unwrap_or_default();
        let limit = (self.frames.max_per_thread as usize).min(rest.len());
        if limit == 0 {
            not_read(WhileParked::NoRoom);
            return true;
        }
        let mut free = Free { records: rest.get_mut(..limit).unwrap_or_default(), count: 0 };
        let (walker, memory) = (&mut *self.walker, &mut *self.passive);
        let parked = match capture(task, thread.tid, memory, walker, self.table, &mut free) {
            Ok(parked) => parked,
            Err(reason) => {
                not_read(WhileParked::of(reason));
                return is_silent || matches!(reason, NotParked::Refused(_));
            }
        };
        let taken = free.records.get_mut(..free.count).unwrap_or_default();
        if is_silent {
            thread.while_parked = WhileParked::Read;
        } else {
            let captured = thread.frames(used);
            if !continues(captured, taken) {
                // It may be in its handler's return yet; if not, this is all there is.
                return agree(captured, taken);
            }
            for (place, known) in taken.iter_mut().zip(captured) {
                *place = *known;
            }
            for place in taken.iter_mut().skip(captured.len()) {
                let found = Found { certainty: Certainty::Inferred, ..place.found() };
                *place = FrameRecord::of(&found);
            }
            if parked.end == StackEnd::Complete {
                thread.capture = Capture::Ok;
            }
        }
        thread.first_frame = self.frames.used as u32;
        thread.frame_count = free.count as u32;
        thread.stack_end = match parked.end {
            StackEnd::FrameLimit { .. } => StackEnd::FrameLimit { frames: free.count as u32 },
            end => end,
        };
        self.frames.used = self.frames.used.saturating_add(free.count);
        true
    }
}

/// It gave no answer, and may have a stack all the same.
fn is_silent(thread: &ThreadRecord) -> bool {
    thread.frame_count == 0
        && matches!(
            thread.capture,
            Capture::Timeout
                | Capture::SignalBlocked
                | Capture::Uninterruptible
                | Capture::QueueFull
                | Capture::NoSlot
                | Capture::HandlerReplaced
                | Capture::Refused
                | Capture::Excluded
        )
}

/// Its stack ends where its window ended.
fn is_cut(thread: &ThreadRecord) -> bool {
    thread.capture == Capture::Partial
        && matches!(thread.stack_end, StackEnd::WindowFull { .. } | StackEnd::Unreadable)
}

/// Whether `taken` begins with all of `captured`, and goes on.
fn continues(captured: &[FrameRecord], taken: &[FrameRecord]) -> bool {
    !captured.is_empty() && taken.len() > captured.len() && agree(captured, taken)
}

/// Whether one begins with the other.
fn agree(captured: &[FrameRecord], taken: &[FrameRecord]) -> bool {
    let is_same = |(index, (old, new)): (usize, (&FrameRecord, &FrameRecord))| {
        let restarts = index == 0 && old.pc.wrapping_add(SYSCALL_BYTES) == new.pc;
        (old.pc == new.pc || restarts) && old.found().is_signal_frame == new.found().is_signal_frame
    };
    captured.iter().zip(taken).enumerate().all(is_same)
}

impl WhileParked {
    fn of(reason: NotParked) -> Self {
        match reason {
            NotParked::Running => WhileParked::Running,
            NotParked::Ran => WhileParked::Ran,
            NotParked::Refused(error) => WhileParked::Refused(error.raw_os_error() as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn frames(pcs: &[u64]) -> Vec<FrameRecord> {
        pcs.iter().map(|pc| FrameRecord::at(*pc)).collect()
    }

    /// What became of a thread that blocks the signal and is parked in a call.
    fn outcome(deadline_ns: u64, room: usize) -> ThreadRecord {
        use crate::signal::capture::Slots;
        use crate::stacks::collect::{Collector, Frames};
        use crate::stacks::modules::Table;
        use crate::stacks::passive::capture::PassiveMemory;
        use crate::stacks::unwind::Walker;

        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let parked = std::thread::spawn(move || {
            ready.send(crate::sys::gettid()).unwrap();
            let _closed = wait.recv();
        });
        let mut record = ThreadRecord::EMPTY;
        record.tid = is_ready.recv().unwrap();
        record.capture = Capture::SignalBlocked;
        let table = Table::collect();
        let records = std::vec![FrameRecord::at(0); room].leak();
        let mut frames = Frames { records, used: 0, max_per_thread: 64 };
        let (mut walker, mut passive) = (Walker::new(), PassiveMemory::new());
        let mut collector = Collector {
            bank: 0,
            slots: &Slots { slots: &[], answers: core::sync::atomic::AtomicU32::new(0) },
            flights: &mut [],
            walker: &mut walker,
            passive: &mut passive,
            table: &table,
            frames: &mut frames,
            thread_deadline_ns: 0,
            deadline_ns,
        };
        // It may be on its way into the call.
        loop {
            collector.run_parked(core::slice::from_mut(&mut record), &|| true);
            if !matches!(record.while_parked, WhileParked::Running | WhileParked::Ran) {
                break;
            }
            std::thread::yield_now();
        }
        drop(go);
        parked.join().unwrap();
        record
    }

    #[test]
    fn a_stack_that_a_limit_keeps_from_being_read_says_so() {
        let read = outcome(u64::MAX, 64);
        assert_eq!((read.while_parked, read.capture), (WhileParked::Read, Capture::SignalBlocked));
        assert!(read.frame_count > 1 && !read.while_parked.is_limit(), "{read:?}");
        for (deadline_ns, room, expected) in
            [(0, 64, WhileParked::NoTime), (u64::MAX, 0, WhileParked::NoRoom)]
        {
            let kept = outcome(deadline_ns, room);
            assert_eq!((kept.while_parked, kept.frame_count), (expected, 0));
            assert!(kept.while_parked.is_limit());
        }
    }

    #[test]
    fn only_a_stack_that_begins_with_what_was_captured_continues_it() {
        let captured = frames(&[10, 20, 30]);
        for (taken, expected) in [
            (&[10, 20, 30, 40][..], true),
            (&[12, 20, 30, 40, 50], true),
            (&[11, 20, 30, 40], false),
            (&[10, 22, 30, 40], false),
            (&[10, 20, 31, 40], false),
            (&[10, 20, 30], false),
            (&[10, 20], false),
            (&[], false),
        ] {
            assert_eq!(continues(&captured, &frames(taken)), expected, "{taken:?}");
        }
        assert!(!continues(&[], &frames(&[10])));
    }

    #[test]
    fn a_signal_frame_is_compared_as_such() {
        let at = |pc, is_signal_frame| {
            FrameRecord::of(&Found {
                pc,
                certainty: Certainty::Exact,
                is_signal_frame,
                is_interrupted: is_signal_frame,
            })
        };
        assert!(continues(&[at(1, true)], &[at(1, true), at(2, false)]));
        assert!(!continues(&[at(1, false)], &[at(1, true), at(2, false)]));
    }
}
