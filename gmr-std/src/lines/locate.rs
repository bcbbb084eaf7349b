//! Where the debug information of an object lies.
//!
//! In this order:
//! 1. in the object itself;
//! 2. `DIR/.build-id/xx/yyyy.debug` of each debug directory, by build-id;
//! 3. the file that `.gnu_debuglink` names: beside the object, in `.debug/`
//!    there, and below each debug directory at the object's path.
//!
//! A file is believed if it has the object's build-id; where one of the two
//! has none, if it has the checksum that the link states.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::budget::{Budget, Failure};
use super::file::{ElfFile, FilePart, open};

/// The section that all else hangs on.
const DEBUG_INFO: &str = ".debug_info";

/// A checksum is made over so many bytes, then the deadline is looked at.
const CHECKSUM_BYTES: usize = 256 * 1024;

/// The file that holds the debug information of `object`, which was mapped
/// from `path`, and the path of that file.
pub(crate) fn debug_file(
    object: ElfFile,
    path: &Path,
    build_id: Option<&[u8]>,
    budget: &Budget<'_>,
) -> Result<Option<(ElfFile, PathBuf)>, Failure> {
    if object.has(DEBUG_INFO) {
        return Ok(Some((object, path.to_owned())));
    }
    for candidate in by_build_id(build_id, budget.limits().debug_dirs) {
        budget.check()?;
        if let Some(elf) = open_debug_file(&candidate)
            && elf.build_id().as_deref() == build_id
        {
            return Ok(Some((elf, candidate)));
        }
    }
    let Some((name, checksum)) = object.short_section(".gnu_debuglink").and_then(parse_link) else {
        return Ok(None);
    };
    for candidate in by_link(&name, path, budget.limits().debug_dirs) {
        budget.check()?;
        let Some(elf) = open_debug_file(&candidate) else { continue };
        let is_it = match (build_id, elf.build_id()) {
            (Some(wanted), Some(there)) => wanted == there,
            _ => has_checksum(&elf.file, checksum, budget)?,
        };
        if is_it {
            return Ok(Some((elf, candidate)));
        }
    }
    Ok(None)
}

fn open_debug_file(path: &Path) -> Option<ElfFile> {
    open(path).and_then(|(file, _)| ElfFile::new(file)).filter(|elf| elf.has(DEBUG_INFO))
}

fn by_build_id(build_id: Option<&[u8]>, dirs: &[PathBuf]) -> Vec<PathBuf> {
    let Some([first, rest @ ..]) = build_id.filter(|id| id.len() > 1) else { return Vec::new() };
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = format!(".build-id/{first:02x}/{rest}.debug");
    dirs.iter().map(|dir| dir.join(&file)).collect()
}

fn by_link(name: &OsStr, object: &Path, dirs: &[PathBuf]) -> Vec<PathBuf> {
    let Some(beside) = object.parent().filter(|dir| dir.is_absolute()) else { return Vec::new() };
    let below = beside.strip_prefix("/").unwrap_or(beside);
    [beside.join(name), beside.join(".debug").join(name)]
        .into_iter()
        .chain(dirs.iter().map(|dir| dir.join(below).join(name)))
        .collect()
}

/// `.gnu_debuglink`: a file name, padded to four bytes, and a CRC-32.
fn parse_link(section: Vec<u8>) -> Option<(std::ffi::OsString, u32)> {
    let end = section.iter().position(|&byte| byte == 0)?;
    let (name, rest) = section.split_at(end);
    let checksum = rest.get((end + 4) / 4 * 4 - end..)?.first_chunk::<4>()?;
    // A name only: the file lies in one of the places above.
    let is_name = !name.is_empty() && !name.contains(&b'/');
    is_name.then(|| (OsStr::from_bytes(name).to_owned(), u32::from_le_bytes(*checksum)))
}

fn has_checksum(file: &File, wanted: u32, budget: &Budget<'_>) -> Result<bool, Failure> {
    let mut part = FilePart { budget, file, at: 0, left: u64::MAX };
    let mut crc = flate2::Crc::new();
    let _reserved = budget.reserve(CHECKSUM_BYTES as u64)?;
    let mut buffer = vec![0; CHECKSUM_BYTES];
    loop {
        budget.check()?;
        match part.read(&mut buffer) {
            Ok(0) => return Ok(crc.sum() == wanted),
            Ok(len) => crc.update(&buffer[..len]),
            Err(_) => return budget.check().map(|()| false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let link = |bytes: &[u8]| parse_link(bytes.to_vec());
        assert_eq!(link(b"a.debug\0\x01\x02\x03\x04"), Some(("a.debug".into(), 0x0403_0201)));
        assert_eq!(
            link(b"ab.debug\0\0\0\0\x01\x02\x03\x04"),
            Some(("ab.debug".into(), 0x0403_0201))
        );
        assert_eq!(link(b"../a\0\0\0\0\x01\x02\x03\x04"), None);
        assert_eq!(link(b"a.debug\0\x01\x02\x03"), None);
        assert_eq!(link(b"a.debug"), None);
        assert_eq!(link(b"\0\0\0\0\x01\x02\x03\x04"), None);
    }

    #[test]
    fn places() {
        let dirs = [PathBuf::from("/usr/lib/debug")];
        assert_eq!(
            by_build_id(Some(&[0xab, 0x0c, 0xde]), &dirs),
            [PathBuf::from("/usr/lib/debug/.build-id/ab/0cde.debug")]
        );
        assert_eq!(by_build_id(None, &dirs), [] as [PathBuf; 0]);
        assert_eq!(
            by_link("d".as_ref(), Path::new("/opt/x/daemon"), &dirs),
            ["/opt/x/d", "/opt/x/.debug/d", "/usr/lib/debug/opt/x/d"].map(PathBuf::from)
        );
        assert_eq!(by_link("d".as_ref(), Path::new("daemon"), &dirs), [] as [PathBuf; 0]);
    }
}
