//! The group `cgroup`: what the control group allows and has used.
//!
//! Each controller is looked for in version 2 first, then in version 1. One
//! that is in neither (the root group has no limits) is left out.

use core::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::not_readable;
use crate::model::Value;
use crate::procfs::cgroup::{self, Amount, CpuMax, Mount};
use crate::procfs::lines::Lines;
use crate::procfs::read;
use crate::section::{SectionResult, SectionWriter, Stop};

/// Bytes for the content of /proc/self/cgroup; the rest of the scratch memory
/// goes to lines of mountinfo and paths.
const CONTENT_BYTES: usize = 4096;

/// Bytes for a path of a group.
const PATH_BYTES: usize = 2048;

/// Bytes for a file of one or two numbers.
const NUMBER_BYTES: usize = 64;

/// Writes the group.
pub(super) fn write(scratch: &mut [u8], out: &mut SectionWriter<'_>) -> SectionResult {
    let Some((content, rest)) = scratch.split_at_mut_checked(CONTENT_BYTES) else {
        return Ok(out.value("cgroup", "not readable (scratch memory too small)")?);
    };
    match read::file(CWD, c"/proc/self/cgroup", content) {
        Ok(content) => out.group("cgroup", |out| groups(content.bytes, rest, out)),
        Err(error) => Ok(out.value("cgroup", not_readable(error).as_str())?),
    }
}

fn groups(content: &[u8], scratch: &mut [u8], out: &mut SectionWriter<'_>) -> SectionResult {
    let v2_path = cgroup::v2_path(content);
    let v2 = v2_path.and_then(|path| {
        open_group(|mount| mount.is_v2(), path, scratch)
            .or_else(|| open_mounted(b"/", cgroup::DEFAULT_MOUNT, path, scratch))
    });
    let v1_path = cgroup::v1_path(content, b"memory");
    let mut v1 = |controller: &[u8]| {
        cgroup::v1_path(content, controller)
            .and_then(|path| open_group(|mount| mount.is_v1(controller), path, scratch))
    };
    out.value("path", v2_path.or(v1_path))?;
    if let (Some(_), Some(path)) = (v2_path, v1_path) {
        out.value("memory path", path)?;
    }

    let memory = v1(b"memory");
    let used = amount(v2.as_ref(), c"memory.current", memory.as_ref(), c"memory.usage_in_bytes");
    show(out, "memory current", used, Value::ByteCount)?;
    let max = amount(v2.as_ref(), c"memory.max", memory.as_ref(), c"memory.limit_in_bytes");
    show(out, "memory max", max, Value::ByteCount)?;
    drop(memory);

    let pids = v1(b"pids");
    let used = amount(v2.as_ref(), c"pids.current", pids.as_ref(), c"pids.current");
    show(out, "pids current", used, Value::U64)?;
    let max = amount(v2.as_ref(), c"pids.max", pids.as_ref(), c"pids.max");
    show(out, "pids max", max, Value::U64)?;
    drop(pids);

    let us_to_ns = |us: u64| Value::DurationNs(us.saturating_mul(1000));
    match cpu_max(v2.as_ref(), v1(b"cpu").as_ref()) {
        Ok(Some(cpu)) => {
            show(out, "cpu max", Ok(Some(cpu.quota)), us_to_ns)?;
            if cpu.quota != Amount::Unlimited {
                out.value("cpu period", us_to_ns(cpu.period_us))?;
            }
        }
        Ok(None) => {}
        Err(error) => out.value("cpu max", not_readable(error).as_str())?,
    }
    Ok(())
}

/// What is used of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) used: u64,
    pub(crate) max: u64,
}

impl Used {
    /// Nine tenths of it or more.
    pub(crate) fn is_near(self) -> bool {
        self.used.saturating_mul(10) >= self.max.saturating_mul(9)
    }
}

/// Limits of the control group that are set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// In bytes, without the file cache that is not in use.
    pub(crate) memory: Option<Used>,
    /// Threads and processes.
    pub(crate) tasks: Option<Used>,
}

/// The limits, where they are set and can be read.
pub(crate) fn limits(scratch: &mut [u8]) -> Limits {
    let Some((content, rest)) = scratch.split_at_mut_checked(CONTENT_BYTES) else {
        return Limits::default();
    };
    let Ok(content) = read::file(CWD, c"/proc/self/cgroup", content) else {
        return Limits::default();
    };
    let content = content.bytes;
    let v2 = cgroup::v2_path(content).and_then(|path| {
        open_group(|mount| mount.is_v2(), path, rest)
            .or_else(|| open_mounted(b"/", cgroup::DEFAULT_MOUNT, path, rest))
    });
    let mut v1 = |controller: &[u8]| {
        cgroup::v1_path(content, controller)
            .and_then(|path| open_group(|mount| mount.is_v1(controller), path, rest))
    };
    let (memory, pids) = (v1(b"memory"), v1(b"pids"));
    limits_of(v2.as_ref(), memory.as_ref(), pids.as_ref(), rest)
}

/// The limits by the directories of the group, of version 2 and of two of
/// version 1's controllers.
fn limits_of(
    v2: Option<&OwnedFd>,
    memory: Option<&OwnedFd>,
    pids: Option<&OwnedFd>,
    scratch: &mut [u8],
) -> Limits {
    let used = |current, max| match (current, max) {
        (Ok(Some(Amount::Limited(used))), Ok(Some(Amount::Limited(max)))) => {
            Some(Used { used, max })
        }
        _ => None,
    };
    let memory_used = used(
        amount(v2, c"memory.current", memory, c"memory.usage_in_bytes"),
        amount(v2, c"memory.max", memory, c"memory.limit_in_bytes"),
    );
    let tasks = used(
        amount(v2, c"pids.current", pids, c"pids.current"),
        amount(v2, c"pids.max", pids, c"pids.max"),
    );
    // The cache is looked at only where it makes a difference.
    let memory_used = memory_used.filter(|memory| memory.is_near()).and_then(|found| {
        let inactive = inactive_file(v2, b"inactive_file", scratch)
            .or_else(|| inactive_file(memory, b"total_inactive_file", scratch))?;
        Some(Used { used: found.used.saturating_sub(inactive), ..found })
    });
    Limits { memory: memory_used, tasks }
}

fn inactive_file(group: Option<&OwnedFd>, key: &[u8], scratch: &mut [u8]) -> Option<u64> {
    let content = read::file(group?.as_fd(), c"memory.stat", scratch).ok()?;
    cgroup::parse_inactive_file(content.bytes, key)
}

fn show(
    out: &mut SectionWriter<'_>,
    key: &str,
    amount: Result<Option<Amount>, Errno>,
    unit: impl FnOnce(u64) -> Value<'static>,
) -> Result<(), Stop> {
    match amount {
        Ok(None) => Ok(()),
        Ok(Some(Amount::Unlimited)) => out.value(key, "unlimited"),
        Ok(Some(Amount::Limited(count))) => out.value(key, unit(count)),
        Err(error) => out.value(key, not_readable(error).as_str()),
    }
}

/// Opens the directory of the group `path` below the first mount that is
/// `wanted` and shows it.
fn open_group(
    wanted: impl Fn(&Mount<'_>) -> bool,
    path: &[u8],
    scratch: &mut [u8],
) -> Option<OwnedFd> {
    let (path_buffer, line_buffer) = scratch.split_at_mut_checked(PATH_BYTES)?;
    let file = read::open(CWD, c"/proc/self/mountinfo").ok()?;
    let mut lines = Lines::new(|into: &mut [u8]| read::some(file.as_fd(), into), line_buffer);
    while let Some(Ok(line)) = lines.next() {
        if let Some(mount) = cgroup::parse_mount(line.bytes).filter(&wanted)
            && let Some(dir) = open_mounted(mount.root, mount.mount_point, path, path_buffer)
        {
            return Some(dir);
        }
    }
    None
}

fn open_mounted(
    root: &[u8],
    mount_point: &[u8],
    path: &[u8],
    path_buffer: &mut [u8],
) -> Option<OwnedFd> {
    let dir = cgroup::file_path(root, mount_point, path, "", path_buffer)?;
    read::open_dir(CWD, dir).ok()
}

/// The amount of the version 2 file, else of the version 1 file.
fn amount(
    v2: Option<&OwnedFd>,
    v2_file: &CStr,
    v1: Option<&OwnedFd>,
    v1_file: &CStr,
) -> Result<Option<Amount>, Errno> {
    match parsed(v2, v2_file, cgroup::parse_amount) {
        Ok(None) => parsed(v1, v1_file, cgroup::parse_amount),
        found => found,
    }
}

fn cpu_max(v2: Option<&OwnedFd>, v1: Option<&OwnedFd>) -> Result<Option<CpuMax>, Errno> {
    if let Some(max) = parsed(v2, c"cpu.max", cgroup::parse_cpu_max)? {
        return Ok(Some(max));
    }
    let quota = parsed(v1, c"cpu.cfs_quota_us", cgroup::parse_v1_quota)?;
    let period = parsed(v1, c"cpu.cfs_period_us", cgroup::parse_amount)?;
    Ok(match (quota, period) {
        (Some(quota), Some(Amount::Limited(period_us))) => Some(CpuMax { quota, period_us }),
        _ => None,
    })
}

/// A file of the group; `None` if it is not there or not understood.
fn parsed<T>(
    dir: Option<&OwnedFd>,
    file: &CStr,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, Errno> {
    let Some(dir) = dir else { return Ok(None) };
    match read::file(dir.as_fd(), file, &mut [0; NUMBER_BYTES]) {
        Ok(content) => Ok(parse(content.bytes)),
        // ENODEV: the group was removed while we are in it.
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files, in place of a control group.
    fn group(name: &str, files: &[(&str, &str)]) -> OwnedFd {
        let name = std::format!("gmr-cgroup-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        for (file, content) in files {
            std::fs::write(path.join(file), content).unwrap();
        }
        let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        read::open_dir(CWD, &path).unwrap()
    }

    fn remove(name: &str) {
        let name = std::format!("gmr-cgroup-{}-{name}", std::process::id());
        std::fs::remove_dir_all(std::env::temp_dir().join(name)).unwrap();
    }

    #[test]
    fn what_is_used_of_limits() {
        let mut scratch = std::vec![0; 4096];
        let stat = "anon 5\ninactive_file 100\ntotal_inactive_file 300\n";
        let full = group(
            "full",
            &[
                ("memory.current", "1000\n"),
                ("memory.max", "1024\n"),
                ("memory.stat", stat),
                ("pids.current", "9\n"),
                ("pids.max", "10\n"),
            ],
        );
        let limits = limits_of(Some(&full), None, None, &mut scratch);
        remove("full");
        assert_eq!(limits.memory, Some(Used { used: 900, max: 1024 }));
        assert_eq!(limits.tasks, Some(Used { used: 9, max: 10 }));

        let unlimited = group(
            "unlimited",
            &[("memory.current", "1000\n"), ("memory.max", "max\n"), ("pids.max", "max\n")],
        );
        let limits = limits_of(Some(&unlimited), None, None, &mut scratch);
        remove("unlimited");
        assert!(limits.memory.is_none() && limits.tasks.is_none());

        // Version 1.
        let first = group(
            "first",
            &[
                ("memory.usage_in_bytes", "950\n"),
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.stat", "inactive_x 1\ntotal_inactive_file 300\n"),
            ],
        );
        let limits = limits_of(None, Some(&first), None, &mut scratch);
        remove("first");
        assert_eq!(limits.memory, Some(Used { used: 650, max: 1000 }));

        // A limit that is far is not looked at further.
        let far = group("far", &[("memory.current", "10\n"), ("memory.max", "1024\n")]);
        let limits = limits_of(Some(&far), None, None, &mut scratch);
        remove("far");
        assert!(limits.memory.is_none());
    }

    #[test]
    fn nine_tenths_are_near() {
        let near = |used| Used { used, max: 100 }.is_near();
        assert!(near(90) && near(100) && near(u64::MAX) && !near(89) && !near(0));
    }
}
