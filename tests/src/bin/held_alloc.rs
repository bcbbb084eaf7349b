//! A daemon whose allocator's lock is taken by a thread and never given back.
//!
//! `held_alloc std|core`. Says `ready` once it has set up; a line on stdin
//! makes the thread take the lock, which is answered by `held`. From then on
//! nothing in this process can allocate, until a second line makes the thread
//! let go, which is answered by `released`.
#![allow(unsafe_code, reason = "a global allocator, and I/O below std's")]

use core::alloc::{GlobalAlloc, Layout};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::alloc::System;
use std::collections::BTreeMap;
use std::{env, thread};

use gmr_core::{Reporter, Signal};
use gmr_tests::inside::{hear, say};

static CORE: Reporter = Reporter::new(gmr_core::package!(product: "held-alloc"));

struct Locked;

static LOCK: AtomicBool = AtomicBool::new(false);
static WANTED: AtomicBool = AtomicBool::new(false);
static HELD: AtomicBool = AtomicBool::new(false);
static RELEASED: AtomicBool = AtomicBool::new(false);
/// Threads that have begun their work: a start allocates, too.
static BEGUN: AtomicU32 = AtomicU32::new(0);
/// Threads that ask for the lock in vain.
static WAITING: AtomicU32 = AtomicU32::new(0);

const WAITERS: u32 = 2;

#[global_allocator]
static ALLOCATOR: Locked = Locked;

// Its frame is what the test looks for.
#[inline(never)]
fn lock() {
    if HELD.load(Ordering::Acquire) {
        WAITING.fetch_add(1, Ordering::AcqRel);
    }
    while LOCK.swap(true, Ordering::Acquire) {
        // Somebody may hold it for ever: leave the processor to others.
        nap();
    }
}

fn unlock() {
    LOCK.store(false, Ordering::Release);
}

fn nap() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    // SAFETY: a valid time; the rest is not wanted.
    unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) };
    spin_loop();
}

// SAFETY: hands every call on to the system's allocator, one at a time.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        lock();
        // SAFETY: the caller's promise is handed on.
        let pointer = unsafe { System.alloc(layout) };
        unlock();
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        lock();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) };
        unlock();
    }
}

fn main() {
    let mode = env::args().nth(1);
    thread::Builder::new().name("holder".to_owned()).spawn(holder).expect("a thread");
    for _ in 0..WAITERS {
        thread::Builder::new().name("waiter".to_owned()).spawn(waiter).expect("a thread");
    }
    if mode.as_deref() == Some("std") {
        let config = BTreeMap::from([("workers", "4"), ("password", "s3kr1t-held")]);
        gmr_std::setup_autorun(gmr_std::package!())
            .conf(&config)
            .section_deadline(Duration::from_millis(500))
            .register_section("Allocates", || "made of memory".to_owned())
            .register_section("Allocates too", || vec![1, 2, 3])
            .install()
            .expect("a setup");
    } else {
        CORE.setup_autorun(Signal::Usr2).expect("a setup");
    }
    while BEGUN.load(Ordering::Acquire) <= WAITERS {
        nap();
    }
    say("ready\n");
    hear();
    WANTED.store(true, Ordering::Release);
    while WAITING.load(Ordering::Acquire) < WAITERS {
        nap();
    }
    say("held\n");
    if hear() {
        RELEASED.store(true, Ordering::Release);
        say("released\n");
    }
    while hear() {}
    // SAFETY: ends the process without destructors, which would free.
    unsafe { libc::_exit(0) };
}

#[inline(never)]
fn holder() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    while !WANTED.load(Ordering::Acquire) {
        nap();
    }
    lock();
    HELD.store(true, Ordering::Release);
    keeps_the_lock_for_ever();
}

#[inline(never)]
fn keeps_the_lock_for_ever() {
    while !RELEASED.load(Ordering::Acquire) {
        nap();
    }
    HELD.store(false, Ordering::Release);
    unlock();
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

#[inline(never)]
fn waiter() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    while !HELD.load(Ordering::Acquire) {
        nap();
    }
    core::hint::black_box(Box::new(0_u64));
}
