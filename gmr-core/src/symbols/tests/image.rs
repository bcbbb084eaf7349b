//! Small ELF objects made by hand.

use std::vec::Vec;

/// A symbol to put into an object.
#[derive(Debug, Clone)]
pub(super) struct Sym {
    pub(super) name: Vec<u8>,
    /// Binding in the high four bits, type in the low ones.
    pub(super) info: u8,
    pub(super) section: u16,
    pub(super) value: u64,
    pub(super) size: u64,
}

pub(super) const LOCAL: u8 = 0;
pub(super) const GLOBAL: u8 = 1 << 4;
pub(super) const WEAK: u8 = 2 << 4;
pub(super) const NOTYPE: u8 = 0;
pub(super) const OBJECT: u8 = 1;
pub(super) const FUNC: u8 = 2;
pub(super) const IFUNC: u8 = 10;

/// Index of the section that holds code, and of one that does not.
pub(super) const TEXT: u16 = 1;
pub(super) const DATA: u16 = 2;

pub(super) fn sym(name: &str, info: u8, value: u64, size: u64) -> Sym {
    Sym { name: name.into(), info, section: TEXT, value, size }
}

/// Where things lie in an image.
#[derive(Debug, Clone, Copy, Default)]
struct Section {
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
    align: u64,
    entry_size: u64,
}

/// Symbol and string table as bytes.
fn tables(symbols: &[Sym]) -> (Vec<u8>, Vec<u8>) {
    // Both begin with an empty entry, as the gABI demands.
    let (mut table, mut strings) = (std::vec![0; 24], std::vec![0]);
    for symbol in symbols {
        table.extend((strings.len() as u32).to_le_bytes());
        table.extend([symbol.info, 0]);
        table.extend(symbol.section.to_le_bytes());
        table.extend(symbol.value.to_le_bytes());
        table.extend(symbol.size.to_le_bytes());
        strings.extend(&symbol.name);
        strings.push(0);
    }
    (table, strings)
}

/// A note of owner `GNU`.
pub(super) fn note(kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend((desc.len() as u32).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(b"GNU\0");
    bytes.extend(desc);
    while bytes.len() % 4 != 0 {
        bytes.push(0);
    }
    bytes
}

/// What an object is made of.
#[derive(Debug, Default)]
pub(super) struct Image<'a> {
    pub(super) symtab: Option<&'a [Sym]>,
    pub(super) dynsym: Option<&'a [Sym]>,
    /// Content of the note segment.
    pub(super) segment_notes: &'a [u8],
    /// Content of the note section.
    pub(super) section_notes: &'a [u8],
    /// The count of sections stands in the first one, as for many sections.
    pub(super) extended_count: bool,
}

impl Image<'_> {
    pub(super) fn build(&self) -> Vec<u8> {
        let mut body = std::vec![0; 64 + 56];
        let mut put = |bytes: &[u8]| {
            let offset = body.len() as u64;
            body.extend(bytes);
            (offset, bytes.len() as u64)
        };
        let (notes_offset, notes_size) = put(self.segment_notes);
        let mut sections = std::vec![
            Section::default(),
            Section { kind: 1, flags: 6, ..Section::default() },
            Section { kind: 1, flags: 3, ..Section::default() },
        ];
        let (offset, size) = put(self.section_notes);
        sections.push(Section { kind: 7, offset, size, align: 4, ..Section::default() });
        for (kind, symbols) in [(2, self.symtab), (11, self.dynsym)] {
            let Some(symbols) = symbols else { continue };
            let (table, strings) = tables(symbols);
            let link = sections.len() as u32 + 1;
            let (offset, size) = put(&table);
            let entry_size = 24;
            sections.push(Section { kind, offset, size, link, entry_size, ..Section::default() });
            let (offset, size) = put(&strings);
            sections.push(Section { kind: 3, offset, size, ..Section::default() });
        }
        let shoff = body.len() as u64;
        let count = sections.len();
        if self.extended_count {
            sections[0].size = count as u64;
        }
        for section in &sections {
            body.extend(0_u32.to_le_bytes());
            body.extend(section.kind.to_le_bytes());
            body.extend(section.flags.to_le_bytes());
            body.extend(0_u64.to_le_bytes());
            body.extend(section.offset.to_le_bytes());
            body.extend(section.size.to_le_bytes());
            body.extend(section.link.to_le_bytes());
            body.extend(0_u32.to_le_bytes());
            body.extend(section.align.to_le_bytes());
            body.extend(section.entry_size.to_le_bytes());
        }

        let mut header = Vec::new();
        header.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        header.extend(3_u16.to_le_bytes()); // shared object
        header.extend(62_u16.to_le_bytes()); // x86-64
        header.extend(1_u32.to_le_bytes());
        header.extend(0_u64.to_le_bytes());
        header.extend(64_u64.to_le_bytes()); // program headers
        header.extend(shoff.to_le_bytes());
        header.extend(0_u32.to_le_bytes());
        let shnum = if self.extended_count { 0 } else { count as u16 };
        for field in [64_u16, 56, 1, 64, shnum, 0] {
            header.extend(field.to_le_bytes());
        }
        header.extend(4_u32.to_le_bytes()); // PT_NOTE
        header.extend(4_u32.to_le_bytes());
        header.extend(notes_offset.to_le_bytes());
        header.extend([0; 16]);
        header.extend(notes_size.to_le_bytes());
        header.extend(notes_size.to_le_bytes());
        header.extend(4_u64.to_le_bytes());
        body[..120].copy_from_slice(&header);
        body
    }
}
