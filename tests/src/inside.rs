//! What test daemons do to themselves.
#![allow(unsafe_code, reason = "calls libc")]

use std::io;

/// From here on process_vm_readv(2) fails with EPERM, in every thread: a
/// seccomp filter, as a container may have one.
///
/// # Errors
///
/// The kernel's.
pub fn refuse_process_vm_readv() -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let mut filter = [
        step(LOAD, 0, 0), // the call's number
        step(JUMP_IF_EQUAL, 1, libc::SYS_process_vm_readv as u32),
        step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: no pointers.
    let private = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the kernel copies the program.
    let filtered = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    if private == 0 && filtered == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes to stdout without the standard library's buffer, lock and allocator.
pub fn say(text: &str) {
    // SAFETY: valid bytes.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

/// Waits for a line of input, by the same plain means. `false`: there will be
/// none.
pub fn hear() -> bool {
    let mut byte = 0_u8;
    loop {
        // SAFETY: one valid byte.
        let count = unsafe { libc::read(0, (&raw mut byte).cast(), 1) };
        if count == 0 {
            return false;
        }
        if count == 1 && byte == b'\n' {
            return true;
        }
    }
}
