//! What goes on in services that are in trouble: children that end and are not
//! collected, threads that spin or hang, calls that a signal may interrupt.
#![allow(unsafe_code, reason = "calls libc")]

use core::hint::black_box;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::channel;
use std::thread::{self, Builder};

use rustix::pipe::{PipeFlags, pipe_with};

/// Children that came and went.
static CHURNED: AtomicU64 = AtomicU64::new(0);
/// Rounds of the service's own work.
static TICKS: AtomicU64 = AtomicU64::new(0);
/// What read(2) returned to the reader; [`NOT_YET`] before.
static READ: AtomicI64 = AtomicI64::new(NOT_YET);

const NOT_YET: i64 = i64::MIN;

/// Zombies that churning leaves at any time.
const UNCOLLECTED: usize = 8;

#[derive(Default)]
pub(crate) struct Trouble {
    /// The writing end of the reader's pipe.
    feeder: Option<File>,
}

impl Trouble {
    /// Obeys a command of this file.
    pub(crate) fn obey(&mut self, word: &str, rest: &str) -> Option<String> {
        let count = || rest.parse::<u32>().expect("a number");
        Some(match word {
            "children" => fork_all(count(), || {
                loop {
                    // SAFETY: no arguments.
                    unsafe { libc::pause() };
                }
            }),
            "zombies" => fork_all(count(), || {}),
            "churn" => start("churn", churn),
            "churned" => CHURNED.load(Ordering::Acquire).to_string(),
            "tick" => start("ticker", tick),
            "ticks" => TICKS.load(Ordering::Acquire).to_string(),
            "spin" => {
                for _ in 1..count() {
                    start("spinner", spin);
                }
                start("spinner", spin)
            }
            "hang" => start("holder", hang_main),
            "hang-main" => wait_for_ever_in_c(),
            "reader" => self.reader(),
            "feed" => self.feed(),
            "read" => match READ.load(Ordering::Acquire) {
                NOT_YET => "not yet".to_owned(),
                returned => returned.to_string(),
            },
            _ => return None,
        })
    }

    /// A thread in a read(2) that is not tried again.
    fn reader(&mut self) -> String {
        let (input, feeder) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        self.feeder = Some(feeder.into());
        start("reader", move || read_once(&input))
    }

    fn feed(&mut self) -> String {
        let fed = self.feeder.as_mut().expect("a reader").write_all(b"12345");
        fed.map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }
}

/// Starts a thread and waits until it has begun: before that it blocks all
/// signals, and has no name.
fn start(name: &str, body: impl FnOnce() + Send + 'static) -> String {
    let (sender, has_begun) = channel();
    let started = Builder::new().name(name.to_owned()).spawn(move || {
        let _ = sender.send(());
        drop(sender);
        body();
    });
    let _ = has_begun.recv();
    started.map_or_else(|error| error.to_string(), |_| "ok".to_owned())
}

/// Forks children that run `body` and end, none of which is ever collected.
fn fork_all(count: u32, body: fn()) -> String {
    for _ in 0..count {
        if let Err(error) = fork_one(body) {
            return error.to_string();
        }
    }
    "ok".to_owned()
}

fn fork_one(body: fn()) -> std::io::Result<i32> {
    // SAFETY: the child only makes system calls.
    match unsafe { libc::fork() } {
        0 => {
            // With the puppet.
            // SAFETY: no pointers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
            body();
            // SAFETY: ends the process without its destructors.
            unsafe { libc::_exit(0) }
        }
        -1 => Err(std::io::Error::last_os_error()),
        pid => Ok(pid),
    }
}

/// Children end all the time, and are collected a little later.
fn churn() {
    let mut ended = VecDeque::new();
    loop {
        if let Ok(pid) = fork_one(|| {}) {
            ended.push_back(pid);
        }
        if ended.len() > UNCOLLECTED {
            let pid = ended.pop_front().expect("some");
            // SAFETY: a child of ours; its status is not wanted.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            CHURNED.fetch_add(1, Ordering::AcqRel);
        }
        // Leaves something of the machine to others.
        thread::sleep(Duration::from_micros(500));
    }
}

fn tick() {
    loop {
        TICKS.fetch_add(1, Ordering::AcqRel);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Two ways down, taken in turns: a stack that mixes them never was.
fn spin() {
    loop {
        one_way_outer();
        other_way_outer();
    }
}

/// The numbers keep the two ways from being merged: functions with the same code
/// may become one.
macro_rules! way {
    ($outer:ident, $middle:ident, $inner:ident, $number:literal) => {
        #[inline(never)]
        fn $outer() {
            // Not the last thing, or the frame would be gone.
            black_box($middle(black_box($number)));
        }

        #[inline(never)]
        fn $middle(seed: u64) -> u64 {
            black_box($inner(black_box(seed))) ^ $number
        }

        #[inline(never)]
        fn $inner(seed: u64) -> u64 {
            let mut value = seed;
            for step in 0..64 {
                value = black_box(value.wrapping_mul($number).wrapping_add(step));
            }
            black_box(value) ^ 1
        }
    };
}

way!(one_way_outer, one_way_middle, one_way_inner, 31);
way!(other_way_outer, other_way_middle, other_way_inner, 37);

static LOCK: Lock = Lock(core::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

/// The C library's lock.
struct Lock(core::cell::UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is for threads.
unsafe impl Sync for Lock {}

static HELD: AtomicU64 = AtomicU64::new(0);

/// Takes the lock and never gives it back.
fn hang_main() {
    // SAFETY: an initialised mutex.
    unsafe { libc::pthread_mutex_lock(LOCK.0.get()) };
    HELD.store(1, Ordering::Release);
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// The calling thread does not come back.
fn wait_for_ever_in_c() -> String {
    while HELD.load(Ordering::Acquire) == 0 {
        thread::yield_now();
    }
    hangs_in_c();
    unreachable!("the lock is held for ever")
}

#[inline(never)]
fn hangs_in_c() {
    // SAFETY: an initialised mutex.
    black_box(unsafe { libc::pthread_mutex_lock(LOCK.0.get()) });
}

/// Keeps what read(2) returned, an error as a negative number.
fn read_once(input: &OwnedFd) {
    let mut bytes = [0_u8; 16];
    // SAFETY: valid memory.
    let count = unsafe { libc::read(input.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
    let returned = if count >= 0 {
        i64::try_from(count).expect("a small number")
    } else {
        -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    };
    READ.store(returned, Ordering::Release);
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
