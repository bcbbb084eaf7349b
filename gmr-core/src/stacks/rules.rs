//! What the call frame information says about a program counter, judged before
//! framehop takes the step.
//!
//! 1. Find the frame description entry (FDE) through `.eh_frame_hdr`.
//! 2. Evaluate its row for the address.
//! 3. Judge it: the end of the stack, a signal frame, a rule framehop may
//!    execute, or one it must not see.
//!
//! framehop hides when it had to guess by frame pointer, and overflows on
//! crafted rules (`cfa - 8` with a CFA below 8; the sum of two offsets). Here
//! every offset is bounded and the canonical frame address (CFA) is computed
//! with checks, so the caller can refuse a step before framehop takes it.
//! gimli overflows on a crafted `.eh_frame_hdr`: only the encodings that
//! linkers write are read, and no entry that lies before `.eh_frame`.
//! Expressions with branches are refused: no compiler emits them, and framehop
//! would run an endless one.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, Evaluation, EvaluationResult,
    EvaluationStorage, Expression, FrameDescriptionEntry, Location, NativeEndian, Operation,
    Pointer, Reader, ReaderOffset, Register, RegisterRule, UnwindContext, UnwindContextStorage,
    UnwindExpression, UnwindSection, UnwindTableRow, Value, X86_64,
};

/// Larger offsets than any real frame; keeps every sum far from overflow.
const MAX_OFFSET: i64 = 1 << 31;

/// Operations of one expression; the linker's PLT entry has eight.
const MAX_OPERATIONS: u32 = 64;

/// A module's call frame information, as addresses of the file see it.
#[derive(Debug, Clone)]
pub struct CallFrameInfo<'a> {
    /// `.eh_frame_hdr`.
    pub header: &'a [u8],
    /// Its address in the file.
    pub header_svma: u64,
    /// `.eh_frame`.
    pub frames: &'a [u8],
    /// Its address in the file.
    pub frames_svma: u64,
}

/// Room for gimli's tables; allocated once, at setup.
#[derive(Debug)]
pub struct Storage;

impl<T: ReaderOffset> UnwindContextStorage<T> for Storage {
    // framehop's own sizes: what it can execute, we can judge.
    type Rules = [(Register, RegisterRule<T>); 192];
    type Stack = [UnwindTableRow<T, Self>; 4];
}

impl<R: Reader> EvaluationStorage<R> for Storage {
    type Stack = [Value; 64];
    type ExpressionStack = [(R, R); 4];
    type Result = [gimli::Piece<R>; 1];
}

/// Scratch memory for [`judge`] (about 25 kB).
pub type Context = UnwindContext<usize, Storage>;

/// The register a frame address counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// rsp
    StackPointer,
    /// rbp
    FramePointer,
}

/// What the row does besides its CFA: all that is needed to step by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// The return address lies at CFA − 8, and rbp is the caller's.
    Kept,
    /// The return address lies at CFA − 8, and the caller's rbp at CFA + this.
    At(i64),
    /// Anything else: an expression, another place, or not known.
    Other,
}

/// What the call frame information says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing covers the address.
    Uncovered,
    /// The outermost frame: the return address is undefined.
    EndOfStack,
    /// The kernel's signal frame.
    SignalFrame,
    /// CFA = base + offset; framehop may execute the row.
    Step {
        /// Counted from.
        base: Base,
        /// In bytes, within ± 2^31.
        offset: i64,
        /// What else the row does.
        saved: Saved,
    },
    /// The CFA is an expression: evaluate it for each frame.
    StepByExpression {
        /// What else the row does.
        saved: Saved,
    },
    /// framehop must not see it (a branch, an unknown register, an absurd
    /// offset), or gimli cannot read it.
    Refused,
}

/// Registers that a rule may count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub fp: u64,
}

/// One row of a function, for those who follow its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// First address of the row, as the file sees it.
    pub start_svma: u64,
    /// CFA = base + offset; `None`: it is said in another way.
    pub cfa: Option<(Base, i64)>,
}

type Slice<'a> = EndianSlice<'a, NativeEndian>;

/// Judges the row that covers `svma`.
pub fn judge(info: &CallFrameInfo<'_>, svma: u64, context: &mut Context) -> Rule {
    let judged = with_row(info, svma, context, |frames, row, is_signal_frame, encoding| {
        if is_signal_frame {
            return Rule::SignalFrame;
        }
        match row.register(X86_64::RA) {
            None | Some(RegisterRule::Undefined) => return Rule::EndOfStack,
            Some(rule) if !is_harmless(frames, &rule, encoding) => return Rule::Refused,
            Some(_) => {}
        }
        if row.register(X86_64::RBP).is_some_and(|rule| !is_harmless(frames, &rule, encoding)) {
            return Rule::Refused;
        }
        let saved = saved(row);
        match row.cfa() {
            CfaRule::Expression(expression) if is_straight(frames, expression, encoding) => {
                Rule::StepByExpression { saved }
            }
            rule => match plain(rule) {
                Some((base, offset)) => Rule::Step { base, offset, saved },
                None => Rule::Refused,
            },
        }
    });
    judged.unwrap_or_else(|unfit| match unfit {
        Unfit::Uncovered => Rule::Uncovered,
        Unfit::Refused => Rule::Refused,
    })
}

fn plain(rule: &CfaRule<usize>) -> Option<(Base, i64)> {
    match rule {
        CfaRule::RegisterAndOffset { register, offset } if is_small(*offset) => match *register {
            X86_64::RSP => Some((Base::StackPointer, *offset)),
            X86_64::RBP => Some((Base::FramePointer, *offset)),
            _ => None,
        },
        _ => None,
    }
}

fn saved(row: &UnwindTableRow<usize, Storage>) -> Saved {
    if row.register(X86_64::RA) != Some(RegisterRule::Offset(-8)) {
        return Saved::Other;
    }
    match row.register(X86_64::RBP) {
        // What is not mentioned is preserved: the calling convention's.
        None | Some(RegisterRule::SameValue) => Saved::Kept,
        Some(RegisterRule::Offset(offset)) => Saved::At(offset),
        Some(_) => Saved::Other,
    }
}

/// The CFA of a [`Rule::StepByExpression`] row. Without a frame pointer only
/// an expression that does not ask for it has a value.
pub fn evaluate(
    info: &CallFrameInfo<'_>,
    svma: u64,
    registers: &Registers,
    is_frame_pointer_known: bool,
    context: &mut Context,
) -> Option<u64> {
    with_row(info, svma, context, |frames, row, _, encoding| match row.cfa() {
        CfaRule::Expression(expression) => {
            run(expression.get(frames).ok()?, encoding, registers, is_frame_pointer_known)
        }
        CfaRule::RegisterAndOffset { .. } => None,
    })
    .ok()
    .flatten()
}

/// The rows of the function that covers `svma`, by address, and the range of
/// addresses that they cover. `None`: nothing covers it, or `each` returned
/// `false`, or a row cannot be read.
pub fn rows(
    info: &CallFrameInfo<'_>,
    svma: u64,
    context: &mut Context,
    mut each: impl FnMut(Row) -> bool,
) -> Option<core::ops::Range<u64>> {
    let (entry, frames, bases) = entry(info, svma).ok()?;
    let start = entry.initial_address();
    let range = start..start.checked_add(entry.len())?;
    if !range.contains(&svma) {
        return None;
    }
    let mut table = entry.rows(&frames, &bases, context).ok()?;
    while let Some(row) = table.next_row().ok()? {
        if !each(Row { start_svma: row.start_address(), cfa: plain(row.cfa()) }) {
            return None;
        }
    }
    Some(range)
}

/// Why there is no row.
enum Unfit {
    /// Nothing covers the address.
    Uncovered,
    /// framehop must not look either.
    Refused,
}

/// What every linker writes behind the version and the pointer to `.eh_frame`:
/// the count as an unsigned 32-bit number, the table as pairs of signed 32-bit
/// numbers relative to the header.
const USUAL_TABLE: [u8; 2] = [0x03, 0x3b];

/// There is no table.
const NO_TABLE: [u8; 2] = [0xff, 0xff];

fn with_row<T>(
    info: &CallFrameInfo<'_>,
    svma: u64,
    context: &mut Context,
    look: impl FnOnce(&EhFrame<Slice<'_>>, &UnwindTableRow<usize, Storage>, bool, gimli::Encoding) -> T,
) -> Result<T, Unfit> {
    let (fde, frames, bases) = entry(info, svma)?;
    let encoding = fde.cie().encoding();
    let is_signal_frame = fde.is_signal_trampoline();
    let row = fde
        .unwind_info_for_address(&frames, &bases, context, svma)
        .map_err(|_| Unfit::Uncovered)?;
    // A row may reach beyond its entry's end; framehop would take it.
    if !fde.contains(svma) {
        return Err(Unfit::Refused);
    }
    Ok(look(&frames, row, is_signal_frame, encoding))
}

type Entry<'a> = (FrameDescriptionEntry<Slice<'a>>, EhFrame<Slice<'a>>, BaseAddresses);

/// The entry that `.eh_frame_hdr` names for `svma`; it may end before it.
fn entry<'a>(info: &CallFrameInfo<'a>, svma: u64) -> Result<Entry<'a>, Unfit> {
    // gimli multiplies the count with the size of a row and subtracts the
    // address of .eh_frame from an entry, both unchecked.
    match info.header.get(2..4) {
        Some(encodings) if encodings == USUAL_TABLE => {}
        Some(encodings) if encodings == NO_TABLE => return Err(Unfit::Uncovered),
        _ => return Err(Unfit::Refused),
    }
    let uncovered = |_: gimli::Error| Unfit::Uncovered;
    // The same as framehop's: what it can read, we can judge.
    let bases = BaseAddresses::default()
        .set_eh_frame_hdr(info.header_svma)
        .set_eh_frame(info.frames_svma)
        .set_text(0)
        .set_got(0);
    let header = EhFrameHdr::new(info.header, NativeEndian).parse(&bases, 8).map_err(uncovered)?;
    let mut frames = EhFrame::new(info.frames, NativeEndian);
    frames.set_address_size(8);
    let table = header.table().ok_or(Unfit::Uncovered)?;
    let entry = table.lookup(svma, &bases).map_err(uncovered)?;
    match (entry, header.eh_frame_ptr()) {
        (Pointer::Direct(entry), Pointer::Direct(start)) if entry >= start => {}
        _ => return Err(Unfit::Refused),
    }
    let offset = table.pointer_to_offset(entry).map_err(uncovered)?;
    let fde =
        frames.fde_from_offset(&bases, offset, EhFrame::cie_from_offset).map_err(uncovered)?;
    Ok((fde, frames, bases))
}

fn is_small(offset: i64) -> bool {
    (-MAX_OFFSET..MAX_OFFSET).contains(&offset)
}

fn is_harmless(
    frames: &EhFrame<Slice<'_>>,
    rule: &RegisterRule<usize>,
    encoding: gimli::Encoding,
) -> bool {
    match rule {
        RegisterRule::Offset(offset) | RegisterRule::ValOffset(offset) => is_small(*offset),
        RegisterRule::Expression(expression) | RegisterRule::ValExpression(expression) => {
            is_straight(frames, expression, encoding)
        }
        _ => true,
    }
}

/// Whether an expression runs from its start to its end and no further.
fn is_straight(
    frames: &EhFrame<Slice<'_>>,
    expression: &UnwindExpression<usize>,
    encoding: gimli::Encoding,
) -> bool {
    let Ok(expression) = expression.get(frames) else { return false };
    let mut operations = expression.operations(encoding);
    for _ in 0..MAX_OPERATIONS {
        match operations.next() {
            Ok(None) => return true,
            Ok(Some(
                Operation::Bra { .. }
                | Operation::Skip { .. }
                | Operation::Call { .. }
                | Operation::Piece { .. }
                | Operation::EntryValue { .. },
            ))
            | Err(_) => return false,
            Ok(Some(_)) => {}
        }
    }
    false
}

fn run(
    expression: Expression<Slice<'_>>,
    encoding: gimli::Encoding,
    registers: &Registers,
    is_frame_pointer_known: bool,
) -> Option<u64> {
    let mut evaluation = Evaluation::<_, Storage>::new_in(expression.0, encoding);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    let mut state = evaluation.evaluate().ok()?;
    // Each round answers one question of the expression.
    for _ in 0..MAX_OPERATIONS {
        match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = match register {
                    X86_64::RA => registers.pc,
                    X86_64::RSP => registers.sp,
                    X86_64::RBP if is_frame_pointer_known => registers.fp,
                    _ => return None,
                };
                state = evaluation.resume_with_register(Value::Generic(value)).ok()?;
            }
            _ => return None,
        }
    }
    match evaluation.as_result().last()?.location {
        Location::Address { address } => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CODE, Function, Image, LENGTH};
    use super::*;

    fn judged(instructions: &[u8], byte: u64) -> Rule {
        let image = Image::new(&[Function::Plain(instructions), Function::Plain(&[])]);
        judge(&image.info(), CODE + byte, &mut Context::new_in())
    }

    fn by(base: Base, offset: i64) -> Rule {
        Rule::Step { base, offset, saved: Saved::Kept }
    }

    fn saving_rbp(base: Base, offset: i64) -> Rule {
        Rule::Step { base, offset, saved: Saved::At(-16) }
    }

    #[test]
    fn what_else_a_row_does() {
        let saved = |instructions: &[u8]| match judged(instructions, 0) {
            Rule::Step { saved, .. } => saved,
            other => panic!("{other:?}"),
        };
        assert_eq!(saved(&[0x86, 3]), Saved::At(-24));
        assert_eq!(saved(&[0x08, 6]), Saved::Kept, "same value");
        assert_eq!(saved(&[0x07, 6]), Saved::Other, "undefined");
        assert_eq!(saved(&[0x14, 6, 2]), Saved::Other, "CFA - 16 itself");
        assert_eq!(saved(&[0x09, 6, 3]), Saved::Other, "in rbx");
        assert_eq!(saved(&[0x10, 6, 2, 0x77, 8]), Saved::Other, "where an expression says");
        assert_eq!(saved(&[0x90, 2]), Saved::Other, "the return address elsewhere");
    }

    #[test]
    fn the_rows_of_a_function() {
        let prologue = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x44, 0x0c, 3, 8];
        let image = Image::new(&[Function::Plain(&[]), Function::Plain(&prologue)]);
        let mut found = std::vec::Vec::new();
        let mut context = Context::new_in();
        let start = CODE + LENGTH;
        let range = rows(&image.info(), start + 9, &mut context, |row| {
            found.push((row.start_svma - start, row.cfa));
            true
        });
        assert_eq!(range, Some(start..start + LENGTH));
        let (sp, fp) = (Base::StackPointer, Base::FramePointer);
        assert_eq!(
            found,
            [(0, Some((sp, 8))), (1, Some((sp, 16))), (4, Some((fp, 16))), (8, None)]
        );
        assert_eq!(rows(&image.info(), start, &mut context, |_| false), None);
        assert_eq!(rows(&image.info(), start + LENGTH, &mut context, |_| true), None);
    }

    /// As binutils write it for each PLT entry: CFA = rsp + 8, and 8 more once
    /// the index is pushed (from byte 11 on).
    const PLT: [u8; 13] = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];

    #[test]
    fn plain_rows_step() {
        assert_eq!(judged(&[], 0), by(Base::StackPointer, 8));
        assert_eq!(judged(&[0x0e, 0x60], 0), by(Base::StackPointer, 96));
        assert_eq!(judged(&[0x0c, 6, 16, 0x86, 2], 0), saving_rbp(Base::FramePointer, 16));
        // push rbp; mov rbp, rsp
        let prologue = [0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6];
        assert_eq!(judged(&prologue, 0), by(Base::StackPointer, 8));
        assert_eq!(judged(&prologue, 1), saving_rbp(Base::StackPointer, 16));
        assert_eq!(judged(&prologue, 4), saving_rbp(Base::FramePointer, 16));
        assert_eq!(judged(&prologue, LENGTH - 1), saving_rbp(Base::FramePointer, 16));
        assert_eq!(judged(&prologue, LENGTH), by(Base::StackPointer, 8), "the next one");
    }

    #[test]
    fn the_linkers_expression_is_evaluated() {
        assert_eq!(judged(&PLT, 0), Rule::StepByExpression { saved: Saved::Kept });
        let image = Image::new(&[Function::Plain(&PLT)]);
        let mut context = Context::new_in();
        for (byte, expected) in [(0, 0x1008), (10, 0x1008), (11, 0x1010), (15, 0x1010)] {
            let registers = Registers { pc: CODE + byte, sp: 0x1000, fp: 0 };
            let found = evaluate(&image.info(), CODE + byte, &registers, false, &mut context);
            assert_eq!(found, Some(expected), "{byte}");
        }
        // CFA = rbp + 8, as an expression.
        let image = Image::new(&[Function::Plain(&[0x0f, 2, 0x76, 8])]);
        let registers = Registers { pc: CODE, sp: 0x1000, fp: 0x2000 };
        let mut at = |is_known| evaluate(&image.info(), CODE, &registers, is_known, &mut context);
        assert_eq!((at(true), at(false)), (Some(0x2008), None));
    }

    #[test]
    fn ends_and_signal_frames_are_seen() {
        assert_eq!(judged(&[0x07, 16], 0), Rule::EndOfStack);
        let image = Image::new(&[Function::SignalFrame(&[])]);
        assert_eq!(judge(&image.info(), CODE, &mut Context::new_in()), Rule::SignalFrame);
    }

    #[test]
    fn what_framehop_must_not_see_is_refused() {
        for (why, instructions) in [
            ("a jump back to itself", &[0x0f, 3, 0x2f, 0xfd, 0xff][..]),
            ("a branch", &[0x0f, 5, 0x77, 0, 0x28, 0, 0]),
            ("a branch for rbp", &[0x10, 6, 3, 0x2f, 0xfd, 0xff]),
            ("a branch for the return address", &[0x16, 16, 3, 0x2f, 0xfd, 0xff]),
            ("a piece", &[0x0f, 4, 0x77, 0, 0x93, 8]),
            ("an operation that is none", &[0x0f, 1, 0xff]),
            ("rbx", &[0x0c, 3, 8]),
            ("2^31", &[0x0e, 0x80, 0x80, 0x80, 0x80, 0x08]),
            ("-2^31 - 8", &[0x13, 0x81, 0x80, 0x80, 0x80, 0x01]),
            ("rbp at CFA + 2^31", &[0x11, 6, 0x80, 0x80, 0x80, 0x80, 0x7f]),
        ] {
            assert_eq!(judged(instructions, 0), Rule::Refused, "{why}");
        }
        assert_eq!(judged(&[0x60, 0x0e, 16], LENGTH + 1), by(Base::StackPointer, 8));
        // A row that reaches beyond the end of its entry.
        let image = Image::new(&[Function::Plain(&[0x60, 0x0e, 16])]);
        let beyond = judge(&image.info(), CODE + LENGTH + 1, &mut Context::new_in());
        assert_eq!(beyond, Rule::Refused);
    }

    #[test]
    fn what_nothing_covers_is_said() {
        let image = Image::new(&[Function::Plain(&[])]);
        let mut context = Context::new_in();
        for outside in [0, CODE - 1, CODE + LENGTH, u64::MAX] {
            assert_eq!(judge(&image.info(), outside, &mut context), Rule::Uncovered, "{outside:x}");
        }
        let empty = CallFrameInfo { header: &[], frames: &[], ..image.info() };
        assert_eq!(judge(&empty, CODE, &mut context), Rule::Refused);
    }

    #[test]
    fn a_crafted_header_is_refused() {
        let image = Image::new(&[Function::Plain(&[])]);
        let mut context = Context::new_in();
        let mut with = |at: usize, bytes: &[u8]| {
            let mut header = image.header.clone();
            header[at..at + bytes.len()].copy_from_slice(bytes);
            judge(&CallFrameInfo { header: &header, ..image.info() }, CODE, &mut context)
        };
        assert_eq!(with(2, &[0x03, 0x3b]), by(Base::StackPointer, 8), "as it was");
        assert_eq!(with(2, &[0x04, 0x3b]), Rule::Refused, "a 64-bit count");
        assert_eq!(with(2, &[0x03, 0x3c]), Rule::Refused, "64-bit entries");
        assert_eq!(with(2, &[0xff, 0xff]), Rule::Uncovered, "no table");
        assert_eq!(with(8, &[0; 4]), Rule::Uncovered, "an empty table");
        assert_eq!(with(8, &[0xff; 4]), Rule::Uncovered, "a table that is cut");
        assert_eq!(with(16, &[0; 4]), Rule::Refused, "an entry before .eh_frame");
    }
}
