//! Futures written by hand.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::LONG;
use super::calls::rest;
use crate::parked::spawn;

pin_project! {
    /// Counts how often it is polled.
    struct Counted<F> {
        polls: u64,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        *this.polls += 1;
        this.future.poll(context)
    }
}

async fn counted() {
    Counted { polls: 7, future: rest(1) }.await; // @counted
}

async fn counted_twice() {
    let future = Counted { polls: 8, future: Counted { polls: 9, future: rest(1) } };
    future.await; // @counted_twice
}

pin_project! {
    /// A first future, then a second one, then nothing.
    #[project = TwoProjected]
    enum Two<A, B> {
        First { #[pin] first: A, second: Option<B> },
        Second { #[pin] second: B },
        Over,
    }
}

impl<A: Future, B: Future> Future for Two<A, B> {
    type Output = B::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<B::Output> {
        loop {
            match self.as_mut().project() {
                TwoProjected::First { first, second } => {
                    ready!(first.poll(context));
                    let second = second.take().expect("a second");
                    self.set(Two::Second { second });
                }
                TwoProjected::Second { second } => {
                    let output = ready!(second.poll(context));
                    self.set(Two::Over);
                    return Poll::Ready(output);
                }
                TwoProjected::Over => panic!("polled again"),
            }
        }
    }
}

async fn soon() {
    tokio::task::yield_now().await;
}

async fn in_second_state() {
    Two::First { first: soon(), second: Some(rest(1)) }.await; // @in_second_state
}

/// The future that is yet to come is there, and was never polled.
async fn in_first_state() {
    Two::First { first: sleep(LONG), second: Some(rest(1)) }.await; // @in_first_state
}

/// Futures in what a program may keep them in.
struct Collected<F> {
    maybe: Option<Pin<Box<F>>>,
    list: Vec<Pin<Box<F>>>,
    slice: Box<[Pin<Box<F>>]>,
    pair: [Pin<Box<F>>; 2],
}

impl<F: Future> Future for Collected<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let all = this.maybe.iter_mut().chain(&mut this.list).chain(&mut this.slice[..]);
        for future in all.chain(&mut this.pair) {
            if future.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

async fn collected() {
    let future = || Box::pin(rest(1));
    let collected = Collected {
        maybe: Some(future()),
        list: vec![future(), future()],
        slice: Box::new([future()]),
        pair: [future(), future()],
    };
    collected.await; // @collected
}

/// Says itself what it waits for.
struct Timer(Pin<Box<Sleep>>);

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

async fn timer() {
    Timer(Box::pin(sleep(LONG))).await; // @timer
}

/// A future with nothing of anybody's in it.
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

async fn never() {
    Never.await; // @never
}

/// A union of types: the compiler keeps the discriminant where there is room.
enum Niche<F> {
    Waiting(Pin<Box<F>>),
    Over,
}

impl<F: Future> Future for Niche<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Niche::Waiting(future) = &mut *self {
            ready!(future.as_mut().poll(context));
            *self = Niche::Over;
        }
        Poll::Ready(())
    }
}

async fn niche() {
    Niche::Waiting(Box::pin(rest(1))).await; // @niche
}

pub(super) fn spawn_all() {
    spawn("wrapper", "counted > rest > ~Sleep", counted());
    spawn("wrapper of a wrapper", "counted_twice > rest > ~Sleep", counted_twice());
    let task = Counted { polls: 1, future: rest(1) };
    spawn("a task that is a wrapper", "rest > ~Sleep", task);
    spawn("second state", "in_second_state > rest > ~Sleep", in_second_state());
    spawn("first state", "in_first_state > [~Sleep, ? rest > ~Sleep]", in_first_state());
    spawn("collections", "collected > rest*6 > ~Sleep", collected());
    spawn("timer", "timer > ~Sleep", timer());
    spawn("never", "never > ~Never", never());
    spawn("a task that is a leaf", "~Sleep", sleep(LONG));
    spawn("niche", "niche > rest > ~Sleep", niche());
}
