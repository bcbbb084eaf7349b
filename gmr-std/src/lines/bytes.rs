//! The bytes of a section, for gimli: read by pread through a cache of fixed
//! size.
//!
//! 1. A [`Section`] is a stretch of a file, or memory (what was compressed).
//! 2. A [`Cache`] holds blocks of all sections' files. It is direct-mapped: a
//!    block has one place, and evicts what is there. Passes over a section are
//!    forward, so there is nothing that a cleverer order would save.
//! 3. [`Bytes`] is a part of a section, as gimli wants it: a position, no data.
//!
//! Files are never mapped: a mapped file that somebody truncates raises
//! SIGBUS. The memory is mapped anonymously, so that it goes back to the system
//! at once.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;

use gimli::{LittleEndian, Reader, ReaderOffsetId};
use memmap2::MmapMut;

use super::budget::{Budget, Failure, Reserved};

/// One read of a file.
const BLOCK_BYTES: usize = 16 * 1024;

/// What the cache takes at most: a pass over a unit needs a handful of blocks,
/// strings some more.
const MAX_CACHE_BYTES: u64 = 8 << 20;

/// With fewer blocks than this, sections would evict each other all the time.
const MIN_BLOCKS: usize = 16;

/// One read without the cache; then the deadline is looked at.
const UNCACHED_BYTES: usize = 1 << 20;

/// The longest string that is looked for, in bytes. Mangled names of deeply
/// nested futures have some ten thousand.
const MAX_STRING_BYTES: usize = 1 << 20;

/// Blocks of files.
pub(crate) struct Cache<'a> {
    budget: &'a Budget<'a>,
    blocks: RefCell<Blocks>,
    sections: Cell<u32>,
    _reserved: Reserved<'a>,
}

struct Blocks {
    memory: MmapMut,
    /// Which block is in each place: section and number of the block. As many
    /// as a power of two.
    tags: Vec<(u32, usize)>,
}

impl<'a> Cache<'a> {
    /// A cache of a quarter of the budget.
    pub(crate) fn new(budget: &'a Budget<'a>) -> Result<Self, Failure> {
        let bytes = (budget.left() / 4).min(MAX_CACHE_BYTES);
        let count = (usize::try_from(bytes).unwrap_or(0) / BLOCK_BYTES).max(MIN_BLOCKS);
        let count = 1 << count.ilog2();
        let reserved = budget.reserve((count * BLOCK_BYTES) as u64)?;
        let memory = MmapMut::map_anon(count * BLOCK_BYTES).map_err(|_| Failure::OverBudget)?;
        let blocks = RefCell::new(Blocks { memory, tags: vec![(0, 0); count] });
        Ok(Cache { budget, blocks, sections: Cell::new(0), _reserved: reserved })
    }

    fn next_id(&self) -> u32 {
        // 0 is the tag of an empty place.
        self.sections.set(self.sections.get() + 1);
        self.sections.get()
    }
}

impl Blocks {
    /// The bytes of a section's block, read unless they are there.
    #[inline]
    fn get(
        &mut self,
        section: &Section<'_>,
        file: &File,
        offset: u64,
        block: usize,
    ) -> gimli::Result<&[u8]> {
        // Sections begin at different places, else they would meet in step.
        let place = (block ^ (section.id as usize).wrapping_mul(0x9E37)) & (self.tags.len() - 1);
        let memory = &mut self.memory[place * BLOCK_BYTES..][..BLOCK_BYTES];
        if self.tags[place] != (section.id, block) {
            self.tags[place] = (0, 0);
            section.cache.budget.check().map_err(|_| gimli::Error::Io)?;
            let start = block * BLOCK_BYTES;
            let len = BLOCK_BYTES.min(section.len - start);
            file.read_exact_at(&mut memory[..len], offset + start as u64)?;
            self.tags[place] = (section.id, block);
        }
        Ok(memory)
    }
}

enum Content<'a> {
    /// From an offset of a file on.
    File(&'a File, u64),
    Memory(
        MmapMut,
        #[expect(dead_code, reason = "held until the memory is given back")] Reserved<'a>,
    ),
    None,
}

/// A section of an object.
pub(crate) struct Section<'a> {
    id: u32,
    len: usize,
    content: Content<'a>,
    cache: &'a Cache<'a>,
}

impl<'a> Section<'a> {
    /// A section that has a length, but cannot be read: one that is not there,
    /// or not needed.
    pub(crate) fn unread(cache: &'a Cache<'a>, len: usize) -> Self {
        Section { id: 0, len, content: Content::None, cache }
    }

    /// `len` bytes of a file; their sum with `offset` must not overflow.
    pub(crate) fn in_file(cache: &'a Cache<'a>, file: &'a File, offset: u64, len: usize) -> Self {
        Section { id: cache.next_id(), len, content: Content::File(file, offset), cache }
    }

    pub(crate) fn in_memory(cache: &'a Cache<'a>, memory: MmapMut, reserved: Reserved<'a>) -> Self {
        Section { id: 0, len: memory.len(), content: Content::Memory(memory, reserved), cache }
    }

    pub(crate) fn bytes<'s>(&'s self) -> Bytes<'s>
    where
        'a: 's,
    {
        Bytes { section: self, start: 0, end: self.len }
    }

    /// Calls `look` with bytes from `at` on: at least one, at most up to `end`,
    /// which must lie within the section. A step, wherever the bytes are: gimli
    /// has loops that end with the section only.
    #[inline]
    fn with<T>(&self, at: usize, end: usize, look: impl FnOnce(&[u8]) -> T) -> gimli::Result<T> {
        self.cache.budget.step().map_err(|_| gimli::Error::Io)?;
        match &self.content {
            Content::Memory(memory, _) => Ok(look(&memory[at..end.min(at + BLOCK_BYTES)])),
            Content::File(file, offset) => {
                let block = at / BLOCK_BYTES;
                let mut blocks = self.cache.blocks.borrow_mut();
                let bytes = blocks.get(self, file, *offset, block)?;
                let start = at % BLOCK_BYTES;
                Ok(look(&bytes[start..BLOCK_BYTES.min(start + (end - at))]))
            }
            Content::None => Err(gimli::Error::Io),
        }
    }
}

/// A part of a section.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    section: &'a Section<'a>,
    start: usize,
    end: usize,
}

impl std::fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} of section {}", self.start, self.end, self.section.id)
    }
}

impl Bytes<'_> {
    fn eof(&self) -> gimli::Error {
        gimli::Error::UnexpectedEof(self.offset_id())
    }

    /// All bytes, without the cache: for what is read once, and is large.
    pub(crate) fn read_whole(self, buffer: &mut Vec<u8>) -> gimli::Result<()> {
        buffer.clear();
        buffer.resize(self.end - self.start, 0);
        let Content::File(file, offset) = &self.section.content else {
            let mut from = self;
            return from.read_slice(buffer);
        };
        let mut at = *offset + self.start as u64;
        for part in buffer.chunks_mut(UNCACHED_BYTES) {
            self.section.cache.budget.check().map_err(|_| gimli::Error::Io)?;
            file.read_exact_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// The first bytes, at most `max`.
    pub(crate) fn prefix(mut self, max: usize) -> gimli::Result<Vec<u8>> {
        let mut bytes = vec![0; max.min(self.end - self.start)];
        self.read_slice(&mut bytes)?;
        Ok(bytes)
    }
}

impl Reader for Bytes<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    #[inline]
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn empty(&mut self) {
        self.end = self.start;
    }

    #[inline]
    fn truncate(&mut self, len: usize) -> gimli::Result<()> {
        if len > self.len() {
            return Err(self.eof());
        }
        self.end = self.start + len;
        Ok(())
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.start - base.start
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId(self.start as u64)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        usize::try_from(id.0).ok()?.checked_sub(self.start)
    }

    fn find(&self, byte: u8) -> gimli::Result<usize> {
        let end = self.end.min(self.start.saturating_add(MAX_STRING_BYTES));
        let mut at = self.start;
        while at < end {
            let (found, len) = self.section.with(at, end, |bytes| {
                (bytes.iter().position(|&there| there == byte), bytes.len())
            })?;
            if let Some(found) = found {
                return Ok(at - self.start + found);
            }
            at += len;
            self.section.cache.budget.step_bytes(len).map_err(|_| gimli::Error::Io)?;
        }
        Err(self.eof())
    }

    #[inline]
    fn skip(&mut self, len: usize) -> gimli::Result<()> {
        if len > self.len() {
            return Err(self.eof());
        }
        self.start += len;
        Ok(())
    }

    #[inline]
    fn split(&mut self, len: usize) -> gimli::Result<Self> {
        let mut head = *self;
        head.truncate(len)?;
        self.skip(len)?;
        Ok(head)
    }

    /// A copy. Only for what is short: gimli itself calls none of these three.
    fn to_slice(&self) -> gimli::Result<Cow<'_, [u8]>> {
        Ok(Cow::Owned(self.prefix(MAX_STRING_BYTES)?))
    }

    fn to_string(&self) -> gimli::Result<Cow<'_, str>> {
        let text = String::from_utf8(self.prefix(MAX_STRING_BYTES)?);
        Ok(Cow::Owned(text.map_err(|_| gimli::Error::BadUtf8)?))
    }

    fn to_string_lossy(&self) -> gimli::Result<Cow<'_, str>> {
        let bytes = self.prefix(MAX_STRING_BYTES)?;
        Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// As the default does, but with a length that the compiler knows.
    #[inline]
    fn read_u8_array<A: Default + AsMut<[u8]>>(&mut self) -> gimli::Result<A> {
        let mut array = A::default();
        let len = array.as_mut().len();
        if len > self.len() {
            return Err(self.eof());
        }
        let whole = self.section.with(self.start, self.end, |bytes| {
            bytes.get(..len).map(|bytes| array.as_mut().copy_from_slice(bytes)).is_some()
        })?;
        match whole {
            true => self.start += len,
            // It goes on in the next block.
            false => self.read_slice(array.as_mut())?,
        }
        Ok(array)
    }

    #[inline]
    fn read_slice(&mut self, buf: &mut [u8]) -> gimli::Result<()> {
        if buf.len() > self.len() {
            return Err(self.eof());
        }
        let mut done = 0;
        while done < buf.len() {
            let at = self.start + done;
            done += self.section.with(at, self.start + buf.len(), |bytes| {
                buf[done..][..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            })?;
        }
        self.start += buf.len();
        Ok(())
    }
}
