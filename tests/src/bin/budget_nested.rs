//! A report in the handler, with something else going on in the same thread.
//!
//! 1. A function fills its locals and registers with a pattern, and sends its
//!    thread the trigger. The report runs on the reserved stack; back in the
//!    function everything must be as it was.
//! 2. Meanwhile a section of ours faults (`ud2`, `int3`), and a handler with
//!    SA_ONSTACK steps over it, having overwritten a good part of the alternate
//!    stack it runs on. Faults are what the report leaves open.
//!
//! The first argument says where this happens:
//! - `std`: main thread, std's alternate stack;
//! - `own`: main thread, a sigaltstack(2) of its own;
//! - `on`: the function in 1 is itself called by a handler on the alternate
//!   stack, so the fault's handler must not be given that stack anew;
//! - `wait`: the section waits for the end of standard input instead, so that a
//!   debugger can have a look.
//!
//! Exit status 0: complete report, nothing changed, every fault handled.
#![allow(clippy::std_instead_of_core, reason = "a program of std's world")]
#![cfg_attr(
    all(target_os = "linux", target_arch = "x86_64"),
    allow(unsafe_code, reason = "signal handlers and faults")
)]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod linux {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    use gmr_core::{Options, Reporter, SectionResult, SectionWriter, Signal, SignalSafeSection};

    static GMR: Reporter = Reporter::new(gmr_core::package!());

    /// Faults handled.
    static HANDLED: AtomicU32 = AtomicU32::new(0);

    /// Whether a function found its locals or registers changed.
    static CHANGED: AtomicBool = AtomicBool::new(false);

    /// How often the function that is interrupted came to its end.
    static ENDED: AtomicU32 = AtomicU32::new(0);

    /// For two signal frames and a handler between them.
    const OWN_STACK_BYTES: usize = 32 * 1024;

    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    struct Faulting;

    // SAFETY: two faults that our handler steps over, and an atomic.
    unsafe impl SignalSafeSection for Faulting {
        fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
            // SAFETY: the handler goes on behind the instruction.
            unsafe { std::arch::asm!("ud2") };
            // SAFETY: a trap reports the address behind it.
            unsafe { std::arch::asm!("int3") };
            out.value("faults handled", HANDLED.load(Ordering::Relaxed))?;
            Ok(())
        }
    }

    struct Waiting;

    // SAFETY: raw system calls. It waits without a deadline, which is what this
    // test is about.
    unsafe impl SignalSafeSection for Waiting {
        fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
            wait_for_the_end_of_stdin();
            out.value("waited", true)?;
            Ok(())
        }
    }

    #[inline(never)]
    fn wait_for_the_end_of_stdin() {
        let words = b"in the section\n";
        // SAFETY: valid bytes.
        unsafe { libc::write(2, words.as_ptr().cast(), words.len()) };
        let mut byte = 0_u8;
        // SAFETY: room for one byte.
        while unsafe { libc::read(0, (&raw mut byte).cast(), 1) } > 0 {}
    }

    pub(crate) fn main() -> Result<()> {
        let mode = std::env::args().nth(1).unwrap_or_default();
        let hour = Duration::from_secs(3600);
        let options = Options::new()
            .destination_fd(1)
            .report_deadline(hour)
            .section_deadline(hour)
            .output_deadline(hour);
        GMR.setup_autorun_with(Signal::Usr2, &options)?;
        let faults = match mode.as_str() {
            "wait" => {
                // SAFETY: no pointers. Where Yama is on, only this lets a
                // debugger attach that is no ancestor.
                unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
                GMR.register_section("Waiting", &Waiting)?;
                0
            }
            "std" | "own" | "on" => {
                GMR.register_section("Faulting", &Faulting)?;
                2
            }
            _ => return Err("usage: budget_nested std|own|on|wait".into()),
        };
        if mode == "own" || mode == "on" {
            let bytes: &'static mut [u8] = Vec::leak(vec![0; OWN_STACK_BYTES]);
            let stack = libc::stack_t {
                ss_sp: bytes.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: bytes.len(),
            };
            // SAFETY: leaked, and used for nothing else.
            check(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) })?;
        }
        install(libc::SIGILL, on_fault)?;
        install(libc::SIGTRAP, on_fault)?;
        install(libc::SIGUSR1, on_usr1)?;

        let (signal, expected) = if mode == "on" { (libc::SIGUSR1, 2) } else { (libc::SIGUSR2, 1) };
        interrupted_by(signal);

        if (mode == "own" || mode == "on") && alternate_stack_bytes()? != OWN_STACK_BYTES {
            return Err("the alternate stack is not what it was".into());
        }
        let stats = GMR.stats();
        let handled = HANDLED.load(Ordering::Relaxed);
        if CHANGED.load(Ordering::Relaxed) || ENDED.load(Ordering::Relaxed) != expected {
            return Err("the interrupted function is not as it was".into());
        }
        // Of a stack that goes on elsewhere, the window holds the first part
        // only: such a report is whole, but not complete.
        let reports = if mode == "on" { stats.reports_incomplete } else { stats.reports_complete };
        if reports != 1 || handled != faults {
            return Err(format!("{handled} faults handled, {stats:?}").into());
        }
        Ok(())
    }

    /// Sends `signal` to this thread, and looks whether that changed anything
    /// of this frame or of the registers a callee keeps.
    #[inline(never)]
    fn interrupted_by(signal: i32) {
        let mut locals = [0_u64; 64];
        for (index, local) in (0_u64..).zip(&mut locals) {
            *local = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        black_box(&mut locals);
        let (mut r12, mut r13, mut r14, mut r15) = (12_u64, 13_u64, 14_u64, 15_u64);
        // SAFETY: no preconditions.
        let tid = unsafe { libc::gettid() };
        // SAFETY: tgkill; the signal is handled before the next instruction.
        unsafe {
            std::arch::asm!(
                "syscall",
                inout("rax") libc::SYS_tgkill => _,
                in("rdi") pid(), in("rsi") tid, in("rdx") signal,
                inout("r12") r12, inout("r13") r13, inout("r14") r14, inout("r15") r15,
                out("rcx") _, out("r11") _,
            );
        }
        black_box(&mut locals);
        let is_intact = (0_u64..)
            .zip(&locals)
            .all(|(index, local)| *local == index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if !is_intact || (r12, r13, r14, r15) != (12, 13, 14, 15) {
            CHANGED.store(true, Ordering::Relaxed);
        }
        ENDED.fetch_add(1, Ordering::Relaxed);
    }

    /// On the alternate stack: the trigger comes here.
    extern "C" fn on_usr1(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        interrupted_by(libc::SIGUSR2);
    }

    /// On the alternate stack: uses it, and steps over the fault.
    extern "C" fn on_fault(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let mut used = [0xee_u8; 2048];
        black_box(&mut used);
        if signal == libc::SIGILL {
            // SAFETY: the kernel passes a ucontext.
            let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
            // The length of `ud2`.
            context.uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
        }
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }

    fn install(
        signal: i32,
        handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
    ) -> Result<()> {
        // SAFETY: all bytes zero is a valid action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both handlers are made of atomics and their own frame.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })
    }

    /// 0: there is none.
    fn alternate_stack_bytes() -> Result<usize> {
        let mut now =
            libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: a null new stack only asks.
        check(unsafe { libc::sigaltstack(std::ptr::null(), &raw mut now) })?;
        Ok(if now.ss_flags & libc::SS_DISABLE == 0 { now.ss_size } else { 0 })
    }

    fn check(result: i32) -> Result<()> {
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
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
