//! gmr-core alone in a latency-critical daemon: no thread of ours, no heap
//! while a report is written.
//!
//! 1. The trigger is blocked before the critical threads start, so that they
//!    inherit the mask: no report is ever composed on one of them.
//! 2. It is unblocked again in the main thread, which has time: there the
//!    handler composes the report, on a stack of its own.
//! 3. The critical threads still answer the capture signal (about a
//!    microsecond each), so their stacks are in the report.
//!
//! `cargo run -p gmr-core --features full --example core_only` and then
//! `kill -USR2 PID`; with `--once` it asks itself for one report and ends.

#![allow(unsafe_code, reason = "implements the section contract, and calls libc")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gmr_core::{Reporter, SectionResult, SectionWriter, Signal, SignalSafeSection, ThisThread};

static GMR: Reporter = Reporter::new(gmr_core::package!(product: "core-only"));

/// What the critical threads count: a section made of atomics.
struct Queues {
    handled: AtomicU64,
}

static QUEUES: Queues = Queues { handled: AtomicU64::new(0) };

// SAFETY: one atomic load; nothing of it allocates, locks, panics or waits.
unsafe impl SignalSafeSection for Queues {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("handled", self.handled.load(Ordering::Relaxed))?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An early `kill -USR2` is remembered from here on.
    gmr_core::arm();
    GMR.register_section("Queues", &QUEUES)?;

    with_trigger(libc::SIG_BLOCK)?;
    for number in 0..3 {
        std::thread::Builder::new().name(format!("critical-{number}")).spawn(critical)?;
    }
    with_trigger(libc::SIG_UNBLOCK)?;
    GMR.setup_autorun(Signal::Usr2)?;

    println!("pid {}", std::process::id());
    if std::env::args().any(|argument| argument == "--once") {
        let own = std::process::id().cast_signed();
        // SAFETY: sends a signal to this process.
        unsafe { libc::kill(own, libc::SIGUSR2) };
        // Delivered here before `kill` returns: every other thread blocks it.
        let stats = GMR.stats();
        return if stats.reports_complete == 1 {
            Ok(())
        } else {
            Err(format!("the report is not complete: {stats:?}").into())
        };
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn critical() {
    let here = ThisThread::get();
    loop {
        // Beside this thread's stack stands since when it has been at it.
        let _turn = here.enter("turn");
        QUEUES.handled.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Blocks or unblocks the trigger in this thread.
fn with_trigger(how: i32) -> std::io::Result<()> {
    // SAFETY: all bytes zero is a valid, empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of this function's own.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGUSR2) };
    // SAFETY: as above; the old set is not wanted.
    let error = unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(error)) }
}
