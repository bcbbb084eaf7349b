//! An ELF file and its sections; what is compressed is decompressed.
//!
//! Compressed sections (SHF_COMPRESSED, zlib and zstd) are decompressed whole,
//! into memory that is reserved before: debug information is not read in
//! order. The older `.zdebug_*` sections are not known.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use gmr_core::symbols::elf::{self, Header, read_exact_at};
use gmr_core::symbols::{ElfSource, ReadError, build_id};
use memmap2::MmapMut;

use super::budget::{Budget, Failure};
use super::bytes::{Cache, Section};

/// The most bytes of section names that are read.
const MAX_NAMES_BYTES: u64 = 64 * 1024;

/// Size of a compression header (`Elf64_Chdr`), in bytes.
const CHDR_BYTES: usize = 24;

/// What zlib's decoder takes, in bytes: its window and tables.
const ZLIB_BYTES: u64 = 128 * 1024;

/// What zstd's decoder takes next to its window, in bytes: tables and a block.
const ZSTD_BYTES: u64 = 1 << 20;

/// One turn of a decoder: then the deadline is looked at.
const CHUNK_BYTES: usize = 128 * 1024;

/// An open ELF file.
pub(crate) struct ElfFile {
    pub(crate) file: File,
    header: Header,
    /// The section of section names.
    names: Vec<u8>,
}

/// Reads by pread, whatever the position of the file.
pub(crate) struct Pread<'f>(&'f File);

impl ElfSource for Pread<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        self.0
            .read_at(buf, offset)
            .map_err(|error| ReadError::Os { errno: error.raw_os_error().unwrap_or(0) })
    }
}

/// Opens a regular file, and nothing else even for a moment: a FIFO would have
/// us wait, and there are devices that act when they are opened.
pub(crate) fn open(path: &Path) -> Option<(File, Metadata)> {
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).ok()?;
    let metadata = place.metadata().ok()?;
    if !metadata.is_file() {
        return None;
    }
    // What was looked at, whatever lies at the path by now.
    let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).ok()?;
    Some((file, metadata))
}

impl ElfFile {
    /// Reads what leads to the sections; `None` if this is no ELF file that we
    /// know (64-bit, little-endian).
    pub(crate) fn new(file: File) -> Option<Self> {
        let header = Header::read(&Pread(&file)).ok()?;
        let section = header.section(&Pread(&file), header.shstrndx).ok()?;
        let mut names = vec![0; usize::try_from(section.size.min(MAX_NAMES_BYTES)).ok()?];
        read_exact_at(&Pread(&file), section.offset, &mut names).ok()?;
        Some(ElfFile { file, header, names })
    }

    /// For the readers of the core.
    pub(crate) fn source(&self) -> Pread<'_> {
        Pread(&self.file)
    }

    pub(crate) fn build_id(&self) -> Option<Vec<u8>> {
        build_id(&Pread(&self.file)).map(|id| id.as_bytes().to_vec())
    }

    /// The header of a section.
    fn find(&self, name: &str) -> Option<elf::Section> {
        let count = self.header.section_count().ok()?;
        (0..count).find_map(|index| {
            let section = self.header.section(&Pread(&self.file), index).ok()?;
            let rest = self.names.get(usize::try_from(section.name_offset).ok()?..)?;
            let found = rest.strip_prefix(name.as_bytes())?.first() == Some(&0);
            (found && section.is_in_file() && section.size > 0).then_some(section)
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A short section's bytes, uncompressed ones only.
    pub(crate) fn short_section(&self, name: &str) -> Option<Vec<u8>> {
        self.contents(name, 4096)
    }

    /// A section's bytes, if it is uncompressed and not larger than that.
    pub(crate) fn contents(&self, name: &str, max_bytes: u64) -> Option<Vec<u8>> {
        let section = self.find(name)?;
        if section.size > max_bytes || section.is_compressed() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(section.size).ok()?];
        read_exact_at(&Pread(&self.file), section.offset, &mut bytes).ok()?;
        Some(bytes)
    }

    /// How large a section is, decompressed; 0 if there is none.
    pub(crate) fn section_bytes(&self, name: &str) -> usize {
        let bytes = self.find(name).and_then(|section| match section.is_compressed() {
            true => self.compression(&section).map(|(_, bytes)| bytes),
            false => Some(section.size),
        });
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    /// The kind of a section's compression, and its size without.
    fn compression(&self, section: &elf::Section) -> Option<(u32, u64)> {
        let mut header = [0; CHDR_BYTES];
        read_exact_at(&Pread(&self.file), section.offset, &mut header).ok()?;
        let (kind, rest) = header.split_first_chunk()?;
        let (_reserved, rest) = rest.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*kind), u64::from_le_bytes(*rest.first_chunk()?)))
    }

    /// A section, decompressed if need be; an empty one if there is none.
    pub(crate) fn section<'a>(
        &'a self,
        name: &str,
        cache: &'a Cache<'a>,
        budget: &'a Budget<'a>,
    ) -> Result<Section<'a>, Failure> {
        let damaged = Failure::Damaged(gimli::Error::Io);
        let Some(section) = self.find(name) else { return Ok(Section::unread(cache, 0)) };
        let len = usize::try_from(section.size).map_err(|_| damaged)?;
        section.offset.checked_add(section.size).ok_or(damaged)?;
        if !section.is_compressed() {
            return Ok(Section::in_file(cache, &self.file, section.offset, len));
        }
        let (kind, size) = self.compression(&section).ok_or(damaged)?;
        let reserved = budget.reserve(size)?;
        let len = usize::try_from(size).map_err(|_| Failure::OverBudget)?;
        if len == 0 {
            return Ok(Section::unread(cache, 0));
        }
        let mut memory = MmapMut::map_anon(len).map_err(|_| Failure::OverBudget)?;
        let compressed = FilePart {
            file: &self.file,
            at: section.offset + CHDR_BYTES as u64,
            left: section.size.saturating_sub(CHDR_BYTES as u64),
            budget,
        };
        // ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD
        match kind {
            1 => {
                let _decoder = budget.reserve(ZLIB_BYTES)?;
                fill(&mut memory, flate2::read::ZlibDecoder::new(compressed), budget)?;
            }
            2 => {
                // The window grows by doubling, with the old one still there.
                let max_window = budget.left().saturating_sub(ZSTD_BYTES) / 3;
                let _decoder = budget.reserve(3 * max_window + ZSTD_BYTES)?;
                let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(
                    compressed, max_window,
                )
                .map_err(|_| Failure::OverBudget)?;
                fill(&mut memory, decoder, budget)?;
            }
            _ => return Err(damaged),
        }
        Ok(Section::in_memory(cache, memory, reserved))
    }
}

fn fill(memory: &mut [u8], mut decoder: impl Read, budget: &Budget<'_>) -> Result<(), Failure> {
    for chunk in memory.chunks_mut(CHUNK_BYTES) {
        budget.check()?;
        decoder.read_exact(chunk).map_err(|_| Failure::Damaged(gimli::Error::Io))?;
    }
    Ok(())
}

/// A part of a file, read from its beginning to its end. Stops when the budget
/// does: what is compressed may be long, and come to nothing.
pub(crate) struct FilePart<'f, 'b> {
    pub(crate) budget: &'f Budget<'b>,
    pub(crate) file: &'f File,
    pub(crate) at: u64,
    pub(crate) left: u64,
}

impl Read for FilePart<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.budget.check().map_err(|_| io::ErrorKind::TimedOut)?;
        let max = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let len = self.file.read_at(&mut buf[..max], self.at)?;
        self.at += len as u64;
        self.left -= len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_only() {
        let dir = std::env::temp_dir().join(format!("gmr-open-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, link, fifo) = (dir.join("file"), dir.join("link"), dir.join("fifo"));
        std::fs::write(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        for path in [&file, &link] {
            let (file, metadata) = open(path).unwrap();
            assert_eq!(io::read_to_string(file).unwrap(), "text");
            assert_eq!(metadata.len(), 4);
        }
        for path in [&fifo, &dir, &dir.join("none"), Path::new("/dev/null")] {
            assert!(open(path).is_none(), "{}", path.display());
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
