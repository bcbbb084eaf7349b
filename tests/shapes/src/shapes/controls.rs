//! Futures of which nothing can be known, or not everything: a report has to say
//! no line that is not true. What is polled is `rest`; some of them have a decoy
//! beside it, of another type, that is never polled.

use std::any::Any;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::stream::{Stream, StreamExt};

use super::calls::{inner, rest};
use crate::parked::spawn;

type Boxed = Pin<Box<dyn Future<Output = u32> + Send>>;

/// An address and a function.
struct Raw {
    address: *mut (),
    poll: unsafe fn(*mut (), &mut Context<'_>) -> Poll<u32>,
}

// SAFETY: what it points to is Send, see `Raw::new`.
unsafe impl Send for Raw {}

impl Raw {
    fn new<F: Future<Output = u32> + Send + 'static>(future: F) -> Self {
        unsafe fn poll<F: Future<Output = u32>>(
            address: *mut (),
            context: &mut Context<'_>,
        ) -> Poll<u32> {
            // SAFETY: the address is that of a leaked F, which nobody else has.
            unsafe { Pin::new_unchecked(&mut *address.cast::<F>()) }.poll(context)
        }
        Raw { address: Box::into_raw(Box::new(future)).cast(), poll: poll::<F> }
    }
}

impl Future for Raw {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        // SAFETY: the two belong together, see `Raw::new`.
        unsafe { (self.poll)(self.address, context) }
    }
}

async fn raw() {
    Raw::new(rest(1)).await; // @raw
}

/// The same as a number.
struct Hidden(usize);

impl Future for Hidden {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        // SAFETY: the address of a leaked future, which nobody else has.
        let future = unsafe { &mut *(self.0 as *mut Boxed) };
        future.as_mut().poll(context)
    }
}

async fn hidden() {
    let future: Boxed = Box::pin(rest(1));
    Hidden(Box::into_raw(Box::new(future)) as usize).await; // @hidden
}

/// Room for a future, one of the two in use.
struct Uninit<A, B> {
    future: MaybeUninit<A>,
    _room: MaybeUninit<B>,
}

impl<A, B> Drop for Uninit<A, B> {
    fn drop(&mut self) {
        // SAFETY: this field was initialized. Pinned futures have to be dropped.
        unsafe { self.future.assume_init_drop() };
    }
}

impl<A: Future, B> Future for Uninit<A, B> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A::Output> {
        // SAFETY: pinned as a whole, and this field was initialized.
        unsafe { self.map_unchecked_mut(|this| this.future.assume_init_mut()) }.poll(context)
    }
}

async fn uninit() {
    let both = Uninit { future: MaybeUninit::new(rest(1)), _room: room_of(inner("decoy")) };
    let both = std::hint::black_box(both);
    both.await; // @uninit
}

fn room_of<F>(_like: F) -> MaybeUninit<F> {
    MaybeUninit::zeroed()
}

union Either<A, B> {
    first: ManuallyDrop<A>,
    _second: ManuallyDrop<B>,
}

struct United<A, B>(Either<A, B>);

impl<A, B> Drop for United<A, B> {
    fn drop(&mut self) {
        // SAFETY: the first is there, see `united`.
        unsafe { ManuallyDrop::drop(&mut self.0.first) };
    }
}

impl<A: Future, B> Future for United<A, B> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A::Output> {
        // SAFETY: pinned as a whole, and the first is there.
        unsafe { self.map_unchecked_mut(|this| &mut *this.0.first) }.poll(context)
    }
}

fn united<A, B>(first: A, _like: fn(&'static str) -> B) -> United<A, B> {
    United(Either { first: ManuallyDrop::new(first) })
}

async fn one_of_a_union() {
    united(rest(1), inner).await; // @union
}

/// A type behind `dyn Any`.
struct Erased(Box<dyn Any + Send>);

impl Future for Erased {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        self.0.downcast_mut::<Boxed>().expect("a box").as_mut().poll(context)
    }
}

async fn erased() {
    let future: Boxed = Box::pin(rest(1));
    Erased(Box::new(future)).await; // @erased
}

/// A trait of our own, whose objects poll.
trait Work: Send {
    fn work(&mut self, context: &mut Context<'_>) -> Poll<u32>;
}

struct Job(Boxed);

impl Work for Job {
    fn work(&mut self, context: &mut Context<'_>) -> Poll<u32> {
        self.0.as_mut().poll(context)
    }
}

struct Worked(Box<dyn Work>);

impl Future for Worked {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        self.0.work(context)
    }
}

async fn worked() {
    Worked(Box::new(Job(Box::pin(rest(1))))).await; // @worked
}

/// Behind a lock, with a decoy that was never polled.
struct Locked(Arc<Mutex<(Option<Boxed>, Boxed)>>);

impl Future for Locked {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
        self.0.lock().expect("a lock").1.as_mut().poll(context)
    }
}

async fn locked() {
    Locked(Arc::new(Mutex::new((None, Box::pin(rest(1)))))).await; // @locked
}

/// What is left of a future that was forgotten lies beside the one that is
/// polled.
struct Stale<F> {
    future: Pin<Box<F>>,
    _stale: MaybeUninit<Pin<Box<F>>>,
}

impl<F: Future> Future for Stale<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(context)
    }
}

async fn stale() {
    let future = || Box::pin(rest(1));
    let mut stale = MaybeUninit::new(future());
    // SAFETY: initialized just now, and not used any more.
    unsafe { stale.assume_init_drop() };
    Stale { future: future(), _stale: stale }.await; // @stale
}

async fn stream_object() {
    let step = |number| async move {
        Some((rest(number).await, number)) // @stream_object_step
    };
    let mut stream: Pin<Box<dyn Stream<Item = u32> + Send>> =
        Box::pin(futures::stream::unfold(0, step));
    stream.next().await; // @stream_object
}

/// Two fields, the first of which has been moved out and overwritten by nobody.
async fn moved_out() {
    let decoy: Boxed = Box::pin(async { inner("decoy").await });
    let moved = std::hint::black_box(decoy);
    drop(moved);
    rest(1).await; // @moved_out
}

pub(super) fn spawn_all() {
    spawn("address and function", "raw > ?", raw());
    spawn("address as a number", "hidden > ?", hidden());
    spawn("MaybeUninit", "uninit > ? rest > ~Sleep", uninit());
    spawn("union", "union > ? rest > ~Sleep", one_of_a_union());
    spawn("dyn Any", "erased > ?", erased());
    spawn("object of an own trait", "worked > ?", worked());
    spawn("behind a lock", "locked > ? rest > ~Sleep", locked());
    spawn("stale neighbour", "stale > rest > ~Sleep", stale());
    let tree = "stream_object > ? stream_object_step > rest > ~Sleep";
    spawn("stream object", tree, stream_object());
    spawn("moved out", "moved_out > rest > ~Sleep", moved_out());
}
