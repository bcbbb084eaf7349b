//! The tables against the machine's headers, and what calls look like.

use std::collections::BTreeMap;
use std::format;
use std::string::{String, ToString};

use super::*;

fn shown(number: i64, arguments: [u64; 6]) -> String {
    let mut text = heapless::String::<256>::new();
    write(&mut text, number, &arguments).unwrap();
    text.as_str().to_string()
}

fn brief(number: i64, arguments: [u64; 6]) -> String {
    let mut text = heapless::String::<64>::new();
    write_brief(&mut text, number, &arguments).unwrap();
    text.as_str().to_string()
}

#[test]
fn tables_are_sorted_and_sane() {
    for table in [x86_64::CALLS, aarch64::CALLS, common::CALLS] {
        let is_common = core::ptr::eq(table, common::CALLS);
        assert!(table.iter().all(|row| (row.0 >= common::FIRST) == is_common));
        assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (number, name, kinds) in table {
            assert!(kinds.len() <= 6 && kinds.bytes().all(|kind| b"cfnimoux".contains(&kind)));
            assert!(!name.is_empty(), "{number}");
        }
    }
}

/// The numbers in a header, by name.
fn header(path: &str, prefixes: &[&str]) -> BTreeMap<String, u16> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let define = |line: &str| {
        let line = line.strip_prefix("#define ")?;
        let name = prefixes.iter().find_map(|prefix| line.strip_prefix(prefix))?;
        let (name, number) = name.split_once(' ')?;
        Some((name.to_string(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(define).collect()
}

/// Each call of the header is in the table, and none has another number.
fn compare(table: &[Row], header: &BTreeMap<String, u16>) {
    assert!(header.len() > 200, "{} calls", header.len());
    let table = table.iter().chain(common::CALLS);
    let table: BTreeMap<_, _> = table.map(|(number, name, _)| (*name, *number)).collect();
    let newest = table.values().max().copied();
    for (name, number) in header {
        let found = table.get(name.as_str()).copied();
        assert!(found == Some(*number) || Some(*number) > newest, "{name}: {number}, {found:?}");
    }
}

#[test]
fn the_table_of_x86_64_is_that_of_the_headers() {
    compare(x86_64::CALLS, &header("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", &["__NR_"]));
}

#[test]
fn the_table_of_aarch64_is_that_of_the_headers() {
    let mut generic = header("/usr/include/asm-generic/unistd.h", &["__NR_", "__NR3264_"]);
    // What is there for other architectures: those with 32 bits, those with
    // calls of their own, and the header's own figures.
    generic.retain(|name, number| {
        !(403..=423).contains(number)
            && !["arch_specific_syscall", "sync_file_range2", "syscalls"].contains(&name.as_str())
    });
    let status = generic.remove("fstatat").unwrap();
    generic.insert("newfstatat".to_string(), status);
    compare(aarch64::CALLS, &generic);
}

#[test]
fn the_constants_of_libc_agree() {
    for (number, name, count) in [
        (libc::SYS_futex, "futex", 6),
        (libc::SYS_read, "read", 3),
        (libc::SYS_epoll_pwait2, "epoll_pwait2", 6),
        (libc::SYS_clock_nanosleep, "clock_nanosleep", 4),
        (libc::SYS_sched_yield, "sched_yield", 0),
        (libc::SYS_futex_waitv, "futex_waitv", 5),
    ] {
        let call = find(number).unwrap();
        assert_eq!((call.name, call.argument_count()), (name, count));
    }
}

#[test]
fn calls_are_decoded_where_it_helps() {
    let address = 0x7f21_c0a4_1e10;
    assert_eq!(
        // What is left in the upper halves of 32-bit arguments is not theirs.
        shown(libc::SYS_futex, [address, 0x189, 0x7f_0000_0002, 0, 0, 0x7f00_ffff_ffff]),
        "futex(0x7f21c0a41e10, FUTEX_WAIT_BITSET|PRIVATE|CLOCK_REALTIME, 2, 0x0, 0x0, 0xffffffff)"
    );
    assert_eq!(shown(libc::SYS_futex, [0x10, 77, 0, 0, 0, 0]), "futex(0x10, 77, 0, 0x0, 0x0, 0x0)");
    assert_eq!(
        shown(libc::SYS_read, [7, address, 4096, 1, 2, 3]),
        "read(fd 7, 0x7f21c0a41e10, 4096)"
    );
    assert_eq!(
        shown(libc::SYS_epoll_wait, [3, address, 1024, 0xffff_ffff, 0, 0]),
        "epoll_wait(fd 3, 0x7f21c0a41e10, 1024, -1 ms)"
    );
    let cwd = 0xffff_ff9c;
    assert_eq!(shown(libc::SYS_openat, [cwd, 1, 2, 3, 0, 0]), "openat(AT_FDCWD, 0x1, 0x2, 0x3)");
    assert_eq!(shown(libc::SYS_sched_yield, [1; 6]), "sched_yield()");
    assert_eq!(
        shown(libc::SYS_wait4, [0xffff_ffff_ffff_ffff, 0, 0, 0, 0, 0]),
        "wait4(-1, 0x0, 0x0, 0x0)"
    );
    assert_eq!(
        shown(libc::SYS_write, [1, 2, u64::MAX, 0, 0, 0]),
        "write(fd 1, 0x2, 0xffffffffffffffff)"
    );
}

#[test]
fn an_unknown_call_shows_its_number_and_all_words() {
    let all = [1, 0, 0x10, u64::MAX, 5, 6];
    let words = "(0x1, 0x0, 0x10, 0xffffffffffffffff, 0x5, 0x6)";
    assert_eq!(shown(999, all), format!("syscall 999{words}"));
    // x32: another table, which nothing here uses.
    assert_eq!(shown(0x4000_0000, all), format!("syscall 1073741824{words}"));
    assert_eq!(brief(999, all), "syscall 999");
}

#[test]
fn in_a_few_words() {
    assert_eq!(brief(libc::SYS_futex, [0x7f21_c0a4_1e10, 0, 0, 0, 0, 0]), "futex 0x7f21c0a41e10");
    assert_eq!(brief(libc::SYS_read, [7, 0, 0, 0, 0, 0]), "read fd 7");
    assert_eq!(brief(libc::SYS_nanosleep, [7, 0, 0, 0, 0, 0]), "nanosleep");
    assert_eq!(brief(libc::SYS_pause, [7, 0, 0, 0, 0, 0]), "pause");
}

#[test]
fn operations_that_wait_are_known() {
    let bits = libc::FUTEX_PRIVATE_FLAG.cast_unsigned();
    assert_eq!(futex::waiting(libc::FUTEX_WAIT as u32 | bits), Some(futex::Waiting::Word));
    assert_eq!(futex::waiting(0x189), Some(futex::Waiting::Word));
    assert_eq!(futex::waiting(libc::FUTEX_LOCK_PI as u32), Some(futex::Waiting::Lock));
    assert_eq!(futex::waiting(13), Some(futex::Waiting::Lock));
    assert_eq!(futex::waiting(libc::FUTEX_WAKE as u32), None);
    assert!(futex::is_private(bits) && !futex::is_private(9));
}
