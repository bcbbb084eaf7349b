//! The Processes section: this process, and its descendants as a tree.
//!
//! 1. what /proc/self says, with limits and control group;
//! 2. one scan of /proc, reading only `stat` of other processes, into a table
//!    of (pid, parent pid) ([`tree`]);
//! 3. the descendants in that table, each read once more when it is shown; one
//!    that has gone meanwhile is skipped. A zombie is a process like others.
//!
//! What cannot be read is said as a value, `open files = not readable
//! (EACCES)`, and costs nothing else.
//!
//! # Limitations
//!
//! - The scan emits nothing, so the section's deadline is looked at before and
//!   after it. It takes some 10 µs per process of the system and ends when the
//!   table is full.
//! - Reading takes one descriptor at a time, two for the tree: a process that
//!   has none left shows what system calls alone can tell.
//! - With /proc mounted `hidepid=invisible` children of other users are not
//!   seen, and nothing tells so.
//!
//! # Signal safety
//!
//! Safe: no allocation, no lock, no panic, raw system calls. All memory is the
//! caller's ([`Scratch`]); a test runs a debug build on a stack of 24 KiB.

pub(crate) mod cgroup;
mod facts;
mod own;
mod snapshot;
mod tree;
mod users;

use core::mem::MaybeUninit;

use heapless::String;
use rustix::io::Errno;

pub(crate) use facts::Facts;
pub(crate) use tree::Entry;

use crate::model::Value;
use crate::procfs::errno;
#[cfg(test)]
use crate::procfs::list;
use crate::section::{SectionResult, SectionWriter};

pub(crate) const TITLE: &str = "Processes";

/// Bytes of [`Scratch::bytes`] that hold every file read here whole on common
/// systems.
pub(crate) const SCRATCH_BYTES: usize = 8192;

/// Bytes for [`Scratch::dirents`].
#[cfg(test)]
pub(crate) const DIRENTS_BYTES: usize = list::DIRENTS_BYTES;

/// Default size of the process table.
pub(crate) const TABLE_ENTRIES: usize = 4096;

/// Memory for the section to work in; its content means nothing before and
/// after.
#[derive(Debug)]
pub(crate) struct Scratch<'a> {
    /// Every process of the system but kernel threads: [`TABLE_ENTRIES`].
    pub(crate) table: &'a mut [Entry],
    /// For contents of files: [`SCRATCH_BYTES`].
    pub(crate) bytes: &'a mut [u8],
    /// For getdents64: [`DIRENTS_BYTES`].
    pub(crate) dirents: &'a mut [MaybeUninit<u8>],
    /// Set if the table was too small.
    pub(crate) limit_hit: bool,
}

/// Writes the section.
///
/// # Errors
///
/// [`crate::section::SectionError::Stopped`] when the deadline passed, else
/// none.
pub(crate) fn write(
    facts: &Facts,
    scratch: &mut Scratch<'_>,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    out.blocks("processes", |out| own::write(facts, scratch, out))
}

/// `not readable (EACCES)`.
fn not_readable(error: Errno) -> String<48> {
    let mut text = String::new();
    for part in ["not readable (", errno::name(error), ")"] {
        // 48 bytes hold the longest name.
        let _full = text.push_str(part);
    }
    text
}

/// Bytes that may have been cut, as a value.
fn maybe_cut(bytes: &[u8], cut: bool) -> Value<'_> {
    if cut { Value::Truncated { text: bytes, full_len_bytes: None } } else { Value::Bytes(bytes) }
}

#[cfg(test)]
mod tests;
