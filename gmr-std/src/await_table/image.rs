//! Reads and writes the await table's image; [`format`](super::format) has its
//! records.
//!
//! [`AwaitTable`] is safe on any bytes: an index that leads nowhere is `None`,
//! never a panic, and nothing is allocated: the supervisor reads with it.
//! [`Writer`] makes an image, on an ordinary thread.

use super::format::{
    Entries, Field, Kind, MAGIC, MAX_BYTES, NONE, Scheduler, SchedulerKind, State, StateKind, Task,
    Type, VERSION, Variant, Vtable,
};

const HEAD_WORDS: usize = 40;
const HEAD_BYTES: usize = HEAD_WORDS * 4;
const BUILD_ID_BYTES: usize = 32;

/// Words of the head.
const AT_VERSION: usize = 2;
const AT_LENGTH: usize = 3;
const AT_CHECKSUM: usize = 4;
const AT_BUILD_ID_LENGTH: usize = 6;
const AT_BUILD_ID: usize = 7;
const AT_ARRAYS: usize = AT_BUILD_ID + BUILD_ID_BYTES / 4;
const AT_TEXTS: usize = AT_ARRAYS + 2 * ARRAYS;
const AT_NOTES: usize = AT_TEXTS + 2;

/// The arrays, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Array {
    Types,
    Fields,
    Variants,
    States,
    Vtables,
    Tasks,
    Schedulers,
    Entries,
}

const ARRAYS: usize = 8;

/// Words of a record of each.
const WORDS: [usize; ARRAYS] = [8, 2, 6, 8, 3, 24, 12, 16];

/// Why bytes are no await table of this executable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// They do not begin like one.
    NotATable,
    /// Made by another version of this crate.
    Version {
        /// Its version.
        found: u32,
    },
    /// Cut off, or changed since.
    Damaged,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refused::NotATable => write!(f, "not an await table (`gmr await-table` makes one)"),
            Refused::Version { found } => write!(
                f,
                "an await table of version {found}, where {VERSION} is needed; \
                 make it anew with this version of `gmr await-table`"
            ),
            Refused::Damaged => {
                write!(f, "an await table that is cut off or damaged; make it anew")
            }
        }
    }
}

impl core::error::Error for Refused {}

/// FNV-1a, 64 bits: against accidents, not against attackers.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let at = index.checked_mul(4)?;
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// One record's words.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn at(self, index: usize) -> u32 {
        word(self.0, index).unwrap_or(0)
    }

    fn long(self, index: usize) -> u64 {
        u64::from(self.at(index)) | u64::from(self.at(index + 1)) << 32
    }
}

/// An image, to be read.
#[derive(Debug, Clone, Copy)]
pub struct AwaitTable<'a> {
    bytes: &'a [u8],
}

impl<'a> AwaitTable<'a> {
    /// Checks the head and the checksum.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Refused> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Refused::NotATable);
        }
        let head = |index| word(bytes, index).ok_or(Refused::Damaged);
        let version = head(AT_VERSION)?;
        if version != VERSION {
            return Err(Refused::Version { found: version });
        }
        let length = head(AT_LENGTH)? as usize;
        if !(HEAD_BYTES..=MAX_BYTES).contains(&length) {
            return Err(Refused::Damaged);
        }
        // A section may be padded.
        let bytes = bytes.get(..length).ok_or(Refused::Damaged)?;
        let table = AwaitTable { bytes };
        let sum = u64::from(head(AT_CHECKSUM)?) | u64::from(head(AT_CHECKSUM + 1)?) << 32;
        let covered = bytes.get((AT_CHECKSUM + 2) * 4..).ok_or(Refused::Damaged)?;
        if checksum(covered) != sum {
            return Err(Refused::Damaged);
        }
        Ok(table)
    }

    /// Without any check: for fuzzing.
    #[must_use]
    pub fn unchecked(bytes: &'a [u8]) -> Self {
        AwaitTable { bytes }
    }

    /// The whole image.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Build-id of the executable it was made from; empty: it has none.
    #[must_use]
    pub fn build_id(&self) -> &'a [u8] {
        let length = word(self.bytes, AT_BUILD_ID_LENGTH).unwrap_or(0) as usize;
        let at = AT_BUILD_ID * 4;
        self.bytes.get(at..at.saturating_add(length.min(BUILD_ID_BYTES))).unwrap_or_default()
    }

    /// What the builder did not find, in words; empty: it found everything.
    #[must_use]
    pub fn notes(&self) -> &'a str {
        word(self.bytes, AT_NOTES).and_then(|at| self.text(at)).unwrap_or_default()
    }

    fn array(&self, array: Array) -> (usize, u32) {
        let at = AT_ARRAYS + 2 * array as usize;
        let offset = word(self.bytes, at).unwrap_or(0) as usize;
        (offset, word(self.bytes, at + 1).unwrap_or(0))
    }

    fn record(&self, array: Array, index: u32) -> Option<Record<'a>> {
        let (offset, count) = self.array(array);
        if index >= count {
            return None;
        }
        let bytes = WORDS[array as usize] * 4;
        let at = offset.checked_add((index as usize).checked_mul(bytes)?)?;
        self.bytes.get(at..at.checked_add(bytes)?).map(Record)
    }

    fn text(&self, offset: u32) -> Option<&'a str> {
        if offset == NONE {
            return Some("");
        }
        let at = (word(self.bytes, AT_TEXTS)? as usize).checked_add(offset as usize)?;
        let length = self.bytes.get(at..at.checked_add(4)?)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let at = at.checked_add(4)?;
        core::str::from_utf8(self.bytes.get(at..at.checked_add(length)?)?).ok()
    }

    fn name(&self, offset: u32) -> &'a str {
        self.text(offset).unwrap_or("?")
    }

    /// How many types there are.
    #[must_use]
    pub fn type_count(&self) -> u32 {
        self.array(Array::Types).1
    }

    /// A type.
    #[must_use]
    pub fn ty(&self, index: u32) -> Option<Type<&'a str>> {
        let record = self.record(Array::Types, index)?;
        let at = |index| record.at(index);
        Some(Type {
            name: self.name(at(0)),
            size: at(1),
            kind: Kind::of(at(2), [at(3), at(4), at(5), at(6)])?,
            flags: at(7),
        })
    }

    /// A field.
    #[must_use]
    pub fn field(&self, index: u32) -> Option<Field> {
        let record = self.record(Array::Fields, index)?;
        Some(Field { offset: record.at(0), ty: record.at(1) })
    }

    /// A variant.
    #[must_use]
    pub fn variant(&self, index: u32) -> Option<Variant<&'a str>> {
        let record = self.record(Array::Variants, index)?;
        Some(Variant {
            value: (record.at(2) != 0).then(|| record.long(0)),
            first: record.at(3),
            count: record.at(4),
            name: self.name(record.at(5)),
        })
    }

    /// A state.
    #[must_use]
    pub fn state(&self, index: u32) -> Option<State<&'a str>> {
        let record = self.record(Array::States, index)?;
        Some(State {
            value: record.at(0),
            kind: match record.at(1) {
                0 => StateKind::Unresumed,
                1 => StateKind::Returned,
                2 => StateKind::Panicked,
                3 => StateKind::Suspended,
                _ => return None,
            },
            file: self.name(record.at(2)),
            line: record.at(3),
            awaitee: (record.at(5) != NONE)
                .then(|| Field { offset: record.at(4), ty: record.at(5) }),
            is_in_macro: record.at(6) != 0,
        })
    }

    /// The type that a vtable belongs to.
    #[must_use]
    pub fn type_of_vtable(&self, svma: u64) -> Option<u32> {
        let (mut low, mut high) = (0, self.array(Array::Vtables).1);
        while low < high {
            let middle = low + (high - low) / 2;
            let vtable = self.vtable(middle)?;
            match vtable.svma.cmp(&svma) {
                core::cmp::Ordering::Equal => return Some(vtable.ty),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// How many vtables there are.
    #[must_use]
    pub fn vtable_count(&self) -> u32 {
        self.array(Array::Vtables).1
    }

    /// A vtable; they are sorted by address.
    #[must_use]
    pub fn vtable(&self, index: u32) -> Option<Vtable> {
        let record = self.record(Array::Vtables, index)?;
        Some(Vtable { svma: record.long(0), ty: record.at(2) })
    }

    /// How many kinds of tasks there are.
    #[must_use]
    pub fn task_count(&self) -> u32 {
        self.array(Array::Tasks).1
    }

    /// A kind of task.
    #[must_use]
    pub fn task(&self, index: u32) -> Option<Task<&'a str>> {
        let record = self.record(Array::Tasks, index)?;
        let at = |index| record.at(index);
        Some(Task {
            poll_svma: record.long(0),
            future: at(2),
            scheduler: at(3),
            scheduler_offset: at(4),
            id_offset: at(5),
            stage_offset: at(6),
            stage_bytes: at(7),
            tag_offset: at(8),
            tag_bytes: at(9),
            tag_running: record.long(10),
            future_offset: at(12),
            trailer_offset: at(13),
            previous_offset: at(14),
            next_offset: at(15),
            cell_bytes: at(16),
            file: self.name(at(17)),
            line: at(18),
        })
    }

    /// How many kinds of schedulers there are.
    #[must_use]
    pub fn scheduler_count(&self) -> u32 {
        self.array(Array::Schedulers).1
    }

    /// A kind of scheduler.
    #[must_use]
    pub fn scheduler(&self, index: u32) -> Option<Scheduler<&'a str>> {
        let record = self.record(Array::Schedulers, index)?;
        let at = |index| record.at(index);
        Some(Scheduler {
            name: self.name(at(0)),
            kind: match at(1) {
                0 => SchedulerKind::MultiThread,
                1 => SchedulerKind::CurrentThread,
                2 => SchedulerKind::Local,
                3 => SchedulerKind::Blocking,
                _ => SchedulerKind::Other,
            },
            id_offset: at(2),
            shards_offset: at(3),
            shard_count_offset: at(4),
            shard_bytes: at(5),
            list_offset: at(6),
            head_offset: at(7),
            tail_offset: at(8),
            count_offset: at(9),
            mask_offset: at(10),
        })
    }

    /// The layouts that all tasks share; `None`: there is no tokio in it.
    #[must_use]
    pub fn entries(&self) -> Option<Entries> {
        let record = self.record(Array::Entries, 0)?;
        let at = |index| record.at(index);
        Some(Entries {
            state_offset: at(0),
            vtable_offset: at(1),
            owner_offset: at(2),
            vtable_poll: at(3),
            vtable_trailer: at(4),
            vtable_scheduler: at(5),
            vtable_id: at(6),
            previous_in_trailer: at(7),
            next_in_trailer: at(8),
            handle_tag_offset: at(9),
            handle_tag_bytes: at(10),
            handle_tag_current: at(11),
            handle_arc_offset: at(12),
            local_context_offset: at(13),
            local_shared_offset: at(14),
        })
    }
}

/// A text in a [`Writer`]; only the writer that made it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextId(u32);

impl TextId {
    /// No text.
    pub const EMPTY: Self = TextId(NONE);
}

/// Makes an image. Records are numbered in the order in which they are added.
#[derive(Debug, Default)]
pub struct Writer {
    arrays: [Vec<u8>; ARRAYS],
    texts: Vec<u8>,
    known: std::collections::HashMap<String, TextId>,
    vtables: Vec<Vtable>,
}

impl Writer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Writer::default()
    }

    /// Keeps a text, once.
    pub fn text(&mut self, text: &str) -> TextId {
        if text.is_empty() {
            return TextId::EMPTY;
        }
        if let Some(id) = self.known.get(text) {
            return *id;
        }
        let id = TextId(self.texts.len() as u32);
        self.texts.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.texts.extend_from_slice(text.as_bytes());
        self.known.insert(text.to_owned(), id);
        id
    }

    /// Adds a record, and returns its number.
    fn push(&mut self, array: Array, words: &[u32]) -> u32 {
        let size = WORDS[array as usize];
        debug_assert!(words.len() <= size);
        let bytes = &mut self.arrays[array as usize];
        let number = bytes.len() / (size * 4);
        for index in 0..size {
            bytes.extend_from_slice(&words.get(index).copied().unwrap_or(0).to_le_bytes());
        }
        number as u32
    }

    /// Adds a type.
    pub fn ty(&mut self, ty: &Type<TextId>) -> u32 {
        let (kind, [a, b, c, d]) = ty.kind.words();
        self.push(Array::Types, &[ty.name.0, ty.size, kind, a, b, c, d, ty.flags])
    }

    /// Adds a field. Those of one type follow each other.
    pub fn field(&mut self, field: &Field) -> u32 {
        self.push(Array::Fields, &[field.offset, field.ty])
    }

    /// The number that the next field gets.
    #[must_use]
    pub fn next_field(&self) -> u32 {
        (self.arrays[Array::Fields as usize].len() / (WORDS[Array::Fields as usize] * 4)) as u32
    }

    /// Adds a variant. Those of one type follow each other.
    pub fn variant(&mut self, variant: &Variant<TextId>) -> u32 {
        let (low, high) = halves(variant.value.unwrap_or(0));
        let has_value = u32::from(variant.value.is_some());
        self.push(
            Array::Variants,
            &[low, high, has_value, variant.first, variant.count, variant.name.0],
        )
    }

    /// Adds a state. Those of one type follow each other.
    pub fn state(&mut self, state: &State<TextId>) -> u32 {
        let awaitee = state.awaitee.unwrap_or(Field { offset: 0, ty: NONE });
        self.push(
            Array::States,
            &[
                state.value,
                match state.kind {
                    StateKind::Unresumed => 0,
                    StateKind::Returned => 1,
                    StateKind::Panicked => 2,
                    StateKind::Suspended => 3,
                },
                state.file.0,
                state.line,
                awaitee.offset,
                awaitee.ty,
                u32::from(state.is_in_macro),
            ],
        )
    }

    /// Adds a vtable, in any order.
    pub fn vtable(&mut self, vtable: Vtable) {
        self.vtables.push(vtable);
    }

    /// Adds a kind of task.
    pub fn task(&mut self, task: &Task<TextId>) -> u32 {
        let (poll_low, poll_high) = halves(task.poll_svma);
        let (running_low, running_high) = halves(task.tag_running);
        self.push(
            Array::Tasks,
            &[
                poll_low,
                poll_high,
                task.future,
                task.scheduler,
                task.scheduler_offset,
                task.id_offset,
                task.stage_offset,
                task.stage_bytes,
                task.tag_offset,
                task.tag_bytes,
                running_low,
                running_high,
                task.future_offset,
                task.trailer_offset,
                task.previous_offset,
                task.next_offset,
                task.cell_bytes,
                task.file.0,
                task.line,
            ],
        )
    }

    /// Adds a kind of scheduler.
    pub fn scheduler(&mut self, scheduler: &Scheduler<TextId>) -> u32 {
        self.push(
            Array::Schedulers,
            &[
                scheduler.name.0,
                match scheduler.kind {
                    SchedulerKind::MultiThread => 0,
                    SchedulerKind::CurrentThread => 1,
                    SchedulerKind::Local => 2,
                    SchedulerKind::Blocking => 3,
                    SchedulerKind::Other => 4,
                },
                scheduler.id_offset,
                scheduler.shards_offset,
                scheduler.shard_count_offset,
                scheduler.shard_bytes,
                scheduler.list_offset,
                scheduler.head_offset,
                scheduler.tail_offset,
                scheduler.count_offset,
                scheduler.mask_offset,
            ],
        )
    }

    /// Sets the layouts that all tasks share, once.
    pub fn entries(&mut self, entries: &Entries) {
        self.push(
            Array::Entries,
            &[
                entries.state_offset,
                entries.vtable_offset,
                entries.owner_offset,
                entries.vtable_poll,
                entries.vtable_trailer,
                entries.vtable_scheduler,
                entries.vtable_id,
                entries.previous_in_trailer,
                entries.next_in_trailer,
                entries.handle_tag_offset,
                entries.handle_tag_bytes,
                entries.handle_tag_current,
                entries.handle_arc_offset,
                entries.local_context_offset,
                entries.local_shared_offset,
            ],
        );
    }

    /// The image, for the executable with that build-id. `notes` say what was not
    /// found.
    #[must_use]
    pub fn finish(mut self, build_id: &[u8], notes: &str) -> Vec<u8> {
        let notes = self.text(notes);
        let mut vtables = std::mem::take(&mut self.vtables);
        vtables.sort_by_key(|vtable| vtable.svma);
        vtables.dedup_by_key(|vtable| vtable.svma);
        for Vtable { svma, ty } in vtables {
            let (low, high) = halves(svma);
            self.push(Array::Vtables, &[low, high, ty]);
        }
        let mut head = [0_u32; HEAD_WORDS];
        let mut body = Vec::new();
        for (array, bytes) in self.arrays.iter().enumerate() {
            head[AT_ARRAYS + 2 * array] = (HEAD_BYTES + body.len()) as u32;
            head[AT_ARRAYS + 2 * array + 1] = (bytes.len() / (WORDS[array] * 4)) as u32;
            body.extend_from_slice(bytes);
        }
        head[AT_TEXTS] = (HEAD_BYTES + body.len()) as u32;
        body.extend_from_slice(&self.texts);
        head[AT_NOTES] = notes.0;
        head[AT_VERSION] = VERSION;
        head[AT_LENGTH] = (HEAD_BYTES + body.len()) as u32;
        head[AT_BUILD_ID_LENGTH] = build_id.len().min(BUILD_ID_BYTES) as u32;
        for (word, bytes) in head[AT_BUILD_ID..AT_ARRAYS].iter_mut().zip(build_id.chunks(4)) {
            let mut four = [0; 4];
            four[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_le_bytes(four);
        }
        let mut image: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        image[..MAGIC.len()].copy_from_slice(&MAGIC);
        image.extend_from_slice(&body);
        let sum = checksum(&image[(AT_CHECKSUM + 2) * 4..]);
        image[AT_CHECKSUM * 4..(AT_CHECKSUM + 2) * 4].copy_from_slice(&sum.to_le_bytes());
        image
    }
}

fn halves(long: u64) -> (u32, u32) {
    (long as u32, (long >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::await_table::format::type_flag;

    fn image() -> Vec<u8> {
        let mut writer = Writer::new();
        let name = writer.text("heat::db::query");
        let file = writer.text("src/db.rs");
        let awaitee = Some(Field { offset: 8, ty: 1 });
        let state = State {
            value: 3,
            kind: StateKind::Suspended,
            file,
            line: 88,
            awaitee,
            is_in_macro: false,
        };
        let first = writer.state(&state);
        let kind = Kind::Coroutine { first, count: 1, tag_offset: 0, tag_bytes: 1 };
        writer.ty(&Type { name, size: 40, kind, flags: 0 });
        let leaf = writer.text("tokio::time::Sleep");
        let flags = type_flag::LEAF;
        writer.ty(&Type { name: leaf, size: 16, kind: Kind::Opaque, flags });
        for (svma, ty) in [(0x30, 1), (0x10, 0), (0x20, 1)] {
            writer.vtable(Vtable { svma, ty });
        }
        writer.finish(&[1, 2, 3, 4, 5], "debug = 1")
    }

    #[test]
    fn what_is_written_is_read() {
        let image = image();
        let table = AwaitTable::new(&image).unwrap();
        assert_eq!((table.build_id(), table.notes()), (&[1, 2, 3, 4, 5][..], "debug = 1"));
        let ty = table.ty(0).unwrap();
        assert_eq!((ty.name, ty.size, ty.flags), ("heat::db::query", 40, 0));
        let Kind::Coroutine { first, count: 1, .. } = ty.kind else { panic!("{ty:?}") };
        let state = table.state(first).unwrap();
        assert_eq!((state.file, state.line, state.value), ("src/db.rs", 88, 3));
        assert_eq!(state.awaitee, Some(Field { offset: 8, ty: 1 }));
        assert_eq!(table.type_of_vtable(0x20), Some(1));
        assert_eq!(table.type_of_vtable(0x10), Some(0));
        assert_eq!(table.type_of_vtable(0x11), None);
        assert!(table.entries().is_none() && table.ty(2).is_none());
    }

    #[test]
    fn what_is_cut_or_changed_is_refused() {
        let image = image();
        for length in 0..image.len() {
            assert!(AwaitTable::new(&image[..length]).is_err(), "{length}");
        }
        for at in 0..image.len() {
            let mut image = image.clone();
            image[at] ^= 0x40;
            assert!(AwaitTable::new(&image).is_err(), "{at}");
        }
        let mut padded = image.clone();
        padded.extend([0; 5]);
        assert_eq!(AwaitTable::new(&padded).unwrap().bytes(), &image[..]);
    }

    /// Follows everything in a table that nobody has checked.
    fn read_all(table: &AwaitTable<'_>) -> usize {
        const MOST: u32 = 64;
        let mut read = table.notes().len() + table.build_id().len();
        for index in 0..table.type_count().min(MOST) {
            let Some(ty) = table.ty(index) else { continue };
            read += ty.name.len();
            let (first, count) = match ty.kind {
                Kind::Struct { first, count }
                | Kind::Coroutine { first, count, .. }
                | Kind::Enum { first, count, .. } => (first, count),
                _ => (index, 1),
            };
            for at in (0..count.min(MOST)).map(|at| first.saturating_add(at)) {
                read += usize::from(table.field(at).is_some());
                read += table.state(at).map_or(0, |state| state.file.len());
                read += table.variant(at).map_or(0, |variant| variant.name.len());
            }
        }
        for index in (0..table.vtable_count().min(MOST)).chain([u32::MAX]) {
            let svma = table.vtable(index).map_or(0, |vtable| vtable.svma);
            read += table.type_of_vtable(svma).map_or(0, |_| 1);
        }
        for index in 0..table.task_count().min(MOST) {
            read += table.task(index).map_or(0, |task| task.file.len());
        }
        for index in 0..table.scheduler_count().min(MOST) {
            read += table.scheduler(index).map_or(0, |scheduler| scheduler.name.len());
        }
        read + usize::from(table.entries().is_some())
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        ) {
            assert!(AwaitTable::new(&bytes).is_err());
            read_all(&AwaitTable::unchecked(&bytes));
        }

        #[test]
        fn a_changed_image_is_read_without_a_panic(
            changes in proptest::collection::vec((0_usize..200, proptest::num::u32::ANY), 1..20),
        ) {
            let mut image = image();
            let whole = read_all(&AwaitTable::unchecked(&image));
            assert!(whole > 50, "{whole}");
            for (word, value) in changes {
                let at = word * 4 % (image.len() - 4);
                image[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            read_all(&AwaitTable::unchecked(&image));
        }
    }
}
