//! Clocks, in nanoseconds (clock_gettime(2), through the vDSO).
//!
//! rustix looks the vDSO up at the first call: [`prime`] does that at setup,
//! so that no report does.
//!
//! # Safety
//!
//! A raw system call with a clock of another thread, which rustix has no name for;
//! the kernel writes into a variable of ours.
#![cfg_attr(feature = "stacks", expect(unsafe_code, reason = "a raw system call"))]

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::Timestamp;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

fn to_ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(NANOSECONDS_PER_SECOND).saturating_add(rest)
}

/// Calls each clock once, so that later calls find the vDSO looked up.
pub(crate) fn prime() {
    monotonic_ns();
    now();
}

/// CLOCK_MONOTONIC: for deadlines and durations.
pub(crate) fn monotonic_ns() -> u64 {
    to_ns(clock_gettime(ClockId::Monotonic))
}

/// The deadline of what may take so long from now on, CLOCK_MONOTONIC.
pub(crate) fn after(duration: core::time::Duration) -> u64 {
    monotonic_ns().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// CLOCK_REALTIME: for people.
pub(crate) fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Realtime);
    Timestamp { unix_seconds: time.tv_sec, nanoseconds: u32::try_from(time.tv_nsec).unwrap_or(0) }
}

/// The CPU time of a thread of this process, in nanoseconds, exact also while it runs
/// (the sums in its files may be as old as the last tick, and a CPU with one thread
/// may have none). `None`: there is no such thread.
///
/// The clock's number is that of pthread_getcpuclockid(3): the thread's, inverted, and
/// three bits for a thread's clock of the scheduler's precision.
#[cfg(feature = "stacks")]
pub(crate) fn thread_cpu_ns(tid: u32) -> Option<u64> {
    const THREAD_SCHEDULED: i32 = 4 | 2;
    let clock = (!tid.cast_signed()).wrapping_shl(3) | THREAD_SCHEDULED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the result.
    let outcome = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    let is_known = outcome == 0;
    is_known.then(|| to_ns(Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec }))
}

/// A length of time as the kernel wants it.
pub(crate) fn timespec(duration_ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration_ns / NANOSECONDS_PER_SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(duration_ns % NANOSECONDS_PER_SECOND).unwrap_or(0),
    }
}
