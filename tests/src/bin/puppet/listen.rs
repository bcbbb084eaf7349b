//! Other users of the same signal.
#![allow(unsafe_code, reason = "libc::raise and signal masks")]

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

static BY_TOKIO: AtomicUsize = AtomicUsize::new(0);

#[derive(Default)]
pub(crate) struct Listeners {
    by_hook: Option<Arc<AtomicUsize>>,
}

impl Listeners {
    /// signal-hook counts from now on.
    pub(crate) fn hook(&mut self, number: i32) -> String {
        let counter = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&counter);
        // SAFETY: an atomic addition.
        let registered = unsafe {
            signal_hook::low_level::register(number, move || {
                theirs.fetch_add(1, Ordering::AcqRel);
            })
        };
        self.by_hook = Some(counter);
        registered.map_or_else(|error| error.to_string(), |_| "ok".to_owned())
    }

    /// tokio counts from now on.
    pub(crate) fn tokio(&self, number: i32) -> String {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let mut stream = signal(SignalKind::from_raw(number)).expect("a signal stream");
                let _ = sender.send(());
                while stream.recv().await.is_some() {
                    BY_TOKIO.fetch_add(1, Ordering::AcqRel);
                }
            });
        });
        receiver.recv().map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    /// How often they were called.
    pub(crate) fn heard(&self) -> String {
        let by_hook = self.by_hook.as_ref().map_or(0, |counter| counter.load(Ordering::Acquire));
        format!("hook {by_hook} tokio {}", BY_TOKIO.load(Ordering::Acquire))
    }
}

/// Sends a signal to the calling thread.
pub(crate) fn raise(number: i32) -> String {
    // SAFETY: a signal to ourselves.
    let result = unsafe { libc::raise(number) };
    if result == 0 { "ok".to_owned() } else { format!("raise: {result}") }
}

/// Blocks a signal in the calling thread: others get it.
pub(crate) fn block(number: i32) -> String {
    // SAFETY: all bytes zero is a valid set.
    let mut set: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a set of this function's own.
    unsafe { libc::sigaddset(&raw mut set, number) };
    // SAFETY: as above; affects this thread only.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut()) };
    if error == 0 { "ok".to_owned() } else { format!("pthread_sigmask: {error}") }
}

/// As in a C program: who writes to a closed pipe dies. (Rust's runtime ignores
/// SIGPIPE, which would hide a report's mistake.)
pub(crate) fn default_sigpipe() {
    // SAFETY: no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

extern "C" fn ignore(_signal: libc::c_int) {}

/// Handlers on every signal that captures could use.
pub(crate) fn take_capture_signals() -> String {
    for signal in core::iter::once(libc::SIGURG).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(signal, ignore as *const () as usize) };
    }
    "ok".to_owned()
}

/// Gives the stack and malloc a few free MiB and lets it keep them: a program
/// ends when those cannot grow, whatever the reporter does.
pub(crate) fn grow_heap() -> String {
    const STACK_BYTES: usize = 2 << 20;
    // Each setup that fails leaves some KiB behind, and thousands are tried.
    const HEAP_BYTES: usize = 64 << 20;
    core::hint::black_box([1_u8; STACK_BYTES]);
    let keep = libc::c_int::MAX;
    let options = [
        (libc::M_TRIM_THRESHOLD, keep),
        (libc::M_MMAP_THRESHOLD, keep),
        // Threads have none of their own, which they could not get.
        (libc::M_ARENA_MAX, 1),
    ];
    for (option, value) in options {
        // SAFETY: sets a number.
        unsafe { libc::mallopt(option, value) };
    }
    drop(core::hint::black_box(vec![1_u8; HEAP_BYTES]));
    "ok".to_owned()
}
