//! The command line, which `heat_api` and `heat_api_tokio` share.

use core::{error::Error, fmt};
use std::{ffi::OsString, path::PathBuf};

use gmr_std::View;

pub(crate) const USAGE: &str = concat!(
    "Usage: ",
    env!("CARGO_CRATE_NAME"),
    " [OPTIONS]

A small HTTP service that answers `kill -USR2 PID` with a Guru Meditation Report
on stderr. Prints `listening on ADDR, pid PID` on stdout once it serves.
Stop it with SIGTERM or SIGINT.

Options:
  --config FILE         TOML file to run with (default: a sample that is built in)
  --format text|json    how reports are written (default: text)
  --once                serve some requests to itself, report once, exit:
                        0 if the report is complete
  --help                this text

"
);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Run(Options),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) config: Option<PathBuf>,
    pub(crate) format: View,
    pub(crate) once: bool,
}

/// Reads the arguments (without the program's own name). Of an option that is
/// given twice, the last one counts.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut args = args.into_iter();
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        // File names need not be UTF-8, option names are.
        match arg.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--once") => options.once = true,
            Some("--config") => {
                let file = args.next().ok_or(UsageError::NoValue("--config"))?;
                options.config = Some(file.into());
            }
            Some("--format") => {
                let format = args.next().ok_or(UsageError::NoValue("--format"))?;
                options.format = match format.to_str() {
                    Some("text") => View::Text,
                    Some("json") => View::Json,
                    _ => return Err(UsageError::Format(format)),
                };
            }
            _ => return Err(UsageError::Unknown(arg)),
        }
    }
    Ok(Command::Run(options))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UsageError {
    Unknown(OsString),
    NoValue(&'static str),
    Format(OsString),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(arg) => write!(f, "unknown argument {arg:?}"),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::Format(format) => write!(f, "unknown format {format:?}: text or json"),
        }
    }
}

impl Error for UsageError {}
