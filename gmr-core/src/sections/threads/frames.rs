//! The frames of one stack, each with what is known of its address: module and
//! offset, name, and from the host file, line and inlined functions.

use super::Facts;
use crate::model::{Event, Frame};
use crate::section::{SectionResult, SectionWriter};
use crate::stacks::unwind::Modules as _;
use crate::threads::ThreadRecord;

/// All frames of one thread.
pub(super) fn write(
    facts: &Facts<'_>,
    record: &ThreadRecord,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let first = record.first_frame as usize;
    let last = first.saturating_add(record.frame_count as usize);
    let records = facts.frames.get(first..last).unwrap_or_default();
    let mut index = 0_u32;
    for frame_record in records {
        let found = frame_record.found();
        let mut frame = Frame::bare(index, found.pc);
        frame.certainty = found.certainty;
        frame.is_signal_frame = found.is_signal_frame;
        let module = facts.table.and_then(|table| table.find(found.lookup_address()));
        if let Some((_, module)) = module.filter(|(_, module)| !module.is_stale()) {
            frame.module = Some(module.file_name());
            frame.module_offset = found.pc.wrapping_sub(module.bias);
        }
        #[cfg(feature = "symbols")]
        if let Some((name, is_cut)) = facts.names.of(&found) {
            frame.function = Some(name);
            frame.function_truncated = is_cut;
        }
        let has_lines = match (facts.lines, facts.table) {
            (Some(lines), Some(table)) => {
                let address = found.lookup_address();
                lines.lines(table.generation(), address, &mut |line| {
                    let mut frame = Frame { index, ..frame };
                    // The symbol table's name is the better one: line tables
                    // alone name functions without their modules.
                    if line.is_inlined || frame.function.is_none() {
                        frame.function = line.function;
                        frame.function_truncated = line.function_truncated;
                    }
                    frame.inlined = line.is_inlined;
                    frame.file = line.file.map(str::as_bytes);
                    frame.line = line.line;
                    index = index.saturating_add(1);
                    out.event(&Event::Frame(frame))
                })?
            }
            _ => false,
        };
        if !has_lines {
            index = index.saturating_add(1);
            out.event(&Event::Frame(frame))?;
        }
    }
    Ok(())
}
