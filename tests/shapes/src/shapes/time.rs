//! Timers.

use std::pin::Pin;

use tokio::time::{Instant, interval, interval_at, sleep, sleep_until, timeout, timeout_at};
use tokio_util::time::DelayQueue;

use super::LONG;
use super::calls::{inner, rest};
use crate::parked::spawn;

async fn until() {
    sleep_until(Instant::now() + LONG).await; // @until
}

async fn ticks() {
    let mut interval = interval_at(Instant::now() + LONG, LONG);
    interval.tick().await; // @ticks
}

async fn ticks_again() {
    let mut interval = interval(LONG);
    for _ in 0..3 {
        interval.tick().await; // @ticks_again
    }
}

async fn in_time() {
    let _ = timeout(LONG, inner("abc")).await; // @in_time
}

async fn in_both_times() {
    let nested = timeout(LONG, timeout_at(Instant::now() + LONG, rest(1)));
    let _ = nested.await; // @in_both_times
}

async fn delayed() {
    let mut queue = DelayQueue::new();
    queue.insert(1, LONG);
    std::future::poll_fn(|context| queue.poll_expired(context)).await; // @delayed
}

async fn reset() {
    let mut timer: Pin<Box<_>> = Box::pin(sleep(LONG));
    timer.as_mut().reset(Instant::now() + 2 * LONG);
    timer.as_mut().await; // @reset
}

pub(super) fn spawn_all() {
    spawn("sleep_until", "until > ~Sleep", until());
    spawn("interval", "ticks > ~interval", ticks());
    spawn("interval, again", "ticks_again > ~interval", ticks_again());
    spawn("timeout", "in_time > [inner > rest > ~Sleep, ~Sleep]", in_time());
    let tree = "in_both_times > [rest > ~Sleep, ~Sleep, ~Sleep]";
    spawn("timeout in timeout", tree, in_both_times());
    spawn("DelayQueue", "delayed > ~Sleep", delayed());
    spawn("sleep, reset", "reset > ~Sleep", reset());
}
