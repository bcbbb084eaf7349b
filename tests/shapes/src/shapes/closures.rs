//! Closures that make futures.

use std::pin::Pin;

use tokio::task::LocalSet;

use super::calls::rest;
use crate::parked::{self, spawn};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

async fn async_closure() {
    let kept = 3;
    let closure = async |number: u32| {
        rest(number + kept).await // @async_closure
    };
    closure(4).await; // @calls_async_closure
}

async fn async_move_closure() {
    let text = String::from("moved");
    let closure = async move |number: u32| {
        rest(number).await + u32::from(text.is_empty()) // @async_move_closure
    };
    closure(4).await; // @calls_async_move_closure
}

async fn bounded<F: AsyncFn(u32) -> u32>(function: F) -> u32 {
    function(1).await // @async_fn_bound
}

async fn by_bound() {
    let kept = 7;
    // A closure that captures, and a function that does not.
    let closure = async |number: u32| {
        bounded(rest).await + number + kept // @bound_closure
    };
    bounded(closure).await; // @by_bound
}

async fn once<F: AsyncFnOnce() -> u32>(function: F) {
    function().await; // @async_fn_once
}

async fn mutable<F: AsyncFnMut() -> u32>(mut function: F) {
    function().await; // @async_fn_mut
}

async fn by_mut() {
    let mut count = 0;
    let closure = async || {
        count += 1;
        rest(count).await // @mut_closure
    };
    mutable(closure).await; // @by_mut
}

async fn block_in_closure() {
    let closure = |number: u32| async move {
        rest(number).await // @block_in_closure
    };
    closure(1).await; // @calls_block_in_closure
}

async fn retried<T, F: Future<Output = Option<T>>>(mut attempt: impl FnMut(u32) -> F) -> T {
    let mut number = 0;
    loop {
        number += 1;
        if let Some(value) = attempt(number).await {
            // @retried
            return value;
        }
    }
}

async fn by_retry() {
    let attempt = |number| async move {
        if number < 3 {
            return None;
        }
        Some(rest(number).await) // @attempt
    };
    retried(attempt).await; // @by_retry
}

async fn by_table() {
    let table: Vec<Box<dyn Fn(u32) -> Boxed<u32> + Send + Sync>> = vec![
        Box::new(|number| Box::pin(rest(number))),
        Box::new(|number| {
            Box::pin(async move {
                rest(number + 1).await // @table_entry
            })
        }),
    ];
    table[1](1).await; // @by_table
}

pub(super) fn spawn_all() {
    let tree = "calls_async_closure > async_closure > rest > ~Sleep";
    spawn("async closure", tree, async_closure());
    let tree = "calls_async_move_closure > async_move_closure > rest > ~Sleep";
    spawn("async move closure", tree, async_move_closure());
    let closure = async || {
        rest(1).await // @once_closure
    };
    spawn("AsyncFnOnce", "async_fn_once > once_closure > rest > ~Sleep", once(closure));
    let tree = "calls_block_in_closure > block_in_closure > rest > ~Sleep";
    spawn("async move in a closure", tree, block_in_closure());
    spawn("retries", "by_retry > retried > attempt > rest > ~Sleep", by_retry());
    spawn("closures in a table", "by_table > table_entry > rest > ~Sleep", by_table());
}

/// Those that the compiler cannot prove to be `Send`.
pub(super) fn spawn_local(set: &LocalSet) {
    let tree = "by_bound > async_fn_bound > bound_closure > async_fn_bound > rest > ~Sleep";
    parked::spawn_local(set, "AsyncFn", tree, by_bound());
    let tree = "by_mut > async_fn_mut > mut_closure > rest > ~Sleep";
    parked::spawn_local(set, "AsyncFnMut", tree, by_mut());
}
