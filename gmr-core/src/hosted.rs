//! What a host with ordinary threads (gmr-std) lends the core: threads that may
//! allocate and take locks, and what only those can find out.
//!
//! 1. *Workers* wait on one futex, the bell. A report that
//!    wants something of them says what, rings, and waits with a deadline.
//! 2. The core's own wish is a fresh module table (the loader's lock). The
//!    host's wishes are its own business: its `work` looks for them.
//! 3. *Source lines* ([`SourceLines`]) are asked for by the core, for all frames
//!    of a report together, and read frame by frame.
//!
//! A report never depends on any of it: late or stuck, it goes on without.

#[cfg(all(gmr_engine, feature = "stacks"))]
use core::sync::atomic::{AtomicU32, Ordering};

#[cfg(all(gmr_engine, feature = "stacks"))]
use crate::sys::futex;

/// One source position of an address: an inlined function, or the physical one.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceLine<'a> {
    /// The function, demangled.
    pub function: Option<&'a str>,
    /// Its name was cut.
    pub function_truncated: bool,
    /// The source file.
    pub file: Option<&'a str>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// Inlined into the one that follows.
    pub is_inlined: bool,
}

/// The addresses of a report.
pub trait EachAddress {
    /// Calls `take` with each.
    fn each(&self, take: &mut dyn FnMut(u64));
}

/// What is asked of [`SourceLines::prepare`].
#[derive(Clone, Copy)]
pub struct LineRequest<'a> {
    /// Of the module table that the addresses were found in. An object may lie
    /// elsewhere in another.
    pub generation: u64,
    /// The addresses to look up (return addresses less one).
    pub addresses: &'a dyn EachAddress,
    /// When to go on without, CLOCK_MONOTONIC.
    pub deadline_ns: u64,
    /// Whether the report still wants it.
    pub is_current: &'a dyn Fn() -> bool,
}

impl core::fmt::Debug for LineRequest<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LineRequest").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Source lines by address.
///
/// # Safety
///
/// All methods are called by a supervisor: the contract is that of
/// [`SignalSafeSection`](crate::SignalSafeSection).
#[expect(unsafe_code, reason = "a contract, like SignalSafeSection's")]
pub unsafe trait SourceLines: Sync {
    /// Has what is not known yet found out, and waits for it until the
    /// deadline.
    fn prepare(&self, request: &LineRequest<'_>);

    /// Calls `each` with the lines of an address of `generation`, innermost
    /// first. `false`: it has none.
    ///
    /// # Errors
    ///
    /// What `each` returns.
    fn lines(
        &self,
        generation: u64,
        address: u64,
        each: &mut dyn FnMut(&SourceLine<'_>) -> Result<(), crate::Stop>,
    ) -> Result<bool, crate::Stop>;

    /// Says how the last preparation went, for the end block. `true`: a limit
    /// or a deadline took something away.
    fn summary(&self, say: &mut dyn FnMut(&str)) -> bool;
}

/// A loaded object, for those who look for its source lines.
#[derive(Debug, Clone, Copy)]
pub struct LoadedObject<'a> {
    /// Its path when it was loaded.
    pub path: &'a [u8],
    /// First address.
    pub start: u64,
    /// Behind its last one.
    pub end: u64,
    /// What to subtract from an address to get the file's own.
    pub bias: u64,
    /// Its build-id.
    pub build_id: Option<&'a [u8]>,
    /// Device (major, minor) and inode as /proc/self/maps shows them.
    pub device_inode: Option<(u32, u32, u64)>,
    /// The program itself.
    pub is_executable: bool,
    /// The kernel's: there is no file.
    pub is_vdso: bool,
}

/// The workers' bell, and the core's own wish.
#[cfg(all(gmr_engine, feature = "stacks"))]
#[derive(Debug)]
pub(crate) struct Workers {
    bell: AtomicU32,
    running: AtomicU32,
    wanted: AtomicU32,
    taken: AtomicU32,
    done: AtomicU32,
}

#[cfg(all(gmr_engine, feature = "stacks"))]
impl Workers {
    pub(crate) const fn new() -> Self {
        Workers {
            bell: AtomicU32::new(0),
            running: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            done: AtomicU32::new(0),
        }
    }

    /// How many threads are inside [`run`](Self::run).
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Acquire)
    }

    /// Wakes one worker. Signal-safe.
    pub(crate) fn ring(&self) {
        self.bell.fetch_add(1, Ordering::AcqRel);
        futex::wake(&self.bell, 1);
    }

    /// Wakes all, to end.
    pub(crate) fn ring_all(&self) {
        self.bell.fetch_add(1, Ordering::AcqRel);
        futex::wake(&self.bell, u32::MAX >> 1);
    }

    /// Asks for a fresh module table. Signal-safe. What to wait for with
    /// [`has_refreshed`](Self::has_refreshed).
    pub(crate) fn want_refresh(&self) -> u32 {
        let wanted = self.wanted.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        self.ring();
        wanted
    }

    /// Whether that is done; else what the futex word was.
    pub(crate) fn has_refreshed(&self, wanted: u32) -> Result<(), u32> {
        let done = self.done.load(Ordering::Acquire);
        if includes(done, wanted) { Ok(()) } else { Err(done) }
    }

    /// All wishes up to `wanted` are done: nothing new if a worker that began
    /// later was faster.
    fn refreshed(&self, wanted: u32) {
        let mut done = self.done.load(Ordering::Acquire);
        while !includes(done, wanted) {
            match self.done.compare_exchange(done, wanted, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => done = now,
            }
        }
        futex::wake(&self.done, u32::MAX >> 1);
    }

    /// Waits for a change of the word that was `seen`.
    pub(crate) fn wait_refreshed(&self, seen: u32, timeout_ns: u64) {
        futex::wait(&self.done, seen, Some(timeout_ns));
    }

    /// Serves until `is_over`: a normal thread.
    ///
    /// `work` does what the host wants, and returns `false` to leave.
    pub(crate) fn run(
        &self,
        refresh: &dyn Fn() -> bool,
        work: &mut dyn FnMut() -> bool,
        is_over: &dyn Fn() -> bool,
    ) {
        self.running.fetch_add(1, Ordering::AcqRel);
        loop {
            let seen = self.bell.load(Ordering::Acquire);
            if is_over() {
                break;
            }
            // In this order: what is taken never goes back.
            let taken = self.taken.load(Ordering::Acquire);
            let wanted = self.wanted.load(Ordering::Acquire);
            if taken != wanted
                && self
                    .taken
                    .compare_exchange(taken, wanted, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                // Else another worker is at it, for an earlier wish: whoever waits
                // for this one is not to take that for an answer.
                if refresh() {
                    self.refreshed(wanted);
                }
            }
            if !work() {
                break;
            }
            futex::wait(&self.bell, seen, None);
        }
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a count of wishes that may have wrapped has come to `wanted`.
#[cfg(all(gmr_engine, feature = "stacks"))]
const fn includes(done: u32, wanted: u32) -> bool {
    done.wrapping_sub(wanted) <= u32::MAX / 2
}

#[cfg(gmr_engine)]
pub mod memory;

/// The supervisor's own tools, for those who wait on its behalf: a futex with a
/// deadline, its clock, thread ids. Signal-safe, all of them.
#[cfg(gmr_engine)]
pub mod wait {
    use core::sync::atomic::AtomicU32;

    /// Waits while `word` is `seen`, at most `timeout_ns`.
    pub fn wait(word: &AtomicU32, seen: u32, timeout_ns: u64) {
        crate::sys::futex::wait(word, seen, Some(timeout_ns));
    }

    /// Wakes all who wait on `word`.
    pub fn wake_all(word: &AtomicU32) {
        crate::sys::futex::wake(word, u32::MAX >> 1);
    }

    /// CLOCK_MONOTONIC in nanoseconds.
    #[must_use]
    pub fn monotonic_ns() -> u64 {
        crate::sys::clock::monotonic_ns()
    }

    /// The calling thread's id.
    #[must_use]
    pub fn gettid() -> u32 {
        crate::sys::gettid()
    }
}

#[cfg(all(test, gmr_engine, feature = "stacks"))]
mod tests {
    use core::cell::Cell;

    use super::*;

    #[test]
    fn a_slow_worker_does_not_take_back_what_a_faster_one_has_done() {
        let workers = Workers::new();
        let first = workers.want_refresh();
        let (second, inner) = (Cell::new(0), Cell::new(0));
        // While the first refresh is under way, there is another wish, and
        // another worker who grants it.
        let slow = || {
            second.set(workers.want_refresh());
            let quick = || {
                inner.set(inner.get() + 1);
                true
            };
            workers.run(&quick, &mut || false, &|| false);
            assert_eq!(workers.has_refreshed(second.get()), Ok(()));
            true
        };
        workers.run(&slow, &mut || false, &|| false);
        assert_eq!((first, second.get(), inner.get()), (1, 2, 1));
        assert_eq!(workers.has_refreshed(first), Ok(()));
        assert_eq!(workers.has_refreshed(second.get()), Ok(()));
        assert_eq!(workers.running(), 0);
    }

    #[test]
    fn a_refresh_that_another_worker_is_at_is_no_answer() {
        let workers = Workers::new();
        let wanted = workers.want_refresh();
        workers.run(&|| false, &mut || false, &|| false);
        assert!(workers.has_refreshed(wanted).is_err());
    }

    #[test]
    fn the_count_of_wishes_wraps() {
        let workers = Workers::new();
        for wanted in [u32::MAX / 2, u32::MAX - 1, 1, 0, u32::MAX] {
            workers.refreshed(wanted);
        }
        assert_eq!(workers.has_refreshed(1), Ok(()));
        assert_eq!(workers.has_refreshed(2), Err(1));
    }
}
