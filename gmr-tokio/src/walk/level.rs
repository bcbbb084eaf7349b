//! One level of an await tree, as the walk keeps it: numbers of the table, small and of
//! one size, that become words when the report is written.

use gmr_core::model::{Await, AwaitKind};
use gmr_std::await_table::format::NONE;
use gmr_std::await_table::image::AwaitTable;

use super::MAX_DEPTH;

/// What one level is; [`AwaitKind`] for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum What {
    Suspended,
    InMacro,
    Unresumed,
    Returned,
    Panicked,
    Holder,
    Leaf,
    #[default]
    Undecoded,
}

impl What {
    pub(crate) fn kind(self) -> AwaitKind {
        match self {
            What::Suspended => AwaitKind::Suspended,
            What::InMacro => AwaitKind::InMacro,
            What::Unresumed => AwaitKind::Unresumed,
            What::Returned => AwaitKind::Returned,
            What::Panicked => AwaitKind::Panicked,
            What::Holder => AwaitKind::Holder,
            What::Leaf => AwaitKind::Leaf,
            What::Undecoded => AwaitKind::Undecoded,
        }
    }
}

/// More about a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Note {
    #[default]
    Nothing,
    Unreadable,
    UnknownState,
    UnknownVtable,
    TooDeep,
    TooManySteps,
    TooManyLevels,
    TooManyChildren,
    TooMuchMemory,
    Table,
    /// Of several tasks: each waits for a task of its own.
    Several,
}

impl Note {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Note::Nothing => "",
            Note::Unreadable => "its memory cannot be read",
            Note::UnknownState => "it is in a state that its type does not have",
            Note::UnknownVtable => "its type is not in the await table",
            Note::TooDeep => "cut: nested more than 64 levels deep",
            Note::TooManySteps => "cut: more than 4096 steps",
            Note::TooManyLevels => "cut: more than 256 levels",
            Note::TooManyChildren => "cut: the first 64 of this container are shown",
            Note::TooMuchMemory => "cut: it is spread over too much memory",
            Note::Table => "the await table contradicts itself here",
            Note::Several => "each for another task",
        }
    }
}

/// One level of an await tree, as numbers of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// A `JoinHandle`: where the header of the task that it waits for is; 0: none.
    pub(crate) target: u64,
    /// That task's id; 0: not known.
    pub(crate) target_id: u64,
    /// Its kind in the table; [`NONE`]: not known.
    pub(crate) target_kind: u32,
    /// Its type; [`NONE`]: not known.
    pub(crate) ty: u32,
    /// Which of the table's states a coroutine is in; [`NONE`]: no such.
    pub(crate) state: u32,
    /// What the note leaves out, if that is known.
    pub(crate) left_out: u32,
    pub(crate) depth: u8,
    pub(crate) what: What,
    pub(crate) note: Note,
}

impl Level {
    pub(super) fn new(ty: u32, depth: u32, what: What) -> Self {
        Level {
            target: 0,
            target_id: 0,
            target_kind: NONE,
            ty,
            state: NONE,
            left_out: 0,
            depth: depth.min(MAX_DEPTH) as u8,
            what,
            note: Note::Nothing,
        }
    }

    /// As the report shows it.
    pub(crate) fn shown<'a>(&self, table: AwaitTable<'a>) -> Await<'a> {
        let state = table.state(self.state).filter(|_| self.state != NONE);
        let has_place = !matches!(self.what, What::Returned | What::Panicked);
        let place = state.filter(|state| has_place && !state.file.is_empty());
        Await {
            depth: u32::from(self.depth),
            kind: self.what.kind(),
            function: table.ty(self.ty).map_or("?", |ty| ty.name),
            file: place.map(|state| state.file),
            line: place.map(|state| state.line).filter(|line| *line != 0),
            waits_for: (self.target_id != 0).then_some(self.target_id),
            note: self.note.words(),
        }
    }
}
