//! What tracking costs: for each poll, for each future, in nanoseconds.
//!
//! `cargo bench -p gmr-tokio --bench tracked`
//!
//! Each figure is the fastest of some rounds of many turns: what the machine does
//! besides makes a round slower, never faster. Lines that stand beside each other took
//! their rounds in turns.

#![expect(unsafe_code, reason = "reads clocks")]

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use gmr_tokio::{Tracked, TrackedExt, time_polls};

const TURNS: u32 = 200_000;
const ROUNDS: u32 = 30;

fn main() {
    polls();
    clocks();
    futures();
    tasks();
}

/// Never ready, and not to be seen through by the optimiser.
struct Never(u64);

impl Future for Never {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0 += 1;
        Poll::Pending
    }
}

fn polls() {
    let mut context = Context::from_waker(Waker::noop());
    let mut plain = pin!(Never(0));
    let mut tracked = pin!(Tracked::new(Never(0)));
    let mut timed = pin!(Tracked::new(Never(0)));
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let round = &mut || plain.as_mut().poll(&mut context).is_pending();
        best[0] = best[0].min(nanoseconds(round));
        time_polls(false);
        let round = &mut || tracked.as_mut().poll(&mut context).is_pending();
        best[1] = best[1].min(nanoseconds(round));
        time_polls(true);
        let round = &mut || timed.as_mut().poll(&mut context).is_pending();
        best[2] = best[2].min(nanoseconds(round));
    }
    println!("a poll, plain                            {:7.1} ns", best[0]);
    println!("  tracked, without the clock             {:+7.1} ns", best[1] - best[0]);
    println!("  tracked                                {:+7.1} ns", best[2] - best[0]);
}

/// What the clocks cost that polls could read.
fn clocks() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 has it; it reads a counter.
    measure("the processor's counter", || unsafe { core::arch::x86_64::_rdtsc() });
    #[cfg(target_os = "linux")]
    for (what, clock) in [
        ("CLOCK_MONOTONIC_COARSE", libc::CLOCK_MONOTONIC_COARSE),
        ("CLOCK_MONOTONIC", libc::CLOCK_MONOTONIC),
    ] {
        measure(what, || {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: room for the result.
            unsafe { libc::clock_gettime(clock, &raw mut time) };
            time.tv_nsec
        });
    }
}

fn futures() {
    measure("Tracked::new and drop", || drop(Tracked::new(Never(0))));
    measure("tracked(name of 20 bytes) and drop", || {
        drop(Never(0).tracked(black_box("compaction of shards")));
    });
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let slowest = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| fastest(&mut || drop(black_box(Tracked::new(Never(0)))))))
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
    });
    println!("{:40} {slowest:7.1} ns", format!("Tracked::new and drop, {threads} threads"));
    let more = size_of::<Tracked<Never>>() - size_of::<Never>();
    println!("{:40} {:7} bytes", "memory of each", more + 128);
}

fn tasks() {
    const TASKS: u32 = 20_000;
    const YIELDS: u32 = 200_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut spawned = [f64::INFINITY; 2];
    let mut yielded = [f64::INFINITY; 2];
    let yields = || async {
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
    };
    for _ in 0..10 {
        runtime.block_on(async {
            for (best, is_tracked) in spawned.iter_mut().zip([false, true]) {
                let began = Instant::now();
                for _ in 0..TASKS {
                    if is_tracked {
                        drop(gmr_tokio::spawn(async {}));
                    } else {
                        drop(tokio::spawn(async {}));
                    }
                }
                let took = began.elapsed().as_nanos() as f64 / f64::from(TASKS);
                *best = best.min(took);
                // They run behind this one, and end.
                tokio::spawn(async {}).await.expect("no panic");
            }
            for (best, is_tracked) in yielded.iter_mut().zip([false, true]) {
                let began = Instant::now();
                let task =
                    if is_tracked { gmr_tokio::spawn(yields()) } else { tokio::spawn(yields()) };
                let _ = task.await;
                *best = best.min(began.elapsed().as_nanos() as f64 / f64::from(YIELDS));
            }
        });
    }
    println!("tokio::spawn                             {:7.1} ns", spawned[0]);
    println!("  gmr_tokio::spawn                       {:+7.1} ns", spawned[1] - spawned[0]);
    println!("a turn of tokio's yield_now              {:7.1} ns", yielded[0]);
    println!("  in a tracked task                      {:+7.1} ns", yielded[1] - yielded[0]);
}

fn measure<T>(what: &str, mut turn: impl FnMut() -> T) {
    println!("{what:40} {:7.1} ns", fastest(&mut turn));
}

fn fastest<T>(turn: &mut impl FnMut() -> T) -> f64 {
    (0..ROUNDS).map(|_| nanoseconds(turn)).fold(f64::INFINITY, f64::min)
}

fn nanoseconds<T>(turn: &mut impl FnMut() -> T) -> f64 {
    let began = Instant::now();
    for _ in 0..TURNS {
        black_box(turn());
    }
    began.elapsed().as_nanos() as f64 / f64::from(TURNS)
}
