//! The report about this program: all that depends on gmr-tokio.

use std::path::PathBuf;
use std::time::Duration;

use gmr_tokio::{Handle, View};
use tokio::task::LocalSet;

/// Building the table takes milliseconds optimised, seconds if not.
const READY: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Only the truth is printed.
    pub(crate) is_truth_only: bool,
    /// Stay until stdin ends.
    pub(crate) holds: bool,
    /// A table to read.
    pub(crate) table: Option<PathBuf>,
    /// Where separate debug files are.
    pub(crate) debug_dirs: Vec<PathBuf>,
}

impl Arguments {
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Self {
        let mut read = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--truth" => read.is_truth_only = true,
                "--hold" => read.holds = true,
                other => match other.strip_prefix("--table=") {
                    Some(file) => read.table = Some(file.into()),
                    None => read.debug_dirs.push(other.into()),
                },
            }
        }
        read
    }
}

/// Sets reports up, inside the runtime that is looked at.
///
/// # Panics
///
/// If that fails.
pub(crate) fn set_up(arguments: &Arguments) -> Option<Handle> {
    if arguments.is_truth_only {
        return None;
    }
    let mut options = gmr_tokio::Options::new();
    if let Some(table) = &arguments.table {
        options = options.await_table(table);
    }
    if !arguments.debug_dirs.is_empty() {
        options = options.debug_dirs(arguments.debug_dirs.iter().cloned());
    }
    // The judge looks for whole names.
    let setup = options.setup_autorun(gmr_tokio::package!()).full_names(true);
    Some(setup.install().expect("a setup"))
}

/// Waits until reports show tasks, or say why not.
pub(crate) fn wait_until_ready() {
    if let Err(reason) = gmr_tokio::wait_until_ready(READY) {
        eprintln!("not ready: {reason}");
    }
}

/// The report, as one line of JSON.
///
/// # Panics
///
/// If there is none.
pub(crate) fn write(reports: Handle) -> String {
    reports.report(View::JsonLine).expect("a report")
}

/// Makes another runtime known.
pub(crate) fn register(runtime: &tokio::runtime::Handle) {
    gmr_tokio::register(runtime).expect("a known runtime");
}

/// Makes a set of tasks known.
pub(crate) fn register_local_set(set: &LocalSet) {
    gmr_tokio::register_local_set(set).expect("a known set");
}
