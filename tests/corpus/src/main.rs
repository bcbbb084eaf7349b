//! One thread of each kind, each called by its kind, each at rest.
//!
//! 1. `main` sets up reports and starts the threads of every module below.
//! 2. Each says that it has arrived as the last thing before it waits; then all
//!    of them are seen asleep in /proc (`busy` runs).
//! 3. The thread `herald` prints `READY`, and ends the process when stdin ends.
//!    `main` waits for it: in `join`, as a kind of its own.
//!
//! `--undumpable` clears PR_SET_DUMPABLE before READY, which closes most of
//! /proc/self to a process without privileges. `--system` reads the debug
//! information of system libraries, too. `--c=DIRECTORY` has libraries of C to
//! load. Other arguments are directories with separate debug files.

mod asm;
mod deep;
mod foreign;
mod io;
mod panics;
mod rest;
mod shapes;
mod signals;
mod sync;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{panic, process, thread};

static MAIN_WAITS: AtomicBool = AtomicBool::new(false);

/// The reports: everything shown as it is, nothing folded or shortened.
fn set_up(debug_dirs: Vec<PathBuf>, reads_system: bool) {
    let setup = gmr_std::setup_autorun(gmr_std::package!())
        .view(gmr_std::View::JsonLine)
        .fold(false)
        .full_names(true)
        .entry_frames(true)
        .source_lines_of_system(reads_system)
        .debug_dirs(debug_dirs);
    setup.install().expect("a setup");
}

fn main() {
    gmr_std::arm();
    let (mut is_undumpable, mut reads_system) = (false, false);
    let (mut debug_dirs, mut c_dirs) = (Vec::new(), Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--undumpable" => is_undumpable = true,
            "--system" => reads_system = true,
            other => match other.strip_prefix("--c=") {
                Some(directory) => c_dirs.push(PathBuf::from(directory)),
                None => debug_dirs.push(PathBuf::from(other)),
            },
        }
    }
    set_up(debug_dirs, reads_system);
    // Standard error is for reports.
    panic::set_hook(Box::new(panics::hook));

    for kinds in [
        sync::KINDS,
        io::KINDS,
        foreign::KINDS,
        signals::KINDS,
        deep::KINDS,
        panics::KINDS,
        shapes::KINDS,
        asm::KINDS,
    ] {
        for &(name, run) in kinds {
            rest::start(name, run);
        }
    }
    for directory in &c_dirs {
        foreign::start_c(directory);
    }
    if is_undumpable {
        // SAFETY: changes a flag of this process.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }, 0);
    }
    let herald = thread::Builder::new().name("herald".into()).spawn(herald).expect("a thread");
    MAIN_WAITS.store(true, Ordering::Release);
    let _ = herald.join();
}

fn herald() {
    while !MAIN_WAITS.load(Ordering::Acquire) {
        thread::yield_now();
    }
    rest::wait_until_all_rest();
    println!("READY");
    for line in std::io::stdin().lines() {
        drop(line);
    }
    process::exit(0);
}
