//! Measures what our handlers take of the stack of the thread they interrupt.
//!
//! 1. A thread parks in rt_sigsuspend(2), called by inline assembly that never
//!    touches its stack: what changes below its stack pointer, a signal did.
//! 2. The main thread paints that region, delivers a signal, waits until
//!    rt_sigsuspend has returned, and looks for the lowest changed byte.
//! 3. First an empty SA_SIGINFO handler's signal: the kernel's frame, and
//!    nothing else. Then ours; the difference is printed as
//!    `used N bytes over the frame of M`.
//!
//! The thread's alternate stack is switched off, so that a handler with
//! SA_ONSTACK is seen too. Every signal but the one awaited stays blocked
//! outside of rt_sigsuspend, so each delivery is one return.
//!
//! Limit: bytes that a handler reserves below all it writes are not seen; no
//! memory is touched there, so no page is needed either.
#![allow(clippy::std_instead_of_core, reason = "a program of std's world")]
#![cfg_attr(
    all(target_os = "linux", target_arch = "x86_64"),
    allow(unsafe_code, reason = "signals, and a stack seen from outside")
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

    use gmr_core::{Options, Reporter, Requester, Signal};
    use gmr_tests::inside::refuse_process_vm_readv;
    use gmr_tests::until;

    static GMR: Reporter = Reporter::new(gmr_core::package!());

    /// How far below the stack pointer is painted.
    const PAINTED_BYTES: u64 = 64 * 1024;

    /// Rounds per measurement: the first call may look something up.
    const ROUNDS: usize = 3;

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    /// What the parked thread shows of itself.
    struct Parked {
        tid: AtomicI32,
        sp: AtomicU64,
        returns: AtomicU64,
        /// What stays blocked inside of rt_sigsuspend, as the kernel has it.
        mask: AtomicU64,
        stop: AtomicU32,
    }

    static PARKED: Parked = Parked {
        tid: AtomicI32::new(0),
        sp: AtomicU64::new(0),
        returns: AtomicU64::new(0),
        mask: AtomicU64::new(0),
        stop: AtomicU32::new(0),
    };

    pub(crate) fn main() -> Result<()> {
        let mode = std::env::args().nth(1).unwrap_or_default();
        let null = File::options().write(true).open("/dev/null")?;
        let options = Options::new().destination_fd(null.as_raw_fd());

        if mode == "std" {
            // There the supervisor would capture the thread as well; the
            // trigger alone is to be measured.
            PARKED.mask.store(1 << (libc::SIGURG - 1), Ordering::Relaxed);
        }
        install_empty(libc::SIGUSR1)?;
        let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(park)?;
        until("the thread is parked", || is_parked().then_some(()));

        let frame = measure(|| send(libc::SIGUSR1))?;
        let used = match mode.as_str() {
            "core-in-handler" => {
                GMR.setup_autorun_with(Signal::Usr2, &options)?;
                let used = measure(|| send(libc::SIGUSR2))?;
                expect_reports(GMR.stats())?;
                used
            }
            "core-lent" => {
                GMR.setup_trigger_with(Signal::Usr2, &options)?;
                // Nobody in `run`: requests are kept.
                measure(|| send(libc::SIGUSR2))?
            }
            "std" => {
                let handle = gmr_std::setup_autorun(gmr_std::package!())
                    .destination_fd(null.as_raw_fd())
                    .install()?;
                let used = measure(|| {
                    let before = handle.stats().reports_complete;
                    send(libc::SIGUSR2)?;
                    until("the report ends", || {
                        (handle.stats().reports_complete > before).then_some(())
                    });
                    Ok(())
                })?;
                expect_reports(handle.stats())?;
                used
            }
            "capture" | "capture-refused" => {
                if mode == "capture-refused" {
                    refuse_process_vm_readv()?;
                }
                GMR.setup(&options)?;
                let used = measure(|| {
                    GMR.report_here(Requester::call());
                    Ok(())
                })?;
                expect_reports(GMR.stats())?;
                used
            }
            _ => {
                return Err(
                    "usage: budget_stack core-in-handler|core-lent|std|capture[-refused]".into()
                );
            }
        };
        println!("used {} bytes over the frame of {frame}", used.saturating_sub(frame));
        PARKED.stop.store(1, Ordering::Release);
        send(libc::SIGUSR1)?;
        thread.join().map_err(|_| "the parked thread panicked")?;
        Ok(())
    }

    /// The largest distance from the stack pointer down to a changed byte, over
    /// some rounds of `deliver`, which causes one signal to the parked thread.
    fn measure(mut deliver: impl FnMut() -> Result<()>) -> Result<u64> {
        let sp = PARKED.sp.load(Ordering::Acquire);
        let mut most = 0;
        for _ in 0..ROUNDS {
            for at in painted(sp) {
                // SAFETY: below the stack pointer of a thread that does not
                // run; its stack is larger than this.
                unsafe { (at as *mut u64).write_volatile(paint(at)) };
            }
            let returns = PARKED.returns.load(Ordering::Acquire);
            deliver()?;
            until("the handler has returned", || {
                let is_over = PARKED.returns.load(Ordering::Acquire) == returns + 1;
                (is_over && is_parked()).then_some(())
            });
            let lowest = painted(sp).find(|at| {
                // SAFETY: as above.
                unsafe { (*at as *const u64).read_volatile() != paint(*at) }
            });
            most = most.max(sp - lowest.ok_or("no signal touched the stack")?);
        }
        Ok(most)
    }

    fn painted(sp: u64) -> impl Iterator<Item = u64> {
        (sp - PAINTED_BYTES..sp).step_by(8)
    }

    /// Differs from word to word, and from what programs write.
    fn paint(address: u64) -> u64 {
        (address ^ 0x5bd1_e995_9d3a_c6e7).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Parks until `stop` is set, touching no stack.
    fn park() {
        let no_stack =
            libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: plain data; std gave this thread an alternate stack, which is
        // not in use now and is freed all the same.
        unsafe { libc::sigaltstack(&raw const no_stack, std::ptr::null_mut()) };
        // SAFETY: all bytes zero is a valid set, which is filled then.
        let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a valid set.
        unsafe { libc::sigfillset(&raw mut all) };
        // SAFETY: as above; affects this thread only.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
        // SAFETY: no preconditions.
        PARKED.tid.store(unsafe { libc::gettid() }, Ordering::Release);
        // SAFETY: system calls with a valid mask; writes two atomics of a
        // static; no `nostack` option, so nothing lives below the stack pointer.
        unsafe {
            std::arch::asm!(
                "mov [{sp}], rsp",
                "2:",
                "mov eax, 130", // rt_sigsuspend
                "mov rdi, {mask}",
                "mov esi, 8",
                "syscall",
                "lock inc qword ptr [{returns}]",
                "cmp dword ptr [{stop}], 0",
                "je 2b",
                sp = in(reg) PARKED.sp.as_ptr(),
                mask = in(reg) PARKED.mask.as_ptr(),
                returns = in(reg) PARKED.returns.as_ptr(),
                stop = in(reg) PARKED.stop.as_ptr(),
                out("rax") _, out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _,
            );
        }
    }

    /// Whether the thread sleeps, for which it has one place only.
    fn is_parked() -> bool {
        let tid = PARKED.tid.load(Ordering::Acquire);
        PARKED.sp.load(Ordering::Acquire) != 0
            && std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"))
                .is_ok_and(|stat| stat.contains(") S "))
    }

    fn send(signal: i32) -> Result<()> {
        let tid = PARKED.tid.load(Ordering::Acquire);
        // SAFETY: a signal to a thread of ours, which handles it.
        if unsafe { libc::tgkill(pid(), tid, signal) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(())
    }

    /// The smallest handler there is: the kernel's frame is all it costs.
    #[unsafe(naked)]
    extern "C" fn empty(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        std::arch::naked_asm!("ret")
    }

    fn install_empty(signal: i32) -> Result<()> {
        // SAFETY: all bytes zero is a valid action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = empty as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: a handler that does nothing.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(())
    }

    fn expect_reports(stats: gmr_core::Stats) -> Result<()> {
        if stats.reports_complete == ROUNDS as u64 && stats.reports_incomplete == 0 {
            Ok(())
        } else {
            Err(format!("not every round gave a complete report: {stats:?}").into())
        }
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
