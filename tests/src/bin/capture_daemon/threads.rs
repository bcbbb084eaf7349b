//! Scenes with many threads.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};
use std::time::Duration;

use gmr_core::Options;

use crate::daemon::{PATIENT, commands, ready, set_up};
use crate::frames::{descend, park};

/// How many threads have come to where they stay.
pub(crate) static THERE: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) {
    Builder::new().name(name).spawn(body).expect("a thread");
}

/// For the thread that has come to where it stays.
pub(crate) fn arrive_and_park() -> ! {
    arrive();
    park()
}

pub(crate) fn arrive() {
    THERE.fetch_add(1, Ordering::SeqCst);
}

pub(crate) fn wait_for(count: usize) {
    while THERE.load(Ordering::SeqCst) < count {
        thread::sleep(Duration::from_millis(1));
    }
}

/// `count` threads, each 25 named frames deep.
pub(crate) fn parked(count: usize) {
    for number in 0..count {
        Builder::new()
            .name(format!("deep{number}"))
            .stack_size(128 * 1024)
            .spawn(|| descend(&|| arrive_and_park()))
            .expect("a thread");
    }
    wait_for(count);
    set_up(&PATIENT);
    ready();
    commands(|_| {});
}

/// About `count` threads that start and end all the time, and two that stay.
pub(crate) fn churn(count: usize) {
    for number in 0..2 {
        spawn(format!("stays{number}"), || descend(&|| arrive_and_park()));
    }
    for _ in 0..4 {
        spawn("spawner".into(), move || {
            loop {
                let short: Vec<_> = (0..count / 4)
                    .map(|_| {
                        Builder::new()
                            .name("short".into())
                            .stack_size(64 * 1024)
                            .spawn(|| descend(&thread::yield_now))
                            .expect("a thread")
                    })
                    .collect();
                for each in short {
                    each.join().expect("it ends");
                }
                THERE.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    wait_for(10);
    set_up(&PATIENT);
    ready();
    commands(|_| {});
}

fn block(fill: impl FnOnce(&mut libc::sigset_t)) {
    // SAFETY: all bytes zero is a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    fill(&mut set);
    // SAFETY: a valid set; affects this thread only.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// One thread blocks the capture signal, one all signals.
pub(crate) fn blocked() {
    spawn("blocks-one".into(), || {
        // SAFETY: a valid set.
        block(|set| _ = unsafe { libc::sigaddset(set, libc::SIGURG) });
        arrive_and_park()
    });
    spawn("blocks-all".into(), || {
        // SAFETY: a valid set.
        block(|set| _ = unsafe { libc::sigfillset(set) });
        arrive_and_park()
    });
    spawn("open".into(), || arrive_and_park());
    wait_for(3);
    set_up(&PATIENT);
    ready();
    commands(|_| {});
}

macro_rules! roles {
    ($($name:ident)*) => {
        $(#[inline(never)]
        fn $name() {
            descend(&|| arrive_and_park());
            black_box(());
        })*
        const ROLES: &[(&str, fn())] = &[$((stringify!($name), $name as fn())),*];
    };
}

roles!(role_red role_green role_blue role_black role_white);

/// Threads whose names say which function they are in; an impatient reporter.
pub(crate) fn roles() {
    for (name, role) in ROLES {
        spawn((*name).into(), *role);
    }
    wait_for(ROLES.len());
    const IMPATIENT: Options = PATIENT.thread_deadline(Duration::from_secs(3));
    set_up(&IMPATIENT);
    ready();
    commands(|_| {});
}

/// The main thread ends, the others go on.
pub(crate) fn main_ends() -> ! {
    set_up(&PATIENT);
    spawn("goes-on".into(), || descend(&|| arrive_and_park()));
    spawn("commands".into(), || {
        wait_for(1);
        ready();
        commands(|_| {});
    });
    // pthread_exit would unwind through std's frames, which abort.
    // SAFETY: the main thread owns nothing that the others use.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("the thread has ended");
}

/// A seccomp filter that refuses process_vm_readv.
pub(crate) fn refused() {
    gmr_tests::inside::refuse_process_vm_readv().expect("a filter");
    parked(4);
}
