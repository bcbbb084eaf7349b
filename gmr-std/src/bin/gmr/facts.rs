//! What /proc says about a process (proc_pid_status(5)).
//!
//! Threads come and go while this is read: one that is gone is left out.

use std::io::{Error, ErrorKind};
use std::{fs, process};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) name: String,
    /// The kernel's letter.
    pub(crate) state: char,
    /// Signals it blocks.
    pub(crate) blocked: u64,
}

impl Thread {
    /// Whether it ended: a main thread may be a zombie while others go on.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Whether it is stopped, by a signal or a debugger.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// A process that was started by the one asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// Signals with a handler.
    pub(crate) caught: u64,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// Signals with a handler.
    pub(crate) caught: u64,
    /// Signals ignored.
    pub(crate) ignored: u64,
    /// Its parent's process id.
    pub(crate) parent_pid: i32,
    /// Who traces it; 0: nobody.
    pub(crate) tracer_pid: i32,
    /// Its number in its own pid namespace, if that is not ours.
    pub(crate) inner_pid: Option<i32>,
    /// Whether we may send it signals.
    pub(crate) is_ours_to_signal: bool,
    /// Where its standard error goes, if that may be seen.
    pub(crate) stderr: Option<String>,
    pub(crate) threads: Vec<Thread>,
    /// Those that could be read: the process may be no more than a wrapper.
    pub(crate) children: Vec<Child>,
}

/// Why there are no facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unknown {
    NoSuchProcess,
    /// A thread's id: `kill` takes it for its process.
    IsThreadOf(i32),
    /// It is there, and /proc does not show it.
    Hidden,
    NotReadable(String),
    /// /proc numbers other processes than `kill` does.
    ForeignProc,
}

impl Facts {
    pub(crate) fn read(pid: i32) -> Result<Self, Unknown> {
        let own = fs::read_link("/proc/self").map_err(|error| not_readable(&error))?;
        if own.to_str() != Some(&process::id().to_string()) {
            return Err(Unknown::ForeignProc);
        }
        let may_signal = may_signal(pid);
        let status = read(&format!("/proc/{pid}/status")).map_err(|error| {
            match (error.kind(), &may_signal) {
                (ErrorKind::NotFound, Some(_)) => Unknown::Hidden,
                (ErrorKind::NotFound, None) => Unknown::NoSuchProcess,
                _ => gone_or_not_readable(&error),
            }
        })?;
        let group = number(&status, "Tgid");
        if group != pid {
            return Err(Unknown::IsThreadOf(group));
        }
        let set = |key| field(&status, key).and_then(hexadecimal);
        let (Some(caught), Some(ignored)) = (set("SigCgt"), set("SigIgn")) else {
            return Err(Unknown::NotReadable("/proc/PID/status has no signal sets".to_owned()));
        };
        Ok(Facts {
            pid,
            name: field(&status, "Name").unwrap_or("?").to_owned(),
            caught,
            ignored,
            parent_pid: number(&status, "PPid"),
            tracer_pid: number(&status, "TracerPid"),
            inner_pid: field(&status, "NSpid").and_then(inner_pid),
            is_ours_to_signal: may_signal == Some(true),
            stderr: fs::read_link(format!("/proc/{pid}/fd/2"))
                .ok()
                .map(|target| target.to_string_lossy().into_owned()),
            threads: threads(pid)?,
            children: children(pid),
        })
    }
}

fn read(path: &str) -> Result<String, Error> {
    // Names are any bytes.
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn not_readable(error: &Error) -> Unknown {
    Unknown::NotReadable(error.to_string())
}

/// ESRCH: it ended between open(2) and read(2).
fn gone_or_not_readable(error: &Error) -> Unknown {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::SRCH | Errno::NOENT) => Unknown::NoSuchProcess,
        _ => not_readable(error),
    }
}

/// `None`: there is no such process.
fn may_signal(pid: i32) -> Option<bool> {
    match test_kill_process(Pid::from_raw(pid)?) {
        Ok(()) => Some(true),
        Err(Errno::PERM) => Some(false),
        Err(_) => None,
    }
}

fn threads(pid: i32) -> Result<Vec<Thread>, Unknown> {
    let list = fs::read_dir(format!("/proc/{pid}/task"));
    let mut threads = Vec::new();
    for entry in list.map_err(|error| gone_or_not_readable(&error))? {
        let entry = entry.map_err(|error| gone_or_not_readable(&error))?;
        let path = entry.path().join("status");
        match read(&path.to_string_lossy()) {
            Ok(status) => threads.extend(thread(&status)),
            Err(error) => match gone_or_not_readable(&error) {
                Unknown::NoSuchProcess => {}
                unknown => return Err(unknown),
            },
        }
    }
    if threads.is_empty() { Err(Unknown::NoSuchProcess) } else { Ok(threads) }
}

/// Children of the main thread, which is the one that a wrapper has.
fn children(pid: i32) -> Vec<Child> {
    let pids = read(&format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let child = |pid: &str| {
        let status = read(&format!("/proc/{pid}/status")).ok()?;
        Some(Child {
            pid: pid.parse().ok()?,
            name: field(&status, "Name")?.to_owned(),
            caught: hexadecimal(field(&status, "SigCgt")?)?,
        })
    };
    pids.split_whitespace().filter_map(child).collect()
}

fn thread(status: &str) -> Option<Thread> {
    Some(Thread {
        name: field(status, "Name")?.to_owned(),
        state: field(status, "State")?.chars().next()?,
        blocked: hexadecimal(field(status, "SigBlk")?)?,
    })
}

/// The value of a line `Key:\tvalue`.
fn field<'t>(status: &'t str, key: &str) -> Option<&'t str> {
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim())
}

fn number(status: &str, key: &str) -> i32 {
    field(status, key).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// `NSpid: 4711 7`: from the namespace of /proc to its own.
fn inner_pid(value: &str) -> Option<i32> {
    value.split_whitespace().skip(1).last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_key() {
        let status = "Name:\tworker: one\nState:\tS (sleeping)\nSigBlk:\t0000000000000800\n";
        assert_eq!(
            thread(status),
            Some(Thread { name: "worker: one".to_owned(), state: 'S', blocked: 0x800 })
        );
        assert_eq!(field(status, "Stat"), None);
        assert_eq!(inner_pid("4711"), None);
        assert_eq!(inner_pid("4711\t12\t7"), Some(7));
    }
}
