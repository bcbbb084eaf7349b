//! The default memory budget: what the control group leaves.
//!
//! 1. The own group's directory, in version 2 and in version 1, as
//!    [`gmr_core::procfs::cgroup`] finds it.
//! 2. Its headroom, and that of each group above up to the mount: in a
//!    container those are often not visible.
//!
//! Memory of files that were read but are not in active use counts as free:
//! the kernel takes it back before it kills anybody, and without it a group
//! that reads much would never have headroom.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gmr_core::procfs::cgroup::{self, Amount};

/// The most that is taken, however much there is.
const MAX_BYTES: u64 = 64 << 20;

/// What a version of cgroups calls its files.
struct Names {
    max: &'static str,
    current: &'static str,
    inactive_file: &'static [u8],
}

const V2: Names =
    Names { max: "memory.max", current: "memory.current", inactive_file: b"inactive_file" };
const V1: Names = Names {
    max: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    inactive_file: b"total_inactive_file",
};

/// 64 MiB, or a quarter of what the control group has left if that is less.
pub(crate) fn default_memory_bytes() -> u64 {
    headroom().map_or(MAX_BYTES, |bytes| (bytes / 4).min(MAX_BYTES))
}

/// What the process may still take before a limit of its groups; `None`
/// without limits.
fn headroom() -> Option<u64> {
    let content = fs::read("/proc/self/cgroup").ok()?;
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<_> =
        mounts.split(|&byte| byte == b'\n').filter_map(cgroup::parse_mount).collect();
    let v2 = cgroup::v2_path(&content).and_then(|path| {
        let mount = mounts.iter().find(|mount| mount.is_v2());
        let (root, point) = mount
            .map_or((&b"/"[..], cgroup::DEFAULT_MOUNT), |mount| (mount.root, mount.mount_point));
        least(root, point, path, &V2)
    });
    let v1 = cgroup::v1_path(&content, b"memory").and_then(|path| {
        let mount = mounts.iter().find(|mount| mount.is_v1(b"memory"))?;
        least(mount.root, mount.mount_point, path, &V1)
    });
    v2.into_iter().chain(v1).min()
}

/// The least headroom from the group up to the mount.
fn least(root: &[u8], mount_point: &[u8], path: &[u8], names: &Names) -> Option<u64> {
    let mut buffer = [0; 4096];
    let mut of = |path: &[u8]| {
        let dir = cgroup::file_path(root, mount_point, path, "", &mut buffer)?;
        Some(PathBuf::from(OsStr::from_bytes(dir.to_bytes())))
    };
    let (group, top) = (of(path)?, of(root)?);
    group
        .ancestors()
        .take_while(|dir| dir.starts_with(&top))
        .filter_map(|dir| of_group(dir, names))
        .min()
}

fn of_group(dir: &Path, names: &Names) -> Option<u64> {
    let amount = |file| match cgroup::parse_amount(&fs::read(dir.join(file)).ok()?)? {
        Amount::Limited(bytes) => Some(bytes),
        Amount::Unlimited => None,
    };
    let used = amount(names.current)?.saturating_sub(inactive_file(dir, names).unwrap_or(0));
    Some(amount(names.max)?.saturating_sub(used))
}

fn inactive_file(dir: &Path, names: &Names) -> Option<u64> {
    let stat = fs::read(dir.join("memory.stat")).ok()?;
    stat.split(|&byte| byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(names.inactive_file)?.strip_prefix(b" ")?;
        str::from_utf8(value).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_counts() {
        let top = std::env::temp_dir().join(format!("gmr-cgroup-{}", std::process::id()));
        let inner = top.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |dir: &Path, max: &str, current: &str, stat: &str| {
            fs::write(dir.join("memory.max"), max).unwrap();
            fs::write(dir.join("memory.current"), current).unwrap();
            fs::write(dir.join("memory.stat"), stat).unwrap();
        };
        let mount = top.as_os_str().as_bytes();
        let headroom = || least(b"/", mount, b"/a/b", &V2);
        assert_eq!(headroom(), None);
        write(&inner, "max\n", "5000\n", "");
        assert_eq!(headroom(), None);
        write(&inner, "9000\n", "5000\n", "anon 1\ninactive_file 1500\nactive_file 7\n");
        assert_eq!(headroom(), Some(5500));
        write(&top.join("a"), "8000\n", "7000\n", "anon 1\n");
        assert_eq!(headroom(), Some(1000));
        write(&top.join("a"), "8000\n", "9000\n", "");
        assert_eq!(headroom(), Some(0));
        assert_eq!(least(b"/", mount, b"/../x", &V2), None);
        fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn there_is_a_default() {
        assert!(default_memory_bytes() <= MAX_BYTES);
    }
}
