//! Executes itself again and again while reports are being written: whatever
//! signal of ours is pending must not end the next image.
//!
//! `execer std|core NUMBER LAST`. The trigger is blocked from before each exec
//! until the next image has set up: its own pending requests are its business.
#![allow(unsafe_code, reason = "signal masks")]

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::thread;
use std::time::Instant;

use core::hint::black_box;
use core::time::Duration;

use gmr_core::{Reporter, Requester, Signal};

static CORE: Reporter = Reporter::new(gmr_core::package!());

/// Spread over the time that a report's captures take.
const STEP: Duration = Duration::from_micros(25);

fn main() {
    gmr_std::arm();
    let arguments: Vec<_> = env::args().collect();
    let [_, mode, number, last] = &arguments[..] else { panic!("std|core NUMBER LAST") };
    let (number, last): (u32, u32) =
        (number.parse().expect("a number"), last.parse().expect("a number"));
    if number == last {
        println!("image {number} survived");
        return;
    }
    with_trigger(libc::SIG_BLOCK);
    for _ in 0..4 {
        thread::spawn(|| thread::sleep(Duration::from_secs(3600)));
    }
    let null = std::fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    let fd = std::os::fd::IntoRawFd::into_raw_fd(null);
    let reporter = if mode == "std" {
        let handle = gmr_std::setup_autorun(gmr_std::package!()).destination_fd(fd).install();
        handle.expect("a setup").reporter()
    } else {
        let options = gmr_core::Options::new().destination_fd(fd);
        CORE.setup_trigger_with(Signal::Usr2, &options).expect("a setup");
        thread::spawn(|| CORE.run());
        &CORE
    };
    with_trigger(libc::SIG_UNBLOCK);
    if number.is_multiple_of(10) {
        println!("image {number}");
    }
    with_trigger(libc::SIG_BLOCK);
    // A report is on its way, whether the rain asked for one or not.
    reporter.request(Requester::call());
    let began = Instant::now();
    while began.elapsed() < STEP * (number % 100) {
        black_box(());
    }
    let error = Command::new("/proc/self/exe")
        .args([mode, &(number + 1).to_string(), &last.to_string()])
        .exec();
    eprintln!("exec: {error}");
    process::exit(1);
}

fn with_trigger(how: i32) {
    // SAFETY: all bytes zero is a valid set.
    let mut set: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a set of this function's own.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGUSR2) };
    // SAFETY: as above; affects this thread only.
    unsafe { libc::pthread_sigmask(how, &raw const set, core::ptr::null_mut()) };
}
