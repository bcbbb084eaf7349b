//! One type's entry, read as a whole.

use std::collections::HashMap;
use std::rc::Rc;

use gimli::constants as dw;
use gimli::{Abbreviation, DwTag, EntriesRaw};

use super::scan;
use super::strings::Strings;
use super::units::{Loaded, Slice, Units, Value, file_index};
use crate::lines::budget::{Budget, Failure};

/// So many entries are kept in case they are wanted again; then all are
/// forgotten.
const KEPT_ENTRIES: usize = 2048;

/// A type.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number.
    pub(super) at: u64,
    /// The unit that it is in.
    pub(super) unit: usize,
    pub(super) tag: DwTag,
    /// Without the modules around it.
    pub(super) name: Rc<str>,
    /// Of a function: its symbol.
    pub(super) symbol: Rc<str>,
    pub(super) bytes: Option<u64>,
    /// What it points to, or consists of.
    pub(super) ty: Option<u64>,
    /// Of a vtable's type: the type that the vtable is of.
    pub(super) containing: Option<u64>,
    pub(super) members: Vec<Member>,
    /// Generic parameters.
    pub(super) parameters: Vec<(Rc<str>, u64)>,
    pub(super) variants: Option<Variants>,
    /// Elements of an array.
    pub(super) count: Option<u64>,
}

/// A field.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) at: u64,
    pub(super) name: Rc<str>,
    pub(super) ty: u64,
    pub(super) offset: u64,
    /// Number of its source file in the unit.
    pub(super) file: u64,
    pub(super) line: u64,
}

/// What an enum or a coroutine may be.
#[derive(Debug)]
pub(super) struct Variants {
    /// The entry of the discriminant.
    discriminant: Option<u64>,
    fields: Vec<Member>,
    /// Values, and the one field of each, which is a struct.
    pub(super) list: Vec<(Value128, Member)>,
}

/// The value of a discriminant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value128 {
    /// Any that no other variant has.
    Other,
    /// This one; in two's complement if negative.
    Is(u64),
    /// It does not fit into 64 bits.
    Unknown,
}

impl Variants {
    /// The field that tells which variant is there.
    pub(super) fn tag(&self) -> Option<&Member> {
        let wanted = self.discriminant?;
        self.fields.iter().find(|field| field.at == wanted)
    }
}

impl Entry {
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| &*member.name == name)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<u64> {
        self.parameters.iter().find(|(there, _)| &**there == name).map(|(_, ty)| *ty)
    }
}

/// Reads entries by their number.
pub(super) struct Entries<'a> {
    pub(super) units: Units<'a>,
    pub(super) strings: Strings<'a>,
    known: HashMap<u64, Rc<Entry>>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(units: Units<'a>, strings: Strings<'a>) -> Self {
        Entries { units, strings, known: HashMap::new() }
    }

    pub(super) fn budget(&self) -> &'a Budget<'a> {
        self.units.budget()
    }

    /// Reads an entry; `None` if the debug information is damaged there.
    pub(super) fn get(&mut self, at: u64) -> Result<Option<Rc<Entry>>, Failure> {
        if let Some(entry) = self.known.get(&at) {
            return Ok(Some(Rc::clone(entry)));
        }
        let Some(index) = self.units.holding(at) else { return Ok(None) };
        let unit = self.units.load(index)?;
        let entry = match read(&self.units, &mut self.strings, &unit, at) {
            Ok(entry) => Rc::new(entry),
            Err(Failure::Damaged(_)) => {
                self.budget().check()?;
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        if self.known.len() >= KEPT_ENTRIES {
            self.known.clear();
        }
        self.known.insert(at, Rc::clone(&entry));
        Ok(Some(entry))
    }

    /// The full path of an entry.
    pub(super) fn full_name(&mut self, entry: &Entry) -> Result<String, Failure> {
        let unit = self.units.load(entry.unit)?;
        let namespaces = match self.units.namespaces(entry.unit) {
            Some(namespaces) => namespaces,
            None => {
                let found = scan::namespaces(&self.units, &mut self.strings, &unit)?;
                self.units.keep_namespaces(entry.unit, found);
                self.units.namespaces(entry.unit).unwrap_or_default()
            }
        };
        let offset = u32::try_from(entry.at - unit.at(gimli::UnitOffset(0))).unwrap_or(u32::MAX);
        let mut around = namespaces.partition_point(|space| space.start <= offset).checked_sub(1);
        let mut parts = vec![&*entry.name];
        while let Some(space) = around.and_then(|index| namespaces.get(index)) {
            // The last one before it may have ended: those around it may not.
            if offset < space.end {
                parts.push(self.strings.get(space.name));
            }
            around = space.parent.map(|parent| parent as usize);
        }
        parts.reverse();
        Ok(parts.join("::"))
    }
}

/// What is read of an entry before its children.
#[derive(Default)]
struct Attributes<'b> {
    name: Option<Value<'b>>,
    symbol: Option<Value<'b>>,
    bytes: Option<u64>,
    ty: Option<u64>,
    containing: Option<u64>,
    offset: u64,
    file: u64,
    line: u64,
    discriminant: Option<u64>,
    value: Option<Value128>,
    count: Option<u64>,
}

fn attributes<'b>(
    entries: &mut EntriesRaw<'_, Slice<'b>>,
    abbreviation: &Abbreviation,
    unit: &Loaded<'_>,
) -> gimli::Result<Attributes<'b>> {
    let mut out = Attributes::default();
    for spec in abbreviation.attributes() {
        let attribute = entries.read_attribute(*spec)?;
        let value = attribute.value();
        match attribute.name() {
            dw::DW_AT_name => out.name = Some(value),
            dw::DW_AT_linkage_name => out.symbol = Some(value),
            dw::DW_AT_byte_size => out.bytes = value.udata_value(),
            dw::DW_AT_type => out.ty = unit.reference(&value),
            dw::DW_AT_containing_type => out.containing = unit.reference(&value),
            dw::DW_AT_data_member_location => out.offset = value.udata_value().unwrap_or(0),
            dw::DW_AT_decl_file => out.file = file_index(&value),
            dw::DW_AT_decl_line => out.line = value.udata_value().unwrap_or(0),
            dw::DW_AT_discr => out.discriminant = unit.reference(&value),
            dw::DW_AT_discr_value => {
                let value = value.udata_value().or(value.sdata_value().map(|value| value as u64));
                out.value = Some(value.map_or(Value128::Unknown, Value128::Is));
            }
            dw::DW_AT_count => out.count = value.udata_value(),
            dw::DW_AT_upper_bound => {
                out.count = value.udata_value().and_then(|last| last.checked_add(1));
            }
            _ => {}
        }
    }
    Ok(out)
}

fn read<'a>(
    units: &Units<'a>,
    strings: &mut Strings<'a>,
    unit: &Loaded<'a>,
    at: u64,
) -> Result<Entry, Failure> {
    let budget = units.budget();
    let mut text = |name: &Option<Value<'_>>| -> Result<Rc<str>, Failure> {
        let Some(name) = name else { return Ok(Rc::from("")) };
        let text = strings.read(units.dwarf(unit), unit.gimli(), name)?;
        Ok(Rc::clone(strings.get(text)))
    };
    let mut entries = unit.entries(Some(at))?;
    let abbreviation = entries.read_abbreviation()?.ok_or(gimli::Error::MissingUnitDie)?;
    let own = attributes(&mut entries, abbreviation, unit)?;
    let mut entry = Entry {
        at,
        unit: unit.index,
        tag: abbreviation.tag(),
        name: text(&own.name)?,
        symbol: text(&own.symbol)?,
        bytes: own.bytes,
        ty: own.ty,
        containing: own.containing,
        members: Vec::new(),
        parameters: Vec::new(),
        variants: None,
        count: None,
    };
    if !abbreviation.has_children() {
        return Ok(entry);
    }
    // What each depth below the entry is in: methods and types are passed over.
    let (mut in_variants, mut in_variant) = (false, false);
    let mut value = Value128::Other;
    while !entries.is_empty() {
        budget.step()?;
        let (depth, offset) = (entries.next_depth(), entries.next_offset());
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        if depth <= 0 {
            break;
        }
        in_variants &= depth > 1;
        in_variant &= in_variants && depth > 2;
        let is_wanted = matches!(
            (abbreviation.tag(), depth),
            (dw::DW_TAG_member | dw::DW_TAG_template_type_parameter, 1)
                | (dw::DW_TAG_subrange_type | dw::DW_TAG_variant_part, 1)
        ) || (in_variants && depth == 2)
            || (in_variant && depth == 3);
        if !is_wanted {
            budget.steps(abbreviation.attributes().len())?;
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let child = attributes(&mut entries, abbreviation, unit)?;
        let mut member = || -> Result<Option<Member>, Failure> {
            let Some(ty) = child.ty else { return Ok(None) };
            Ok(Some(Member {
                at: unit.at(offset),
                name: text(&child.name)?,
                ty,
                offset: child.offset,
                file: child.file,
                line: child.line,
            }))
        };
        match (abbreviation.tag(), depth) {
            (dw::DW_TAG_member, 1) => entry.members.extend(member()?),
            (dw::DW_TAG_template_type_parameter, 1) => {
                if let Some(ty) = child.ty {
                    entry.parameters.push((text(&child.name)?, ty));
                }
            }
            (dw::DW_TAG_subrange_type, 1) => entry.count = child.count,
            (dw::DW_TAG_variant_part, 1) => {
                in_variants = true;
                let discriminant = child.discriminant;
                entry.variants = Some(Variants { discriminant, fields: vec![], list: vec![] });
            }
            (dw::DW_TAG_member, 2) => {
                if let (Some(member), Some(variants)) = (member()?, &mut entry.variants) {
                    variants.fields.push(member);
                }
            }
            (dw::DW_TAG_variant, 2) => {
                in_variant = true;
                value = child.value.unwrap_or(Value128::Other);
            }
            (dw::DW_TAG_member, 3) => {
                if let (Some(member), Some(variants)) = (member()?, &mut entry.variants) {
                    variants.list.push((value, member));
                }
            }
            _ => {}
        }
    }
    Ok(entry)
}
