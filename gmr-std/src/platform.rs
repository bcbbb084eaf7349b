//! Threads and the trigger, where there is an engine.
//!
//! # Safety
//!
//! The action registered for the trigger runs in a signal handler: it reads one
//! atomic pointer and calls [`Reporter::request`], which is signal-safe.
#![allow(unsafe_code, reason = "signal masks and the registry's contract")]

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use gmr_core::{Reporter, Requester, Signal};

use crate::error::SetupError;
use crate::setup::SUPERVISORS;

/// Our threads run on stacks of the core's: this much is for getting there.
/// (The worker walks the loaded objects on it.)
const STACK_BYTES: usize = 256 * 1024;

/// Whom the action asks: the last reporter that was set up.
static CURRENT: AtomicPtr<Reporter> = AtomicPtr::new(std::ptr::null_mut());

/// Signals the action is registered for, by bit. The registry never gives a
/// signal back, so one registration is enough for ever.
static REGISTERED: AtomicU64 = AtomicU64::new(0);

/// Our threads, which wait to be told for whom they work.
///
/// They are there before the core is set up: what may fail comes before what
/// cannot be given back.
pub(crate) struct Threads(Vec<(Sender<&'static Reporter>, JoinHandle<()>)>);

type Body = fn(&'static Reporter);

const BODIES: [(&str, Body); 3] = [
    ("gmr-supervisor0", supervise),
    ("gmr-supervisor1", supervise),
    ("gmr-worker", Reporter::run_refresher),
];

fn supervise(reporter: &'static Reporter) {
    let _ = reporter.run();
}

impl Threads {
    pub(crate) fn spawn() -> Result<Self, SetupError> {
        look_for_room(BODIES.len()).map_err(SetupError::Thread)?;
        let mut threads = Threads(Vec::with_capacity(BODIES.len()));
        for (name, body) in BODIES {
            match spawn(name, body) {
                Ok(thread) => threads.0.push(thread),
                Err(error) => {
                    threads.end();
                    return Err(SetupError::Thread(error));
                }
            }
        }
        Ok(threads)
    }

    /// There is nothing to do: waits for their end.
    pub(crate) fn end(self) {
        for (sender, thread) in self.0 {
            drop(sender);
            let _ = thread.join();
        }
    }

    /// Lets them go to work, then takes the trigger.
    pub(crate) fn start(
        self,
        reporter: &'static Reporter,
        signal: Signal,
    ) -> Result<(), SetupError> {
        for (sender, _) in self.0 {
            // It waits for this.
            let _ = sender.send(reporter);
        }
        wait_until_running(reporter);

        let before = CURRENT.swap(core::ptr::from_ref(reporter).cast_mut(), Ordering::AcqRel);
        if let Err(error) = register(signal.number()) {
            CURRENT.store(before, Ordering::Release);
            return Err(SetupError::Signal { signal: signal.number(), error });
        }
        reporter.dispatched(signal);
        Ok(())
    }
}

/// A thread allocates while it starts: from here on the supervisors have that
/// behind them, and a report no longer depends on the allocator.
fn wait_until_running(reporter: &Reporter) {
    let give_up = Instant::now() + LONGEST_START;
    let is_running =
        || reporter.supervisors_running() >= SUPERVISORS as usize && reporter.has_refresher();
    while !is_running() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Longer than any start on a busy machine; a set-up does not hang on it.
const LONGEST_START: Duration = Duration::from_secs(5);

fn register(signal: i32) -> Result<(), std::io::Error> {
    let bit = 1_u64 << (signal.unsigned_abs() & 63);
    if REGISTERED.load(Ordering::Acquire) & bit != 0 {
        return Ok(());
    }
    // SAFETY: `on_trigger` is async-signal-safe and does not panic.
    unsafe {
        signal_hook_registry::register_sigaction(signal, move |info| on_trigger(signal, info))
    }?;
    REGISTERED.fetch_or(bit, Ordering::AcqRel);
    Ok(())
}

fn on_trigger(signal: i32, info: &libc::siginfo_t) {
    // SAFETY: null or a leaked reporter.
    if let Some(reporter) = unsafe { CURRENT.load(Ordering::Acquire).as_ref() } {
        // SAFETY: set by the kernel for signals that somebody sent; plain
        // bytes for others.
        let pid = unsafe { info.si_pid() };
        // SAFETY: as above.
        let uid = unsafe { info.si_uid() };
        // 0: the time is not needed; the report has its own.
        reporter.request(Requester::signal(signal, info.si_code, pid.cast_unsigned(), uid, 0));
    }
}

/// Starts a thread that is born with every signal blocked: none may arrive
/// before it has set its own mask. Waits until it runs: what the setup takes
/// next must not be the room for its alternate stack.
fn spawn(name: &str, body: Body) -> std::io::Result<(Sender<&'static Reporter>, JoinHandle<()>)> {
    let (sender, receiver) = channel();
    let (begun, has_begun) = channel::<()>();
    let mask = block_all();
    let spawned = Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
        drop(begun);
        let told = receiver.recv();
        drop(receiver);
        if let Ok(reporter) = told {
            body(reporter);
        }
    });
    restore(&mask);
    // An error: it has let go of its end.
    let _ = has_begun.recv();
    spawned.map(|thread| (sender, thread))
}

/// What a thread takes besides its stack: guard page, thread-locals, and the
/// alternate stack that std gives it.
const BESIDES_STACK_BYTES: usize = 64 * 1024;

/// Whether there is address space for `count` threads. std ends the process if
/// a new thread finds none for its alternate stack, so this comes before.
fn look_for_room(count: usize) -> std::io::Result<()> {
    let bytes = count * (STACK_BYTES + BESIDES_STACK_BYTES);
    // SAFETY: a new mapping, of which nothing is used.
    let room = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if room == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the mapping that was just made.
    unsafe { libc::munmap(room, bytes) };
    Ok(())
}

fn block_all() -> libc::sigset_t {
    // SAFETY: all bytes zero is a valid set.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: a valid set to fill.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: two valid sets; affects this thread only.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    before
}

fn restore(before: &libc::sigset_t) {
    // SAFETY: the set that was in force; affects this thread only.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}
