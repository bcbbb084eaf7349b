//! Every parser of /proc's files on arbitrary bytes: none panics, and what
//! they give lies within what they got.

#![no_main]

use gmr_core::procfs::lines::Lines;
use gmr_core::procfs::{cgroup, limits, maps, passwd, schedstat, stat, status, syscall};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first two bytes choose the buffer and how much a read gives.
    let [buffer, chunk, data @ ..] = data else { return };
    let chunk = usize::from(*chunk).max(1);
    let read = |mut rest| {
        move |into: &mut [u8]| {
            let (now, later): (&[u8], &[u8]) =
                <[u8]>::split_at(rest, into.len().min(chunk).min(<[u8]>::len(rest)));
            into[..now.len()].copy_from_slice(now);
            rest = later;
            Ok(now.len())
        }
    };
    let mut buffer = vec![0; usize::from(*buffer)];

    if let Some(stat) = stat::parse(data) {
        assert!(stat.comm.len() < data.len());
    }
    let _status = status::parse(data);
    let _standing = (syscall::parse(data), schedstat::parse(data));
    assert!(limits::parse(data).count() <= data.len());

    let _group = (cgroup::v2_path(data), cgroup::v1_path(data, b"memory"));
    let _numbers =
        (cgroup::parse_amount(data), cgroup::parse_cpu_max(data), cgroup::parse_v1_quota(data));
    let _inactive = cgroup::parse_inactive_file(data, b"inactive_file");
    if let Some(mount) = cgroup::parse_mount(data) {
        let path = cgroup::v2_path(data).unwrap_or(b"/");
        let mut out = [0; 64];
        let _path = cgroup::file_path(mount.root, mount.mount_point, path, "memory.max", &mut out);
    }

    let mut lines = Lines::new(read(data), &mut buffer);
    let mut given = 0;
    while let Some(line) = lines.next() {
        given += line.expect("the source does not fail").bytes.len();
    }
    assert!(given <= data.len());

    let mut mappings = maps::Maps::new(read(data), &mut buffer);
    while let Some(mapping) = mappings.next() {
        let mapping = mapping.expect("the source does not fail");
        assert!(mapping.path.len() < data.len());
    }
    let _user = passwd::find_user(read(data), &mut buffer, 0);
});
