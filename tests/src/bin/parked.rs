//! A daemon whose threads stand still where the debug information has
//! something to tell: in inlined and generic functions, and in a signal handler
//! above an interrupted function. Two have the same stack.
//!
//! `parked VIEW [whole]`: installs, says `ready`, and ends with its standard input.
//! With `whole` each thread is shown by itself, with all its frames.
//!
//! One more thread takes the trigger: the others, the main thread as well, are
//! where they are.
#![allow(unsafe_code, reason = "a signal handler, and a trap for it")]

use std::env;
use std::hint::black_box;
use std::io::{BufRead, stdin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{Builder, park, yield_now};

use gmr_std::View;

static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Never returns, whatever wakes the thread.
#[inline(never)]
fn stays() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    loop {
        park();
    }
}

#[inline(always)]
fn innermost(number: u64) -> u64 {
    stays();
    black_box(number)
}

#[inline(always)]
fn middle(number: u64) -> u64 {
    let number = innermost(number.wrapping_mul(3));
    black_box(number).wrapping_add(1)
}

/// Two inlined functions stand between this one and the next.
#[inline(never)]
fn inlined() {
    black_box(middle(black_box(7)));
}

/// A method of a generic type.
struct Holder<T>(T);

impl<T: Copy> Holder<T> {
    #[inline(never)]
    fn holds<U: Default>(&self, other: U) -> (T, U) {
        let both = black_box((self.0, other));
        // Not the last thing that it does: the call after this one is no tail call.
        [()].iter().for_each(|()| stays());
        black_box(both)
    }
}

fn generic() {
    black_box(Holder(3_u8).holds(String::new()));
}

extern "C" fn handler(_signal: libc::c_int) {
    BEGUN.fetch_add(1, Ordering::AcqRel);
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

/// The instruction that is interrupted is the first one of the next line.
#[inline(always)]
fn traps() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: raises SIGTRAP, which has a handler.
    unsafe {
        core::arch::asm!("int3", options(nostack));
    }
    black_box(1)
}

#[inline(never)]
fn interrupted() {
    black_box(traps());
}

/// Of this thread, and of those that it will begin.
fn mask_trigger(how: libc::c_int) {
    // SAFETY: all bytes zero is a set, and sigemptyset makes it an empty one.
    let mut set: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: the same, with a signal that there is.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGUSR2) };
    // SAFETY: the same, and nowhere to write the old one to.
    unsafe { libc::pthread_sigmask(how, &raw const set, core::ptr::null_mut()) };
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let view = match env::args().nth(1).as_deref() {
        Some("json") => View::Json,
        Some("json-line") => View::JsonLine,
        _ => View::Text,
    };
    mask_trigger(libc::SIG_BLOCK);
    // SAFETY: the handler calls what a handler may call.
    unsafe { libc::signal(libc::SIGTRAP, handler as *const () as libc::sighandler_t) };
    for (name, body) in [
        ("inlined", inlined as fn()),
        ("generic", generic),
        ("interrupted", interrupted),
        ("twin", stays),
        ("twin", stays),
    ] {
        Builder::new().name(name.into()).spawn(body)?;
    }
    Builder::new().name("trigger".into()).spawn(|| {
        mask_trigger(libc::SIG_UNBLOCK);
        stays();
    })?;
    let is_whole = env::args().nth(2).is_some();
    gmr_std::setup_autorun(gmr_std::package!())
        .view(view)
        .fold(!is_whole)
        .entry_frames(is_whole)
        .install()?;
    while BEGUN.load(Ordering::Acquire) < 6 {
        yield_now();
    }
    println!("ready");
    for _ in stdin().lock().lines() {}
    Ok(())
}
