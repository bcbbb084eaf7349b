//! Streams, of futures, tokio-stream and async-stream.

use std::pin::pin;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{IntervalStream, ReceiverStream};

use super::LONG;
use super::calls::rest;
use crate::parked::{keep, spawn};

async fn unfolded() {
    let step = |number| async move {
        let next = rest(number).await; // @unfold_step
        Some((next, number + 1))
    };
    let mut stream = Box::pin(stream::unfold(0, step));
    while let Some(number) = StreamExt::next(&mut stream).await {
        // @unfolded
        std::hint::black_box(number);
    }
}

async fn generated() {
    let stream = async_stream::stream! {
        yield 1;
        yield rest(2).await; // @stream_body
    };
    let mut stream = pin!(stream);
    while let Some(number) = StreamExt::next(&mut stream).await {
        // @generated
        std::hint::black_box(number);
    }
}

async fn generated_or_failed() {
    let stream = async_stream::try_stream! {
        let number = failing().await?; // @try_stream_body
        yield number;
    };
    let mut stream = pin!(stream);
    let next: Option<Result<u32, String>> = StreamExt::next(&mut stream).await; // @generated_or_failed
    drop(next);
}

async fn failing() -> Result<u32, String> {
    Ok(rest(2).await) // @failing_stream
}

async fn folded() {
    let step = |sum, number| async move {
        sum + rest(number).await // @fold_step
    };
    StreamExt::fold(stream::iter(1..3), 0, step).await; // @folded
}

async fn each() {
    let step = |number| async move {
        rest(number).await; // @each_step
    };
    StreamExt::for_each(stream::iter(1..3), step).await; // @each_in_turn
}

async fn mapped() {
    let stream = StreamExt::then(stream::iter(1..3), rest);
    let stream = StreamExt::filter(stream, |number| std::future::ready(*number > 1));
    let mut stream = pin!(stream);
    StreamExt::next(&mut stream).await; // @mapped_stream
}

async fn once() {
    let mut stream = pin!(StreamExt::chain(stream::once(rest(1)), stream::iter(1..3)));
    StreamExt::next(&mut stream).await; // @once_stream
}

async fn received(receiver: mpsc::Receiver<u8>) {
    let mut stream = ReceiverStream::new(receiver);
    StreamExt::next(&mut stream).await; // @received
}

async fn received_in_time(receiver: mpsc::Receiver<u8>) {
    let mut stream = pin!(ReceiverStream::new(receiver).timeout(LONG));
    StreamExt::next(&mut stream).await; // @received_in_time
}

async fn at_intervals() {
    let start = tokio::time::Instant::now() + Duration::from_secs(3600);
    let mut stream = IntervalStream::new(tokio::time::interval_at(start, LONG));
    StreamExt::next(&mut stream).await; // @at_intervals
}

pub(super) fn spawn_all() {
    let receiver = || {
        let (sender, receiver) = mpsc::channel(1);
        keep(sender);
        receiver
    };
    spawn("unfold", "unfolded > unfold_step > rest > ~Sleep", unfolded());
    spawn("async-stream", "generated > stream_body > rest > ~Sleep", generated());
    let tree = "generated_or_failed > try_stream_body > failing_stream > rest > ~Sleep";
    spawn("async-stream that may fail", tree, generated_or_failed());
    spawn("fold", "folded > fold_step > rest > ~Sleep", folded());
    spawn("for_each", "each_in_turn > each_step > rest > ~Sleep", each());
    spawn("stream with then", "mapped_stream > rest > ~Sleep", mapped());
    spawn("stream of one future", "once_stream > rest > ~Sleep", once());
    spawn("ReceiverStream", "received > ~Next", received(receiver()));
    spawn("stream with a timeout", "received_in_time > ~Sleep", received_in_time(receiver()));
    spawn("IntervalStream", "at_intervals > ~Next", at_intervals());
}
