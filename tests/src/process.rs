//! What /proc says about a daemon.

use std::collections::BTreeMap;
use std::fs;

/// Threads of a process: number and name.
///
/// # Panics
///
/// If the process is gone.
#[must_use]
pub fn threads(pid: u32) -> BTreeMap<u32, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the daemon's threads");
    let tids = tasks.map(|task| task.expect("a thread").file_name());
    tids.filter_map(|tid| tid.to_str()?.parse::<u32>().ok())
        .filter_map(|tid| {
            let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
            Some((tid, name.trim_end().to_owned()))
        })
        .collect()
}

/// Open descriptors of a process: number and target.
///
/// # Panics
///
/// If the process is gone.
#[must_use]
pub fn descriptors(pid: u32) -> BTreeMap<u32, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the daemon's descriptors");
    entries
        .filter_map(|entry| {
            let entry = entry.expect("a descriptor");
            let target = fs::read_link(entry.path()).ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// A line of /proc/PID/status.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon's status");
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| *found == key)
        .map(|(_, value)| value.trim().to_owned())
        .expect("a line of /proc/PID/status")
}

/// Resident memory that is not backed by files, in KiB.
///
/// # Panics
///
/// If /proc does not say.
#[must_use]
pub fn anonymous_kib(pid: u32) -> u64 {
    let value = status(pid, "RssAnon");
    value.trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// Whether the process has a handler for a signal.
///
/// # Panics
///
/// If /proc does not say.
#[must_use]
pub fn catches(pid: u32, signal: i32) -> bool {
    let caught = u64::from_str_radix(&status(pid, "SigCgt"), 16).expect("a set of signals");
    caught & (1 << (signal - 1)) != 0
}

/// Whether the process runs (is there, and no zombie).
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

/// Whether every thread of it sleeps.
#[must_use]
pub fn is_at_rest(pid: u32) -> bool {
    threads(pid).keys().all(|tid| {
        fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
    })
}
