//! Call frame information written by hand: `.eh_frame` and its header, for the
//! unwinder's target.
//!
//! What comes out is well-formed where its parts are; the parts may say
//! anything.

use arbitrary::Arbitrary;

/// One operation of an expression.
#[derive(Debug, Clone, Arbitrary)]
pub enum Operation {
    Register(u8, i32),
    Constant(u64),
    Small(u8),
    Plus(u16),
    Add,
    And,
    Shift,
    Divide,
    Deref,
    Duplicate,
    Drop,
    Branch(i16),
    Skip(i16),
    CallFrameAddress,
    StackValue,
    Piece(u8),
    Raw(u8),
}

/// One call frame instruction.
#[derive(Debug, Clone, Arbitrary)]
pub enum Instruction {
    Advance(u8),
    DefineCfa(u8, u16),
    DefineCfaHuge(u8, i64),
    DefineCfaRegister(u8),
    DefineCfaOffset(u16),
    DefineCfaExpression(Vec<Operation>),
    Offset(u8, u8),
    OffsetHuge(u8, i64),
    ValueOffset(u8, i64),
    Register(u8, u8),
    Expression(u8, Vec<Operation>),
    ValueExpression(u8, Vec<Operation>),
    Undefined(u8),
    Same(u8),
    Restore(u8),
    RememberState,
    RestoreState,
    Raw(u8),
}

/// One function: its length and its own instructions.
#[derive(Debug, Clone, Arbitrary)]
pub struct Function {
    pub length: u8,
    pub is_signal_frame: bool,
    pub initial: Vec<Instruction>,
    pub instructions: Vec<Instruction>,
}

/// The bytes of both sections and how far the code goes.
#[derive(Debug, Clone)]
pub struct Image {
    pub header: Vec<u8>,
    pub frames: Vec<u8>,
}

impl Image {
    /// Changes bytes: header and frames count as one.
    pub fn change(&mut self, changes: &[(u16, u8)]) {
        for (at, value) in changes {
            let at = usize::from(*at);
            let header_len = self.header.len();
            if let Some(byte) = self.header.get_mut(at) {
                *byte = *value;
            } else if let Some(byte) = self.frames.get_mut(at - header_len) {
                *byte = *value;
            }
        }
    }
}

/// rip's number in DWARF
const RETURN_ADDRESS: u8 = 16;

/// Half of the registers are those that matter.
fn register(choice: u8) -> u8 {
    match choice {
        0..64 => 7,
        64..128 => 6,
        128..160 => RETURN_ADDRESS,
        other => other & 31,
    }
}

fn uleb(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return;
        }
    }
}

fn sleb(mut value: i64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        let is_last = (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0);
        out.push(if is_last { byte } else { byte | 0x80 });
        if is_last {
            return;
        }
    }
}

fn expression(operations: &[Operation], out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    for operation in operations {
        match operation {
            Operation::Register(number, offset) => {
                bytes.push(0x70 + (register(*number) & 31));
                sleb(i64::from(*offset), &mut bytes);
            }
            Operation::Constant(value) => {
                bytes.push(0x0e);
                bytes.extend_from_slice(&value.to_ne_bytes());
            }
            Operation::Small(value) => bytes.push(0x30 + (value & 31)),
            Operation::Plus(value) => {
                bytes.push(0x23);
                uleb(u64::from(*value), &mut bytes);
            }
            Operation::Add => bytes.push(0x22),
            Operation::And => bytes.push(0x1a),
            Operation::Shift => bytes.push(0x24),
            Operation::Divide => bytes.push(0x1b),
            Operation::Deref => bytes.push(0x06),
            Operation::Duplicate => bytes.push(0x12),
            Operation::Drop => bytes.push(0x13),
            Operation::Branch(to) => {
                bytes.push(0x28);
                bytes.extend_from_slice(&to.to_ne_bytes());
            }
            Operation::Skip(to) => {
                bytes.push(0x2f);
                bytes.extend_from_slice(&to.to_ne_bytes());
            }
            Operation::CallFrameAddress => bytes.push(0x9c),
            Operation::StackValue => bytes.push(0x9f),
            Operation::Piece(size) => bytes.extend_from_slice(&[0x93, size & 0x7f]),
            Operation::Raw(byte) => bytes.push(*byte),
        }
    }
    uleb(bytes.len() as u64, out);
    out.extend_from_slice(&bytes);
}

/// With code alignment 1 and data alignment -8, as compilers have them.
fn instruction(instruction: &Instruction, out: &mut Vec<u8>) {
    match instruction {
        Instruction::Advance(by) => out.push(0x40 | (by & 0x3f)),
        Instruction::DefineCfa(number, offset) => {
            out.extend_from_slice(&[0x0c, register(*number)]);
            uleb(u64::from(*offset), out);
        }
        Instruction::DefineCfaHuge(number, offset) => {
            out.extend_from_slice(&[0x12, register(*number)]);
            sleb(*offset, out);
        }
        Instruction::DefineCfaRegister(number) => {
            out.extend_from_slice(&[0x0d, register(*number)]);
        }
        Instruction::DefineCfaOffset(offset) => {
            out.push(0x0e);
            uleb(u64::from(*offset), out);
        }
        Instruction::DefineCfaExpression(operations) => {
            out.push(0x0f);
            expression(operations, out);
        }
        Instruction::Offset(number, factor) => {
            out.push(0x80 | register(*number));
            uleb(u64::from(*factor), out);
        }
        Instruction::OffsetHuge(number, factor) => {
            out.extend_from_slice(&[0x11, register(*number)]);
            sleb(*factor, out);
        }
        Instruction::ValueOffset(number, factor) => {
            out.extend_from_slice(&[0x15, register(*number)]);
            sleb(*factor, out);
        }
        Instruction::Register(number, other) => {
            out.extend_from_slice(&[0x09, register(*number), register(*other)]);
        }
        Instruction::Expression(number, operations) => {
            out.extend_from_slice(&[0x10, register(*number)]);
            expression(operations, out);
        }
        Instruction::ValueExpression(number, operations) => {
            out.extend_from_slice(&[0x16, register(*number)]);
            expression(operations, out);
        }
        Instruction::Undefined(number) => out.extend_from_slice(&[0x07, register(*number)]),
        Instruction::Same(number) => out.extend_from_slice(&[0x08, register(*number)]),
        Instruction::Restore(number) => out.push(0xc0 | register(*number)),
        Instruction::RememberState => out.push(0x0a),
        Instruction::RestoreState => out.push(0x0b),
        Instruction::Raw(byte) => out.push(*byte),
    }
}

/// Writes an entry's length once its end is known.
fn entry(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    while !out.len().is_multiple_of(8) {
        out.push(0);
    }
    let length = u32::try_from(out.len() - at - 4).expect("a small entry");
    out[at..at + 4].copy_from_slice(&length.to_ne_bytes());
    at
}

/// Both sections for functions that lie one behind the other from
/// `code_svma` on.
pub fn image(functions: &[Function], header_svma: u64, frames_svma: u64, code_svma: u64) -> Image {
    let mut frames = Vec::new();
    let mut table = Vec::new();
    let mut code = code_svma;
    for function in functions {
        let cie = entry(&mut frames, |out| {
            out.extend_from_slice(&0_u32.to_ne_bytes());
            out.push(1);
            out.extend_from_slice(if function.is_signal_frame { b"zRS\0" } else { b"zR\0" });
            uleb(1, out);
            sleb(-8, out);
            out.push(RETURN_ADDRESS);
            uleb(1, out);
            out.push(0x1b);
            // What the call left: CFA = rsp + 8, the return address below it.
            out.extend_from_slice(&[0x0c, 7, 8, 0x80 | RETURN_ADDRESS, 1]);
            for each in &function.initial {
                instruction(each, out);
            }
        });
        let length = u32::from(function.length).max(1);
        let fde = entry(&mut frames, |out| {
            let here = out.len();
            out.extend_from_slice(&((here - cie) as u32).to_ne_bytes());
            let at = frames_svma + out.len() as u64;
            out.extend_from_slice(&(code.wrapping_sub(at) as i32).to_ne_bytes());
            out.extend_from_slice(&length.to_ne_bytes());
            uleb(0, out);
            for each in &function.instructions {
                instruction(each, out);
            }
        });
        table.push((code, frames_svma + fde as u64));
        code += u64::from(length);
    }
    frames.extend_from_slice(&[0; 4]);

    // Version 1; pc-relative pointer to .eh_frame, u32 count, table relative
    // to the header.
    let mut header = vec![1, 0x1b, 0x03, 0x3b];
    header.extend_from_slice(&(frames_svma.wrapping_sub(header_svma + 4) as i32).to_ne_bytes());
    header.extend_from_slice(&(table.len() as u32).to_ne_bytes());
    for (code, fde) in table {
        header.extend_from_slice(&(code.wrapping_sub(header_svma) as i32).to_ne_bytes());
        header.extend_from_slice(&(fde.wrapping_sub(header_svma) as i32).to_ne_bytes());
    }
    Image { header, frames }
}
