//! The names of functions and of source files.
//!
//! A function's name is in its entry, or in the one that it is an instance or
//! the definition of. The linkage name is preferred, since it says the whole
//! path; `line-tables-only` has neither that nor the modules around a function.
//! Names are demangled and shortened as those of symbols are.

use std::collections::HashMap;

use gimli::{AttributeValue, DebugInfoOffset, LineProgramHeader, UnitOffset};
use gmr_core::symbols::{demangle_full_into, demangle_into};

use super::budget::{Budget, Failure, Reserved};
use super::bytes::Bytes;
use super::dwarf::Units;
use super::paths;
use super::table::{Builder, Text};
use super::unit::{Die, Dwarf, Extent, Unit, Value};

/// How often an entry may refer to another for its name: three suffice.
const MAX_REFERENCES: u32 = 8;

/// The longest mangled name that is read, in bytes. [`demangle_into`] takes
/// 4096.
const MAX_MANGLED_BYTES: usize = 8 * 1024;

/// The longest part of a path that is read, in bytes.
const MAX_PATH_PART_BYTES: usize = 4096;

/// The names of functions.
pub(super) struct Names<'a, 'd> {
    pub(super) dwarf: &'d Dwarf<'a>,
    units: Option<&'d Units<'a>>,
    budget: &'a Budget<'a>,
    /// Names by the offsets of the entries that lead to them.
    known: HashMap<usize, Option<(Text, bool)>>,
    /// The unit that was referred to last, by offset.
    other: Option<(usize, Unit<'a>)>,
    reserved: Reserved<'a>,
}

impl<'a, 'd> Names<'a, 'd> {
    pub(super) fn new(
        dwarf: &'d Dwarf<'a>,
        units: Option<&'d Units<'a>>,
        budget: &'a Budget<'a>,
    ) -> Result<Self, Failure> {
        let reserved = budget.reserve(0)?;
        Ok(Names { dwarf, units, budget, known: HashMap::new(), other: None, reserved })
    }

    /// The name of the function that an entry of the unit at `offset` is.
    pub(super) fn of(
        &mut self,
        unit: &gimli::Unit<Bytes<'a>>,
        offset: usize,
        entry: UnitOffset,
        table: &mut Builder<'_>,
    ) -> Result<Option<(Text, bool)>, Failure> {
        let (dwarf, budget) = (self.dwarf, self.budget);
        let mut visited = Vec::new();
        let mut at = (offset, entry);
        let mut name = None;
        for _ in 0..MAX_REFERENCES {
            let key = at.0.saturating_add(at.1.0);
            if let Some(&known) = self.known.get(&key) {
                name = known;
                break;
            }
            visited.push(key);
            let unit = if at.0 == offset { unit } else { self.unit(at.0)? };
            let die = read_entry(unit, at.1, budget)?;
            if let Some(best) = die.linkage_name.as_ref().or(die.name.as_ref())
                && (die.linkage_name.is_some() || name.is_none())
            {
                name = keep(dwarf, unit, best, budget.limits().full_names, table)?;
            }
            if die.linkage_name.is_some() {
                break;
            }
            at = match die.origin {
                Some(AttributeValue::UnitRef(entry)) => (at.0, entry),
                Some(AttributeValue::DebugInfoRef(DebugInfoOffset(entry))) => {
                    match self.units.and_then(|units| units.holding(entry)) {
                        Some(unit) => (unit, UnitOffset(entry - unit)),
                        None => break,
                    }
                }
                _ => break,
            };
        }
        for key in visited {
            self.reserved.grow(4 * size_of::<(usize, Option<(Text, bool)>)>() as u64)?;
            self.known.insert(key, name);
        }
        Ok(name)
    }

    /// Opens another unit.
    fn unit(&mut self, offset: usize) -> Result<&gimli::Unit<Bytes<'a>>, Failure> {
        if self.other.as_ref().is_none_or(|(there, _)| *there != offset) {
            self.other = None;
            let header = self.dwarf.unit_header(DebugInfoOffset(offset))?;
            self.other =
                Some((offset, Unit::open(self.dwarf, header, Extent::Whole, self.budget)?));
        }
        self.other
            .as_ref()
            .map(|(_, unit)| &unit.gimli)
            .ok_or(Failure::Damaged(gimli::Error::MissingUnitDie))
    }
}

/// Demangles a name and keeps it.
fn keep<'a>(
    dwarf: &Dwarf<'a>,
    unit: &gimli::Unit<Bytes<'a>>,
    name: &Value<'a>,
    is_full: bool,
    table: &mut Builder<'_>,
) -> Result<Option<(Text, bool)>, Failure> {
    let Ok(name) = dwarf.attr_string(unit, *name) else { return Ok(None) };
    let name = name.prefix(MAX_MANGLED_BYTES)?;
    let mut out = [0; gmr_core::symbols::MAX_NAME_BYTES];
    let demangle = if is_full { demangle_full_into } else { demangle_into };
    let cut = demangle(&String::from_utf8_lossy(&name), &mut out);
    match str::from_utf8(&out[..cut.len]) {
        Ok(name) if !name.is_empty() => Ok(Some((table.text(name)?, cut.truncated))),
        _ => Ok(None),
    }
}

fn read_entry<'a>(
    unit: &gimli::Unit<Bytes<'a>>,
    entry: UnitOffset,
    budget: &Budget<'_>,
) -> Result<Die<'a>, Failure> {
    let mut entries = unit.entries_raw(Some(entry))?;
    match entries.read_abbreviation()? {
        Some(abbreviation) => Die::read(&mut entries, abbreviation, budget, |_, _| {}),
        None => Ok(Die::default()),
    }
}

/// The source files of one unit.
pub(super) struct Files<'a, 'u> {
    dwarf: &'u Dwarf<'a>,
    unit: &'u gimli::Unit<Bytes<'a>>,
    header: Option<&'u LineProgramHeader<Bytes<'a>>>,
    known: HashMap<u64, Option<Text>>,
}

impl<'a, 'u> Files<'a, 'u> {
    pub(super) fn new(
        dwarf: &'u Dwarf<'a>,
        unit: &'u gimli::Unit<Bytes<'a>>,
        header: Option<&'u LineProgramHeader<Bytes<'a>>>,
    ) -> Self {
        Files { dwarf, unit, header, known: HashMap::new() }
    }

    pub(super) fn of(
        &mut self,
        index: u64,
        table: &mut Builder<'_>,
    ) -> Result<Option<Text>, Failure> {
        if let Some(&known) = self.known.get(&index) {
            return Ok(known);
        }
        // What is not in the header is not kept either: that may be any number.
        let Some(header) = self.header else { return Ok(None) };
        let Some(path) = path_of(self.dwarf, self.unit, header, index)? else { return Ok(None) };
        let text = if path.is_empty() { None } else { Some(table.text(&path)?) };
        self.known.insert(index, text);
        Ok(text)
    }
}

/// A source file of a line program, by its number there, as it is shown.
pub(crate) fn path_of<'a>(
    dwarf: &Dwarf<'a>,
    unit: &gimli::Unit<Bytes<'a>>,
    header: &LineProgramHeader<Bytes<'a>>,
    index: u64,
) -> Result<Option<String>, Failure> {
    let Some(file) = header.file(index) else { return Ok(None) };
    let text = |value: Option<Value<'a>>| {
        part(value.and_then(|value| dwarf.attr_string(unit, value).ok()))
    };
    let name = text(Some(file.path_name()))?;
    let directory = text(file.directory(header))?;
    let comp_dir = part(unit.comp_dir)?;
    Ok(Some(paths::shorten(&comp_dir, &directory, &name)))
}

fn part(bytes: Option<Bytes<'_>>) -> Result<String, Failure> {
    Ok(match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes.prefix(MAX_PATH_PART_BYTES)?).into_owned(),
        None => String::new(),
    })
}
