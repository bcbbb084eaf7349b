//! Function names from the ELF symbol tables: step 1 of the symbol ladder.
//!
//! 1. [`source`] reads bytes of an object: a file descriptor by `pread`, or a
//!    slice. A file is never mapped: a mapped file that somebody truncates
//!    raises SIGBUS, and an upgrade in place does truncate.
//! 2. [`elf`] decodes headers, symbols and notes of 64-bit little-endian ELF
//!    (elf(5), System V gABI) and finds the build-id.
//! 3. [`resolve`](resolve()) finds the names of many addresses of one object
//!    in one pass over its symbol tables.
//! 4. [`demangle`] makes Rust names readable, within bounds; [`shorten`] leaves
//!    long generic arguments out of them.
//! 5. [`entry`] knows the runtime's frames by their names.
//! 6. [`arena`] keeps the names until the report ends.
//!
//! Nothing here allocates, locks, panics or contains `unsafe`, so all of it
//! may run in a signal handler; the only system call is `pread`. What it does
//! cost is stack: see [`demangle`].
//!
//! Addresses are *SVMA*s: virtual addresses as stated in the file. The
//! address in the process (*AVMA*) is the SVMA plus the object's load bias.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(target_os = "linux", feature = "symbols"))] fn main() -> Result<(), rustix::io::Errno> {
//! use gmr_core::symbols::{FdSource, MIN_SCRATCH_BYTES, NameArena, Wanted, resolve};
//! use rustix::fd::AsFd;
//! use rustix::fs::{Mode, OFlags, open};
//!
//! let exe = open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
//! let (mut memory, mut scratch) = ([0; 4096], [0; MIN_SCRATCH_BYTES]);
//! let mut names = NameArena::new(&mut memory);
//! // Two addresses in the executable, its load bias subtracted.
//! let mut wanted = [Wanted::new(0x4711, 0), Wanted::new(0x12345, 1)];
//! resolve(&FdSource(exe.as_fd()), &mut wanted, &mut names, &mut scratch, &mut || true);
//! for found in &wanted {
//!     println!("{:#x} is in {:?}", found.svma, found.name.map(|name| names.get(name)));
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(all(target_os = "linux", feature = "symbols")))] fn main() {}
//! ```
//!
//! # Limitations
//!
//! - 64-bit little-endian objects only.
//! - C++ names stay mangled: their demangler is ten times this module.
//! - Compressed symbol tables (`.gnu_debugdata`) and separate debug files are
//!   not opened; that is step 2 of the ladder, on a worker.

#[cfg(feature = "symbols")]
pub mod arena;
#[cfg(feature = "symbols")]
pub mod demangle;
pub mod elf;
#[cfg(feature = "symbols")]
pub mod entry;
#[cfg(feature = "symbols")]
pub mod resolve;
#[cfg(feature = "symbols")]
pub mod shorten;
pub mod source;
#[cfg(feature = "symbols")]
pub mod test_support;

#[cfg(feature = "symbols")]
pub use arena::{NameArena, NameRef};
#[cfg(feature = "symbols")]
pub use demangle::{
    Cut, MAX_MANGLED_BYTES, MAX_NAME_BYTES, MAX_STACK_BYTES, demangle_full_into, demangle_into,
};
pub use elf::{BuildId, ElfError, MAX_BUILD_ID_BYTES, build_id};
#[cfg(feature = "symbols")]
pub use resolve::{MIN_SCRATCH_BYTES, ResolveStatus, Resolved, Wanted, resolve};
#[cfg(feature = "symbols")]
pub use shorten::shorten_into;
#[cfg(target_os = "linux")]
pub use source::FdSource;
pub use source::{ElfSource, ReadError};

#[cfg(all(test, feature = "symbols"))]
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
