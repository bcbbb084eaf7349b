//! The capture signal: asks one thread to copy its registers and the top of
//! its stack.
//!
//! 1. `install`, at setup: SIGURG if nobody handles it, else the highest free
//!    real-time signal. SIGURG's default action is *ignore*, so a capture that
//!    is pending across an exec cannot kill the new image; with a real-time
//!    signal it can, which is why it is the second choice.
//! 2. The handler checks that the signal is from this process and carries our
//!    token, claims its slot and copies. About 1 µs; the thread never waits.
//! 3. Everything else that arrives on the signal goes to the previous handler.
//!
//! SA_RESTART: most interrupted calls are restarted; those that never are
//! (epoll_wait, poll, nanosleep, …: signal(7)) return EINTR once. SA_ONSTACK
//! only where the handler fits std's 8 KiB alternate stack.
//!
//! # Safety
//!
//! The handler is async-signal-safe: it makes raw system calls, touches atomics
//! and its own slot, and keeps `errno`.
#![expect(unsafe_code, reason = "a signal handler")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use crate::protocol::ownership::MAX_BANKS;
use crate::protocol::slots::{Slot, Token};
use crate::stacks::unwind::Registers;
use crate::sys::signal::{Action, Info, Mask};
use crate::sys::{clock, errno, futex, vm};

/// Marks our signals' values: "GM" and the bank above the token.
const MAGIC: u64 = 0x474d;

/// Below the stack pointer a leaf function may keep data (System V ABI).
const RED_ZONE_BYTES: u64 = 128;

/// What the handler may use beyond the kernel's frame; asserted by tests.
const HANDLER_BUDGET_BYTES: usize = 2048;

/// What a thread's handler hands over.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) registers: Registers,
    /// Address of the window's first byte.
    pub(crate) base: u64,
    /// How much of the window was read.
    pub(crate) used: usize,
    /// How long the handler took, in nanoseconds.
    pub(crate) elapsed_ns: u64,
    pub(crate) window: &'static mut [u8],
}

impl Snapshot {
    /// Copies registers and window of what `context` interrupted.
    ///
    /// # Safety
    ///
    /// `context` is the pointer a handler on this thread got.
    pub(crate) unsafe fn take(&mut self, context: *const libc::c_void) {
        let began_ns = clock::monotonic_ns();
        // SAFETY: the caller's promise.
        self.registers = unsafe { registers(context) };
        self.base = self.registers.sp.saturating_sub(RED_ZONE_BYTES) & !7;
        self.used = vm::read(self.base, self.window);
        self.elapsed_ns = clock::monotonic_ns().saturating_sub(began_ns);
    }
}

/// The interrupted registers.
///
/// # Safety
///
/// `context` is the pointer a handler got.
pub(crate) unsafe fn registers(context: *const libc::c_void) -> Registers {
    // SAFETY: the kernel passes a ucontext.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let register = |index: i32| -> u64 {
        let index = usize::try_from(index).unwrap_or(0);
        context.uc_mcontext.gregs.get(index).copied().unwrap_or(0).cast_unsigned()
    };
    Registers {
        pc: register(libc::REG_RIP),
        sp: register(libc::REG_RSP),
        fp: register(libc::REG_RBP),
    }
}

/// One bank's slots.
#[derive(Debug)]
pub(crate) struct Slots {
    pub(crate) slots: &'static [Slot<Snapshot>],
    /// Counts answers: what the supervisor waits on.
    pub(crate) answers: AtomicU32,
}

/// What the handler needs to find, process-wide.
struct Global {
    /// 0 until installed.
    signal: AtomicI32,
    pid: AtomicU32,
    banks: [AtomicPtr<Slots>; MAX_BANKS],
    previous: UnsafeCell<Option<Action>>,
}

// SAFETY: `previous` is written before `signal` is set (Release) by the one
// installer, and only read after that.
unsafe impl Sync for Global {}

static GLOBAL: Global = Global {
    signal: AtomicI32::new(0),
    pid: AtomicU32::new(0),
    banks: [AtomicPtr::new(core::ptr::null_mut()), AtomicPtr::new(core::ptr::null_mut())],
    previous: UnsafeCell::new(None),
};

extern "C" fn on_capture(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let _errno = errno::Saved::now();
    // SAFETY: the kernel's arguments.
    if unsafe { answer(info, context) } {
        return;
    }
    // SAFETY: written before the handler was installed.
    if let Some(previous) = unsafe { &*GLOBAL.previous.get() } {
        // SAFETY: a handler of this signal, with our arguments.
        unsafe { previous.call(signal, info, context) };
    }
}

/// Whether the signal was ours.
///
/// # Safety
///
/// The arguments of a handler.
unsafe fn answer(info: *const libc::siginfo_t, context: *const libc::c_void) -> bool {
    // SAFETY: the caller's promise.
    let info = unsafe { Info::read(info) };
    let pid = GLOBAL.pid.load(Ordering::Acquire);
    if info.code == libc::SI_QUEUE && info.value >> 48 == MAGIC {
        if info.pid != pid || crate::sys::getpid() != pid {
            // Forged, or we are a forked child: not ours to answer.
            return info.pid == pid;
        }
        let bank = (info.value >> 32) as usize & 0xff;
        let token = Token::from_bits(info.value as u32);
        // SAFETY: the caller's promise.
        unsafe { fill(bank, token, context) };
        return true;
    }
    if info.code == libc::SI_USER && info.pid == 0 && crate::sys::getpid() == pid {
        // The kernel had no memory to queue the value: the signal comes bare.
        if let Some((bank, token)) = waiting_for_this_thread() {
            // SAFETY: the caller's promise.
            unsafe { fill(bank, token, context) };
            return true;
        }
    }
    false
}

/// The request that a signal without a token belongs to. A function of its
/// own, so that its locals are no part of the usual path's stack.
#[inline(never)]
fn waiting_for_this_thread() -> Option<(usize, Token)> {
    let tid = crate::sys::gettid();
    for bank in 0..MAX_BANKS {
        let Some(slots) = bank_slots(bank) else { continue };
        for (index, slot) in slots.slots.iter().enumerate() {
            if let Some(token) = slot.waiting_for(index as u8, tid) {
                return Some((bank, token));
            }
        }
    }
    None
}

fn bank_slots(bank: usize) -> Option<&'static Slots> {
    let slots = GLOBAL.banks.get(bank)?.load(Ordering::Acquire);
    // SAFETY: set once, to memory that is never given back.
    unsafe { slots.as_ref() }
}

/// # Safety
///
/// `context` is a handler's.
unsafe fn fill(bank: usize, token: Token, context: *const libc::c_void) {
    let Some(slots) = bank_slots(bank) else { return };
    let Some(slot) = slots.slots.get(token.index()) else { return };
    let filled = slot.claim(token, crate::sys::gettid(), |snapshot| {
        // SAFETY: the caller's promise.
        unsafe { snapshot.take(context) };
    });
    if filled {
        slots.answers.fetch_add(1, Ordering::Release);
        futex::wake(&slots.answers, 1);
    }
}

/// Why the capture signal could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotInstalled {
    /// Every candidate has a handler of somebody else.
    NoFreeSignal,
    /// sigaction(2) failed.
    Refused(i32),
}

/// Whether [`install`] will find a signal.
pub(crate) fn check() -> Result<(), NotInstalled> {
    if GLOBAL.signal.load(Ordering::Acquire) != 0 {
        return Ok(());
    }
    choose().map(|_| ())
}

/// Installs the handler, once per process (a forked child: anew).
pub(crate) fn install(banks: [*mut Slots; MAX_BANKS]) -> Result<i32, NotInstalled> {
    GLOBAL.pid.store(crate::sys::getpid(), Ordering::Release);
    for (place, slots) in GLOBAL.banks.iter().zip(banks) {
        place.store(slots, Ordering::Release);
    }
    let installed = GLOBAL.signal.load(Ordering::Acquire);
    if installed != 0 {
        return Ok(installed);
    }
    let signal = choose()?;
    let on_stack = super::alternate_stack_flag(HANDLER_BUDGET_BYTES);
    let previous = crate::sys::signal::current(signal).map_err(NotInstalled::Refused)?;
    // SAFETY: the one installer (setup is serialised), and our handler, the
    // one reader, is not installed yet.
    unsafe { *GLOBAL.previous.get() = Some(previous) };
    let mask = Mask::all_asynchronous();
    // SAFETY: `on_capture` is async-signal-safe (module page) and static.
    unsafe { crate::sys::signal::install(signal, on_capture, libc::SA_RESTART | on_stack, &mask) }
        .map_err(NotInstalled::Refused)?;
    GLOBAL.signal.store(signal, Ordering::Release);
    Ok(signal)
}

/// For a setup that failed: forgets the banks, and gives the signal back if
/// nobody has chained our handler since.
pub(crate) fn uninstall() {
    for place in &GLOBAL.banks {
        place.store(core::ptr::null_mut(), Ordering::Release);
    }
    let signal = signal();
    // A real-time signal may still be pending somewhere, and its default action
    // would end the process: there, ours stays.
    if signal == libc::SIGURG && is_in_place() {
        // SAFETY: written before the handler was installed.
        if let Some(previous) = unsafe { &*GLOBAL.previous.get() } {
            previous.restore(signal);
            GLOBAL.signal.store(0, Ordering::Release);
        }
    }
}

fn choose() -> Result<i32, NotInstalled> {
    let is_free = |signal: i32| {
        crate::sys::signal::current(signal)
            .is_ok_and(|action| action.is_default() || action.is_ignored())
    };
    if is_free(libc::SIGURG) {
        return Ok(libc::SIGURG);
    }
    crate::sys::signal::real_time_range()
        .rev()
        .find(|signal| is_free(*signal))
        .ok_or(NotInstalled::NoFreeSignal)
}

/// The capture signal; 0 before the setup.
pub(crate) fn signal() -> i32 {
    GLOBAL.signal.load(Ordering::Acquire)
}

/// Whether our handler is the installed one. If not, another library may have
/// chained it: a self-capture tells.
pub(crate) fn is_in_place() -> bool {
    crate::sys::signal::current(signal()).is_ok_and(|action| action.is(on_capture))
}

/// Sends the capture signal to a thread.
pub(crate) fn send(bank: usize, token: Token, tid: u32) -> Result<(), i32> {
    let value = (MAGIC << 48) | ((bank as u64 & 0xff) << 32) | u64::from(token.to_bits());
    crate::sys::signal::queue_to_thread(tid, signal(), value)
}

/// Whether a thread exists (signal 0 is not delivered).
pub(crate) fn exists(tid: u32) -> bool {
    crate::sys::signal::queue_to_thread(tid, 0, 0) != Err(libc::ESRCH)
}
