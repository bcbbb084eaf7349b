//! Where the stack pointer stands at a point of a function, from its code: the
//! distance to the CFA, in a frame whose CFA the call frame information counts
//! from a frame pointer that nobody knows.
//!
//! Abstract interpretation, over offsets from the CFA:
//!
//! 1. Read the function's rows and its code. The first row has to be
//!    CFA = rsp + 8: otherwise this is not a function's beginning but a part
//!    of one (gcc's `.cold`), and rsp there is anybody's guess.
//! 2. Start with rsp = CFA − 8 and follow every instruction and branch. Where
//!    paths meet, what differs is unknown.
//! 3. Behind a call go on only if the row there agrees: a call that does not
//!    return is followed by foreign code, with other offsets.
//! 4. If that does not reach the point (jump tables, landing pads), and every
//!    call and indirect jump found agrees on rsp and rbp, then so does the code
//!    that only they lead to: start from there, too, where the row agrees.
//! 5. The answer counts only if the code says of rbp what the call frame
//!    information says, and rsp is one known offset.
//!
//! The state of each instruction only ever gets less precise, at most four
//! times, so the work is bounded by the function's length.
//!
//! Limits: functions up to [`MAX_FUNCTION_BYTES`] and [`MAX_ROWS`]; frames
//! of a size that the code computes (alloca, realignment below rbp) have no
//! answer. What has none is [`StackEnd::FramePointerUnknown`], never a guess.
//!
//! [`StackEnd::FramePointerUnknown`]: crate::model::StackEnd::FramePointerUnknown

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::super::rules::{self, Base, Context};
use super::super::unwind::{Found, Modules};
use super::decode::{Decoded, Effect, Flow, Tracked, decode};

/// Longer functions are not analysed: what is needed of memory and time is in
/// proportion.
pub const MAX_FUNCTION_BYTES: usize = 16 * 1024;

/// Rows of one function; those with a frame pointer have a handful.
pub const MAX_ROWS: usize = 512;

/// Answers remembered: a power of two. A program's parked threads stand in some
/// dozens of places.
const REMEMBERED: usize = 512;

/// What is known at the beginning of an instruction. Offsets from the CFA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    sp: Offset,
    bp: Offset,
    r11: Offset,
    /// The instruction before compared rsp with r11.
    compared: bool,
}

/// An offset from the CFA, or [`UNKNOWN`].
type Offset = i32;

const UNKNOWN: Offset = Offset::MIN;

/// Right after the call: the return address has been pushed.
const ENTRY: State = State { sp: -8, bp: UNKNOWN, r11: UNKNOWN, compared: false };

fn plus(offset: Offset, add: i32) -> Offset {
    if offset == UNKNOWN { UNKNOWN } else { offset.checked_add(add).unwrap_or(UNKNOWN) }
}

fn meet(one: Offset, other: Offset) -> Offset {
    if one == other { one } else { UNKNOWN }
}

impl State {
    fn meet(self, other: State) -> State {
        State {
            sp: meet(self.sp, other.sp),
            bp: meet(self.bp, other.bp),
            r11: meet(self.r11, other.r11),
            compared: self.compared && other.compared,
        }
    }

    fn get(&self, register: Tracked) -> Offset {
        match register {
            Tracked::Sp => self.sp,
            Tracked::Bp => self.bp,
            Tracked::R11 => self.r11,
        }
    }

    fn set(&mut self, register: Tracked, offset: Offset) {
        match register {
            Tracked::Sp => self.sp = offset,
            Tracked::Bp => self.bp = offset,
            Tracked::R11 => self.r11 = offset,
        }
    }

    fn after(mut self, effect: Effect) -> State {
        self.compared = false;
        match effect {
            Effect::None => {}
            Effect::Push => self.sp = plus(self.sp, -8),
            Effect::Pop(register) => {
                self.sp = plus(self.sp, 8);
                if let Some(register) = register {
                    self.set(register, UNKNOWN);
                }
            }
            Effect::Leave => {
                self.sp = plus(self.bp, 8);
                self.bp = UNKNOWN;
            }
            Effect::Set { to, from, add } => self.set(to, plus(self.get(from), add)),
            Effect::CompareSpWithR11 => self.compared = true,
            Effect::Lose(lost) => {
                for (register, is_lost) in
                    [(Tracked::Sp, lost.sp), (Tracked::Bp, lost.bp), (Tracked::R11, lost.r11)]
                {
                    if is_lost {
                        self.set(register, UNKNOWN);
                    }
                }
            }
        }
        self
    }
}

/// What the analysis knows of one byte of the function.
#[derive(Debug, Clone, Copy)]
struct Place {
    state: State,
    /// An instruction begins here that some path leads to.
    is_reached: bool,
    is_queued: bool,
    /// Control was found to come back from this call.
    returns: bool,
    /// Of the instruction, once decoded; else 0.
    length: u8,
}

const NOWHERE: Place =
    Place { state: ENTRY, is_reached: false, is_queued: false, returns: false, length: 0 };

/// One row: from this offset in the function on.
#[derive(Debug, Clone, Copy)]
struct Row {
    start: u32,
    cfa: Option<(Base, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    pc: u64,
    is_interrupted: bool,
    answer: Option<Standing>,
}

/// Both offsets from the CFA at a point of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of rsp.
    pub sp: i32,
    /// Of rbp, if known.
    pub bp: Option<i32>,
}

/// The analyser's memory. Allocates when made, never when used.
pub struct Analyser {
    code: Box<[u8]>,
    /// One per byte of the function. Room for the longest is reserved, and only
    /// what functions need is ever touched.
    places: Vec<Place>,
    queue: Box<[u16]>,
    rows: Box<[Row]>,
    remembered: Box<[Remembered]>,
    /// Length of the function in `code`.
    used: usize,
    used_rows: usize,
    queued: usize,
}

impl core::fmt::Debug for Analyser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Analyser").finish_non_exhaustive()
    }
}

impl Default for Analyser {
    fn default() -> Self {
        Self::new()
    }
}

const NOT_REMEMBERED: Remembered = Remembered { pc: 0, is_interrupted: false, answer: None };

impl Analyser {
    /// With empty memory.
    #[must_use]
    pub fn new() -> Self {
        const {
            assert!(MAX_FUNCTION_BYTES <= 1 << 16, "the queue holds 16-bit offsets");
        }
        Analyser {
            code: alloc::vec![0; MAX_FUNCTION_BYTES].into_boxed_slice(),
            places: Vec::with_capacity(MAX_FUNCTION_BYTES),
            queue: alloc::vec![0; MAX_FUNCTION_BYTES].into_boxed_slice(),
            rows: alloc::vec![Row { start: 0, cfa: None }; MAX_ROWS].into_boxed_slice(),
            remembered: alloc::vec![NOT_REMEMBERED; REMEMBERED].into_boxed_slice(),
            used: 0,
            used_rows: 0,
            queued: 0,
        }
    }

    /// Forgets all answers: the modules are others.
    pub fn forget(&mut self) {
        self.remembered.fill(NOT_REMEMBERED);
    }

    /// Distance from the stack pointer up to the CFA in a frame at `found`
    /// whose CFA is rbp + `offset`; `None` if the code does not prove it.
    pub(in super::super) fn sp_to_cfa(
        &mut self,
        modules: &impl Modules,
        found: &Found,
        offset: i64,
        context: &mut Context,
    ) -> Option<u64> {
        let standing = self.standing(modules, found, context)?;
        // What the call frame information says of rbp, the code says too.
        if i64::from(standing.bp?) != offset.checked_neg()? {
            return None;
        }
        u64::try_from(i64::from(standing.sp).checked_neg()?).ok()
    }

    /// Both offsets at `found`: at an interrupted instruction, or in front of
    /// the call that a return address follows.
    pub fn standing(
        &mut self,
        modules: &impl Modules,
        found: &Found,
        context: &mut Context,
    ) -> Option<Standing> {
        let Found { pc, is_interrupted, .. } = *found;
        let hash = (pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize;
        let slot = hash & REMEMBERED.wrapping_sub(1);
        if let Some(known) = self.remembered.get(slot)
            && known.pc == pc
            && known.is_interrupted == is_interrupted
            && pc != 0
        {
            return known.answer;
        }
        let answer = self.analyse(modules, found, context);
        if let Some(place) = self.remembered.get_mut(slot) {
            *place = Remembered { pc, is_interrupted, answer };
        }
        answer
    }

    fn analyse(
        &mut self,
        modules: &impl Modules,
        found: &Found,
        context: &mut Context,
    ) -> Option<Standing> {
        let address = found.lookup_address();
        let (bias, info) = modules.lookup(address)?;
        let svma = address.wrapping_sub(bias);
        let start = self.read(modules, &info?, bias, svma, context)?;
        let target = usize::try_from(found.pc.checked_sub(start)?).ok()?;
        self.push(0, ENTRY);
        self.run();
        let at = match self.find(target, found.is_interrupted) {
            Some(at) => at,
            None => {
                self.enter_from_tables()?;
                self.run();
                self.find(target, found.is_interrupted)?
            }
        };
        let state = self.places.get(at)?.state;
        let known = |offset: Offset| (offset != UNKNOWN).then_some(offset);
        Some(Standing { sp: known(state.sp)?, bp: known(state.bp) })
    }

    /// Step 1: the address of the function's first byte.
    fn read(
        &mut self,
        modules: &impl Modules,
        info: &rules::CallFrameInfo<'_>,
        bias: u64,
        svma: u64,
        context: &mut Context,
    ) -> Option<u64> {
        let (rows, mut used_rows) = (&mut self.rows, 0_usize);
        let mut first_svma = None;
        let range = rules::rows(info, svma, context, |row| {
            let first = *first_svma.get_or_insert(row.start_svma);
            let start = row.start_svma.checked_sub(first).and_then(|at| u32::try_from(at).ok());
            let (Some(start), Some(place)) = (start, rows.get_mut(used_rows)) else {
                return false;
            };
            *place = Row { start, cfa: row.cfa };
            used_rows = used_rows.saturating_add(1);
            true
        })?;
        self.used_rows = used_rows;
        let first = rows.first()?;
        if first.cfa != Some((Base::StackPointer, 8)) || first_svma != Some(range.start) {
            return None;
        }
        let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        let code = self.code.get_mut(..length)?;
        let start = bias.wrapping_add(range.start);
        if modules.code(start, code) != length {
            return None;
        }
        self.used = length;
        self.queued = 0;
        self.places.clear();
        // Within the capacity: `code` is as long.
        self.places.resize(length, NOWHERE);
        Some(start)
    }

    /// The instruction that begins at `target`, or the call that ends there.
    fn find(&self, target: usize, is_interrupted: bool) -> Option<usize> {
        if is_interrupted {
            return self.places.get(target)?.is_reached.then_some(target);
        }
        // No instruction is longer.
        let from = target.saturating_sub(15);
        (from..target).find(|at| {
            let ends = self
                .places
                .get(*at)
                .filter(|place| place.is_reached)
                .is_some_and(|place| at.checked_add(usize::from(place.length)) == Some(target));
            ends && self.decode(*at).is_some_and(|decoded| decoded.flow == Flow::Call)
        })
    }

    fn decode(&self, at: usize) -> Option<Decoded> {
        decode(self.code.get(..self.used)?.get(at..)?)
    }

    /// Step 2: joins `state` into a place; what is beyond the function is
    /// another one's.
    fn push(&mut self, at: usize, state: State) {
        let Some(place) = self.places.get_mut(at) else { return };
        let joined = if place.is_reached { place.state.meet(state) } else { state };
        if place.is_reached && joined == place.state {
            return;
        }
        place.state = joined;
        place.is_reached = true;
        if !place.is_queued
            && let Some(entry) = self.queue.get_mut(self.queued)
        {
            // Each place is in the queue once at most, so that it fits.
            place.is_queued = true;
            *entry = at as u16;
            self.queued = self.queued.saturating_add(1);
        }
    }

    fn run(&mut self) {
        while let Some(last) = self.queued.checked_sub(1) {
            self.queued = last;
            let Some(at) = self.queue.get(last).map(|at| usize::from(*at)) else { return };
            let Some(place) = self.places.get_mut(at) else { return };
            place.is_queued = false;
            let state = place.state;
            // What cannot be decoded leads nowhere.
            let Some(decoded) = self.decode(at) else { continue };
            if let Some(place) = self.places.get_mut(at) {
                place.length = decoded.length;
            }
            self.follow(at, state, &decoded);
        }
    }

    fn follow(&mut self, at: usize, before: State, decoded: &Decoded) {
        let next = at.saturating_add(usize::from(decoded.length));
        let jump = |by: i32| next.checked_add_signed(by as isize);
        let after = before.after(decoded.effect);
        match decoded.flow {
            Flow::Next => self.push(next, after),
            Flow::Call => {
                // Once it was followed, what is learnt later has to follow, too.
                let returned = self.places.get(at).is_some_and(|place| place.returns);
                if returned || self.agrees(next, after) {
                    if let Some(place) = self.places.get_mut(at) {
                        place.returns = true;
                    }
                    self.push(next, after);
                }
            }
            Flow::Jump(by) => {
                if let Some(target) = jump(by) {
                    self.push(target, after);
                }
            }
            Flow::Branch { by, is_not_equal } => {
                let (mut there, mut here) = (after, after);
                if before.compared && is_not_equal && before.r11 != UNKNOWN {
                    // A stack probe: rsp goes down page by page until it is r11.
                    here.sp = before.r11;
                    there.sp = UNKNOWN;
                }
                self.push(next, here);
                if let Some(target) = jump(by) {
                    self.push(target, there);
                }
            }
            Flow::Indirect | Flow::End => {}
        }
    }

    /// Step 3: whether the row at an offset says of its register what the state
    /// says.
    fn agrees(&self, at: usize, state: State) -> bool {
        let rows = self.rows.get(..self.used_rows).unwrap_or_default();
        let after = rows.partition_point(|row| row.start as usize <= at);
        let row = after.checked_sub(1).and_then(|index| rows.get(index));
        let Some((base, offset)) = row.and_then(|row| row.cfa) else { return false };
        let found = match base {
            Base::StackPointer => state.sp,
            Base::FramePointer => state.bp,
        };
        found != UNKNOWN && Some(i64::from(found)) == offset.checked_neg()
    }

    /// Step 4: places that no path leads to begin with the state that all calls
    /// and indirect jumps have, if it is one.
    fn enter_from_tables(&mut self) -> Option<()> {
        let mut common: Option<State> = None;
        for at in 0..self.used {
            let Some(place) = self.places.get(at).filter(|place| place.is_reached).copied() else {
                continue;
            };
            let Some(decoded) = self.decode(at) else { continue };
            if !matches!(decoded.flow, Flow::Call | Flow::Indirect) {
                continue;
            }
            let state =
                State { r11: UNKNOWN, compared: false, ..place.state.after(decoded.effect) };
            if state.sp == UNKNOWN || common.is_some_and(|common| common != state) {
                return None;
            }
            common = Some(state);
        }
        let state = common?;
        let mut at = 0_usize;
        let mut is_entry = true;
        while at < self.used {
            let place = self.places.get(at).copied()?;
            if place.is_reached {
                at = at.saturating_add(usize::from(place.length.max(1)));
                is_entry = true;
                continue;
            }
            // Unreached code is read from its beginning on.
            let Some(decoded) = self.decode(at) else {
                // Data, perhaps: on from the next place that is code.
                let places = self.places.get(at..).unwrap_or_default();
                let skip = places.iter().position(|place| place.is_reached).unwrap_or(self.used);
                at = at.saturating_add(skip);
                continue;
            };
            if is_entry && self.agrees(at, state) {
                self.push(at, state);
            }
            is_entry = matches!(decoded.flow, Flow::Jump(_) | Flow::Indirect | Flow::End);
            at = at.saturating_add(usize::from(decoded.length));
        }
        Some(())
    }
}
