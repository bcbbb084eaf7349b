//! Three threads sleep in a call that a signal ends with EINTR, for ever anew:
//! one is excluded by its name, one by its policy (where the system allows a
//! real-time one), one is not. `interrupted` on stdin tells how often each was
//! woken: `critical:N real-time:N common:N`.
#![allow(unsafe_code, reason = "calls libc")]

use std::io::{BufRead, stdin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;

use gmr_std::Exclude;

static CRITICAL: AtomicU64 = AtomicU64::new(0);
static REAL_TIME: AtomicU64 = AtomicU64::new(0);
static COMMON: AtomicU64 = AtomicU64::new(0);
static ASLEEP: AtomicU64 = AtomicU64::new(0);
static IS_REAL_TIME: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Builder::new().name("critical-thread-with-a-long-name".into()).spawn(|| sleep(&CRITICAL))?;
    Builder::new().name("real-time".into()).spawn(|| {
        let parameters = libc::sched_param { sched_priority: 1 };
        // SAFETY: plain data; 0 is this thread.
        let refused =
            unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
        IS_REAL_TIME.store(refused == 0, Ordering::Release);
        sleep(&REAL_TIME);
    })?;
    Builder::new().name("common".into()).spawn(|| sleep(&COMMON))?;
    gmr_std::setup_autorun(gmr_std::package!())
        .exclude_threads(&[Exclude::Name("critical-thread-with-a-long-name"), Exclude::RealTime])
        .install()?;
    while ASLEEP.load(Ordering::Acquire) < 3 {
        std::thread::yield_now();
    }
    println!("ready {}", IS_REAL_TIME.load(Ordering::Acquire));
    for _ in stdin().lock().lines() {
        let count = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        println!(
            "critical:{} real-time:{} common:{}",
            count(&CRITICAL),
            count(&REAL_TIME),
            count(&COMMON)
        );
    }
    Ok(())
}

fn sleep(interrupted: &AtomicU64) {
    ASLEEP.fetch_add(1, Ordering::AcqRel);
    loop {
        let time = libc::timespec { tv_sec: 3600, tv_nsec: 0 };
        // SAFETY: a valid time; the rest is not wanted.
        unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) };
        interrupted.fetch_add(1, Ordering::AcqRel);
    }
}
