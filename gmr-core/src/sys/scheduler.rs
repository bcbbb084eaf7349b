//! Scheduling policies (sched_getscheduler(2)).
//!
//! # Safety
//!
//! The call takes a number and returns one.
#![expect(unsafe_code, reason = "a raw system call")]

/// The name of a real-time policy, as `stat` has its number.
pub(crate) fn real_time_name(policy: u32) -> Option<&'static str> {
    Some(match i32::try_from(policy).ok()? {
        libc::SCHED_FIFO => "SCHED_FIFO",
        libc::SCHED_RR => "SCHED_RR",
        libc::SCHED_DEADLINE => "SCHED_DEADLINE",
        _ => return None,
    })
}

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
