//! What the kernel says of a thread: shown before its frames.

use crate::section::{SectionResult, SectionWriter};
use crate::threads::ThreadRecord;

/// The lines of one thread's block.
#[expect(clippy::unnecessary_wraps, reason = "nothing is read yet")]
pub(super) fn write(_record: &ThreadRecord, _out: &mut SectionWriter<'_>) -> SectionResult {
    Ok(())
}
