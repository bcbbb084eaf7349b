//! The reporter: the one thing a program holds.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

#[cfg(gmr_engine)]
use crate::engine::Engine;
#[cfg(not(gmr_engine))]
use Unsupported as Engine;

#[cfg(all(gmr_engine, feature = "signal"))]
use crate::error::ReportError;
#[cfg(feature = "signal")]
use crate::error::RunError;
use crate::error::{RegisterError, SetupError, UnregisterError};
use crate::model::Incomplete;
use crate::options::Options;
use crate::package::Package;
#[cfg(not(loom))]
use crate::protocol::registry::Registry;
use crate::protocol::registry::{MAX_TITLE_BYTES, Registered, SectionId};
use crate::protocol::requests::Requester;
#[cfg(not(loom))]
use crate::redact::Redaction;
use crate::section::SignalSafeSection;

/// The process whose setup is under way; 0 for none.
#[cfg(all(gmr_engine, not(loom)))]
static SETTING_UP: AtomicU32 = AtomicU32::new(0);

/// The right to set up: one thread of a process at a time.
#[cfg(all(gmr_engine, not(loom)))]
struct SettingUp;

#[cfg(all(gmr_engine, not(loom)))]
impl SettingUp {
    fn alone() -> Result<Self, SetupError> {
        let own = crate::sys::getpid();
        let seen = SETTING_UP.load(Ordering::Acquire);
        // Another process's id is left over from before a fork.
        if seen == own
            || SETTING_UP.compare_exchange(seen, own, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return Err(SetupError::AlreadySetUp);
        }
        Ok(SettingUp)
    }
}

#[cfg(all(gmr_engine, not(loom)))]
impl Drop for SettingUp {
    fn drop(&mut self) {
        SETTING_UP.store(0, Ordering::Release);
    }
}

/// The reporter of this process: the last one that was set up.
#[cfg(all(gmr_engine, not(loom)))]
static ACTIVE: AtomicPtr<Reporter> = AtomicPtr::new(core::ptr::null_mut());

/// Stands where an engine would.
#[cfg(not(gmr_engine))]
#[derive(Debug)]
pub(crate) enum Unsupported {}

/// A signal that may trigger reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGUSR2, the original's choice.
    Usr2,
    /// SIGUSR1.
    Usr1,
    /// Any other, by its number. Setup refuses those that cannot carry a
    /// trigger.
    Number(i32),
}

impl Signal {
    /// Its number on this platform.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            #[cfg(gmr_engine)]
            Signal::Usr2 => libc::SIGUSR2,
            #[cfg(gmr_engine)]
            Signal::Usr1 => libc::SIGUSR1,
            #[cfg(not(gmr_engine))]
            Signal::Usr2 => 12,
            #[cfg(not(gmr_engine))]
            Signal::Usr1 => 10,
            Signal::Number(number) => number,
        }
    }
}

/// Counters of a reporter since its setup, and what is known of its last report:
/// for the daemon's own metrics.
///
/// They are read one after the other, without stopping reports: while a report
/// ends, some may be of it and some of the one before. What is said of the last
/// report is at least of the reports that are counted. All zero if there was
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Reports whose last line said `complete`.
    pub reports_complete: u64,
    /// Reports that ended, but lacked something; their last line says what.
    pub reports_incomplete: u64,
    /// Reports taken over because their supervisor was stuck.
    pub reports_abandoned: u64,
    /// Requests answered by a report that another request had begun.
    pub requests_coalesced: u64,
    /// Requests ignored: in forked children, after `shutdown`, and while the
    /// destination is released.
    pub requests_ignored: u64,
    /// Number of the last report that ended, as its last line has it. Abandoned
    /// reports have no end.
    pub last_sequence: u64,
    /// Why it was not complete; [`Incomplete::NONE`] if it was.
    pub last_incomplete: Incomplete,
    /// How long it took, in nanoseconds.
    pub last_duration_ns: u64,
    /// How much of it its destination took, in bytes.
    pub last_bytes: u64,
    /// When it ended, in seconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME).
    pub last_end_unix_seconds: i64,
}

const FRESH: u32 = 0;
const INSTALLING: u32 = 1;
/// Set up without a trigger of ours ([`Reporter::setup`]).
const PLAIN: u32 = 2;
/// [`Reporter::setup_autorun`].
const IN_HANDLER: u32 = 3;
/// [`Reporter::setup_trigger`].
const LENT: u32 = 4;
const SHUT_DOWN: u32 = 5;

/// Writes Guru Meditation Reports.
///
/// A `static` of the program; everything else follows from its methods.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "signal")] {
/// use gmr_core::{Reporter, Signal};
///
/// static GMR: Reporter = Reporter::new(gmr_core::package!());
///
/// fn main() {
///     if let Err(error) = GMR.setup_autorun(Signal::Usr2) {
///         eprintln!("no reports: {error}");
///     }
///     // From here on `kill -USR2` writes a report to stderr.
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Reporter {
    package: Package,
    #[cfg(not(loom))]
    registry: Registry,
    state: AtomicU32,
    engine: AtomicPtr<Engine>,
}

/// What a setup returns: a way to the reporter from anywhere.
///
/// It has no destructor: a handle that goes out of scope changes nothing. Only
/// [`shutdown`](Self::shutdown) ends reports.
#[derive(Debug, Clone, Copy)]
pub struct Handle(&'static Reporter);

#[cfg(not(loom))]
impl Handle {
    /// The reporter.
    #[must_use]
    pub fn reporter(self) -> &'static Reporter {
        self.0
    }

    /// See [`Reporter::stats`].
    #[must_use]
    pub fn stats(self) -> Stats {
        self.0.stats()
    }

    /// See [`Reporter::shutdown`].
    pub fn shutdown(self) {
        self.0.shutdown();
    }
}

#[cfg(not(loom))]
impl Reporter {
    /// A reporter for `package`, not set up.
    #[must_use]
    pub const fn new(package: Package) -> Self {
        Reporter {
            package,
            registry: Registry::new(),
            state: AtomicU32::new(FRESH),
            engine: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Adds a section to every report from now on, after those already
    /// registered. May be called at any time from any thread, before or after
    /// the setup, also while a report is written.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn register_section(
        &self,
        title: &'static str,
        section: &'static dyn SignalSafeSection,
    ) -> Result<SectionId, RegisterError> {
        let is_bad = title.is_empty()
            || title.len() > MAX_TITLE_BYTES
            || title.chars().any(char::is_control);
        if is_bad {
            return Err(RegisterError::BadTitle);
        }
        self.registry.register(Registered { title, section }).ok_or(RegisterError::Full)
    }

    /// Takes a section out of every later report. If a report is inside it,
    /// waits for that, at most until the report's deadline.
    ///
    /// # Errors
    ///
    /// [`UnregisterError`].
    pub fn unregister_section(&self, id: SectionId) -> Result<(), UnregisterError> {
        if !self.registry.retire(id) {
            return Err(UnregisterError::Unknown);
        }
        self.wait_until_free(id)
    }

    /// Counters since the setup; all zero before it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.read_stats()
    }

    /// What this reporter takes for a secret: [`Options::redaction`] as set up,
    /// before that the common rules.
    #[must_use]
    pub fn redaction(&self) -> &'static Redaction {
        #[cfg(gmr_engine)]
        if let Some(engine) = self.engine() {
            return engine.options.redaction;
        }
        const { &Redaction::new() }
    }
}

#[cfg(all(gmr_engine, not(loom)))]
#[expect(unsafe_code, reason = "the engine's pointer")]
impl Reporter {
    pub(crate) fn engine(&self) -> Option<&'static Engine> {
        // SAFETY: null or an engine, which lives for ever.
        unsafe { self.engine.load(Ordering::Acquire).as_ref() }
    }
}

#[cfg(all(gmr_engine, not(loom)))]
impl Reporter {
    /// Sets up without taking a signal: for programs that have a signal
    /// handler or dispatcher of their own. Reports are written by
    /// [`report_here`](Self::report_here), or, after [`request`](Self::request),
    /// by a thread inside [`run`](Self::run).
    ///
    /// For a normal thread, once, early in main: reads files, maps memory.
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn setup(&'static self, options: &Options) -> Result<Handle, SetupError> {
        self.set_up(options, PLAIN, |_| Ok(()))
    }

    fn set_up(
        &'static self,
        options: &Options,
        then: u32,
        finish: impl FnOnce(&'static Engine) -> Result<(), SetupError>,
    ) -> Result<Handle, SetupError> {
        let _alone = SettingUp::alone()?;
        let before = self.claim()?;
        let built = Engine::build(&self.package, &self.registry, options).and_then(|built| {
            let engine = built.engine;
            match finish(engine) {
                Ok(()) => Ok(engine),
                Err(error) => {
                    built.dismantle();
                    Err(error)
                }
            }
        });
        match built {
            Ok(engine) => {
                self.engine.store(core::ptr::from_ref(engine).cast_mut(), Ordering::Release);
                self.state.store(then, Ordering::Release);
                Ok(Handle(self))
            }
            Err(error) => {
                self.state.store(before, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Makes this the reporter of the process. Returns the state to go back to.
    /// For the one setup under way.
    fn claim(&'static self) -> Result<u32, SetupError> {
        #[expect(unsafe_code, reason = "a static reporter's pointer")]
        // SAFETY: null or a `&'static Reporter`.
        let active = unsafe { ACTIVE.load(Ordering::Acquire).as_ref() };
        if active.is_some_and(|active| !active.is_over()) {
            return Err(SetupError::AlreadySetUp);
        }
        // Of the process that this one was forked from: its descriptors would
        // stay open for ever, its reports inside their sections, and its threads
        // in their scopes.
        if let Some(active) = active
            && let Some(copy) = active.engine().filter(|engine| engine.is_forked_copy())
        {
            copy.clear_copy();
            active.registry.clear_copy();
            crate::scope::clear_copy();
        }
        ACTIVE.store(core::ptr::from_ref(self).cast_mut(), Ordering::Release);
        Ok(self.state.swap(INSTALLING, Ordering::AcqRel))
    }

    /// Whether another setup may follow: this one never was, failed, was shut
    /// down, or was made by the process that this one was forked from.
    fn is_over(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            // INSTALLING: by the process that this one was forked from, in the
            // middle of it; the lock keeps out any other.
            FRESH | SHUT_DOWN | INSTALLING => true,
            _ => self.engine().is_none_or(Engine::is_forked_copy),
        }
    }

    /// Asks for a report by one of the threads inside [`run`](Self::run).
    /// Without the feature `signal` there are none, and this does nothing: use
    /// [`report_here`](Self::report_here).
    ///
    /// # Signal safety
    ///
    /// Safe: two atomic steps and a futex wake. This is what a signal handler
    /// or dispatcher calls. In a forked child, and after
    /// [`shutdown`](Self::shutdown), the request is ignored and counted; also a
    /// call by a section, which would have reports follow each other for ever.
    pub fn request(&self, who: Requester) {
        #[cfg(feature = "signal")]
        if let Some(engine) = self.engine() {
            if who.signal == 0 && is_own_thread(engine) {
                self.ignore_request();
                return;
            }
            crate::signal::trigger::request(engine, &who);
        }
        #[cfg(not(feature = "signal"))]
        let _ = who;
    }

    /// Counts a request that is not to be answered. Signal-safe.
    #[doc(hidden)]
    pub fn ignore_request(&self) {
        if let Some(engine) = self.engine() {
            engine.stats.ignored.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Composes a report here and now, on this thread and its stack: for
    /// programs that call it from a signal handler of their own. `false`: not
    /// set up, shut down, or another thread is composing (which then answers
    /// this request too).
    ///
    /// # Signal safety
    ///
    /// Safe; keeps `errno`. Needs 16 KiB of stack; with feature `stacks` 64 KiB,
    /// and with `symbols` 256 KiB (1 MiB in a build without optimisation), which
    /// is for the costliest name that a symbol table may hold. What registered
    /// sections need comes on top. A small alternate stack does not have it.
    /// Block SIGPIPE and SIGXFSZ meanwhile, or the destination's may reach the
    /// program.
    pub fn report_here(&self, who: Requester) -> bool {
        let _errno = crate::sys::errno::Saved::now();
        let Some(engine) = self.engine() else { return false };
        if !engine.is_own_process() || engine.is_shut_down.load(Ordering::Acquire) != 0 {
            return false;
        }
        if engine.destinations.is_none() {
            engine.stats.ignored.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        engine.requests.push(&who);
        let tid = crate::sys::gettid();
        let interrupted = crate::compose::Interrupted { tid, context: core::ptr::null() };
        let mut composed = false;
        // Twice, for a request that comes while the first is being let go.
        for _ in 0..2 {
            if !engine.requests.is_pending() {
                break;
            }
            let Some(mut lease) = engine.cell(0).and_then(|cell| cell.lease(tid)) else {
                // A supervisor has the bank, or another thread is composing.
                let (word, _) = engine.requests.word();
                crate::sys::futex::wake(word, 1);
                break;
            };
            composed |= {
                let job = crate::compose::Job::Requests;
                crate::compose::serve(engine, &mut lease, 0, job, Some(interrupted)).is_ok()
            };
        }
        composed
    }

    /// Ends reports: from now on requests are ignored and counted. The signal
    /// handlers stay (another library may have chained them), threads leave
    /// [`run`](Self::run), the destination is closed, and a new setup is
    /// allowed.
    pub fn shutdown(&self) {
        let state = self.state.load(Ordering::Acquire);
        if !matches!(state, PLAIN | IN_HANDLER | LENT) {
            return;
        }
        if let Some(engine) = self.engine() {
            engine.is_shut_down.store(1, Ordering::Release);
            engine.requests.poke();
            let (word, _) = engine.requests.word();
            crate::sys::futex::wake(word, u32::MAX >> 1);
            // Callers that wait for a report.
            engine.stats.finished.fetch_add(1, Ordering::Release);
            crate::sys::futex::wake(&engine.stats.finished, u32::MAX >> 1);
            crate::switching::let_go(engine);
            #[cfg(feature = "stacks")]
            engine.workers.ring_all();
        }
        let _ = self.state.compare_exchange(state, SHUT_DOWN, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn read_stats(&self) -> Stats {
        let Some(engine) = self.engine() else { return Stats::default() };
        engine.stats.read()
    }

    fn wait_until_free(&self, id: SectionId) -> Result<(), UnregisterError> {
        let Some(engine) = self.engine() else {
            return if self.registry.free(id) { Ok(()) } else { Err(UnregisterError::Busy) };
        };
        let is_inside = engine.is_own_thread(crate::sys::gettid());
        let limit = u64::try_from(engine.options.report_deadline.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = crate::sys::clock::monotonic_ns().saturating_add(limit);
        loop {
            let seen = engine.stats.finished.load(Ordering::Acquire);
            if self.registry.free(id) {
                return Ok(());
            }
            let left = deadline_ns.saturating_sub(crate::sys::clock::monotonic_ns());
            // A section that unregisters itself would wait for itself.
            if left == 0 || is_inside {
                return Err(UnregisterError::Busy);
            }
            crate::sys::futex::wait(&engine.stats.finished, seen, Some(left.min(10_000_000)));
        }
    }
}

#[cfg(all(gmr_engine, feature = "signal", not(loom)))]
impl Reporter {
    /// Sets up reports composed in the signal handler itself, with default
    /// options: no thread of ours, no heap.
    ///
    /// The thread that gets the signal pays for the whole report: block the
    /// signal in latency-critical threads, or use
    /// [`setup_trigger`](Self::setup_trigger).
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn setup_autorun(&'static self, signal: Signal) -> Result<Handle, SetupError> {
        self.setup_autorun_with(signal, &Options::new())
    }

    /// [`setup_autorun`](Self::setup_autorun) with options.
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn setup_autorun_with(
        &'static self,
        signal: Signal,
        options: &Options,
    ) -> Result<Handle, SetupError> {
        use crate::signal::trigger::{Mode, compose_early};
        let signal = check(signal)?;
        let options = options.supervisors(1);
        let handle =
            self.set_up(&options, IN_HANDLER, |engine| take(signal, Mode::InHandler, engine))?;
        if let Some(engine) = self.engine()
            && let Some(early) = crate::signal::trigger::take_early()
        {
            engine.requests.push(&early);
            compose_early(signal);
        }
        Ok(handle)
    }

    /// Sets up a trigger that only records requests and wakes a thread that the
    /// program lends: one that calls [`run`](Self::run). Requests are kept until
    /// there is one.
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn setup_trigger(&'static self, signal: Signal) -> Result<Handle, SetupError> {
        self.setup_trigger_with(signal, &Options::new())
    }

    /// [`setup_trigger`](Self::setup_trigger) with options.
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    pub fn setup_trigger_with(
        &'static self,
        signal: Signal,
        options: &Options,
    ) -> Result<Handle, SetupError> {
        use crate::signal::trigger::Mode;
        let signal = check(signal)?;
        let handle = self.set_up(options, LENT, |engine| take(signal, Mode::Lent, engine))?;
        self.answer_early();
        Ok(handle)
    }

    /// Sets up for a dispatcher that owns the signal's handler and calls
    /// [`request`](Self::request): gmr-std over signal-hook-registry. The
    /// signal itself is not touched; once the dispatcher has it, call
    /// [`dispatched`](Self::dispatched).
    ///
    /// # Errors
    ///
    /// [`SetupError`]; the program is then as it was before.
    #[doc(hidden)]
    pub fn setup_external(
        &'static self,
        signal: Signal,
        options: &Options,
    ) -> Result<Handle, SetupError> {
        let number = check(signal)?;
        self.set_up(options, LENT, |_| {
            // Before any supervisor starts: it leaves the trigger open.
            crate::signal::trigger::announce(number);
            Ok(())
        })
    }

    /// The dispatcher has the signal: a handler of ours that it chains (from
    /// [`arm`](crate::arm)) steps aside, and what was asked before is answered.
    #[doc(hidden)]
    pub fn dispatched(&self, signal: Signal) {
        crate::signal::trigger::step_aside(signal.number());
        self.answer_early();
    }

    fn answer_early(&self) {
        if let Some(early) = crate::signal::trigger::take_early() {
            self.request(early);
        }
    }

    /// Composes reports on this thread until [`shutdown`](Self::shutdown). As
    /// many threads as [`Options::supervisors`] says may be in here; with two,
    /// the second takes over when the first is stuck.
    ///
    /// The thread blocks all signals but synchronous faults and the trigger
    /// meanwhile, and composes on the bank's own stack: its own may be small.
    ///
    /// # Errors
    ///
    /// [`RunError`], at once.
    pub fn run(&self) -> Result<(), RunError> {
        match self.state.load(Ordering::Acquire) {
            PLAIN | LENT => {}
            IN_HANDLER => return Err(RunError::ComposedInHandler),
            _ => return Err(RunError::NotSetUp),
        }
        let engine = self.engine().ok_or(RunError::NotSetUp)?;
        if !engine.is_own_process() {
            return Err(RunError::NotSetUp);
        }
        crate::supervise::run(engine)
    }

    /// The engine, if threads may be inside [`run`](Self::run).
    pub(crate) fn with_supervisors(&self) -> Result<&'static Engine, ReportError> {
        match self.state.load(Ordering::Acquire) {
            PLAIN | LENT => {}
            IN_HANDLER => return Err(ReportError::NoSupervisor),
            SHUT_DOWN => return Err(ReportError::ShutDown),
            _ => return Err(ReportError::NotSetUp),
        }
        let engine = self.engine().filter(|engine| engine.is_own_process());
        engine.ok_or(ReportError::NotSetUp)
    }

    /// How many threads are inside [`run`](Self::run).
    #[must_use]
    pub fn supervisors_running(&self) -> usize {
        self.engine().map_or(0, Engine::supervisors_running)
    }

    /// Rebuilds the table of loaded objects, so that frames in objects loaded
    /// since the setup are unwound and named. For a normal thread: takes the
    /// loader's lock and allocates. `false`: nothing was done (not set up, or a
    /// report is reading the older table; try again later).
    #[cfg(feature = "stacks")]
    pub fn refresh_modules(&self) -> bool {
        self.engine().is_some_and(|engine| engine.tables.refresh())
    }

    /// For tests of the stack's size: how much of a bank's reserved stack no
    /// report has touched yet, and its size, in bytes.
    #[doc(hidden)]
    #[must_use]
    pub fn reserved_stack(&self, bank: usize) -> Option<(usize, usize)> {
        let bytes = crate::bank::STACK_BYTES;
        let stack = self.engine()?.cell(bank)?.stack;
        #[expect(unsafe_code, reason = "reads a stack that may be in use")]
        // SAFETY: every bank's stack has that size.
        Some((unsafe { stack.untouched(bytes) }, bytes))
    }

    /// How many threads are inside [`run_worker`](Self::run_worker).
    #[doc(hidden)]
    #[cfg(feature = "stacks")]
    #[must_use]
    pub fn workers_running(&self) -> u32 {
        self.engine().map_or(0, |engine| engine.workers.running())
    }

    /// Lends this thread to reports as a worker, until
    /// [`shutdown`](Self::shutdown): it refreshes the module table, and does
    /// what `work` finds to do, until that returns `false`.
    #[doc(hidden)]
    #[cfg(feature = "stacks")]
    pub fn run_worker(&self, work: &mut dyn FnMut() -> bool) {
        if let Some(engine) = self.engine() {
            crate::supervise::run_worker(engine, work);
        }
    }

    /// Wakes a worker. Signal-safe.
    #[doc(hidden)]
    #[cfg(feature = "stacks")]
    pub fn wake_worker(&self) {
        if let Some(engine) = self.engine() {
            engine.workers.ring();
        }
    }

    /// The signal that asks a thread for its stack, once set up.
    #[doc(hidden)]
    #[cfg(feature = "stacks")]
    #[must_use]
    pub fn capture_signal(&self) -> Option<i32> {
        self.engine().map(|_| crate::signal::capture::signal()).filter(|signal| *signal != 0)
    }

    /// Calls `visit` with each loaded object of the module table, if that is
    /// (still) the one of `generation`. For workers.
    #[doc(hidden)]
    #[cfg(feature = "stacks")]
    pub fn loaded_objects(
        &self,
        generation: u64,
        visit: &mut dyn FnMut(&crate::hosted::LoadedObject<'_>),
    ) -> bool {
        use crate::stacks::unwind::Modules;
        let Some(engine) = self.engine() else { return false };
        let Some(tables) = engine.tables.current() else { return false };
        if tables.table.generation() != generation {
            return false;
        }
        for module in tables.table.modules() {
            visit(&module.describe());
        }
        true
    }

    /// The descriptor of the executable, open since setup. (A program that
    /// closes all descriptors may have reused the number.)
    #[doc(hidden)]
    #[must_use]
    pub fn executable_fd(&self) -> Option<i32> {
        use rustix::fd::AsRawFd;
        self.engine()?.executable.as_ref().map(AsRawFd::as_raw_fd)
    }
}

// Not inlined: it must cost the trigger's stack nothing.
#[cfg(all(gmr_engine, feature = "signal", not(loom)))]
#[inline(never)]
fn is_own_thread(engine: &Engine) -> bool {
    engine.own_tids().contains(&crate::sys::gettid())
}

#[cfg(all(gmr_engine, feature = "signal", not(loom)))]
fn check(signal: Signal) -> Result<i32, SetupError> {
    let number = signal.number();
    match crate::signal::trigger::refusal(number) {
        Some(reason) => Err(SetupError::BadSignal { signal: number, reason }),
        None => Ok(number),
    }
}

#[cfg(all(gmr_engine, feature = "signal", not(loom)))]
fn take(
    signal: i32,
    mode: crate::signal::trigger::Mode,
    engine: &'static Engine,
) -> Result<(), SetupError> {
    crate::signal::trigger::install(signal, mode, Some(engine))
        .map_err(|errno| SetupError::System { what: "sigaction", errno })
}

/// Remembers an early `kill -USR2`, in place of dying of it, until a setup
/// answers it. The first line of main.
///
/// Does nothing where there is no engine, or once something is set up.
#[cfg(feature = "signal")]
pub fn arm() {
    #[cfg(all(gmr_engine, not(loom)))]
    {
        let _ = crate::signal::trigger::arm(Signal::Usr2.number());
    }
}

#[cfg(all(not(gmr_engine), not(loom)))]
impl Reporter {
    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unsupported`], always.
    pub fn setup(&'static self, _options: &Options) -> Result<Handle, SetupError> {
        let _ = (&self.package, &self.state, &self.engine, FRESH, INSTALLING, PLAIN);
        let _ = (IN_HANDLER, LENT, SHUT_DOWN, Handle(self), Ordering::Relaxed);
        Err(SetupError::Unsupported)
    }

    /// Not supported on this platform: does nothing.
    pub fn request(&self, _who: Requester) {}

    /// Not supported on this platform: does nothing.
    pub fn report_here(&self, _who: Requester) -> bool {
        false
    }

    /// Not supported on this platform: does nothing.
    pub fn shutdown(&self) {}

    fn read_stats(&self) -> Stats {
        Stats::default()
    }

    fn wait_until_free(&self, id: SectionId) -> Result<(), UnregisterError> {
        if self.registry.free(id) { Ok(()) } else { Err(UnregisterError::Busy) }
    }
}

#[cfg(all(not(gmr_engine), feature = "signal", not(loom)))]
impl Reporter {
    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unsupported`], always.
    pub fn setup_autorun(&'static self, _signal: Signal) -> Result<Handle, SetupError> {
        Err(SetupError::Unsupported)
    }

    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unsupported`], always.
    pub fn setup_autorun_with(
        &'static self,
        _signal: Signal,
        _options: &Options,
    ) -> Result<Handle, SetupError> {
        Err(SetupError::Unsupported)
    }

    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unsupported`], always.
    pub fn setup_trigger(&'static self, _signal: Signal) -> Result<Handle, SetupError> {
        Err(SetupError::Unsupported)
    }

    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unsupported`], always.
    pub fn setup_trigger_with(
        &'static self,
        _signal: Signal,
        _options: &Options,
    ) -> Result<Handle, SetupError> {
        Err(SetupError::Unsupported)
    }

    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unsupported`], always.
    #[doc(hidden)]
    pub fn setup_external(
        &'static self,
        _signal: Signal,
        _options: &Options,
    ) -> Result<Handle, SetupError> {
        Err(SetupError::Unsupported)
    }

    /// Not supported on this platform: does nothing.
    #[doc(hidden)]
    pub fn dispatched(&self, _signal: Signal) {}

    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`RunError::Unsupported`], always.
    pub fn run(&self) -> Result<(), RunError> {
        Err(RunError::Unsupported)
    }

    /// Not supported on this platform: none.
    #[must_use]
    pub fn supervisors_running(&self) -> usize {
        0
    }

    /// Not supported on this platform: does nothing.
    #[cfg(feature = "stacks")]
    pub fn refresh_modules(&self) -> bool {
        false
    }

    /// Not supported on this platform: there is none.
    #[doc(hidden)]
    #[must_use]
    pub fn reserved_stack(&self, _bank: usize) -> Option<(usize, usize)> {
        None
    }
}
