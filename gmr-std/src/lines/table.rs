//! What was found: flat, immutable, and read without allocating.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::budget::{Budget, Failure, Reserved};

/// Files and lines of addresses, as [`resolve`](super::resolve) found them.
#[derive(Debug, Default)]
pub(crate) struct LineTable {
    /// Sorted by address.
    addresses: Vec<Address>,
    frames: Vec<Record>,
    text: String,
    /// Addresses, sorted.
    lost_for_now: Vec<u64>,
    summary: String,
    was_cut: bool,
}

/// An address and its frames.
#[derive(Debug, Clone, Copy)]
struct Address {
    avma: u64,
    first: u32,
    count: u32,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    function: Option<Text>,
    file: Option<Text>,
    /// 0: not known.
    line: u32,
    function_truncated: bool,
    is_inlined: bool,
}

/// A part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    start: u32,
    len: u32,
}

/// A function at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineFrame<'a> {
    /// Demangled; `None` where the debug information has no name. For the last
    /// frame a name from the symbol tables is as good or better: limited debug
    /// information (`line-tables-only`) has names without their modules.
    pub function: Option<&'a str>,
    /// The name was longer than 512 bytes.
    pub function_truncated: bool,
    /// Shortened, see [`paths`](super::paths).
    pub file: Option<&'a str>,
    /// `None` for code that stands in no line, which compilers make.
    pub line: Option<u32>,
    /// Its code was copied into the next frame's function.
    pub is_inlined: bool,
}

impl LineTable {
    /// A table in which nothing is, for want of memory.
    pub(super) fn empty(summary: String, mut lost_for_now: Vec<u64>) -> Self {
        lost_for_now.sort_unstable();
        LineTable { summary, was_cut: true, lost_for_now, ..LineTable::default() }
    }

    /// The functions at an address, the most inlined first; the last one is
    /// the function that the machine knows. Empty if nothing is known.
    ///
    /// # Signal safety
    ///
    /// Safe: reads memory only.
    pub(crate) fn frames(&self, avma: u64) -> impl Iterator<Item = LineFrame<'_>> {
        let address = self
            .addresses
            .binary_search_by_key(&avma, |address| address.avma)
            .ok()
            .and_then(|index| self.addresses.get(index));
        let records = address
            .and_then(|address| {
                let first = usize::try_from(address.first).ok()?;
                let count = usize::try_from(address.count).ok()?;
                self.frames.get(first..first.checked_add(count)?)
            })
            .unwrap_or(&[]);
        records.iter().map(|record| LineFrame {
            function: record.function.and_then(|text| text.of(&self.text)),
            function_truncated: record.function_truncated,
            file: record.file.and_then(|text| text.of(&self.text)),
            line: Some(record.line).filter(|&line| line != 0),
            is_inlined: record.is_inlined,
        })
    }

    /// Whether only time or memory was wanting for this address: another try
    /// may find it. False for what was found, for what no try will find, and for
    /// what nobody asked for.
    ///
    /// # Signal safety
    ///
    /// Safe: reads memory only.
    pub(crate) fn lost_for_now(&self, avma: u64) -> bool {
        self.lost_for_now.binary_search(&avma).is_ok()
    }

    /// One line about what was found and what was not, and why.
    ///
    /// # Signal safety
    ///
    /// Safe.
    pub(crate) fn summary(&self) -> &str {
        &self.summary
    }

    /// Whether the deadline or the memory budget took something away.
    ///
    /// # Signal safety
    ///
    /// Safe.
    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut
    }
}

impl Text {
    fn of(self, text: &str) -> Option<&str> {
        let start = usize::try_from(self.start).ok()?;
        text.get(start..start.checked_add(usize::try_from(self.len).ok()?)?)
    }
}

/// A frame as it is added.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewFrame {
    /// The name, and whether it was cut.
    pub(super) function: Option<(Text, bool)>,
    pub(super) file: Option<Text>,
    pub(super) line: u32,
    pub(super) is_inlined: bool,
}

/// Memory is reserved in steps of so many bytes.
const RESERVE_BYTES: u64 = 16 * 1024;

/// Builds a [`LineTable`].
pub(super) struct Builder<'a> {
    table: LineTable,
    /// Texts by their hash, so that equal ones are kept once.
    known: HashMap<u64, Text>,
    reserved: Reserved<'a>,
    /// Of what is reserved, what is not used yet.
    spare: u64,
}

impl<'a> Builder<'a> {
    pub(super) fn new(budget: &'a Budget<'a>) -> Result<Self, Failure> {
        let reserved = budget.reserve(0)?;
        Ok(Builder { table: LineTable::default(), known: HashMap::new(), reserved, spare: 0 })
    }

    /// Makes sure of memory. All of it twice: vectors grow by doubling.
    fn need(&mut self, bytes: usize) -> Result<(), Failure> {
        let bytes = 2 * bytes as u64;
        if bytes > self.spare {
            let more = bytes.max(RESERVE_BYTES);
            self.reserved.grow(more)?;
            self.spare += more;
        }
        self.spare -= bytes;
        Ok(())
    }

    /// Keeps a text.
    pub(super) fn text(&mut self, text: &str) -> Result<Text, Failure> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(&known) = self.known.get(&hash)
            && known.of(&self.table.text) == Some(text)
        {
            return Ok(known);
        }
        self.need(text.len() + size_of::<(u64, Text)>())?;
        let start = u32::try_from(self.table.text.len()).map_err(|_| Failure::OverBudget)?;
        let len = u32::try_from(text.len()).map_err(|_| Failure::OverBudget)?;
        self.table.text.push_str(text);
        self.known.insert(hash, Text { start, len });
        Ok(Text { start, len })
    }

    /// Adds an address with its frames, the most inlined first.
    pub(super) fn add(&mut self, avma: u64, frames: &[NewFrame]) -> Result<(), Failure> {
        self.need(size_of::<Address>() + size_of_val(frames))?;
        let first = u32::try_from(self.table.frames.len()).map_err(|_| Failure::OverBudget)?;
        let count = u32::try_from(frames.len()).map_err(|_| Failure::OverBudget)?;
        self.table.frames.extend(frames.iter().map(|frame| Record {
            function: frame.function.map(|(text, _)| text),
            file: frame.file,
            line: frame.line,
            function_truncated: frame.function.is_some_and(|(_, cut)| cut),
            is_inlined: frame.is_inlined,
        }));
        self.table.addresses.push(Address { avma, first, count });
        Ok(())
    }

    pub(super) fn finish(
        self,
        summary: String,
        was_cut: bool,
        lost_for_now: Vec<u64>,
    ) -> LineTable {
        let mut table = LineTable { summary, was_cut, lost_for_now, ..self.table };
        table.lost_for_now.sort_unstable();
        table.lost_for_now.shrink_to_fit();
        table.addresses.sort_by_key(|address| address.avma);
        table.addresses.shrink_to_fit();
        table.frames.shrink_to_fit();
        table.text.shrink_to_fit();
        table
    }
}
