//! Threads that two samples tell apart: `parked` waits for ever, and so do three
//! with the name `alike`, all in one place; `spinner`
//! burns CPU in one function, `mover` goes from one function to another whenever
//! a capture ends its sleep (nanosleep(2) returns EINTR).
#![allow(unsafe_code, reason = "calls libc")]

use std::hint::black_box;
use std::io::{BufRead, stdin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Builder;
use std::time::Duration;

use gmr_std::View;

static BEGUN: AtomicU32 = AtomicU32::new(0);

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
    for _ in 0..3 {
        Builder::new().name("alike".into()).spawn(naps_for_ever)?;
    }
    Builder::new().name("spinner".into()).spawn(spins)?;
    Builder::new().name("mover".into()).spawn(|| {
        BEGUN.fetch_add(1, Ordering::AcqRel);
        loop {
            naps_here();
            naps_there();
        }
    })?;
    gmr_std::setup_autorun(gmr_std::package!())
        .view(View::Json)
        .source_lines(false)
        .samples(count, Duration::from_millis(millis))
        .install()?;
    while BEGUN.load(Ordering::Acquire) < 6 {
        std::thread::yield_now();
    }
    println!("ready");
    for _ in stdin().lock().lines() {}
    Ok(())
}

#[inline(never)]
fn spins() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    // Without a call, which would be another stack.
    let mut number = 1_u64;
    loop {
        number ^= number << 1;
    }
}

/// In one function, whatever ends its sleep.
#[inline(never)]
fn naps_for_ever() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    loop {
        nap(3602);
    }
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
