//! Names in debug information, each read from the file once.
//!
//! A linker keeps equal strings once, so an offset into the section of strings
//! is as good as the string itself: what was read is found by it again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use gimli::{AttributeValue, DwarfFileType};

use super::units::Slice;
use crate::lines::budget::{Budget, Failure, Reserved};
use crate::lines::bytes::Bytes;
use crate::lines::unit::Dwarf;

/// The longest name that is read, in bytes. Types of deeply nested futures have
/// names of some ten thousand.
const MAX_NAME_BYTES: usize = 64 * 1024;

/// The memory of a kept name, besides its bytes.
const NAME_COST: u64 = 96;

/// A kept name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text(u32);

/// All names that were read.
pub(super) struct Strings<'a> {
    texts: Vec<Rc<str>>,
    known: HashMap<u64, Text, BuildHasherDefault<OffsetHasher>>,
    reserved: Reserved<'a>,
}

impl<'a> Strings<'a> {
    /// None yet but the empty one.
    pub(super) fn new(budget: &'a Budget<'a>) -> Result<Self, Failure> {
        let texts = vec![Rc::from("")];
        Ok(Strings { texts, known: HashMap::default(), reserved: budget.reserve(0)? })
    }

    /// The text of an attribute of `unit`; empty if it has none.
    pub(super) fn read(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &gimli::Unit<Bytes<'a>>,
        value: &AttributeValue<Slice<'_>>,
    ) -> Result<Text, Failure> {
        let section = match dwarf.file_type {
            DwarfFileType::Main => 0,
            DwarfFileType::Dwo => 1,
        };
        let (section, offset, bytes) = match *value {
            AttributeValue::String(text) => return self.keep(text.slice()),
            AttributeValue::DebugStrRef(offset) => (section, offset.0, None),
            AttributeValue::DebugStrOffsetsIndex(index) => {
                (section, dwarf.string_offset(unit, index)?.0, None)
            }
            AttributeValue::DebugLineStrRef(offset) => {
                (2, offset.0, Some(dwarf.line_string(offset)?))
            }
            _ => return Ok(Text(0)),
        };
        let key = (offset as u64) << 2 | section;
        if let Some(text) = self.known.get(&key) {
            return Ok(*text);
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => dwarf.string(gimli::DebugStrOffset(offset))?,
        };
        let text = self.keep(&bytes.prefix(MAX_NAME_BYTES)?)?;
        self.known.insert(key, text);
        Ok(text)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<Text, Failure> {
        let bytes = bytes.get(..MAX_NAME_BYTES).unwrap_or(bytes);
        self.reserved.grow(bytes.len() as u64 + NAME_COST)?;
        let text = Text(u32::try_from(self.texts.len()).map_err(|_| Failure::OverBudget)?);
        self.texts.push(Rc::from(&*String::from_utf8_lossy(bytes)));
        Ok(text)
    }

    pub(super) fn get(&self, text: Text) -> &Rc<str> {
        // A text is made by `keep` alone.
        &self.texts[text.0 as usize]
    }
}

/// Spreads offsets: one multiplication instead of SipHash, in a pass over a
/// million of them. What a file makes collide costs its own time only, and
/// there is a deadline.
#[derive(Default)]
pub(super) struct OffsetHasher(u64);

impl Hasher for OffsetHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, offset: u64) {
        let mixed = (self.0 ^ offset).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ mixed >> 32;
    }
}
