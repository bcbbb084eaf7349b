//! A section's content as a recorded stream of events.
//!
//! 1. [`BlobBuilder`] writes each event as a tag byte and its fields: numbers
//!    little-endian, text and bytes as a 32-bit length and the bytes;
//! 2. [`Blob::replay`] reads them back and emits them.
//!
//! Replaying is signal-safe: it reads immutable memory, bounds-checked,
//! borrows all text from there, and neither allocates, locks nor panics. Bytes
//! that no builder wrote (stray writes of a sick process) end the section as
//! failed, with what was open closed.
//!
//! A table's columns are written once, with its head; each row that follows has
//! only its values, [`MAX_COLUMNS`] at most.
//!
//! Only the events and values that a configuration or an ordinary section needs
//! are encoded; the builder leaves others out.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use gmr_core::model::{Column, Event, MAX_COLUMNS, Timestamp, Value};
use gmr_core::section::{SectionError, SectionResult, SectionWriter};

const EVENT_CLOSE: u8 = 0;
const EVENT_VALUE: u8 = 1;
const EVENT_ITEM: u8 = 2;
const EVENT_GROUP: u8 = 3;
const EVENT_GROUP_ITEM: u8 = 4;
const EVENT_LIST: u8 = 5;
const EVENT_LIST_ITEM: u8 = 6;
const EVENT_TEXT: u8 = 7;
const EVENT_BLOCKS: u8 = 8;
const EVENT_TABLE_HEAD: u8 = 9;
const EVENT_ROW: u8 = 10;

const VALUE_NONE: u8 = 0;
const VALUE_FALSE: u8 = 1;
const VALUE_TRUE: u8 = 2;
const VALUE_U64: u8 = 3;
const VALUE_I64: u8 = 4;
const VALUE_NUMBER: u8 = 5;
const VALUE_TEXT: u8 = 6;
const VALUE_BYTES: u8 = 7;
const VALUE_REDACTED: u8 = 8;
/// Cut text of which the whole length is not known.
const VALUE_TRUNCATED: u8 = 9;
/// Cut text and its whole length.
const VALUE_TRUNCATED_OF: u8 = 10;
const VALUE_TIMESTAMP: u8 = 11;

/// Why a section ends that meets bytes of unknown meaning.
const CORRUPT: SectionError =
    SectionError::Failed("the recorded section is damaged: something wrote into its memory");

/// A recorded stream of events; never changes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    bytes: Box<[u8]>,
}

impl core::fmt::Debug for Blob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Blob").field("len_bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Blob {
    /// Emits the events.
    ///
    /// # Errors
    ///
    /// [`SectionError::Stopped`] if `out` said so, [`SectionError::Failed`] if
    /// the bytes are damaged.
    ///
    /// # Signal safety
    ///
    /// Safe: no allocation, no lock, no panic, bounded stack.
    pub(crate) fn replay(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        let mut reader = Reader { rest: &self.bytes };
        let mut table = Table::new();
        let mut open: usize = 0;
        while !reader.rest.is_empty() {
            let event = match reader.event(&mut table) {
                Some(Event::Close) if open == 0 => None,
                event => event,
            };
            let Some(event) = event else {
                for _ in 0..open {
                    out.event(&Event::Close)?;
                }
                return Err(CORRUPT);
            };
            match event {
                Event::Close => open = open.saturating_sub(1),
                Event::BeginGroup { .. } | Event::BeginList { .. } | Event::BeginBlocks { .. } => {
                    open = open.saturating_add(1);
                }
                _ => {}
            }
            out.event(&event)?;
        }
        // A builder closes what it opens.
        if open > 0 {
            for _ in 0..open {
                out.event(&Event::Close)?;
            }
            return Err(CORRUPT);
        }
        Ok(())
    }
}

/// What the events of a table borrow while they are read.
struct Table<'a> {
    columns: [Column<'a>; MAX_COLUMNS],
    column_count: usize,
    values: [Value<'a>; MAX_COLUMNS],
}

impl Table<'_> {
    fn new() -> Self {
        Table {
            columns: [Column::text("", 0); MAX_COLUMNS],
            column_count: 0,
            values: [Value::None; MAX_COLUMNS],
        }
    }
}

/// Reads what [`BlobBuilder`] wrote; `None` is damage.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn tag(&mut self) -> Option<u8> {
        self.array::<1>().map(|[tag]| tag)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(len).ok()?)
    }

    fn str(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    fn event<'t>(&mut self, table: &'t mut Table<'a>) -> Option<Event<'t>> {
        Some(match self.tag()? {
            EVENT_CLOSE => Event::Close,
            EVENT_VALUE => Event::Value { key: self.str()?, value: self.value()? },
            EVENT_ITEM => Event::Item { value: self.value()? },
            EVENT_GROUP => Event::BeginGroup { key: Some(self.str()?) },
            EVENT_GROUP_ITEM => Event::BeginGroup { key: None },
            EVENT_LIST => Event::BeginList { key: Some(self.str()?) },
            EVENT_LIST_ITEM => Event::BeginList { key: None },
            EVENT_TEXT => Event::Text(self.bytes()?),
            EVENT_BLOCKS => Event::BeginBlocks { key: self.str()? },
            EVENT_TABLE_HEAD => self.table_head(table)?,
            EVENT_ROW => self.row(table)?,
            _ => return None,
        })
    }

    fn table_head<'t>(&mut self, table: &'t mut Table<'a>) -> Option<Event<'t>> {
        let count = usize::from(self.tag()?);
        for column in table.columns.get_mut(..count)? {
            *column = Column {
                name: self.str()?,
                width: u16::from_le_bytes(self.array()?),
                is_right_aligned: self.tag()? != 0,
            };
        }
        table.column_count = count;
        Some(Event::TableHead { columns: table.columns.get(..count)? })
    }

    fn row<'t>(&mut self, table: &'t mut Table<'a>) -> Option<Event<'t>> {
        let count = usize::from(self.tag()?);
        for value in table.values.get_mut(..count)? {
            *value = self.value()?;
        }
        Some(Event::Row {
            columns: table.columns.get(..table.column_count)?,
            values: table.values.get(..count)?,
        })
    }

    fn value(&mut self) -> Option<Value<'a>> {
        Some(match self.tag()? {
            VALUE_NONE => Value::None,
            VALUE_FALSE => Value::Bool(false),
            VALUE_TRUE => Value::Bool(true),
            VALUE_U64 => Value::U64(u64::from_le_bytes(self.array()?)),
            VALUE_I64 => Value::I64(i64::from_le_bytes(self.array()?)),
            VALUE_NUMBER => Value::Number(self.str()?),
            VALUE_TEXT => Value::Text(self.str()?),
            VALUE_BYTES => Value::Bytes(self.bytes()?),
            VALUE_REDACTED => Value::Redacted,
            VALUE_TRUNCATED => Value::Truncated { text: self.bytes()?, full_len_bytes: None },
            VALUE_TRUNCATED_OF => Value::Truncated {
                text: self.bytes()?,
                full_len_bytes: Some(u64::from_le_bytes(self.array()?)),
            },
            VALUE_TIMESTAMP => Value::Timestamp(Timestamp {
                unix_seconds: i64::from_le_bytes(self.array()?),
                nanoseconds: u32::from_le_bytes(self.array()?),
            }),
            _ => return None,
        })
    }
}

/// Records events.
#[derive(Debug, Default)]
pub(crate) struct BlobBuilder {
    bytes: Vec<u8>,
}

impl BlobBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Records an event. One that no configuration has is left out.
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Close => self.bytes.push(EVENT_CLOSE),
            Event::Value { key, value } => {
                self.bytes.push(EVENT_VALUE);
                self.put(key.as_bytes());
                self.value(value);
            }
            Event::Item { value } => {
                self.bytes.push(EVENT_ITEM);
                self.value(value);
            }
            Event::BeginGroup { key } => self.begin(EVENT_GROUP, EVENT_GROUP_ITEM, *key),
            Event::BeginList { key } => self.begin(EVENT_LIST, EVENT_LIST_ITEM, *key),
            Event::Text(text) => {
                self.bytes.push(EVENT_TEXT);
                self.put(text);
            }
            Event::BeginBlocks { key } => {
                self.bytes.push(EVENT_BLOCKS);
                self.put(key.as_bytes());
            }
            Event::TableHead { columns } => {
                self.bytes.push(EVENT_TABLE_HEAD);
                for column in self.counted(columns) {
                    self.put(column.name.as_bytes());
                    self.bytes.extend_from_slice(&column.width.to_le_bytes());
                    self.bytes.push(u8::from(column.is_right_aligned));
                }
            }
            Event::Row { values, .. } => {
                self.bytes.push(EVENT_ROW);
                for value in self.counted(values) {
                    self.value(value);
                }
            }
            _ => debug_assert!(false, "no configuration has this event: {event:?}"),
        }
    }

    pub(crate) fn finish(self) -> Blob {
        Blob { bytes: self.bytes.into_boxed_slice() }
    }

    /// Records how many there are, and returns them: no more than are read.
    fn counted<'t, T>(&mut self, items: &'t [T]) -> &'t [T] {
        debug_assert!(items.len() <= MAX_COLUMNS, "a caller's to say what is left out");
        let items = items.get(..MAX_COLUMNS).unwrap_or(items);
        self.bytes.push(u8::try_from(items.len()).unwrap_or(0));
        items
    }

    fn begin(&mut self, keyed: u8, item: u8, key: Option<&str>) {
        match key {
            Some(key) => {
                self.bytes.push(keyed);
                self.put(key.as_bytes());
            }
            None => self.bytes.push(item),
        }
    }

    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::None => self.bytes.push(VALUE_NONE),
            Value::Bool(false) => self.bytes.push(VALUE_FALSE),
            Value::Bool(true) => self.bytes.push(VALUE_TRUE),
            Value::U64(number) => {
                self.bytes.push(VALUE_U64);
                self.bytes.extend_from_slice(&number.to_le_bytes());
            }
            Value::I64(number) => {
                self.bytes.push(VALUE_I64);
                self.bytes.extend_from_slice(&number.to_le_bytes());
            }
            Value::Number(text) => self.tagged(VALUE_NUMBER, text.as_bytes()),
            Value::Text(text) => self.tagged(VALUE_TEXT, text.as_bytes()),
            Value::Bytes(bytes) => self.tagged(VALUE_BYTES, bytes),
            Value::Truncated { text, full_len_bytes: None } => self.tagged(VALUE_TRUNCATED, text),
            Value::Truncated { text, full_len_bytes: Some(len) } => {
                self.tagged(VALUE_TRUNCATED_OF, text);
                self.bytes.extend_from_slice(&len.to_le_bytes());
            }
            Value::Timestamp(time) => {
                self.bytes.push(VALUE_TIMESTAMP);
                self.bytes.extend_from_slice(&time.unix_seconds.to_le_bytes());
                self.bytes.extend_from_slice(&time.nanoseconds.to_le_bytes());
            }
            Value::Redacted => self.bytes.push(VALUE_REDACTED),
            // Never shown rather than shown wrongly.
            _ => {
                debug_assert!(false, "no configuration has this value");
                self.bytes.push(VALUE_REDACTED);
            }
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.bytes.push(tag);
        self.put(bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        // The flattener's limits are far below 4 GiB.
        let len = u32::try_from(bytes.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&len.to_le_bytes());
        if len > 0 {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

#[cfg(all(test, not(loom)))]
impl Blob {
    /// A blob of any bytes, as damage would leave them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Blob { bytes: bytes.into() }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
