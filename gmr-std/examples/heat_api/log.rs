//! The log of `heat_api` and `heat_api_tokio`: one line on stderr for what an operator
//! should know.
//!
//! Lines are formatted first and then written with one call, since reports go
//! to stderr too: a line may stand between two lines of a report, but never in
//! the middle of one. A log that cannot be written is no reason to stop
//! serving, so errors are dropped (`eprintln!` would panic).

use core::fmt;
use std::io::{self, Write};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

pub(crate) fn log(level: Level, message: impl fmt::Display) {
    let level = match level {
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    let line = format!("{level} {}: {message}\n", env!("CARGO_CRATE_NAME"));
    let _ = io::stderr().write_all(line.as_bytes());
}
