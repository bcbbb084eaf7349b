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
    EvaluationStorage, Expression, Location, NativeEndian, Operation, Pointer, Reader,
    ReaderOffset, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression,
    UnwindSection, UnwindTableRow, Value, X86_64,
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
    },
    /// The CFA is an expression: evaluate it for each frame.
    StepByExpression,
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
        match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } if is_small(*offset) => match *register
            {
                X86_64::RSP => Rule::Step { base: Base::StackPointer, offset: *offset },
                X86_64::RBP => Rule::Step { base: Base::FramePointer, offset: *offset },
                _ => Rule::Refused,
            },
            CfaRule::Expression(expression) if is_straight(frames, expression, encoding) => {
                Rule::StepByExpression
            }
            _ => Rule::Refused,
        }
    });
    judged.unwrap_or_else(|unfit| match unfit {
        Unfit::Uncovered => Rule::Uncovered,
        Unfit::Refused => Rule::Refused,
    })
}

/// The CFA of a [`Rule::StepByExpression`] row.
pub fn evaluate(
    info: &CallFrameInfo<'_>,
    svma: u64,
    registers: &Registers,
    context: &mut Context,
) -> Option<u64> {
    with_row(info, svma, context, |frames, row, _, encoding| match row.cfa() {
        CfaRule::Expression(expression) => run(expression.get(frames).ok()?, encoding, registers),
        CfaRule::RegisterAndOffset { .. } => None,
    })
    .ok()
    .flatten()
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
    let encoding = fde.cie().encoding();
    let is_signal_frame = fde.is_signal_trampoline();
    let row = fde.unwind_info_for_address(&frames, &bases, context, svma).map_err(uncovered)?;
    // A row may reach beyond its entry's end; framehop would take it.
    if !fde.contains(svma) {
        return Err(Unfit::Refused);
    }
    Ok(look(&frames, row, is_signal_frame, encoding))
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
                    X86_64::RBP => registers.fp,
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
