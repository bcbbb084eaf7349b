//! Threads and locks of a scenario.

use std::cell::UnsafeCell;
use std::fs;
use std::sync::mpsc::channel;
use std::thread::Builder;

use gmr_tests::until;

/// What the test is told.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    facts: Vec<String>,
}

impl Scene {
    /// Starts a thread and returns its number.
    pub(crate) fn thread(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> u32 {
        let (sender, tid) = channel();
        Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                sender.send(gettid()).expect("who started it");
                body();
            })
            .expect("a thread");
        let tid = tid.recv().expect("its number");
        self.fact(name, tid);
        tid
    }

    pub(crate) fn fact(&mut self, key: &str, value: impl ToString) {
        self.facts.push(format!("{key}={}", value.to_string()));
    }

    pub(crate) fn address<T>(&mut self, key: &str, place: *const T) {
        self.facts.push(format!("{key}={:#x}", place.addr()));
    }

    /// Says that everything is in place.
    pub(crate) fn say(&self) {
        println!("ready {}", self.facts.join(" "));
    }
}

pub(crate) fn gettid() -> u32 {
    // SAFETY: returns a number.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// Waits until a thread sleeps in the call `number`.
pub(crate) fn until_in(tid: u32, number: libc::c_long) {
    until(&format!("thread {tid} to be in call {number}"), || {
        let text = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
        text.starts_with(&format!("{number} ")).then_some(())
    });
}

/// Waits until a thread sleeps on a futex.
pub(crate) fn until_on_futex(tid: u32) {
    until_in(tid, libc::SYS_futex);
}

/// A mutex of the C library, for ever.
pub(crate) struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: the library's own lock is made for it.
unsafe impl Sync for Mutex {}

impl Mutex {
    pub(crate) fn new(protocol: libc::c_int, is_robust: bool) -> &'static Self {
        // SAFETY: all bytes zero are memory for it.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { core::mem::zeroed() };
        let mutex = Box::leak(Box::new(Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))));
        // SAFETY: ours, and nobody uses it yet.
        assert_eq!(unsafe { libc::pthread_mutexattr_init(&raw mut attributes) }, 0);
        // SAFETY: initialised just now.
        let set = unsafe { libc::pthread_mutexattr_setprotocol(&raw mut attributes, protocol) };
        assert_eq!(set, 0);
        if is_robust {
            let robust = libc::PTHREAD_MUTEX_ROBUST;
            // SAFETY: as above.
            let set = unsafe { libc::pthread_mutexattr_setrobust(&raw mut attributes, robust) };
            assert_eq!(set, 0);
        }
        // SAFETY: ours, and nobody uses it yet.
        let init = unsafe { libc::pthread_mutex_init(mutex.0.get(), &raw const attributes) };
        assert_eq!(init, 0);
        mutex
    }

    pub(crate) fn plain() -> &'static Self {
        Self::new(libc::PTHREAD_PRIO_NONE, false)
    }

    pub(crate) fn lock(&self) -> i32 {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    /// Gives up after an hour.
    pub(crate) fn lock_with_timeout(&self) -> i32 {
        let mut until = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a valid place.
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut until) }, 0);
        until.tv_sec += 3600;
        // SAFETY: it is initialised, and the time is valid.
        unsafe { libc::pthread_mutex_timedlock(self.0.get(), &raw const until) }
    }

    pub(crate) fn unlock(&self) {
        // SAFETY: it is locked by this thread.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }

    pub(crate) fn place(&self) -> *const libc::pthread_mutex_t {
        self.0.get()
    }
}

/// A read-write lock of the C library, for ever.
pub(crate) struct RwLock(UnsafeCell<libc::pthread_rwlock_t>);

// SAFETY: the library's own lock is made for it.
unsafe impl Sync for RwLock {}

impl RwLock {
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::new(RwLock(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER))))
    }

    pub(crate) fn read(&self) {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_rwlock_rdlock(self.0.get()) };
    }

    pub(crate) fn write(&self) {
        // SAFETY: it is initialised.
        unsafe { libc::pthread_rwlock_wrlock(self.0.get()) };
    }

    pub(crate) fn place(&self) -> *const libc::pthread_rwlock_t {
        self.0.get()
    }
}

/// Sleeps in read(2) on a pipe that nobody writes to.
pub(crate) fn read_for_ever() -> ! {
    let descriptor = pipe();
    loop {
        let mut byte = 0_u8;
        // SAFETY: a valid byte.
        unsafe { libc::read(descriptor, (&raw mut byte).cast(), 1) };
    }
}

/// The reading end of a pipe; the other stays open too.
pub(crate) fn pipe() -> i32 {
    let mut ends = [0; 2];
    // SAFETY: room for two.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    ends[0]
}
