//! The kernel's signal frame: how to recognise it, and where the registers of
//! the interrupted function lie in it.
//!
//! A handler returns into a *trampoline*, a few instructions that call
//! rt_sigreturn(2). At its first instruction the stack pointer points at a
//! structure that the kernel wrote:
//!
//! | | trampoline | at the stack pointer |
//! |---|---|---|
//! | x86-64 | `mov rax, 15; syscall`, given by libc (`sa_restorer`) | ucontext |
//! | aarch64 | `mov x8, #139; svc #0`, in the vDSO | siginfo (128 bytes), ucontext |
//!
//! glibc's trampoline on x86-64 and the vDSO's say so in their call frame
//! information (augmentation `S`); musl's has none that can be used, and is
//! known by its bytes. gdb looks at the same bytes (`amd64_linux_sigtramp_code`,
//! `aarch64_linux_rt_sigframe`).
//!
//! Everything here is a pure function of bytes and memory, for both
//! architectures on either, so that it can be tested anywhere.
//!
//! Limits: without SA_SIGINFO the frames are the same on both architectures.
//! 32-bit programs have others and are not supported.

use super::window::StackMemory;

/// x86-64.
pub mod x86_64 {
    use super::super::rules::Registers;
    use super::{StackMemory, is_in, word};

    /// `mov rax, 15` and `syscall`: `__restore_rt` of glibc, musl and others.
    pub const TRAMPOLINE: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05];

    /// Offset of the trampoline's second instruction: a thread that was
    /// interrupted within the trampoline is there.
    pub const SECOND: usize = 7;

    /// Offsets from the ucontext: uc_flags, uc_link and uc_stack take 40 bytes,
    /// then come the registers in the order of `REG_R8`… (sys/ucontext.h).
    const RBP: u64 = 40 + 8 * 10;
    const RSP: u64 = 40 + 8 * 15;
    const RIP: u64 = 40 + 8 * 16;

    /// Whether a trampoline lies at an address: `before` are up to
    /// [`SECOND`] bytes before it, `at` those from it on.
    #[must_use]
    pub fn is_trampoline(before: &[u8], at: &[u8]) -> bool {
        is_in(&TRAMPOLINE, SECOND, before, at)
    }

    /// The registers that the signal interrupted; `sp` is the stack pointer in
    /// the trampoline.
    ///
    /// # Errors
    ///
    /// The address that could not be read.
    pub fn interrupted(sp: u64, memory: &mut impl StackMemory) -> Result<Registers, u64> {
        Ok(Registers {
            pc: word(memory, sp, RIP)?,
            sp: word(memory, sp, RSP)?,
            fp: word(memory, sp, RBP)?,
        })
    }
}

/// aarch64.
pub mod aarch64 {
    use super::{StackMemory, is_in, word};

    /// `mov x8, #139` and `svc #0`: `__kernel_rt_sigreturn` of the vDSO.
    pub const TRAMPOLINE: [u8; 8] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

    /// Offset of the trampoline's second instruction.
    pub const SECOND: usize = 4;

    /// `siginfo_t`, which lies before the ucontext.
    const SIGINFO_BYTES: u64 = 128;
    /// Offset of uc_mcontext: uc_flags, uc_link, uc_stack, then 128 bytes of
    /// signal mask, and all of it rounded up to 16 (sys/ucontext.h).
    const MACHINE_CONTEXT: u64 = 176;
    /// x0: fault_address comes first.
    const X0: u64 = SIGINFO_BYTES + MACHINE_CONTEXT + 8;
    const X29: u64 = X0 + 8 * 29;
    const X30: u64 = X0 + 8 * 30;
    const SP: u64 = X0 + 8 * 31;
    const PC: u64 = X0 + 8 * 32;

    /// The registers that unwinding needs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Registers {
        /// Program counter.
        pub pc: u64,
        /// Stack pointer.
        pub sp: u64,
        /// Frame pointer, x29.
        pub fp: u64,
        /// Link register, x30.
        pub lr: u64,
    }

    /// Whether a trampoline lies at an address: `before` are up to
    /// [`SECOND`] bytes before it, `at` those from it on.
    #[must_use]
    pub fn is_trampoline(before: &[u8], at: &[u8]) -> bool {
        is_in(&TRAMPOLINE, SECOND, before, at)
    }

    /// The registers that the signal interrupted; `sp` is the stack pointer in
    /// the trampoline.
    ///
    /// # Errors
    ///
    /// The address that could not be read.
    pub fn interrupted(sp: u64, memory: &mut impl StackMemory) -> Result<Registers, u64> {
        Ok(Registers {
            pc: word(memory, sp, PC)?,
            sp: word(memory, sp, SP)?,
            fp: word(memory, sp, X29)?,
            lr: word(memory, sp, X30)?,
        })
    }
}

/// Whether `at` is where `trampoline` begins, or its second instruction.
fn is_in(trampoline: &[u8], second: usize, before: &[u8], at: &[u8]) -> bool {
    let Some((first, rest)) = trampoline.split_at_checked(second) else { return false };
    at.starts_with(trampoline) || (before.ends_with(first) && at.starts_with(rest))
}

fn word(memory: &mut impl StackMemory, base: u64, offset: u64) -> Result<u64, u64> {
    let address = base.wrapping_add(offset);
    memory.word(address).ok_or(address)
}

#[cfg(all(test, gmr_engine))]
mod tests {
    use std::vec::Vec;

    use super::super::rules::Registers;
    use super::super::window::Window;
    use super::*;

    const STACK: u64 = 0x7000_0000;

    #[test]
    fn trampolines_are_known_at_both_instructions_only() {
        for (code, second, is_trampoline) in [
            (
                &x86_64::TRAMPOLINE[..],
                x86_64::SECOND,
                x86_64::is_trampoline as fn(&[u8], &[u8]) -> _,
            ),
            (&aarch64::TRAMPOLINE, aarch64::SECOND, aarch64::is_trampoline),
        ] {
            for at in 0..code.len() {
                let (before, from) = code.split_at(at);
                assert_eq!(is_trampoline(before, from), at == 0 || at == second, "{at}");
            }
            for cut in 0..code.len() {
                assert!(!is_trampoline(&[], &code[..cut]));
            }
            let mut other = code.to_vec();
            other[3] ^= 0x40;
            assert!(!is_trampoline(&[], &other));
        }
    }

    #[test]
    fn the_bytes_are_the_instructions() {
        // d2801168 mov x8, #139; d4000001 svc #0.
        let words = [0xd280_1168_u32, 0xd400_0001].map(u32::to_le_bytes).concat();
        assert_eq!(words, aarch64::TRAMPOLINE);
        assert_eq!(i64::from(x86_64::TRAMPOLINE[3]), libc::SYS_rt_sigreturn);
    }

    /// The kernel's structure with registers of our own in it.
    #[test]
    fn registers_of_x86_64_lie_where_libc_has_them() {
        // SAFETY: all bytes zero is a valid ucontext_t.
        #[expect(unsafe_code, reason = "a C structure")]
        let mut context: libc::ucontext_t = unsafe { core::mem::zeroed() };
        context.uc_mcontext.gregs[libc::REG_RIP as usize] = 1;
        context.uc_mcontext.gregs[libc::REG_RSP as usize] = 2;
        context.uc_mcontext.gregs[libc::REG_RBP as usize] = 3;
        let address = &raw const context as u64;
        let bytes = {
            let mut bytes = std::vec![0; size_of::<libc::ucontext_t>()];
            assert_eq!(crate::sys::vm::read(address, &mut bytes), bytes.len());
            bytes
        };
        let mut window = Window { base: STACK, bytes: &bytes };
        let expected = Registers { pc: 1, sp: 2, fp: 3 };
        assert_eq!(x86_64::interrupted(STACK, &mut window), Ok(expected));
        let mut cut = Window { base: STACK, bytes: &bytes[..168] };
        assert_eq!(x86_64::interrupted(STACK, &mut cut), Err(STACK + 168));
    }

    /// As `struct rt_sigframe` of arch/arm64/kernel/signal.c and sys/ucontext.h
    /// lay it out, written here as C would.
    #[repr(C)]
    #[derive(Default)]
    struct SignalFrame {
        siginfo: [u64; 16],
        flags: u64,
        link: u64,
        stack: [u64; 3],
        mask: [u64; 16],
        context: MachineContext,
    }

    #[repr(C, align(16))]
    #[derive(Default)]
    struct MachineContext {
        fault_address: u64,
        registers: [u64; 31],
        sp: u64,
        pc: u64,
        state: u64,
    }

    #[test]
    fn registers_of_aarch64_lie_where_the_header_has_them() {
        let mut frame = SignalFrame::default();
        for (number, register) in frame.context.registers.iter_mut().enumerate() {
            *register = 100 + number as u64;
        }
        (frame.context.sp, frame.context.pc) = (7, 8);
        let mut bytes = std::vec![0; size_of::<SignalFrame>()];
        assert_eq!(crate::sys::vm::read(&raw const frame as u64, &mut bytes), bytes.len());
        let mut window = Window { base: STACK, bytes: &bytes };
        let expected = aarch64::Registers { pc: 8, sp: 7, fp: 129, lr: 130 };
        assert_eq!(aarch64::interrupted(STACK, &mut window), Ok(expected));
        let short: Vec<u8> = bytes[..560].to_vec();
        let mut cut = Window { base: STACK, bytes: &short };
        assert_eq!(aarch64::interrupted(STACK, &mut cut), Err(STACK + 568));
    }
}
