//! Scheduling policies (sched_getscheduler(2)).
//!
//! # Safety
//!
//! The call takes a number and returns one.
#![expect(unsafe_code, reason = "a raw system call")]

/// Whether a thread runs under a real-time policy. `false` if it is gone.
pub(crate) fn is_real_time(tid: u32) -> bool {
    // SAFETY: see the module's page. By the system call: libc's function
    // refuses on musl.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, libc::c_long::from(tid)) };
    let policy = i32::try_from(policy).unwrap_or(-1);
    // The flag is set for children that start over (SCHED_RESET_ON_FORK).
    matches!(
        policy & !libc::SCHED_RESET_ON_FORK,
        libc::SCHED_FIFO | libc::SCHED_RR | libc::SCHED_DEADLINE
    )
}
