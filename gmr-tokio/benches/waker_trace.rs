//! What a waker trace costs, in nanoseconds: for each poll that waits, by the depth of
//! its await chain.
//!
//! `cargo bench -p gmr-tokio --features waker-trace --bench waker_trace`
//!
//! Each figure is the fastest of some rounds of many turns.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use gmr_tokio::Tracked;

const TURNS: u32 = 20_000;
const ROUNDS: u32 = 20;

/// Keeps the waker that it was polled with, as all do that wait.
async fn wait() {
    let mut kept: Option<Waker> = None;
    poll_fn(move |context| {
        let waker = context.waker();
        match &mut kept {
            Some(kept) => kept.clone_from(waker),
            None => kept = Some(waker.clone()),
        }
        Poll::<()>::Pending
    })
    .await;
}

fn deep(depth: u32) -> Pin<Box<dyn Future<Output = ()>>> {
    if depth == 0 { Box::pin(wait()) } else { Box::pin(async move { deep(depth - 1).await }) }
}

fn main() {
    for depth in [1, 4, 16, 64] {
        let off = nanoseconds(depth);
        gmr_tokio::trace_wakers(true);
        let on = nanoseconds(depth);
        gmr_tokio::trace_wakers(false);
        println!("a poll that waits {depth:3} deep   {off:8.1} ns, traced {on:8.1} ns");
    }
}

fn nanoseconds(depth: u32) -> f64 {
    let mut future = pin!(Tracked::new(deep(depth)));
    let mut context = Context::from_waker(Waker::noop());
    let round = |_| {
        let began = Instant::now();
        for _ in 0..TURNS {
            black_box(future.as_mut().poll(&mut context).is_pending());
        }
        began.elapsed().as_nanos() as f64 / f64::from(TURNS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
