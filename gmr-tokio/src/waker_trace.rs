//! Waker traces: where tracked futures wait, for builds with line tables only.
//!
//! What a future waits for keeps a clone of the waker that its poll was given. The
//! stack at the moment of that clone is the chain of `.await`s: each `poll` calls the
//! next. So the poll of a [`Tracked`](crate::Tracked) future hands a waker on whose
//! clones remember the stack:
//!
//! 1. [`poll`] wraps the waker of the executor. Its wrapper lives on the stack.
//! 2. A clone of it takes a node ([`NODES`]), with the return addresses from the
//!    `clone` to the poll of the tracked future, and a clone of the executor's waker.
//! 3. Clones of such a clone share its node; the last of them that is dropped gives it
//!    back. So a node is there as long as something may wake the future by it.
//! 4. A report reads the live nodes by atomic loads alone.
//!
//! # What it costs
//!
//! Each clone takes 1.3 us at a depth of one future, 2 us at four, 4 us at sixteen, 6 us
//! beyond the frames that are kept (on a virtual machine with two processors). What
//! waits makes one each time it is polled and has to wait: `will_wake` never says that the
//! waker is the one that it has. 512 bytes for each of them. `cargo bench -p gmr-tokio --features waker-trace --bench waker_trace`
//! has the figures.
//!
//! # Limits
//!
//! - What has wakers of its own for what it holds (`FuturesUnordered`, `join_all` of
//!   many, `Shared`) is seen from outside only.
//! - A waker may be kept longer than it is waited for. Each trace says whether it is of
//!   the last poll.
//! - [`MAX_FRAMES`] frames, the innermost; [`MAX_BLOCKS`] blocks of nodes. What has no
//!   room is not traced, and counted. Both are said in reports.
//! - A future that is tracked within a tracked one is part of the outer one's trace.
//! - Unwind tables are needed, as everywhere; tail calls leave no frame.
//!
//! # Safety
//!
//! Unsafe are: wakers made of a pointer and a table of functions (each has its
//! argument), and the calls of the unwinder that std itself links.
#![expect(unsafe_code, reason = "see above")]

#[cfg(gmr_engine)]
mod section;

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::tracked::slab::{Item, Slab};
use crate::tracked::{Facts, Id};

#[cfg(gmr_engine)]
pub use section::waker_traces;

/// Frames that are kept. Await chains are rarely half as deep.
const MAX_FRAMES: usize = 39;
/// Of whom: the two words of an [`Id`] and the poll; then the frames' count.
const WORDS: usize = 3 + MAX_FRAMES;
/// 131,072 nodes: 64 MiB.
const MAX_BLOCKS: usize = 256;

type Entry = crate::tracked::entry::Entry<WORDS>;

static IS_ON: AtomicBool = AtomicBool::new(false);
static NODES: Slab<Node, MAX_BLOCKS> = Slab::new();

/// Says whether tracked futures remember the native stack at which they begin to wait.
/// They do not, unless this says so. May be called at any time; for what is waiting
/// already it comes too late.
///
/// # Cost
///
/// 1 to 6 microseconds for each poll that ends with waiting, and 512 bytes for each waker
/// that is kept. Nothing while it is off. Futures that are not tracked pay nothing.
pub fn trace_wakers(is_on: bool) {
    IS_ON.store(is_on, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// What a clone of a waker remembers.
struct Node {
    entry: Entry,
    /// Wakers that lead here.
    holders: AtomicU32,
    /// The executor's waker, while there is a holder.
    inner: UnsafeCell<Option<Waker>>,
}

// SAFETY: `inner` is written only by who has taken the node off its slab and by who has
// dropped the last holder; between these it is only read, and a waker may be read by
// any thread.
unsafe impl Sync for Node {}

impl Item for Node {
    fn new(index: u32) -> Self {
        Node { entry: Entry::new(index), holders: AtomicU32::new(0), inner: UnsafeCell::new(None) }
    }

    fn index(&self) -> u32 {
        self.entry.index
    }

    fn link(&self) -> &AtomicU32 {
        &self.entry.link
    }
}

/// The waker that a poll is given: on its stack.
struct Root<'p> {
    inner: &'p Waker,
    id: Id,
    poll: u64,
}

/// Polls `future` with a waker whose clones remember where they were made.
///
/// Not inlined, so that the stack of a clone ends here, and not in the executor.
#[inline(never)]
pub(crate) fn poll<F: Future>(
    future: Pin<&mut F>,
    context: &mut Context<'_>,
    id: Id,
    poll: u64,
) -> Poll<F::Output> {
    let inner = context.waker();
    if std::ptr::eq(inner.vtable(), &ROOT) {
        return future.poll(context); // Within another one that is traced.
    }
    let root = Root { inner, id, poll };
    // SAFETY: `root` outlives the waker, which nobody can own: it is lent out, and its
    // clones do not refer to `root`. The functions are made for it.
    let waker = unsafe { Waker::new((&raw const root).cast(), &ROOT) };
    // `root` is not the waker's to drop.
    let waker = ManuallyDrop::new(waker);
    future.poll(&mut Context::from_waker(&waker))
}

static ROOT: RawWakerVTable =
    RawWakerVTable::new(clone_root, wake_root, wake_root, |_: *const ()| ());

unsafe fn clone_root(root: *const ()) -> RawWaker {
    let floor = 0_u8;
    // SAFETY: the data of a waker with this table; it lives on the stack of `poll`.
    let root = unsafe { &*root.cast::<Root<'_>>() };
    let inner = root.inner.clone();
    let Some(node) = NODES.take() else {
        // As if there were no trace: the executor's own.
        let inner = ManuallyDrop::new(inner);
        return RawWaker::new(inner.data(), inner.vtable());
    };
    // SAFETY: taken off the slab, the node is ours alone.
    unsafe { *node.inner.get() = Some(inner) };
    node.holders.store(1, Ordering::Relaxed);
    let mut frames = Frames {
        floor: (&raw const floor).addr(),
        ceiling: std::ptr::from_ref(root).addr(),
        count: 0,
        addresses: [0; MAX_FRAMES],
    };
    frames.capture();
    node.entry.claim(|words| {
        let (index, of) = root.id.to_words();
        let head = [u64::from(index) << 32 | frames.count as u64, of, root.poll];
        let all = head.iter().chain(frames.addresses.iter().take(frames.count));
        for (word, value) in words.iter().zip(all) {
            word.store(*value, Ordering::Relaxed);
        }
    });
    RawWaker::new(std::ptr::from_ref(node).cast(), &CLONE)
}

unsafe fn wake_root(root: *const ()) {
    // SAFETY: the data of a waker with this table.
    let root = unsafe { &*root.cast::<Root<'_>>() };
    root.inner.wake_by_ref();
}

static CLONE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// # Safety
///
/// `node` is the data of a waker with the table [`CLONE`].
unsafe fn node(node: *const ()) -> &'static Node {
    // SAFETY: it came from a reference to a node, and nodes are never freed.
    unsafe { &*node.cast::<Node>() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the caller's promise.
    let node = unsafe { node(data) };
    // The caller holds it, so it cannot go meanwhile.
    node.holders.fetch_add(1, Ordering::Relaxed);
    RawWaker::new(data, &CLONE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the caller's promise.
    unsafe { wake_by_ref(data) };
    // SAFETY: the same; the waker is gone then.
    unsafe { release(data) };
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the caller's promise.
    let node = unsafe { node(data) };
    // SAFETY: nobody writes while there is a holder, and the caller holds it.
    if let Some(inner) = unsafe { &*node.inner.get() } {
        inner.wake_by_ref();
    }
}

unsafe fn release(data: *const ()) {
    // SAFETY: the caller's promise.
    let node = unsafe { node(data) };
    if node.holders.fetch_sub(1, Ordering::Release) != 1 {
        return;
    }
    // What other holders did with the waker comes before its end.
    fence(Ordering::Acquire);
    node.entry.end();
    node.entry.retire();
    // SAFETY: there is no holder, and the node is in no list.
    let inner = unsafe { (*node.inner.get()).take() };
    NODES.give_back(node);
    // Last: it may be the end of a task, and its destructor runs anything.
    drop(inner);
}

/// The return addresses between two places of the stack, innermost first.
struct Frames {
    /// In the frame of `clone_root`: that and what it calls are left out.
    floor: usize,
    /// In the frame of [`poll`]: that is the last one.
    ceiling: usize,
    count: usize,
    addresses: [u64; MAX_FRAMES],
}

#[cfg(target_os = "linux")]
unsafe extern "C-unwind" {
    // The unwinder of panics, which std links.
    fn _Unwind_Backtrace(
        each: extern "C-unwind" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    fn _Unwind_GetCFA(frame: *mut c_void) -> usize;
}

impl Frames {
    #[cfg(target_os = "linux")]
    fn capture(&mut self) {
        const GO_ON: c_int = 0; // _URC_NO_REASON
        const END: c_int = 4; // _URC_NORMAL_STOP
        extern "C-unwind" fn each(frame: *mut c_void, frames: *mut c_void) -> c_int {
            // SAFETY: the pointer that is given to _Unwind_Backtrace below.
            let frames = unsafe { &mut *frames.cast::<Frames>() };
            // SAFETY: the frame that the unwinder has come to.
            let stack_pointer = unsafe { _Unwind_GetCFA(frame) };
            if stack_pointer <= frames.floor {
                return GO_ON;
            }
            let Some(place) = frames.addresses.get_mut(frames.count) else { return END };
            if stack_pointer > frames.ceiling {
                return END;
            }
            // SAFETY: as above.
            *place = unsafe { _Unwind_GetIP(frame) } as u64;
            frames.count += 1;
            GO_ON
        }
        // SAFETY: `each` gets `self` back, while we do not touch it.
        unsafe { _Unwind_Backtrace(each, std::ptr::from_mut(self).cast()) };
    }

    #[cfg(not(target_os = "linux"))]
    fn capture(&mut self) {}
}

/// A trace of a tracked future.
#[derive(Debug)]
pub(crate) struct Trace<'a> {
    /// Whose it is.
    pub(crate) facts: &'a Facts,
    /// It was left by the last poll. Else by an earlier one, and something may keep a
    /// waker that it no longer needs; or it still waits, and was not polled since.
    pub(crate) is_of_last_poll: bool,
    /// Return addresses, innermost first, from the clone of the waker to the poll of
    /// the tracked future.
    pub(crate) addresses: &'a [u64],
    /// There was no room for the outer frames.
    pub(crate) is_cut: bool,
}

/// Calls `take` with every trace of futures that wait, in no order, until it returns
/// `false`.
///
/// # Signal safety
///
/// Safe, if `take` is.
pub(crate) fn each(take: &mut dyn FnMut(&Trace<'_>) -> bool) {
    for node in NODES.all() {
        let mut words = [0; WORDS];
        if node.entry.read(&mut words).is_none() {
            continue;
        }
        let [head, of, poll, addresses @ ..] = words;
        let count = (head as u32 as usize).min(MAX_FRAMES);
        let id = Id::from_words((head >> 32) as u32, of);
        // The future may have gone before its wakers.
        let Some(facts) = id.facts() else { continue };
        let trace = Trace {
            facts: &facts,
            is_of_last_poll: facts.polls == poll,
            addresses: addresses.get(..count).unwrap_or_default(),
            is_cut: count == MAX_FRAMES,
        };
        if !take(&trace) {
            return;
        }
    }
}

/// How many clones of wakers found no room, since the start: they left no trace.
pub(crate) fn untraced() -> u64 {
    NODES.missed()
}

#[cfg(test)]
mod tests;
