//! A thread that the kernel holds: it waits for a child that it vforked, in an
//! uninterruptible sleep, until the child is killed.
#![allow(unsafe_code, reason = "a system call by hand")]

use std::sync::atomic::AtomicI32;

/// Waits for ever; the child's process id is in `child`.
#[inline(never)]
pub fn wait_for_child(child: &AtomicI32) {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    // Not libc's clone(2): its code has no unwind information from the system call
    // on. The child uses no memory: it asks to be killed with its parent (which says
    // nothing if that is a thread's end), and pauses for ever.
    // SAFETY: the child never leaves this code and never touches the stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 3f",
            "mov eax, {prctl}",
            "mov edi, {death_signal}",
            "mov esi, {kill}",
            "syscall",
            "2:",
            "mov eax, {pause}",
            "syscall",
            "jmp 2b",
            "3:",
            prctl = const libc::SYS_prctl,
            death_signal = const libc::PR_SET_PDEATHSIG,
            kill = const libc::SIGKILL,
            pause = const libc::SYS_pause,
            inlateout("rax") libc::SYS_clone => _,
            inlateout("rdi") i64::from(flags) => _,
            inlateout("rsi") 0_i64 => _,
            in("rdx") child.as_ptr(),
            in("r10") 0,
            in("r8") 0,
            out("rcx") _,
            out("r11") _,
        );
    }
}
