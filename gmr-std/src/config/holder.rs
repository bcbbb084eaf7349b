//! A value that is read in signal context while any thread replaces it.
//!
//! # Protocol
//!
//! 1. *Reader*: count itself in, load the pointer, read, count itself out.
//! 2. *Replace*: swap the pointer, push the old value onto the list of retired
//!    ones, then try to free that list.
//! 3. *Free*: take the whole list; if no reader is counted **after that**, drop
//!    its values, else put them back.
//!
//! Neither side ever waits, and no lock is there for a fork to leave held.
//!
//! # Why nothing is freed too early
//!
//! The freeing thread looks at the count by a read-modify-write, so it and each
//! reader's counting in have an order:
//!
//! - the reader was counted first: the look finds it, unless it has counted
//!   itself out, and then its reads happen before the drop;
//! - the look came first: the reader's counting in reads what the look wrote,
//!   so the swap, which came before the look, happens before the reader's
//!   load: it gets a newer pointer. What is retired is out of reach for good.
//!
//! A plain load in place of the read-modify-write would need sequential
//! consistency of all four accesses to be right; this way acquire and release
//! are enough, and loom, which knows no more, can prove it.
//!
//! The retired list is pushed to one by one and taken whole, so that a node
//! that comes back at the same address does no harm (no ABA).
//!
//! # Limits
//!
//! A reader that never ends (a report abandoned by takeover, or one that was
//! under way in the parent when this process was forked) keeps every value
//! replaced from then on: at most [`MAX_RETIRED`], then replacing is refused.
//! (Threads that replace at the same instant may each go one beyond it.)
//! Values replaced during a report are freed by the next replacement, not when
//! the report ends: a reader must not free.
//!
//! # Safety
//!
//! `current` and `retired` own their nodes, made by `Box::into_raw`. A node is
//! reachable from at most one of the two; it is changed only before it is
//! published or after it was taken out by a swap, and dropped only as argued
//! above.
#![expect(unsafe_code, reason = "owns values through atomic pointers")]

use core::marker::PhantomData;
use core::ptr;

use super::sync::{
    AtomicPtr, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Replaced values that may wait for a reader to end. A report takes
/// milliseconds, a reload happens once in minutes: more than a few mean that
/// the reader never ends.
pub(super) const MAX_RETIRED: usize = 16;

struct Node<T> {
    value: T,
    /// The next retired one.
    next: *mut Node<T>,
}

/// Holds the current value, if any.
pub(crate) struct Holder<T> {
    current: AtomicPtr<Node<T>>,
    readers: AtomicUsize,
    retired: AtomicPtr<Node<T>>,
    retired_len: AtomicUsize,
    owns: PhantomData<T>,
}

// SAFETY: The raw pointers own their `T`s, which a replacing thread drops
// wherever it runs (`Send`) and readers share (`Sync`).
unsafe impl<T: Send + Sync> Sync for Holder<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Send for Holder<T> {}

/// Refused: this many replaced values wait for a reader that does not end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyRetired(pub(crate) usize);

impl<T> Holder<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Holder {
            current: AtomicPtr::new(ptr::null_mut()),
            readers: AtomicUsize::new(0),
            retired: AtomicPtr::new(ptr::null_mut()),
            retired_len: AtomicUsize::new(0),
            owns: PhantomData,
        }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Holder {
            current: AtomicPtr::new(ptr::null_mut()),
            readers: AtomicUsize::new(0),
            retired: AtomicPtr::new(ptr::null_mut()),
            retired_len: AtomicUsize::new(0),
            owns: PhantomData,
        }
    }

    /// Calls `read` with the current value.
    ///
    /// # Signal safety
    ///
    /// Safe, as far as `read` is: three atomic operations, no loop.
    pub(crate) fn read<R>(&self, read: impl FnOnce(Option<&T>) -> R) -> R {
        /// Counts out on every way out.
        struct Counted<'a>(&'a AtomicUsize);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, AcqRel);
            }
        }
        self.readers.fetch_add(1, AcqRel);
        let _counted = Counted(&self.readers);
        let node = self.current.load(Acquire);
        if node.is_null() {
            return read(None);
        }
        // SAFETY: A node that was published whole and is not dropped while this
        // reader is counted (see the protocol). The reference covers the value
        // alone: `next` may be written meanwhile.
        let value = unsafe { &(*node).value };
        read(Some(value))
    }

    /// Makes `value` the current one. Never waits.
    pub(crate) fn replace(&self, value: T) -> Result<(), TooManyRetired> {
        if self.retired_len.load(Relaxed) >= MAX_RETIRED {
            self.free_retired();
            let waiting = self.retired_len.load(Relaxed);
            if waiting >= MAX_RETIRED {
                return Err(TooManyRetired(waiting));
            }
        }
        let node = Box::into_raw(Box::new(Node { value, next: ptr::null_mut() }));
        let old = self.current.swap(node, AcqRel);
        if !old.is_null() {
            self.retired_len.fetch_add(1, Relaxed);
            self.retire(old, old);
        }
        self.free_retired();
        Ok(())
    }

    /// Pushes the chain from `first` to `last`, which this thread alone holds.
    fn retire(&self, first: *mut Node<T>, last: *mut Node<T>) {
        let mut head = self.retired.load(Relaxed);
        loop {
            // SAFETY: `last` is a node out of both lists' reach. Readers may
            // still read its value, never its `next`; the write goes to that
            // field alone.
            unsafe { (*last).next = head };
            match self.retired.compare_exchange(head, first, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Frees the retired values if nobody reads.
    fn free_retired(&self) {
        let first = self.retired.swap(ptr::null_mut(), AcqRel);
        if first.is_null() {
            return;
        }
        // Only now: a reader of any of these was counted before it was retired.
        // Not a load: see "Why nothing is freed too early".
        if self.readers.fetch_add(0, AcqRel) == 0 {
            let freed = drop_chain(first);
            self.retired_len.fetch_sub(freed, Relaxed);
            return;
        }
        let mut last = first;
        loop {
            // SAFETY: A node of the chain that this thread alone holds.
            let next = unsafe { (*last).next };
            if next.is_null() {
                break;
            }
            last = next;
        }
        self.retire(first, last);
    }
}

/// Drops a chain that nobody else can reach; returns its length.
fn drop_chain<T>(mut node: *mut Node<T>) -> usize {
    let mut count = 0;
    while !node.is_null() {
        // SAFETY: The caller took the chain out of reach; each node came from
        // `Box::into_raw` and is visited once.
        let owned = unsafe { Box::from_raw(node) };
        node = owned.next;
        count += 1;
    }
    count
}

impl<T> Drop for Holder<T> {
    fn drop(&mut self) {
        // A reader borrows the holder, so there is none.
        drop_chain(self.retired.swap(ptr::null_mut(), AcqRel));
        drop_chain(self.current.swap(ptr::null_mut(), AcqRel));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::Holder;

    /// Loom reports a read that runs beside the drop, or after it.
    struct Tracked(UnsafeCell<usize>);

    impl Drop for Tracked {
        fn drop(&mut self) {
            self.0.with_mut(|cell| {
                // SAFETY: Loom checks that access is exclusive.
                unsafe { *cell = usize::MAX };
            });
        }
    }

    // SAFETY: Readers only read; loom checks that no write runs beside them.
    unsafe impl Sync for Tracked {}

    fn read(holder: &Holder<Tracked>) -> Option<usize> {
        holder.read(|tracked| {
            tracked.map(|tracked| {
                tracked.0.with(|cell| {
                    // SAFETY: Loom checks that no write runs beside it.
                    unsafe { *cell }
                })
            })
        })
    }

    fn tracked(number: usize) -> Tracked {
        Tracked(UnsafeCell::new(number))
    }

    #[test]
    fn loom_reader_beside_replace() {
        loom::model(|| {
            let holder = Arc::new(Holder::new());
            holder.replace(tracked(1)).unwrap();
            let reader = {
                let holder = Arc::clone(&holder);
                thread::spawn(move || assert!(matches!(read(&holder), Some(1..=3))))
            };
            holder.replace(tracked(2)).unwrap();
            holder.replace(tracked(3)).unwrap();
            reader.join().unwrap();
            assert_eq!(read(&holder), Some(3));
        });
    }

    #[test]
    fn loom_two_replace_beside_reader() {
        let mut model = loom::model::Builder::new();
        // Three threads: two pre-emptions already show every known mistake,
        // and the search ends in seconds.
        model.preemption_bound = Some(3);
        model.check(|| {
            let holder = Arc::new(Holder::new());
            holder.replace(tracked(1)).unwrap();
            let others: Vec<_> = [2, 3]
                .into_iter()
                .map(|number| {
                    let holder = Arc::clone(&holder);
                    thread::spawn(move || holder.replace(tracked(number)).unwrap())
                })
                .collect();
            assert!(matches!(read(&holder), Some(1..=3)));
            for other in others {
                other.join().unwrap();
            }
            assert!(matches!(read(&holder), Some(2 | 3)));
        });
    }
}
