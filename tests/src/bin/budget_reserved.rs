//! How much stack a report takes.
//!
//! 1. A thread waits below a function whose (mangled) name costs rustc-demangle
//!    the most stack known: 498 nested trait objects, written in assembly,
//!    for no compiler would. (`plain`: below no such function.)
//! 2. The main thread triggers reports in the handler.
//! 3. The reserved stack was mapped as zeros, so what is still zero from its
//!    low end was never needed: `took N of M bytes`.
//!
//! With a second argument, `here`, 2 is `report_here` on a thread with a large
//! stack, of which the same is true.
#![allow(clippy::std_instead_of_core, reason = "a program of std's world")]
#![cfg_attr(
    all(target_os = "linux", target_arch = "x86_64"),
    allow(unsafe_code, reason = "a function in assembly, and signals")
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::sync::{Condvar, Mutex};

    use gmr_core::symbols::test_support::{DEEP_NAME_BYTES, deep_v0_name};
    use gmr_core::{Options, Reporter, Requester, Signal};

    static GMR: Reporter = Reporter::new(gmr_core::package!());

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    macro_rules! twice {
        ($($text:tt)*) => { concat!($($text)*, $($text)*) };
    }
    macro_rules! times_16 {
        ($($text:tt)*) => { twice!(twice!(twice!(twice!($($text)*)))) };
    }
    /// 256 + 128 + 64 + 32 + 16 + 2
    macro_rules! times_498 {
        ($text:literal) => {
            concat!(
                times_16!(times_16!($text)),
                times_16!(twice!(twice!(twice!($text)))),
                times_16!(twice!(twice!($text))),
                times_16!(twice!($text)),
                times_16!($text),
                twice!($text),
            )
        };
    }
    /// What [`deep_v0_name`] makes; checked below.
    macro_rules! deep_name {
        () => {
            concat!("_RINvC1a1b", times_498!("DIC0"), "p", times_498!("EEL_"), "E")
        };
    }

    std::arch::global_asm!(
        ".text",
        ".globl gmr_budget_call_deep",
        ".hidden gmr_budget_call_deep",
        "gmr_budget_call_deep:",
        concat!("jmp ", deep_name!()),
        concat!(".type ", deep_name!(), ", @function"),
        concat!(deep_name!(), ":"),
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "call rdi",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        concat!(".size ", deep_name!(), ", . - ", deep_name!()),
    );

    unsafe extern "C" {
        /// Calls `function` from the function with the deep name.
        fn gmr_budget_call_deep(function: extern "C" fn());
    }

    /// Two, for the second finds caches filled.
    const REPORTS: u64 = 2;

    /// For `report_here`.
    const HERE_BYTES: usize = 4 << 20;

    /// 0: starting, 1: the thread waits, 2: it may end.
    static STAGE: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

    fn reach(stage: u32) {
        if let Ok(mut now) = STAGE.0.lock() {
            *now = stage;
        }
        STAGE.1.notify_all();
    }

    #[inline(never)]
    fn wait_for(stage: u32) {
        if let Ok(now) = STAGE.0.lock() {
            drop(STAGE.1.wait_while(now, |now| *now < stage));
        }
    }

    extern "C" fn wait_here() {
        reach(1);
        wait_for(2);
    }

    pub(crate) fn main() -> Result<()> {
        let mode = std::env::args().nth(1).unwrap_or_default();
        let is_here = std::env::args().nth(2).is_some_and(|how| how == "here");
        if deep_v0_name(&mut [0; DEEP_NAME_BYTES]) != deep_name!() {
            return Err("this is not the deepest name any more".into());
        }
        GMR.setup_autorun_with(Signal::Usr2, &Options::new().destination_fd(1))?;
        // The trigger is for the main thread.
        let thread = blocked(|| {
            std::thread::spawn(move || {
                if mode == "deep" {
                    // SAFETY: calls `wait_here`, and keeps the ABI.
                    unsafe { gmr_budget_call_deep(wait_here) };
                } else {
                    wait_here();
                }
            })
        });
        wait_for(1);
        let here = if is_here {
            let reporter = std::thread::Builder::new().stack_size(HERE_BYTES);
            let thread = blocked(|| reporter.spawn(report_here))?;
            Some(thread.join().map_err(|_| "report_here panicked")?)
        } else {
            for _ in 0..REPORTS {
                // SAFETY: a signal to this process; handled before the call
                // returns.
                unsafe { libc::kill(pid(), libc::SIGUSR2) };
            }
            None
        };
        reach(2);
        thread.join().map_err(|_| "the thread panicked")?;
        let stats = GMR.stats();
        if stats.reports_complete != REPORTS {
            return Err(format!("not as many complete reports: {stats:?}").into());
        }
        let reserved = || GMR.reserved_stack(0);
        let (untouched, bytes) = here.or_else(reserved).ok_or("there is no such stack")?;
        eprintln!("took {} of {bytes} bytes", bytes - untouched);
        Ok(())
    }

    /// Composes reports on this thread's stack; how much of that was never
    /// touched, and its size.
    fn report_here() -> (usize, usize) {
        // SAFETY: all bytes zero is an attribute set to be filled.
        let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
        let (mut low, mut bytes) = (std::ptr::null_mut(), 0);
        // SAFETY: no preconditions.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: this thread, and a place to fill.
        unsafe { libc::pthread_getattr_np(this, &raw mut attributes) };
        // SAFETY: just filled, and places for the answers.
        unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut bytes) };
        for _ in 0..REPORTS {
            GMR.report_here(Requester::call());
        }
        let words = low.cast::<u64>();
        let untouched = (0..bytes / 8).take_while(|at| {
            // SAFETY: this thread's own stack, from its low end up.
            unsafe { words.wrapping_add(*at).read_volatile() == 0 }
        });
        (untouched.count() * 8, bytes)
    }

    /// Runs `body` with the trigger blocked, which threads inherit.
    fn blocked<R>(body: impl FnOnce() -> R) -> R {
        // SAFETY: all bytes zero is a valid set.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a valid set.
        unsafe { libc::sigaddset(&raw mut set, libc::SIGUSR2) };
        // SAFETY: as above; affects this thread only.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        let result = body();
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
        result
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
