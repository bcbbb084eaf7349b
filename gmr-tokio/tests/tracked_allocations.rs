//! Tracking allocates when it grows, and never in a poll: counted by an allocator
//! that this program has for itself.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, pending};
use std::task::{Context, Waker};

use gmr_tokio::{Tracked, TrackedExt};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn polls_allocate_nothing_and_entries_are_used_again() {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = Box::pin(pending::<()>().tracked("polled"));
    assert!(allocations(|| drop(Box::new(1_u8))) > 0, "it counts");
    let polls = allocations(|| {
        for _ in 0..1_000 {
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
    });
    assert_eq!(polls, 0);
    let used_again = allocations(|| {
        for _ in 0..10_000 {
            drop(Tracked::named("of a block that is there", pending::<()>()));
        }
    });
    assert_eq!(used_again, 0);
}
