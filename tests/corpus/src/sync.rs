//! Waiting in the standard library.

use std::hint::black_box;
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::Duration;

use crate::rest::{BUSY, Kind, arrive, expect, is_over, rest, start};

/// Longer than any test.
const VERY_LONG: Duration = Duration::from_secs(1_000_000);

pub(crate) const KINDS: &[Kind] = &[
    ("mutex", mutex),
    ("rwlock_read", rwlock_read),
    ("rwlock_write", rwlock_write),
    ("condvar", condvar),
    ("condvar_timed", condvar_timed),
    ("mpsc_recv", mpsc_recv),
    ("recv_timeout", recv_timeout),
    ("sync_send", sync_send),
    ("park", park),
    ("park_timeout", park_timeout),
    ("sleep", sleep),
    ("barrier", barrier),
    ("join", join),
    ("scope", scope),
    ("once", once),
    ("once_lock", once_lock),
    ("lazy_lock", lazy_lock),
    ("thread_local", thread_local),
    (BUSY, busy),
];

fn mutex() {
    let lock = Mutex::new(1);
    std::mem::forget(lock.lock());
    arrive();
    black_box(*lock.lock().unwrap());
}

fn rwlock_read() {
    let lock = RwLock::new(1);
    std::mem::forget(lock.write());
    arrive();
    black_box(*lock.read().unwrap());
}

fn rwlock_write() {
    let lock = RwLock::new(1);
    std::mem::forget(lock.read());
    arrive();
    *lock.write().unwrap() += 1;
}

fn condvar() {
    let (lock, condvar) = (Mutex::new(0), Condvar::new());
    arrive();
    let guard = condvar.wait_while(lock.lock().unwrap(), |value| *value == 0);
    black_box(*guard.unwrap());
}

fn condvar_timed() {
    let (lock, condvar) = (Mutex::new(0), Condvar::new());
    let mut guard = lock.lock().unwrap();
    arrive();
    while *guard == 0 {
        guard = condvar.wait_timeout(guard, VERY_LONG).unwrap().0;
    }
}

fn mpsc_recv() {
    let (sender, receiver) = channel::<String>();
    arrive();
    black_box(receiver.recv().is_ok());
    drop(sender);
}

fn recv_timeout() {
    let (sender, receiver) = channel::<[u64; 4]>();
    arrive();
    black_box(receiver.recv_timeout(VERY_LONG).is_ok());
    drop(sender);
}

fn sync_send() {
    let (sender, receiver) = sync_channel(1);
    sender.send(1).unwrap();
    arrive();
    black_box(sender.send(2).is_ok());
    drop(receiver);
}

fn park() {
    arrive();
    while !is_over() {
        thread::park();
    }
}

fn park_timeout() {
    arrive();
    while !is_over() {
        thread::park_timeout(VERY_LONG);
    }
}

fn sleep() {
    arrive();
    thread::sleep(VERY_LONG);
}

fn barrier() {
    let barrier = Barrier::new(2);
    arrive();
    black_box(barrier.wait().is_leader());
}

fn join() {
    let thread = start("joined", || _ = black_box(rest()));
    arrive();
    black_box(thread.join().is_ok());
}

fn scope() {
    let value = 3;
    thread::scope(|scope| {
        expect();
        let inner = thread::Builder::new().name("scoped".into());
        let inner = inner.spawn_scoped(scope, || black_box(rest() + value)).unwrap();
        arrive();
        black_box(inner.join().is_ok());
    });
}

fn once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        start("once_waits", || {
            arrive();
            ONCE.call_once(|| _ = black_box(1));
        });
        black_box(rest());
    });
}

fn once_lock() {
    static LOCK: OnceLock<u64> = OnceLock::new();
    black_box(LOCK.get_or_init(rest));
}

fn lazy_lock() {
    static LOCK: LazyLock<u64> = LazyLock::new(|| rest() + 1);
    black_box(*LOCK);
}

fn thread_local() {
    thread_local!(static VALUE: u64 = rest());
    black_box(VALUE.with(|value| *value));
}

/// Where it is when it is interrupted nobody knows: no call, so that its caller
/// is always the same.
#[inline(never)]
fn busy_loop() {
    arrive();
    let mut count = 0_u64;
    loop {
        // SAFETY: adds to a register.
        unsafe { core::arch::asm!("add {0}, 1", inout(reg) count, options(nomem, nostack)) };
    }
}

fn busy() {
    busy_loop();
    black_box(());
}
