//! The Threads section: each thread with its stack, innermost frame first.
//!
//! 1. Before the frames stands what the kernel says of the thread, and what it
//!    says itself that it was doing ([`crate::Scope`]).
//! 2. Threads with the same stack are one block: a line for each of them, with
//!    what it was doing, then the stack once. So are the reporter's own threads,
//!    which have none. [`fold`] has the order.
//!
//! Limits: a block lists [`MAX_MEMBERS`] of its threads, and says how many more
//! they are.

use ufmt::uwrite;

use crate::model::{Capture, Event, Thread, ThreadGroup, ThreadMember};
use crate::options::Options;
use crate::procfs::errno;
use crate::scope::{Masked, Snapshot};
use crate::section::{SectionResult, SectionWriter};
use crate::threads::{Listed, ThreadRecord};

#[cfg(feature = "stacks")]
use crate::{stacks::collect::FrameRecord, stacks::modules::Table};

#[cfg(feature = "stacks")]
mod between;
mod fold;
#[cfg(feature = "stacks")]
mod frames;
mod kernel;

pub(crate) use fold::Place;

pub(crate) const TITLE: &str = "Threads";

/// Threads that one block lists. Who reads more lines of the same?
const MAX_MEMBERS: usize = 100;

/// A thread in a few words.
const SUMMARY_BYTES: usize = 256;

/// What was collected.
pub(crate) struct Facts<'a> {
    pub(crate) records: &'a [ThreadRecord],
    pub(crate) listed: &'a Listed,
    pub(crate) scopes: &'a Snapshot<'a>,
    pub(crate) options: &'a Options,
    /// An earlier report is stuck in the collection.
    pub(crate) is_skipped: bool,
    /// If there were two samples.
    #[cfg(feature = "stacks")]
    pub(crate) sampled: Option<Sampled>,
    #[cfg(feature = "stacks")]
    pub(crate) frames: &'a [FrameRecord],
    /// Stacks that sections added.
    #[cfg(feature = "stacks")]
    pub(crate) added: &'a [crate::stacks::collect::AddedStack],
    #[cfg(feature = "stacks")]
    pub(crate) table: Option<&'a Table>,
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    pub(crate) names: &'a crate::names::Names,
    #[cfg(feature = "stacks")]
    pub(crate) lines: Option<&'static dyn crate::hosted::SourceLines>,
}

/// Two samples were taken: these are the second.
#[cfg(feature = "stacks")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampled {
    /// Threads that were there at the first only.
    pub(crate) ended: Option<usize>,
}

impl crate::section::Stacks for Facts<'_> {
    fn frames(&self, tid: u32, each: &mut dyn FnMut(&crate::model::Frame<'_>) -> bool) {
        #[cfg(feature = "stacks")]
        each_frame(self, tid, each);
        #[cfg(not(feature = "stacks"))]
        let _ = (tid, each);
    }
}

#[cfg(feature = "stacks")]
impl Facts<'_> {
    /// The stack of one thread.
    fn frames_of(&self, record: &ThreadRecord) -> &[FrameRecord] {
        record.frames(self.frames)
    }
}

/// Every ending, in the order of the summary.
const CAPTURES: [Capture; 15] = [
    Capture::Ok,
    Capture::Partial,
    Capture::Timeout,
    Capture::SignalBlocked,
    Capture::Exited,
    Capture::QueueFull,
    Capture::NoSlot,
    Capture::HandlerReplaced,
    Capture::Refused,
    Capture::Excluded,
    Capture::KernelWorker,
    Capture::Uninterruptible,
    Capture::Changed,
    Capture::NotBuilt,
    Capture::Own,
];

pub(crate) fn write(
    facts: &Facts<'_>,
    places: &mut [Place],
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    if let Some(error) = facts.listed.error {
        let mut text = heapless::String::<96>::new();
        let _ = if error == crate::threads::FOREIGN_PROC {
            uwrite!(&mut text, "not usable: /proc is of another pid namespace")
        } else {
            uwrite!(&mut text, "not readable ({})", errno::name(error))
        };
        out.value("list of threads", text.as_str())?;
    }
    out.value("summary", summary(facts).as_str())?;
    kernel::write_refusal(&facts.listed.calls, out)?;
    let missing = facts.listed.total.saturating_sub(facts.listed.count as u64);
    if missing > 0 {
        out.value("left out (over max_threads)", missing)?;
    }
    #[cfg(feature = "stacks")]
    if let Some(sampled) = facts.sampled {
        out.value("samples", 2_u32)?;
        out.value("threads that ended between samples", sampled.ended.map(|ended| ended as u64))?;
    }
    if facts.scopes.unrecorded > 0 {
        out.value("scopes not recorded", facts.scopes.unrecorded)?;
    }
    let mut rest = fold::order(facts, places);
    out.blocks("threads", |out| {
        loop {
            let block = fold::next_block(&mut rest);
            let Some(first) = block.first().and_then(|place| place.of(facts)) else {
                return Ok(());
            };
            if fold::is_group(facts, block) {
                write_group(facts, first, block, out)?;
            } else {
                write_thread(facts, first, out)?;
            }
        }
    })
}

/// `48 threads: 46 ok, 1 signal_blocked, 1 exited`
fn summary(facts: &Facts<'_>) -> heapless::String<256> {
    let mut text = heapless::String::new();
    let _ = uwrite!(&mut text, "{} threads", facts.listed.total);
    let mut separator = ": ";
    for capture in CAPTURES {
        let count = facts.records.iter().filter(|record| record.capture == capture).count();
        if count > 0 {
            let _ = uwrite!(&mut text, "{}{} {}", separator, count, capture.code());
            separator = ", ";
        }
    }
    text
}

fn is_main(record: &ThreadRecord) -> bool {
    record.tid == crate::sys::getpid()
}

pub(crate) fn write_thread(
    facts: &Facts<'_>,
    record: &ThreadRecord,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let thread = Thread {
        tid: record.tid,
        name: record.name(),
        state: record.state,
        capture: record.capture,
        stack_end: record.stack_end,
        is_main: is_main(record),
        is_triggering: record.is_triggering,
    };
    out.thread(&thread, |out| {
        kernel::write(record, out)?;
        #[cfg(feature = "passive")]
        write_while_parked(record, out)?;
        #[cfg(feature = "stacks")]
        between::write(record, out)?;
        write_scopes(facts, record, out)?;
        #[cfg(feature = "stacks")]
        frames::write(facts, record, out)?;
        Ok(())
    })
}

/// The frames of a stack that a section added, and how many more there were.
#[cfg(feature = "stacks")]
pub(crate) fn write_added(
    facts: &Facts<'_>,
    stack: crate::StackId,
    out: &mut SectionWriter<'_>,
) -> Option<SectionResult> {
    let stack = facts.added.get(stack.0 as usize)?;
    let outcome = frames::write(facts, &stack.record(), out);
    if outcome.is_err() || stack.left_out == 0 {
        return Some(outcome);
    }
    Some(out.value("frames left out", stack.left_out).map_err(Into::into))
}

/// Calls `each` with the frames of a thread, until it returns `false`.
#[cfg(feature = "stacks")]
pub(crate) fn each_frame(
    facts: &Facts<'_>,
    tid: u32,
    each: &mut dyn FnMut(&crate::model::Frame<'_>) -> bool,
) {
    struct Frames<'e>(&'e mut dyn FnMut(&crate::model::Frame<'_>) -> bool);
    impl crate::section::EventSink for Frames<'_> {
        fn emit(&mut self, event: &Event<'_>) -> Result<(), crate::Stop> {
            match event {
                Event::Frame(frame) if !(self.0)(frame) => Err(crate::Stop),
                _ => Ok(()),
            }
        }
    }
    if let Some(record) = facts.records.iter().find(|record| record.tid == tid) {
        let _ = frames::write(facts, record, &mut SectionWriter::new(&mut Frames(each)));
    }
}

/// How a stack was come by, or why not, of a thread that gave no answer.
#[cfg(feature = "passive")]
fn write_while_parked(record: &ThreadRecord, out: &mut SectionWriter<'_>) -> SectionResult {
    use crate::threads::WhileParked;
    let mut text = heapless::String::<64>::new();
    let _ = match record.while_parked {
        WhileParked::NotTried => return Ok(()),
        WhileParked::Read => uwrite!(&mut text, "while it was parked, without a signal"),
        WhileParked::Running => uwrite!(&mut text, "not: it runs"),
        WhileParked::Ran => uwrite!(&mut text, "not: it ran meanwhile"),
        WhileParked::NoTime => uwrite!(&mut text, "not: the time for stacks was over"),
        WhileParked::NoRoom => uwrite!(&mut text, "not: no room for more frames"),
        WhileParked::Refused(number) => {
            let error = rustix::io::Errno::from_raw_os_error(i32::from(number));
            uwrite!(&mut text, "not: refused ({})", errno::name(error))
        }
    };
    Ok(out.value("stack read", text.as_str())?)
}

/// The threads of `block`, whose first is `first`.
fn write_group(
    facts: &Facts<'_>,
    first: &ThreadRecord,
    block: &[Place],
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let group = ThreadGroup {
        count: block.len() as u64,
        first_tid: first.tid,
        first_name: first.name(),
        capture: first.capture,
        stack_end: first.stack_end,
    };
    out.thread_group(&group, |out| {
        out.blocks("members", |out| {
            for record in block.iter().take(MAX_MEMBERS).filter_map(|place| place.of(facts)) {
                write_member(facts, record, out)?;
            }
            Ok(())
        })?;
        let more = block.len().saturating_sub(MAX_MEMBERS);
        if more > 0 {
            out.value("members left out", more as u64)?;
        }
        #[cfg(feature = "stacks")]
        frames::write(facts, first, out)?;
        Ok(())
    })
}

fn write_member(
    facts: &Facts<'_>,
    record: &ThreadRecord,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let mut summary = heapless::String::<SUMMARY_BYTES>::new();
    // What does not fit is left out.
    let _ = kernel::brief(record, &mut summary);
    #[cfg(feature = "stacks")]
    let _ = between::brief(record, &mut summary);
    let member = ThreadMember {
        tid: record.tid,
        name: record.name(),
        state: record.state,
        summary: &summary,
    };
    out.thread_member(&member, |out| {
        kernel::write_member(record, out)?;
        #[cfg(feature = "stacks")]
        between::write_member(record, out)?;
        write_scopes(facts, record, out)
    })
}

/// What the thread was doing.
fn write_scopes(
    facts: &Facts<'_>,
    record: &ThreadRecord,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let mut scopes = facts.scopes.of(record.tid).peekable();
    if scopes.peek().is_none() {
        return Ok(());
    }
    out.blocks("scopes", |out| {
        let mut masked = Masked::default();
        for scope in scopes {
            out.event(&Event::Scope(facts.scopes.shown(scope, &mut masked)))?;
        }
        Ok(())
    })
}
