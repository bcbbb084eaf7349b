//! What the kernel says about this process and its children, read from /proc.
//!
//! Two kinds of file live here, so that the parsing can be tested and fuzzed
//! on plain bytes:
//!
//! - *readers*, which speak to the kernel: [`read`] (one small file),
//!   [`list`] (a directory), [`lines`] (a file of any length, line by line);
//! - *parsers*, pure functions from bytes to a struct, one file per format:
//!   [`stat`], [`status`], [`syscall`], [`schedstat`], [`limits`], [`cgroup`],
//!   [`maps`], [`passwd`], [`uptime`].
//!
//! Every buffer is the caller's. What a file does not say is `None`, what does
//! not fit is marked as cut; nothing is an error that loses the rest.
//!
//! Of *other* processes only `stat`, `status` and `comm` may be read: their
//! `cmdline`, `environ` and `maps` wait for the other process's memory lock,
//! which it may hold for as long as it likes.
//!
//! # Signal safety
//!
//! All of it: no allocation, no lock, no panic, raw system calls only
//! (openat, read, close, getdents64, lseek, newfstatat, readlinkat,
//! clock_gettime). The one thing to do beforehand is to read the clock once at
//! setup, since the first use of the vDSO parses it.

pub(crate) mod bytes;
pub mod cgroup;
pub mod errno;
pub mod limits;
pub mod lines;
pub mod list;
pub mod maps;
pub mod passwd;
pub mod path;
pub mod read;
pub mod schedstat;
pub mod stat;
pub mod status;
pub mod syscall;
pub mod uptime;

/// The kernel's error, as rustix has it.
pub use rustix::io::Errno;
