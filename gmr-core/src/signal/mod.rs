//! Signal handlers: the trigger that asks for a report, the capture signal
//! that asks a thread for its stack.
//!
//! The one place where the program's signal dispositions change. What is
//! installed stays installed (another library may have chained us): shut-down
//! handlers ignore and count.

#[cfg(feature = "stacks")]
pub(crate) mod capture;
pub(crate) mod trigger;

/// std gives each thread an alternate stack of this size.
const STD_ALTERNATE_STACK_BYTES: usize = 8192;

/// SA_ONSTACK, if a handler that uses `budget_bytes` beyond the kernel's frame
/// (large with AVX-512 and AMX) fits std's alternate stack with 1 KiB to spare:
/// a thread with a tiny stack of its own is served better there.
fn alternate_stack_flag(budget_bytes: usize) -> i32 {
    let needed = crate::sys::signal::min_signal_stack_bytes()
        .saturating_add(budget_bytes)
        .saturating_add(1024);
    if needed <= STD_ALTERNATE_STACK_BYTES { libc::SA_ONSTACK } else { 0 }
}
