//! One small record for each task of a report, found by the task's id.
//!
//! The memory is made once, for as many tasks as the program allows, and is resident
//! only as far as it was ever used. Nothing grows: a task too many is not taken.

use gmr_core::model::TaskState;
use gmr_std::await_table::format::NONE;

/// Of [`Record::root`]: it is in no list.
pub(crate) const NO_ROOT: u8 = u8::MAX;

/// A task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// tokio's id, or the key of a future that is in no list.
    pub(crate) id: u64,
    /// Of its header, or of the future.
    pub(crate) address: u64,
    /// The next one with the same tree; [`NONE`]: the last.
    pub(crate) next_in_group: u32,
    /// [`NONE`]: none.
    pub(crate) group: u32,
    /// The one that was met before it in its list; [`NONE`]: none.
    pub(crate) below: u32,
    /// Kind of task, or type of the future; [`NONE`]: not known.
    pub(crate) kind: u32,
    /// References to it.
    pub(crate) refs: u32,
    pub(crate) root: u8,
    pub(crate) state: TaskState,
    pub(crate) flags: u8,
}

const _: () = assert!(size_of::<Record>() <= 40, "a hundred thousand of them take 4 MB");

/// Flags of a [`Record`].
pub(crate) mod flag {
    /// It was aborted, and has not ended yet.
    pub(crate) const CANCELLED: u8 = 1;
    /// It is one of those that lead to where the walk along its list is.
    pub(crate) const ON_TRAIL: u8 = 2;
    /// It has ended while it was looked at, and does not count.
    pub(crate) const GONE: u8 = 4;
}

/// All records of a report.
#[derive(Debug)]
pub(crate) struct Tasks {
    records: Vec<Record>,
    max: usize,
    /// Open addressing: a record's number plus one, 0 for none. Only the first
    /// `mask + 1` are in use.
    slots: Vec<u32>,
    mask: usize,
}

/// Slots that a report begins with.
const MIN_SLOTS: usize = 1024;

impl Tasks {
    pub(super) fn new(max: usize) -> Self {
        // The numbers have to fit.
        let max = max.clamp(1, 1 << 26);
        let slots = max.saturating_mul(2).next_power_of_two().max(MIN_SLOTS);
        Tasks {
            records: Vec::with_capacity(max),
            max,
            // From zeroed pages that no one has touched.
            slots: vec![0; slots],
            mask: MIN_SLOTS - 1,
        }
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.mask = MIN_SLOTS.wrapping_sub(1);
        self.clear_slots();
    }

    fn clear_slots(&mut self) {
        let used = self.mask.wrapping_add(1);
        if let Some(slots) = self.slots.get_mut(..used) {
            slots.fill(0);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Record> {
        self.records.get_mut(index as usize)
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> &[Record] {
        &self.records
    }

    /// Takes a record, and returns its number; `None`: there is no room.
    pub(super) fn push(&mut self, record: Record) -> Option<u32> {
        let index = self.records.len();
        if index >= self.max {
            return None;
        }
        self.records.push(record);
        let index = index as u32;
        if record.root != NO_ROOT {
            let slots = self.mask.wrapping_add(1);
            if self.records.len() > slots / 2 && slots < self.slots.len() {
                self.mask = slots.wrapping_mul(2).wrapping_sub(1);
                self.clear_slots();
                for index in 0..self.records.len() as u32 {
                    self.enter(index);
                }
            } else {
                self.enter(index);
            }
        }
        Some(index)
    }

    fn enter(&mut self, index: u32) {
        let Some(record) = self.get(index).filter(|record| record.root != NO_ROOT) else { return };
        let mut at = spread(record.id);
        // There are twice as many slots as records.
        for _ in 0..=self.mask {
            let slot = at & self.mask;
            match self.slots.get_mut(slot) {
                Some(empty) if *empty == 0 => {
                    *empty = index.wrapping_add(1);
                    return;
                }
                _ => at = at.wrapping_add(1),
            }
        }
    }

    /// The number of the task with this id, of this root if that matters.
    pub(crate) fn find(&self, id: u64, root: Option<u8>) -> Option<u32> {
        let mut at = spread(id);
        for _ in 0..=self.mask {
            let number = self.slots.get(at & self.mask)?.checked_sub(1)?;
            let record = self.get(number)?;
            if record.id == id && root.is_none_or(|root| record.root == root) {
                return Some(number);
            }
            at = at.wrapping_add(1);
        }
        None
    }
}

fn spread(id: u64) -> usize {
    (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

/// A record of a task that was just found.
pub(super) fn record(id: u64, address: u64, root: u8, kind: Option<u32>) -> Record {
    Record {
        id,
        address,
        next_in_group: NONE,
        group: NONE,
        below: NONE,
        kind: kind.unwrap_or(NONE),
        refs: 0,
        root,
        state: TaskState::Unstable,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_id_and_never_more_than_there_is_room_for() {
        let mut tasks = Tasks::new(5000);
        for round in 0..3_u64 {
            tasks.clear();
            let (before, slots) = (tasks.records.as_ptr(), tasks.slots.as_ptr());
            for id in 0..5000 {
                let record = record(id * 7 + round, id * 128, (id % 2) as u8, None);
                assert_eq!(tasks.push(record), Some(id as u32));
            }
            assert_eq!(tasks.push(record(1, 1, 0, None)), None);
            assert_eq!((tasks.records.as_ptr(), tasks.slots.as_ptr()), (before, slots));
            for id in 0..5000 {
                let key = id * 7 + round;
                assert_eq!(tasks.find(key, None), Some(id as u32));
                assert_eq!(tasks.find(key, Some((id % 2) as u8)), Some(id as u32));
                assert_eq!(tasks.find(key, Some(1 - (id % 2) as u8)), None);
                assert_eq!(tasks.find(key + 1, None), None);
            }
        }
        tasks.clear();
        assert_eq!((tasks.len(), tasks.find(7, None)), (0, None));
    }

    #[test]
    fn what_is_in_no_list_has_no_id() {
        let mut tasks = Tasks::new(4);
        assert_eq!(tasks.push(record(9, 0, NO_ROOT, None)), Some(0));
        assert_eq!(tasks.find(9, None), None);
    }
}
