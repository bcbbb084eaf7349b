//! `/etc/passwd`: the name of a user (passwd(5)).
//!
//! The file alone, never the C library's lookup: that allocates, locks, loads
//! libraries and asks the network. A user known only to LDAP or systemd has no
//! name here, and the report shows the number.

use rustix::io::Errno;

use super::bytes;
use super::lines::Lines;

/// Longest user name that is shown (useradd(8) allows 32 bytes).
pub const MAX_NAME_BYTES: usize = 64;

/// A buffer for lines of the file.
pub const LINE_BYTES: usize = 512;

/// A user's name.
pub type Name = heapless::Vec<u8, MAX_NAME_BYTES>;

/// The name of `uid` if `line` is that user's.
#[must_use]
pub fn parse_line(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|&byte| byte == b':');
    let name = fields.next()?;
    let id = fields.nth(1)?;
    // The id must be closed by a colon, or the line may be cut inside it.
    fields.next()?;
    // `+` and `-` begin the NIS entries of old.
    let is_name = !name.is_empty() && !name.starts_with(b"+") && !name.starts_with(b"-");
    (is_name && bytes::parse_u32(id) == Some(uid)).then_some(name)
}

/// Looks `uid` up in the lines that `read` gives, through `buffer`
/// ([`LINE_BYTES`]). The first entry counts, as for getpwuid(3). `None` if
/// there is none, or its name is longer than [`MAX_NAME_BYTES`].
///
/// # Errors
///
/// What `read` returns.
pub fn find_user(
    read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    buffer: &mut [u8],
    uid: u32,
) -> Result<Option<Name>, Errno> {
    let mut lines = Lines::new(read, buffer);
    while let Some(line) = lines.next() {
        if let Some(name) = parse_line(line?.bytes, uid) {
            return Ok(Name::from_slice(name).ok());
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n# comment\n+::::::\n+nis:x:7:::\n\
        \ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\ndup:x:1:1::/:\nlast:x:42:1:";

    fn find(text: &[u8], uid: u32) -> Option<Name> {
        let mut rest = text;
        let read = |into: &mut [u8]| {
            let count = into.len().min(rest.len());
            into[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Ok(count)
        };
        find_user(read, &mut [0; 24], uid).unwrap()
    }

    #[test]
    fn users_are_found() {
        assert_eq!(find(SAMPLE, 0).as_deref(), Some(&b"root"[..]));
        assert_eq!(find(SAMPLE, 1).as_deref(), Some(&b"daemon"[..]));
        assert_eq!(find(SAMPLE, 42).as_deref(), Some(&b"last"[..]));
        assert_eq!(find(SAMPLE, 7), None);
        assert_eq!(find(b"cut:x:1", 1), None);
        assert_eq!(find(b"", 0), None);
        assert_eq!(find(&b"n".repeat(500), 0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _name = parse_line(&line, 0);
        }
    }
}
