//! `/proc/self/maps`: the mappings of this process, one a line
//! (proc_pid_maps(5)).
//!
//! Of the own process only: another's waits for its memory lock. The file is
//! long (hundreds of lines), so it is streamed; the kernel gives whole lines
//! per read, but mappings may change between two reads.

use rustix::io::Errno;

use super::bytes;
use super::lines::Lines;

/// Longest line: addresses and numbers, and a path of PATH_MAX bytes of which
/// each may be escaped to four. A smaller buffer cuts long paths only.
pub const LINE_BYTES: usize = 1024;

/// One mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping<'b> {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// `r-xp`.
    pub permissions: [u8; 4],
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Device of the file.
    pub device_major: u32,
    /// Device of the file.
    pub device_minor: u32,
    /// Inode of the file; 0 if there is no file.
    pub inode: u64,
    /// Path, or a name such as `[stack]`, or empty. A line end in it is
    /// escaped as `\012`; ` (deleted)` at its end may be the kernel's or the
    /// file's.
    pub path: &'b [u8],
    /// The path was longer than the buffer.
    pub path_cut: bool,
}

impl Mapping<'_> {
    /// Whether code may run there.
    #[must_use]
    pub const fn is_executable(&self) -> bool {
        let [_, _, execute, _] = self.permissions;
        execute == b'x'
    }
}

/// Parses one line. `None` if it is none, or is cut before its inode ends.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Mapping<'_>> {
    // Path apart, the fields are divided by one space each; the path follows
    // after as many as align it, and may begin with a space itself only if
    // it is no absolute path, which the kernel never gives.
    let (range, rest) = bytes::split_once(line, b' ')?;
    let (permissions, rest) = bytes::split_once(rest, b' ')?;
    let (offset, rest) = bytes::split_once(rest, b' ')?;
    let (device, rest) = bytes::split_once(rest, b' ')?;
    let (inode, path) = bytes::split_once(rest, b' ').unwrap_or((rest, &[]));
    let (start, end) = bytes::split_once(range, b'-')?;
    let (major, minor) = bytes::split_once(device, b':')?;
    let hex32 = |digits| bytes::parse_hex(digits).and_then(|number| u32::try_from(number).ok());
    let path_start = path.iter().position(|&byte| byte != b' ').unwrap_or(path.len());
    Some(Mapping {
        start: bytes::parse_hex(start)?,
        end: bytes::parse_hex(end)?,
        permissions: permissions.try_into().ok()?,
        offset: bytes::parse_hex(offset)?,
        device_major: hex32(major)?,
        device_minor: hex32(minor)?,
        inode: bytes::parse_u64(inode)?,
        path: path.get(path_start..).unwrap_or_default(),
        path_cut: false,
    })
}

/// The mappings of a file, streamed; see [`Lines`] for `read`.
#[derive(Debug)]
pub struct Maps<'b, R> {
    lines: Lines<'b, R>,
    skipped: usize,
}

impl<'b, R: FnMut(&mut [u8]) -> Result<usize, Errno>> Maps<'b, R> {
    /// Mappings from `read`, one at a time in `buffer` ([`LINE_BYTES`]).
    pub fn new(read: R, buffer: &'b mut [u8]) -> Self {
        Maps { lines: Lines::new(read, buffer), skipped: 0 }
    }

    /// The next mapping; `None` at the end. A line that is no mapping is
    /// skipped and counted.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its buffer")]
    pub fn next(&mut self) -> Option<Result<Mapping<'_>, Errno>> {
        // Two steps, since a borrow that is returned from inside a loop would
        // last for the whole loop: first find the line, then parse it again.
        loop {
            match self.lines.next()? {
                Ok(line) if parse_line(line.bytes).is_some() => break,
                Ok(_) => self.skipped = self.skipped.saturating_add(1),
                Err(error) => return Some(Err(error)),
            }
        }
        let line = self.lines.last();
        parse_line(line.bytes).map(|mapping| Ok(Mapping { path_cut: line.cut, ..mapping }))
    }

    /// How many lines were no mapping.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples() {
        let line = b"7fc60d1c7000-7fc60d31d000 r-xp 00026000 fe:1f 326279                     /usr/lib/x86 64/libc.so.6 (deleted)";
        let mapping = parse_line(line).unwrap();
        assert_eq!((mapping.start, mapping.end), (0x7fc6_0d1c_7000, 0x7fc6_0d31_d000));
        assert_eq!(&mapping.permissions, b"r-xp");
        assert!(mapping.is_executable());
        assert_eq!(mapping.offset, 0x26000);
        assert_eq!((mapping.device_major, mapping.device_minor), (0xfe, 0x1f));
        assert_eq!(mapping.inode, 326_279);
        assert_eq!(mapping.path, b"/usr/lib/x86 64/libc.so.6 (deleted)");

        let mapping = parse_line(b"7fc60d11c000-7fc60d13e000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!((mapping.inode, mapping.path), (0, &b""[..]));
        assert_eq!(parse_line(b"7fc60d11c000-7fc60d13e000 rw-p 00000000 00:00 0"), Some(mapping));
        let stack =
            b"7ffcabd5b000-7ffcabd7c000 rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(parse_line(stack).unwrap().path, b"[stack]");
        let vsyscall =
            b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]";
        assert_eq!(parse_line(vsyscall).unwrap().end, 0xffff_ffff_ff60_1000);
        for wrong in [&b""[..], b"7fc6-", b"7fc6-7fc7 rw-p", b"7fc6-7fc7 rwxps 0 0:0 0 x"] {
            assert_eq!(parse_line(wrong), None);
        }
    }

    #[test]
    fn our_own_and_long_lines() {
        let content = std::fs::read("/proc/self/maps").unwrap();
        for size in [60, 100, LINE_BYTES] {
            let mut rest = content.as_slice();
            let read = |into: &mut [u8]| {
                let count = into.len().min(rest.len());
                into[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                Ok(count)
            };
            let mut buffer = std::vec![0; size];
            let mut maps = Maps::new(read, &mut buffer);
            let here = our_own_and_long_lines as *const () as u64;
            let mut found = false;
            let mut count = 0;
            while let Some(mapping) = maps.next() {
                let mapping = mapping.unwrap();
                count += 1;
                if (mapping.start..mapping.end).contains(&here) {
                    found = mapping.is_executable();
                }
            }
            assert!(found, "size {size}");
            assert_eq!(count, content.split(|&byte| byte == b'\n').count() - 1);
            assert_eq!(maps.skipped(), 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let lines: Vec<_> = content.split(|&byte| byte == b'\n').map(parse_line).collect();
            drop(lines);
        }
    }
}
