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

#[cfg(test)]
mod tests {
    use gmr_core::hosted::wait;

    use super::*;

    fn poll(task: u64, tick: u32) -> Poll {
        Poll { task, unparks: 4, tick: Some(tick) }
    }

    fn episode(index: u32, poll: Poll, since_ns: u64) -> Episode {
        Episode { address: 0x1000, index, tid: 7, poll, since_ns, cpu_ns: 0 }
    }

    #[test]
    fn the_same_poll_is_known_since_it_was_first_seen_and_no_other_is() {
        let episodes = Episodes(Mutex::new(heapless::Vec::new()));
        assert_eq!(episodes.recall(episode(0, poll(3, 9), 100)).since_ns, 100);
        assert_eq!(episodes.recall(episode(0, poll(3, 9), 200)).since_ns, 100);
        // Another worker, the next poll of the same task, another task.
        assert_eq!(episodes.recall(episode(1, poll(3, 9), 300)).since_ns, 300);
        assert_eq!(episodes.recall(episode(0, poll(3, 10), 400)).since_ns, 400);
        assert_eq!(episodes.recall(episode(0, poll(4, 10), 500)).since_ns, 500);
        assert_eq!(episodes.recall(episode(0, poll(4, 10), 600)).since_ns, 500);
        // Another thread drives the worker by now.
        let other = Episode { tid: 8, ..episode(0, poll(4, 10), 700) };
        assert_eq!(episodes.recall(other).since_ns, 700);
        // Somebody else is at it: nobody waits.
        let _held = episodes.0.lock().unwrap();
        assert_eq!(episodes.recall(episode(0, poll(4, 10), 800)).since_ns, 800);
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let episodes = Episodes(Mutex::new(heapless::Vec::new()));
        for index in 0..=MOST_EPISODES as u32 {
            episodes.recall(episode(index, poll(1, 1), 1));
        }
        assert_eq!(episodes.recall(episode(1, poll(1, 1), 9)).since_ns, 1);
        assert_eq!(episodes.recall(episode(0, poll(1, 1), 9)).since_ns, 9);
    }

    #[test]
    fn a_worker_polls_only_if_it_is_active_and_its_thread_says_so() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let registered = crate::runtimes::keep(runtime.handle()).unwrap();
        let address = registered.address;
        let look = Look {
            task: 5,
            runtime: address,
            is_driving: true,
            index: Some(0),
            has_core: true,
            tick: Some(1),
            ..Look::default()
        };
        let polling = standing(registered, 0, &look, true);
        assert!(matches!(polling, Standing::Polling(poll) if poll.task == 5 && poll.is_one()));
        let between = Look { has_core: false, tick: None, ..look };
        assert_eq!(standing(registered, 0, &between, true), Standing::Between);
        // Where polls are not known, the task tells.
        let by_task = standing(registered, 0, &between, false);
        assert!(matches!(by_task, Standing::Polling(poll) if !poll.is_one()));
        assert_eq!(standing(registered, 0, &Look { task: 0, ..between }, false), Standing::Between);
        // Of another runtime, of no runtime, of a worker that is not there.
        let other = Look { runtime: address + 64, ..look };
        assert_eq!(standing(registered, 0, &other, true), Standing::Unknown);
        assert_eq!(standing(registered, 0, &Look::default(), true), Standing::Unknown);
        assert_eq!(standing(registered, 1, &look, true), Standing::Unknown);
    }

    #[test]
    fn a_threads_cpu_time_grows_as_it_works() {
        let before = cpu_ns(wait::gettid()).unwrap();
        let mut sum = 0_u64;
        while cpu_ns(wait::gettid()).unwrap() == before {
            sum = std::hint::black_box(sum).wrapping_add(1);
        }
        assert!(cpu_ns(wait::gettid()).unwrap() > before);
    }
}
