//! Collects every thread's stack: the supervisor's side of the capture.
//!
//! 1. Threads are listed and described from /proc ([`crate::threads`]).
//! 2. Those that can answer are sent the capture signal, as many at a time as
//!    there are slots.
//! 3. Answers are unwound as they come, from the copied window; the slot goes
//!    to the next thread.
//! 4. A thread that does not answer within its deadline is given up; if its
//!    handler is copying just then, its slot stays quarantined. One that sleeps
//!    uninterruptibly all the while is given up earlier: it cannot answer.
//!
//! Limits: the arena's threads and frames, the slots, the deadlines. Each that
//! is hit is in the thread's block or in the end block.

use rustix::fd::AsFd;

use crate::model::{Capture, StackEnd};
use crate::procfs::{read, stat};
use crate::protocol::slots::{Answer, Token};
use crate::signal::capture::{self, Slots, Snapshot};
use crate::stacks::modules::Table;
use crate::stacks::unwind::{Found, Walker};
use crate::stacks::window::Window;
use crate::sys::memory::Zeroable;
use crate::sys::signal::Mask;
use crate::sys::{clock, futex};
use crate::threads::{ThreadRecord, facts};

/// How often threads that have not answered are looked at: have they exited?
const LOOK_NS: u64 = 5_000_000;

/// The part of its deadline (1 / 2^N) after which a thread that has slept
/// uninterruptibly since it was asked is given up.
const UNINTERRUPTIBLE_SHIFT: u32 = 2;

/// Room for a `stat`: 52 numbers, most of them short, and a name.
const STAT_BYTES: usize = 512;

/// One frame in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRecord {
    pub(crate) pc: u64,
    flags: u64,
}

#[expect(unsafe_code, reason = "numbers only")]
// SAFETY: all bytes zero is a frame at 0.
unsafe impl Zeroable for FrameRecord {}

const FLAG_FRAME_POINTER: u64 = 1;
const FLAG_INFERRED: u64 = 2;
const FLAG_SIGNAL_FRAME: u64 = 4;
const FLAG_INTERRUPTED: u64 = 8;

impl FrameRecord {
    #[cfg(test)]
    pub(crate) fn at(pc: u64) -> Self {
        FrameRecord { pc, flags: 0 }
    }

    pub(crate) fn of(found: &Found) -> Self {
        use crate::model::Certainty;
        let mut flags = match found.certainty {
            Certainty::Exact => 0,
            Certainty::FramePointer => FLAG_FRAME_POINTER,
            Certainty::Inferred => FLAG_INFERRED,
        };
        if found.is_signal_frame {
            flags |= FLAG_SIGNAL_FRAME;
        }
        if found.is_interrupted {
            flags |= FLAG_INTERRUPTED;
        }
        FrameRecord { pc: found.pc, flags }
    }

    pub(crate) fn found(&self) -> Found {
        use crate::model::Certainty;
        Found {
            pc: self.pc,
            certainty: if self.flags & FLAG_FRAME_POINTER != 0 {
                Certainty::FramePointer
            } else if self.flags & FLAG_INFERRED != 0 {
                Certainty::Inferred
            } else {
                Certainty::Exact
            },
            is_signal_frame: self.flags & FLAG_SIGNAL_FRAME != 0,
            is_interrupted: self.flags & FLAG_INTERRUPTED != 0,
        }
    }
}

/// The frames of all threads of one report, one after the other.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) records: &'static mut [FrameRecord],
    pub(crate) used: usize,
    pub(crate) max_per_thread: u32,
}

impl Frames {
    /// Keeps the return addresses of a stack that somebody else has walked.
    /// `None`: there is no room.
    pub(crate) fn add(&mut self, addresses: &[u64]) -> Option<AddedStack> {
        let count = addresses.len().min(self.max_per_thread as usize);
        let first = self.used;
        let places = self.records.get_mut(first..first.checked_add(count)?)?;
        for (place, address) in places.iter_mut().zip(addresses) {
            *place = FrameRecord { pc: *address, flags: 0 };
        }
        self.used = first.saturating_add(count);
        Some(AddedStack {
            first_frame: u32::try_from(first).ok()?,
            frame_count: count as u32,
            left_out: addresses.len().saturating_sub(count) as u64,
        })
    }
}

/// A stack in the arena that is no thread's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddedStack {
    first_frame: u32,
    frame_count: u32,
    /// Frames beyond a stack's limit.
    pub(crate) left_out: u64,
}

impl AddedStack {
    /// To be shown like a thread's.
    pub(crate) fn record(self) -> ThreadRecord {
        let AddedStack { first_frame, frame_count, .. } = self;
        let mut record = ThreadRecord::EMPTY;
        (record.first_frame, record.frame_count) = (first_frame, frame_count);
        record
    }
}

/// One slot's occupation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    thread: u32,
    token_bits: u32,
    deadline_ns: u64,
    /// How often the thread had been put on a CPU when it was first seen to sleep
    /// uninterruptibly; 0: not seen.
    asleep_count: u64,
    is_used: u64,
}

#[expect(unsafe_code, reason = "numbers only")]
// SAFETY: all bytes zero is an unused flight.
unsafe impl Zeroable for Flight {}

/// What the collection needs.
pub(crate) struct Collector<'a> {
    pub(crate) bank: usize,
    pub(crate) slots: &'a Slots,
    pub(crate) flights: &'a mut [Flight],
    pub(crate) walker: &'a mut Walker,
    #[cfg(feature = "passive")]
    pub(crate) passive: &'a mut crate::stacks::passive::capture::PassiveMemory,
    pub(crate) table: &'a Table,
    pub(crate) frames: &'a mut Frames,
    /// Per thread, in nanoseconds.
    pub(crate) thread_deadline_ns: u64,
    /// For all, CLOCK_MONOTONIC.
    pub(crate) deadline_ns: u64,
}

/// Facts for the end block.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Collected {
    pub(crate) longest_capture_ns: u64,
    pub(crate) longest_capture_tid: u32,
}

impl Collected {
    /// The longer of two.
    pub(crate) fn longer(self, other: Self) -> Self {
        if other.longest_capture_ns > self.longest_capture_ns { other } else { self }
    }
}

impl Collector<'_> {
    /// Captures and unwinds all `threads` that are still
    /// [`Capture::NotBuilt`] (not yet judged otherwise).
    pub(crate) fn run(
        &mut self,
        threads: &mut [ThreadRecord],
        is_current: &dyn Fn() -> bool,
    ) -> Collected {
        let mut collected = Collected::default();
        if !threads.iter().any(ThreadRecord::wants_capture) {
            return collected;
        }
        if !capture::is_in_place() && !self.is_chained() {
            for thread in threads.iter_mut().filter(|thread| thread.wants_capture()) {
                thread.capture = Capture::HandlerReplaced;
            }
            return collected;
        }
        let mut next = 0_usize;
        loop {
            let seen = self.slots.answers.load(core::sync::atomic::Ordering::Acquire);
            let mut in_flight = self.harvest(threads, &mut collected);
            let mut starved = false;
            while let Some(thread) = threads.get_mut(next) {
                if thread.wants_capture() && !self.launch(next, thread, &mut starved) {
                    break;
                }
                next = next.saturating_add(1);
            }
            in_flight |= self.flights.iter().any(|flight| flight.is_used != 0);
            let now = clock::monotonic_ns();
            if now >= self.deadline_ns || !is_current() {
                self.give_up(threads, next);
                break;
            }
            if starved && !in_flight {
                // Every slot is quarantined by a handler that never ended.
                for thread in threads.iter_mut().skip(next).filter(|t| t.wants_capture()) {
                    thread.capture = Capture::NoSlot;
                }
                break;
            }
            if !in_flight && next >= threads.len() {
                break;
            }
            let left = self.deadline_ns.saturating_sub(now);
            futex::wait(&self.slots.answers, seen, Some(left.min(LOOK_NS)));
        }
        collected
    }

    /// Ends every stack where it enters an object that can be unloaded: some were
    /// while the stacks were taken, so nobody knows whose code that was.
    pub(crate) fn cut(&mut self, threads: &mut [ThreadRecord]) {
        for thread in threads {
            let frames = thread.frames(self.frames.records);
            let is_believed = |frame: &FrameRecord| {
                let found = self.table.find(frame.found().lookup_address());
                found.is_some_and(|(_, module)| module.is_permanent)
            };
            let Some(at) = frames.iter().position(|frame| !is_believed(frame)) else { continue };
            thread.frame_count = (at as u32).saturating_add(1);
            thread.stack_end = StackEnd::Unloaded;
            if thread.capture == Capture::Ok {
                thread.capture = Capture::Partial;
            }
        }
    }

    /// The thread that is interrupted by the report itself.
    pub(crate) fn own(&mut self, thread: &mut ThreadRecord, snapshot: &Snapshot) {
        self.unwind(thread, snapshot);
    }

    /// Sends the signal to one thread. `false`: no slot is free.
    fn launch(&mut self, index: usize, thread: &mut ThreadRecord, starved: &mut bool) -> bool {
        let now = clock::monotonic_ns();
        for (slot_index, flight) in self.flights.iter_mut().enumerate() {
            if flight.is_used != 0 {
                continue;
            }
            let Some(slot) = self.slots.slots.get(slot_index) else { continue };
            let Some(token) = slot.request(slot_index as u8, thread.tid) else { continue };
            match capture::send(self.bank, token, thread.tid) {
                Ok(()) => {
                    *flight = Flight {
                        thread: index as u32,
                        token_bits: token.to_bits(),
                        deadline_ns: now.saturating_add(self.thread_deadline_ns),
                        asleep_count: 0,
                        is_used: 1,
                    };
                }
                Err(error) => {
                    slot.withdraw(token);
                    thread.capture = match error {
                        libc::ESRCH => Capture::Exited,
                        libc::EAGAIN => Capture::QueueFull,
                        _ => Capture::Refused,
                    };
                }
            }
            return true;
        }
        *starved = true;
        false
    }

    /// Takes what has come, gives up what is late. Whether any is still open.
    fn harvest(&mut self, threads: &mut [ThreadRecord], collected: &mut Collected) -> bool {
        let now = clock::monotonic_ns();
        let mut open = false;
        for slot_index in 0..self.flights.len() {
            let Some(flight) = self.flights.get(slot_index).copied() else { break };
            if flight.is_used == 0 {
                continue;
            }
            let Some(slot) = self.slots.slots.get(slot_index) else { continue };
            let Some(thread) = threads.get_mut(flight.thread as usize) else { continue };
            let token = Token::from_bits(flight.token_bits);
            let is_late = now >= flight.deadline_ns;
            // Not for each look at each slot: it is a system call.
            let is_slow = now.saturating_add(self.thread_deadline_ns)
                >= flight.deadline_ns.saturating_add(LOOK_NS);
            let is_over = match slot.answer(token) {
                Answer::Filled => {
                    let took = slot.read(token, |snapshot| {
                        self.unwind(thread, snapshot);
                        snapshot.elapsed_ns
                    });
                    if let Some(took) = took
                        && took > collected.longest_capture_ns
                    {
                        collected.longest_capture_ns = took;
                        collected.longest_capture_tid = thread.tid;
                    }
                    true
                }
                Answer::Copying if is_late => {
                    // Quarantined: its handler is stuck or starved.
                    thread.capture = Capture::Timeout;
                    true
                }
                Answer::Pending if is_slow && !capture::exists(thread.tid) => {
                    let withdrawn = slot.withdraw(token);
                    if withdrawn {
                        thread.capture = Capture::Exited;
                    }
                    withdrawn
                }
                Answer::Pending if is_slow && self.sleeps_on(slot_index, thread.tid, now) => {
                    let withdrawn = slot.withdraw(token);
                    if withdrawn {
                        thread.capture = Capture::Uninterruptible;
                        thread.state = b'D';
                    }
                    withdrawn
                }
                Answer::Pending if is_late => {
                    let withdrawn = slot.withdraw(token);
                    if withdrawn {
                        thread.capture = Capture::Timeout;
                    }
                    withdrawn
                }
                Answer::Pending | Answer::Copying => false,
            };
            if is_over {
                if let Some(flight) = self.flights.get_mut(slot_index) {
                    flight.is_used = 0;
                }
            } else {
                open = true;
            }
        }
        open
    }

    /// Whether the thread has been in one uninterruptible sleep for so long that
    /// it need not be waited for.
    fn sleeps_on(&mut self, slot_index: usize, tid: u32, now: u64) -> bool {
        let Some(flight) = self.flights.get_mut(slot_index) else { return false };
        let Some(count) = uninterruptible_count(tid) else {
            flight.asleep_count = 0;
            return false;
        };
        if flight.asleep_count != count {
            flight.asleep_count = count;
            return false;
        }
        let patience_ns = self.thread_deadline_ns >> UNINTERRUPTIBLE_SHIFT;
        let asked_ns = flight.deadline_ns.saturating_sub(self.thread_deadline_ns);
        now.saturating_sub(asked_ns) >= patience_ns
    }

    /// The deadline for all has passed.
    fn give_up(&mut self, threads: &mut [ThreadRecord], next: usize) {
        for slot_index in 0..self.flights.len() {
            let Some(flight) = self.flights.get_mut(slot_index) else { break };
            if flight.is_used == 0 {
                continue;
            }
            flight.is_used = 0;
            if let Some(slot) = self.slots.slots.get(slot_index) {
                slot.withdraw(Token::from_bits(flight.token_bits));
            }
            if let Some(thread) = threads.get_mut(flight.thread as usize) {
                thread.capture = Capture::Timeout;
            }
        }
        for thread in threads.iter_mut().skip(next).filter(|thread| thread.wants_capture()) {
            thread.capture = Capture::Timeout;
        }
    }

    fn unwind(&mut self, thread: &mut ThreadRecord, snapshot: &Snapshot) {
        let first = self.frames.used;
        let limit = (self.frames.max_per_thread as usize)
            .min(self.frames.records.len().saturating_sub(first));
        let mut window = Window {
            base: snapshot.base,
            bytes: snapshot.window.get(..snapshot.used).unwrap_or_default(),
        };
        let mut count = 0_usize;
        let records = self.frames.records.get_mut(first..).unwrap_or_default();
        let end = self.walker.walk(self.table, snapshot.registers, &mut window, |found| {
            if count >= limit {
                return false;
            }
            if let Some(record) = records.get_mut(count) {
                *record = FrameRecord::of(&found);
                count = count.saturating_add(1);
            }
            true
        });
        self.frames.used = first.saturating_add(count);
        thread.first_frame = first as u32;
        thread.frame_count = count as u32;
        thread.stack_end = match end {
            StackEnd::FrameLimit { .. } => StackEnd::FrameLimit { frames: count as u32 },
            // The window was cut by unreadable memory, not by its size.
            StackEnd::WindowFull { .. } if snapshot.used < snapshot.window.len() => {
                StackEnd::Unreadable
            }
            end => end,
        };
        thread.capture = if end == StackEnd::Complete { Capture::Ok } else { Capture::Partial };
    }

    /// Our handler is not the installed one: does it get the signal all the
    /// same, through another library's? One capture of this very thread tells.
    fn is_chained(&self) -> bool {
        let tid = crate::sys::gettid();
        for (index, slot) in self.slots.slots.iter().enumerate() {
            let Some(token) = slot.request(index as u8, tid) else { continue };
            let before = Mask::of_this_thread();
            let sent = capture::send(self.bank, token, tid).is_ok();
            // Delivered here, before the call returns.
            before.without(capture::signal()).apply();
            before.apply();
            let answered = sent && slot.answer(token) == Answer::Filled;
            if answered {
                slot.read(token, |_| ());
            } else {
                slot.withdraw(token);
            }
            return answered;
        }
        false
    }
}

/// How often a thread in an uninterruptible sleep has been put on a CPU; `None`
/// if it is in another state, or if the kernel does not count.
fn uninterruptible_count(tid: u32) -> Option<u64> {
    let mut bytes = [0; STAT_BYTES];
    let task = read::open_dir(rustix::fs::CWD, c"/proc/self/task").ok()?;
    let stat = facts::read_file(task.as_fd(), tid, "stat", &mut bytes).ok()?;
    if stat::parse(stat)?.state != b'D' {
        return None;
    }
    let stat = facts::schedstat(task.as_fd(), tid, &mut bytes)?;
    Some(stat.count).filter(|count| *count > 0)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "walks the stack that it runs on")]
mod tests {
    use super::*;
    use core::hint::black_box;
    use std::vec::Vec;

    /// Our frames and how they end, and libgcc's addresses.
    type Both = (Vec<Found>, StackEnd, Vec<u64>);

    /// The frames of this thread, from the caller's on.
    #[inline(never)]
    fn both() -> Both {
        // SAFETY: all bytes zero is a context to fill.
        let mut context: libc::ucontext_t = unsafe { core::mem::zeroed() };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::getcontext(&raw mut context) }, 0);
        // SAFETY: the layout is that of a handler's context.
        let registers = unsafe { capture::registers((&raw const context).cast()) };
        let mut bytes = std::vec![0; 64 * 1024];
        let used = crate::sys::vm::read(registers.sp, &mut bytes);
        let mut window = Window { base: registers.sp, bytes: &bytes[..used] };
        let mut frames = Vec::new();
        let end = Walker::new().walk(&Table::collect(), registers, &mut window, |found| {
            frames.push(found);
            frames.len() < 200
        });

        let mut addresses = [core::ptr::null_mut(); 200];
        // SAFETY: room for as many as is said.
        let count = unsafe { libc::backtrace(addresses.as_mut_ptr(), 200) };
        let others = addresses.iter().take(count as usize).map(|at| *at as u64);
        // The first is this very function, at two different places.
        (frames.split_off(1), end, others.skip(1).collect())
    }

    #[inline(never)]
    fn nested(depth: u32) -> Both {
        let room = black_box([depth; 9]);
        let found = if depth == 0 { both() } else { nested(black_box(depth - 1)) };
        black_box(&room);
        found
    }

    fn sorted_by(order: &mut dyn FnMut(&u32, &u32) -> core::cmp::Ordering) {
        [3_u32, 1, 2].sort_by(order);
    }

    fn compare(found: Both, least: usize) {
        let (frames, end, others) = found;
        let ours: Vec<u64> = frames.iter().map(|frame| frame.pc).collect();
        assert_eq!(ours, others);
        assert_eq!(end, StackEnd::Complete);
        assert!(ours.len() >= least, "{ours:x?}");
        use crate::model::Certainty;
        assert!(frames.iter().all(|frame| frame.certainty == Certainty::Exact));
    }

    #[test]
    fn our_own_stack_is_what_libgcc_finds() {
        compare(nested(0), 3);
        compare(nested(20), 23);
        let thread = std::thread::spawn(|| nested(50));
        compare(thread.join().unwrap(), 53);
    }

    #[test]
    fn frames_of_other_libraries_in_between() {
        // Through std's sort, and through libc's qsort.
        let mut found = None;
        sorted_by(&mut |a, b| {
            found.get_or_insert_with(|| nested(2));
            a.cmp(b)
        });
        compare(found.unwrap(), 6);

        std::thread_local! {
            static FOUND: core::cell::RefCell<Option<Both>> =
                const { core::cell::RefCell::new(None) };
        }
        extern "C" fn order(_: *const libc::c_void, _: *const libc::c_void) -> libc::c_int {
            FOUND.with_borrow_mut(|found| *found = Some(nested(2)));
            0
        }
        let mut numbers = [3_u32, 1, 2];
        // SAFETY: three elements of four bytes.
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 3, 4, Some(order)) };
        compare(FOUND.take().unwrap(), 6);
    }
}
