//! tokio's task vtables within the executable's data.
//!
//! A vtable is an unnamed constant: eleven words, among them the address of
//! `poll<T, S>` and the offsets of the trailer, the scheduler and the id in `Cell<T,
//! S>`. The table knows all four. They have been relocated when this runs, and never
//! change.
//!
//! Only the poll function counts: the others may be shared by several kinds of tasks,
//! where the linker merges what is equal.

use std::collections::HashMap;

use gmr_core::hosted::memory;
use gmr_std::await_table::format::{Entries, NONE};

use super::{Found, KindOfTask, LoadError, Segments};
use crate::memory::Memory;

/// Data of the executable that is looked at: far more than any has that is not
/// itself a store of data.
const MAX_BYTES: u64 = 256 << 20;

/// Read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A vtable's words, with room for later ones.
const VTABLE_BYTES: usize = 128;

/// No cell's trailer is farther behind its header.
const MAX_TRAILER_OFFSET: u64 = 1 << 24;

/// Scheduler and id lie before the stage.
const MAX_CORE_OFFSET: u64 = 512;

/// Addresses of vtables, in order, and the kind of task of each; [`NONE`]: several.
#[derive(Debug, Default)]
pub(crate) struct Vtables(Vec<(u64, u32)>);

impl Vtables {
    /// Looks through the executable's data.
    pub(super) fn find(
        kinds: &[Option<KindOfTask>],
        entries: &Entries,
        segments: &Segments,
        bias: u64,
        found: &mut Found,
    ) -> Result<Self, LoadError> {
        let mut polls: HashMap<u64, Vec<u32>> = HashMap::new();
        for (kind, number) in kinds.iter().zip(0_u32..) {
            if let Some(kind) = kind {
                polls.entry(kind.poll_svma.wrapping_add(bias)).or_default().push(number);
            }
        }
        let lowest = polls.keys().copied().min().unwrap_or(0);
        let highest = polls.keys().copied().max().unwrap_or(0);
        let mut vtables = Vec::new();
        let mut look = |base: u64, bytes: &[u8], at: usize| {
            // Most words are no address of code at all.
            let poll = word(bytes, at).filter(|poll| lowest <= *poll && *poll <= highest);
            let Some(numbers) = poll.and_then(|poll| polls.get(&poll)) else { return };
            let Some(start) = at.checked_sub(entries.vtable_poll as usize) else { return };
            let has = |offset: u32, value: u32| {
                word(bytes, start.saturating_add(offset as usize)) == Some(u64::from(value))
            };
            let mut fitting = numbers.iter().copied().filter(|number| {
                kinds.get(*number as usize).and_then(Option::as_ref).is_some_and(|kind| {
                    has(entries.vtable_trailer, kind.trailer_offset)
                        && has(entries.vtable_scheduler, kind.scheduler_offset)
                        && has(entries.vtable_id, kind.id_offset)
                })
            });
            if let Some(first) = fitting.next() {
                let of = |number: u32| kinds.get(number as usize);
                // The debug information may have one several times.
                let is_one = fitting.all(|other| of(other) == of(first));
                let kind = if is_one { first } else { NONE };
                vtables.push((base.wrapping_add(start as u64), kind));
            }
        };
        let mut left = MAX_BYTES;
        for (start, end) in &segments.data {
            let bytes = end.saturating_sub(*start);
            let part = bytes.min(left);
            left = left.saturating_sub(part);
            found.bytes_left_out = found.bytes_left_out.saturating_add(bytes - part);
            scan(*start, start.saturating_add(part), &mut look).map_err(LoadError::NoMemory)?;
        }
        vtables.sort_unstable();
        vtables.dedup_by_key(|vtable| vtable.0);
        found.ambiguous = vtables.iter().filter(|(_, kind)| *kind == NONE).count() as u32;
        found.vtables = vtables.len() as u32 - found.ambiguous;
        Ok(Vtables(vtables))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kind of task with that vtable, [`NONE`] if it could be of several.
    pub(super) fn kind_of(&self, vtable: u64) -> Option<u32> {
        let index = self.0.binary_search_by_key(&vtable, |vtable| vtable.0).ok()?;
        self.0.get(index).map(|vtable| vtable.1)
    }
}

/// Calls `look` with each aligned word of a segment: the bytes around it, where they
/// begin, and where in them it is. What cannot be read is left out.
fn scan(start: u64, end: u64, look: &mut dyn FnMut(u64, &[u8], usize)) -> Result<(), i32> {
    let mut buffer = vec![0; CHUNK_BYTES + 2 * VTABLE_BYTES];
    let mut at = start.next_multiple_of(8);
    while at < end {
        // Some bytes on both sides, so that every vtable is whole in one of the chunks.
        let base = at.saturating_sub(VTABLE_BYTES as u64).max(start.next_multiple_of(8));
        let before = (at - base) as usize;
        let wanted = (before + CHUNK_BYTES + VTABLE_BYTES).min((end - base) as usize);
        let Some(buffer) = buffer.get_mut(..wanted) else { break };
        let copied = memory::read(base, buffer)?;
        let bytes = buffer.get(..copied).unwrap_or_default();
        for word in (before..copied.min(before + CHUNK_BYTES)).step_by(8) {
            look(base, bytes, word);
        }
        at += CHUNK_BYTES as u64;
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// A task whose vtable the table does not have: a type that was compiled without
/// debug information.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unknown {
    pub(crate) scheduler_offset: u32,
    pub(crate) id_offset: u32,
    pub(crate) previous_offset: u32,
    pub(crate) next_offset: u32,
}

impl Unknown {
    /// Believes a vtable that is in the executable's data, whose poll function is in its
    /// code, and whose offsets are those of a task.
    pub(super) fn read(
        vtable: u64,
        entries: &Entries,
        segments: &Segments,
        memory: &mut dyn Memory,
    ) -> Option<Self> {
        if !vtable.is_multiple_of(8) || !segments.is_data(vtable, VTABLE_BYTES as u64) {
            return None;
        }
        let mut at = |offset: u32| memory.word(vtable.wrapping_add(u64::from(offset))).ok();
        let poll = at(entries.vtable_poll)?;
        let trailer = at(entries.vtable_trailer)?;
        let scheduler = at(entries.vtable_scheduler)?;
        let id = at(entries.vtable_id)?;
        let is_task = segments.is_code(poll)
            && trailer < MAX_TRAILER_OFFSET
            && scheduler < MAX_CORE_OFFSET
            && id < MAX_CORE_OFFSET;
        let trailer = u32::try_from(trailer).ok().filter(|_| is_task)?;
        Some(Unknown {
            scheduler_offset: scheduler as u32,
            id_offset: id as u32,
            previous_offset: trailer.checked_add(entries.previous_in_trailer)?,
            next_offset: trailer.checked_add(entries.next_in_trailer)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Direct;

    const CODE: u64 = 0x1000_0000;

    const ENTRIES: Entries = Entries {
        state_offset: 0,
        vtable_offset: 16,
        owner_offset: 24,
        vtable_poll: 0,
        vtable_trailer: 56,
        vtable_scheduler: 64,
        vtable_id: 72,
        previous_in_trailer: 0,
        next_in_trailer: 8,
        handle_tag_offset: 0,
        handle_tag_bytes: 0,
        handle_tag_current: 0,
        handle_arc_offset: 0,
        local_context_offset: NONE,
        local_shared_offset: 0,
    };

    fn kind(poll_svma: u64, trailer_offset: u32) -> Option<KindOfTask> {
        Some(KindOfTask {
            future: 0,
            scheduler: 0,
            scheduler_offset: 32,
            id_offset: 40,
            stage_offset: 48,
            stage_bytes: 8,
            tag_offset: 48,
            tag_bytes: 4,
            tag_running: 0,
            future_offset: 56,
            trailer_offset,
            previous_offset: 0,
            next_offset: 8,
            cell_bytes: 4096,
            poll_svma,
        })
    }

    /// Puts a vtable at a word.
    fn put(words: &mut [u64], at: usize, poll: u64, trailer: u64) {
        for (offset, word) in [(0, poll), (7, trailer), (8, 32), (9, 40)] {
            words[at + offset] = word;
        }
    }

    fn find(words: &[u64], kinds: &[Option<KindOfTask>]) -> (Vec<(u64, u32)>, Found) {
        let start = words.as_ptr() as u64;
        let data = vec![(start, start + words.len() as u64 * 8)];
        let segments = Segments { code: vec![(CODE, CODE + 0x1000)], data };
        let mut found = Found::default();
        let vtables = Vtables::find(kinds, &ENTRIES, &segments, CODE, &mut found).unwrap();
        let relative = |(at, kind): &(u64, u32)| ((at - start) / 8, *kind);
        (vtables.0.iter().map(relative).collect(), found)
    }

    #[test]
    fn vtables_are_found_wherever_they_lie() {
        let chunk = CHUNK_BYTES / 8;
        let mut words = vec![0; 2 * chunk + 100];
        let places = [0, 20, chunk - 11, chunk + 1, 2 * chunk - 5, 2 * chunk + 90];
        for at in places {
            put(&mut words, at, CODE + 0x20, 64);
        }
        let (found, counts) = find(&words, &[None, kind(0x20, 64)]);
        let expected: Vec<(u64, u32)> = places.iter().map(|at| (*at as u64, 1)).collect();
        assert_eq!((found, counts.vtables, counts.bytes_left_out), (expected, 6, 0));
    }

    #[test]
    fn the_offsets_have_to_agree_and_tell_what_has_the_same_code() {
        let mut words = vec![0; 100];
        put(&mut words, 0, CODE + 0x20, 64);
        put(&mut words, 20, CODE + 0x20, 80);
        put(&mut words, 40, CODE + 0x20, 96);
        put(&mut words, 60, CODE + 0x30, 64);
        let other = kind(0x20, 80).map(|kind| KindOfTask { future: 1, ..kind });
        let kinds = [kind(0x20, 64), kind(0x20, 80), other, kind(0x20, 64)];
        let (found, counts) = find(&words, &kinds);
        assert_eq!(found, [(0, 0), (20, NONE)]);
        assert_eq!((counts.vtables, counts.ambiguous), (1, 1));
    }

    #[test]
    fn a_vtable_of_an_unknown_type_has_to_look_like_one() {
        let mut words = vec![0; 64];
        let start = words.as_ptr() as u64;
        let segments =
            Segments { code: vec![(CODE, CODE + 0x1000)], data: vec![(start, start + 64 * 8)] };
        put(&mut words, 8, CODE + 0x500, 640);
        let at = |word: u64, segments: &Segments| {
            Unknown::read(start + word * 8, &ENTRIES, segments, &mut Direct)
        };
        let known = at(8, &segments).unwrap();
        assert_eq!((known.scheduler_offset, known.id_offset), (32, 40));
        assert_eq!((known.previous_offset, known.next_offset), (640, 648));
        // Elsewhere; not wholly in the data; not in the data at all.
        assert!(at(9, &segments).is_none());
        let less = Segments { data: vec![(start, start + 17 * 8)], ..segments.clone() };
        assert!(at(8, &less).is_none());
        assert!(at(8, &Segments { data: Vec::new(), ..segments.clone() }).is_none());
        for (word, value) in [(8, CODE - 8), (15, 1 << 24), (16, 512), (17, 512)] {
            let before = std::mem::replace(&mut words[word], value);
            assert!(at(8, &segments).is_none(), "{word}");
            words[word] = before;
        }
        assert!(at(8, &segments).is_some());
    }
}
