//! A report from a program that has no allocator, no std and no unwinder.
//!
//! 1. No `#[global_allocator]` and no `alloc` crate: had anything reachable in
//!    gmr-core a call to an allocator, this would not link.
//! 2. The program owns its signal handler (`libc::sigaction`) and composes the
//!    report there, by [`Reporter::report_here`], on an alternate stack.
//! 3. It sends itself the signal. Exit status 0: one report, and complete.
//! 4. `errno`, which the section overwrites, must be what it was.
//! 5. The alternate stack is painted: how much of it the report took goes to
//!    stderr, and more than [`Reporter::report_here`] documents is an error.
//!
//! What it takes to link:
//! - `#![no_main]`: std's `main` wrapper is not there; libc's start code calls
//!   `main` by its C name.
//! - `panic = "abort"` in both profiles, and a panic handler of its own.
//! - `rust_eh_personality`: `core` comes compiled with unwind tables, which
//!   name it. Nothing ever calls it.
#![no_std]
#![no_main]

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};

use gmr_core::{
    Options, Package, Reporter, Requester, Scope, SectionResult, SectionWriter, SignalSafeSection,
};

static GMR: Reporter = Reporter::new(PACKAGE);
const PACKAGE: Package = gmr_core::package!(product: "no-alloc");

/// What [`Reporter::report_here`] says it needs.
const DOCUMENTED_STACK_BYTES: usize = 16 * 1024;

/// For the kernel's signal frame.
const FRAME_BYTES: usize = 16 * 1024;

const PAINT: u8 = 0xa5;

const PAINTED: u128 = u128::from_ne_bytes([PAINT; 16]);

/// The alternate stack, in units of its alignment.
type Stack = [u128; (DOCUMENTED_STACK_BYTES * 2 + FRAME_BYTES) / 16];

static mut STACK: Stack = [PAINTED; (DOCUMENTED_STACK_BYTES * 2 + FRAME_BYTES) / 16];

/// A section of the program's own.
struct Work {
    done: AtomicU64,
}

static WORK: Work = Work { done: AtomicU64::new(0) };

// SAFETY: an atomic load and this thread's errno; nothing allocates, locks,
// panics or waits.
unsafe impl SignalSafeSection for Work {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        set_errno(libc::EILSEQ);
        out.value("items done", self.done.load(Ordering::Relaxed))?;
        Ok(())
    }
}

/// Where the stack was when the handler began.
static HANDLER_SP: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // It is in the report, and shows that scopes need no allocator.
    let _scope = Scope::enter_with("handling", "the trigger");
    let here = 0_u8;
    HANDLER_SP.store(&raw const here as u64, Ordering::Relaxed);
    // SAFETY: the kernel's siginfo, valid in the handler.
    let (code, pid, uid) = unsafe { ((*info).si_code, (*info).si_pid(), (*info).si_uid()) };
    GMR.report_here(Requester::signal(signal, code, pid.cast_unsigned(), uid, 0));
}

/// Everything that can go wrong, as the exit status.
#[repr(i32)]
#[derive(Clone, Copy)]
enum Failed {
    Setup = 1,
    Section = 2,
    Signal = 3,
    Report = 4,
    Stack = 5,
    Errno = 6,
}

fn run() -> Result<(), Failed> {
    GMR.setup(&Options::new().destination_fd(1)).map_err(|_| Failed::Setup)?;
    GMR.register_section("Work", &WORK).map_err(|_| Failed::Section)?;
    take_signal()?;
    WORK.done.store(42, Ordering::Relaxed);
    set_errno(libc::EXDEV);
    // SAFETY: a signal to this process; its one thread has it before kill returns.
    if unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) } != 0 {
        return Err(Failed::Signal);
    }
    if errno() != libc::EXDEV {
        return Err(Failed::Errno);
    }
    let stats = GMR.stats();
    if stats.reports_complete != 1 || stats.reports_incomplete != 0 {
        return Err(Failed::Report);
    }
    let used = stack_used();
    say(used);
    if used > DOCUMENTED_STACK_BYTES { Err(Failed::Stack) } else { Ok(()) }
}

fn set_errno(value: i32) {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = value };
}

fn errno() -> i32 {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() }
}

/// SIGUSR2 to [`on_signal`], on the painted stack, SIGPIPE blocked meanwhile.
fn take_signal() -> Result<(), Failed> {
    let stack =
        libc::stack_t { ss_sp: (&raw mut STACK).cast(), ss_flags: 0, ss_size: size_of::<Stack>() };
    // SAFETY: a static of ours that nothing else uses, and plain data.
    let is_taken = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaltstack(&raw const stack, core::ptr::null_mut()) == 0
            && libc::sigaction(libc::SIGUSR2, &raw const action, core::ptr::null_mut()) == 0
    };
    if is_taken { Ok(()) } else { Err(Failed::Signal) }
}

/// Bytes below the handler's frame that lost their paint.
fn stack_used() -> usize {
    let base = &raw const STACK as usize;
    let mut at = base;
    // SAFETY: reads bytes of the static; the handler is done with it.
    while at < base + size_of::<Stack>() && unsafe { (at as *const u8).read_volatile() } == PAINT {
        at += 1;
    }
    (HANDLER_SP.load(Ordering::Relaxed) as usize).saturating_sub(at)
}

/// `report_here used N bytes of stack`, to stderr.
fn say(mut number: usize) {
    let mut digits = [b' '; 20];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    for text in [b"report_here used", &digits[..], b" bytes of stack\n"] {
        // SAFETY: valid bytes; stderr may be closed, which is no harm.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
}

/// C's `main`.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: i32, _argv: *const *const u8) -> i32 {
    match run() {
        Ok(()) => 0,
        Err(failed) => failed as i32,
    }
}

#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

/// Named by `core`'s unwind tables; never called.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
