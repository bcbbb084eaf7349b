//! One compilation unit: its root, and a pass over its functions and lines.

use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use gimli::constants as dw;
use gimli::{
    Abbreviation, Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugAddrBase,
    DebugLineOffset, DebugLocListsBase, DebugRngListsBase, DebugStrOffsetsBase, EntriesRaw,
    LineInstruction, LineRow, Reader, UnitHeader, UnitOffset, UnitType,
};

use super::budget::{Budget, Failure, Reserved};
use super::bytes::Bytes;
use super::file::{ElfFile, open};

pub(crate) type Dwarf<'a> = gimli::Dwarf<Bytes<'a>>;
pub(crate) type Value<'a> = AttributeValue<Bytes<'a>>;
pub(crate) type LineProgram<'a> = gimli::IncompleteLineProgram<Bytes<'a>>;

/// The memory of a parsed abbreviation, in bytes, in a vector that doubles.
const ABBREVIATION_COST: u64 = 256;

/// The memory of one of its attributes, in bytes, in a vector that doubles.
const ATTRIBUTE_COST: u64 = 32;

/// The longest path of a `.dwo` file, in bytes: the kernel takes no longer one.
const MAX_PATH_BYTES: usize = 4096;

/// Inlined calls at one address; there is no such nest, only damage.
const MAX_INLINED: usize = 128;

/// A unit, opened: its root is read, its abbreviations are loaded.
pub(crate) struct Unit<'a> {
    pub(crate) gimli: gimli::Unit<Bytes<'a>>,
    pub(crate) root: Die<'a>,
    /// Where its line program is.
    pub(crate) lines: Option<DebugLineOffset>,
    dwo_name: Option<Bytes<'a>>,
    _reserved: Reserved<'a>,
}

/// What we need of a debugging information entry.
#[derive(Default)]
pub(crate) struct Die<'a> {
    low_pc: Option<Value<'a>>,
    high_pc: Option<Value<'a>>,
    ranges: Option<Value<'a>>,
    /// The entry that this one is an instance, or the definition, of.
    pub(crate) origin: Option<Value<'a>>,
    pub(crate) linkage_name: Option<Value<'a>>,
    pub(crate) name: Option<Value<'a>>,
    call_file: u64,
    call_line: u64,
}

impl<'a> Die<'a> {
    /// Reads all attributes of an entry; those of no interest go to `other`.
    pub(crate) fn read(
        entries: &mut EntriesRaw<'_, Bytes<'a>>,
        abbreviation: &Abbreviation,
        budget: &Budget<'_>,
        mut other: impl FnMut(gimli::DwAt, Value<'a>),
    ) -> Result<Self, Failure> {
        let mut die = Die::default();
        // Attributes may take no bytes.
        budget.steps(abbreviation.attributes().len())?;
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec)?;
            let value = attribute.value();
            match attribute.name() {
                dw::DW_AT_low_pc => die.low_pc = Some(value),
                dw::DW_AT_high_pc => die.high_pc = Some(value),
                dw::DW_AT_ranges => die.ranges = Some(value),
                dw::DW_AT_abstract_origin | dw::DW_AT_specification => die.origin = Some(value),
                dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => {
                    die.linkage_name = Some(value)
                }
                dw::DW_AT_name => die.name = Some(value),
                dw::DW_AT_call_file => {
                    die.call_file = match value {
                        AttributeValue::FileIndex(index) => index,
                        value => value.udata_value().unwrap_or(0),
                    }
                }
                dw::DW_AT_call_line => die.call_line = value.udata_value().unwrap_or(0),
                name => other(name, value),
            }
        }
        Ok(die)
    }

    /// Calls `each` with the addresses of `sorted` that lie in the entry's code,
    /// as often as the entry's ranges have them.
    pub(crate) fn covered(
        &self,
        dwarf: &Dwarf<'a>,
        unit: &gimli::Unit<Bytes<'a>>,
        budget: &Budget<'_>,
        sorted: &[u64],
        mut each: impl FnMut(Range<usize>),
    ) -> Result<(), Failure> {
        let mut found = |begin: u64, end: u64| -> Result<(), Failure> {
            // Code at 0 is code that the linker has dropped.
            if begin != 0 && begin < end {
                let first = sorted.partition_point(|&address| address < begin);
                let last = sorted.partition_point(|&address| address < end);
                if first < last {
                    budget.steps(last - first)?;
                    each(first..last);
                }
            }
            Ok(())
        };
        if let Some(ranges) = &self.ranges
            && let Some(mut list) = dwarf.attr_ranges(unit, *ranges)?
        {
            while let Some(range) = list.next()? {
                budget.step()?;
                found(range.begin, range.end)?;
            }
            return Ok(());
        }
        let address = |value: &Option<Value<'a>>| match value {
            Some(value) => dwarf.attr_address(unit, *value),
            None => Ok(None),
        };
        if let Some(low) = address(&self.low_pc)? {
            let high = match &self.high_pc {
                Some(AttributeValue::Udata(size)) => Some(low.saturating_add(*size)),
                high => address(high)?,
            };
            found(low, high.unwrap_or(0))?;
        }
        Ok(())
    }
}

/// How much of a unit can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The root, if its abbreviation is the first one, as compilers have it.
    Root,
    Whole,
}

impl<'a> Unit<'a> {
    /// Opens a unit.
    pub(crate) fn open(
        dwarf: &Dwarf<'a>,
        header: UnitHeader<Bytes<'a>>,
        extent: Extent,
        budget: &'a Budget<'a>,
    ) -> Result<Self, Failure> {
        let (abbreviations, reserved) = abbreviations(dwarf, &header, extent, budget)?;
        let (encoding, kind) = (header.encoding(), dwarf.file_type);
        let mut unit = gimli::Unit {
            abbreviations,
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, kind),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase(0),
            rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, kind),
            line_program: None,
            dwo_id: match header.type_() {
                UnitType::Skeleton(id) | UnitType::SplitCompilation(id) => Some(id),
                _ => None,
            },
            header,
        };
        let (mut comp_dir, mut lines, mut dwo_name, mut dwo_id) = (None, None, None, None);
        let abbreviations = Arc::clone(&unit.abbreviations);
        let mut entries = unit.header.entries_raw(&abbreviations, None)?;
        let abbreviation = entries.read_abbreviation()?.ok_or(gimli::Error::MissingUnitDie)?;
        let root =
            Die::read(&mut entries, abbreviation, budget, |name, value| match (name, value) {
                (dw::DW_AT_comp_dir, value) => comp_dir = Some(value),
                (dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name, value) => dwo_name = Some(value),
                (dw::DW_AT_stmt_list, AttributeValue::DebugLineRef(offset)) => lines = Some(offset),
                (dw::DW_AT_str_offsets_base, AttributeValue::DebugStrOffsetsBase(base)) => {
                    unit.str_offsets_base = base;
                }
                (
                    dw::DW_AT_addr_base | dw::DW_AT_GNU_addr_base,
                    AttributeValue::DebugAddrBase(base),
                ) => {
                    unit.addr_base = base;
                }
                (
                    dw::DW_AT_rnglists_base | dw::DW_AT_GNU_ranges_base,
                    AttributeValue::DebugRngListsBase(base),
                ) => unit.rnglists_base = base,
                (dw::DW_AT_GNU_dwo_id, AttributeValue::DwoId(id)) => dwo_id = Some(id),
                _ => {}
            })?;
        let string = |unit: &gimli::Unit<_>, value: &Option<Value<'a>>| {
            value.as_ref().and_then(|value| dwarf.attr_string(unit, *value).ok())
        };
        unit.dwo_id = unit.dwo_id.or(dwo_id);
        unit.name = string(&unit, &root.name);
        unit.comp_dir = string(&unit, &comp_dir);
        let dwo_name = string(&unit, &dwo_name);
        if let Some(low_pc) = &root.low_pc {
            unit.low_pc = dwarf.attr_address(&unit, *low_pc)?.unwrap_or(0);
        }
        Ok(Unit { gimli: unit, root, lines, dwo_name, _reserved: reserved })
    }

    /// The `.dwo` file that the unit was split off to, if it is still there.
    pub(crate) fn dwo_file(&self) -> Option<ElfFile> {
        let part = |bytes: Bytes<'a>| Some(OsString::from_vec(bytes.prefix(MAX_PATH_BYTES).ok()?));
        let mut path = PathBuf::from(self.gimli.comp_dir.and_then(part)?);
        path.push(part(self.dwo_name?)?);
        // Where the program was compiled: not where it runs.
        if !path.is_absolute() {
            return None;
        }
        open(&path).and_then(|(file, _)| ElfFile::new(file))
    }
}

/// The abbreviations of a unit, their memory reserved: first the table is
/// walked, since how large it is stands nowhere.
fn abbreviations<'a>(
    dwarf: &Dwarf<'a>,
    header: &UnitHeader<Bytes<'a>>,
    extent: Extent,
    budget: &'a Budget<'a>,
) -> Result<(Arc<Abbreviations>, Reserved<'a>), Failure> {
    let mut table = *gimli::Section::reader(&dwarf.debug_abbrev);
    table.skip(header.debug_abbrev_offset().0)?;
    let mut used = table;
    let mut reserved = budget.reserve(0)?;
    while !table.is_empty() && table.read_uleb128()? != 0 {
        budget.step()?;
        table.skip_leb128()?; // tag
        table.skip(1)?; // whether there are children
        let mut attributes = 0;
        loop {
            let (name, form) = (table.read_uleb128()?, table.read_uleb128()?);
            if (name, form) == (0, 0) {
                break;
            }
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                table.skip_leb128()?;
            }
            attributes += 1;
        }
        reserved.grow(ABBREVIATION_COST + attributes * ATTRIBUTE_COST)?;
        if extent == Extent::Root {
            break;
        }
    }
    used.truncate(used.len() - table.len())?;
    let abbreviations = DebugAbbrev::from(used).abbreviations(DebugAbbrevOffset(0))?;
    Ok((Arc::new(abbreviations), reserved))
}

/// What is known of one address of a unit.
#[derive(Default)]
pub(crate) struct Found {
    /// The function whose code it is in.
    pub(crate) function: Option<UnitOffset>,
    /// The calls that were inlined there, outermost first.
    pub(crate) inlined: Vec<Inlined>,
    /// File and line of the address itself.
    pub(crate) place: Option<Place>,
}

impl Found {
    pub(crate) fn forget_functions(&mut self) {
        self.function = None;
        self.inlined.clear();
    }
}

/// A file, by its index in the unit's line table, and a line; 0 if not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u64,
    pub(crate) line: u64,
}

/// A call whose function's code stands in place of the call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inlined {
    pub(crate) function: UnitOffset,
    /// Where the call stands in the source.
    pub(crate) call: Place,
    depth: isize,
}

/// Finds the functions of a unit's addresses: one pass over its entries, in
/// which nothing is kept but what is found, in memory that is `reserved`.
pub(crate) fn functions<'a>(
    dwarf: &Dwarf<'a>,
    unit: &gimli::Unit<Bytes<'a>>,
    budget: &Budget<'_>,
    sorted: &[u64],
    found: &mut [Found],
    reserved: &mut Reserved<'_>,
) -> Result<(), Failure> {
    let mut entries = unit.entries_raw(None)?;
    // The functions that we are in and that hold addresses, with their depths.
    let mut inside: Vec<(isize, UnitOffset)> = Vec::new();
    while !entries.is_empty() {
        budget.step()?;
        let (offset, depth) = (entries.next_offset(), entries.next_depth());
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        inside.truncate(inside.partition_point(|&(outer, _)| outer < depth));
        match (abbreviation.tag(), inside.last()) {
            (dw::DW_TAG_subprogram, _) => {
                let die = Die::read(&mut entries, abbreviation, budget, |_, _| {})?;
                let mut holds = false;
                die.covered(dwarf, unit, budget, sorted, |range| {
                    for found in &mut found[range] {
                        // The first one stays: code that was folded into one
                        // has several.
                        holds |= *found.function.get_or_insert(offset) == offset;
                    }
                })?;
                if holds {
                    inside.push((depth, offset));
                }
            }
            (dw::DW_TAG_inlined_subroutine, Some(&(_, function))) => {
                let die = Die::read(&mut entries, abbreviation, budget, |_, _| {})?;
                let call = Place { file: die.call_file, line: die.call_line };
                let mut added = 0;
                die.covered(dwarf, unit, budget, sorted, |range| {
                    for found in &mut found[range] {
                        let is_deeper = found.inlined.last().is_none_or(|last| last.depth < depth);
                        if found.function == Some(function)
                            && is_deeper
                            && found.inlined.len() < MAX_INLINED
                        {
                            found.inlined.push(Inlined { function: offset, call, depth });
                            added += 1;
                        }
                    }
                })?;
                // Twice: vectors grow by doubling.
                reserved.grow(added * 2 * size_of::<Inlined>() as u64)?;
            }
            _ => {
                budget.steps(abbreviation.attributes().len())?;
                entries.skip_attributes(abbreviation.attributes())?;
            }
        }
    }
    Ok(())
}

/// Finds the lines of a unit's addresses: one run of its line program.
///
/// Files that the program itself defines (DW_LNE_define_file) are left out:
/// nobody has written such programs for decades, and their number is known
/// only at their end.
pub(crate) fn lines<'a>(
    program: &mut LineProgram<'a>,
    budget: &Budget<'_>,
    sorted: &[u64],
    found: &mut [Found],
) -> Result<(), Failure> {
    let mut instructions = program.header().instructions();
    let mut row = LineRow::new(program.header());
    // The row before this one, in the same sequence.
    let mut previous: Option<(u64, Place)> = None;
    // The linker has dropped the code: in all of the sequence, or up to the
    // next address.
    let (mut is_dropped, mut is_skipped) = (false, false);
    while let Some(instruction) = instructions.next_instruction(program.header())? {
        budget.step()?;
        let address = match instruction {
            LineInstruction::SetAddress(address) => Some(address),
            LineInstruction::DefineFile(_) => continue,
            // gimli negates it.
            LineInstruction::AdvanceLine(i64::MIN) => {
                return Err(gimli::Error::BadSignedLeb128.into());
            }
            _ => None,
        };
        let is_row = row.execute(instruction, program)?;
        if let Some(address) = address {
            // gimli has not taken an address that the linker wrote in place of
            // dropped code's.
            is_skipped = row.address() != address;
        }
        if !is_row {
            continue;
        }
        if !is_skipped {
            match previous {
                // Code at 0 is code that the linker has dropped.
                None => is_dropped = row.address() == 0,
                Some((begin, place)) if !is_dropped && begin < row.address() => {
                    let first = sorted.partition_point(|&address| address < begin);
                    let last = sorted.partition_point(|&address| address < row.address());
                    budget.steps(last - first)?;
                    for found in found.get_mut(first..last).unwrap_or_default() {
                        found.place.get_or_insert(place);
                    }
                }
                Some(_) => {}
            }
            previous = (!row.end_sequence()).then(|| {
                let line = row.line().map_or(0, std::num::NonZeroU64::get);
                (row.address(), Place { file: row.file_index(), line })
            });
        }
        is_skipped &= !row.end_sequence();
        row.reset(program.header());
    }
    Ok(())
}
