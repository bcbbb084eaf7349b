//! Runs a function on another stack.
//!
//! The switch keeps rbp as a frame pointer of the old stack and describes its
//! frame by it (CFA = rbp + 16), so debuggers and unwinders walk from the new
//! stack back into the old one.
//!
//! The kernel decides by the stack pointer whether the alternate signal stack is
//! in use. Whoever switches away from it while on it makes the kernel hand it
//! out again: the next SA_ONSTACK handler overwrites the frames that wait
//! there. [`AlternateStack`] takes it out of service meanwhile.
//!
//! # Safety
//!
//! Hand-written assembly for the System V ABI: `call_on` preserves what a
//! callee must preserve (rbp and rsp; the function it calls keeps the rest).
#![expect(unsafe_code, reason = "switching stacks")]

use core::ffi::c_void;

/// Top of a stack that lives for ever and is used by one thread at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StackTop(usize);

impl StackTop {
    /// The stack is `bytes`; it grows down from the end.
    pub(crate) fn of(bytes: &'static mut [u8]) -> Self {
        // The ABI wants rsp aligned to 16 at a call.
        StackTop(bytes.as_mut_ptr_range().end as usize & !15)
    }

    /// How much of a stack of `bytes` was never written, from its low end:
    /// fresh mappings are zero.
    ///
    /// # Safety
    ///
    /// The stack has at least that many bytes (whole pages).
    pub(crate) unsafe fn untouched(self, bytes: usize) -> usize {
        let mut untouched = 0_usize;
        while untouched < bytes {
            let at = self.0.wrapping_sub(bytes).wrapping_add(untouched);
            // SAFETY: in the stack, by the caller's promise, which is never
            // unmapped; aligned, for both ends are.
            if unsafe { (at as *const u64).read_volatile() } != 0 {
                break;
            }
            untouched = untouched.saturating_add(size_of::<u64>());
        }
        untouched
    }
}

/// `call_on(new_rsp, function, argument)`
#[unsafe(naked)]
unsafe extern "C" fn call_on(
    top: usize,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

unsafe extern "C" fn trampoline<F: FnOnce()>(argument: *mut c_void) {
    // SAFETY: `run_on` passes a live `Option<F>` and waits for us.
    let body = unsafe { &mut *argument.cast::<Option<F>>() };
    if let Some(body) = body.take() {
        body();
    }
}

/// Runs `body` on the stack below `top` and comes back.
///
/// # Safety
///
/// Nobody else uses that stack meanwhile, and it is large enough for `body`
/// (a guard page below catches the rest). `body` does not unwind: `extern "C"`
/// aborts if it does.
pub(crate) unsafe fn run_on<F: FnOnce()>(top: StackTop, body: F) {
    let mut body = Some(body);
    let argument = (&raw mut body).cast::<c_void>();
    // SAFETY: the caller's promise about the stack; `trampoline::<F>` takes
    // exactly this argument, which outlives the call.
    unsafe { call_on(top.0, trampoline::<F>, argument) };
}

/// The alternate signal stack (sigaltstack(2)) that this thread is running on.
pub(crate) struct AlternateStack(libc::stack_t);

impl AlternateStack {
    /// `None`: the thread runs on an ordinary stack.
    pub(crate) fn in_use() -> Option<Self> {
        let mut now = disabled();
        // SAFETY: a null new stack only asks.
        let result = unsafe { libc::sigaltstack(core::ptr::null(), &raw mut now) };
        (result == 0 && now.ss_flags & libc::SS_ONSTACK != 0).then_some(AlternateStack(now))
    }

    /// From another stack: nothing runs on the alternate one until
    /// [`switch_on`](Self::switch_on); handlers that ask for it get the stack
    /// they interrupt.
    pub(crate) fn switch_off(&self) {
        let off = disabled();
        // SAFETY: plain data; affects this thread only.
        unsafe { libc::sigaltstack(&raw const off, core::ptr::null_mut()) };
    }

    /// Puts it back as it was.
    pub(crate) fn switch_on(&self) {
        let mut before = self.0;
        before.ss_flags &= !libc::SS_ONSTACK;
        // SAFETY: what was in force before.
        unsafe { libc::sigaltstack(&raw const before, core::ptr::null_mut()) };
    }
}

fn disabled() -> libc::stack_t {
    libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory::Region;

    #[test]
    fn runs_there_and_comes_back() {
        let mut region = Region::map(64 * 1024).unwrap();
        let bytes = region.carve::<u8>(64 * 1024).unwrap();
        let range = bytes.as_ptr_range();
        let (low, high) = (range.start as usize, range.end as usize);
        let mut seen = 0_usize;
        // SAFETY: a fresh stack of 64 KiB, used here only.
        unsafe {
            run_on(StackTop::of(bytes), || {
                let local = 0_u8;
                seen = &raw const local as usize;
            });
        }
        assert!(seen > low && seen < high);
    }
}
