//! Threads in system calls, and threads that cannot run.

use core::time::Duration;
use std::io::stdin;

use crate::kit::{Scene, pipe, until_in};

/// One in each of several calls, one that runs, one with a real-time policy if
/// the system allows it.
pub(crate) fn several(scene: &mut Scene) {
    let descriptor = pipe();
    scene.fact("pipe", descriptor);
    let mut calls = vec![(
        scene.thread("in-read", move || {
            loop {
                let mut byte = 0_u8;
                // SAFETY: a valid byte.
                unsafe { libc::read(descriptor, (&raw mut byte).cast(), 1) };
            }
        }),
        libc::SYS_read,
    )];
    calls.push((
        scene.thread("in-poll", move || {
            loop {
                let mut wanted = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
                // SAFETY: one valid place.
                unsafe { libc::poll(&raw mut wanted, 1, 1_000_000) };
            }
        }),
        libc::SYS_poll,
    ));
    calls.push((
        scene.thread("in-sleep", || {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }),
        libc::SYS_clock_nanosleep,
    ));
    calls.push((
        scene.thread("real-time", move || {
            let parameters = libc::sched_param { sched_priority: 7 };
            // SAFETY: plain data; 0 is this thread.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters) };
            loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
        }),
        libc::SYS_pause,
    ));
    scene.thread("spinner", || {
        loop {
            core::hint::spin_loop();
        }
    });
    if dumpable() {
        calls.into_iter().for_each(|(tid, number)| until_in(tid, number));
    }
}

fn dumpable() -> bool {
    // SAFETY: returns a number.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) == 1 }
}

/// Gives root's privileges up, for good.
pub(crate) fn become_nobody() {
    const NOBODY: u32 = 65534;
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: numbers only. For a kernel that has not done so.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }, 0);
}

/// A thread whose child shares its memory and has not yet ended: no signal
/// reaches it.
pub(crate) fn vfork(scene: &mut Scene) {
    extern "C" fn child(_: *mut libc::c_void) -> libc::c_int {
        // SAFETY: numbers only: it ends with the thread that made it.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: no arguments.
            unsafe { libc::pause() };
        }
    }
    let tid = scene.thread("in-vfork", || {
        let stack = vec![0_u8; 64 * 1024].leak();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let top = stack.as_mut_ptr_range().end;
        // SAFETY: the child has a stack of its own and touches nothing else.
        unsafe { libc::clone(child, top.cast(), flags, core::ptr::null_mut()) };
    });
    until_in(tid, libc::SYS_clone);
}

/// The main thread goes, the others stay.
pub(crate) fn end_main_thread() -> ! {
    // SAFETY: nothing on its stack is used by others.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit(2) does not return")
}

/// Stops another process's thread until stdin ends.
pub(crate) fn trace(tid: i32) -> Result<(), Box<dyn std::error::Error>> {
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: no memory of ours.
        if unsafe { libc::ptrace(request, tid, 0_usize, 0_usize) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
    }
    // SAFETY: no memory of ours.
    if unsafe { libc::waitpid(tid, core::ptr::null_mut(), libc::__WALL) } != tid {
        return Err(std::io::Error::last_os_error().into());
    }
    println!("ready");
    stdin().read_line(&mut String::new())?;
    Ok(())
}
