//! Threads that cannot or must not be interrupted, and threads whose stacks a
//! window does not hold. Each is parked 20 frames deep in `deeper`.
//!
//! - `blocked` blocks every signal.
//! - `vforked` waits for the child that it vforked: an uninterruptible sleep.
//! - `excluded` is kept from captures by the setup.
//! - `large` has frames of 8 KiB: 160 KiB of stack.
//! - `on-alternate` is in a handler on an alternate stack.
//!
//! Says `ready` when all are parked. `kill` on stdin ends the child.
#![allow(unsafe_code, reason = "calls libc")]

use std::hint::black_box;
use std::io::{BufRead, stdin};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread::Builder;
use std::time::Duration;

use gmr_std::{Exclude, View};

static PARKED: AtomicU32 = AtomicU32::new(0);
static CHILD: AtomicI32 = AtomicI32::new(0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let thread = |name: &str, body: fn()| {
        Builder::new().name(name.into()).stack_size(1 << 20).spawn(body).map(|_| ())
    };
    thread("blocked", || {
        block_all();
        deeper(20, &mut || park());
    })?;
    thread("vforked", || {
        deeper(20, &mut || {
            PARKED.fetch_add(1, Ordering::AcqRel);
            gmr_tests::held::wait_for_child(&CHILD);
        })
    })?;
    thread("excluded", || deeper(20, &mut || park()))?;
    thread("large", || large(20))?;
    thread("on-alternate", || deeper(20, &mut || raise_on_alternate()))?;
    gmr_std::setup_autorun(gmr_std::package!())
        .view(View::Json)
        .source_lines(false)
        .exclude_threads(&[Exclude::Name("excluded")])
        .install()?;
    while PARKED.load(Ordering::Acquire) < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("ready");
    for _ in stdin().lock().lines() {
        // SAFETY: our child, which only pauses.
        unsafe { libc::kill(CHILD.load(Ordering::Acquire), libc::SIGKILL) };
        println!("killed");
    }
    // Its parent would wait for ever.
    // SAFETY: as above.
    unsafe { libc::kill(CHILD.load(Ordering::Acquire), libc::SIGKILL) };
    Ok(())
}

/// Waits in a read that never ends.
fn park() {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    unsafe { libc::pipe(ends.as_mut_ptr()) };
    PARKED.fetch_add(1, Ordering::AcqRel);
    let mut byte = 0_u8;
    loop {
        // SAFETY: room for one byte.
        unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) };
    }
}

#[inline(never)]
fn deeper(depth: u32, then: &mut dyn FnMut()) {
    if depth == 0 {
        then()
    } else {
        deeper(black_box(depth - 1), then)
    }
    black_box(());
}

#[inline(never)]
fn large(depth: u32) {
    let room = black_box([0_u8; 8192]);
    if depth == 0 {
        park()
    } else {
        large(black_box(depth - 1))
    }
    black_box(room);
}

fn block_all() {
    // SAFETY: all bytes zero is a set.
    let mut all: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a set to fill.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: a whole set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, core::ptr::null_mut()) };
}

#[inline(never)]
fn raise_on_alternate() {
    let memory = Box::leak(vec![0_u8; 64 * 1024].into_boxed_slice());
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: memory that nobody else uses, for ever.
    unsafe { libc::sigaltstack(&raw const stack, core::ptr::null_mut()) };
    // SAFETY: all bytes zero is an action.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = in_handler as *const () as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: a handler of the right kind.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, core::ptr::null_mut()) };
    // SAFETY: a number.
    unsafe { libc::raise(libc::SIGUSR1) };
}

extern "C" fn in_handler(_: i32) {
    deeper(5, &mut || park());
}
