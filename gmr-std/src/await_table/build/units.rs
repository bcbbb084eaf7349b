//! The units of debug information: where they are, and their bytes when wanted.
//!
//! 1. [`Units::list`] notes where each unit is. One that was split off is taken
//!    from the package (`.dwp`); it gets a place of its own behind all offsets of
//!    `.debug_info`, so that one number names an entry anywhere.
//! 2. [`Units::load`] reads one as a whole: entries are read from memory, which
//!    is several times as fast as through a cache. The last few stay.
//!
//! Limits: a unit that does not fit into the memory budget fails. Units that
//! were split off into single `.dwo` files are counted, not read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::{
    AttributeValue, DebugInfoOffset, DwarfPackage, EndianSlice, EntriesRaw, LittleEndian, Reader,
    UnitOffset,
};

use super::strings::Text;
use crate::lines::budget::{Budget, Failure, Reserved};
use crate::lines::bytes::Bytes;
use crate::lines::dwarf::line_program;
use crate::lines::names::path_of;
use crate::lines::unit::{Dwarf, Extent, LineProgram, Unit};

/// Bytes of a unit in memory.
pub(super) type Slice<'b> = EndianSlice<'b, LittleEndian>;

/// An attribute's value, read from there.
pub(super) type Value<'b> = AttributeValue<Slice<'b>>;

/// Where split units begin: behind any section that can be read.
const SPLIT_BASE: u64 = 1 << 48;

/// Units are kept up to so many bytes of memory together, but the last one always.
const KEPT_BYTES: u64 = 12 << 20;

/// The memory of a listed unit.
const PLACE_COST: u64 = 2 * size_of::<Place>() as u64;

/// A module, and which of a unit's entries are in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namespace {
    /// Its entry, as an offset in the unit.
    pub(super) start: u32,
    /// First one that is not in it.
    pub(super) end: u32,
    /// The one around it, by index.
    pub(super) parent: Option<u32>,
    pub(super) name: Text,
}

/// Where a unit is.
struct Place {
    /// Number of its first byte.
    base: u64,
    bytes: u64,
    /// Of its header in `.debug_info`: of the skeleton's, if it was split off.
    header: usize,
    is_split: bool,
    /// Noted when it was scanned, if there is something in it to look up.
    namespaces: Option<Rc<[Namespace]>>,
}

/// All units.
pub(super) struct Units<'a> {
    dwarf: &'a Dwarf<'a>,
    package: Option<&'a DwarfPackage<Bytes<'a>>>,
    budget: &'a Budget<'a>,
    places: Vec<Place>,
    /// The last one is the one that was wanted last.
    kept: Vec<Rc<Loaded<'a>>>,
    /// Units whose other half is missing.
    pub(super) split_missing: usize,
    /// Units whose root cannot be read.
    pub(super) damaged: usize,
    _reserved: Reserved<'a>,
}

/// A unit in memory.
pub(super) struct Loaded<'a> {
    /// Which of the units.
    pub(super) index: usize,
    base: u64,
    bytes: Vec<u8>,
    unit: Unit<'a>,
    /// Of a unit that was split off.
    own_dwarf: Option<Dwarf<'a>>,
    skeleton: Option<Unit<'a>>,
    files: RefCell<Files<'a>>,
    /// Its memory, with that of its abbreviations.
    cost: u64,
    _reserved: Reserved<'a>,
}

#[derive(Default)]
struct Files<'a> {
    program: Option<Option<(LineProgram<'a>, Reserved<'a>)>>,
    known: HashMap<u64, Rc<str>>,
}

impl<'a> Units<'a> {
    /// Goes through the units' headers.
    pub(super) fn list(
        dwarf: &'a Dwarf<'a>,
        package: Option<&'a DwarfPackage<Bytes<'a>>>,
        budget: &'a Budget<'a>,
    ) -> Result<Self, Failure> {
        let mut units = Units {
            dwarf,
            package,
            budget,
            places: Vec::new(),
            kept: Vec::new(),
            split_missing: 0,
            damaged: 0,
            _reserved: budget.reserve(0)?,
        };
        let mut next_split = SPLIT_BASE;
        let mut headers = dwarf.units();
        // What follows a damaged header cannot be found: what precedes it can.
        while let Ok(Some(header)) = headers.next() {
            budget.step()?;
            let Some(offset) = header.debug_info_offset() else { continue };
            let mut place = Place {
                base: offset.0 as u64,
                bytes: header.length_including_self() as u64,
                header: offset.0,
                is_split: false,
                namespaces: None,
            };
            let open = |extent| Unit::open(dwarf, header, extent, budget);
            let id = match open(Extent::Root).or_else(|_| open(Extent::Whole)) {
                Ok(unit) => unit.gimli.dwo_id,
                Err(failure) => match budget.explain(failure) {
                    Failure::Damaged(_) => {
                        units.damaged += 1;
                        continue;
                    }
                    failure => return Err(failure),
                },
            };
            if let Some(id) = id {
                let split = match package {
                    Some(package) => package.find_cu(id, dwarf)?,
                    None => None,
                };
                let Some(split) = split else {
                    units.split_missing += 1;
                    continue;
                };
                let header = split.units().next()?.ok_or(gimli::Error::MissingUnitDie)?;
                place.base = next_split;
                place.bytes = header.length_including_self() as u64;
                place.is_split = true;
                next_split += place.bytes;
            }
            units._reserved.grow(PLACE_COST)?;
            units.places.push(place);
        }
        budget.check()?;
        // Split ones are behind all others.
        units.places.sort_by_key(|place| place.base);
        Ok(units)
    }

    pub(super) fn budget(&self) -> &'a Budget<'a> {
        self.budget
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Bytes of all units.
    pub(super) fn bytes(&self) -> u64 {
        self.places.iter().map(|place| place.bytes).sum()
    }

    /// The unit that holds an entry.
    pub(super) fn holding(&self, at: u64) -> Option<usize> {
        let index = self.places.partition_point(|place| place.base <= at).checked_sub(1)?;
        let place = self.places.get(index)?;
        (at - place.base < place.bytes).then_some(index)
    }

    pub(super) fn namespaces(&self, index: usize) -> Option<Rc<[Namespace]>> {
        self.places.get(index)?.namespaces.clone()
    }

    pub(super) fn keep_namespaces(&mut self, index: usize, namespaces: Vec<Namespace>) {
        if let Some(place) = self.places.get_mut(index) {
            place.namespaces = Some(namespaces.into());
        }
    }

    /// Reads a unit, unless it is there.
    pub(super) fn load(&mut self, index: usize) -> Result<Rc<Loaded<'a>>, Failure> {
        if let Some(at) = self.kept.iter().position(|unit| unit.index == index) {
            let unit = self.kept.remove(at);
            self.kept.push(Rc::clone(&unit));
            return Ok(unit);
        }
        let missing = Failure::Damaged(gimli::Error::MissingUnitDie);
        let place = self.places.get(index).ok_or(missing)?;
        let bytes = usize::try_from(place.bytes).map_err(|_| Failure::OverBudget)?;
        while !self.kept.is_empty()
            && self.kept.iter().map(|unit| unit.cost).sum::<u64>() + place.bytes > KEPT_BYTES
        {
            self.kept.remove(0);
        }
        let left = self.budget.left();
        let reserved = self.budget.reserve(place.bytes)?;
        let (dwarf, budget) = (self.dwarf, self.budget);
        let header = dwarf.unit_header(DebugInfoOffset(place.header))?;
        let mut unit = Unit::open(dwarf, header, Extent::Whole, budget)?;
        let (mut own_dwarf, mut skeleton) = (None, None);
        if place.is_split {
            let id = unit.gimli.dwo_id.ok_or(missing)?;
            let split = self.package.map(|package| package.find_cu(id, dwarf)).transpose()?;
            let split = split.flatten().ok_or(missing)?;
            let header = split.units().next()?.ok_or(missing)?;
            let mut other = Unit::open(&split, header, Extent::Whole, budget)?;
            other.gimli.copy_relocated_attributes(&unit.gimli);
            skeleton = Some(std::mem::replace(&mut unit, other));
            own_dwarf = Some(split);
        }
        let header = &unit.gimli.header;
        let offset = header.debug_info_offset().ok_or(missing)?;
        let mut from = *gimli::Section::reader(&own_dwarf.as_ref().unwrap_or(dwarf).debug_info);
        from.skip(offset.0)?;
        from.truncate(bytes)?;
        let mut bytes = Vec::new();
        from.read_whole(&mut bytes).map_err(|error| budget.explain(error.into()))?;
        let unit = Rc::new(Loaded {
            index,
            base: place.base,
            bytes,
            unit,
            own_dwarf,
            skeleton,
            files: RefCell::default(),
            cost: left.saturating_sub(self.budget.left()),
            _reserved: reserved,
        });
        self.kept.push(Rc::clone(&unit));
        Ok(unit)
    }

    /// What a unit's strings and addresses are looked up in.
    pub(super) fn dwarf<'d>(&self, unit: &'d Loaded<'a>) -> &'d Dwarf<'a>
    where
        'a: 'd,
    {
        unit.own_dwarf.as_ref().unwrap_or(self.dwarf)
    }

    /// Path of a source file of a unit, as it is shown; empty if not known.
    pub(super) fn file(&self, unit: &Loaded<'a>, index: u64) -> Result<Rc<str>, Failure> {
        let mut files = unit.files.borrow_mut();
        let files = &mut *files;
        if let Some(path) = files.known.get(&index) {
            return Ok(Rc::clone(path));
        }
        // Of a split unit too the lines are in the program itself.
        let lines = unit.skeleton.as_ref().unwrap_or(&unit.unit);
        if files.program.is_none() {
            files.program = Some(line_program(self.dwarf, lines, self.budget)?);
        }
        let Some(Some((program, _))) = &files.program else { return Ok(Rc::from("")) };
        let Some(path) = path_of(self.dwarf, &lines.gimli, program.header(), index)? else {
            return Ok(Rc::from(""));
        };
        let path = Rc::<str>::from(path);
        files.known.insert(index, Rc::clone(&path));
        Ok(path)
    }
}

impl<'a> Loaded<'a> {
    /// Of strings and addresses.
    pub(super) fn gimli(&self) -> &gimli::Unit<Bytes<'a>> {
        &self.unit.gimli
    }

    /// The entries from an offset on; from the root if `None`.
    pub(super) fn entries(&self, from: Option<u64>) -> Result<EntriesRaw<'_, Slice<'_>>, Failure> {
        let info = gimli::DebugInfo::new(&self.bytes, LittleEndian);
        let header = info.header_from_offset(DebugInfoOffset(0))?;
        let from = match from {
            Some(at) => Some(UnitOffset(self.offset(at)?)),
            None => None,
        };
        Ok(header.entries_raw(&self.unit.gimli.abbreviations, from)?)
    }

    fn offset(&self, at: u64) -> Result<usize, Failure> {
        let offset = at.checked_sub(self.base).and_then(|offset| usize::try_from(offset).ok());
        offset.ok_or(Failure::Damaged(gimli::Error::OffsetOutOfBounds(0)))
    }

    /// The number of the entry at an offset in this unit.
    pub(super) fn at(&self, offset: UnitOffset) -> u64 {
        self.base.saturating_add(offset.0 as u64)
    }

    /// The number of the entry that an attribute refers to.
    pub(super) fn reference(&self, value: &Value<'_>) -> Option<u64> {
        match value {
            AttributeValue::UnitRef(offset) => Some(self.at(*offset)),
            AttributeValue::DebugInfoRef(offset) if self.own_dwarf.is_none() => {
                Some(offset.0 as u64)
            }
            _ => None,
        }
    }
}

/// The number of a source file in an attribute.
pub(super) fn file_index(value: &Value<'_>) -> u64 {
    match value {
        AttributeValue::FileIndex(index) => *index,
        value => value.udata_value().unwrap_or(0),
    }
}
