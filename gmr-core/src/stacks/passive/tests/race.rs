//! Threads that run while they are looked at: what is accepted is never a mix
//! of two stacks.
//!
//! 1. A thread that is made to run between the walk and the last look.
//! 2. Threads that alternate between two call chains of equal depth, whose
//!    frames lie in pages of their own, so that a slow walk reads them at
//!    different times.

use core::hint::black_box;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use super::super::capture::NotParked;
use super::Observer;
use crate::stacks::rules::{Context, rows};
use crate::stacks::unwind::Modules;

/// How long the chains rest. The longer, the more is accepted; the shorter,
/// the more often a thread comes back while it is looked at.
static REST_US: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
fn rest(depth: u32) -> u32 {
    std::thread::sleep(Duration::from_micros(u64::from(REST_US.load(Ordering::Relaxed))));
    black_box(depth)
}

macro_rules! chain {
    ($($name:ident calls $next:ident),*) => {
        $(
            #[inline(never)]
            fn $name(depth: u32) -> u32 {
                // A page at least. Not a tail call, and unlike its twin in the
                // other chain.
                let mut page = [0_u8; 5000];
                black_box(&mut page);
                let made = $next(black_box(depth + 1));
                black_box(&mut page);
                black_box(made) + black_box(stringify!($name).len() as u32)
            }
        )*
    };
}

chain!(a1 calls a2, a2 calls a3, a3 calls rest);

mod other {
    use super::{black_box, rest};

    chain!(b1 calls b2, b2 calls b3, b3 calls rest);

    pub(super) const CHAIN: [fn(u32) -> u32; 3] = [b1, b2, b3];
}

const CHAIN: [fn(u32) -> u32; 3] = [a1, a2, a3];

fn ranges(observer: &Observer, chain: [fn(u32) -> u32; 3]) -> [Range<u64>; 3] {
    let mut context = Context::new_in();
    chain.map(|function| {
        let address = function as usize as u64;
        let (bias, info) = observer.table.lookup(address).unwrap();
        let range = rows(&info.unwrap(), address - bias, &mut context, |_| true).unwrap();
        range.start + bias..range.end + bias
    })
}

/// At each frame. Whatever runs meanwhile may run.
fn delay() {
    for _ in 0..200 {
        black_box(());
        core::hint::spin_loop();
    }
}

fn race(without_count: bool, rest_us: u32, wanted: u32) {
    static STOP: AtomicBool = AtomicBool::new(false);
    REST_US.store(rest_us, Ordering::Relaxed);
    let ready = AtomicU32::new(0);
    let mut observer = Observer::new();
    observer.frames.at_each = Some(delay);
    observer.memory.without_count = without_count;
    let chains = [ranges(&observer, CHAIN), ranges(&observer, other::CHAIN)];
    let tids = [const { AtomicU32::new(0) }; 3];
    let (mut accepted, mut refused, mut in_chain) = (0_u32, 0_u32, [0_u32; 2]);
    std::thread::scope(|scope| {
        for tid in &tids {
            let ready = &ready;
            scope.spawn(move || {
                tid.store(crate::sys::gettid(), Ordering::Relaxed);
                ready.fetch_add(1, Ordering::Release);
                while !STOP.load(Ordering::Relaxed) {
                    black_box(CHAIN[0](black_box(1)));
                    black_box(other::CHAIN[0](black_box(1)));
                }
            });
        }
        while ready.load(Ordering::Acquire) < 3 {
            std::thread::yield_now();
        }
        let mut torn = None;
        while accepted < wanted && torn.is_none() {
            for tid in &tids {
                match observer.look(tid.load(Ordering::Relaxed)) {
                    Ok(_) => accepted += 1,
                    Err(NotParked::Running | NotParked::Ran) => {
                        refused += 1;
                        continue;
                    }
                    Err(error) => panic!("{error:?}"),
                }
                let pcs = observer.pcs();
                let frames_of = |chain: &[Range<u64>; 3]| {
                    chain.iter().filter(|range| pcs.iter().any(|pc| range.contains(pc))).count()
                };
                match chains.each_ref().map(frames_of) {
                    [3, 0] => in_chain[0] += 1,
                    [0, 3] => in_chain[1] += 1,
                    [0, 0] => {}
                    _ => torn = Some(pcs),
                }
            }
        }
        STOP.store(true, Ordering::Relaxed);
        assert_eq!(torn, None);
    });
    STOP.store(false, Ordering::Relaxed);
    std::println!("{accepted} accepted ({in_chain:?} in the chains), {refused} refused, 0 torn");
    assert!(in_chain[0] > 0 && in_chain[1] > 0);
}

#[test]
fn accepted_stacks_are_never_torn() {
    race(false, 100, 2_000);
    // One after the other: they share what stops them. `status` is a long file.
    race(true, 2_000, 300);
}

/// How often the thread of the test below woke up.
static WOKEN: AtomicU32 = AtomicU32::new(0);
static SLEEPER: std::sync::OnceLock<std::thread::Thread> = std::sync::OnceLock::new();
static WAKES_LEFT: AtomicU32 = AtomicU32::new(0);
/// It stays awake as long as this is set.
static STAYS_AWAKE: AtomicBool = AtomicBool::new(false);
static ENDS: AtomicBool = AtomicBool::new(false);

/// Makes it run, as long as that is wanted.
fn wake() {
    let left = WAKES_LEFT.load(Ordering::Relaxed);
    if left == 0 {
        return;
    }
    WAKES_LEFT.store(left - 1, Ordering::Relaxed);
    let before = WOKEN.load(Ordering::Acquire);
    SLEEPER.get().unwrap().unpark();
    while WOKEN.load(Ordering::Acquire) == before {
        std::thread::yield_now();
    }
}

#[test]
fn a_thread_that_ran_meanwhile_is_not_accepted() {
    let tid = std::sync::Arc::new(AtomicU32::new(0));
    let shared = tid.clone();
    let sleeper = std::thread::spawn(move || {
        SLEEPER.set(std::thread::current()).unwrap();
        shared.store(crate::sys::gettid(), Ordering::Release);
        while !ENDS.load(Ordering::Acquire) {
            std::thread::park();
            WOKEN.fetch_add(1, Ordering::Release);
            while STAYS_AWAKE.load(Ordering::Acquire) {
                core::hint::spin_loop();
            }
        }
    });
    while tid.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let tid = tid.load(Ordering::Relaxed);
    let mut observer = Observer::new();
    observer.memory.before_last_look = Some(wake);
    for without_count in [false, true] {
        observer.memory.without_count = without_count;
        WAKES_LEFT.store(0, Ordering::Relaxed);
        observer.wait(tid);
        let parked = observer.pcs();
        // Once: the second attempt counts, if it finds the thread parked again.
        WAKES_LEFT.store(1, Ordering::Relaxed);
        match observer.look(tid) {
            Ok(_) => assert_eq!(observer.pcs(), parked),
            Err(error) => assert_eq!(error, NotParked::Running),
        }
        // Each time.
        WAKES_LEFT.store(u32::MAX, Ordering::Relaxed);
        let error = observer.look(tid).unwrap_err();
        assert!(matches!(error, NotParked::Ran | NotParked::Running), "{error:?}");
        // It wakes up and stays awake: it has not left its processor since.
        WAKES_LEFT.store(0, Ordering::Relaxed);
        observer.wait(tid);
        WAKES_LEFT.store(1, Ordering::Relaxed);
        STAYS_AWAKE.store(true, Ordering::Release);
        assert_eq!(observer.look(tid).unwrap_err(), NotParked::Running);
        STAYS_AWAKE.store(false, Ordering::Release);
    }
    ENDS.store(true, Ordering::Release);
    sleeper.thread().unpark();
    sleeper.join().unwrap();
}
