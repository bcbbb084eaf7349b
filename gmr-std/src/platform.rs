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
pub(crate) use crate::installed::Installed;
use crate::scheduling::ThreadChoices;
use crate::setup::{CONFIG, Plan, SUPERVISORS, Section};
use crate::source_lines::Lines;
use crate::workers::pool::{Pool, WORKERS};

/// Supervisors run on stacks of the core's: this much is for getting there.
const SUPERVISOR_STACK_BYTES: usize = 256 * 1024;

/// Workers run the program's closures, which expect what a thread has.
const WORKER_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Whom the action asks: the last reporter that was set up.
static CURRENT: AtomicPtr<Current> = AtomicPtr::new(std::ptr::null_mut());

/// A reporter and its workers.
struct Current {
    reporter: &'static Reporter,
    pool: &'static Pool,
}

/// Signals the action is registered for, by bit. The registry never gives a
/// signal back, so one registration is enough for ever.
static REGISTERED: AtomicU64 = AtomicU64::new(0);

/// Our threads, which wait to be told for whom they work.
///
/// They are there before the core is set up: what may fail comes before what
/// cannot be given back.
pub(crate) struct Threads {
    waiting: Vec<(Sender<&'static Reporter>, JoinHandle<()>)>,
    pool: &'static Pool,
}

impl Threads {
    pub(crate) fn spawn(pool: &'static Pool, choices: &ThreadChoices) -> Result<Self, SetupError> {
        look_for_room().map_err(SetupError::Thread)?;
        let mut threads = Threads { waiting: Vec::new(), pool };
        let (sender, applied) = channel();
        let first = || {
            let (choices, sender) = (choices.clone(), sender.clone());
            move || {
                let _ = sender.send(choices.apply());
            }
        };
        for index in 0..SUPERVISORS {
            let name = format!("gmr-supervisor{index}");
            threads.add(spawn(&name, SUPERVISOR_STACK_BYTES, first(), |reporter| {
                let _ = reporter.run();
            }))?;
        }
        for _ in 0..WORKERS {
            let name = worker_name(pool.number());
            let body = move |reporter| work(pool, reporter);
            threads.add(spawn(&name, WORKER_STACK_BYTES, first(), body))?;
        }
        drop(sender);
        // Until each has said how it went.
        match applied.iter().find_map(Result::err) {
            None => Ok(threads),
            Some(error) => {
                threads.end();
                Err(SetupError::Scheduling(error))
            }
        }
    }

    fn add(&mut self, started: std::io::Result<Waiting>) -> Result<(), SetupError> {
        match started {
            Ok(thread) => {
                self.waiting.push(thread);
                Ok(())
            }
            Err(error) => {
                std::mem::take(&mut self.waiting).into_iter().for_each(end);
                Err(SetupError::Thread(error))
            }
        }
    }

    /// There is nothing to do: waits for their end.
    pub(crate) fn end(self) {
        self.waiting.into_iter().for_each(end);
    }

    /// Lets them go to work, then takes the trigger.
    pub(crate) fn start(
        self,
        reporter: &'static Reporter,
        signal: Signal,
    ) -> Result<(), SetupError> {
        self.pool.belongs_to(reporter);
        for (sender, _) in self.waiting {
            // It waits for this.
            let _ = sender.send(reporter);
        }
        wait_until_running(reporter);

        // Leaked: a handler may be reading it at any time.
        let current = Box::into_raw(Box::new(Current { reporter, pool: self.pool }));
        let before = CURRENT.swap(current, Ordering::AcqRel);
        if let Err(error) = take(signal.number()) {
            CURRENT.store(before, Ordering::Release);
            return Err(SetupError::Signal { signal: signal.number(), error });
        }
        reporter.dispatched(signal);
        Ok(())
    }
}

/// Sets the reporter up, starts its threads, takes the trigger: see
/// [`crate::setup`].
pub(crate) fn set_up(
    reporter: &'static Reporter,
    plan: Plan,
) -> Result<&'static Installed, SetupError> {
    let mut options = plan.options;
    let lines = plan.lines.map(|choices| &*Box::leak(Box::new(Lines::new(choices))));
    if let Some(lines) = lines {
        options = options.source_lines(lines);
    }
    let installed = Installed::new(reporter, lines);
    let sections = plan.sections;
    let outcome = register_all(installed, sections).and_then(|()| {
        let threads = Threads::spawn(installed.pool, &plan.threads)?;
        if let Err(error) = reporter.setup_external(plan.signal, &options) {
            threads.end();
            return Err(error.into());
        }
        // Not before: until here another reporter may be showing its own. Not
        // later: an early trigger is answered now.
        let shown = plan.values.map_or(Ok(()), |values| CONFIG.publish(values));
        shown
            .map_err(SetupError::Config)
            .and_then(|()| threads.start(reporter, plan.signal))
            .inspect_err(|_| reporter.shutdown())
    });
    if let Err(error) = outcome {
        installed.abandon();
        return Err(error);
    }
    Ok(installed)
}

fn register_all(
    installed: &Installed,
    sections: Vec<(&'static str, Section)>,
) -> Result<(), SetupError> {
    for (title, section) in sections {
        match section {
            Section::SignalSafe(section) => installed.reporter.register_section(title, section),
            Section::Ordinary(generator) => installed.register(title, generator),
        }
        .map_err(|error| SetupError::Section { title, error })?;
    }
    Ok(())
}

type Waiting = (Sender<&'static Reporter>, JoinHandle<()>);

fn end((sender, thread): Waiting) {
    drop(sender);
    let _ = thread.join();
}

fn worker_name(number: u32) -> String {
    format!("gmr-worker{number}")
}

/// A worker's life. It can be asked for its stack: a report shows where it is
/// stuck.
fn work(pool: &'static Pool, reporter: &'static Reporter) {
    // A fault of a closure is the program's own business, as on any thread.
    const FAULTS: [i32; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];
    FAULTS.into_iter().chain(reporter.capture_signal()).for_each(unblock);
    pool.serve(reporter);
}

/// Starts a spare worker.
pub(crate) fn start_worker(pool: &'static Pool, number: u32) -> std::io::Result<()> {
    look_for_room()?;
    let (sender, _thread) =
        // Scheduling and CPUs are those of the worker that starts it.
        spawn(&worker_name(number), WORKER_STACK_BYTES, || {}, move |reporter| {
            work(pool, reporter)
        })?;
    if let Some(reporter) = pool.reporter() {
        let _ = sender.send(reporter);
    }
    Ok(())
}

/// A thread allocates while it starts: from here on the supervisors have that
/// behind them, and a report no longer depends on the allocator.
fn wait_until_running(reporter: &Reporter) {
    let give_up = Instant::now() + LONGEST_START;
    let is_running = || {
        reporter.supervisors_running() >= SUPERVISORS as usize
            && reporter.workers_running() >= WORKERS
    };
    while !is_running() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Longer than any start on a busy machine; a set-up does not hang on it.
const LONGEST_START: Duration = Duration::from_secs(5);

fn take(signal: i32) -> Result<(), std::io::Error> {
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
    // SAFETY: null or leaked.
    if let Some(current) = unsafe { CURRENT.load(Ordering::Acquire).as_ref() } {
        // SAFETY: set by the kernel for signals that somebody sent; plain
        // bytes for others.
        let pid = unsafe { info.si_pid() };
        // SAFETY: as above.
        let uid = unsafe { info.si_uid() };
        // A section that triggers a report would have reports follow each
        // other for ever: the one that waits for it answers.
        if pid.cast_unsigned() == std::process::id() && current.pool.is_waited_for() {
            current.reporter.ignore_request();
            return;
        }
        // 0: the time is not needed; the report has its own.
        current.reporter.request(Requester::signal(
            signal,
            info.si_code,
            pid.cast_unsigned(),
            uid,
            0,
        ));
    }
}

/// Starts a thread that is born with every signal blocked: none may arrive
/// before it has set its own mask. It does `first` at once, `body` when told.
/// Waits until it runs: what the setup takes next must not be the room for its
/// alternate stack.
fn spawn(
    name: &str,
    stack_bytes: usize,
    first: impl FnOnce() + Send + 'static,
    body: impl FnOnce(&'static Reporter) + Send + 'static,
) -> std::io::Result<Waiting> {
    let (sender, receiver) = channel();
    let (begun, has_begun) = channel::<()>();
    let mask = block_all();
    let spawned = Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(move || {
        first();
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

fn unblock(signal: i32) {
    // SAFETY: all bytes zero is a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a valid set to fill; a bad number changes nothing.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: a valid set; affects this thread only.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

/// What a thread takes besides its stack: guard page, thread-locals, and the
/// alternate stack that std gives it.
const BESIDES_STACK_BYTES: usize = 64 * 1024;

/// Whether there is address space for all threads. std ends the process if
/// a new thread finds none for its alternate stack, so this comes before.
fn look_for_room() -> std::io::Result<()> {
    let supervisors = SUPERVISORS as usize * (SUPERVISOR_STACK_BYTES + BESIDES_STACK_BYTES);
    let workers = WORKERS as usize * (WORKER_STACK_BYTES + BESIDES_STACK_BYTES);
    let bytes = supervisors + workers;
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
