//! The control group of this process and the limits it sets (cgroups(7)).
//!
//! 1. `/proc/self/cgroup` names the group, `0::/path` for version 2 and
//!    `N:controller:/path` for each hierarchy of version 1;
//! 2. `/proc/self/mountinfo` names where the hierarchy is mounted, and which
//!    part of it (in a container the mount's root is often the group itself);
//!    `/sys/fs/cgroup` if it does not say;
//! 3. the limits are files in that directory.
//!
//! On a mixed system (version 2 mounted, controllers in version 1) each
//! controller is looked for in version 2 first. A limit set on a group further
//! up is not looked for: the files of outer groups are often not visible, and
//! the report names the group it read.

use core::ffi::CStr;

use super::bytes;

/// Where version 2 is mounted if mountinfo does not say (systemd's choice).
pub const DEFAULT_MOUNT: &[u8] = b"/sys/fs/cgroup";

/// Version 1 shows "no limit" as the largest number of whole pages; nobody
/// sets a limit beyond this one.
const UNLIMITED_FROM: u64 = 1 << 62;

/// A limit or an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// `max`.
    Unlimited,
    /// So many bytes or tasks.
    Limited(u64),
}

/// The version 2 path of `/proc/self/cgroup`'s content.
#[must_use]
pub fn v2_path(content: &[u8]) -> Option<&[u8]> {
    lines(content).find_map(|line| line.strip_prefix(b"0::"))
}

/// The version 1 path of a controller (`memory`).
#[must_use]
pub fn v1_path<'b>(content: &'b [u8], controller: &[u8]) -> Option<&'b [u8]> {
    lines(content).find_map(|line| {
        let (_, rest) = bytes::split_once(line, b':')?;
        let (controllers, path) = bytes::split_once(rest, b':')?;
        has_item(controllers, controller).then_some(path)
    })
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|&byte| byte == b'\n')
}

/// Whether `wanted` is in a list divided by commas.
fn has_item(list: &[u8], wanted: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item == wanted)
}

/// One line of mountinfo (proc_pid_mountinfo(5)). Paths are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount<'b> {
    /// Which directory of the file system is mounted.
    pub root: &'b [u8],
    /// Where.
    pub mount_point: &'b [u8],
    /// `cgroup2`, `cgroup`.
    pub fs_type: &'b [u8],
    /// Options of the file system: of version 1 its controllers.
    pub options: &'b [u8],
}

impl Mount<'_> {
    /// Whether this is the version 2 hierarchy.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.fs_type == b"cgroup2"
    }

    /// Whether this is the version 1 hierarchy of a controller.
    #[must_use]
    pub fn is_v1(&self, controller: &[u8]) -> bool {
        self.fs_type == b"cgroup" && has_item(self.options, controller)
    }
}

/// Parses one line of mountinfo.
#[must_use]
pub fn parse_mount(line: &[u8]) -> Option<Mount<'_>> {
    // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL]… - TYPE SOURCE OPTIONS
    let mut fields = bytes::fields(line);
    let root = fields.nth(3)?;
    let mount_point = fields.next()?;
    fields.find(|field| *field == b"-")?;
    let fs_type = fields.next()?;
    let options = fields.nth(1)?;
    Some(Mount { root, mount_point, fs_type, options })
}

/// Builds `MOUNT_POINT/PATH_IN_MOUNT/FILE` in `buffer`. `root` and
/// `mount_point` as mountinfo has them, `path` as /proc/self/cgroup has it.
/// `None` if it does not fit, or the group lies outside of the mount.
#[must_use]
pub fn file_path<'o>(
    root: &[u8],
    mount_point: &[u8],
    path: &[u8],
    file: &str,
    buffer: &'o mut [u8],
) -> Option<&'o CStr> {
    // The mount's root is compared escaped: a group whose name needs escapes
    // is not found below it, and its limits are not shown.
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let inside = path.strip_prefix(root)?;
    if inside.starts_with(b"/..") || !(inside.is_empty() || inside.starts_with(b"/")) {
        return None;
    }
    let (start, whole) = bytes::unescape(mount_point, buffer);
    let mut len = start.len();
    if !whole {
        return None;
    }
    let inside = inside.strip_suffix(b"/").unwrap_or(inside);
    for part in [inside, b"/", file.as_bytes(), b"\0"] {
        let end = len.checked_add(part.len())?;
        buffer.get_mut(len..end)?.copy_from_slice(part);
        len = end;
    }
    CStr::from_bytes_with_nul(buffer.get(..len)?).ok()
}

/// A file that holds one number or `max`: `memory.max`, `pids.current`, and
/// version 1's `memory.limit_in_bytes`.
#[must_use]
pub fn parse_amount(content: &[u8]) -> Option<Amount> {
    match content.trim_ascii() {
        b"max" => Some(Amount::Unlimited),
        digits => bytes::parse_u64(digits).map(|number| match number {
            UNLIMITED_FROM.. => Amount::Unlimited,
            number => Amount::Limited(number),
        }),
    }
}

/// The file cache that nobody uses at the moment, in bytes: what the kernel
/// would give up first. From `memory.stat`; `key` is `inactive_file`, in version
/// 1 `total_inactive_file`.
#[must_use]
pub fn parse_inactive_file(content: &[u8], key: &[u8]) -> Option<u64> {
    lines(content).find_map(|line| {
        let (found, digits) = bytes::split_once(line, b' ')?;
        (found == key).then(|| bytes::parse_u64(digits))?
    })
}

/// `cpu.max`: the processor time allowed per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    /// In microseconds per period.
    pub quota: Amount,
    /// In microseconds.
    pub period_us: u64,
}

/// Parses `cpu.max`: `50000 100000` or `max 100000`.
#[must_use]
pub fn parse_cpu_max(content: &[u8]) -> Option<CpuMax> {
    let mut fields = bytes::fields(content);
    let quota = parse_amount(fields.next()?)?;
    let period_us = bytes::parse_u64(fields.next()?)?;
    Some(CpuMax { quota, period_us })
}

/// Version 1's `cpu.cfs_quota_us`: -1 is unlimited.
#[must_use]
pub fn parse_v1_quota(content: &[u8]) -> Option<Amount> {
    match content.trim_ascii() {
        b"-1" => Some(Amount::Unlimited),
        digits => parse_amount(digits),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIXED: &[u8] =
        b"9:name=systemd:/\n5:cpu,cpuacct:/a\n4:memory:/service/8ab9:x\n0::/unified\n";

    #[test]
    fn groups() {
        assert_eq!(v2_path(MIXED), Some(&b"/unified"[..]));
        assert_eq!(v2_path(b"0::/"), Some(&b"/"[..]));
        assert_eq!(v2_path(b"10::/\n4:memory:/x"), None);
        assert_eq!(v1_path(MIXED, b"memory"), Some(&b"/service/8ab9:x"[..]));
        assert_eq!(v1_path(MIXED, b"cpu"), Some(&b"/a"[..]));
        assert_eq!(v1_path(MIXED, b"cpus"), None);
    }

    #[test]
    fn mounts() {
        let line = b"41 31 0:38 / /sys/fs/cgroup rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw,nsdelegate";
        let mount = parse_mount(line).unwrap();
        assert!(mount.is_v2() && !mount.is_v1(b"memory"));
        assert_eq!((mount.root, mount.mount_point), (&b"/"[..], &b"/sys/fs/cgroup"[..]));
        let line = b"35 31 0:32 /docker/8ab9 /sys/fs/cgroup/mem\\040ory rw,relatime - cgroup cgroup rw,memory";
        let mount = parse_mount(line).unwrap();
        assert!(mount.is_v1(b"memory") && !mount.is_v2());
        assert_eq!(parse_mount(b"35 31 0:32 / /sys"), None);
        assert_eq!(parse_mount(b""), None);
    }

    #[test]
    fn paths() {
        let mut buffer = [0; 64];
        let mut path = |root: &[u8], point: &[u8], group: &[u8]| {
            file_path(root, point, group, "memory.max", &mut buffer)
                .map(|path| std::string::String::from(path.to_str().unwrap()))
        };
        assert_eq!(path(b"/", b"/cg", b"/a/b").as_deref(), Some("/cg/a/b/memory.max"));
        assert_eq!(path(b"/", b"/cg", b"/").as_deref(), Some("/cg/memory.max"));
        assert_eq!(
            path(b"/docker/8a", b"/c\\040g", b"/docker/8a").as_deref(),
            Some("/c g/memory.max")
        );
        assert_eq!(
            path(b"/docker/8a", b"/cg", b"/docker/8a/b").as_deref(),
            Some("/cg/b/memory.max")
        );
        assert_eq!(path(b"/docker/8a", b"/cg", b"/docker/8ab"), None);
        assert_eq!(path(b"/", b"/cg", b"/../other"), None);
        assert_eq!(path(b"/", b"/cg", &b"/x".repeat(40)), None);
        assert_eq!(path(b"/", &b"/x".repeat(40), b"/"), None);
    }

    #[test]
    fn amounts() {
        assert_eq!(parse_amount(b"max\n"), Some(Amount::Unlimited));
        assert_eq!(parse_amount(b"1048576\n"), Some(Amount::Limited(1_048_576)));
        assert_eq!(parse_amount(b"9223372036854771712\n"), Some(Amount::Unlimited));
        assert_eq!(parse_amount(b""), None);
        let half = CpuMax { quota: Amount::Limited(50_000), period_us: 100_000 };
        assert_eq!(parse_cpu_max(b"50000 100000\n"), Some(half));
        let all = CpuMax { quota: Amount::Unlimited, period_us: 100_000 };
        assert_eq!(parse_cpu_max(b"max 100000\n"), Some(all));
        assert_eq!(parse_cpu_max(b"max\n"), None);
        assert_eq!(parse_v1_quota(b"-1\n"), Some(Amount::Unlimited));
    }

    #[test]
    fn inactive_file_cache() {
        let content = b"anon 1\nfile 5\ninactive_anon 3\ninactive_file 4096\nactive_file 2\n";
        assert_eq!(parse_inactive_file(content, b"inactive_file"), Some(4096));
        assert_eq!(parse_inactive_file(content, b"total_inactive_file"), None);
        assert_eq!(parse_inactive_file(b"inactive_file x\n", b"inactive_file"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            content in proptest::collection::vec(any::<u8>(), 0..200),
            other in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _parsed = (v2_path(&content), v1_path(&content, &other), parse_mount(&content));
            let _parsed = (parse_amount(&content), parse_cpu_max(&content));
            let _inactive = parse_inactive_file(&content, &other);
            let _path = file_path(&other, &content, &other, "x", &mut [0; 32]).is_some();
        }
    }
}
