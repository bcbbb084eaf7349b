//! What a set-up reporter consists of, in memory of its own: options, facts
//! read at setup, destinations, banks, and the protocols between them.
//!
//! An engine is built whole or not at all, and is never given back: a stuck
//! supervisor may hold on to it. A forked child builds its own.

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;

use crate::bank::{self, BankCell};
use crate::error::SetupError;
use crate::model::{Incomplete, Timestamp};
use crate::options::Options;
use crate::package::Package;
use crate::protocol::current::Current;
use crate::protocol::orders::Orders;
use crate::protocol::ownership::{MAX_BANKS, Ownership};
use crate::protocol::registry::Registry;
use crate::protocol::requests::Requests;
use crate::sections::processes;
use crate::sink::destination::{self, Destination};
use crate::sys::memory::{ForkMark, Region};
use crate::sys::{clock, getpid};
use crate::view::ViewKind;

/// Threads of the reporter itself: two supervisors, and a few for gmr-std.
const MAX_OWN_THREADS: usize = 8;

/// Destinations at a time: the current one, the next, and one for each bank
/// whose report may be stuck in an older one.
const MAX_DESTINATIONS: usize = MAX_BANKS + 2;

/// A report for a caller.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) destination: Destination,
    pub(crate) view: ViewKind,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) options: Options,
    pub(crate) package: &'static Package,
    pub(crate) registry: &'static Registry,
    pub(crate) pid: u32,
    fork_mark: Option<ForkMark>,
    pub(crate) requests: Requests,
    pub(crate) ownership: Ownership,
    /// Where requested reports go; none between a release and the next one.
    pub(crate) destinations: Current<Destination, MAX_DESTINATIONS>,
    /// 1 while a thread is switching destinations.
    pub(crate) switching: AtomicU32,
    /// Reports for callers, who take them along.
    pub(crate) orders: Orders<Order>,
    pub(crate) null: OwnedFd,
    /// The executable, open since setup: it survives chroot and upgrade.
    pub(crate) executable: Option<OwnedFd>,
    pub(crate) build_id: Option<crate::symbols::BuildId>,
    pub(crate) facts: processes::Facts,
    pub(crate) set_up_at: Timestamp,
    pub(crate) banks: [Option<BankCell>; MAX_BANKS],
    own_tids: [AtomicU32; MAX_OWN_THREADS],
    pub(crate) is_shut_down: AtomicU32,
    /// Supervisors begin no report before this, CLOCK_MONOTONIC.
    pub(crate) rest_until_ns: AtomicU64,
    pub(crate) stats: Counters,
    #[cfg(feature = "stacks")]
    pub(crate) tables: crate::stacks::modules::Tables,
    #[cfg(feature = "stacks")]
    pub(crate) workers: crate::hosted::Workers,
}

/// An engine that is not in use yet, and the memory it lies in.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) engine: &'static Engine,
    region: Region,
}

impl Built {
    /// Takes back what the setup did: descriptors, memory, capture handler.
    #[expect(unsafe_code, reason = "ends the life of what was placed by hand")]
    pub(crate) fn dismantle(self) {
        #[cfg(feature = "stacks")]
        crate::signal::capture::uninstall();
        // SAFETY: placed by `build`; no handler and no thread knows of it.
        unsafe { core::ptr::drop_in_place(core::ptr::from_ref(self.engine).cast_mut()) };
        // What the banks' own stacks took stays mapped: address space that was
        // never touched.
        self.region.release();
    }
}

/// Counters for [`crate::Stats`].
#[derive(Debug)]
pub(crate) struct Counters {
    complete: AtomicU64,
    incomplete: AtomicU64,
    pub(crate) abandoned: AtomicU64,
    pub(crate) coalesced: AtomicU64,
    pub(crate) ignored: AtomicU64,
    last_duration_ns: AtomicU64,
    last_sequence: AtomicU64,
    last_incomplete: AtomicU32,
    last_bytes: AtomicU64,
    last_end_unix_seconds: AtomicI64,
    /// Bumped at the end of each report: what waiters wait on.
    pub(crate) finished: AtomicU32,
}

impl Counters {
    const fn new() -> Self {
        Counters {
            complete: AtomicU64::new(0),
            incomplete: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            last_duration_ns: AtomicU64::new(0),
            last_sequence: AtomicU64::new(0),
            last_incomplete: AtomicU32::new(0),
            last_bytes: AtomicU64::new(0),
            last_end_unix_seconds: AtomicI64::new(0),
            finished: AtomicU32::new(0),
        }
    }

    /// Counts a report that has ended.
    pub(crate) fn ended(&self, ended: &Ended) {
        self.last_sequence.store(ended.sequence, Ordering::Relaxed);
        self.last_incomplete.store(ended.incomplete.bits(), Ordering::Relaxed);
        self.last_duration_ns.store(ended.duration_ns, Ordering::Relaxed);
        self.last_bytes.store(ended.bytes, Ordering::Relaxed);
        self.last_end_unix_seconds.store(clock::now().unix_seconds, Ordering::Relaxed);
        let counter =
            if ended.incomplete.is_complete() { &self.complete } else { &self.incomplete };
        // Release: who sees it counted sees what was stored above.
        counter.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn read(&self) -> crate::Stats {
        crate::Stats {
            reports_complete: self.complete.load(Ordering::Acquire),
            reports_incomplete: self.incomplete.load(Ordering::Acquire),
            reports_abandoned: self.abandoned.load(Ordering::Relaxed),
            requests_coalesced: self.coalesced.load(Ordering::Relaxed),
            requests_ignored: self.ignored.load(Ordering::Relaxed),
            last_sequence: self.last_sequence.load(Ordering::Relaxed),
            last_incomplete: Incomplete::from_bits(self.last_incomplete.load(Ordering::Relaxed)),
            last_duration_ns: self.last_duration_ns.load(Ordering::Relaxed),
            last_bytes: self.last_bytes.load(Ordering::Relaxed),
            last_end_unix_seconds: self.last_end_unix_seconds.load(Ordering::Relaxed),
        }
    }
}

/// A report that has ended, for the counters.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) sequence: u64,
    pub(crate) incomplete: Incomplete,
    pub(crate) duration_ns: u64,
    pub(crate) bytes: u64,
}

impl Engine {
    /// Builds the engine. For a normal thread: reads files, maps memory, and
    /// (feature `stacks`) allocates.
    pub(crate) fn build(
        package: &'static Package,
        registry: &'static Registry,
        options: &Options,
    ) -> Result<Built, SetupError> {
        let options = options.in_range();
        // First uses that look something up happen here, not in a report.
        clock::prime();
        // Before anything is opened: an engine that is whole is never given
        // back.
        #[cfg(feature = "stacks")]
        crate::signal::capture::check().map_err(capture_error)?;
        let (fd, banks) = (options.destination_fd, options.supervisors as usize);
        let destination = Destination::open(fd, banks)
            .map_err(|error| SetupError::Destination { fd, errno: error.raw_os_error() })?;
        let system = |what: &'static str| {
            move |error: rustix::io::Errno| SetupError::System { what, errno: error.raw_os_error() }
        };
        let null = destination::open_null().map_err(system("opening /dev/null"))?;

        let per_bank = bank::bytes_needed(&options);
        let bytes = per_bank
            .saturating_mul(options.supervisors as usize)
            .saturating_add(Region::bytes_for::<Engine>(1))
            .saturating_add(4096);
        let memory =
            |error: rustix::io::Errno| SetupError::Memory { bytes, errno: error.raw_os_error() };
        let mut region = Region::map(bytes).map_err(memory)?;
        let mut banks = [None, None];
        for index in 0..options.supervisors as usize {
            let built = build_bank(&mut region, &options);
            match (banks.get_mut(index), built) {
                (Some(place), Ok(bank)) => *place = Some(bank),
                (_, Err(error)) => {
                    region.release();
                    return Err(error);
                }
                (None, Ok(_)) => {}
            }
        }

        let mut facts = processes::Facts::new();
        let executable = open_executable();
        if let Some(bank) = banks.iter_mut().flatten().next()
            && let Some(mut lease) = bank.lease(u32::MAX)
        {
            facts.collect(options.redaction, lease.bank().bytes);
        }
        let build_id = executable.as_ref().and_then(|executable| {
            crate::symbols::build_id(&crate::symbols::FdSource(executable.as_fd()))
        });
        let destinations = Current::none();
        // The first of several places.
        let _ = destinations.switch(Some(destination));
        let engine = Engine {
            options,
            package,
            registry,
            pid: getpid(),
            fork_mark: ForkMark::new(),
            requests: Requests::new(),
            ownership: Ownership::new(),
            destinations,
            switching: AtomicU32::new(0),
            orders: Orders::new(),
            null,
            executable,
            build_id,
            facts,
            set_up_at: clock::now(),
            banks,
            own_tids: [const { AtomicU32::new(0) }; MAX_OWN_THREADS],
            is_shut_down: AtomicU32::new(0),
            rest_until_ns: AtomicU64::new(0),
            stats: Counters::new(),
            #[cfg(feature = "stacks")]
            tables: crate::stacks::modules::Tables::new(),
            #[cfg(feature = "stacks")]
            workers: crate::hosted::Workers::new(),
        };
        let engine: &'static Engine =
            region.place(engine).ok_or(SetupError::Memory { bytes, errno: libc::ENOMEM })?;
        let built = Built { engine, region };
        #[cfg(feature = "stacks")]
        if let Err(error) = engine.install_capture() {
            built.dismantle();
            return Err(error);
        }
        Ok(built)
    }

    #[cfg(feature = "stacks")]
    fn install_capture(&'static self) -> Result<(), SetupError> {
        use crate::signal::capture::install;
        self.tables.refresh();
        let slots_of = |index: usize| {
            let cell = self.banks.get(index).and_then(Option::as_ref);
            let lease = cell.and_then(|cell| cell.lease(u32::MAX));
            lease.map_or(core::ptr::null_mut(), |mut lease| {
                core::ptr::from_ref(lease.bank().stacks.slots).cast_mut()
            })
        };
        install([slots_of(0), slots_of(1)]).map(|_| ()).map_err(capture_error)
    }

    /// Whether this is the process that was set up, not a forked copy or a
    /// vfork child that borrows its memory.
    pub(crate) fn is_own_process(&self) -> bool {
        // A child in a new pid namespace may have the same number.
        // (Spelled out: this runs on the interrupted stack, and each closure
        // costs it some 60 bytes without optimisation.)
        let is_same_memory = match self.fork_mark {
            Some(mark) => mark.is_intact(),
            None => true,
        };
        is_same_memory && getpid() == self.pid
    }

    /// Whether this memory is a forked copy (as opposed to shared with a vfork
    /// parent): then a new setup is allowed.
    pub(crate) fn is_forked_copy(&self) -> bool {
        match self.fork_mark {
            Some(mark) => !mark.is_intact(),
            None => !self.is_own_process(),
        }
    }

    /// Closes what leads to destinations and to callers, in a forked copy that
    /// does not use them.
    pub(crate) fn clear_copy(&self) {
        self.destinations.clear_copy();
        self.orders.clear_copy();
    }

    pub(crate) fn cell(&self, bank: usize) -> Option<&BankCell> {
        self.banks.get(bank)?.as_ref()
    }

    /// Notes a thread as the reporter's own: not captured, one line in the
    /// report. Beyond [`MAX_OWN_THREADS`] it is treated like any other.
    #[cfg(feature = "signal")]
    pub(crate) fn add_own_thread(&self, tid: u32) {
        for place in &self.own_tids {
            if place.compare_exchange(0, tid, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    #[cfg(feature = "signal")]
    pub(crate) fn remove_own_thread(&self, tid: u32) {
        for place in &self.own_tids {
            let _ = place.compare_exchange(tid, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Threads that have a bank.
    pub(crate) fn supervisors_running(&self) -> usize {
        self.banks.iter().flatten().filter(|cell| cell.lessee() != 0).count()
    }

    /// Whether this thread has a bank: it is writing a report.
    pub(crate) fn is_supervisor(&self, tid: u32) -> bool {
        self.banks.iter().flatten().any(|cell| cell.lessee() == tid)
    }

    /// Whether this thread works for a report: one that waited for the report's
    /// end would wait for itself.
    pub(crate) fn is_own_thread(&self, tid: u32) -> bool {
        self.is_supervisor(tid) || self.own_tids().contains(&tid)
    }

    pub(crate) fn own_tids(&self) -> heapless::Vec<u32, MAX_OWN_THREADS> {
        self.own_tids
            .iter()
            .map(|tid| tid.load(Ordering::Acquire))
            .filter(|tid| *tid != 0)
            .collect()
    }
}

#[cfg(feature = "stacks")]
fn capture_error(error: crate::signal::capture::NotInstalled) -> SetupError {
    use crate::signal::capture::NotInstalled;
    match error {
        NotInstalled::NoFreeSignal => SetupError::NoCaptureSignal,
        NotInstalled::Refused(errno) => SetupError::System { what: "sigaction", errno },
    }
}

fn build_bank(region: &mut Region, options: &Options) -> Result<BankCell, SetupError> {
    let no_memory = SetupError::Memory { bytes: bank::bytes_needed(options), errno: libc::ENOMEM };
    // A region of its own: the guard page below it is what catches an overflow.
    #[cfg(feature = "signal")]
    let stack = {
        let mut stack = Region::map(bank::STACK_BYTES).map_err(|error| SetupError::Memory {
            bytes: bank::STACK_BYTES,
            errno: error.raw_os_error(),
        })?;
        crate::sys::stack::StackTop::of(stack.carve::<u8>(bank::STACK_BYTES).ok_or(no_memory)?)
    };
    bank::build(
        region,
        options,
        #[cfg(feature = "signal")]
        stack,
    )
    .ok_or(no_memory)
}

fn open_executable() -> Option<OwnedFd> {
    destination::open_high(c"/proc/self/exe", OFlags::RDONLY).ok()
}
