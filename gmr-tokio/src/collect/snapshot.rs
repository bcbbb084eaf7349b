//! The double collect: what makes a tree that was read from a running program one
//! that was true.
//!
//! 1. The first collect: of up to [`MAX_BATCH`] tasks, one after the other, all bytes are
//!    read and kept from which a tree is decoded: header, id, the whole stage, and what
//!    was used of the heap.
//! 2. The second: the kernel copies the same ranges again, those of a task in this
//!    order: header to stage, heap, header.
//! 3. A task is accepted, by itself, if all of its bytes are the same, its vtable and
//!    list are, and it is neither being polled nor complete in both headers of the second
//!    collect.
//!
//! Why this is right: every byte of a batch is read for the first time before any is read
//! for the second time; pages that were copied for an earlier task of the batch are
//! only older. A byte that is equal both times had, up to going to another value and
//! back, that value all the time between its two reads. All these spans contain the
//! moment between the two collects, so that all of the bytes were there together, then. It
//! does not depend on who changes them: also what another task polls (`Shared`) is
//! covered. Batching makes the span longer, never wrong: more tasks will have
//! changed in it, and these are read again, alone.
//!
//! The whole stage is compared, and whole boxed futures, also what was not used: a future that was polled and is
//! back at the same `.await` has changed something, as a rule. That makes going to
//! another value and back unlikely, not impossible.
//!
//! x86_64: loads of the kernel's copy are not reordered with each other.

use gmr_core::hosted::memory::{self, Range};
use gmr_std::await_table::format::Entries;

use crate::memory::{Memory, Pages, ReadError, is_possible};
use crate::walk::{Level, MAX_LEVELS};

/// Tasks that are read twice together: one call for all, and some 100 us between.
pub(super) const MAX_BATCH: usize = 64;

/// Ranges and bytes that are kept of one task. More are those of hundreds of boxed
/// futures within each other.
const MAX_TASK_RANGES: usize = 1024;
const MAX_TASK_BYTES: usize = 128 << 10;

/// A cell that is larger than this is compared as far as it is used: tokio
/// boxes what is larger than 16 KiB.
pub(super) const MAX_WHOLE_BYTES: u32 = 64 << 10;

const MAX_RANGES: usize = 8 * MAX_TASK_RANGES;
const MAX_BYTES: usize = 8 * MAX_TASK_BYTES;
const MAX_BATCH_LEVELS: usize = MAX_BATCH * MAX_LEVELS / 2;

/// What must be the same of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// All of it.
    Whole,
    /// It begins with a task's header. Its state may change but for what matters; id
    /// and stage, from the offset on, may not.
    Cell { id_offset: u32, from: u32 },
}

/// A range that was read, and where its bytes are kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    at: u32,
    compared: Compared,
}

/// One task of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) task: u32,
    pub(super) stage: Stage,
    /// The state's word in the second collect; of no meaning for what is no task.
    pub(super) state: u64,
    is_equal: bool,
    ranges: u32,
    ranges_end: u32,
    levels: u32,
    levels_end: u32,
}

/// What the first collect says of a future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is there.
    Running,
    /// It has ended, and its output is there or was taken.
    Ended,
}

/// The bits of a task's state.
pub(super) mod bit {
    pub(crate) const RUNNING: u64 = 1;
    pub(crate) const COMPLETE: u64 = 2;
    pub(crate) const NOTIFIED: u64 = 4;
    pub(crate) const CANCELLED: u64 = 32;
    /// How far the count of references is shifted.
    pub(crate) const REFERENCES: u32 = 6;
}

/// Some tasks that are read twice together.
#[derive(Debug)]
pub(super) struct Batch {
    pending: heapless::Vec<Pending, MAX_BATCH>,
    ranges: Vec<Range>,
    kept: Vec<Kept>,
    first: Vec<u8>,
    used: usize,
    second: Vec<u8>,
    levels: Vec<Level>,
    /// Where the task that is being read begins.
    start: usize,
    start_bytes: usize,
    calls: u64,
}

impl Batch {
    pub(super) fn new() -> Self {
        Batch {
            pending: heapless::Vec::new(),
            ranges: Vec::with_capacity(MAX_RANGES),
            kept: Vec::with_capacity(MAX_RANGES),
            first: vec![0; MAX_BYTES],
            used: 0,
            second: vec![0; MAX_BYTES],
            levels: Vec::with_capacity(MAX_BATCH_LEVELS),
            start: 0,
            start_bytes: 0,
            calls: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
        self.ranges.clear();
        self.kept.clear();
        self.levels.clear();
        self.used = 0;
        self.start = 0;
        self.start_bytes = 0;
    }

    /// A word of the first range of the task that was begun.
    pub(super) fn begun_word(&self, offset: u32) -> Option<u64> {
        word(&self.first, self.start_bytes.checked_add(offset as usize)?)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How often the kernel was asked.
    #[cfg(test)]
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether any further task can be taken, whatever it is.
    pub(super) fn has_room(&self) -> bool {
        !self.pending.is_full()
            && self.ranges.len().saturating_add(MAX_TASK_RANGES) <= MAX_RANGES
            && self.used.saturating_add(MAX_TASK_BYTES) <= MAX_BYTES
            && self.levels.len().saturating_add(MAX_LEVELS) <= MAX_BATCH_LEVELS
    }

    /// Begins with a task: what is read through the [`Recorder`] from now on is its.
    pub(super) fn begin(&mut self) {
        self.start = self.ranges.len();
        self.start_bytes = self.used;
    }

    /// Gives up the task that was begun.
    pub(super) fn abandon(&mut self) {
        self.ranges.truncate(self.start);
        self.kept.truncate(self.start);
        self.used = self.start_bytes;
    }

    /// Takes the task that was begun; there is [room](Self::has_room).
    pub(super) fn finish(&mut self, task: u32, stage: Stage, levels: &[Level]) {
        let first = self.levels.len();
        if first.saturating_add(levels.len()) > MAX_BATCH_LEVELS {
            return self.abandon();
        }
        self.levels.extend_from_slice(levels);
        let pending = Pending {
            task,
            stage,
            state: 0,
            is_equal: false,
            ranges: self.start as u32,
            ranges_end: self.ranges.len() as u32,
            levels: first as u32,
            levels_end: self.levels.len() as u32,
        };
        if self.pending.push(pending).is_err() {
            self.abandon();
        }
    }

    pub(super) fn pending(&self, index: usize) -> Option<Pending> {
        self.pending.get(index).copied()
    }

    pub(super) fn levels_of(&self, pending: &Pending) -> &[Level] {
        self.levels.get(pending.levels as usize..pending.levels_end as usize).unwrap_or_default()
    }

    pub(super) fn is_accepted(pending: &Pending) -> bool {
        pending.is_equal
    }

    /// Reads a range and keeps it.
    fn keep(
        &mut self,
        pages: &mut Pages,
        address: u64,
        bytes: usize,
        compared: Compared,
    ) -> Result<&[u8], ReadError> {
        let end = self.used.saturating_add(bytes);
        let is_too_much = self.ranges.len().saturating_sub(self.start) >= MAX_TASK_RANGES
            || end.saturating_sub(self.start_bytes) > MAX_TASK_BYTES
            || self.ranges.len() >= MAX_RANGES;
        if is_too_much {
            return Err(ReadError::TooMuch);
        }
        let at = self.used;
        let place = self.first.get_mut(at..end).ok_or(ReadError::TooMuch)?;
        pages.read(address, place)?;
        self.ranges.push(Range { address, bytes: bytes as u64 });
        self.kept.push(Kept { at: at as u32, compared });
        self.used = end;
        Ok(place)
    }

    /// A task's cell from its header to the end of `bytes`; all from `from` on must
    /// stay, if that is before the end.
    pub(super) fn keep_cell(
        &mut self,
        pages: &mut Pages,
        address: u64,
        bytes: u32,
        id_offset: u32,
        from: u32,
    ) -> Result<(), ReadError> {
        self.keep(pages, address, bytes as usize, Compared::Cell { id_offset, from }).map(|_| ())
    }

    /// All of a range.
    pub(super) fn keep_whole(
        &mut self,
        pages: &mut Pages,
        address: u64,
        bytes: u32,
    ) -> Result<(), ReadError> {
        self.keep(pages, address, bytes as usize, Compared::Whole).map(|_| ())
    }

    /// The second collect. Says of each task whether it is as it was.
    pub(super) fn read_again(&mut self, entries: &Entries) {
        let mut next = 0_usize;
        while next < self.ranges.len() {
            let part = self.ranges.get(next..).unwrap_or_default();
            let at = self.kept.get(next).map_or(0, |kept| kept.at as usize);
            let Some(buffer) = self.second.get_mut(at..) else { break };
            self.calls = self.calls.wrapping_add(1);
            let copied = memory::read_ranges(part, buffer).unwrap_or(0) as u64;
            let asked = part.len().min(memory::MAX_RANGES);
            let came = whole(part, copied).min(asked);
            next = next.wrapping_add(came);
            if came == asked {
                continue;
            }
            // The range at `next` is not there any more: on with the task behind its own.
            let at = next as u32;
            let Some(gone) = self.pending.iter_mut().find(|task| task.ranges_end > at) else {
                break;
            };
            next = gone.ranges_end as usize;
            // It has nothing to be compared.
            gone.ranges = gone.ranges_end;
        }
        for index in 0..self.pending.len() {
            let Some(task) = self.pending.get(index) else { break };
            let (is_equal, state) = (self.compare(task, entries), self.state_of(task, entries));
            if let Some(pending) = self.pending.get_mut(index) {
                pending.is_equal = is_equal;
                pending.state = state;
            }
        }
    }

    /// The state's word, as the second collect found it.
    fn state_of(&self, task: &Pending, entries: &Entries) -> u64 {
        let at = self.kept.get(task.ranges as usize).map_or(usize::MAX, |kept| kept.at as usize);
        word(&self.second, at.saturating_add(entries.state_offset as usize)).unwrap_or(0)
    }

    fn compare(&self, task: &Pending, entries: &Entries) -> bool {
        let range = task.ranges as usize..task.ranges_end as usize;
        let (Some(ranges), Some(kept)) = (self.ranges.get(range.clone()), self.kept.get(range))
        else {
            return false;
        };
        !ranges.is_empty()
            && ranges.iter().zip(kept).all(|(range, kept)| {
                let at = kept.at as usize;
                let place = at..at.saturating_add(range.bytes as usize);
                match (self.first.get(place.clone()), self.second.get(place)) {
                    (Some(one), Some(two)) => is_same(one, two, kept.compared, entries),
                    _ => false,
                }
            })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// How many of the ranges `copied` bytes are.
fn whole(ranges: &[Range], mut copied: u64) -> usize {
    let mut whole = 0_usize;
    for range in ranges {
        match copied.checked_sub(range.bytes) {
            Some(left) => copied = left,
            None => break,
        }
        whole = whole.wrapping_add(1);
    }
    whole
}

fn is_same(one: &[u8], two: &[u8], compared: Compared, entries: &Entries) -> bool {
    let Compared::Cell { id_offset, from } = compared else { return one == two };
    let word = |bytes: &[u8], offset: u32| word(bytes, offset as usize);
    let is_kept =
        |offset: u32| word(one, offset).is_some() && word(one, offset) == word(two, offset);
    let is_idle = word(two, entries.state_offset)
        .is_some_and(|state| state & (bit::RUNNING | bit::COMPLETE) == 0);
    let from = (from as usize).min(one.len());
    is_idle
        && is_kept(entries.vtable_offset)
        && is_kept(entries.owner_offset)
        && is_kept(id_offset)
        && one.get(from..) == two.get(from..)
}

/// A boxed future up to this size is kept whole, like the stage; of a larger one only
/// what is used.
const MAX_BOX_BYTES: u32 = 4096;

/// Room for one more box, and for the header in the end.
const SPARE_BYTES: usize = 8192;

/// Reads for the task that was begun, and keeps all of it.
pub(super) struct Recorder<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) pages: &'a mut Pages,
}

impl Memory for Recorder<'_> {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if !is_possible(address, buffer.len()) {
            return Err(ReadError::Unreadable);
        }
        if self.has_kept(address, buffer) {
            return Ok(());
        }
        if !self.has_room() {
            return Err(ReadError::TooMuch);
        }
        let bytes = self.batch.keep(self.pages, address, buffer.len(), Compared::Whole)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn expect(&mut self, address: u64, bytes: u32) {
        let is_wanted = (9..=MAX_BOX_BYTES).contains(&bytes)
            && is_possible(address, bytes as usize)
            && self.has_room()
            && !self.has_kept(address, &mut [0]);
        if is_wanted {
            // What cannot be read is said when it is read.
            let _ = self.batch.keep_whole(self.pages, address, bytes);
        }
    }
}

impl Recorder<'_> {
    /// Whether the header can be kept once more in the end.
    fn has_room(&self) -> bool {
        let count = self.batch.ranges.len().saturating_sub(self.batch.start);
        let bytes = self.batch.used.saturating_sub(self.batch.start_bytes);
        count < MAX_TASK_RANGES - 1 && bytes < MAX_TASK_BYTES - SPARE_BYTES
    }

    /// Fills `buffer` from what is kept already, which must not be read anew: it could
    /// differ.
    fn has_kept(&self, address: u64, buffer: &mut [u8]) -> bool {
        let start = self.batch.start;
        let ranges = self.batch.ranges.get(start..).unwrap_or_default();
        let kept = self.batch.kept.get(start..).unwrap_or_default();
        for (range, kept) in ranges.iter().zip(kept) {
            let within = address.wrapping_sub(range.address);
            let is_compared = match kept.compared {
                Compared::Whole => true,
                Compared::Cell { from, .. } => within >= u64::from(from),
            };
            let end = within.checked_add(buffer.len() as u64);
            if !is_compared || end.is_none_or(|end| end > range.bytes) {
                continue;
            }
            let at = (kept.at as usize).saturating_add(within as usize);
            if let Some(bytes) = self.batch.first.get(at..at.saturating_add(buffer.len())) {
                buffer.copy_from_slice(bytes);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(unsafe_code, reason = "memory that can be taken away")]

    use core::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const ENTRIES: Entries = Entries {
        state_offset: 0,
        vtable_offset: 16,
        owner_offset: 24,
        vtable_poll: 0,
        vtable_trailer: 0,
        vtable_scheduler: 0,
        vtable_id: 0,
        previous_in_trailer: 0,
        next_in_trailer: 0,
        handle_tag_offset: 0,
        handle_tag_bytes: 0,
        handle_tag_current: 0,
        handle_arc_offset: 0,
        local_context_offset: 0,
        local_shared_offset: 0,
    };

    /// A cell: state, queue, vtable, owner, scheduler, id, stage of four words.
    struct Cell([AtomicU64; 10]);

    impl Cell {
        fn new(state: u64) -> Box<Self> {
            let cell = Box::new(Cell([const { AtomicU64::new(7) }; 10]));
            cell.0[0].store(state, Ordering::Relaxed);
            cell
        }

        fn address(&self) -> u64 {
            self.0.as_ptr() as u64
        }
    }

    /// The first collect of a task with this cell, and with `heap`.
    fn first_collect(batch: &mut Batch, pages: &mut Pages, cell: u64, heap: &[u64]) {
        batch.begin();
        batch.keep_cell(pages, cell, 80, 40, 48).unwrap();
        let mut recorder = Recorder { batch, pages };
        for address in heap {
            recorder.word(*address).unwrap();
        }
        batch.keep_cell(pages, cell, 32, 16, 32).unwrap();
        batch.finish(0, Stage::Running, &[]);
    }

    fn accepted(batch: &Batch) -> Vec<bool> {
        batch.pending.iter().map(Batch::is_accepted).collect()
    }

    #[test]
    fn of_a_batch_the_tasks_are_accepted_that_have_not_changed() {
        let cells: Vec<_> = (0..10).map(|_| Cell::new(64)).collect();
        let heap = AtomicU64::new(1);
        let (mut batch, mut pages) = (Batch::new(), Pages::new());
        for cell in &cells {
            let used = if core::ptr::eq(cell, &cells[9]) {
                heap.as_ptr() as u64
            } else {
                cell.address() + 48
            };
            first_collect(&mut batch, &mut pages, cell.address(), &[used]);
        }
        let set = |cell: usize, word: usize, value| {
            cells[cell].0[word].store(value, Ordering::Relaxed);
        };
        // What must stay: vtable, owner, id, the whole stage; and it must be idle.
        set(1, 2, 8);
        set(2, 3, 8);
        set(3, 5, 8);
        set(4, 9, 8);
        set(5, 0, 64 | bit::RUNNING);
        set(6, 0, 64 | bit::COMPLETE);
        // What may change: the queue's link, the scheduler's word, references and a
        // wake-up.
        set(7, 1, 8);
        set(7, 4, 8);
        set(8, 0, 128 | bit::NOTIFIED);
        heap.store(2, Ordering::Relaxed);
        batch.read_again(&ENTRIES);
        let t = true;
        let f = false;
        assert_eq!(accepted(&batch), [t, f, f, f, f, f, f, t, t, f]);
        assert_eq!(batch.pending(8).unwrap().state, 128 | bit::NOTIFIED);
        assert_eq!(batch.calls(), 1);
    }

    #[test]
    fn a_task_whose_memory_is_gone_takes_no_other_with_it() {
        // SAFETY: a new mapping.
        let page = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                8192,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        let page = page as u64;
        let cells: Vec<_> = (0..3).map(|_| Cell::new(64)).collect();
        let (mut batch, mut pages) = (Batch::new(), Pages::new());
        first_collect(&mut batch, &mut pages, cells[0].address(), &[]);
        first_collect(&mut batch, &mut pages, cells[1].address(), &[page + 4000, page + 4100]);
        first_collect(&mut batch, &mut pages, page, &[]);
        first_collect(&mut batch, &mut pages, cells[2].address(), &[]);
        // SAFETY: the mapping from above, which nothing refers to.
        assert_eq!(unsafe { libc::munmap(page as *mut libc::c_void, 4096) }, 0);
        batch.read_again(&ENTRIES);
        assert_eq!(accepted(&batch), [true, false, false, true]);
        // SAFETY: its second half.
        unsafe { libc::munmap((page + 4096) as *mut libc::c_void, 4096) };
    }

    #[test]
    fn more_ranges_than_one_call_takes_are_read_by_several() {
        let words: Vec<AtomicU64> = (0..4000).map(AtomicU64::new).collect();
        let addresses: Vec<u64> = words.iter().map(|word| word.as_ptr() as u64).collect();
        let cells: Vec<_> = (0..4).map(|_| Cell::new(64)).collect();
        let (mut batch, mut pages) = (Batch::new(), Pages::new());
        for (cell, heap) in cells.iter().zip(addresses.chunks(1000)) {
            first_collect(&mut batch, &mut pages, cell.address(), heap);
        }
        words[2999].store(0, Ordering::Relaxed);
        batch.read_again(&ENTRIES);
        assert_eq!(accepted(&batch), [true, true, false, true]);
        assert_eq!(batch.calls(), 4);
    }

    #[test]
    fn one_task_takes_no_more_than_its_share() {
        let words: Vec<AtomicU64> = (0..4000).map(AtomicU64::new).collect();
        let cell = Cell::new(64);
        let (mut batch, mut pages) = (Batch::new(), Pages::new());
        batch.begin();
        batch.keep_cell(&mut pages, cell.address(), 80, 40, 48).unwrap();
        let mut recorder = Recorder { batch: &mut batch, pages: &mut pages };
        let kept = words.iter().map_while(|word| recorder.word(word.as_ptr() as u64).ok());
        assert_eq!(kept.count(), MAX_TASK_RANGES - 2);
        assert_eq!(recorder.word(words[3999].as_ptr() as u64), Err(ReadError::TooMuch));
        // What is kept is still there, and so is the room for the last header.
        assert_eq!(recorder.word(words[5].as_ptr() as u64), Ok(5));
        batch.keep_cell(&mut pages, cell.address(), 32, 16, 32).unwrap();
        batch.finish(0, Stage::Running, &[]);
        batch.read_again(&ENTRIES);
        assert_eq!(accepted(&batch), [true]);
        // The header's bytes are not compared, and tell nothing.
        batch.clear();
        batch.begin();
        batch.keep_cell(&mut pages, cell.address(), 80, 40, 48).unwrap();
        let before = batch.ranges.len();
        let mut recorder = Recorder { batch: &mut batch, pages: &mut pages };
        recorder.word(cell.address()).unwrap();
        assert_eq!(batch.ranges.len(), before + 1);
        batch.abandon();
        assert_eq!((batch.ranges.len(), batch.used), (0, 0));
    }

    #[test]
    fn what_is_expected_is_kept_whole() {
        let words: Vec<AtomicU64> = (0..1000).map(AtomicU64::new).collect();
        let at = |word: usize| words[word].as_ptr() as u64;
        let (mut batch, mut pages) = (Batch::new(), Pages::new());
        batch.begin();
        let mut recorder = Recorder { batch: &mut batch, pages: &mut pages };
        recorder.expect(at(10), 80);
        // Known already, too large, nowhere.
        recorder.expect(at(10), 80);
        recorder.expect(at(100), MAX_BOX_BYTES + 1);
        recorder.expect(8, 80);
        assert_eq!((recorder.word(at(10)), recorder.word(at(19))), (Ok(10), Ok(19)));
        assert_eq!(recorder.batch.ranges.len(), 1);
        assert_eq!(recorder.word(at(20)), Ok(20));
        batch.finish(0, Stage::Running, &[]);
        words[15].store(0, Ordering::Relaxed);
        batch.read_again(&ENTRIES);
        assert_eq!(accepted(&batch), [false]);
    }

    #[test]
    fn what_is_kept_is_not_read_anew() {
        let word = AtomicU64::new(5);
        let (mut batch, mut pages) = (Batch::new(), Pages::new());
        batch.begin();
        let mut recorder = Recorder { batch: &mut batch, pages: &mut pages };
        assert_eq!(recorder.word(word.as_ptr() as u64), Ok(5));
        word.store(6, Ordering::Relaxed);
        recorder.pages.forget();
        assert_eq!(recorder.word(word.as_ptr() as u64), Ok(5));
        assert_eq!(batch.ranges.len(), 1);
    }
}
