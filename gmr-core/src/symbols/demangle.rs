//! Rust names made readable, within bounds.
//!
//! 1. A name that begins like a Rust name (`_ZN…` legacy, `_R…` v0) and is not
//!    longer than [`MAX_MANGLED_BYTES`] goes through rustc-demangle, without
//!    its hash.
//! 2. What that prints is taken up to [`MAX_NAME_BYTES`], at a character
//!    boundary, with long generic arguments left out ([`super::shorten`]); then
//!    the writer reports an error, which ends the printing.
//! 3. Any other name is copied as it is, under the same limit. C++ names
//!    therefore stay mangled (`c++filt` reads them).
//!
//! # Bounds
//!
//! *Time.* v0 names refer back to earlier parts of themselves, so a short one
//! can describe gigabytes. Every step that branches also prints, so the cut
//! after 512 bytes ends it (where arguments are left out, that after
//! [`MAX_READ_BYTES`](super::shorten::MAX_READ_BYTES)); between two printed bytes
//! at most one walk over the mangled name happens, which is what
//! [`MAX_MANGLED_BYTES`] is for. The slowest name we could make takes 0.8 ms
//! (debug: 50 ms), a real one 1 µs.
//!
//! *Stack.* rustc-demangle recurses, up to 500 levels (its `MAX_DEPTH`), and
//! it does so while it *checks* a name, before anything is printed: the cut
//! does not bound it. Measured with Rust 1.95 on x86-64, on a painted stack:
//!
//! | names                                            | release | debug  |
//! |--------------------------------------------------|---------|--------|
//! | all 125,823 of `librustc_driver`                 |  12 KB  |  71 KB |
//! | 498 nested function pointers                     | 128 KB  | 831 KB |
//! | 498 nested generic `dyn` (worst known)           | 160 KB  | 832 KB |
//!
//! No compiler writes the last two, but a file may hold them. Whoever calls
//! this has [`MAX_STACK_BYTES`] free. To reproduce: the tests
//! `the_deepest_name_stays_within_the_budget` and, ignored,
//! `stack_of_real_names`.
//!
//! *Panics.* rustc-demangle has `expect`s and slices. They were read through
//! (0.1.28): those on `fmt::Error` need an error that is lost on the way, and
//! all are passed on; those on its own size limit need a megabyte of output,
//! which our writer ends after 512 bytes; the slices are cut at positions that
//! its own parser found in ASCII. Property tests and a fuzzer agree.

use core::fmt::Write;

use super::shorten::NameWriter;

/// The longest name that is kept, in bytes. A name of two lines can be read,
/// one of twenty hides the stack around it.
pub const MAX_NAME_BYTES: usize = 512;

/// The longest mangled name that is demangled, in bytes. Longer ones exist
/// (deeply nested futures and iterators) but their first 512 demangled bytes
/// are not worth an unbounded walk; they are shown mangled and cut.
pub const MAX_MANGLED_BYTES: usize = 4096;

/// How much stack [`demangle_into`] may take, in bytes, for the worst name:
/// what a stack it runs on has to have free. Measured (see the module), and a
/// test holds it to that.
pub const MAX_STACK_BYTES: usize = if cfg!(debug_assertions) { 896 << 10 } else { 192 << 10 };

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many bytes were written: always whole characters.
    pub len: usize,
    /// There would have been more.
    pub truncated: bool,
}

/// Writes the readable form of `mangled` to `out`, with long generic arguments
/// left out ([`super::shorten`]): at most [`MAX_NAME_BYTES`], at most `out.len()`,
/// cut at a character boundary.
///
/// Never panics, whatever the input.
///
/// # Signal safety
///
/// Safe; see the module for the stack it needs.
pub fn demangle_into(mangled: &str, out: &mut [u8]) -> Cut {
    demangle(mangled, out, true)
}

/// The same with all generic arguments.
///
/// # Signal safety
///
/// Safe; see the module for the stack it needs.
pub fn demangle_full_into(mangled: &str, out: &mut [u8]) -> Cut {
    demangle(mangled, out, false)
}

fn demangle(mangled: &str, out: &mut [u8], shortens: bool) -> Cut {
    // rustc-demangle also takes the forms of other systems, without the
    // underscore: in ELF `RC4`… is a C function.
    let rust = mangled.starts_with("_ZN") || mangled.starts_with("_R");
    if !rust || mangled.len() > MAX_MANGLED_BYTES {
        return copy_into(mangled, out, shortens);
    }
    let mut writer = NameWriter::new(&mut *out, shortens);
    let printed = write!(writer, "{:#}", rustc_demangle::demangle(mangled));
    let cut = writer.finish();
    // An error that is not the cut, or nothing at all, is not a name.
    if cut.len == 0 || (printed.is_err() && !cut.truncated) {
        return copy_into(mangled, out, shortens);
    }
    cut
}

/// Copies `name` to `out` under the same limits.
pub(super) fn copy_into(name: &str, out: &mut [u8], shortens: bool) -> Cut {
    let mut writer = NameWriter::new(out, shortens);
    // The error is the cut, which is in the result.
    let _ = writer.write_str(name);
    writer.finish()
}
