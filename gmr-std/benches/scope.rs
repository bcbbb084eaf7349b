//! What a scope costs: entered and left, in nanoseconds.
//!
//! `cargo bench -p gmr-std --bench scope`
//!
//! Each line is the fastest of some rounds of many turns: what the machine
//! does besides makes a round slower, never faster. In the last line as many
//! threads as the machine has processors do it at the same time.

use std::hint::black_box;
use std::time::Instant;

use gmr_std::{Scope, ThisThread};

const TURNS: u32 = 200_000;
const ROUNDS: u32 = 20;

fn main() {
    let here = ThisThread::get();
    let path = black_box("/v1/stacks/4711");
    let long = black_box("x".repeat(200));
    measure("ThisThread::enter", || drop(black_box(here.enter("turn"))));
    measure("ThisThread::enter_with, 15 bytes", || {
        drop(black_box(here.enter_with("turn", path)));
    });
    measure("Scope::enter", || drop(black_box(Scope::enter("request"))));
    measure("Scope::enter_with, 15 bytes", || {
        drop(black_box(Scope::enter_with("request", path)));
    });
    measure("Scope::enter_with, cut from 200 bytes", || {
        drop(black_box(Scope::enter_with("request", &long)));
    });
    measure("scope!, no detail", || drop(black_box(gmr_std::scope!("request"))));
    measure("scope!, formatted", || drop(black_box(gmr_std::scope!("request", "GET {path}"))));
    {
        let _outer: Vec<_> = (0..16).map(|_| Scope::enter("outer")).collect();
        measure("ThisThread::enter, the 17th", || drop(black_box(here.enter("turn"))));
    }
    together(std::thread::available_parallelism().map_or(1, |count| count.get()));
}

fn measure(what: &str, mut turn: impl FnMut()) {
    println!("{what:40} {:7.1} ns", fastest(&mut turn));
}

fn fastest(turn: &mut impl FnMut()) -> f64 {
    let round = |_| {
        let began = Instant::now();
        for _ in 0..TURNS {
            turn();
        }
        began.elapsed().as_nanos() as f64 / f64::from(TURNS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn together(count: usize) {
    let slowest = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    let here = ThisThread::get();
                    fastest(&mut || drop(black_box(here.enter("turn"))))
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0.0, f64::max)
    });
    let what = format!("ThisThread::enter, {count} threads");
    println!("{what:40} {slowest:7.1} ns");
}
