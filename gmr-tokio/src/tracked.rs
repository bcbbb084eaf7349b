//! Tracked futures: what a task's memory does not hold.
//!
//! Green Threads finds tokio's tasks without any help. A future that is *tracked*
//! says more of itself: a name, where it was spawned, how often it was polled, since
//! when it waits or is being polled. And it is found where no list leads to it: the
//! future that `block_on` runs, tasks of other executors.
//!
//! 1. [`Tracked`] takes an entry when it is made ([`slab`]), and writes down who it is
//!    ([`entry`]).
//! 2. Each poll says in the entry that it begins, when ([`clock`]), and that it is over.
//! 3. A report reads the entries by atomic loads alone ([`read`]); the type of a future
//!    is known by an address in its entry ([`probe`]), so that its memory can be
//!    decoded like any task's.
//!
//! Limits: 2,097,152 futures at a time (what is beyond works, and is counted); names
//! of 40 bytes, cut with a mark.
//!
//! # Safety
//!
//! Unsafe are: the pin projection, the conversion of an entry's words back to the
//! references that they were, an address taken out of a pointer to a trait object,
//! reading the time.
#![expect(unsafe_code, reason = "see above")]

mod clock;
pub(crate) mod entry;
mod free;
mod probe;
mod read;
pub(crate) mod slab;
mod spawn;
mod sync;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::marker::PhantomPinned;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "waker-trace")]
pub(crate) use clock::monotonic_ns as now_ns;
pub(crate) use entry::Phase;
#[cfg(feature = "waker-trace")]
pub(crate) use read::Id;
pub(crate) use read::{Facts, Index, each, untracked};
use read::{Identity, Name};
use slab::Slab;
pub use spawn::{spawn, spawn_local, spawn_local_named, spawn_named};

/// Longest name that is kept.
const NAME_BYTES: usize = NAME_WORDS * 8;
const NAME_WORDS: usize = 5;
const IDENTITY_WORDS: usize = 5 + NAME_WORDS;

type Entry = entry::Entry<IDENTITY_WORDS>;

/// The goal: with the pointer in the future less than 160 bytes for each.
const _: () = assert!(size_of::<Entry>() == 128, "two cache lines");

/// 2,097,152 entries: 256 MiB.
const MAX_BLOCKS: usize = 4096;

static ENTRIES: Slab<Entry, MAX_BLOCKS> = Slab::new();

impl slab::Item for Entry {
    fn new(index: u32) -> Self {
        Entry::new(index)
    }

    fn index(&self) -> u32 {
        self.index
    }

    fn link(&self) -> &std::sync::atomic::AtomicU32 {
        &self.link
    }
}

/// A future that says in reports what it is and what it does: any future, on any
/// executor.
///
/// Reports show its name, where it was made, how often it was polled, for how long it
/// is being polled or since when it was not. What [`spawn`] spawns is one. To see the
/// code that a runtime's `block_on` runs, which no list of tasks holds, wrap it:
///
/// ```
/// use gmr_tokio::TrackedExt;
///
/// # async fn serve() {}
/// #[tokio::main]
/// async fn main() {
///     serve().tracked("main").await
/// }
/// ```
///
/// # Cost
///
/// 136 bytes for each future (8 of them in the future itself, the others are used
/// again, and never given back to the system). On a virtual machine with two processors:
///
/// | | |
/// |---|---|
/// | a poll | 9 ns, of which 8 are the processor's clock ([`time_polls`]) |
/// | a poll that is not timed | 1.5 ns |
/// | to track a future and to drop it | 40 ns, by two threads at a time 80 ns |
/// | [`spawn`] instead of `tokio::spawn` (76 ns) | 54 ns more |
///
/// (In the turn of a task that only yields, 140 to 180 ns, the poll's share is not to be
/// seen.) `cargo bench -p gmr-tokio --bench tracked` has your figures.
///
/// # Limitations
///
/// - It never is [`Unpin`]: a report relies on its place. Pin it (`std::pin::pin!`,
///   `Box::pin`) to poll it by reference.
/// - The future must own what it uses (`'static`), since its type is known by its
///   `TypeId`.
/// - A future within a task is shown with the task that polled it first.
/// - 2,097,152 at a time. What is beyond works, and is counted in reports.
/// - Of a name 40 bytes are kept, cut between characters, with a mark.
/// - A future that is forgotten (`std::mem::forget`) is shown for ever.
#[must_use = "futures do nothing unless they are polled"]
pub struct Tracked<F: 'static> {
    // Order: the future is dropped first, and its entry is free only then.
    future: F,
    slot: Slot,
    _is_pinned: PhantomPinned,
}

impl<F: Future + 'static> Tracked<F> {
    /// Tracks a future, without a name.
    #[track_caller]
    pub fn new(future: F) -> Self {
        Self::at(future, "", false, Location::caller())
    }

    /// Tracks a future under a name, which is copied.
    #[track_caller]
    pub fn named(name: &str, future: F) -> Self {
        Self::at(future, name, false, Location::caller())
    }

    fn at(future: F, name: &str, is_task: bool, place: &'static Location<'static>) -> Self {
        clock::prepare();
        let entry = ENTRIES.take();
        if let Some(entry) = entry {
            entry.claim(read::write(Identity {
                created: clock::ticks(),
                place,
                future: std::any::type_name::<F>,
                probe_vtable: probe::vtable::<F>(),
                is_task,
                name: Name::new(name),
            }));
        }
        Tracked { future, slot: Slot(entry), _is_pinned: PhantomPinned }
    }
}

impl<F: 'static> std::fmt::Debug for Tracked<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracked")
            .field("future", &std::any::type_name::<F>())
            .finish_non_exhaustive()
    }
}

impl<F: Future + 'static> Future for Tracked<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: nothing is moved out of it.
        let this = unsafe { self.get_unchecked_mut() };
        // Exposed: a report has the kernel read what is there.
        let address = (&raw mut this.future).expose_provenance() as u64;
        // SAFETY: pinned as the whole is: it is never moved, `Tracked` is not Unpin, and
        // its Drop does not touch it.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let Some(entry) = this.slot.0 else { return future.poll(context) };
        if Entry::is_new(entry.enter(address, clock::ticks())) {
            first_poll(entry);
        }
        let polling = Polling(entry);
        #[cfg(feature = "waker-trace")]
        let outcome = if crate::waker_trace::is_on() {
            let id = Id::of(entry);
            crate::waker_trace::poll(future, context, id, entry.polls())
        } else {
            future.poll(context)
        };
        #[cfg(not(feature = "waker-trace"))]
        let outcome = future.poll(context);
        if outcome.is_pending() {
            std::mem::forget(polling);
            entry.leave();
        }
        outcome
    }
}

#[cold]
fn first_poll(entry: &Entry) {
    if let Some(id) = tokio::task::try_id() {
        entry.set_task(entry.current(), spawn::number(id));
    }
}

/// A poll that has not come back: left by a result or by a panic.
struct Polling(&'static Entry);

impl Drop for Polling {
    #[inline]
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<F: 'static> Drop for Tracked<F> {
    fn drop(&mut self) {
        // Before the future's own destructor, which changes its memory.
        if let Some(entry) = self.slot.0 {
            entry.end();
        }
    }
}

/// A use of an entry; `None`: there was no room.
struct Slot(Option<&'static Entry>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.retire();
            ENTRIES.give_back(entry);
        }
    }
}

/// Makes any future a [`Tracked`] one.
pub trait TrackedExt: Future + Sized + 'static {
    /// Tracks it under a name, which is copied (at most 40 bytes).
    ///
    /// ```
    /// use gmr_tokio::TrackedExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let shard = 3;
    /// tokio::spawn(async { /* … */ }.tracked("flush"));
    /// tokio::spawn(async { /* … */ }.tracked(&format!("compact shard {shard}")));
    /// # }
    /// ```
    #[track_caller]
    fn tracked(self, name: &str) -> Tracked<Self> {
        Tracked::at(self, name, false, Location::caller())
    }
}

impl<F: Future + 'static> TrackedExt for F {}

/// Says whether the polls of tracked futures are timed. They are, unless this says
/// otherwise: without it reports do not know for how long a future waits or is polled.
///
/// It costs each poll 8 ns: the processor's time stamp counter is read, where that counts
/// at one rate, else CLOCK_MONOTONIC_COARSE (4 ns, which is as old as the last tick: 1 to
/// 10 ms).
///
/// May be called at any time.
pub fn time_polls(is_on: bool) {
    clock::switch(is_on);
}
