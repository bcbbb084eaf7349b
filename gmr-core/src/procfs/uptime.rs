//! How long a process has been running.
//!
//! /proc gives its start in clock ticks since boot, suspended time included,
//! which is what CLOCK_BOOTTIME counts. (In a time namespace both are shifted
//! alike.) The ticks per second are the program's AT_CLKTCK: read at setup,
//! since the first read of the auxiliary vector may open a file.

use rustix::time::{ClockId, clock_gettime};

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// Time since boot, in nanoseconds.
#[must_use]
pub fn boot_time_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// A number of clock ticks, in nanoseconds; `None` if `ticks_per_second` is 0.
#[must_use]
pub fn ticks_to_ns(ticks: u64, ticks_per_second: u64) -> Option<u64> {
    let nanoseconds = u128::from(ticks)
        .saturating_mul(NANOSECONDS_PER_SECOND)
        .checked_div(u128::from(ticks_per_second))?;
    Some(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Age of a process that started `start_ticks` after boot, in nanoseconds;
/// 0 if it starts later than `boot_time_ns` (the clock is finer than ticks).
#[must_use]
pub fn age_ns(boot_time_ns: u64, start_ticks: u64, ticks_per_second: u64) -> Option<u64> {
    ticks_to_ns(start_ticks, ticks_per_second).map(|start| boot_time_ns.saturating_sub(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::stat;

    #[test]
    fn ticks() {
        assert_eq!(ticks_to_ns(150, 100), Some(1_500_000_000));
        assert_eq!(ticks_to_ns(u64::MAX, 1), Some(u64::MAX));
        assert_eq!(ticks_to_ns(1, 0), None);
        assert_eq!(age_ns(5_000_000_000, 150, 100), Some(3_500_000_000));
        assert_eq!(age_ns(0, 150, 100), Some(0));
    }

    #[test]
    fn this_process_is_young_and_init_is_older() {
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        let age = |path: &str| {
            let content = std::fs::read(path).unwrap();
            let start = stat::parse(&content).unwrap().start_ticks.unwrap();
            age_ns(boot_time_ns(), start, ticks_per_second).unwrap()
        };
        let own = age("/proc/self/stat");
        assert!(own < 3_600_000_000_000, "{own}");
        assert!(age("/proc/1/stat") >= own);
    }
}
