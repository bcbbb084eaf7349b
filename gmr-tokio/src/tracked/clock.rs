//! When polls begin: a clock that is read at each poll, so it has to be cheap.
//!
//! 1. On x86_64 it is the processor's time stamp counter, if the processor says that
//!    it counts at one rate in all states (CPUID: invariant). Elsewhere it is
//!    CLOCK_MONOTONIC_COARSE, which is as old as the last tick (1 to 10 ms).
//! 2. When the first future is tracked, counter and CLOCK_MONOTONIC are read together;
//!    a report does the same, and converts what lies between.
//!
//! Limits: the counters of all processors are taken to agree, as the kernel takes
//! them; what they disagree by is an error of as much. Nanoseconds are off if the
//! machine slept in between, or moved to another one.

use std::sync::Once;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const OFF: u8 = 0;
const COUNTER: u8 = 1;
const COARSE: u8 = 2;

/// What polls read.
static MODE: AtomicU8 = AtomicU8::new(OFF);
/// What there is on this machine.
static SOURCE: AtomicU8 = AtomicU8::new(OFF);
static IS_WANTED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
static FIRST_TICKS: AtomicU64 = AtomicU64::new(0);
static FIRST_NS: AtomicU64 = AtomicU64::new(0);

/// Before anything is timed: finds the clock. For ordinary code.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        SOURCE.store(if has_counter() { COUNTER } else { COARSE }, Ordering::Relaxed);
        let (ticks, ns) = together();
        FIRST_TICKS.store(ticks, Ordering::Relaxed);
        FIRST_NS.store(ns, Ordering::Release);
        switch(IS_WANTED.load(Ordering::Relaxed));
    });
}

/// Whether polls are timed.
pub(super) fn switch(is_on: bool) {
    IS_WANTED.store(is_on, Ordering::Relaxed);
    let source = SOURCE.load(Ordering::Relaxed);
    MODE.store(if is_on { source } else { OFF }, Ordering::Relaxed);
}

/// Now, in ticks; 0: nobody wants to know.
#[inline(always)]
pub(super) fn ticks() -> u64 {
    match MODE.load(Ordering::Relaxed) {
        COUNTER => counter(),
        OFF => 0,
        _ => coarse_ns(),
    }
}

/// Converts ticks. Made anew for each report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    first: (u64, u64),
    now: (u64, u64),
}

impl Rate {
    /// Signal-safe.
    pub(super) fn now() -> Self {
        let first_ns = FIRST_NS.load(Ordering::Acquire);
        Rate { first: (FIRST_TICKS.load(Ordering::Relaxed), first_ns), now: together() }
    }

    /// In nanoseconds of CLOCK_MONOTONIC. `None`: it was not timed.
    pub(super) fn to_ns(self, ticks: u64) -> Option<u64> {
        if ticks == 0 {
            return None;
        }
        let ago = self.now.0.saturating_sub(ticks);
        let all_ticks = self.now.0.saturating_sub(self.first.0);
        let all_ns = self.now.1.saturating_sub(self.first.1);
        let ago_ns = (u128::from(ago) * u128::from(all_ns)).checked_div(u128::from(all_ticks));
        Some(self.now.1.saturating_sub(u64::try_from(ago_ns?).unwrap_or(u64::MAX)))
    }
}

/// Counter and clock at the same moment: of a few pairs the one that took the least.
fn together() -> (u64, u64) {
    const PAIRS: usize = 5;
    let is_counter = SOURCE.load(Ordering::Relaxed) == COUNTER;
    let pair = || {
        let before = counter();
        let ns = monotonic_ns();
        let took = counter().saturating_sub(before);
        (took, before.saturating_add(took / 2), ns)
    };
    let best = (0..PAIRS).map(|_| pair()).min().unwrap_or_default();
    if is_counter { (best.1, best.2) } else { (best.2, best.2) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every x86_64 has it; it reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn counter() -> u64 {
    0
}

#[cfg(target_arch = "x86_64")]
fn has_counter() -> bool {
    use core::arch::x86_64::__cpuid;
    /// Advanced power management; bit 8 of EDX: the counter is invariant.
    const POWER: u32 = 0x8000_0007;
    __cpuid(0x8000_0000).eax >= POWER && __cpuid(POWER).edx & 1 << 8 != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn has_counter() -> bool {
    false
}

#[cfg(target_os = "linux")]
fn coarse_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

#[cfg(target_os = "linux")]
pub(crate) fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

#[cfg(target_os = "linux")]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the result.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

// Where there are no reports, nobody asks.
#[cfg(not(target_os = "linux"))]
fn coarse_ns() -> u64 {
    0
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn monotonic_ns() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds_between_the_two_readings() {
        let rate = Rate { first: (1_000, 50), now: (4_000, 1_050) };
        assert_eq!(rate.to_ns(4_000), Some(1_050));
        assert_eq!(rate.to_ns(1_000), Some(50));
        assert_eq!(rate.to_ns(2_500), Some(550));
        assert_eq!(rate.to_ns(9_000), Some(1_050), "of a processor that is ahead");
        assert_eq!(rate.to_ns(0), None);
        let same = Rate { first: (5, 5), now: (5, 5) };
        assert_eq!(same.to_ns(5), None);
    }

    #[test]
    fn a_moment_lies_between_two_of_the_kernels_clock() {
        prepare();
        // The pair at the start must lie far enough back for a rate.
        let start = monotonic_ns();
        while monotonic_ns() < start + 20_000_000 {
            std::hint::spin_loop();
        }
        let before = monotonic_ns();
        let ticks = ticks();
        let after = monotonic_ns();
        let ns = Rate::now().to_ns(ticks).unwrap();
        // A thousandth of what passed since, or a tick of the coarse clock.
        let slack = 10_000_000;
        assert!(before - slack <= ns && ns <= after + slack, "{before} {ns} {after}");
    }
}
