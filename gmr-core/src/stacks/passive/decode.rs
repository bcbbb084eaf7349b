//! What one instruction does to rsp, rbp and r11, and where control goes from
//! it: all that the analyser wants to know of x86-64.
//!
//! 1. yaxpeax-x86 decodes: length, opcode, operands. It neither allocates nor
//!    initialises anything lazily (iced-x86 builds its tables in a `Vec` at the
//!    first use, so it was not taken).
//! 2. The dozen instructions by which compilers move the stack pointer are
//!    followed exactly.
//! 3. Of any other the worst is assumed: a register that stands where an
//!    operand may be written is lost.
//!
//! r11 is here because compilers keep the end of a large frame in it while they
//! touch each page on the way (stack probes).
//!
//! Limits: 16-bit pushes and pops, `enter`, far calls and returns to other
//! modes lose everything; no compiler emits them.

use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::amd64::{InstDecoder, Instruction, Opcode, Operand, RegSpec, register_class};

/// A register that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// rsp
    Sp,
    /// rbp
    Bp,
    /// r11
    R11,
}

/// What an instruction does to the registers that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// rsp goes down by 8.
    Push,
    /// rsp goes up by 8, and a register changes.
    Pop(Option<Tracked>),
    /// rsp becomes rbp + 8, and rbp is the one saved there.
    Leave,
    /// `to = from + add`
    Set {
        /// The register that changes.
        to: Tracked,
        /// The one it becomes.
        from: Tracked,
        /// Added.
        add: i32,
    },
    /// rsp is compared with r11: the end of a stack probe.
    CompareSpWithR11,
    /// These are not known any more.
    Lose(Lost),
}

/// A set of registers that are not known any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// rsp
    pub sp: bool,
    /// rbp
    pub bp: bool,
    /// r11
    pub r11: bool,
}

impl Lost {
    const ALL: Self = Lost { sp: true, bp: true, r11: true };

    fn add(&mut self, register: Tracked) {
        match register {
            Tracked::Sp => self.sp = true,
            Tracked::Bp => self.bp = true,
            Tracked::R11 => self.r11 = true,
        }
    }
}

/// Where control goes from an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next one.
    Next,
    /// To a function that returns to the next one, or does not return.
    Call,
    /// To the end of the instruction + this.
    Jump(i32),
    /// There or to the next one. `is_not_equal`: there if the last comparison
    /// found a difference.
    Branch {
        /// From the end of the instruction.
        by: i32,
        /// It is `jne`.
        is_not_equal: bool,
    },
    /// Through a register or memory: a table, or another function.
    Indirect,
    /// Nowhere in this function: a return, a trap.
    End,
}

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// In bytes, from 1 to 15.
    pub length: u8,
    /// What it does.
    pub effect: Effect,
    /// What comes next.
    pub flow: Flow,
}

/// Decodes the instruction that `code` begins with.
#[must_use]
pub fn decode(code: &[u8]) -> Option<Decoded> {
    let instruction = InstDecoder::default().decode_slice(code).ok()?;
    let length = u8::try_from(instruction.len().to_const()).ok().filter(|length| *length > 0)?;
    Some(Decoded { length, effect: effect(&instruction), flow: flow(&instruction)? })
}

fn operand(instruction: &Instruction, index: u8) -> Operand {
    if index < 4 && instruction.operand_present(index) {
        instruction.operand(index)
    } else {
        Operand::Nothing
    }
}

/// `None`: a jump whose target is not understood.
fn flow(instruction: &Instruction) -> Option<Flow> {
    let target = || immediate(&operand(instruction, 0)).and_then(|by| i32::try_from(by).ok());
    let opcode = instruction.opcode();
    Some(match opcode {
        Opcode::CALL | Opcode::CALLF => Flow::Call,
        Opcode::JMP => match target() {
            Some(by) => Flow::Jump(by),
            None => Flow::Indirect,
        },
        Opcode::JMPF | Opcode::JMPE => Flow::Indirect,
        Opcode::LOOP
        | Opcode::LOOPZ
        | Opcode::LOOPNZ
        | Opcode::JRCXZ
        | Opcode::JECXZ
        | Opcode::XBEGIN => Flow::Branch { by: target()?, is_not_equal: false },
        _ if opcode.is_jcc() => Flow::Branch { by: target()?, is_not_equal: opcode == Opcode::JNZ },
        Opcode::RETURN
        | Opcode::RETF
        | Opcode::IRET
        | Opcode::IRETD
        | Opcode::IRETQ
        | Opcode::UIRET
        | Opcode::SYSRET
        | Opcode::SYSEXIT
        | Opcode::RSM
        | Opcode::UD0
        | Opcode::UD1
        | Opcode::UD2
        | Opcode::HLT
        | Opcode::INT
        | Opcode::INTO => Flow::End,
        _ => Flow::Next,
    })
}

fn effect(instruction: &Instruction) -> Effect {
    let (first, second) = (operand(instruction, 0), operand(instruction, 1));
    let is_16_bit = instruction.prefixes.operand_size();
    match instruction.opcode() {
        Opcode::PUSH | Opcode::PUSHF if !is_16_bit => Effect::Push,
        Opcode::POP | Opcode::POPF if !is_16_bit => match written(&first) {
            Some(Tracked::Sp) => Effect::Lose(Lost::ALL),
            into => Effect::Pop(into),
        },
        Opcode::LEAVE if !is_16_bit => Effect::Leave,
        Opcode::PUSH
        | Opcode::PUSHF
        | Opcode::POP
        | Opcode::POPF
        | Opcode::LEAVE
        | Opcode::ENTER => Effect::Lose(Lost::ALL),
        // The callee may use it as it likes; the kernel keeps the flags in it.
        Opcode::CALL | Opcode::CALLF | Opcode::SYSCALL | Opcode::SYSENTER => {
            Effect::Lose(Lost { r11: true, ..Lost::default() })
        }
        Opcode::CMP => match (whole(&first), whole(&second)) {
            (Some(Tracked::Sp), Some(Tracked::R11)) | (Some(Tracked::R11), Some(Tracked::Sp)) => {
                Effect::CompareSpWithR11
            }
            _ => Effect::None,
        },
        Opcode::TEST | Opcode::BT | Opcode::JMP | Opcode::NOP => Effect::None,
        opcode @ (Opcode::MOV | Opcode::ADD | Opcode::SUB | Opcode::LEA) => {
            set(opcode, &first, &second).unwrap_or_else(|| worst(instruction))
        }
        _ => worst(instruction),
    }
}

/// The instructions of step 2 that compute one of the registers.
fn set(opcode: Opcode, first: &Operand, second: &Operand) -> Option<Effect> {
    let to = whole(first)?;
    let by = || immediate(second).and_then(|by| i32::try_from(by).ok());
    let (from, add) = match opcode {
        Opcode::MOV => (whole(second)?, 0),
        Opcode::ADD => (to, by()?),
        Opcode::SUB => (to, by()?.checked_neg()?),
        Opcode::LEA => match second {
            Operand::MemDeref { base } => (register(*base)?, 0),
            Operand::Disp { base, disp } => (register(*base)?, *disp),
            _ => return None,
        },
        _ => return None,
    };
    Some(Effect::Set { to, from, add })
}

/// Step 3. The first operand may be written; the second by a few only.
fn worst(instruction: &Instruction) -> Effect {
    let mut lost = Lost::default();
    if let Some(register) = written(&operand(instruction, 0)) {
        lost.add(register);
    }
    let writes_second = matches!(instruction.opcode(), Opcode::XCHG | Opcode::XADD | Opcode::MULX);
    if writes_second && let Some(register) = written(&operand(instruction, 1)) {
        lost.add(register);
    }
    if lost == Lost::default() { Effect::None } else { Effect::Lose(lost) }
}

fn immediate(operand: &Operand) -> Option<i64> {
    match *operand {
        Operand::ImmediateI8 { imm } => Some(i64::from(imm)),
        Operand::ImmediateU8 { imm } => Some(i64::from(imm)),
        Operand::ImmediateI16 { imm } => Some(i64::from(imm)),
        Operand::ImmediateU16 { imm } => Some(i64::from(imm)),
        Operand::ImmediateI32 { imm } => Some(i64::from(imm)),
        Operand::ImmediateU32 { imm } => Some(i64::from(imm)),
        Operand::ImmediateI64 { imm } => Some(imm),
        _ => None,
    }
}

fn tracked(number: u8) -> Option<Tracked> {
    match number {
        4 => Some(Tracked::Sp),
        5 => Some(Tracked::Bp),
        11 => Some(Tracked::R11),
        _ => None,
    }
}

/// All 64 bits of one of the registers.
fn register(register: RegSpec) -> Option<Tracked> {
    if register.class() == register_class::Q { tracked(register.num()) } else { None }
}

/// The operand is all 64 bits of one of the registers.
fn whole(operand: &Operand) -> Option<Tracked> {
    match operand {
        Operand::Register { reg } => register(*reg),
        _ => None,
    }
}

/// The operand is one of the registers or a part of it.
fn written(operand: &Operand) -> Option<Tracked> {
    let Operand::Register { reg } = operand else { return None };
    let class = reg.class();
    // Without a REX prefix the byte registers 4 and 5 are ah and ch.
    let is_general = class == register_class::Q
        || class == register_class::D
        || class == register_class::W
        || class == register_class::RB;
    if is_general { tracked(reg.num()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect_of(code: &[u8]) -> Effect {
        let decoded = decode(code).unwrap();
        assert_eq!(usize::from(decoded.length), code.len(), "{code:x?}");
        assert_eq!(decoded.flow, Flow::Next);
        decoded.effect
    }

    fn flow_of(code: &[u8]) -> Flow {
        let decoded = decode(code).unwrap();
        assert_eq!(usize::from(decoded.length), code.len(), "{code:x?}");
        decoded.flow
    }

    #[test]
    fn what_moves_the_stack_pointer() {
        let set = |to, from, add| Effect::Set { to, from, add };
        let (sp, bp, r11) = (Tracked::Sp, Tracked::Bp, Tracked::R11);
        for (code, expected) in [
            (&[0x55][..], Effect::Push),             // push rbp
            (&[0x41, 0x57], Effect::Push),           // push r15
            (&[0x6a, 1], Effect::Push),              // push 1
            (&[0xff, 0x75, 8], Effect::Push),        // push [rbp + 8]
            (&[0x9c], Effect::Push),                 // pushf
            (&[0x5d], Effect::Pop(Some(bp))),        // pop rbp
            (&[0x41, 0x5b], Effect::Pop(Some(r11))), // pop r11
            (&[0x5b], Effect::Pop(None)),            // pop rbx
            (&[0x5c], Effect::Lose(Lost::ALL)),      // pop rsp
            (&[0xc9], Effect::Leave),
            (&[0x48, 0x89, 0xe5], set(bp, sp, 0)), // mov rbp, rsp
            (&[0x48, 0x8b, 0xec], set(bp, sp, 0)), // the other form
            (&[0x48, 0x83, 0xec, 0x18], set(sp, sp, -24)), // sub rsp, 24
            (&[0x48, 0x81, 0xec, 0, 0x10, 0, 0], set(sp, sp, -4096)),
            (&[0x48, 0x83, 0xec, 0x80], set(sp, sp, 128)), // sub rsp, -128
            (&[0x48, 0x83, 0xc4, 0x18], set(sp, sp, 24)),  // add rsp, 24
            (&[0x48, 0x8d, 0x65, 0xd8], set(sp, bp, -40)), // lea rsp, [rbp - 40]
            (&[0x48, 0x8d, 0x6c, 0x24, 0x10], set(bp, sp, 16)), // lea rbp, [rsp + 16]
            (&[0x4c, 0x8d, 0x9c, 0x24, 0, 0xf0, 0xff, 0xff], set(r11, sp, -4096)),
            (&[0x4c, 0x39, 0xdc], Effect::CompareSpWithR11), // cmp rsp, r11
            (&[0x4c, 0x3b, 0xdc], Effect::CompareSpWithR11), // cmp r11, rsp
        ] {
            assert_eq!(effect_of(code), expected, "{code:x?}");
        }
    }

    #[test]
    fn what_is_lost() {
        let sp = Lost { sp: true, ..Lost::default() };
        let bp = Lost { bp: true, ..Lost::default() };
        let r11 = Lost { r11: true, ..Lost::default() };
        for (code, lost) in [
            (&[0x48, 0x83, 0xe4, 0xe0][..], sp),   // and rsp, -32
            (&[0x48, 0x29, 0xc4], sp),             // sub rsp, rax
            (&[0x48, 0x8d, 0x24, 0x04], sp),       // lea rsp, [rsp + rax]
            (&[0x8d, 0x64, 0x24, 0x08], sp),       // lea esp, [rsp + 8]
            (&[0x48, 0x8b, 0x6b, 0x08], bp),       // mov rbp, [rbx + 8]
            (&[0x31, 0xed], bp),                   // xor ebp, ebp
            (&[0x89, 0xc5], bp),                   // mov ebp, eax
            (&[0x40, 0x0f, 0x94, 0xc5], bp),       // sete bpl
            (&[0x48, 0x87, 0xc5], bp),             // xchg rbp, rax
            (&[0x48, 0x95], bp),                   // xchg rax, rbp
            (&[0x48, 0x0f, 0xc1, 0x2f], bp),       // xadd [rdi], rbp
            (&[0x49, 0x89, 0xc3], r11),            // mov r11, rax
            (&[0x0f, 0x05], r11),                  // syscall
            (&[0xc4, 0xe2, 0xd3, 0xf6, 0xc1], bp), // mulx rax, rbp, rcx
        ] {
            assert_eq!(effect_of(code), Effect::Lose(lost), "{code:x?}");
        }
        for code in [&[0x66, 0x55][..], &[0x66, 0x5d], &[0xc8, 0, 0, 0], &[0x66, 0x9c]] {
            assert_eq!(effect_of(code), Effect::Lose(Lost::ALL), "{code:x?}");
        }
    }

    #[test]
    fn what_changes_nothing() {
        for code in [
            &[0x90][..],
            &[0xf3, 0x0f, 0x1e, 0xfa],                      // endbr64
            &[0x48, 0x89, 0x6c, 0x24, 8],                   // mov [rsp + 8], rbp
            &[0x48, 0x89, 0xe0],                            // mov rax, rsp
            &[0xb4, 1],                                     // mov ah, 1
            &[0xb5, 1],                                     // mov ch, 1
            &[0x48, 0x39, 0xc4],                            // cmp rsp, rax
            &[0x48, 0x85, 0xed],                            // test rbp, rbp
            &[0xc5, 0xf9, 0x6f, 0x45, 0],                   // vmovdqa xmm0, [rbp]
            &[0x66, 0x0f, 0xef, 0xe5],                      // pxor xmm4, xmm5
            &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0], // a long nop
        ] {
            assert_eq!(effect_of(code), Effect::None, "{code:x?}");
        }
    }

    #[test]
    fn where_control_goes() {
        let branch = |by, is_not_equal| Flow::Branch { by, is_not_equal };
        for (code, expected) in [
            (&[0xe8, 1, 0, 0, 0][..], Flow::Call),
            (&[0xff, 0xd0], Flow::Call),
            (&[0xff, 0x15, 0, 0, 0, 0], Flow::Call),
            (&[0x66, 0x66, 0x48, 0xe8, 1, 0, 0, 0], Flow::Call),
            (&[0xeb, 0xfe], Flow::Jump(-2)),
            (&[0xe9, 0, 1, 0, 0], Flow::Jump(256)),
            (&[0xff, 0xe0], Flow::Indirect),
            (&[0x3e, 0xff, 0xe0], Flow::Indirect),
            (&[0xff, 0x25, 0, 0, 0, 0], Flow::Indirect),
            (&[0x74, 0x10], branch(16, false)),
            (&[0x75, 0xf0], branch(-16, true)),
            (&[0x0f, 0x85, 0xf0, 0xff, 0xff, 0xff], branch(-16, true)),
            (&[0xe2, 0xfe], branch(-2, false)),
            (&[0xe3, 0x02], branch(2, false)),
            (&[0xc3], Flow::End),
            (&[0xc2, 8, 0], Flow::End),
            (&[0x0f, 0x0b], Flow::End),
            (&[0xcc], Flow::End),
            (&[0xf4], Flow::End),
        ] {
            assert_eq!(flow_of(code), expected, "{code:x?}");
        }
    }

    #[test]
    fn what_cannot_be_decoded() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0x48]), None);
        assert_eq!(decode(&[0xe8, 1, 2]), None);
        assert_eq!(decode(&[0x06]), None, "no such instruction in 64-bit mode");
    }
}
