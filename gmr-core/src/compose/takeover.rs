//! Takes over a report that does not end, and ends it visibly.
//!
//! 1. What it is stuck in is noted: the next reports skip it.
//! 2. The ownership changes; from here on the old holder writes nothing more.
//! 3. Its destination is fenced, and it gets a last line there.
//! 4. A new report is written.

use core::sync::atomic::Ordering;

use rustix::fd::AsFd;
use ufmt::{uWrite, uwrite};

use super::serve::{Job, Outlet, Output, write};
use super::{Previous, Step, nanoseconds};
use crate::bank::Lease;
use crate::engine::Engine;
use crate::protocol::named;
use crate::protocol::ownership::Epoch;
use crate::sink::Sink;
use crate::sys::clock;
use crate::view::ViewKind;

/// When the report on `bank` is overdue, CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn due_ns(engine: &Engine, bank: usize) -> u64 {
    let began = engine.cell(bank).map_or(0, |cell| cell.began_ns.load(Ordering::Acquire));
    began.saturating_add(nanoseconds(engine.options.report_deadline))
}

/// Takes the overdue report `stuck` over and writes a new one on `bank`.
pub(crate) fn take_over(
    engine: &Engine,
    lease: &mut Lease<'_>,
    bank: usize,
    job: Job,
    stuck: Epoch,
) {
    let (Some(cell), Some(other)) = (engine.cell(bank), engine.cell(stuck.bank())) else {
        return;
    };
    cell.began_ns.store(clock::monotonic_ns(), Ordering::Release);
    let step = Step(other.step.load(Ordering::Acquire));
    // Before the takeover: its old holder clears this when it comes back, and
    // it can only notice afterwards.
    other.stuck_in.store(step.0, Ordering::Release);
    let Some(epoch) = engine.ownership.take_over(stuck, bank) else {
        // It finished at the last moment.
        other.stuck_in.store(0, Ordering::Release);
        return;
    };
    let previous = Previous { sequence: stuck.sequence(), step };
    // Held, or the number that is fenced could be the program's by then. Its old
    // holder may be coming back: the place could be the next caller's.
    if let Some(outlet) = named::hold(&other.output, |output| Output(output).hold(engine)) {
        outlet.destination().fence(stuck.bank(), engine.null.as_fd());
        end_abandoned(engine, lease, bank, epoch, previous, &outlet);
    }
    engine.stats.abandoned.fetch_add(1, Ordering::Relaxed);
    write(engine, lease, cell, epoch, job, Some(previous), None);
}

/// Ends the abandoned report visibly, wherever it went and wherever it stopped:
/// the next report may go elsewhere.
fn end_abandoned(
    engine: &Engine,
    lease: &mut Lease<'_>,
    bank: usize,
    epoch: Epoch,
    previous: Previous,
    outlet: &Outlet<'_>,
) {
    let is_current = || engine.ownership.is_current(epoch);
    // The new report is to end before it counts as stuck (`compose`).
    let patience = nanoseconds(engine.options.report_deadline) >> 3;
    let patience = patience.min(nanoseconds(engine.options.output_deadline));
    let deadline_ns = clock::monotonic_ns().saturating_add(patience);
    let null = engine.null.as_fd();
    let line = outlet.destination().open_line(bank, null, deadline_ns, &is_current);
    let Some(line) = line else { return };
    let mut sink = Sink::new(line, lease.bank().sink);
    if outlet.view() == ViewKind::Text {
        let mut words = heapless::String::<256>::new();
        let _ = uwrite!(
            &mut words,
            "\nEnd of report {}: incomplete (abandoned in {})\n\n",
            previous.sequence,
            previous.step.title(engine)
        );
        let _ = sink.write_str(&words);
    } else {
        // The next document begins on a line of its own.
        let _ = sink.write_str("\n");
    }
    sink.flush(true);
}
