//! The frames of one stack, each with what is known of its address: module and
//! offset, name, and from the host file, line and inlined functions.
//!
//! The runtime's frames at the end of a whole stack, from std's marker on
//! ([`crate::symbols::entry`]), become one line, if no frame of the stack was
//! guessed and each of them is known to be the runtime's. What was inlined into
//! the marker is the program's, and shown; where no line tables tell what that
//! was, the marker's frame itself is shown, for its address.

use super::Facts;
use crate::model::{EntryFrames, Event, Frame};
use crate::section::{SectionResult, SectionWriter, Stop};
use crate::stacks::collect::FrameRecord;
use crate::stacks::unwind::{Found, Modules as _};
use crate::threads::ThreadRecord;

/// All frames of one thread.
pub(super) fn write(
    facts: &Facts<'_>,
    record: &ThreadRecord,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let records = facts.frames_of(record);
    let marker = marker(facts, record, records);
    let shown = marker.unwrap_or(records.len());
    let mut index = 0_u32;
    for record in records.iter().take(shown) {
        write_frame(facts, &record.found(), &mut index, false, out)?;
    }
    let Some(found) = marker.and_then(|marker| records.get(marker)).map(FrameRecord::found) else {
        return Ok(());
    };
    let is_shown = !write_frame(facts, &found, &mut index, true, out)?;
    let left_out = records.len().saturating_sub(shown).saturating_sub(usize::from(is_shown));
    if let Some(last) = records.last()
        && left_out > 0
    {
        let last = frame(facts, &last.found(), index);
        out.event(&Event::EntryFrames(EntryFrames { count: left_out as u32, last }))?;
    }
    Ok(())
}

/// The frames at one address, the most inlined first. The marker's own is left
/// out, if there is a line for it; returns whether that was so.
fn write_frame(
    facts: &Facts<'_>,
    found: &Found,
    index: &mut u32,
    is_marker: bool,
    out: &mut SectionWriter<'_>,
) -> Result<bool, Stop> {
    let frame = frame(facts, found, *index);
    let mut is_left_out = false;
    let has_lines = match (facts.lines, facts.table) {
        (Some(lines), Some(table)) => {
            let address = found.lookup_address();
            lines.lines(table.generation(), address, &mut |line| {
                if is_marker && !line.is_inlined {
                    is_left_out = true;
                    return Ok(());
                }
                let mut frame = Frame { index: *index, ..frame };
                // The symbol table's name is the better one: line tables
                // alone name functions without their modules.
                if line.is_inlined || frame.function.is_none() {
                    frame.function = line.function;
                    frame.function_truncated = line.function_truncated;
                }
                frame.inlined = line.is_inlined;
                frame.file = line.file.map(str::as_bytes);
                frame.line = line.line;
                *index = index.saturating_add(1);
                out.event(&Event::Frame(frame))
            })?
        }
        _ => false,
    };
    if !has_lines {
        *index = index.saturating_add(1);
        out.event(&Event::Frame(frame))?;
    }
    Ok(is_left_out)
}

/// What is known of an address without the host.
fn frame<'a>(facts: &Facts<'a>, found: &Found, index: u32) -> Frame<'a> {
    let mut frame = Frame::bare(index, found.pc);
    frame.certainty = found.certainty;
    frame.is_signal_frame = found.is_signal_frame;
    let module = facts.table.and_then(|table| table.find(found.lookup_address()));
    if let Some((_, module)) = module.filter(|(_, module)| !module.is_stale()) {
        frame.module = Some(module.file_name());
        frame.module_offset = found.pc.wrapping_sub(module.bias);
    }
    #[cfg(feature = "symbols")]
    if let Some((name, is_cut)) = facts.names.of(found) {
        frame.function = Some(name);
        frame.function_truncated = is_cut;
    }
    frame
}

/// The frame from which on the runtime's are left out.
#[cfg(feature = "symbols")]
fn marker(facts: &Facts<'_>, record: &ThreadRecord, records: &[FrameRecord]) -> Option<usize> {
    use crate::model::{Capture, Certainty, StackEnd};
    use crate::symbols::entry;
    let is_certain = |record: &FrameRecord| record.found().certainty == Certainty::Exact;
    if facts.options.entry_frames
        || record.capture != Capture::Ok
        || record.stack_end != StackEnd::Complete
        || !records.iter().all(is_certain)
    {
        return None;
    }
    let name = |record: &FrameRecord| frame(facts, &record.found(), 0).function;
    let marker =
        records.iter().rposition(|record| name(record).is_some_and(entry::is_entry_marker))?;
    let mut outwards = records.iter().skip(marker.saturating_add(1));
    let is_all_runtime = outwards.all(|record| {
        let frame = frame(facts, &record.found(), 0);
        match (frame.function, frame.module) {
            (Some(name), _) => entry::is_runtime(name),
            (None, Some(module)) => entry::is_runtime_object(module),
            (None, None) => false,
        }
    });
    is_all_runtime.then_some(marker)
}

/// Without names nobody knows.
#[cfg(not(feature = "symbols"))]
fn marker(_: &Facts<'_>, _: &ThreadRecord, _: &[FrameRecord]) -> Option<usize> {
    None
}
