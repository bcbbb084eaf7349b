//! The walk through a suspended future, by an await table.
//!
//! 1. From a type and an address: a coroutine's tag is looked up among the states
//!    of its type, which gives the `.await`'s file and line and what is awaited.
//! 2. That is followed, and nothing else: what an `.await` holds is alive, other
//!    variables may have been moved out. References, boxes, `dyn Future`, the variant
//!    of an enum that is there, and containers are followed to the futures in them.
//! 3. What has a name of its own becomes a [`Level`]: a coroutine, a leaf, what is
//!    awaited directly. Those of one depth are branches.
//!
//! What is read may change meanwhile, or be no future at all any more: a walk
//! then gives levels that are wrong or [`What::Undecoded`], and ends. Whether they are
//! to be believed is decided by who reads the same bytes again. A
//! state that no state is, a vtable that the table does not have, memory that is
//! not there: such is said, never guessed.
//!
//! Bounds: [`MAX_DEPTH`], [`MAX_STEPS`], [`MAX_LEVELS`], [`MAX_CHILDREN`], and
//! [`MAX_PENDING`] instead of recursion. Nothing is allocated. A walk that a
//! bound cuts short says so in a level of its own.
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

mod level;

use gmr_std::await_table::format::{Kind, NONE, State, StateKind, Type, type_flag};
use gmr_std::await_table::image::AwaitTable;

use crate::memory::{Memory, ReadError};
pub(crate) use level::{Level, Note, What};

/// Deeper than any that was seen (axum's are about twelve), and recursive async
/// fns still show how they go on.
pub(crate) const MAX_DEPTH: u32 = 64;

/// Fields, elements and pointers followed in one future: the largest that
/// were seen take some hundred.
pub(crate) const MAX_STEPS: u32 = 4096;

/// Levels of one future.
pub(crate) const MAX_LEVELS: usize = 256;

/// Elements of one container: they are mostly alike.
pub(crate) const MAX_CHILDREN: u32 = 64;

/// Containers and structs within each other that are not done yet.
const MAX_PENDING: usize = 160;

/// The levels of one future.
pub(crate) type Levels = heapless::Vec<Level, MAX_LEVELS>;

/// What is still to be looked at.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// A value. Directly: it is what is awaited itself, and is named whatever it
    /// is.
    Value { ty: u32, address: u64, depth: u32, is_direct: bool },
    /// The fields from `next` to `end` of what is at `base`.
    Fields { next: u32, end: u32, base: u64, depth: u32, is_direct: bool },
    /// So many elements in a row.
    Elements { ty: u32, address: u64, left: u32, depth: u32 },
    /// The nodes of a linked list.
    Nodes { list: Nodes, node: u64, left: u32, depth: u32 },
    /// A container's end is not shown.
    Cut { ty: u32, left_out: u32, depth: u32 },
}

/// How a `FuturesUnordered` is linked.
#[derive(Debug, Clone, Copy)]
struct Nodes {
    container: u32,
    future: u32,
    future_offset: u32,
    next_offset: u32,
}

/// Walks; made once, for many walks.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    pending: heapless::Vec<Pending, MAX_PENDING>,
    steps: u32,
    is_cut: bool,
}

impl Walker {
    /// Walks from a future of type `ty` at `address`, and leaves its levels in
    /// `levels`, what it holds before is dropped. `bias`: what is added to the table's
    /// addresses.
    pub(crate) fn walk(
        &mut self,
        table: AwaitTable<'_>,
        bias: u64,
        memory: &mut dyn Memory,
        (ty, address): (u32, u64),
        levels: &mut Levels,
    ) {
        levels.clear();
        self.pending.clear();
        self.steps = MAX_STEPS;
        self.is_cut = false;
        let mut walk = Walk { walker: self, table, bias, memory, levels };
        walk.push(Pending::Value { ty, address, depth: 0, is_direct: true }, 0);
        while let Some(next) = walk.walker.pending.pop() {
            walk.step(next);
        }
        if walk.levels.is_empty() {
            // Wrappers without anything in them.
            walk.emit(Level::new(ty, 0, What::Leaf));
        }
    }
}

/// One walk.
struct Walk<'w, 'a> {
    walker: &'w mut Walker,
    table: AwaitTable<'a>,
    bias: u64,
    memory: &'w mut dyn Memory,
    levels: &'w mut Levels,
}

impl Walk<'_, '_> {
    /// Ends the walk, which stays incomplete.
    fn cut(&mut self, depth: u32, note: Note) {
        if self.walker.is_cut {
            return;
        }
        self.walker.is_cut = true;
        self.walker.pending.clear();
        let level = Level { note, ..Level::new(NONE, depth, What::Undecoded) };
        if self.levels.push(level).is_err()
            && let Some(last) = self.levels.last_mut()
        {
            *last = level;
        }
    }

    /// Takes so many steps.
    fn spend(&mut self, steps: u32, depth: u32) -> bool {
        match self.walker.steps.checked_sub(steps) {
            Some(left) => {
                self.walker.steps = left;
                true
            }
            None => {
                self.cut(depth, Note::TooManySteps);
                false
            }
        }
    }

    fn push(&mut self, pending: Pending, depth: u32) {
        if !self.walker.is_cut && self.walker.pending.push(pending).is_err() {
            self.cut(depth, Note::TooDeep);
        }
    }

    fn emit(&mut self, level: Level) {
        // The last place is for saying that there is more.
        if self.walker.is_cut {
            return;
        }
        let is_full = self.levels.len() >= MAX_LEVELS.saturating_sub(1);
        if is_full || self.levels.push(level).is_err() {
            self.cut(u32::from(level.depth), Note::TooManyLevels);
        }
    }

    fn undecoded(&mut self, ty: u32, depth: u32, note: Note) {
        self.emit(Level { note, ..Level::new(ty, depth, What::Undecoded) });
    }

    fn failed(&mut self, ty: u32, depth: u32, error: ReadError) {
        match error {
            ReadError::Unreadable => self.undecoded(ty, depth, Note::Unreadable),
            ReadError::TooMuch => self.cut(depth, Note::TooMuchMemory),
        }
    }

    fn step(&mut self, next: Pending) {
        match next {
            Pending::Value { ty, address, depth, is_direct } => {
                if self.spend(1, depth) {
                    self.value(ty, address, depth, is_direct);
                }
            }
            Pending::Fields { next, end, base, depth, is_direct } => {
                if next >= end {
                    return;
                }
                let Some(field) = self.table.field(next) else {
                    return self.undecoded(NONE, depth, Note::Table);
                };
                let rest = next.saturating_add(1);
                if rest < end {
                    let behind = Pending::Fields { next: rest, end, base, depth, is_direct: false };
                    self.push(behind, depth);
                }
                let address = base.wrapping_add(u64::from(field.offset));
                self.push(Pending::Value { ty: field.ty, address, depth, is_direct }, depth);
            }
            Pending::Elements { ty, address, left, depth } => {
                let Some(rest) = left.checked_sub(1) else { return };
                let size = self.table.ty(ty).map_or(0, |ty| ty.size);
                if rest > 0 {
                    let address = address.wrapping_add(u64::from(size));
                    self.push(Pending::Elements { ty, address, left: rest, depth }, depth);
                }
                self.push(Pending::Value { ty, address, depth, is_direct: false }, depth);
            }
            Pending::Nodes { list, node, left, depth } => self.node(list, node, left, depth),
            Pending::Cut { ty, left_out, depth } => {
                let level = Level::new(ty, depth, What::Undecoded);
                self.emit(Level { note: Note::TooManyChildren, left_out, ..level });
            }
        }
    }

    fn node(&mut self, list: Nodes, node: u64, left: u32, depth: u32) {
        if node == 0 {
            return;
        }
        let Some(rest) = left.checked_sub(1) else {
            return self.push(Pending::Cut { ty: list.container, left_out: 0, depth }, depth);
        };
        match self.memory.word(node.wrapping_add(u64::from(list.next_offset))) {
            Ok(next) => {
                self.push(Pending::Nodes { list, node: next, left: rest, depth }, depth);
                let address = node.wrapping_add(u64::from(list.future_offset));
                let value = Pending::Value { ty: list.future, address, depth, is_direct: false };
                self.push(value, depth);
            }
            Err(error) => self.failed(list.container, depth, error),
        }
    }

    fn value(&mut self, index: u32, address: u64, depth: u32, is_direct: bool) {
        let Some(ty) = self.table.ty(index) else {
            return self.undecoded(NONE, depth, Note::Table);
        };
        if depth > MAX_DEPTH {
            // Only this branch ends here.
            return self.undecoded(index, depth, Note::TooDeep);
        }
        if let Kind::JoinHandle { header_offset } = ty.kind {
            return match self.memory.word(address.wrapping_add(u64::from(header_offset))) {
                Ok(target) => self.emit(Level { target, ..Level::new(index, depth, What::Leaf) }),
                Err(error) => self.failed(index, depth, error),
            };
        }
        if ty.flags & type_flag::LEAF != 0 {
            return self.emit(Level::new(index, depth, What::Leaf));
        }
        match ty.kind {
            Kind::Coroutine { first, count, tag_offset, tag_bytes } => {
                let tag =
                    self.memory.number(address.wrapping_add(u64::from(tag_offset)), tag_bytes);
                match tag {
                    Ok(tag) => self.coroutine(index, address, depth, (first, count), tag),
                    Err(error) => self.failed(index, depth, error),
                }
            }
            Kind::Dyn => self.dynamic(index, address, depth),
            Kind::Pointer { to } => match self.memory.word(address) {
                Ok(address) => {
                    self.push(Pending::Value { ty: to, address, depth, is_direct }, depth);
                }
                Err(error) => self.failed(index, depth, error),
            },
            _ => self.holder(index, ty, address, depth, is_direct),
        }
    }

    /// A coroutine's state by its tag. They are numbered from 0 as a rule.
    fn state_of(&self, first: u32, count: u32, tag: u64) -> Option<(u32, State<&str>)> {
        let has_tag = |state: &State<&str>| u64::from(state.value) == tag;
        let guess = u32::try_from(tag).ok().filter(|tag| *tag < count);
        if let Some(index) = guess.and_then(|tag| first.checked_add(tag))
            && let Some(state) = self.table.state(index).filter(has_tag)
        {
            return Some((index, state));
        }
        for index in first..first.saturating_add(count) {
            if let Some(state) = self.table.state(index).filter(has_tag) {
                return Some((index, state));
            }
        }
        None
    }

    fn coroutine(
        &mut self,
        index: u32,
        address: u64,
        depth: u32,
        (first, count): (u32, u32),
        tag: u64,
    ) {
        if !self.spend(count / 64, depth) {
            return;
        }
        let Some((number, state)) = self.state_of(first, count, tag) else {
            return self.undecoded(index, depth, Note::UnknownState);
        };
        let (kind, awaitee, is_in_macro) = (state.kind, state.awaitee, state.is_in_macro);
        let what = match kind {
            StateKind::Unresumed => What::Unresumed,
            StateKind::Returned => What::Returned,
            StateKind::Panicked => What::Panicked,
            StateKind::Suspended if is_in_macro => What::InMacro,
            StateKind::Suspended => What::Suspended,
        };
        if let Some(field) = awaitee.filter(|_| kind == StateKind::Suspended) {
            let address = address.wrapping_add(u64::from(field.offset));
            let depth = depth.saturating_add(1);
            self.push(Pending::Value { ty: field.ty, address, depth, is_direct: true }, depth);
        }
        self.emit(Level { state: number, ..Level::new(index, depth, what) });
    }

    fn dynamic(&mut self, index: u32, address: u64, depth: u32) {
        let words = self.memory.word(address).and_then(|data| {
            let vtable = self.memory.word(address.wrapping_add(8))?;
            Ok((data, vtable))
        });
        match words {
            Ok((address, vtable)) => {
                match self.table.type_of_vtable(vtable.wrapping_sub(self.bias)) {
                    Some(ty) => {
                        let size = self.table.ty(ty).map_or(0, |ty| ty.size);
                        self.memory.expect(address, size);
                        let value = Pending::Value { ty, address, depth, is_direct: true };
                        self.push(value, depth);
                    }
                    None => self.undecoded(index, depth, Note::UnknownVtable),
                }
            }
            Err(error) => self.failed(index, depth, error),
        }
    }

    /// What may hold futures, and is no async code. It has a level of its own if it is
    /// what is awaited.
    fn holder(&mut self, index: u32, ty: Type<&str>, address: u64, depth: u32, is_direct: bool) {
        let holds = !matches!(ty.kind, Kind::Opaque | Kind::Struct { count: 0, .. });
        let is_transparent = ty.flags & type_flag::TRANSPARENT != 0 && holds;
        let is_named = is_direct && !is_transparent;
        if is_named {
            let what = if holds { What::Holder } else { What::Leaf };
            self.emit(Level::new(index, depth, what));
        }
        let depth = if is_named { depth.saturating_add(1) } else { depth };
        let is_direct = is_direct && is_transparent;
        match ty.kind {
            Kind::Struct { first, count } => {
                let end = first.saturating_add(count);
                self.push(
                    Pending::Fields { next: first, end, base: address, depth, is_direct },
                    depth,
                );
            }
            Kind::Enum { first, count, tag_offset, tag_bytes } => {
                let tag = match tag_bytes {
                    0 => Ok(None),
                    _ => self
                        .memory
                        .number(address.wrapping_add(u64::from(tag_offset)), tag_bytes)
                        .map(Some),
                };
                match tag {
                    Ok(tag) if self.spend(count / 64, depth) => {
                        match self.fields_of(first, count, tag, tag_bytes) {
                            Some((next, count)) => {
                                let end = next.saturating_add(count);
                                let base = address;
                                self.push(
                                    Pending::Fields { next, end, base, depth, is_direct },
                                    depth,
                                );
                            }
                            None => self.undecoded(index, depth, Note::UnknownState),
                        }
                    }
                    Ok(_) => {}
                    Err(error) => self.failed(index, depth, error),
                }
            }
            Kind::Slice { element } => self.slice(index, element, (address, 0, 8), depth),
            Kind::Vec { element, pointer_offset, length_offset } => {
                self.slice(index, element, (address, pointer_offset, length_offset), depth);
            }
            Kind::Array { element, count } => {
                self.elements(index, element, address, u64::from(count), depth);
            }
            Kind::FuturesUnordered { future, future_offset, head_offset, next_offset } => {
                let list = Nodes { container: index, future, future_offset, next_offset };
                match self.memory.word(address.wrapping_add(u64::from(head_offset))) {
                    Ok(node) => {
                        self.push(Pending::Nodes { list, node, left: MAX_CHILDREN, depth }, depth);
                    }
                    Err(error) => self.failed(index, depth, error),
                }
            }
            // Handled before.
            Kind::Opaque
            | Kind::Coroutine { .. }
            | Kind::Pointer { .. }
            | Kind::Dyn
            | Kind::JoinHandle { .. } => {}
        }
    }

    /// The fields of the variant that is there: first and count.
    fn fields_of(
        &self,
        first: u32,
        count: u32,
        tag: Option<u64>,
        tag_bytes: u32,
    ) -> Option<(u32, u32)> {
        let unused = 64_u32.saturating_sub(tag_bytes.saturating_mul(8));
        let mask = u64::MAX.checked_shr(unused).unwrap_or(u64::MAX);
        let mut other = None;
        for index in first..first.saturating_add(count) {
            let variant = self.table.variant(index)?;
            let fields = (variant.first, variant.count);
            match (tag, variant.value) {
                (None, _) => return Some(fields),
                (Some(tag), Some(value)) if value & mask == tag => return Some(fields),
                (Some(_), Some(_)) => {}
                (Some(_), None) => other = Some(fields),
            }
        }
        other
    }

    fn slice(&mut self, index: u32, element: u32, at: (u64, u32, u32), depth: u32) {
        let (address, pointer_offset, length_offset) = at;
        let words =
            self.memory.word(address.wrapping_add(u64::from(pointer_offset))).and_then(|data| {
                let length = self.memory.word(address.wrapping_add(u64::from(length_offset)))?;
                Ok((data, length))
            });
        match words {
            Ok((data, length)) => self.elements(index, element, data, length, depth),
            Err(error) => self.failed(index, depth, error),
        }
    }

    fn elements(&mut self, index: u32, ty: u32, address: u64, length: u64, depth: u32) {
        let left = length.min(u64::from(MAX_CHILDREN)) as u32;
        let left_out = length.saturating_sub(u64::from(left));
        if left_out > 0 {
            let left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
            self.push(Pending::Cut { ty: index, left_out, depth }, depth);
        }
        self.push(Pending::Elements { ty, address, left, depth }, depth);
    }
}

/// For the fuzz target: walks through any bytes by any table, and looks at what comes.
#[cfg(fuzzing)]
pub fn fuzzing(image: &[u8], memory: &[u8]) -> usize {
    /// The same bytes again and again, but for some pages that are not there.
    struct Repeated<'a>(&'a [u8]);

    impl Memory for Repeated<'_> {
        fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
            if address >> 12 & 15 == 15 || self.0.is_empty() {
                return Err(ReadError::Unreadable);
            }
            let start = address as usize % self.0.len();
            let bytes = self.0.iter().cycle().skip(start);
            buffer.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            Ok(())
        }
    }

    let table = AwaitTable::unchecked(image);
    let (mut walker, mut levels) = (Walker::default(), Levels::new());
    let mut count = 0;
    for ty in 0..table.type_count().min(8) {
        walker.walk(table, 0, &mut Repeated(memory), (ty, 0), &mut levels);
        assert!(!levels.is_empty() && levels.len() <= MAX_LEVELS);
        for level in &levels {
            assert!(level.shown(table).depth <= MAX_DEPTH);
        }
        count += levels.len();
    }
    count
}

#[cfg(test)]
mod tests;
