//! From registers and a window to frames: a pure function, so that it can be
//! fuzzed and replayed.
//!
//! For each frame:
//!
//! 1. Find the module of the address to look up (the return address − 1, or the
//!    interrupted pc itself) and judge its call frame information
//!    ([`super::rules`]; remembered per address).
//! 2. *End of stack*: done, the stack is complete.
//! 3. *Signal frame*: the interrupted registers are read from the kernel's
//!    frame by hand (framehop cannot), and the walk goes on exactly.
//! 4. *Rule*: compute the CFA, refuse one that is not above the stack pointer
//!    and inside the window, let framehop step, and compare its stack pointer
//!    with the CFA.
//! 5. *Nothing known*: the top of the stack or the frame pointer is followed;
//!    the frame found that way carries a mark.
//!
//! Limits: x86_64. Frames are counted and capped by the caller's `emit`. A
//! stack that leaves the window (an alternate signal stack) ends there and
//! says so.

use alloc::boxed::Box;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{FrameAddress, MustNotAllocateDuringUnwind, Unwinder as _};

pub use super::rules::Registers;
use super::rules::{self, Base, CallFrameInfo, Context, Rule};
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

#[derive(Debug, Clone, Copy)]
struct Remembered {
    address: u64,
    rule: Rule,
}

/// Rules remembered, by address: a power of two. A report of a thousand parked
/// threads has a few hundred distinct addresses.
const REMEMBERED: usize = 2048;

/// One walker's memory: framehop's cache, gimli's tables, remembered rules.
/// Allocates when made, never when used.
pub struct Walker {
    framehop: CacheX86_64<MustNotAllocateDuringUnwind>,
    context: Box<Context>,
    remembered: Box<[Remembered]>,
    generation: u64,
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

/// Size of the kernel's frame that we read: up to rip in the ucontext.
mod signal_frame {
    /// Offset of rbp from the stack pointer of `__restore_rt`'s frame, which
    /// points at the ucontext: uc_flags, uc_link, uc_stack (40 bytes), then the
    /// registers in the order of `REG_R8`… (sys/ucontext.h).
    pub(super) const RBP: u64 = 120;
    /// rsp
    pub(super) const RSP: u64 = 160;
    /// rip
    pub(super) const RIP: u64 = 168;
}

enum Step {
    To { registers: Registers, certainty: Certainty, is_interrupted: bool },
    End(StackEnd),
}

impl Walker {
    /// A walker with empty memory.
    #[must_use]
    pub fn new() -> Self {
        Walker {
            framehop: CacheX86_64::new_in(),
            context: Box::new(Context::new_in()),
            remembered: alloc::vec![
                Remembered { address: 0, rule: Rule::Uncovered };
                REMEMBERED
            ]
            .into_boxed_slice(),
            generation: 0,
        }
    }

    /// Walks the stack that begins at `registers`. `emit` takes each frame,
    /// innermost first; it returns `false` when it takes no more.
    ///
    /// # Signal safety
    ///
    /// Safe: no allocation, no lock, no panic; reads the window only.
    pub fn walk(
        &mut self,
        modules: &impl Modules,
        start: Registers,
        memory: &mut impl StackMemory,
        mut emit: impl FnMut(Found) -> bool,
    ) -> StackEnd {
        if self.generation != modules.generation() {
            self.generation = modules.generation();
            self.remembered.fill(Remembered { address: 0, rule: Rule::Uncovered });
        }
        let mut registers = start;
        let mut certainty = Certainty::Exact;
        let mut is_interrupted = true;
        let mut is_first = true;
        loop {
            let mut found =
                Found { pc: registers.pc, certainty, is_signal_frame: false, is_interrupted };
            let rule = self.rule(modules, found.lookup_address(), registers.pc);
            found.is_signal_frame = rule == Rule::SignalFrame;
            if found.is_signal_frame {
                // Its own pc is what the handler returns to: exact, not a call.
                found.is_interrupted = true;
            }
            if !emit(found) {
                return StackEnd::FrameLimit { frames: 0 };
            }
            let step = self.step(modules, rule, &found, &registers, memory, is_first);
            match step {
                Step::End(end) => return end,
                Step::To { registers: next, certainty: how, is_interrupted: exact } => {
                    registers = next;
                    certainty = how;
                    is_interrupted = exact;
                    is_first = false;
                }
            }
        }
    }

    fn rule(&mut self, modules: &impl Modules, address: u64, pc: u64) -> Rule {
        // Fibonacci hashing spreads neighbouring addresses.
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        let slot = (hash as usize) & REMEMBERED.wrapping_sub(1);
        if let Some(known) = self.remembered.get(slot)
            && known.address == address
            && address != 0
        {
            return known.rule;
        }
        let judge = |address: u64, context: &mut Context| match modules.lookup(address) {
            Some((bias, Some(info))) => rules::judge(&info, address.wrapping_sub(bias), context),
            _ => Rule::Uncovered,
        };
        let mut rule = judge(address, &mut self.context);
        // A signal frame is entered by a return, not after a call: its own
        // first address is what counts, and the one before it is another
        // function's.
        if address != pc && judge(pc, &mut self.context) == Rule::SignalFrame {
            rule = Rule::SignalFrame;
        }
        if let Some(known) = self.remembered.get_mut(slot) {
            *known = Remembered { address, rule };
        }
        rule
    }

    fn step(
        &mut self,
        modules: &impl Modules,
        rule: Rule,
        found: &Found,
        registers: &Registers,
        memory: &mut impl StackMemory,
        is_first: bool,
    ) -> Step {
        let cfa = match rule {
            Rule::EndOfStack => return Step::End(StackEnd::Complete),
            Rule::SignalFrame => return interrupted(registers, memory),
            Rule::Refused => return Step::End(StackEnd::NoUnwindInfo),
            Rule::Uncovered => return guess(modules, registers, memory, is_first),
            Rule::Step { base, offset } => {
                let from = match base {
                    Base::StackPointer => registers.sp,
                    Base::FramePointer => registers.fp,
                };
                match from.checked_add_signed(offset) {
                    Some(cfa) => cfa,
                    None => return Step::End(StackEnd::Inconsistent),
                }
            }
            Rule::StepByExpression => {
                let address = found.lookup_address();
                let cfa = modules.lookup(address).and_then(|(bias, info)| {
                    let svma = address.wrapping_sub(bias);
                    rules::evaluate(&info?, svma, registers, &mut self.context)
                });
                match cfa {
                    Some(cfa) => cfa,
                    None => return Step::End(StackEnd::NoUnwindInfo),
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
        if memory.word(return_slot).is_none() {
            return Step::End(memory.end_at(return_slot));
        }
        let address = if found.is_interrupted {
            FrameAddress::from_instruction_pointer(found.pc)
        } else {
            match FrameAddress::from_return_address(found.pc) {
                Some(address) => address,
                None => return Step::End(StackEnd::Complete),
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
            (Ok(None), _) => Step::End(StackEnd::Complete),
            // Had framehop guessed after all, it would not agree on the CFA.
            (Ok(Some(_)), _) if next.sp() != cfa => Step::End(StackEnd::Inconsistent),
            (Ok(Some(return_address)), _) => {
                let registers = Registers { pc: return_address, sp: next.sp(), fp: next.bp() };
                Step::To { registers, certainty: Certainty::Exact, is_interrupted: false }
            }
            (Err(_), Some(at)) => Step::End(memory.end_at(at)),
            (Err(_), None) => Step::End(StackEnd::NoUnwindInfo),
        }
    }
}

/// Step 5: nothing is known of the code at the pc. By hand, not by framehop,
/// which would also use what it knows of an object that is no longer mapped.
///
/// An interrupted function without information is most likely a stub that has
/// pushed nothing, or no function at all (a call through a bad pointer): the
/// caller's address is on top of the stack. Else the frame pointer is followed.
/// What leads outside all code is no frame.
fn guess(
    modules: &impl Modules,
    registers: &Registers,
    memory: &mut impl StackMemory,
    is_first: bool,
) -> Step {
    let is_code = |pc: &u64| modules.lookup(pc.wrapping_sub(1)).is_some();
    let to = |registers: Registers| Step::To {
        registers,
        certainty: Certainty::FramePointer,
        is_interrupted: false,
    };
    if is_first && let Some(pc) = memory.word(registers.sp).filter(is_code) {
        return to(Registers { pc, sp: registers.sp.wrapping_add(8), fp: registers.fp });
    }
    let mut next = || {
        let sp = registers.fp.checked_add(16).filter(|sp| *sp > registers.sp)?;
        let pc = memory.word(registers.fp.wrapping_add(8)).filter(is_code)?;
        Some(Registers { pc, sp, fp: memory.word(registers.fp)? })
    };
    next().map_or(Step::End(StackEnd::NoUnwindInfo), to)
}

/// Step 3: the registers that the signal interrupted.
fn interrupted(registers: &Registers, memory: &mut impl StackMemory) -> Step {
    let mut word = |offset: u64| {
        let at = registers.sp.wrapping_add(offset);
        memory.word(at).ok_or(at)
    };
    let mut read = || {
        Ok(Registers {
            pc: word(signal_frame::RIP)?,
            sp: word(signal_frame::RSP)?,
            fp: word(signal_frame::RBP)?,
        })
    };
    match read() {
        Ok(registers) => Step::To { registers, certainty: Certainty::Exact, is_interrupted: true },
        Err(at) => Step::End(memory.end_at(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Function, Image};
    use super::super::window::Window;
    use super::*;
    use std::vec::Vec;

    const STACK: u64 = 0x7000_0000;

    /// 0: CFA = rsp + 16; 1: CFA = rbp + 16, saves rbp; 2: the outermost one;
    /// 3: the signal frame.
    fn image() -> Image {
        Image::new(&[
            Function::Plain(&[0x0e, 16]),
            Function::Plain(&[0x0c, 6, 16, 0x86, 2]),
            Function::Plain(&[0x07, 16]),
            Function::SignalFrame(&[]),
            Function::Plain(&[0x0e, 7]),
        ])
    }

    fn at(pc: u64, sp: u64, fp: u64) -> Registers {
        Registers { pc, sp, fp }
    }

    fn walk(start: Registers, base: u64, words: &[u64]) -> (Vec<Found>, StackEnd) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut frames = Vec::new();
        let end =
            Walker::new().walk(&image(), start, &mut Window { base, bytes: &bytes }, |found| {
                frames.push(found);
                frames.len() < 16
            });
        (frames, end)
    }

    fn pcs(frames: &[Found]) -> Vec<u64> {
        frames.iter().map(|frame| frame.pc).collect()
    }

    #[test]
    fn a_whole_stack() {
        let (first, second, last) = (Image::at(0, 2), Image::at(1, 9), Image::at(2, 5));
        let frame = STACK + 24;
        let words = [1, second, 2, frame, last, 0];
        let (frames, end) = walk(at(first, STACK, frame), STACK, &words);
        assert_eq!((pcs(&frames), end), (Vec::from([first, second, last]), StackEnd::Complete));
        assert!(frames.iter().all(|frame| frame.certainty == Certainty::Exact));
        assert!(frames[0].is_interrupted && !frames[1].is_interrupted);
        assert_eq!(frames[1].lookup_address(), second - 1);
    }

    #[test]
    fn a_call_as_last_instruction_is_looked_up_before_its_return_address() {
        // The return address is the first byte of the next function.
        let words = [1, Image::at(1, 0), 3, Image::at(2, 1)];
        let (frames, end) = walk(at(Image::at(0, 0), STACK, 0), STACK, &words);
        assert_eq!((frames.len(), end), (3, StackEnd::Complete));
    }

    #[test]
    fn the_ends_of_the_window() {
        let pc = Image::at(0, 2);
        let (frames, end) = walk(at(pc, STACK, 0), STACK, &[1]);
        assert_eq!((frames.len(), end), (1, StackEnd::WindowFull { window_bytes: 8 }));
        let (frames, end) = walk(at(pc, STACK, 0), STACK, &[]);
        assert_eq!((frames.len(), end), (1, StackEnd::WindowFull { window_bytes: 0 }));
        // Another stack altogether, below the window.
        let (frames, end) = walk(at(pc, STACK - 4096, 0), STACK, &[1, 2]);
        assert_eq!((frames.len(), end), (1, StackEnd::Unreadable));
    }

    #[test]
    fn the_limit_of_frames() {
        // A function that calls itself.
        let words: Vec<u64> = (0..64).map(|_| Image::at(0, 2)).collect();
        let (frames, end) = walk(at(Image::at(0, 2), STACK, 0), STACK, &words);
        assert_eq!((frames.len(), end), (16, StackEnd::FrameLimit { frames: 0 }));
    }

    #[test]
    fn a_step_that_does_not_advance_ends_the_walk() {
        for fp in [0, 8, STACK - 16, u64::MAX - 8, u64::MAX] {
            let (frames, end) = walk(at(Image::at(1, 8), STACK, fp), STACK, &[1, 2, 3]);
            assert_eq!(frames.len(), 1);
            assert_eq!(end, StackEnd::Inconsistent, "{fp:x}");
        }
    }

    #[test]
    fn a_stack_at_the_beginning_of_the_address_space() {
        // framehop's `new_sp - 8` is out of reach.
        for sp in 0..32 {
            for function in [0, 1, 4, 9] {
                for fp in [0, 1, 7, 8, 16, u64::MAX] {
                    let start = at(Image::at(function, 2), sp, fp);
                    let (frames, _) = walk(start, 0, &[Image::at(4, 3); 8]);
                    assert!(!frames.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_guess_is_marked() {
        // Code of the module that no rule covers, interrupted at its beginning.
        let (caller, last) = (Image::at(0, 5), Image::at(2, 5));
        let (frames, end) = walk(at(Image::at(5, 0), STACK, 0), STACK, &[caller, 1, last]);
        assert_eq!(
            (pcs(&frames)[1..].to_vec(), end),
            (Vec::from([caller, last]), StackEnd::Complete)
        );
        assert_eq!(frames[1].certainty, Certainty::FramePointer);
        assert_eq!(frames[2].certainty, Certainty::Exact);
        // Nothing to guess with.
        let (frames, end) = walk(at(Image::at(5, 0), STACK, 0), STACK, &[7, 7]);
        assert_eq!((frames.len(), end), (1, StackEnd::NoUnwindInfo));
    }

    #[test]
    fn a_call_through_a_bad_pointer() {
        let (caller, last) = (Image::at(0, 5), Image::at(2, 5));
        for bad in [0, 1, 0xdead_beef, u64::MAX] {
            let (frames, end) = walk(at(bad, STACK, 0), STACK, &[caller, 1, last]);
            assert_eq!((pcs(&frames), end), (Vec::from([bad, caller, last]), StackEnd::Complete));
            assert_eq!(frames[1].certainty, Certainty::FramePointer);
            let (frames, end) = walk(at(bad, STACK, 0), STACK, &[3, 1, last]);
            assert_eq!((frames.len(), end), (1, StackEnd::NoUnwindInfo));
        }
    }

    #[test]
    fn a_signal_frame_is_stepped_by_hand() {
        // A handler in function 0, called by the kernel: it returns to the
        // first byte of the signal frame. Behind its return address lies the
        // ucontext, and above that the interrupted stack.
        let (interrupted, last) = (Image::at(1, 0), Image::at(2, 5));
        let frame = STACK + 8 * 40;
        let mut words = [0_u64; 48];
        words[1] = Image::at(3, 0);
        let context = 2;
        words[context + 15] = frame;
        words[context + 20] = STACK + 8 * 36;
        words[context + 21] = interrupted;
        words[40] = 0x0bad;
        words[41] = last;
        let (frames, end) = walk(at(Image::at(0, 3), STACK, 77), STACK, &words);
        assert_eq!(end, StackEnd::Complete);
        assert_eq!(pcs(&frames), [Image::at(0, 3), Image::at(3, 0), interrupted, last]);
        assert!(frames[1].is_signal_frame);
        assert_eq!(frames.iter().filter(|frame| frame.is_signal_frame).count(), 1);
        // An interrupted pc is looked up itself: here it is the function's
        // first byte.
        assert!(frames[2].is_interrupted && frames[2].certainty == Certainty::Exact);

        // The interrupted stack is another one.
        words[context + 20] = STACK - 0x10_0000;
        words[context + 15] = STACK - 0x10_0000;
        let (frames, end) = walk(at(Image::at(0, 3), STACK, 77), STACK, &words);
        assert_eq!((frames.len(), end), (3, StackEnd::Unreadable));
        // The frame is cut.
        let (frames, end) = walk(at(Image::at(0, 3), STACK, 77), STACK, &words[..12]);
        assert_eq!((frames.len(), end), (2, StackEnd::WindowFull { window_bytes: 96 }));
    }

    #[test]
    fn earlier_walks_change_nothing() {
        let (first, second, last) = (Image::at(0, 2), Image::at(1, 9), Image::at(2, 5));
        let frame = STACK + 24;
        let bytes: Vec<u8> =
            [1, second, 2, frame, last, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let image = image();
        let mut walker = Walker::new();
        for cut in (0..=bytes.len()).chain([bytes.len()]) {
            let mut window = Window { base: STACK, bytes: &bytes[..cut] };
            let mut count = 0;
            let end = walker.walk(&image, at(first, STACK, frame), &mut window, |_| {
                count += 1;
                true
            });
            if cut >= 40 {
                assert_eq!((count, end), (3, StackEnd::Complete));
            }
        }
    }
}
