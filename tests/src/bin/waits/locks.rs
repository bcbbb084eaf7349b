//! Threads that wait for locks and for each other.

use std::sync::{Arc, Barrier};

use crate::kit::{Mutex, RwLock, Scene, read_for_ever, until_in, until_on_futex};

/// `count` threads, each with a lock that the one before it wants.
pub(crate) fn deadlock(scene: &mut Scene, count: usize) {
    let locks: Vec<_> = (0..count).map(|_| Mutex::plain()).collect();
    let all_hold = Arc::new(Barrier::new(count));
    let mut tids = Vec::new();
    for index in 0..count {
        let (own, other) = (locks[index], locks[(index + 1) % count]);
        let all_hold = Arc::clone(&all_hold);
        tids.push(scene.thread(&format!("locker-{index}"), move || {
            own.lock();
            all_hold.wait();
            other.lock();
        }));
        scene.address(&format!("lock-{index}"), own.place());
    }
    // The barrier's own futex is over when each waits for a mutex.
    for (index, tid) in tids.into_iter().enumerate() {
        let wanted = locks[(index + 1) % count].place().addr();
        until_waits_at(tid, wanted);
    }
}

/// Two threads, each with a lock that the other wants; one of them gives up some
/// day. Robust locks: their owner is known without the C library's names, and the
/// kernel refuses no circle of them, as it does with PI locks.
pub(crate) fn timed_circle(scene: &mut Scene) {
    let locks = [0, 1].map(|_| Mutex::new(libc::PTHREAD_PRIO_NONE, true));
    let all_hold = Arc::new(Barrier::new(2));
    let mut waits = Vec::new();
    for index in [0, 1] {
        let (own, other) = (locks[index], locks[1 - index]);
        let all_hold = Arc::clone(&all_hold);
        let tid = scene.thread(&format!("locker-{index}"), move || {
            own.lock();
            all_hold.wait();
            if index == 0 {
                other.lock_with_timeout()
            } else {
                other.lock()
            };
        });
        waits.push((tid, other.place().addr()));
    }
    for (tid, address) in waits {
        until_waits_at(tid, address);
    }
}

fn until_waits_at(tid: u32, address: usize) {
    gmr_tests::until(&format!("thread {tid} to wait at {address:#x}"), || {
        let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
        text.starts_with(&format!("{} {address:#x} ", libc::SYS_futex)).then_some(())
    });
}

/// One holds a mutex and joins the other, which wants it.
pub(crate) fn deadlock_by_join(scene: &mut Scene) {
    let lock = Mutex::plain();
    scene.address("lock", lock.place());
    let (sender, thread) = std::sync::mpsc::channel::<libc::pthread_t>();
    let (held, is_held) = std::sync::mpsc::channel::<()>();
    let joiner = scene.thread("joiner", move || {
        lock.lock();
        held.send(()).expect("the other");
        let other = thread.recv().expect("the other");
        // SAFETY: that thread is joinable and joined once.
        unsafe { libc::pthread_join(other, core::ptr::null_mut()) };
    });
    is_held.recv().expect("the lock to be held");
    // By the library itself: a thread of std is detached when its handle goes.
    extern "C" fn wanter(lock: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: a lock for ever.
        let lock = unsafe { &*lock.cast::<Mutex>() };
        lock.lock();
        core::ptr::null_mut()
    }
    let mut wants: libc::pthread_t = 0;
    let argument = core::ptr::from_ref(lock).cast_mut().cast();
    // SAFETY: the function fits, and what it gets lives for ever.
    unsafe { libc::pthread_create(&raw mut wants, core::ptr::null(), wanter, argument) };
    sender.send(wants).expect("the joiner");
    until_on_futex(joiner);
    gmr_tests::until("the thread that wants the lock", || {
        std::fs::read_dir("/proc/self/task").ok()?.flatten().find_map(|task| {
            let tid: u32 = task.file_name().to_str()?.parse().ok()?;
            let text = std::fs::read_to_string(task.path().join("syscall")).ok()?;
            let wanted = format!("{} {:#x} ", libc::SYS_futex, lock.place().addr());
            text.starts_with(&wanted).then_some(tid)
        })
    });
    until_waits_for_end(joiner);
}

/// The word of a thread that is joined holds its number: a futex that is not
/// private.
fn until_waits_for_end(tid: u32) {
    gmr_tests::until("the join", || {
        let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
        let operation = text.split(' ').nth(2)?;
        let operation = u32::from_str_radix(operation.trim_start_matches("0x"), 16).ok()?;
        (text.starts_with("202 ") && operation & 128 == 0).then_some(())
    });
}

/// One holds a mutex and reads a pipe; `waiters` want it.
pub(crate) fn held_mutex(
    scene: &mut Scene,
    protocol: libc::c_int,
    is_robust: bool,
    waiters: usize,
) {
    let lock = Mutex::new(protocol, is_robust);
    scene.address("lock", lock.place());
    let owner = scene.thread("owner", move || {
        lock.lock();
        read_for_ever();
    });
    until_in(owner, libc::SYS_read);
    let waiters: Vec<_> = (0..waiters)
        .map(|index| {
            scene.thread(&format!("waiter-{index}"), move || {
                lock.lock();
            })
        })
        .collect();
    waiters.into_iter().for_each(until_on_futex);
}

/// A mutex whose owner ended with it.
pub(crate) fn gone(scene: &mut Scene) {
    let lock = Mutex::plain();
    scene.address("lock", lock.place());
    let owner = scene.thread("owner", move || {
        lock.lock();
    });
    gmr_tests::until("the owner's end", || {
        (!std::path::Path::new(&format!("/proc/self/task/{owner}")).exists()).then_some(())
    });
    let waiters: Vec<_> = (0..2)
        .map(|index| {
            scene.thread(&format!("waiter-{index}"), move || {
                lock.lock();
            })
        })
        .collect();
    waiters.into_iter().for_each(until_on_futex);
}

/// A read-write lock that a writer has, a reader and a writer want.
pub(crate) fn written(scene: &mut Scene) {
    let lock = RwLock::new();
    scene.address("lock", lock.place());
    let owner = scene.thread("owner", move || {
        lock.write();
        read_for_ever();
    });
    until_in(owner, libc::SYS_read);
    let reader = scene.thread("reader", move || lock.read());
    until_on_futex(reader);
    let reader = scene.thread("reader-2", move || lock.read());
    until_on_futex(reader);
    let writer = scene.thread("writer", move || lock.write());
    until_on_futex(writer);
}

/// `first` and another wait for `middle`'s lock, which waits for `last`'s, which
/// reads a pipe.
pub(crate) fn chain(scene: &mut Scene) {
    let (one, two) = (Mutex::plain(), Mutex::plain());
    let last = scene.thread("last", move || {
        two.lock();
        read_for_ever();
    });
    until_in(last, libc::SYS_read);
    let middle = scene.thread("middle", move || {
        one.lock();
        two.lock();
    });
    until_waits_at(middle, two.place().addr());
    for name in ["first", "second"] {
        let tid = scene.thread(name, move || {
            one.lock();
        });
        until_waits_at(tid, one.place().addr());
    }
}

/// A mutex of the standard library: no owner is in memory.
pub(crate) fn std_mutex(scene: &mut Scene) {
    static LOCK: std::sync::Mutex<u32> = std::sync::Mutex::new(0);
    let owner = scene.thread("owner", || {
        let _guard = LOCK.lock().expect("no panic");
        read_for_ever();
    });
    until_in(owner, libc::SYS_read);
    for index in 0..3 {
        let tid = scene.thread(&format!("waiter-{index}"), || {
            drop(LOCK.lock());
        });
        until_on_futex(tid);
    }
}

/// A thread that waits for the end of another.
pub(crate) fn join(scene: &mut Scene) {
    let (sender, tid) = std::sync::mpsc::channel();
    let joiner = scene.thread("joiner", move || {
        let reader = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            sender.send(crate::kit::gettid()).expect("the scene");
            read_for_ever();
        });
        let _ended = reader.expect("a thread").join();
    });
    let reader: u32 = tid.recv().expect("its number");
    scene.fact("reader", reader);
    until_in(reader, libc::SYS_read);
    until_waits_for_end(joiner);
}
