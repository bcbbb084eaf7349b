//! Names for many addresses of one object, in one pass over its symbols.
//!
//! 1. Sort the wanted addresses.
//! 2. Stream `.symtab` through the scratch buffer. For each function find the
//!    wanted addresses inside it by binary search, and let it compete for
//!    them. If some are left, do the same for those with `.dynsym`: all that
//!    a stripped object has.
//! 3. Read the winners' names, demangle and store each once.
//!
//! A symbol wins an address if it is the smallest that covers it; among equal
//! ranges a weak one before a global one before a local one (C libraries
//! export `poll` as a weak alias of `__poll`: the weak name is the public
//! one), then the first in the table.
//!
//! An address that no *sized* symbol covers stays unnamed. Assembly without
//! `.size` would get a name from a guess ("the last symbol before it"), and a
//! guess that is wrong sends the reader to the wrong function; module and
//! offset are always there.
//!
//! # Cost
//!
//! Measured on `librustc_driver` of Rust 1.95 (154 MB, 165,439 symbols), in
//! the page cache, with 64 KiB of scratch: 1.2 ms for ten addresses, that is
//! 7 ns per symbol; 4.8 ms for a thousand in as many functions, that is 3.6 µs
//! more per name (a `pread` and the demangling). With 8 KiB of scratch it
//! takes 6 % longer, with 256 KiB no less. A program of 7,437 symbols takes
//! 58 µs for ten addresses. Without optimisation a symbol takes 0.8 µs. To
//! reproduce:
//!
//! ```text
//! GMR_ELF=OBJECT cargo test --release -p gmr-core --features symbols -- \
//!     --ignored --nocapture time_of_one_pass
//! ```
//!
//! # Signal safety
//!
//! No allocation, no lock, no panic. Stack: a few hundred bytes, and then what
//! [`demangle`](super::demangle) takes.

use super::arena::{NameArena, NameRef};
use super::demangle::MAX_MANGLED_BYTES;
use super::elf::{
    Binding, ElfError, Header, MAX_SECTIONS, SYM_BYTES, Section, Symbol, SymbolKind, read_exact_at,
    read_up_to,
};
use super::source::ElfSource;

/// The smallest scratch buffer [`resolve()`] works with, in bytes: a longest
/// mangled name and what tells that it is longer, or 341 symbols. From 64 KiB
/// on, reads are no longer what the time goes to.
pub const MIN_SCRATCH_BYTES: usize = 8192;
const _: () = assert!(MIN_SCRATCH_BYTES > MAX_MANGLED_BYTES, "a name and its end fit");

/// The most symbols that are read of one table: twenty times a large browser
/// with all its names, and what keeps a corrupt header from sending us
/// through a sparse file for ever.
pub const MAX_SYMBOLS: u64 = 1 << 24;

/// How many times a symbol may be tried on an address before the deadline is
/// looked at again. A crafted table in which every symbol covers everything
/// would otherwise do `symbols × addresses` steps per buffer.
const TRIES_PER_CHECK: u32 = 1 << 16;

/// An address that wants a name.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The address to look up, relative to the load bias. For a return
    /// address the caller has already subtracted 1: the call is the last
    /// instruction of some functions.
    pub svma: u64,
    /// For the caller: [`resolve()`] sorts, and leaves this with its address.
    pub tag: u32,
    /// Result: the name.
    pub name: Option<NameRef>,
    /// Result: where the function begins (SVMA), if one was found.
    pub function_svma: Option<u64>,
    best: Option<Candidate>,
}

impl Wanted {
    /// Wants the name of `svma`.
    #[must_use]
    pub const fn new(svma: u64, tag: u32) -> Self {
        Wanted { svma, tag, name: None, function_svma: None, best: None }
    }
}

/// The best symbol so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    start: u64,
    size: u64,
    name_offset: u32,
    rank: u8,
    table: TableId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableId {
    Symtab,
    Dynsym,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveStatus {
    /// All symbols were seen. Addresses without a name have none.
    Complete,
    /// The object has no symbol table at all.
    NoSymbols,
    /// `keep_going` said no. Before all symbols were seen no name is given:
    /// a smaller function might have followed.
    Stopped,
    /// The object could not be read. Names found in its readable tables are
    /// there.
    Failed(ElfError),
    /// The scratch buffer is smaller than [`MIN_SCRATCH_BYTES`].
    ScratchTooSmall,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// How it ended.
    pub status: ResolveStatus,
    /// How many symbols were read.
    pub symbols_read: u64,
    /// How many of the addresses have a name now.
    pub named: u32,
}

/// Finds the names of `wanted` in the object behind `source`.
///
/// `wanted` is sorted by address on the way. `scratch` is of at least
/// [`MIN_SCRATCH_BYTES`], better 64 KiB. `keep_going` is called once per
/// buffer of symbols and once per name; `false` ends the pass at once.
///
/// # Errors
///
/// In [`Resolved::status`]; there may be names all the same. Names that the
/// arena had no room for are counted there ([`NameArena::lost`]).
///
/// # Signal safety
///
/// Safe. The only system calls are those of `source`.
///
/// # References
///
/// elf(5); System V gABI, "Symbol Table".
pub fn resolve<S: ElfSource + ?Sized>(
    source: &S,
    wanted: &mut [Wanted],
    names: &mut NameArena<'_>,
    scratch: &mut [u8],
    keep_going: &mut dyn FnMut() -> bool,
) -> Resolved {
    for entry in wanted.iter_mut() {
        *entry = Wanted::new(entry.svma, entry.tag);
    }
    wanted.sort_unstable_by_key(|entry| entry.svma);
    let mut symbols_read = 0;
    let status = match run(source, wanted, names, scratch, keep_going, &mut symbols_read) {
        Ok(()) => ResolveStatus::Complete,
        Err(status) => status,
    };
    let named = wanted.iter().filter(|entry| entry.name.is_some()).count();
    Resolved { status, symbols_read, named: u32::try_from(named).unwrap_or(u32::MAX) }
}

impl From<ElfError> for ResolveStatus {
    fn from(error: ElfError) -> Self {
        ResolveStatus::Failed(error)
    }
}

fn run<S: ElfSource + ?Sized>(
    source: &S,
    wanted: &mut [Wanted],
    names: &mut NameArena<'_>,
    scratch: &mut [u8],
    keep_going: &mut dyn FnMut() -> bool,
    symbols_read: &mut u64,
) -> Result<(), ResolveStatus> {
    if scratch.len() < MIN_SCRATCH_BYTES {
        return Err(ResolveStatus::ScratchTooSmall);
    }
    let tables = Tables::find(source)?;
    if tables.symtab.is_none() && tables.dynsym.is_none() {
        return Err(ResolveStatus::NoSymbols);
    }
    let mut outcome = Ok(());
    for id in [TableId::Symtab, TableId::Dynsym] {
        let Some(table) = tables.get(id) else { continue };
        if wanted.iter().all(|entry| entry.best.is_some()) {
            break;
        }
        let mut pass = Pass { wanted: &mut *wanted, code: &tables.code, id, tries: 0 };
        match pass.stream(source, table, scratch, keep_going, symbols_read) {
            Ok(()) => {}
            Err(ResolveStatus::Stopped) => return Err(ResolveStatus::Stopped),
            Err(status) => {
                // Half a table: its candidates might not be the smallest.
                for entry in wanted.iter_mut() {
                    entry.best = entry.best.filter(|best| best.table != id);
                }
                outcome = Err(status);
            }
        }
    }
    store_names(source, &tables, wanted, names, scratch, keep_going)?;
    outcome
}

/// A symbol table and its strings.
#[derive(Debug, Clone, Copy)]
struct Table {
    symbols: Section,
    strings: Section,
}

/// What the section headers say.
struct Tables {
    symtab: Option<Table>,
    dynsym: Option<Table>,
    code: CodeSections,
}

impl Tables {
    fn find<S: ElfSource + ?Sized>(source: &S) -> Result<Self, ElfError> {
        let header = Header::read(source)?;
        let mut tables = Tables { symtab: None, dynsym: None, code: CodeSections::EMPTY };
        for index in 0..header.section_count()? {
            let section = header.section(source, index)?;
            if section.is_code() {
                tables.code.insert(index);
            }
            let slot = if section.is_symtab() {
                &mut tables.symtab
            } else if section.is_dynsym() {
                &mut tables.dynsym
            } else {
                continue;
            };
            // The gABI allows one of each; a second one is not looked at.
            if slot.is_none() && section.has_symbol_entries() {
                let strings = header.section(source, section.link)?;
                if strings.is_strings() {
                    *slot = Some(Table { symbols: section, strings });
                }
            }
        }
        Ok(tables)
    }

    fn get(&self, id: TableId) -> Option<Table> {
        match id {
            TableId::Symtab => self.symtab,
            TableId::Dynsym => self.dynsym,
        }
    }
}

/// Which sections hold machine code: one bit each.
struct CodeSections([u64; MAX_SECTIONS / 64]);

impl CodeSections {
    const EMPTY: Self = Self([0; MAX_SECTIONS / 64]);

    fn insert(&mut self, index: u32) {
        if let Some(word) = usize::try_from(index / 64).ok().and_then(|at| self.0.get_mut(at)) {
            *word |= 1 << (index % 64);
        }
    }

    fn contains(&self, index: u16) -> bool {
        self.0.get(usize::from(index / 64)).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}

/// One walk over one table.
struct Pass<'a> {
    wanted: &'a mut [Wanted],
    code: &'a CodeSections,
    id: TableId,
    tries: u32,
}

impl Pass<'_> {
    fn stream<S: ElfSource + ?Sized>(
        &mut self,
        source: &S,
        table: Table,
        scratch: &mut [u8],
        keep_going: &mut dyn FnMut() -> bool,
        symbols_read: &mut u64,
    ) -> Result<(), ResolveStatus> {
        let symbols = table.symbols.size.checked_div(SYM_BYTES as u64).unwrap_or(0);
        if symbols > MAX_SYMBOLS {
            return Err(ElfError::LimitExceeded.into());
        }
        let (first, last) = match (self.wanted.first(), self.wanted.last()) {
            (Some(first), Some(last)) => (first.svma, last.svma),
            _ => return Ok(()),
        };
        let whole = scratch.len().checked_div(SYM_BYTES).unwrap_or(0).saturating_mul(SYM_BYTES);
        let scratch = scratch.get_mut(..whole).unwrap_or_default();
        let mut at = table.symbols.offset;
        let mut left = symbols.saturating_mul(SYM_BYTES as u64);
        while left > 0 {
            if !keep_going() {
                return Err(ResolveStatus::Stopped);
            }
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(scratch.len());
            let buffer = scratch.get_mut(..len).unwrap_or_default();
            read_exact_at(source, at, buffer)?;
            for bytes in buffer.as_chunks::<SYM_BYTES>().0 {
                let Some(symbol) = Symbol::decode(bytes) else { continue };
                // Most symbols fall here: two comparisons each.
                let end = symbol.value.saturating_add(symbol.size);
                if symbol.value > last || end <= first || !self.is_function(&symbol) {
                    continue;
                }
                self.compete(&symbol, end, keep_going)?;
            }
            let bytes = u64::try_from(len).unwrap_or(u64::MAX);
            *symbols_read =
                symbols_read.saturating_add(bytes.checked_div(SYM_BYTES as u64).unwrap_or(0));
            at = at.checked_add(bytes).ok_or(ElfError::Corrupt)?;
            left = left.saturating_sub(bytes);
        }
        Ok(())
    }

    /// A function of this object: typed as one, or untyped but with a size
    /// and in machine code.
    fn is_function(&self, symbol: &Symbol) -> bool {
        // SHN_UNDEF: somebody else's. SHN_ABS: a number, not an address.
        const SHN_UNDEF: u16 = 0;
        const SHN_ABS: u16 = 0xfff1;
        if symbol.size == 0 || matches!(symbol.section, SHN_UNDEF | SHN_ABS) {
            return false;
        }
        match symbol.kind() {
            SymbolKind::Function => true,
            SymbolKind::Untyped => self.code.contains(symbol.section),
            SymbolKind::Other => false,
        }
    }

    /// Lets `symbol`, which ends before `end`, compete for what it covers.
    fn compete(
        &mut self,
        symbol: &Symbol,
        end: u64,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<(), ResolveStatus> {
        let candidate = Candidate {
            start: symbol.value,
            size: symbol.size,
            name_offset: symbol.name_offset,
            rank: match symbol.binding() {
                Binding::Local => 0,
                Binding::Global => 1,
                Binding::Weak => 2,
            },
            table: self.id,
        };
        let from = self.wanted.partition_point(|entry| entry.svma < symbol.value);
        for entry in self.wanted.get_mut(from..).unwrap_or_default() {
            if entry.svma >= end {
                break;
            }
            self.tries = self.tries.saturating_add(1);
            if self.tries >= TRIES_PER_CHECK {
                self.tries = 0;
                if !keep_going() {
                    return Err(ResolveStatus::Stopped);
                }
            }
            // What an earlier table found is settled.
            if entry.best.is_none_or(|best| best.table == self.id && candidate.beats(&best)) {
                entry.best = Some(candidate);
            }
        }
        Ok(())
    }
}

impl Candidate {
    /// Both cover the address. Two ranges of one size that differ overlap
    /// without nesting, which no linker makes: the later start wins then.
    fn beats(&self, other: &Candidate) -> bool {
        let order = other.size.cmp(&self.size);
        order.then(self.start.cmp(&other.start)).then(self.rank.cmp(&other.rank)).is_gt()
    }
}

/// Reads the winners' names and stores each once.
fn store_names<S: ElfSource + ?Sized>(
    source: &S,
    tables: &Tables,
    wanted: &mut [Wanted],
    names: &mut NameArena<'_>,
    scratch: &mut [u8],
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<(), ResolveStatus> {
    let mut rest = wanted;
    while let Some((entry, behind)) = core::mem::take(&mut rest).split_first_mut() {
        // The function's start marks what is done, with a name or without.
        if let (Some(best), None) = (entry.best, entry.function_svma) {
            if !keep_going() {
                return Err(ResolveStatus::Stopped);
            }
            entry.function_svma = Some(best.start);
            if let Some(table) = tables.get(best.table)
                && let Some(name) = read_name(source, &table.strings, best.name_offset, scratch)?
            {
                entry.name = names.push_demangled(name);
            }
            // The same function's other addresses lie close behind; those of
            // a nested one may stand between.
            let end = best.start.saturating_add(best.size);
            for other in behind.iter_mut().take_while(|other| other.svma < end) {
                if other.best == Some(best) {
                    other.name = entry.name;
                    other.function_svma = entry.function_svma;
                }
            }
        }
        rest = behind;
    }
    Ok(())
}

/// Reads the name at `offset` of a string table, without its version.
///
/// `None` if there is none: an offset outside the table, an empty name, no
/// text. One longer than [`MAX_MANGLED_BYTES`] comes as one byte more than
/// that, so that it is seen to be too long.
fn read_name<'b, S: ElfSource + ?Sized>(
    source: &S,
    strings: &Section,
    offset: u32,
    scratch: &'b mut [u8],
) -> Result<Option<&'b str>, ElfError> {
    let offset = u64::from(offset);
    let Some(left) = strings.size.checked_sub(offset) else { return Ok(None) };
    let limit = MAX_MANGLED_BYTES.saturating_add(1);
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(limit);
    let Some(buffer) = scratch.get_mut(..len) else { return Ok(None) };
    let Some(at) = strings.offset.checked_add(offset) else { return Ok(None) };
    let len = read_up_to(source, at, buffer)?;
    let bytes = buffer.get(..len).unwrap_or_default();
    let end = match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => end,
        None if len == limit => len,
        // The table or the file ends within the name.
        None => return Ok(None),
    };
    let name = utf8_prefix(bytes.get(..end).unwrap_or_default());
    // `name@@VERSION`, `name@VERSION`.
    let name = name.split('@').next().filter(|plain| !plain.is_empty()).unwrap_or(name);
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// The longest part from the start that is UTF-8. Compilers write nothing
/// else; what a corrupt table holds is not worth more.
fn utf8_prefix(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            core::str::from_utf8(valid).unwrap_or_default()
        }
    }
}
