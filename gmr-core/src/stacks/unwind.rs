//! From registers and a window to frames: a pure function, so that it can be
//! fuzzed and replayed.
//!
//! For each frame:
//!
//! 1. Find the module of the address to look up (the return address − 1, or the
//!    interrupted pc itself) and judge its call frame information
//!    ([`super::rules`]; remembered per address). Where that says nothing, the
//!    code's bytes tell whether it is a signal trampoline.
//! 2. *End of stack*: done, the stack is complete.
//! 3. *Signal frame*: the interrupted registers are read from the kernel's
//!    frame by hand (framehop cannot; [`super::signal_frame`]), and the walk
//!    goes on exactly.
//! 4. *Rule*: compute the CFA, refuse one that is not above the stack pointer
//!    and inside the window, let framehop step, and compare its stack pointer
//!    with the CFA.
//! 5. *Nothing known*: the top of the stack or the frame pointer is followed;
//!    the frame found that way carries a mark, and a stack with such a frame
//!    is never called complete ([`StackEnd::Guessed`]).
//!
//! A *parked* thread's frame pointer is not known at first ([`super::passive`]).
//! Then the step of 4 is taken by hand, a row that counts from the frame
//! pointer has the function's code analysed, 5 does not apply, and each return
//! address has to follow a call.
//!
//! Limits: x86_64. Frames are counted and capped by the caller's `emit`. A
//! stack that leaves the window (an alternate signal stack) ends there and
//! says so.

use alloc::boxed::Box;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, MustNotAllocateDuringUnwind, Unwinder as _};

use super::call_site::{MAX_CALL_BYTES, ends_with_call};
#[cfg(feature = "passive")]
use super::passive::analyse::Analyser;
pub use super::rules::Registers;
use super::rules::{self, Base, CallFrameInfo, Context, Rule, Saved};
use super::signal_frame::x86_64 as signal_frame;
use super::window::StackMemory;
use crate::model::{Certainty, StackEnd};

/// The bytes of call frame information as framehop holds them: mapped for
/// ever, or copied because the object can be unloaded.
#[derive(Debug, Clone)]
pub enum Section {
    /// In place.
    Mapped(&'static [u8]),
    /// A copy.
    Copied(alloc::sync::Arc<[u8]>),
}

impl Default for Section {
    fn default() -> Self {
        Section::Mapped(&[])
    }
}

impl core::ops::Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Section::Mapped(bytes) => bytes,
            Section::Copied(bytes) => bytes,
        }
    }
}

/// framehop's unwinder over our sections.
pub type Framehop = UnwinderX86_64<Section, MustNotAllocateDuringUnwind>;

/// What the unwinder needs to know of the loaded objects.
pub trait Modules {
    /// framehop's unwinder over the same modules.
    fn framehop(&self) -> &Framehop;

    /// The call frame information of the module that `address` lies in, and
    /// the module's load bias. `None`: no module is there.
    fn lookup(&self, address: u64) -> Option<(u64, Option<CallFrameInfo<'_>>)>;

    /// Different for each table ever made.
    fn generation(&self) -> u64;

    /// Copies the code from `address` on; how many bytes came. Never faults.
    /// Nothing comes if code cannot be read here.
    fn code(&self, address: u64, into: &mut [u8]) -> usize {
        let _ = (address, into);
        0
    }
}

/// A frame as it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Program counter or return address.
    pub pc: u64,
    /// How it was found.
    pub certainty: Certainty,
    /// The kernel's signal frame.
    pub is_signal_frame: bool,
    /// The pc is of an interrupted instruction, not a return address.
    pub is_interrupted: bool,
}

impl Found {
    /// The address to look names and rules up with: a return address may be
    /// the first one of the *next* function.
    #[must_use]
    pub fn lookup_address(&self) -> u64 {
        if self.is_interrupted { self.pc } else { self.pc.wrapping_sub(1) }
    }
}

/// What is remembered of a program counter.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    pc: u64,
    is_interrupted: bool,
    rule: Rule,
    /// A call ends right before it; `None`: the code cannot be read.
    follows_call: Option<bool>,
}

impl Remembered {
    /// No code lies at address 0.
    const NONE: Self =
        Remembered { pc: 0, is_interrupted: false, rule: Rule::Uncovered, follows_call: None };
}

/// Program counters remembered: a power of two. A report of a thousand parked
/// threads has a few hundred distinct ones.
const REMEMBERED: usize = 2048;

/// One walker's memory: framehop's cache, gimli's tables, remembered rules.
/// Allocates when made, never when used.
pub struct Walker {
    framehop: CacheX86_64<MustNotAllocateDuringUnwind>,
    context: Box<Context>,
    remembered: Box<[Remembered]>,
    generation: u64,
    #[cfg(feature = "passive")]
    analyser: Analyser,
}

impl core::fmt::Debug for Walker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Walker").finish_non_exhaustive()
    }
}

impl Default for Walker {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a walk stands: registers, of which the frame pointer may be unknown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) registers: Registers,
    pub(super) is_fp_known: bool,
    pub(super) is_interrupted: bool,
    pub(super) certainty: Certainty,
}

/// What a walk may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Registers and window come from the thread itself: where nothing is
    /// known, guess.
    Captured,
    /// A parked thread was read from outside: every step has to be proven.
    #[cfg_attr(not(feature = "passive"), allow(dead_code, reason = "that feature's"))]
    Parked,
}

enum Step {
    To(Standing),
    End(StackEnd),
}

impl Walker {
    /// A walker with empty memory.
    #[must_use]
    pub fn new() -> Self {
        Walker {
            framehop: CacheX86_64::new_in(),
            context: Box::new(Context::new_in()),
            remembered: alloc::vec![Remembered::NONE; REMEMBERED].into_boxed_slice(),
            generation: 0,
            #[cfg(feature = "passive")]
            analyser: Analyser::new(),
        }
    }

    /// Walks the stack that begins at `registers`. `emit` takes each frame,
    /// innermost first; it returns `false` when it takes no more.
    ///
    /// # Signal safety
    ///
    /// Safe: no allocation, no lock, no panic; reads the memory given and, where
    /// call frame information says nothing, a few bytes of code.
    pub fn walk(
        &mut self,
        modules: &impl Modules,
        start: Registers,
        memory: &mut impl StackMemory,
        emit: impl FnMut(Found) -> bool,
    ) -> StackEnd {
        let start = Standing {
            registers: start,
            is_fp_known: true,
            is_interrupted: true,
            certainty: Certainty::Exact,
        };
        self.run(modules, start, Mode::Captured, memory, emit)
    }

    pub(super) fn run(
        &mut self,
        modules: &impl Modules,
        start: Standing,
        mode: Mode,
        memory: &mut impl StackMemory,
        mut emit: impl FnMut(Found) -> bool,
    ) -> StackEnd {
        if self.generation != modules.generation() {
            self.generation = modules.generation();
            self.remembered.fill(Remembered::NONE);
            #[cfg(feature = "passive")]
            self.analyser.forget();
        }
        let mut at = start;
        let mut is_first = true;
        let mut is_guessed = false;
        loop {
            let mut found = Found {
                pc: at.registers.pc,
                certainty: at.certainty,
                is_signal_frame: false,
                is_interrupted: at.is_interrupted,
            };
            let known = self.look_up(modules, &found, mode);
            found.is_signal_frame = known.rule == Rule::SignalFrame;
            if found.is_signal_frame {
                // Its own pc is what the handler returns to: exact, not a call.
                found.is_interrupted = true;
            }
            if mode == Mode::Parked && !found.is_interrupted && known.follows_call != Some(true) {
                return StackEnd::Inconsistent;
            }
            if !emit(found) {
                return StackEnd::FrameLimit { frames: 0 };
            }
            match self.step(modules, known.rule, &found, &at, mode, memory, is_first) {
                Step::End(StackEnd::Complete) if is_guessed => return StackEnd::Guessed,
                Step::End(end) => return end,
                Step::To(next) => {
                    is_guessed |= next.certainty == Certainty::FramePointer;
                    at = next;
                    is_first = false;
                }
            }
        }
    }

    /// Step 1.
    fn look_up(&mut self, modules: &impl Modules, found: &Found, mode: Mode) -> Remembered {
        let Found { pc, is_interrupted, .. } = *found;
        // Looked at for parked threads only: each look is a system call.
        let wants_call = mode == Mode::Parked && !is_interrupted;
        // Fibonacci hashing spreads neighbouring addresses.
        let hash = pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        let slot = (hash as usize) & REMEMBERED.wrapping_sub(1);
        if let Some(known) = self.remembered.get(slot)
            && known.pc == pc
            && known.is_interrupted == is_interrupted
            && pc != 0
            && (known.follows_call.is_some() || !wants_call)
        {
            return *known;
        }
        let rule = self.rule(modules, found.lookup_address(), pc);
        let follows_call = if wants_call { follows_call(modules, pc) } else { None };
        let known = Remembered { pc, is_interrupted, rule, follows_call };
        if let Some(place) = self.remembered.get_mut(slot) {
            *place = known;
        }
        known
    }

    /// Whether two addresses lie in one function, by the call frame information.
    #[cfg_attr(not(gmr_engine), allow(dead_code, reason = "the engine asks"))]
    pub(crate) fn is_same_function(
        &mut self,
        modules: &impl Modules,
        one: u64,
        other: u64,
    ) -> bool {
        let Some((bias, Some(info))) = modules.lookup(one) else { return false };
        let range = rules::rows(&info, one.wrapping_sub(bias), &mut self.context, |_| true);
        range.is_some_and(|range| range.contains(&other.wrapping_sub(bias)))
    }

    fn rule(&mut self, modules: &impl Modules, address: u64, pc: u64) -> Rule {
        let judge = |address: u64, context: &mut Context| match modules.lookup(address) {
            Some((bias, Some(info))) => rules::judge(&info, address.wrapping_sub(bias), context),
            _ => Rule::Uncovered,
        };
        let rule = judge(address, &mut self.context);
        // A signal frame is entered by a return, not after a call: its own
        // first address is what counts, and the one before it is another
        // function's.
        let own = if address == pc { rule } else { judge(pc, &mut self.context) };
        match own {
            Rule::SignalFrame => Rule::SignalFrame,
            Rule::Uncovered | Rule::Refused if is_trampoline(modules, pc) => Rule::SignalFrame,
            _ => rule,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the walk's state, and what it may rely on")]
    fn step(
        &mut self,
        modules: &impl Modules,
        rule: Rule,
        found: &Found,
        at: &Standing,
        mode: Mode,
        memory: &mut impl StackMemory,
        is_first: bool,
    ) -> Step {
        let registers = &at.registers;
        let (cfa, saved) = match rule {
            Rule::EndOfStack => return Step::End(StackEnd::Complete),
            Rule::SignalFrame => return interrupted(registers, memory),
            Rule::Uncovered if mode == Mode::Captured => {
                return guess(modules, registers, memory, is_first);
            }
            Rule::Uncovered | Rule::Refused => return Step::End(StackEnd::NoUnwindInfo),
            Rule::Step { base: Base::FramePointer, offset, .. } if !at.is_fp_known => {
                let Some(fp) = self.recover(modules, found, registers, offset) else {
                    return Step::End(StackEnd::FramePointerUnknown);
                };
                let registers = Registers { fp, ..*registers };
                let at = Standing { registers, is_fp_known: true, ..*at };
                return self.step(modules, rule, found, &at, mode, memory, is_first);
            }
            Rule::Step { base, offset, saved } => {
                let from = match base {
                    Base::StackPointer => registers.sp,
                    Base::FramePointer => registers.fp,
                };
                match from.checked_add_signed(offset) {
                    Some(cfa) => (cfa, saved),
                    None => return Step::End(StackEnd::Inconsistent),
                }
            }
            Rule::StepByExpression { saved } => {
                let address = found.lookup_address();
                let cfa = modules.lookup(address).and_then(|(bias, info)| {
                    let svma = address.wrapping_sub(bias);
                    rules::evaluate(&info?, svma, registers, at.is_fp_known, &mut self.context)
                });
                match cfa {
                    Some(cfa) => (cfa, saved),
                    None if at.is_fp_known => return Step::End(StackEnd::NoUnwindInfo),
                    None => return Step::End(StackEnd::FramePointerUnknown),
                }
            }
        };
        // Above the stack pointer, and the return address below it readable.
        // framehop cuts an offset to a multiple of 8 and subtracts 8 from the
        // sum: with a CFA below 16 that overflows.
        if cfa <= registers.sp || cfa < 16 {
            return Step::End(StackEnd::Inconsistent);
        }
        let return_slot = cfa.wrapping_sub(8);
        let Some(return_address) = memory.word(return_slot) else {
            return Step::End(memory.end_at(return_slot));
        };
        let end = if mode == Mode::Captured { StackEnd::Complete } else { StackEnd::NoUnwindInfo };
        if !at.is_fp_known {
            return match by_hand(return_address, cfa, saved, memory) {
                Step::To(next) if next.registers.pc == 0 => Step::End(end),
                step => step,
            };
        }
        let address = if found.is_interrupted {
            FrameAddress::from_instruction_pointer(found.pc)
        } else {
            match FrameAddress::from_return_address(found.pc) {
                Some(address) => address,
                None => return Step::End(end),
            }
        };
        let mut next = UnwindRegsX86_64::new(registers.pc, registers.sp, registers.fp);
        let mut missed = None;
        let stepped =
            modules.framehop().unwind_frame(address, &mut next, &mut self.framehop, &mut |at| {
                memory.word(at).ok_or_else(|| missed = Some(at))
            });
        match (stepped, missed) {
            // framehop: a null return address.
            (Ok(None), _) => Step::End(end),
            // Had framehop guessed after all, it would not agree on the CFA.
            (Ok(Some(_)), _) if next.sp() != cfa => Step::End(StackEnd::Inconsistent),
            (Ok(Some(return_address)), _) => Step::To(Standing {
                registers: Registers { pc: return_address, sp: next.sp(), fp: next.bp() },
                is_fp_known: true,
                is_interrupted: false,
                certainty: Certainty::Exact,
            }),
            (Err(_), Some(at)) => Step::End(memory.end_at(at)),
            (Err(_), None) => Step::End(StackEnd::NoUnwindInfo),
        }
    }

    /// The frame pointer of a frame whose CFA is that plus `offset`, from the
    /// function's code.
    #[cfg(feature = "passive")]
    fn recover(
        &mut self,
        modules: &impl Modules,
        found: &Found,
        registers: &Registers,
        offset: i64,
    ) -> Option<u64> {
        let sp_to_cfa = self.analyser.sp_to_cfa(modules, found, offset, &mut self.context)?;
        registers.sp.checked_add(sp_to_cfa)?.checked_sub(u64::try_from(offset).ok()?)
    }

    #[cfg(not(feature = "passive"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn recover(
        &mut self,
        _modules: &impl Modules,
        _found: &Found,
        _registers: &Registers,
        _offset: i64,
    ) -> Option<u64> {
        None
    }
}

/// A step without a frame pointer: the row says all that is needed, or it ends.
fn by_hand(return_address: u64, cfa: u64, saved: Saved, memory: &mut impl StackMemory) -> Step {
    let fp = match saved {
        Saved::Kept => None,
        Saved::At(offset) => {
            let Some(slot) = cfa.checked_add_signed(offset) else {
                return Step::End(StackEnd::Inconsistent);
            };
            match memory.word(slot) {
                Some(fp) => Some(fp),
                None => return Step::End(memory.end_at(slot)),
            }
        }
        Saved::Other => return Step::End(StackEnd::FramePointerUnknown),
    };
    Step::To(Standing {
        registers: Registers { pc: return_address, sp: cfa, fp: fp.unwrap_or(0) },
        is_fp_known: fp.is_some(),
        is_interrupted: false,
        certainty: Certainty::Exact,
    })
}

/// Whether a call ends right before `pc`; `None`: the code cannot be read.
fn follows_call(modules: &impl Modules, pc: u64) -> Option<bool> {
    let mut before = [0_u8; MAX_CALL_BYTES];
    // Fewer right behind the beginning of what is mapped.
    [MAX_CALL_BYTES, 5, 2].into_iter().find_map(|count| {
        let before = before.get_mut(..count)?;
        let from = pc.checked_sub(count as u64)?;
        (modules.code(from, before) == count).then(|| ends_with_call(before))
    })
}

/// Whether the code at `pc` is a signal trampoline.
fn is_trampoline(modules: &impl Modules, pc: u64) -> bool {
    const LENGTH: usize = signal_frame::TRAMPOLINE.len();
    let mut at = [0_u8; LENGTH];
    let count = modules.code(pc, &mut at);
    let at = at.get(..count).unwrap_or_default();
    if signal_frame::is_trampoline(&[], at) {
        return true;
    }
    let mut before = [0_u8; signal_frame::SECOND];
    let is_before = pc
        .checked_sub(signal_frame::SECOND as u64)
        .is_some_and(|from| modules.code(from, &mut before) == signal_frame::SECOND);
    is_before && signal_frame::is_trampoline(&before, at)
}

/// Step 5: nothing is known of the code at the pc. By hand, not by framehop,
/// which would also use what it knows of an object that is no longer mapped.
///
/// An interrupted function without information is most likely a stub that has
/// pushed nothing, or no function at all (a call through a bad pointer): the
/// caller's address is on top of the stack. Else the frame pointer is followed.
/// What leads outside all code, or does not follow a call, is no frame.
fn guess(
    modules: &impl Modules,
    registers: &Registers,
    memory: &mut impl StackMemory,
    is_first: bool,
) -> Step {
    let is_return = |pc: &u64| {
        modules.lookup(pc.wrapping_sub(1)).is_some() && follows_call(modules, *pc) != Some(false)
    };
    let to = |registers: Registers| {
        Step::To(Standing {
            registers,
            is_fp_known: true,
            is_interrupted: false,
            certainty: Certainty::FramePointer,
        })
    };
    if is_first && let Some(pc) = memory.word(registers.sp).filter(is_return) {
        return to(Registers { pc, sp: registers.sp.wrapping_add(8), fp: registers.fp });
    }
    let mut next = || {
        let sp = registers.fp.checked_add(16).filter(|sp| *sp > registers.sp)?;
        let pc = memory.word(registers.fp.wrapping_add(8)).filter(is_return)?;
        Some(Registers { pc, sp, fp: memory.word(registers.fp)? })
    };
    next().map_or(Step::End(StackEnd::NoUnwindInfo), to)
}

/// Step 3: the registers that the signal interrupted.
fn interrupted(registers: &Registers, memory: &mut impl StackMemory) -> Step {
    match signal_frame::interrupted(registers.sp, memory) {
        Ok(registers) => Step::To(Standing {
            registers,
            is_fp_known: true,
            is_interrupted: true,
            certainty: Certainty::Exact,
        }),
        Err(at) => Step::End(memory.end_at(at)),
    }
}

#[cfg(all(test, gmr_engine, feature = "passive"))]
mod musl;
#[cfg(test)]
mod tests;
