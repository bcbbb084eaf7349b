//! Scenes with other users of signals.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::daemon::{PATIENT, commands, ready, set_up};
use crate::frames::descend;
use crate::threads::{THERE, arrive_and_park, spawn, wait_for};

/// How often the program's own handler ran.
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn foreign(_signal: libc::c_int) {
    FOREIGN.fetch_add(1, Ordering::SeqCst);
}

fn install(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    // SAFETY: all bytes zero is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = flags | libc::SA_RESTART;
    // SAFETY: a valid action with an async-signal-safe handler.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
}

/// `urg` on standard input sends SIGURG to the main thread and prints how
/// often the program's own handler has run.
fn serve() {
    for number in 0..3 {
        spawn(format!("worker{number}"), || descend(&|| arrive_and_park()));
    }
    wait_for(3);
    ready();
    commands(|_| {
        let before = FOREIGN.load(Ordering::SeqCst);
        // SAFETY: sends a signal to this thread; its handler runs before the
        // call returns.
        unsafe { libc::raise(libc::SIGURG) };
        println!("{}", FOREIGN.load(Ordering::SeqCst) - before);
    });
}

pub(crate) fn foreign_before() {
    install(libc::SIGURG, foreign, 0);
    set_up(&PATIENT);
    serve();
}

pub(crate) fn chained_after() {
    set_up(&PATIENT);
    // SAFETY: the action is atomic.
    unsafe {
        signal_hook::low_level::register(libc::SIGURG, || {
            FOREIGN.fetch_add(1, Ordering::SeqCst);
        })
    }
    .expect("to register");
    serve();
}

pub(crate) fn replaced_after() {
    set_up(&PATIENT.thread_deadline(Duration::from_secs(1)));
    install(libc::SIGURG, foreign, 0);
    serve();
}

/// std's own has 8 KiB, which two signal frames nearly fill.
const ALTERNATE_STACK_BYTES: usize = 64 * 1024;

#[inline(never)]
extern "C" fn stuck_handler(_signal: i32) {
    black_box(stuck_inside());
}

#[inline(never)]
fn stuck_inside() -> u64 {
    arrive_and_park()
}

#[inline(never)]
fn raise_usr1() {
    // SAFETY: the handler never comes back, which is the point.
    black_box(unsafe { libc::raise(libc::SIGUSR1) });
    black_box(());
}

#[inline(never)]
fn raise_alrm() {
    // SAFETY: as above.
    black_box(unsafe { libc::raise(libc::SIGALRM) });
    black_box(());
}

/// Threads that stay in a signal handler: on their own stack, and on their
/// alternate one.
pub(crate) fn in_handler() {
    install(libc::SIGUSR1, stuck_handler, 0);
    install(libc::SIGALRM, stuck_handler, libc::SA_ONSTACK);
    spawn("own-stack".into(), || descend(&raise_usr1));
    spawn("alternate".into(), || {
        let stack = libc::stack_t {
            ss_sp: Vec::leak(vec![0_u8; ALTERNATE_STACK_BYTES]).as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: ALTERNATE_STACK_BYTES,
        };
        // SAFETY: leaked memory; the thread never ends.
        assert_eq!(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) }, 0);
        descend(&raise_alrm);
    });
    wait_for(2);
    set_up(&PATIENT);
    ready();
    commands(|_| {});
}

extern "C" fn paused_handler(_signal: i32) {
    THERE.fetch_add(1, Ordering::SeqCst);
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

/// A thread that stays in a frugal handler on the alternate stack of 8 KiB that
/// std made for it.
pub(crate) fn std_alternate() {
    install(libc::SIGALRM, paused_handler, libc::SA_ONSTACK);
    spawn("alternate".into(), || descend(&raise_alrm));
    wait_for(1);
    set_up(&PATIENT);
    ready();
    commands(|_| {});
}
