//! Function names from the ELF symbol tables: step 1 of the symbol ladder.
//!
//! 1. [`source`] reads bytes of an object: a file descriptor by `pread`, or a
//!    slice. A file is never mapped: a mapped file that somebody truncates
//!    raises SIGBUS, and an upgrade in place does truncate.
//! 2. [`elf`] decodes headers, symbols and notes of 64-bit little-endian ELF
//!    (elf(5), System V gABI) and finds the build-id.
//! 3. [`resolve`](resolve()) finds the names of many addresses of one object
//!    in one pass over its symbol tables.
//! 4. [`demangle`] makes Rust names readable, within bounds.
//! 5. [`arena`] keeps the names until the report ends.
//!
//! Nothing here allocates, locks, panics or contains `unsafe`, so all of it
//! may run in a signal handler; the only system call is `pread`. What it does
//! cost is stack: see [`demangle`].
//!
//! Addresses are *SVMA*s: virtual addresses as stated in the file. The
//! address in the process (*AVMA*) is the SVMA plus the object's load bias.
//!
//! # Limitations
//!
//! - 64-bit little-endian objects only.
//! - C++ names stay mangled: their demangler is ten times this module.
//! - Compressed symbol tables (`.gnu_debugdata`) and separate debug files are
//!   not opened; that is step 2 of the ladder, on a worker.

pub mod arena;
pub mod demangle;
pub mod elf;
pub mod resolve;
pub mod source;
pub mod test_support;

pub use arena::{NameArena, NameRef};
pub use demangle::{Cut, MAX_MANGLED_BYTES, MAX_NAME_BYTES, MAX_STACK_BYTES, demangle_into};
pub use elf::{BuildId, ElfError, build_id};
pub use resolve::{MIN_SCRATCH_BYTES, ResolveStatus, Resolved, Wanted, resolve};
#[cfg(target_os = "linux")]
pub use source::FdSource;
pub use source::{ElfSource, ReadError};

#[cfg(test)]
mod tests;

/// The last component of a path: what a report shows of a module.
///
/// A path that ends in a slash, or has none, is returned whole. Bytes, because
/// `/proc/self/maps` knows no encoding; its ` (deleted)` stays, being news.
#[must_use]
pub fn file_name(path: &[u8]) -> &[u8] {
    match path.rsplit(|&byte| byte == b'/').next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}
