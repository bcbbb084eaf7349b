//! What a program may choose at setup. Everything has a sensible default; each
//! limit is printed in the report when it is hit.

use core::time::Duration;

use crate::redact::Redaction;
use crate::view::ViewKind;

/// More than a token can name are never made.
#[cfg(gmr_engine)]
const MAX_CAPTURE_SLOTS: u32 = 256;

/// A shorter one would leave nothing but skipped sections.
#[cfg(gmr_engine)]
const MIN_REPORT_DEADLINE: Duration = Duration::from_millis(10);

/// A shorter one says nothing about CPU time.
#[cfg(gmr_engine)]
const MIN_SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// Threads that are never interrupted by a capture: the report describes them
/// from /proc, with a stack only if they are parked (feature `passive`), which is
/// read without waking them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exclude {
    /// Threads of this name. The kernel keeps 15 bytes of a name; more are not
    /// compared.
    Name(&'static str),
    /// The thread with this id.
    Tid(u32),
    /// Threads of a real-time scheduling policy (SCHED_FIFO, SCHED_RR,
    /// SCHED_DEADLINE; sched(7)).
    RealTime,
}

/// Options of a [`Reporter`](crate::Reporter).
///
/// ```
/// use gmr_core::Options;
/// const OPTIONS: Options = Options::new().destination_fd(1).max_threads(256);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub(crate) view: ViewKind,
    pub(crate) destination_fd: i32,
    pub(crate) service_name: Option<&'static str>,
    pub(crate) max_threads: u32,
    pub(crate) max_frames: u32,
    pub(crate) capture_slots: u32,
    pub(crate) window_bytes: u32,
    pub(crate) supervisors: u32,
    pub(crate) exclude_threads: &'static [Exclude],
    pub(crate) redaction: &'static Redaction,
    pub(crate) fold: bool,
    pub(crate) full_names: bool,
    pub(crate) entry_frames: bool,
    pub(crate) modules: bool,
    pub(crate) report_deadline: Duration,
    pub(crate) section_deadline: Duration,
    pub(crate) thread_deadline: Duration,
    pub(crate) output_deadline: Duration,
    pub(crate) sample_interval: Option<Duration>,
    pub(crate) lines: Option<Lines>,
}

/// The host's source lines.
#[derive(Clone, Copy)]
pub(crate) struct Lines(pub(crate) &'static dyn crate::hosted::SourceLines);

impl core::fmt::Debug for Lines {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Lines")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! setters {
    ($($(#[$meta:meta])* $name:ident: $ty:ty,)*) => {
        $($(#[$meta])*
        #[must_use]
        pub const fn $name(mut self, $name: $ty) -> Self {
            self.$name = $name;
            self
        })*
    };
}

impl Options {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Options {
            view: ViewKind::Text,
            destination_fd: 2,
            service_name: None,
            max_threads: 4096,
            max_frames: 128,
            capture_slots: 64,
            window_bytes: 16 * 1024,
            supervisors: 1,
            exclude_threads: &[],
            redaction: const { &Redaction::new() },
            fold: true,
            full_names: false,
            entry_frames: false,
            modules: true,
            report_deadline: Duration::from_secs(10),
            section_deadline: Duration::from_secs(2),
            thread_deadline: Duration::from_secs(1),
            output_deadline: Duration::from_secs(5),
            sample_interval: None,
            lines: None,
        }
    }

    setters! {
        /// Text (default), JSON, or JSON on one line.
        view: ViewKind,
        /// The open descriptor reports are written to; default 2 (stderr). It
        /// is duplicated or reopened at setup: closing it later is no harm.
        destination_fd: i32,
        /// The service's name in the report's head; default: none.
        service_name: Option<&'static str>,
        /// Threads a report has room for; default 4,096, 1..=65,536.
        max_threads: u32,
        /// Frames per thread; default 128, 1..=4,096.
        max_frames: u32,
        /// Threads captured at the same time; default 64, 1..=256.
        capture_slots: u32,
        /// Stack copied per thread, in bytes; default 16 KiB, 1 KiB..=64 KiB.
        window_bytes: u32,
        /// Threads that will call [`Reporter::run`](crate::Reporter::run): 1
        /// (default), or 2 to have a second one that takes over from a stuck
        /// first one.
        supervisors: u32,
        /// Threads that no capture may interrupt; default none. (The main
        /// alternative: they block SIGURG.)
        exclude_threads: &'static [Exclude],
        /// What is taken for a secret, in every section; default: the rules that
        /// hold everywhere ([`redact`](crate::redact)).
        redaction: &'static Redaction,
        /// Whether threads with equal stacks become one block; default true.
        fold: bool,
        /// Whether long generic arguments are shown whole; by default they are
        /// `…`, so that the path of the function stays readable.
        full_names: bool,
        /// Whether the runtime's frames below the program's own (std's thread
        /// start, libc's) are shown; by default they are one line.
        entry_frames: bool,
        /// Whether the report ends with the section Modules, which has what is
        /// needed to find names and lines of its addresses later, on another
        /// machine; default true.
        modules: bool,
        /// How long one report may take; default 10 s, at least 10 ms. A
        /// supervisor past it is taken over.
        report_deadline: Duration,
        /// How long one registered section may write; default 2 s. Its output
        /// ends at 16 MiB.
        section_deadline: Duration,
        /// How long one thread may take to answer; default 1 s (a busy machine
        /// may take long to run a thread at all).
        thread_deadline: Duration,
        /// How long one report may wait for its destination; default 5 s.
        output_deadline: Duration,
    }

    /// How often every thread is captured: once (default), or twice with
    /// `interval` in between. With two, each thread carries a mark: it moved, or
    /// its stack is the same and it used no CPU time, or its stack is the same and
    /// it burns CPU. A count above 2 means 2. An interval is brought into 10 ms to
    /// a quarter of the report's deadline; 100 ms tells much.
    ///
    /// Each thread is interrupted twice then. In the handler
    /// ([`Reporter::setup_autorun`](crate::Reporter::setup_autorun)) the interrupted
    /// thread waits for as long.
    #[must_use]
    pub const fn samples(mut self, count: u32, interval: Duration) -> Self {
        self.sample_interval = if count >= 2 { Some(interval) } else { None };
        self
    }

    /// Where source lines come from: gmr-std's workers.
    #[doc(hidden)]
    #[must_use]
    pub const fn source_lines(mut self, lines: &'static dyn crate::hosted::SourceLines) -> Self {
        self.lines = Some(Lines(lines));
        self
    }

    /// The options with every limit brought into its documented range.
    #[cfg(gmr_engine)]
    pub(crate) fn in_range(mut self) -> Self {
        self.max_threads = self.max_threads.clamp(1, 65_536);
        self.max_frames = self.max_frames.clamp(1, 4096);
        self.capture_slots = self.capture_slots.clamp(1, MAX_CAPTURE_SLOTS);
        self.window_bytes = self.window_bytes.clamp(1024, 64 * 1024) & !7;
        self.supervisors = self.supervisors.clamp(1, 2);
        self.report_deadline = self.report_deadline.max(MIN_REPORT_DEADLINE);
        let longest = self.report_deadline.checked_div(4).unwrap_or(MIN_SAMPLE_INTERVAL);
        self.sample_interval =
            self.sample_interval.map(|interval| interval.max(MIN_SAMPLE_INTERVAL).min(longest));
        self
    }
}
