//! The block of this process, with that of its descendants inside.

use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::process::{Resource, getrlimit};

use super::facts::Facts;
use super::snapshot::Snapshot;
use super::users::Users;
use super::{Scratch, cgroup, maybe_cut, not_readable, tree};
use crate::model::{Process, Value};
use crate::procfs::{list, read, status};
use crate::section::{SectionResult, SectionWriter, Stop};

/// The limits that stop daemons, and whether they count bytes.
const LIMITS: [(Resource, &str, &str, bool); 7] = [
    (Resource::Nofile, "open files", "open files (hard)", false),
    (Resource::Nproc, "processes", "processes (hard)", false),
    (Resource::As, "address space", "address space (hard)", true),
    (Resource::Stack, "stack", "stack (hard)", true),
    (Resource::Core, "core file", "core file (hard)", true),
    (Resource::Memlock, "locked memory", "locked memory (hard)", true),
    (Resource::Sigpending, "pending signals", "pending signals (hard)", false),
];

/// Writes this process's block.
pub(super) fn write(
    facts: &Facts,
    scratch: &mut Scratch<'_>,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let snapshot = Snapshot::read(CWD, c"/proc/self/stat", scratch.bytes);
    let known = snapshot.as_ref().ok();
    let uid = rustix::process::getuid().as_raw();
    let mut users = Users::new(facts);
    let process = Process {
        pid: rustix::process::getpid().as_raw_nonzero().get().unsigned_abs(),
        parent_pid: rustix::process::getppid()
            .map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs()),
        name: known.map_or(&b"?"[..], |own| &own.name),
        uid: Some(uid),
        user: users.name(uid, scratch.bytes),
        state: known.map_or(b'?', |own| own.state),
    };
    out.process(&process, |out| {
        match &snapshot {
            Ok(own) => from_stat(facts, process.pid, own, out)?,
            Err(error) => out.value("/proc/self/stat", not_readable(*error).as_str())?,
        }
        memory(known.and_then(|own| own.resident_bytes(facts)), scratch, out)?;
        descriptors(scratch, out)?;
        paths(facts, scratch, out)?;
        command_line(facts, out)?;
        out.group("limits", limits)?;
        cgroup::write(scratch.bytes, out)?;
        match &snapshot {
            Ok(own) => tree::write(facts, own.pid, scratch, out),
            // Without the own pid in this /proc there is no root to start at.
            Err(error) => Ok(out.value("children", not_readable(*error).as_str())?),
        }
    })
}

fn from_stat(
    facts: &Facts,
    pid: u32,
    own: &Snapshot,
    out: &mut SectionWriter<'_>,
) -> Result<(), Stop> {
    if own.pid != pid {
        // /proc belongs to another pid namespace: all pids below are its.
        out.value("pid in this /proc", own.pid)?;
    }
    if let Some(age_ns) = own.age_ns(facts) {
        out.value("uptime", Value::DurationNs(age_ns))?;
    }
    out.value("threads", own.threads)
}

/// `status` is exact where `stat` is an estimate, and alone knows the peak.
fn memory(
    estimate_bytes: Option<u64>,
    scratch: &mut Scratch<'_>,
    out: &mut SectionWriter<'_>,
) -> Result<(), Stop> {
    match read::file(CWD, c"/proc/self/status", scratch.bytes) {
        Ok(content) => {
            let status = status::parse(content.bytes);
            let resident = status.resident_bytes.or(estimate_bytes);
            out.value("rss", bytes(resident))?;
            out.value("peak rss", bytes(status.peak_resident_bytes))
        }
        Err(error) => {
            out.value("rss", bytes(estimate_bytes))?;
            out.value("peak rss", not_readable(error).as_str())
        }
    }
}

fn bytes(count: Option<u64>) -> Value<'static> {
    count.map_or(Value::None, Value::ByteCount)
}

fn descriptors(scratch: &mut Scratch<'_>, out: &mut SectionWriter<'_>) -> Result<(), Stop> {
    // The directory's own descriptor is closed before the report goes on, so
    // it is not counted.
    let count = read::open_dir(CWD, c"/proc/self").and_then(|dir| {
        list::open_descriptors(dir.as_fd(), scratch.dirents).map(|count| count.saturating_sub(1))
    });
    match count {
        Ok(count) => out.value("open files", count)?,
        Err(error) => out.value("open files", not_readable(error).as_str())?,
    }
    out.value("open files limit", limit(getrlimit(Resource::Nofile).current, false))
}

fn paths(
    facts: &Facts,
    scratch: &mut Scratch<'_>,
    out: &mut SectionWriter<'_>,
) -> Result<(), Stop> {
    match facts.exe() {
        Some((exe, cut)) => out.value("exe", maybe_cut(exe, cut))?,
        None => out.value("exe", "not readable at setup")?,
    }
    match read::link(CWD, c"/proc/self/cwd", scratch.bytes) {
        Ok(cwd) => out.value("cwd", maybe_cut(cwd.bytes, cwd.cut)),
        Err(error) => out.value("cwd", not_readable(error).as_str()),
    }
}

fn command_line(facts: &Facts, out: &mut SectionWriter<'_>) -> SectionResult {
    out.list("cmdline", |out| {
        for argument in facts.command_line() {
            out.item(argument)?;
        }
        if facts.command_line_cut() {
            out.item(Value::Truncated { text: b"", full_len_bytes: None })?;
        }
        Ok(())
    })
}

/// The hard limit is shown where it differs: where the soft one can be raised.
fn limits(out: &mut SectionWriter<'_>) -> SectionResult {
    for (resource, key, hard_key, is_bytes) in LIMITS {
        let rlimit = getrlimit(resource);
        out.value(key, limit(rlimit.current, is_bytes))?;
        if rlimit.maximum != rlimit.current {
            out.value(hard_key, limit(rlimit.maximum, is_bytes))?;
        }
    }
    Ok(())
}

fn limit(limit: Option<u64>, is_bytes: bool) -> Value<'static> {
    match limit {
        None => Value::Text("unlimited"),
        Some(count) if is_bytes => Value::ByteCount(count),
        Some(count) => Value::U64(count),
    }
}
