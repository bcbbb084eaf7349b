//! The robust list of a thread (get_robust_list(2)).
//!
//! # Safety
//!
//! The kernel writes two words of ours.
#![expect(unsafe_code, reason = "a raw system call")]

/// Where the head of a thread's robust list is; 0 if it has none, is gone, or
/// the call is refused.
pub(crate) fn robust_list(tid: u32) -> u64 {
    let (mut head, mut len) = (0_u64, 0_usize);
    // SAFETY: both places are ours and as large as the kernel writes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_robust_list,
            libc::c_long::from(tid),
            &raw mut head,
            &raw mut len,
        )
    };
    // The head is three words; another length is another ABI.
    if result == 0 && len == 24 { head } else { 0 }
}
