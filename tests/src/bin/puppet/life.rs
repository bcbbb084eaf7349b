//! What daemons do to themselves: become daemons, give up privileges, lock
//! their memory, move into another root.
#![allow(unsafe_code, reason = "calls libc")]

use std::ffi::CString;
use std::io;
use std::{panic, process, ptr, thread};

/// Obeys a command of this file.
pub(crate) fn obey(word: &str, rest: &str) -> Option<String> {
    let number = || rest.parse().expect("a number");
    let path = || CString::new(rest).expect("a path");
    Some(match word {
        "daemonise" => daemonise(),
        "become" => answer(&become_user(number())),
        // SAFETY: a flag of the process.
        "dumpable" => check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, number(), 0, 0, 0) }),
        // SAFETY: no pointers.
        "mlockall" => check(unsafe { libc::mlockall(mlock_flags(rest)) }),
        // SAFETY: no arguments.
        "munlockall" => check(unsafe { libc::munlockall() }),
        // SAFETY: a path that ends.
        "chdir" => check(unsafe { libc::chdir(path().as_ptr()) }),
        // SAFETY: a path that ends.
        "chroot" => check(unsafe { libc::chroot(path().as_ptr()) }),
        "panic-hook" => panic_with_a_hook(),
        "real-time" => real_time(number() as i32),
        _ => return None,
    })
}

fn check(result: i32) -> String {
    answer(&if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) })
}

fn answer(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The classic way, but for the descriptors: the test talks through them. What
/// goes on is a grandchild, which answers with its pid.
fn daemonise() -> String {
    leave_parent();
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
    leave_parent();
    process::id().to_string()
}

/// Goes on as a child.
fn leave_parent() {
    // SAFETY: this program has one thread yet.
    match unsafe { libc::fork() } {
        0 => {}
        // SAFETY: ends the process without its destructors.
        _ => unsafe { libc::_exit(0) },
    }
}

/// For good, in all threads: glibc's calls do that, the bare system calls do
/// not.
fn become_user(id: libc::c_ulong) -> io::Result<()> {
    let id = u32::try_from(id).expect("a user's number");
    // SAFETY: an empty list.
    let groups = unsafe { libc::setgroups(0, ptr::null()) };
    // SAFETY: no pointers.
    let group = unsafe { libc::setresgid(id, id, id) };
    // SAFETY: no pointers.
    let user = unsafe { libc::setresuid(id, id, id) };
    if [groups, group, user] == [0; 3] { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn mlock_flags(words: &str) -> i32 {
    words.split_whitespace().fold(0, |flags, word| {
        flags
            | match word {
                "current" => libc::MCL_CURRENT,
                "future" => libc::MCL_FUTURE,
                "onfault" => libc::MCL_ONFAULT,
                _ => panic!("current, future or onfault"),
            }
    })
}

fn panic_with_a_hook() -> String {
    panic::set_hook(Box::new(|_| {}));
    let panicked = thread::spawn(|| panic!("for the test")).join();
    answer(&if panicked.is_err() { Ok(()) } else { Err(io::Error::other("no panic")) })
}

/// This thread, and those that it starts, as a real-time daemon has them.
fn real_time(priority: i32) -> String {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: plain data; 0 is this thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) })
}
