//! Clocks, in nanoseconds (clock_gettime(2), through the vDSO).
//!
//! rustix looks the vDSO up at the first call: [`prime`] does that at setup,
//! so that no report does.

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

/// A length of time as the kernel wants it.
pub(crate) fn timespec(duration_ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration_ns / NANOSECONDS_PER_SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(duration_ns % NANOSECONDS_PER_SECOND).unwrap_or(0),
    }
}
