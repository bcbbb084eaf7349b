//! The runtimes' workers: parked, active, or blocked.
//!
//! 1. Whether a worker is parked its own counter says (the stable
//!    `worker_park_unpark_count`: odd means parked), for registered runtimes.
//! 2. What it polls its thread's locals say ([`crate::threads`]).
//! 3. It is *blocked* if for the threshold, and at least at [`LOOKS`] looks, it has
//!    not parked, and was each time found in the same poll of the same task: the
//!    counter of polls stood still. (Where that counter is not known: at the same
//!    task, which is said.)
//! 4. What one report or the stall watch has seen, later ones know: the same poll is
//!    known again, and was there *at least* since then ([`Episodes`]).
//!
//! Nothing here needs the runtime to do anything.
//!
//! # Safety
//!
//! One system call that writes to a place of our own.
#![expect(unsafe_code, reason = "clock_gettime(2) of another thread")]

use std::sync::Mutex;

use crate::runtimes::Registered;
use crate::threads::Look;

/// A poll is looked at so often before it is called blocked.
pub(crate) const LOOKS: u32 = 8;

/// Polls that are remembered.
const MOST_EPISODES: usize = 256;

/// By what one poll is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poll {
    /// The task; 0: the future of `block_on`.
    pub(crate) task: u64,
    /// Of the worker: how often it has parked and gone on.
    unparks: u64,
    /// Of the worker: its counter of polls.
    tick: Option<u32>,
}

impl Poll {
    /// Whether it can be told from the next poll of the same task.
    pub(crate) fn is_one(&self) -> bool {
        self.tick.is_some()
    }
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It waits for work, or for time to pass.
    Parked,
    /// It looks for work, or drives timers and sockets.
    Between,
    /// It polls.
    Polling(Poll),
    /// Nobody counts for it.
    Unknown,
}

/// What a worker of a registered runtime does, by a look at its thread.
/// `knows_polls`: looks can tell whether there is a poll, and which.
pub(crate) fn standing(
    registered: &Registered,
    index: u32,
    look: &Look,
    knows_polls: bool,
) -> Standing {
    let index = index as usize;
    // tokio's metrics panic for a worker that is not there.
    if index >= registered.metrics.num_workers() {
        return Standing::Unknown;
    }
    let unparks = registered.metrics.worker_park_unpark_count(index);
    if unparks % 2 == 1 {
        return Standing::Parked;
    }
    if !look.is_driving || look.runtime != registered.address {
        return Standing::Unknown;
    }
    // Between two polls there is no core; where cores are not known, the task tells,
    // and the future of `block_on` has none.
    let is_polling =
        if knows_polls { look.has_core && look.tick.is_some() } else { look.task != 0 };
    if !is_polling {
        return Standing::Between;
    }
    Standing::Polling(Poll { task: look.task, unparks, tick: look.tick })
}

/// One poll that was seen more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Episode {
    /// Of the runtime.
    pub(crate) address: u64,
    pub(crate) index: u32,
    pub(crate) tid: u32,
    pub(crate) poll: Poll,
    /// When it was first seen, CLOCK_MONOTONIC.
    pub(crate) since_ns: u64,
    /// CPU time that the thread had used then.
    pub(crate) cpu_ns: u64,
}

/// Polls that reports and the stall watch have seen.
pub(crate) struct Episodes(Mutex<heapless::Vec<Episode, MOST_EPISODES>>);

pub(crate) static EPISODES: Episodes = Episodes(Mutex::new(heapless::Vec::new()));

impl Episodes {
    /// Remembers a poll, and returns it as it was seen first. If another thread is at
    /// it just now, it is forgotten instead. Signal-safe.
    pub(crate) fn recall(&self, seen: Episode) -> Episode {
        let Ok(mut all) = self.0.try_lock() else { return seen };
        let place = (seen.address, seen.index);
        let known = all.iter_mut().find(|known| (known.address, known.index) == place);
        match known {
            Some(known) if known.poll == seen.poll && known.tid == seen.tid => *known,
            Some(known) => {
                *known = seen;
                seen
            }
            None => {
                if all.is_full() {
                    all.remove(0);
                }
                let _ = all.push(seen);
                seen
            }
        }
    }
}

/// CPU time that a thread of this process has used; `None`: it is not there. Signal-safe.
pub(crate) fn cpu_ns(tid: u32) -> Option<u64> {
    /// Of the kernel's clock ids: a thread's, of all its CPU time.
    const PER_THREAD_SCHED: libc::clockid_t = 4 | 2;
    let clock = (!tid.cast_signed()).wrapping_shl(3) | PER_THREAD_SCHED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place to write to.
    let outcome = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok()?;
    (outcome == 0).then(|| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds))
}
