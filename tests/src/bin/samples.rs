//! Three threads that two samples tell apart: `parked` waits for ever, `spinner`
//! burns CPU in one function, `mover` goes from one function to another whenever
//! a capture ends its sleep (nanosleep(2) returns EINTR). And two twins,
//! parked at the same place, so that they are one block; with `silent` as third argument
//! instead a thread that no signal reaches for the whole report.
#![allow(unsafe_code, reason = "calls libc")]

use std::hint::black_box;
use std::io::{BufRead, stdin};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread::Builder;
use std::time::Duration;

use gmr_std::View;

static BEGUN: AtomicU32 = AtomicU32::new(0);
static CHILD: AtomicI32 = AtomicI32::new(0);
static CORE: gmr_core::Reporter = gmr_core::Reporter::new(gmr_core::package!());

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let millis: u64 = arguments.first().map_or(Ok(500), |text| text.parse())?;
    let count: u32 = arguments.get(1).map_or(Ok(2), |text| text.parse())?;
    Builder::new().name("parked".into()).spawn(|| {
        BEGUN.fetch_add(1, Ordering::AcqRel);
        loop {
            std::thread::park();
        }
    })?;
    Builder::new().name("spinner".into()).spawn(spins)?;
    Builder::new().name("mover".into()).spawn(|| {
        BEGUN.fetch_add(1, Ordering::AcqRel);
        loop {
            naps_here();
            naps_there();
        }
    })?;
    let is_silent = arguments.get(2).is_some_and(|argument| argument == "silent");
    let begun = if is_silent {
        Builder::new().name("held".into()).spawn(|| {
            BEGUN.fetch_add(1, Ordering::AcqRel);
            gmr_tests::held::wait_for_child(&CHILD);
        })?;
        4
    } else {
        for _ in 0..2 {
            Builder::new().name("twin".into()).spawn(twins)?;
        }
        5
    };
    while BEGUN.load(Ordering::Acquire) < begun {
        std::thread::yield_now();
    }
    let interval = Duration::from_millis(millis);
    if is_silent {
        while CHILD.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        let options = gmr_core::Options::new()
            .view(View::Json)
            .report_deadline(Duration::from_secs(4))
            .thread_deadline(Duration::from_secs(60))
            .samples(count, interval);
        CORE.setup_trigger_with(gmr_core::Signal::Usr2, &options)?;
        Builder::new().name("lent".into()).spawn(|| CORE.run())?;
    } else {
        gmr_std::setup_autorun(gmr_std::package!())
            .view(View::Json)
            .source_lines(false)
            .samples(count, interval)
            .install()?;
    }
    println!("ready");
    for _ in stdin().lock().lines() {}
    match CHILD.load(Ordering::Acquire) {
        0 => {}
        // SAFETY: our child, which only pauses.
        child => _ = unsafe { libc::kill(child, libc::SIGKILL) },
    }
    Ok(())
}

#[inline(never)]
fn twins() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    loop {
        std::thread::park();
    }
}

#[inline(never)]
fn spins() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    // Not a loop around a call: without optimisation the callee is a frame of its own,
    // there in one sample and not in the other.
    // SAFETY: jumps to itself and touches nothing.
    unsafe { std::arch::asm!("2: jmp 2b", options(noreturn, nomem, nostack)) }
}

#[inline(never)]
fn naps_here() {
    nap(3600);
    black_box(());
}

#[inline(never)]
fn naps_there() {
    nap(3601);
    black_box(());
}

fn nap(seconds: i64) {
    let time = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
    // SAFETY: a valid time; the rest is not wanted.
    unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) };
}
