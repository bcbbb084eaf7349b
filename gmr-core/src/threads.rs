//! The threads of this process, as /proc describes them.
//!
//! 1. List /proc/self/task.
//! 2. Of each, read `status`: name, state, blocked and pending signals; and what
//!    else the kernel says of it ([`facts`]).
//! 3. Say of each whether it can be asked for its stack: not our own, not a
//!    kernel worker, not one that blocks the capture signal or already has one
//!    pending.
//!
//! Limits: the arena's size; more threads are counted, not described. Where
//! /proc cannot be read (not mounted, hidepid), the report says so and knows
//! no threads but the one it runs on.

use core::mem::MaybeUninit;
use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use crate::model::{Capture, StackEnd};
use crate::options::Exclude;
use crate::procfs::path::SmallPath;
use crate::procfs::{list, read, status};
use crate::sys::memory::Zeroable;

pub(crate) mod facts;
pub(crate) mod second_look;

use facts::{Calls, KernelFacts};

use crate::waits::Wait;

/// Longest name of a thread (TASK_COMM_LEN - 1); io_uring's and kernel
/// workers' longer ones are cut.
const NAME_BYTES: usize = 15;

/// PF_IO_WORKER's threads are named so (io_uring(7)); they block all signals
/// and have no user stack.
const KERNEL_WORKER_PREFIXES: [&[u8]; 2] = [b"iou-wrk-", b"iou-sqp-"];

/// A handler's mask blocks all of the 64 signals but the synchronous faults and
/// what libc keeps for itself.
const NEARLY_ALL: u32 = 52;

/// A thread's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES],
    len: u8,
}

impl Name {
    pub(crate) const EMPTY: Self = Name { bytes: [0; NAME_BYTES], len: 0 };

    /// The first bytes of `name`.
    fn of(name: &[u8]) -> Self {
        let mut bytes = [0; NAME_BYTES];
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Name { bytes, len: name.len().min(NAME_BYTES) as u8 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// How a silent thread's stack was come by.
#[cfg(feature = "passive")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum WhileParked {
    NotTried,
    /// It was parked: this is its stack.
    Read,
    /// It runs.
    Running,
    /// It ran meanwhile.
    Ran,
    /// The error number.
    Refused(u16),
    /// The time for stacks was over.
    NoTime,
    /// The frames of other threads left no room.
    NoRoom,
}

#[cfg(feature = "passive")]
impl WhileParked {
    /// It may have a stack, but a limit of the report kept it from being looked for.
    pub(crate) fn is_limit(self) -> bool {
        matches!(self, WhileParked::NoTime | WhileParked::NoRoom)
    }
}

/// One thread in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadRecord {
    pub(crate) tid: u32,
    pub(crate) name: Name,
    pub(crate) state: u8,
    pub(crate) capture: Capture,
    pub(crate) stack_end: StackEnd,
    pub(crate) first_frame: u32,
    pub(crate) frame_count: u32,
    pub(crate) is_triggering: bool,
    /// Since the first of two samples.
    #[cfg(feature = "stacks")]
    pub(crate) between: Option<crate::model::Between>,
    /// Whether its stack was read while it was parked.
    #[cfg(feature = "passive")]
    pub(crate) while_parked: WhileParked,
    /// It blocks nearly everything, as inside a handler or while it starts:
    /// that may be over soon.
    blocks_all: bool,
    /// A second look found it in the same state, in which it does not run: in an
    /// uninterruptible sleep, or stopped.
    pub(crate) is_held: bool,
    /// What the kernel says of it.
    pub(crate) kernel: KernelFacts,
    /// What it waits for.
    pub(crate) wait: Wait,
}

#[expect(unsafe_code, reason = "zero is a value of each field")]
// SAFETY: plain numbers and truth values; the enums have a defined layout
// (`repr(u8)`), in which zero is the first variant.
unsafe impl Zeroable for ThreadRecord {}

impl ThreadRecord {
    /// Its stack, in the arena of its report.
    #[cfg(feature = "stacks")]
    pub(crate) fn frames<'f>(
        &self,
        arena: &'f [crate::stacks::collect::FrameRecord],
    ) -> &'f [crate::stacks::collect::FrameRecord] {
        let first = self.first_frame as usize;
        let last = first.saturating_add(self.frame_count as usize);
        arena.get(first..last).unwrap_or_default()
    }

    pub(crate) const EMPTY: Self = ThreadRecord {
        tid: 0,
        name: Name::EMPTY,
        state: b'?',
        capture: Capture::NotBuilt,
        stack_end: StackEnd::NoStack,
        first_frame: 0,
        frame_count: 0,
        is_triggering: false,
        #[cfg(feature = "stacks")]
        between: None,
        #[cfg(feature = "passive")]
        while_parked: WhileParked::NotTried,
        blocks_all: false,
        is_held: false,
        kernel: KernelFacts::EMPTY,
        wait: Wait::NONE,
    };

    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Whether its stack is still to be asked for.
    #[cfg(feature = "stacks")]
    pub(crate) fn wants_capture(&self) -> bool {
        self.capture == Capture::NotBuilt
    }
}

/// What the listing found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Threads described.
    pub(crate) count: usize,
    /// Threads there are.
    pub(crate) total: u64,
    /// Why there is no list.
    pub(crate) error: Option<Errno>,
    /// Whether the threads' system calls could be read.
    pub(crate) calls: Calls,
}

/// Who is not asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// The capture signal, if there is one.
    pub(crate) capture_signal: Option<u32>,
    /// The reporter's own threads.
    pub(crate) own_tids: &'a [u32],
    /// The thread the report is composed on, if that is one of the program's.
    pub(crate) interrupted_tid: Option<u32>,
    /// Its registers are at hand: it need not be asked.
    pub(crate) has_context: bool,
    /// Threads that the program keeps to itself.
    pub(crate) excluded: &'a [Exclude],
    /// Clock ticks per second, for processor times.
    pub(crate) ticks_per_second: u64,
}

/// Lists and describes all threads.
pub(crate) fn list(
    asking: &Asking<'_>,
    records: &mut [ThreadRecord],
    bytes: &mut [u8],
    dirents: &mut [MaybeUninit<u8>],
) -> Listed {
    match list_task(records, dirents) {
        Ok((task, count, total)) => {
            let mut calls = Calls::default();
            for record in records.iter_mut().take(count) {
                describe(asking, record, task.as_fd(), &mut calls, bytes);
            }
            Listed { count, total, error: None, calls }
        }
        Err(error) => {
            // Without /proc there is still the thread we run on.
            let tid = asking.interrupted_tid.unwrap_or_else(crate::sys::gettid);
            if let Some(first) = records.first_mut() {
                *first = ThreadRecord { tid, ..ThreadRecord::EMPTY };
                judge(asking, first, 0, 0);
            }
            let calls = Calls { error: Some(error) };
            Listed { count: records.len().min(1), total: 1, error: Some(error), calls }
        }
    }
}

/// Describes one thread, to be asked for its stack even if it is the reporter's
/// own.
#[cfg(feature = "stacks")]
pub(crate) fn describe_own(asking: &Asking<'_>, tid: u32, bytes: &mut [u8]) -> ThreadRecord {
    let mut record = ThreadRecord { tid, ..ThreadRecord::EMPTY };
    let asking = Asking { own_tids: &[], excluded: &[], ..*asking };
    match read::open_dir(rustix::fs::CWD, c"/proc/self/task") {
        Ok(task) => {
            describe(&asking, &mut record, task.as_fd(), &mut Calls::default(), bytes);
        }
        Err(_) => judge(&asking, &mut record, 0, 0),
    }
    record
}

/// Looks again at threads that blocked nearly all signals a moment ago: one
/// that was inside a handler (the trigger's, as a rule) can be asked now.
#[cfg(feature = "stacks")]
pub(crate) fn look_again(asking: &Asking<'_>, records: &mut [ThreadRecord], bytes: &mut [u8]) {
    let is_passing =
        |record: &&mut ThreadRecord| record.capture == Capture::SignalBlocked && record.blocks_all;
    if !records.iter_mut().any(|record| is_passing(&record)) {
        return;
    }
    let Ok(task) = read::open_dir(rustix::fs::CWD, c"/proc/self/task") else { return };
    let mut calls = Calls::default();
    for record in records.iter_mut().filter(is_passing) {
        record.capture = Capture::NotBuilt;
        describe(asking, record, task.as_fd(), &mut calls, bytes);
    }
}

fn list_task(
    records: &mut [ThreadRecord],
    dirents: &mut [MaybeUninit<u8>],
) -> Result<(rustix::fd::OwnedFd, usize, u64), Errno> {
    check_proc()?;
    let task = read::open_dir(rustix::fs::CWD, c"/proc/self/task")?;
    let mut places = records.iter_mut();
    let (mut count, mut total) = (0_usize, 0_u64);
    let _flow = list::numbers(task.as_fd(), dirents, |tid| {
        total = total.saturating_add(1);
        if let Some(place) = places.next() {
            *place = ThreadRecord { tid, ..ThreadRecord::EMPTY };
            count = count.saturating_add(1);
        }
        ControlFlow::Continue(())
    })?;
    Ok((task, count, total))
}

/// /proc is of another pid namespace: its thread ids are not ours to signal.
/// (No call here returns this error for another reason.)
pub(crate) const FOREIGN_PROC: Errno = Errno::XDEV;

/// Whether /proc is there, and of this pid namespace: there, /proc/self names us
/// by our own number.
fn check_proc() -> Result<(), Errno> {
    let mut target = [0; 16];
    let mut own = heapless::Vec::<u8, 16>::new();
    let _ = ufmt::uwrite!(&mut own, "{}", crate::sys::getpid());
    let link = read::link(rustix::fs::CWD, c"/proc/self", &mut target)?;
    if link.bytes == own.as_slice() { Ok(()) } else { Err(FOREIGN_PROC) }
}

fn describe(
    asking: &Asking<'_>,
    record: &mut ThreadRecord,
    task: BorrowedFd<'_>,
    calls: &mut Calls,
    bytes: &mut [u8],
) {
    let mut path = SmallPath::of_number(record.tid, "status");
    let content =
        path.as_c_str().ok_or(Errno::NAMETOOLONG).and_then(|path| read::file(task, path, bytes));
    match content {
        Ok(content) => {
            let status = status::parse(content.bytes);
            record.name = Name::of(status.name.as_deref().unwrap_or_default());
            record.state = status.state.unwrap_or(b'?');
            record.kernel.take_status(&status);
            let blocked = status.sig_blocked.unwrap_or(0);
            let pending = status.sig_pending.unwrap_or(0);
            judge(asking, record, blocked, pending);
            let tid = record.tid;
            record.kernel.read_stat(task, tid, asking.ticks_per_second, bytes);
            if record.state == b'D' {
                record.kernel.read_wchan(task, tid, bytes);
            }
            // Last, and before the thread is sent a signal: closest to its stack.
            if !matches!(record.state, b'Z' | b'X' | b'x') {
                record.kernel.call = calls.read(task, tid, bytes);
            }
        }
        Err(Errno::NOENT | Errno::SRCH) => record.capture = Capture::Exited,
        // Not described, but it may still answer.
        Err(_) => judge(asking, record, 0, 0),
    }
}

fn judge(asking: &Asking<'_>, record: &mut ThreadRecord, blocked: u64, pending: u64) {
    record.is_triggering = asking.interrupted_tid == Some(record.tid);
    let Some(signal) = asking.capture_signal else { return };
    if record.is_triggering && asking.has_context {
        return;
    }
    if asking.own_tids.contains(&record.tid) {
        record.capture = Capture::Own;
    } else if asking.excluded.iter().any(|rule| is_excluded(*rule, record)) {
        record.capture = Capture::Excluded;
    } else if is_kernel_worker(record.name(), blocked) {
        record.capture = Capture::KernelWorker;
    } else if matches!(record.state, b'Z' | b'X' | b'x') {
        // A main thread that ended (pthread_exit) stays as a zombie.
        record.capture = Capture::Exited;
    } else if status::Status::contains(blocked, signal) {
        record.capture = Capture::SignalBlocked;
        record.blocks_all = blocked.count_ones() >= NEARLY_ALL;
    } else if status::Status::contains(pending, signal) {
        // Asked by an earlier report and still silent (stopped by a debugger,
        // in an uninterruptible call): not the same as refusing to be asked.
        let is_asleep = record.state == b'D';
        record.capture = if is_asleep { Capture::Uninterruptible } else { Capture::Timeout };
    }
}

fn is_excluded(rule: Exclude, record: &ThreadRecord) -> bool {
    match rule {
        Exclude::Name(name) => {
            let name = name.as_bytes();
            record.name() == name.get(..name.len().min(NAME_BYTES)).unwrap_or(name)
        }
        Exclude::Tid(tid) => record.tid == tid,
        Exclude::RealTime => crate::sys::scheduler::is_real_time(record.tid),
    }
}

fn is_kernel_worker(name: &[u8], blocked: u64) -> bool {
    KERNEL_WORKER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && blocked.count_ones() >= 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_threads_are_described() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let other = std::thread::Builder::new()
            .name(std::string::String::from("a) R name"))
            .spawn(move || {
                ready.send(crate::sys::gettid()).unwrap();
                let _closed = wait.recv();
            })
            .unwrap();
        let tid = is_ready.recv().unwrap();
        let mut records = [ThreadRecord::EMPTY; 64];
        let mut bytes = [0; 8192];
        let mut dirents = [MaybeUninit::uninit(); list::DIRENTS_BYTES];
        let asking = Asking {
            capture_signal: Some(23),
            own_tids: &[tid],
            interrupted_tid: None,
            has_context: false,
            excluded: &[],
            ticks_per_second: 100,
        };
        let listed = super::list(&asking, &mut records, &mut bytes, &mut dirents);
        drop(go);
        other.join().unwrap();
        assert!(listed.count >= 2 && listed.total == listed.count as u64);
        let record = records.iter().find(|record| record.tid == tid).unwrap();
        assert_eq!(record.name(), b"a) R name");
        assert_eq!(record.capture, Capture::Own);
        let listed = super::list(&asking, &mut records[..1], &mut bytes, &mut dirents);
        assert!(listed.count == 1 && listed.total >= 1);
    }

    /// Of this thread, so that other work on the machine does not count.
    fn cpu_time() -> core::time::Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        core::time::Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
    }

    /// `cargo test --release -p gmr-core --features full --lib cost -- --ignored
    /// --nocapture`
    #[test]
    #[ignore = "measures, and is no test"]
    fn cost_of_a_thread() {
        const THREADS: usize = 1000;
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(THREADS + 1));
        let threads: std::vec::Vec<_> = (0..THREADS)
            .map(|_| {
                let barrier = std::sync::Arc::clone(&barrier);
                std::thread::spawn(move || {
                    barrier.wait();
                })
            })
            .collect();
        let mut records = std::vec![ThreadRecord::EMPTY; THREADS + 64];
        let mut bytes = std::vec![0; 64 * 1024];
        let mut dirents = std::vec![MaybeUninit::uninit(); 32 * 1024];
        let asking = Asking {
            capture_signal: Some(23),
            own_tids: &[],
            interrupted_tid: None,
            has_context: false,
            excluded: &[],
            ticks_per_second: 100,
        };
        let order = std::vec![0; THREADS + 64].leak();
        let by_tid = std::vec![0; THREADS + 64].leak();
        let mut scratch = crate::waits::Scratch { order, by_tid };
        let mut listing = std::vec::Vec::new();
        let mut waiting = std::vec::Vec::new();
        for _ in 0..15 {
            let began = cpu_time();
            let listed = super::list(&asking, &mut records, &mut bytes, &mut dirents);
            listing.push((cpu_time() - began) / u32::try_from(listed.count).unwrap());
            assert!(listed.count > THREADS);
            let began = cpu_time();
            let known = &mut records[..listed.count];
            let caller = |_: &ThreadRecord| crate::waits::Caller::Unknown;
            crate::waits::find(known, &mut scratch, &mut bytes, &caller);
            waiting.push((cpu_time() - began) / u32::try_from(listed.count).unwrap());
        }
        barrier.wait();
        for thread in threads {
            thread.join().unwrap();
        }
        listing.sort();
        waiting.sort();
        std::println!("listing: {:?} a thread, its wait: {:?}", listing[7], waiting[7]);
        std::println!("a record has {} bytes", size_of::<ThreadRecord>());
    }

    #[test]
    fn kernel_workers_are_known_by_name_and_mask() {
        assert!(is_kernel_worker(b"iou-wrk-123", !0));
        assert!(!is_kernel_worker(b"iou-wrk-123", 0), "a thread may call itself so");
        assert!(!is_kernel_worker(b"worker", !0));
    }
}
