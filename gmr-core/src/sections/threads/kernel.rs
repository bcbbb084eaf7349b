//! What the kernel says of a thread: shown before its frames.

use crate::section::{SectionResult, SectionWriter};
use crate::threads::ThreadRecord;

/// The thread in a few words, without its name.
pub(super) fn brief<W: ufmt::uWrite>(record: &ThreadRecord, out: &mut W) -> Result<(), W::Error> {
    out.write_str(crate::model::state_name(record.state))
}

/// The lines of one thread's block.
#[expect(clippy::unnecessary_wraps, reason = "nothing is read yet")]
pub(super) fn write(_record: &ThreadRecord, _out: &mut SectionWriter<'_>) -> SectionResult {
    Ok(())
}
