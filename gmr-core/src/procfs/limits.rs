//! `/proc/PID/limits`: the resource limits as a table (proc_pid_limits(5)).
//!
//! Columns are fixed: the name takes 25 bytes, then come soft limit, hard
//! limit and unit, the last possibly missing. For the process's own limits
//! getrlimit(2) needs no descriptor; this is for where only the file is at
//! hand.

use super::bytes;

/// Width of the name's column, in bytes (fs/proc/base.c).
const NAME_WIDTH: usize = 25;

/// One limit. `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<'b> {
    /// `Max open files`.
    pub name: &'b [u8],
    /// What the kernel enforces.
    pub soft: Option<u64>,
    /// How far an unprivileged process may raise it.
    pub hard: Option<u64>,
    /// `files`, `bytes`; empty if there is none.
    pub units: &'b [u8],
}

/// The limits of the file's content; the heading and lines that are no
/// limit are skipped.
pub fn parse(content: &[u8]) -> impl Iterator<Item = Limit<'_>> {
    content.split(|&byte| byte == b'\n').filter_map(line)
}

fn line(line: &[u8]) -> Option<Limit<'_>> {
    let (name, rest) = line.split_at_checked(NAME_WIDTH)?;
    let mut fields = bytes::fields(rest);
    Some(Limit {
        name: name.trim_ascii(),
        soft: amount(fields.next()?)?,
        hard: amount(fields.next()?)?,
        units: fields.next().unwrap_or_default(),
    })
}

/// `Some(None)` for `unlimited`, `None` for what is neither.
fn amount(field: &[u8]) -> Option<Option<u64>> {
    match field {
        b"unlimited" => Some(None),
        digits => bytes::parse_u64(digits).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"\
Limit                     Soft Limit           Hard Limit           Units     \n\
Max cpu time              unlimited            unlimited            seconds   \n\
Max stack size            8388608              unlimited            bytes     \n\
Max nice priority         0                    0                    \n";

    #[test]
    fn a_sample() {
        let limits: Vec<_> = parse(SAMPLE).collect();
        assert_eq!(
            limits,
            [
                Limit { name: b"Max cpu time", soft: None, hard: None, units: b"seconds" },
                Limit {
                    name: b"Max stack size",
                    soft: Some(8_388_608),
                    hard: None,
                    units: b"bytes"
                },
                Limit { name: b"Max nice priority", soft: Some(0), hard: Some(0), units: b"" },
            ]
        );
    }

    #[test]
    fn our_own_are_those_of_getrlimit() {
        let content = std::fs::read("/proc/self/limits").unwrap();
        let files = parse(&content).find(|limit| limit.name == b"Max open files").unwrap();
        let rlimit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!((files.soft, files.hard), (rlimit.current, rlimit.maximum));
        assert_eq!(parse(&content).count(), 16);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _count = parse(&content).count();
        }
    }
}
