//! The parts of ELF that names and build-ids need: header, program headers,
//! section headers, symbols, notes.
//!
//! 1. Each structure is read into a few bytes on the stack and decoded field
//!    by field; nothing is cast, so alignment and the host do not matter.
//! 2. Offsets and counts come from the file and are not believed: every sum
//!    is checked, every count has a limit below, and what lies behind the end
//!    of the file is [`ElfError::Truncated`].
//!
//! Only 64-bit little-endian objects are read: that is what runs on x86-64,
//! AArch64 and RISC-V. Signal-safe throughout.
//!
//! Sources: elf(5); System V gABI, chapters 4 and 5.

use super::source::{ElfSource, ReadError};

/// Size of the file header, in bytes.
const EHDR_BYTES: usize = 64;
/// Size of a section header, in bytes.
const SHDR_BYTES: usize = 64;
/// Size of a program header, in bytes.
const PHDR_BYTES: usize = 56;
/// Size of a symbol, in bytes.
pub const SYM_BYTES: usize = 24;

/// The most section headers that are read. Linked objects have some 40;
/// thousands occur in relocatable files only, which are never in a process.
pub const MAX_SECTIONS: usize = 1024;
/// The most program headers that are read. Linked objects have about a dozen.
pub const MAX_SEGMENTS: u16 = 128;
/// The most notes that are read of one segment or section: they hold four or
/// five, and the build-id is among the first.
const MAX_NOTES: u32 = 64;
/// The longest build-id, in bytes. Linkers make 8, 16 or 20; a hexadecimal
/// string given by hand may be longer, and more than this is no identifier.
pub const MAX_BUILD_ID_BYTES: usize = 64;

/// Section type: symbols of the whole object.
const SHT_SYMTAB: u32 = 2;
/// Section type: strings.
const SHT_STRTAB: u32 = 3;
/// Section type: notes.
const SHT_NOTE: u32 = 7;
/// Section type: takes no place in the file.
const SHT_NOBITS: u32 = 8;
/// Section type: symbols for the dynamic loader.
const SHT_DYNSYM: u32 = 11;
/// Section flag: machine code.
const SHF_EXECINSTR: u64 = 4;
/// Section flag: begins with a compression header.
const SHF_COMPRESSED: u64 = 0x800;
/// Segment type: notes.
const PT_NOTE: u32 = 4;
/// Note type, of owner `GNU`: build-id.
const NT_GNU_BUILD_ID: u32 = 3;

/// Why an object could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElfError {
    /// The read itself failed.
    Read(ReadError),
    /// Something that the headers promise lies behind the end of the file.
    Truncated,
    /// Not an ELF file.
    NotElf,
    /// An ELF file, but 32-bit, big-endian or of an unknown version.
    Unsupported,
    /// A field contradicts the format.
    Corrupt,
    /// A count is above our limit.
    LimitExceeded,
}

impl From<ReadError> for ElfError {
    fn from(error: ReadError) -> Self {
        ElfError::Read(error)
    }
}

impl ElfError {
    /// One line for the operator.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            ElfError::Read(_) => "the object cannot be read",
            ElfError::Truncated => "the object ends before its tables do",
            ElfError::NotElf => "not an ELF object",
            ElfError::Unsupported => "not a 64-bit little-endian ELF object",
            ElfError::Corrupt => "the object's headers contradict themselves",
            ElfError::LimitExceeded => {
                "the object has more sections, segments or symbols than are read"
            }
        }
    }
}

/// Fills `buf` from `offset`, however short the single reads are.
///
/// # Errors
///
/// [`ElfError::Truncated`] at the end of the file, or the read's error.
pub fn read_exact_at(
    source: &(impl ElfSource + ?Sized),
    offset: u64,
    buf: &mut [u8],
) -> Result<(), ElfError> {
    let len = read_up_to(source, offset, buf)?;
    if len == buf.len() { Ok(()) } else { Err(ElfError::Truncated) }
}

/// Reads until `buf` is full or the file ends; returns how much there is.
pub(super) fn read_up_to(
    source: &(impl ElfSource + ?Sized),
    offset: u64,
    buf: &mut [u8],
) -> Result<usize, ElfError> {
    let mut done = 0_usize;
    // Each turn reads at least one byte, so there are at most buf.len().
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let room = rest.len();
        let Some(at) = u64::try_from(done).ok().and_then(|done| offset.checked_add(done)) else {
            break;
        };
        // A source that claims more than there was room for is not believed.
        let len = source.read_at(at, rest)?.min(room);
        if len == 0 {
            break;
        }
        done = done.saturating_add(len);
    }
    Ok(done)
}

/// Takes little-endian fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ElfError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(ElfError::Truncated)?;
        self.0 = tail;
        Ok(*head)
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, ElfError> {
        self.take().map(u8::from_le_bytes)
    }

    #[inline]
    fn u16(&mut self) -> Result<u16, ElfError> {
        self.take().map(u16::from_le_bytes)
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, ElfError> {
        self.take().map(u32::from_le_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, ElfError> {
        self.take().map(u64::from_le_bytes)
    }
}

/// What we need of the file header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// File offset of the program headers, in bytes.
    phoff: u64,
    /// How many there are.
    phnum: u16,
    /// File offset of the section headers, in bytes; 0 if there are none.
    shoff: u64,
    /// How many there are.
    shnum: u64,
    /// The section that holds the names of the sections; 0 if there is none.
    pub shstrndx: u32,
}

impl Header {
    /// Reads and checks the file header.
    ///
    /// # Errors
    ///
    /// Any [`ElfError`].
    pub fn read(source: &(impl ElfSource + ?Sized)) -> Result<Self, ElfError> {
        let mut bytes = [0; EHDR_BYTES];
        read_exact_at(source, 0, &mut bytes)?;
        let mut fields = Fields(&bytes);
        if fields.take::<4>()? != *b"\x7fELF" {
            return Err(ElfError::NotElf);
        }
        let [class, data, version] = fields.take::<3>()?;
        // ELFCLASS64, ELFDATA2LSB, EV_CURRENT.
        if (class, data, version) != (2, 1, 1) {
            return Err(ElfError::Unsupported);
        }
        fields.take::<9>()?; // ABI, padding
        fields.take::<8>()?; // type, machine, version
        fields.u64()?; // entry
        let phoff = fields.u64()?;
        let shoff = fields.u64()?;
        fields.u32()?; // flags
        fields.u16()?; // size of this header
        let phentsize = fields.u16()?;
        let phnum = fields.u16()?;
        let shentsize = fields.u16()?;
        let shnum = fields.u16()?;
        let shstrndx = u32::from(fields.u16()?);
        if phnum != 0 && usize::from(phentsize) != PHDR_BYTES {
            return Err(ElfError::Corrupt);
        }
        if shoff != 0 && usize::from(shentsize) != SHDR_BYTES {
            return Err(ElfError::Corrupt);
        }
        let mut header = Header { phoff, phnum, shoff, shnum: u64::from(shnum), shstrndx };
        // gABI: with 0xff00 sections and more, the count is in the size of
        // the first one. More than we read, but a small count is also allowed
        // to stand there.
        if shoff != 0 && shnum == 0 {
            header.shnum = 1;
            header.shnum = header.section(source, 0)?.size;
        }
        if shoff == 0 {
            header.shnum = 0;
        }
        Ok(header)
    }

    /// How many sections there are, if not more than [`MAX_SECTIONS`].
    ///
    /// # Errors
    ///
    /// [`ElfError::LimitExceeded`].
    pub fn section_count(&self) -> Result<u32, ElfError> {
        match u32::try_from(self.shnum) {
            Ok(count) if usize::try_from(count).is_ok_and(|count| count <= MAX_SECTIONS) => {
                Ok(count)
            }
            _ => Err(ElfError::LimitExceeded),
        }
    }

    /// Reads section header `index`.
    ///
    /// # Errors
    ///
    /// Any [`ElfError`]; [`ElfError::Corrupt`] if there is no such section.
    pub fn section(
        &self,
        source: &(impl ElfSource + ?Sized),
        index: u32,
    ) -> Result<Section, ElfError> {
        if u64::from(index) >= self.shnum {
            return Err(ElfError::Corrupt);
        }
        let mut bytes = [0; SHDR_BYTES];
        read_exact_at(source, entry_offset(self.shoff, index, SHDR_BYTES)?, &mut bytes)?;
        let mut fields = Fields(&bytes);
        let name_offset = fields.u32()?;
        let kind = fields.u32()?;
        let flags = fields.u64()?;
        fields.u64()?; // address
        let offset = fields.u64()?;
        let size = fields.u64()?;
        let link = fields.u32()?;
        fields.u32()?; // info
        let align = fields.u64()?;
        let entry_size = fields.u64()?;
        Ok(Section { name_offset, kind, flags, offset, size, link, align, entry_size })
    }

    /// Reads program header `index`.
    fn segment(&self, source: &(impl ElfSource + ?Sized), index: u32) -> Result<Segment, ElfError> {
        let mut bytes = [0; PHDR_BYTES];
        read_exact_at(source, entry_offset(self.phoff, index, PHDR_BYTES)?, &mut bytes)?;
        let mut fields = Fields(&bytes);
        let kind = fields.u32()?;
        fields.u32()?; // flags
        let offset = fields.u64()?;
        fields.u64()?; // address
        fields.u64()?; // physical address
        let size = fields.u64()?;
        fields.u64()?; // size in memory
        let align = fields.u64()?;
        Ok(Segment { kind, offset, size, align })
    }
}

fn entry_offset(start: u64, index: u32, entry_bytes: usize) -> Result<u64, ElfError> {
    u64::try_from(entry_bytes)
        .ok()
        .and_then(|bytes| bytes.checked_mul(u64::from(index)))
        .and_then(|distance| start.checked_add(distance))
        .ok_or(ElfError::Corrupt)
}

/// What we need of a section header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Offset of its name in the section [`Header::shstrndx`], in bytes.
    pub name_offset: u32,
    kind: u32,
    flags: u64,
    /// File offset, in bytes.
    pub offset: u64,
    /// In bytes.
    pub size: u64,
    /// Of a symbol table: the section that holds its strings.
    pub link: u32,
    align: u64,
    entry_size: u64,
}

impl Section {
    /// Holds machine code.
    #[must_use]
    pub fn is_code(&self) -> bool {
        self.flags & SHF_EXECINSTR != 0
    }

    /// Begins with a compression header (gABI, `Elf64_Chdr`).
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.flags & SHF_COMPRESSED != 0
    }

    /// Has bytes in the file. What `objcopy --only-keep-debug` leaves of code
    /// has none.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        self.kind != SHT_NOBITS
    }

    /// `.symtab`.
    #[must_use]
    pub fn is_symtab(&self) -> bool {
        self.kind == SHT_SYMTAB
    }

    /// `.dynsym`.
    #[must_use]
    pub fn is_dynsym(&self) -> bool {
        self.kind == SHT_DYNSYM
    }

    /// A string table.
    #[must_use]
    pub fn is_strings(&self) -> bool {
        self.kind == SHT_STRTAB
    }

    /// Its entries have the size of a symbol.
    #[must_use]
    pub fn has_symbol_entries(&self) -> bool {
        usize::try_from(self.entry_size) == Ok(SYM_BYTES)
    }
}

struct Segment {
    kind: u32,
    offset: u64,
    size: u64,
    align: u64,
}

/// One symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Offset of its name in the string table, in bytes.
    pub name_offset: u32,
    info: u8,
    /// Index of the section it lies in.
    pub section: u16,
    /// Its address (SVMA).
    pub value: u64,
    /// In bytes; 0 if not stated.
    pub size: u64,
}

/// `STB_*`: who sees a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// The object file only.
    Local,
    /// Everybody.
    Global,
    /// Everybody, and others may override it.
    Weak,
}

/// `STT_*`: what a symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// A function, or the resolver of an indirect one.
    Function,
    /// Not stated: assembly without `.type`.
    Untyped,
    /// Data, sections, files, thread-local storage.
    Other,
}

impl Symbol {
    /// Decodes a symbol.
    #[inline]
    #[must_use]
    pub fn decode(bytes: &[u8; SYM_BYTES]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let name_offset = fields.u32().ok()?;
        let info = fields.u8().ok()?;
        fields.u8().ok()?; // visibility
        let section = fields.u16().ok()?;
        let value = fields.u64().ok()?;
        let size = fields.u64().ok()?;
        Some(Symbol { name_offset, info, section, value, size })
    }

    /// Who sees it.
    #[must_use]
    pub fn binding(&self) -> Binding {
        match self.info >> 4 {
            // STB_GNU_UNIQUE is a global one.
            1 | 10 => Binding::Global,
            2 => Binding::Weak,
            _ => Binding::Local,
        }
    }

    /// What it is.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> SymbolKind {
        match self.info & 0xf {
            0 => SymbolKind::Untyped,
            // STT_FUNC, STT_GNU_IFUNC
            2 | 10 => SymbolKind::Function,
            _ => SymbolKind::Other,
        }
    }
}

/// The identifier that the linker gave an object: what finds its debug
/// information again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BuildId {
    bytes: [u8; MAX_BUILD_ID_BYTES],
    len: u8,
}

impl BuildId {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl core::fmt::Debug for BuildId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BuildId(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Finds the build-id: in the note segments, and where those do not have it
/// (or were stripped), in the note sections. `None` if there is none, if it is
/// longer than [`MAX_BUILD_ID_BYTES`], or if the object cannot be read.
///
/// Reads a few hundred bytes. Signal-safe.
pub fn build_id(source: &(impl ElfSource + ?Sized)) -> Option<BuildId> {
    let header = Header::read(source).ok()?;
    for index in 0..header.phnum.min(MAX_SEGMENTS) {
        let Ok(segment) = header.segment(source, u32::from(index)) else { break };
        if segment.kind == PT_NOTE {
            let id = build_id_in_notes(source, segment.offset, segment.size, segment.align);
            if id.is_some() {
                return id;
            }
        }
    }
    for index in 0..header.section_count().ok()? {
        let section = header.section(source, index).ok()?;
        if section.kind == SHT_NOTE {
            let id = build_id_in_notes(source, section.offset, section.size, section.align);
            if id.is_some() {
                return id;
            }
        }
    }
    None
}

/// Walks notes: sizes of name and descriptor and the type in 12 bytes, then
/// the two, each padded to the alignment.
fn build_id_in_notes(
    source: &(impl ElfSource + ?Sized),
    start: u64,
    size: u64,
    align: u64,
) -> Option<BuildId> {
    // Padded to 4 bytes in practice, whatever the gABI says, unless the
    // alignment is 8 (`.note.gnu.property`).
    let align = if align == 8 { 8 } else { 4 };
    let end = start.checked_add(size)?;
    let mut at = start;
    for _ in 0..MAX_NOTES {
        let mut head = [0; 16];
        if at.checked_add(16)? > end {
            return None;
        }
        read_exact_at(source, at, &mut head).ok()?;
        let mut fields = Fields(&head);
        let name_size = fields.u32().ok()?;
        let desc_size = fields.u32().ok()?;
        let kind = fields.u32().ok()?;
        let name = fields.take::<4>().ok()?;
        let name_end = at.checked_add(12)?.checked_add(u64::from(name_size))?;
        let desc = padded(start, name_end, align)?;
        let desc_end = desc.checked_add(u64::from(desc_size))?;
        if desc_end > end {
            return None;
        }
        if kind == NT_GNU_BUILD_ID && name_size == 4 && name == *b"GNU\0" {
            let mut id = BuildId { bytes: [0; MAX_BUILD_ID_BYTES], len: 0 };
            let len = usize::try_from(desc_size).ok()?;
            read_exact_at(source, desc, id.bytes.get_mut(..len)?).ok()?;
            id.len = u8::try_from(len).ok().filter(|&len| len > 0)?;
            return Some(id);
        }
        at = padded(start, desc_end, align)?;
    }
    None
}

/// `at`, moved up to a multiple of `align` bytes from `start`.
fn padded(start: u64, at: u64, align: u64) -> Option<u64> {
    start.checked_add(at.checked_sub(start)?.checked_next_multiple_of(align)?)
}
