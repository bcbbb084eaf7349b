//! Many futures at once.

use futures::future;
use futures::stream::{self, FuturesOrdered, FuturesUnordered, StreamExt, TryStreamExt};

use super::calls::rest;
use crate::parked::spawn;

async fn fallible(number: u32) -> Result<u32, u32> {
    Ok(rest(number).await) // @join_fallible
}

async fn all() {
    future::join_all((0..3).map(rest)).await; // @all
}

/// From 31 on it is made otherwise.
async fn all_of_many() {
    future::join_all((0..40).map(rest)).await; // @all_of_many
}

async fn all_tried() {
    let _ = future::try_join_all((0..3).map(fallible)).await; // @all_tried
}

async fn unordered() {
    let mut futures: FuturesUnordered<_> = (0..3).map(rest).collect();
    while let Some(number) = futures.next().await {
        // @unordered
        std::hint::black_box(number);
    }
}

async fn ordered() {
    let mut futures: FuturesOrdered<_> = (0..3).map(rest).collect();
    while let Some(number) = futures.next().await {
        // @ordered
        std::hint::black_box(number);
    }
}

async fn unordered_boxes() {
    let futures = FuturesUnordered::new();
    futures.push(future::FutureExt::boxed(rest(1)));
    futures.push(Box::pin(async {
        fallible(2).await.unwrap_or(0) // @unordered_block
    }));
    futures.collect::<Vec<_>>().await; // @unordered_boxes
}

async fn each_concurrently() {
    let each = |number| async move {
        rest(number).await; // @each
    };
    stream::iter(0..5).for_each_concurrent(2, each).await; // @each_concurrently
}

async fn buffered_unordered() {
    let numbers: Vec<u32> = stream::iter(0..5).map(rest).buffer_unordered(2).collect().await; // @buffered_unordered
    drop(numbers);
}

async fn buffered() {
    let mut numbers = stream::iter(0..5).map(rest).buffered(3);
    numbers.next().await; // @buffered
}

async fn tries_each() {
    let each = |number| async move {
        fallible(number).await.map(drop) // @try_each
    };
    let numbers = stream::iter((0..5).map(Ok));
    let _ = numbers.try_for_each_concurrent(2, each).await; // @tries_each
}

pub(super) fn spawn_all() {
    spawn("join_all", "all > rest*3 > ~Sleep", all());
    spawn("join_all of many", "all_of_many > rest*40 > ~Sleep", all_of_many());
    spawn("try_join_all", "all_tried > join_fallible*3 > rest > ~Sleep", all_tried());
    spawn("FuturesUnordered", "unordered > rest*3 > ~Sleep", unordered());
    spawn("FuturesOrdered", "ordered > rest*3 > ~Sleep", ordered());
    let tree = "unordered_boxes > {rest > ~Sleep, unordered_block > join_fallible > rest > ~Sleep}";
    spawn("FuturesUnordered of boxes", tree, unordered_boxes());
    let tree = "each_concurrently > each*2 > rest > ~Sleep";
    spawn("for_each_concurrent", tree, each_concurrently());
    spawn("buffer_unordered", "buffered_unordered > rest*2 > ~Sleep", buffered_unordered());
    spawn("buffered", "buffered > rest*3 > ~Sleep", buffered());
    let tree = "tries_each > try_each*2 > join_fallible > rest > ~Sleep";
    spawn("try_for_each_concurrent", tree, tries_each());
}
