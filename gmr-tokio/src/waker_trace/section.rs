//! The section that shows waker traces.
//!
//! 1. While a report collects, the traces are given to it as stacks, which it finds
//!    names and lines for.
//! 2. The section shows them, those of one future together.
//!
//! Between the two it keeps what it has in memory of its own, behind a lock that is
//! tried only: a report that finds it taken, by one that was abandoned, says so.
//!
//! Limits: [`MAX_TRACES`] traces, and as many as the report has room for; what is left
//! out is counted.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use gmr_core::model::{Task, TaskState, Value};
use gmr_core::section::{Collecting, StackId};
use gmr_std::{SectionError, SectionResult, SectionWriter, SignalSafeSection};

use crate::text::Text;
use crate::tracked::{Facts, Phase};

/// Traces that a report keeps.
const MAX_TRACES: usize = 512;

/// The section, to be registered at setup:
/// `.register_signal_safe_section("Waker Traces", gmr_tokio::waker_traces())`.
///
/// It shows where tracked futures wait, for programs without types in their debug
/// information; see [`trace_wakers`](crate::trace_wakers).
///
/// # Limitations
///
/// - 512 traces, and fewer if they are of many different stacks. Each has 39 frames, the
///   innermost.
/// - Futures with wakers of their own for what they hold (`FuturesUnordered`, `Shared`)
///   are seen from outside only.
/// - A task that is woken and was not polled yet still has its trace.
pub fn waker_traces() -> &'static dyn SignalSafeSection {
    static SECTION: Traces = Traces {
        is_taken: AtomicBool::new(false),
        kept: UnsafeCell::new(Kept { sequence: 0, traces: heapless::Vec::new(), left_out: 0 }),
    };
    &SECTION
}

struct Traces {
    is_taken: AtomicBool,
    kept: UnsafeCell<Kept>,
}

// SAFETY: `kept` is touched by who has set `is_taken` alone.
unsafe impl Sync for Traces {}

struct Kept {
    /// The report that it was collected for; 0: none.
    sequence: u64,
    traces: heapless::Vec<KeptTrace, MAX_TRACES>,
    left_out: u64,
}

struct KeptTrace {
    facts: Facts,
    is_of_last_poll: bool,
    is_cut: bool,
    stack: StackId,
}

impl Traces {
    /// `None`: another report has it.
    fn with<R>(&self, work: impl FnOnce(&mut Kept) -> R) -> Option<R> {
        if self.is_taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: it was not taken, and is now ours until the store below.
        let result = work(unsafe { &mut *self.kept.get() });
        self.is_taken.store(false, Ordering::Release);
        Some(result)
    }
}

// SAFETY: Atomics, memory that is never freed and what the report offers; nothing
// allocates (the vector has its room within), locks or waits. The loops end with the
// slab's items and with the vector, at once if the report says stop.
unsafe impl SignalSafeSection for Traces {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        let outcome = self.with(|kept| {
            if kept.sequence != out.sequence() {
                return Err(SectionError::Failed("the traces were not collected"));
            }
            write(kept, out)
        });
        outcome.unwrap_or(Err(SectionError::Failed("an earlier report is still at the traces")))
    }

    fn collect(&self, report: &mut dyn Collecting) {
        self.with(|kept| {
            kept.sequence = report.sequence();
            kept.traces.clear();
            kept.left_out = 0;
            super::each(&mut |trace| {
                // Looked at first: a stack that is added cannot be taken back.
                let stack =
                    if kept.traces.is_full() { None } else { report.add_stack(trace.addresses) };
                let Some(stack) = stack else {
                    kept.left_out += 1;
                    return report.check().is_ok();
                };
                let trace = KeptTrace {
                    facts: *trace.facts,
                    is_of_last_poll: trace.is_of_last_poll,
                    is_cut: trace.is_cut,
                    stack,
                };
                let _ = kept.traces.push(trace);
                report.check().is_ok()
            });
            let order = |trace: &KeptTrace| (trace.facts.id.to_words(), !trace.is_of_last_poll);
            kept.traces.sort_unstable_by_key(order);
        });
    }
}

fn write(kept: &Kept, out: &mut SectionWriter<'_>) -> SectionResult {
    out.value("traces", kept.traces.len() as u64)?;
    if kept.left_out > 0 {
        out.value("left out: no room", kept.left_out)?;
    }
    if super::untraced() > 0 {
        out.value("wakers without a trace: no room, since the start", super::untraced())?;
    }
    if !super::is_on() {
        out.value("tracing", "off (gmr_tokio::trace_wakers)")?;
    }
    let now_ns = crate::tracked::now_ns();
    out.blocks("tasks", |out| {
        for traces in kept.traces.chunk_by(|one, other| one.facts.id == other.facts.id) {
            write_future(traces, now_ns, out)?;
        }
        Ok(())
    })
}

fn write_future(traces: &[KeptTrace], now_ns: u64, out: &mut SectionWriter<'_>) -> SectionResult {
    let Some(KeptTrace { facts, .. }) = traces.first() else { return Ok(()) };
    let task = Task {
        count: 1,
        ids: facts.task_id.as_slice(),
        name: Some(facts.name.as_str()).filter(|name| !name.is_empty()),
        state: match facts.phase {
            Phase::New => TaskState::New,
            Phase::Polling => TaskState::Running,
            Phase::Suspended => TaskState::Suspended,
            Phase::Ended => TaskState::Complete,
        },
        tid: None,
        for_ns: facts.poll_began_ns.map(|began_ns| now_ns.saturating_sub(began_ns)),
        future: Some((facts.future)()),
    };
    out.task(&task, |out| {
        let place = facts.spawned;
        out.value("spawned", Text::<256>::new().place(place.file(), place.line()).as_str())?;
        out.value("polls", facts.polls)?;
        if let Some(created_ns) = facts.created_ns {
            out.value("age", Value::DurationNs(now_ns.saturating_sub(created_ns)))?;
        }
        for (number, trace) in traces.iter().enumerate() {
            if number == 0 {
                write_trace(trace, out)?;
            } else {
                out.group("another waker", |out| write_trace(trace, out))?;
            }
        }
        Ok(())
    })
}

fn write_trace(trace: &KeptTrace, out: &mut SectionWriter<'_>) -> SectionResult {
    if !trace.is_of_last_poll {
        out.value("waker", "of an earlier poll: it may not wait for this any more")?;
    }
    if trace.is_cut {
        out.value("frames", "only the innermost were kept")?;
    }
    out.show_stack(trace.stack)?;
    Ok(())
}
