//! The stack of a thread that does not run, without a signal: read from
//! outside while the thread stays asleep.
//!
//! 1. /proc says where it stands: program counter and stack pointer, but not
//!    the frame pointer ([`crate::procfs::syscall`]).
//! 2. Its stack is read in place and walked like any other, but for the frame
//!    pointer: rows that count from the stack pointer need none, and often one
//!    of them restores it. Where a row counts from it first, the function's
//!    code says how far the stack pointer is from the frame
//!    ([`analyse`], [`decode`]).
//! 3. Everything has to be proven: call frame information for each address, a
//!    call in front of each return address, the end where the information says
//!    so. Otherwise the stack ends there and says why; nothing is guessed.
//! 4. The kernel's count of how often the thread ran, read before and after,
//!    proves that nothing moved meanwhile (`capture`).
//!
//! Compared with the signal: no EINTR, no wake-up, nothing on the thread's
//! stack, any depth; but only threads that are blocked.
//!
//! Discarded: a second look at the registers instead of the count (a worker
//! comes back to the same place: torn stacks were accepted); scanning the stack
//! for what looks like a frame (right whenever it was tried, and no proof).
//!
//! Limits: x86-64. On aarch64 the system call's wrapper is a leaf that never
//! stores its return address, and the file has no link register: its caller
//! cannot be known.

pub mod analyse;
#[cfg(gmr_engine)]
pub(crate) mod capture;
pub mod decode;
#[cfg(all(test, gmr_engine))]
mod tests;

use super::unwind::{Found, Mode, Modules, Registers, Standing, Walker};
use super::window::StackMemory;
use crate::model::{Certainty, StackEnd};

impl Walker {
    /// Walks the stack of a parked thread from its program counter and stack
    /// pointer. `emit` takes each frame, innermost first; it returns `false`
    /// when it takes no more.
    ///
    /// # Signal safety
    ///
    /// Safe: no allocation, no lock, no panic; reads the memory given and code.
    pub fn walk_parked(
        &mut self,
        modules: &impl Modules,
        pc: u64,
        sp: u64,
        memory: &mut impl StackMemory,
        emit: impl FnMut(Found) -> bool,
    ) -> StackEnd {
        let start = Standing {
            registers: Registers { pc, sp, fp: 0 },
            is_fp_known: false,
            is_interrupted: true,
            certainty: Certainty::Exact,
        };
        self.run(modules, start, Mode::Parked, memory, emit)
    }
}
