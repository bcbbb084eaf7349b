//! The trigger: the signal that asks for a report.
//!
//! In the handler's modes:
//!
//! - *armed*: nothing is set up yet; the request is remembered.
//! - *in the handler* (`setup_autorun`): the report is composed here, on the
//!   bank's reserved stack, started from the context the signal interrupted.
//! - *lent* (`setup_trigger`): the request is recorded, a supervisor woken.
//! - *external*: another dispatcher (signal-hook-registry) calls
//!   [`Reporter::request`](crate::Reporter::request); this handler, if it was
//!   chained, keeps out of the way.
//!
//! Installed without SA_ONSTACK: a switch away from the alternate stack would
//! let the next SA_ONSTACK signal overwrite our frame there. (Where the trigger
//! interrupts a handler that has it, it is switched off.) While a report is
//! composed in the handler all asynchronous signals are blocked on that thread,
//! synchronous faults are not.
//!
//! # Safety
//!
//! The handler is async-signal-safe: raw system calls, atomics, and
//! [`crate::compose`], which is too. It keeps `errno`.
#![expect(unsafe_code, reason = "a signal handler")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use crate::compose::{self, Interrupted, Job};
use crate::engine::Engine;
use crate::protocol::requests::{Requester, Requests};
use crate::sys::signal::{Action, Info, Mask};
use crate::sys::stack::AlternateStack;
use crate::sys::{clock, errno, futex};

/// Marks a signal that this handler sends to its own thread, to go on with a
/// request that came too late: "GMhandof".
const HAND_OFF: u64 = 0x474d_6861_6e64_6f66;

/// Marks a signal that only asks whether it arrives: "GMprobe?".
const PROBE: u64 = 0x474d_7072_6f62_653f;

/// Reports one delivery of the signal may cost the thread it interrupts: the
/// one asked for, and one for all that asked meanwhile.
const MAX_REPORTS_PER_SIGNAL: u32 = 2;

/// Times that a request which came during the last report makes the signal
/// come back. What is pending after that is answered with the next signal: a
/// storm must not keep one thread here for ever by itself.
const MAX_HAND_OFFS: u32 = 8;

/// What the handler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    Armed = 0,
    InHandler = 1,
    Lent = 2,
    External = 3,
}

impl Mode {
    fn of(word: u32) -> Self {
        match word {
            1 => Mode::InHandler,
            2 => Mode::Lent,
            3 => Mode::External,
            _ => Mode::Armed,
        }
    }
}

struct Global {
    /// 0 until installed.
    signal: AtomicI32,
    mode: AtomicU32,
    engine: AtomicPtr<Engine>,
    /// Requests from before the setup.
    early: Requests,
    /// The trigger of the last setup, whoever handles it; 0 before one.
    trigger: AtomicI32,
    /// Answers of the probe.
    probed: AtomicU32,
    /// Hand-offs since the last signal from outside.
    hand_offs: AtomicU32,
    /// What was there before, by signal.
    previous: [Previous; 65],
}

struct Previous(UnsafeCell<Option<Action>>);

// SAFETY: written by the one installer (setup is serialised) before our
// handler is installed for that signal, and only read by the handler.
unsafe impl Sync for Previous {}

impl Previous {
    /// The disposition before ours. By reference: a copy is 152 bytes of the
    /// interrupted stack.
    fn get(&self) -> Option<&Action> {
        // SAFETY: not written while the handler is installed.
        unsafe { &*self.0.get() }.as_ref()
    }
}

fn previous(signal: i32) -> Option<&'static Previous> {
    GLOBAL.previous.get(usize::try_from(signal).ok()?)
}

static GLOBAL: Global = Global {
    signal: AtomicI32::new(0),
    mode: AtomicU32::new(0),
    engine: AtomicPtr::new(core::ptr::null_mut()),
    early: Requests::new(),
    trigger: AtomicI32::new(0),
    probed: AtomicU32::new(0),
    hand_offs: AtomicU32::new(0),
    previous: [const { Previous(UnsafeCell::new(None)) }; 65],
};

extern "C" fn on_trigger(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let _errno = errno::Saved::now();
    // SAFETY: the kernel's arguments.
    let told = unsafe { Info::read(info) };
    let is_to_compose = if told.code == libc::SI_QUEUE && told.pid == crate::sys::getpid() {
        match told.value {
            PROBE => {
                GLOBAL.probed.fetch_add(1, Ordering::AcqRel);
                return;
            }
            HAND_OFF => engine().is_some_and(accepts),
            _ => take_in(signal, &told, info, context),
        }
    } else {
        take_in(signal, &told, info, context)
    };
    if is_to_compose && let Some(engine) = engine() {
        compose_here(engine, signal, context);
    }
}

/// A signal from outside: hands it to the handler before ours, then records
/// the request. Whether the report is to be composed here.
///
/// A function of its own, so that its locals are no part of the stack on which
/// the report begins.
#[inline(never)]
fn take_in(
    signal: libc::c_int,
    told: &Info,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) -> bool {
    if let Some(previous) = previous(signal).and_then(Previous::get) {
        // SAFETY: a handler of this signal, with its arguments.
        unsafe { previous.call(signal, info, context) };
    }
    let trigger = GLOBAL.trigger.load(Ordering::Acquire);
    if trigger != 0 && trigger != signal {
        // Armed, but then another signal was chosen.
        return false;
    }
    let who = Requester::signal(signal, told.code, told.pid, told.uid, clock::monotonic_ns());
    match (Mode::of(GLOBAL.mode.load(Ordering::Acquire)), engine()) {
        (Mode::External, _) => false,
        (Mode::InHandler, Some(engine)) => {
            let accepted = accepts(engine);
            if accepted {
                GLOBAL.hand_offs.store(0, Ordering::Relaxed);
                engine.requests.push(&who);
            }
            accepted
        }
        (Mode::Lent, Some(engine)) => {
            request(engine, &who);
            false
        }
        _ => {
            remember(&who);
            false
        }
    }
}

/// Before any setup.
fn remember(who: &Requester) {
    GLOBAL.early.push(who);
    // A setup that went by in between has already looked.
    if Mode::of(GLOBAL.mode.load(Ordering::Acquire)) != Mode::Armed
        && let (Some(engine), Some(early)) = (engine(), take_early())
    {
        request(engine, &early);
    }
}

fn engine() -> Option<&'static Engine> {
    // SAFETY: set to an engine, which lives for ever.
    unsafe { GLOBAL.engine.load(Ordering::Acquire).as_ref() }
}

/// Whether a request is for this process, and now; counts it if not.
fn accepts(engine: &Engine) -> bool {
    let accepted = engine.is_own_process()
        && engine.is_shut_down.load(Ordering::Acquire) == 0
        && !engine.destinations.is_none();
    if !accepted && !is_borrowed(engine) {
        engine.stats.ignored.fetch_add(1, Ordering::Relaxed);
    }
    accepted
}

/// A vfork child runs in its parent's memory: it may not even count there.
fn is_borrowed(engine: &Engine) -> bool {
    !engine.is_own_process() && !engine.is_forked_copy()
}

/// Records a request and wakes a supervisor. Two atomic steps and one system
/// call; keeps `errno`, for it is called from handlers of others too.
pub(crate) fn request(engine: &Engine, who: &Requester) {
    let _errno = errno::Saved::now();
    if accepts(engine) {
        engine.requests.push(who);
        let (word, _) = engine.requests.word();
        futex::wake(word, 1);
    }
}

/// Composes the pending report on this thread, unless another is at it.
fn compose_here(engine: &'static Engine, signal: i32, context: *const libc::c_void) {
    let tid = crate::sys::gettid();
    let Some(cell) = engine.cell(0) else { return };
    let interrupted = Some(Interrupted { tid, context });
    let Some(mut lease) = cell.lease(tid) else {
        // Its owner looks for pending requests before and after it lets go.
        return;
    };
    // Some other handler of this thread was interrupted on it.
    let alternate = AlternateStack::in_use();
    let body = || {
        if let Some(alternate) = &alternate {
            alternate.switch_off();
        }
        for _ in 0..MAX_REPORTS_PER_SIGNAL {
            if !engine.requests.is_pending() {
                break;
            }
            let _ = compose::serve(engine, &mut lease, 0, Job::Requests, interrupted);
        }
        if let Some(alternate) = &alternate {
            alternate.switch_on();
        }
    };
    // SAFETY: the bank's own stack, exclusive with the lease; compose never
    // unwinds (`run_on` would abort).
    unsafe { crate::sys::stack::run_on(cell.stack, body) };
    drop(lease);
    if engine.requests.is_pending()
        && GLOBAL.hand_offs.fetch_add(1, Ordering::Relaxed) < MAX_HAND_OFFS
    {
        // Asked for during the last report. The interrupted thread is let go
        // first; the signal comes back at once.
        let _ = crate::sys::signal::queue_to_thread(tid, signal, HAND_OFF);
    }
}

/// Composes a report that was requested before the setup, on this thread, and
/// as always from the handler: its context is where this thread's own stack
/// begins, which cannot be captured by a signal meanwhile.
pub(crate) fn compose_early(signal: i32) {
    let mask = Mask::of_this_thread();
    let _ = crate::sys::signal::queue_to_thread(crate::sys::gettid(), signal, HAND_OFF);
    mask.without(signal).apply();
    mask.apply();
}

/// Signals that cannot carry the trigger, and why.
pub(crate) fn refusal(signal: i32) -> Option<&'static str> {
    match signal {
        libc::SIGKILL | libc::SIGSTOP => Some("the kernel lets nobody handle it"),
        libc::SIGSEGV
        | libc::SIGBUS
        | libc::SIGILL
        | libc::SIGFPE
        | libc::SIGTRAP
        | libc::SIGSYS
        | libc::SIGABRT => Some("it is a fault: returning from its handler repeats it"),
        libc::SIGURG => Some("captures of stacks use it"),
        libc::SIGCHLD | libc::SIGPIPE | libc::SIGCONT => {
            Some("the kernel sends it in normal operation")
        }
        _ if signal <= 0 || signal > libc::SIGRTMAX() => Some("there is no such signal"),
        _ if signal >= 32 && signal < libc::SIGRTMIN() => Some("the C library uses it"),
        _ => None,
    }
}

/// Installs the handler for `signal` in `mode`. Returns requests that came
/// while it was only armed.
pub(crate) fn install(signal: i32, mode: Mode, engine: Option<&'static Engine>) -> Result<(), i32> {
    let was_ours = previous(signal).and_then(Previous::get).is_some();
    let is_reachable = was_ours && is_reachable(signal);
    if !is_reachable {
        let found = crate::sys::signal::current(signal)?;
        if !found.is(on_trigger)
            && let Some(previous) = previous(signal)
        {
            // SAFETY: the one installer, and the handler is not installed.
            unsafe { *previous.0.get() = Some(found) };
        }
        let on_stack = if mode == Mode::InHandler {
            0
        } else {
            super::alternate_stack_flag(HANDLER_BUDGET_BYTES)
        };
        // SAFETY: `on_trigger` is async-signal-safe (module page) and static.
        unsafe {
            crate::sys::signal::install(
                signal,
                on_trigger,
                libc::SA_RESTART | on_stack,
                &Mask::all_asynchronous(),
            )
        }?;
        GLOBAL.signal.store(signal, Ordering::Release);
    } else if mode == Mode::InHandler
        && crate::sys::signal::current(signal).is_ok_and(|action| action.is(on_trigger))
    {
        // Armed with SA_ONSTACK; a report in the handler must not have it.
        // SAFETY: as above.
        unsafe {
            crate::sys::signal::install(
                signal,
                on_trigger,
                libc::SA_RESTART,
                &Mask::all_asynchronous(),
            )
        }?;
    }
    if let Some(engine) = engine {
        GLOBAL.engine.store(core::ptr::from_ref(engine).cast_mut(), Ordering::Release);
        GLOBAL.trigger.store(signal, Ordering::Release);
    }
    GLOBAL.mode.store(mode as u32, Ordering::Release);
    Ok(())
}

/// Says which signal will be the trigger: supervisors leave it open.
pub(crate) fn announce(signal: i32) {
    GLOBAL.trigger.store(signal, Ordering::Release);
}

/// Leaves `signal` to a dispatcher: a handler of ours that it chains steps
/// aside from now on.
pub(crate) fn step_aside(signal: i32) {
    announce(signal);
    GLOBAL.mode.store(Mode::External as u32, Ordering::Release);
}

/// What the handler may use beyond the kernel's frame; asserted by tests.
const HANDLER_BUDGET_BYTES: usize = 1024;

/// Whether our handler gets `signal`, directly or chained by another library.
/// Installing it again where it is chained would make the two call each other
/// for ever.
fn is_reachable(signal: i32) -> bool {
    match crate::sys::signal::current(signal) {
        Ok(action) if action.is(on_trigger) => true,
        Ok(action) if action.is_default() || action.is_ignored() => false,
        _ => {
            let before = GLOBAL.probed.load(Ordering::Acquire);
            let mask = Mask::of_this_thread();
            let sent = crate::sys::signal::queue_to_thread(crate::sys::gettid(), signal, PROBE);
            mask.without(signal).apply();
            mask.apply();
            sent.is_ok() && GLOBAL.probed.load(Ordering::Acquire) != before
        }
    }
}

/// The trigger of the last setup: supervisors leave it open. 0: none.
pub(crate) fn trigger_signal() -> i32 {
    GLOBAL.trigger.load(Ordering::Acquire)
}

/// Remembers requests from now on; a setup answers them.
pub(crate) fn arm(signal: i32) -> Result<(), i32> {
    if GLOBAL.signal.load(Ordering::Acquire) != 0 {
        return Ok(());
    }
    install(signal, Mode::Armed, None)
}

/// The request made since [`arm`], if any; the others are coalesced into it.
pub(crate) fn take_early() -> Option<Requester> {
    GLOBAL.early.take().map(|taken| taken.requester.unwrap_or(Requester::call()))
}
