//! Handlers keep `errno`.
//!
//! 1. A thread sets `errno` and looks at it, over and over, while it is hit by
//!    the trigger and by captures. A handler that loses `errno` is seen,
//!    wherever between the two it comes.
//! 2. Both handlers are made to overwrite it: a section sets it, and a seccomp
//!    filter refuses process_vm_readv(2), so that each page of the stack is
//!    probed by a system call that fails.
//!
//! `core`: the report is composed in the handler, on that thread or on the main
//! one by turns. `std`: by gmr-std's supervisor.
#![allow(clippy::std_instead_of_core, reason = "a program of std's world")]
#![cfg_attr(
    all(target_os = "linux", target_arch = "x86_64"),
    allow(unsafe_code, reason = "errno, signals and a seccomp filter")
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::fs::File;
    use std::hint::black_box;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

    use gmr_core::{
        Options, Reporter, SectionResult, SectionWriter, Signal, SignalSafeSection, Stats,
    };
    use gmr_tests::inside::refuse_process_vm_readv;
    use gmr_tests::until;

    static GMR: Reporter = Reporter::new(gmr_core::package!());
    static LOOP_TID: AtomicI32 = AtomicI32::new(0);
    static LOST: AtomicU64 = AtomicU64::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);

    /// Reports; each interrupts the loop once at least.
    const REPORTS: u64 = 40;

    /// Set by the section: no value that the loop uses.
    const SECTIONS_ERRNO: i32 = 100_000;

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    struct Overwriting;

    // SAFETY: writes this thread's errno.
    unsafe impl SignalSafeSection for Overwriting {
        fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
            set_errno(SECTIONS_ERRNO);
            out.value("errno", SECTIONS_ERRNO)?;
            set_errno(SECTIONS_ERRNO);
            Ok(())
        }
    }

    pub(crate) fn main() -> Result<()> {
        let mode = std::env::args().nth(1).unwrap_or_default();
        let null = File::options().write(true).open("/dev/null")?;
        let thread = std::thread::spawn(look_after_errno);
        until("the loop runs", || (LOOP_TID.load(Ordering::Acquire) != 0).then_some(()));
        refuse_process_vm_readv()?;
        let stats: Box<dyn Fn() -> Stats> = match mode.as_str() {
            "core" => {
                GMR.register_section("Overwriting", &Overwriting)?;
                let options = Options::new().destination_fd(null.as_raw_fd());
                GMR.setup_autorun_with(Signal::Usr2, &options)?;
                Box::new(|| GMR.stats())
            }
            "std" => {
                let handle = gmr_std::setup_autorun(gmr_std::package!())
                    .destination_fd(null.as_raw_fd())
                    .register_signal_safe_section("Overwriting", &Overwriting)
                    .install()?;
                Box::new(move || handle.stats())
            }
            _ => return Err("usage: budget_errno core|std".into()),
        };
        let ended = || {
            let stats = stats();
            stats.reports_complete + stats.reports_incomplete
        };
        for report in 1..=REPORTS {
            // SAFETY: no preconditions.
            let here = unsafe { libc::gettid() };
            let tid = if report % 2 == 0 { here } else { LOOP_TID.load(Ordering::Acquire) };
            set_errno(7);
            // SAFETY: a signal to a thread of ours, which handles it.
            unsafe { libc::tgkill(pid(), tid, libc::SIGUSR2) };
            if errno() != 7 {
                LOST.fetch_add(1, Ordering::Relaxed);
            }
            until("the report ends", || (ended() == report).then_some(()));
        }
        STOP.store(true, Ordering::Release);
        thread.join().map_err(|_| "the loop panicked")?;
        let lost = LOST.load(Ordering::Relaxed);
        if lost != 0 {
            return Err(format!("errno was lost {lost} times").into());
        }
        let stats = stats();
        if stats.reports_complete != REPORTS {
            return Err(format!("the loop's thread was not always captured: {stats:?}").into());
        }
        println!("errno kept through {REPORTS} reports");
        Ok(())
    }

    fn look_after_errno() {
        // SAFETY: no preconditions.
        LOOP_TID.store(unsafe { libc::gettid() }, Ordering::Release);
        let mut value = 0;
        while !STOP.load(Ordering::Acquire) {
            value = (value + 1) % 1000;
            set_errno(value);
            for turn in 0..1000 {
                black_box(turn);
            }
            if errno() != value {
                LOST.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn set_errno(value: i32) {
        // SAFETY: no preconditions.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: this thread's own.
        unsafe { location.write_volatile(value) };
    }

    fn errno() -> i32 {
        // SAFETY: no preconditions.
        let location = unsafe { libc::__errno_location() };
        // SAFETY: this thread's own.
        unsafe { location.read_volatile() }
    }

    fn pid() -> i32 {
        std::process::id().cast_signed()
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {}
