//! What a thread did between two samples.
//!
//! One line in text: the mark, and the CPU time of how much time. In JSON an object
//! with these in nanoseconds, and the time that it waited for a CPU. Threads with the same stack are one block, but each has
//! its own mark.

use super::kernel::{LINE_BYTES, Summaries};
use crate::line::Line;
use crate::model::{Between, Capture, Movement, Value};
use crate::section::{SectionResult, SectionWriter};
use crate::threads::ThreadRecord;

/// The line of one thread's block.
pub(super) fn write(record: &ThreadRecord, out: &mut SectionWriter<'_>) -> SectionResult {
    write_all(record, true, out)
}

/// The same of a member of a block of several: its line is part of [`brief`].
pub(super) fn write_member(record: &ThreadRecord, out: &mut SectionWriter<'_>) -> SectionResult {
    write_all(record, false, out)
}

/// `, same stack, burning CPU: CPU 97.3 ms of 100.4 ms`
pub(super) fn brief<W: ufmt::uWrite>(record: &ThreadRecord, out: &mut W) -> Result<(), W::Error> {
    let Some(between) = of(record) else { return Ok(()) };
    out.write_str(", ")?;
    out.write_str(line(&between).as_str())
}

/// Of the reporter's own threads nobody takes the stack.
fn of(record: &ThreadRecord) -> Option<Between> {
    record.between.filter(|_| record.capture != Capture::Own)
}

fn write_all(record: &ThreadRecord, has_line: bool, out: &mut SectionWriter<'_>) -> SectionResult {
    let Some(between) = of(record) else { return Ok(()) };
    Summaries { has_line, out }.write("between samples", line(&between).as_str(), |out| {
        out.value("movement", between.movement.map(Movement::words))?;
        out.value("cpu", between.cpu_ns.map_or(Value::None, Value::DurationNs))?;
        out.value("cpu_wait", between.cpu_wait_ns.map_or(Value::None, Value::DurationNs))?;
        Ok(out.value("time", Value::DurationNs(between.interval_ns))?)
    })
}

fn line(between: &Between) -> Line<LINE_BYTES> {
    let mut line = Line::new();
    line.push(between.movement.map_or("not known whether it moved", Movement::words));
    line.push(": CPU ");
    match between.cpu_ns {
        Some(cpu_ns) => crate::view::duration(&mut line, cpu_ns),
        None => line.push("not known"),
    }
    line.push(" of ");
    crate::view::duration(&mut line, between.interval_ns);
    line
}
