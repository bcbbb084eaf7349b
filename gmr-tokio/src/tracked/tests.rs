//! Tracked futures as reports find them, all in one process: each test looks for its
//! own names.

use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::{Facts, Index, NAME_BYTES, Phase, Tracked, TrackedExt, each};

fn named(name: &str) -> Vec<Facts> {
    let mut found = Vec::new();
    each(&mut |facts| {
        if facts.name.as_str() == name {
            found.push(*facts);
        }
        true
    });
    found
}

fn find(task_id: u64) -> Option<Facts> {
    let mut index = Index::new(10_000);
    index.fill();
    assert_eq!(index.left_out(), 0);
    index.find(task_id)
}

fn one(name: &str) -> Facts {
    let found = named(name);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_future_without_any_runtime() {
    let line = line!() + 1;
    let mut future = Box::pin(pending::<()>().tracked("life"));
    let facts = one("life");
    assert_eq!((facts.phase, facts.polls, facts.address), (Phase::New, 0, None));
    assert_eq!((facts.poll_began_ns, facts.task_id), (None, None));
    assert_eq!((facts.spawned.file(), facts.spawned.line()), (file!(), line));
    assert_eq!((facts.future)(), std::any::type_name::<std::future::Pending<()>>());
    assert!(facts.created_ns.is_some());

    for polls in 1..4 {
        assert!(poll(future.as_mut()).is_pending());
        let facts = one("life");
        assert_eq!((facts.phase, facts.polls), (Phase::Suspended, polls));
        assert!(facts.poll_began_ns >= facts.created_ns);
        assert_eq!(facts.address, Some((&raw const future.future).addr() as u64));
    }
    drop(future);
    assert!(named("life").is_empty());
}

#[test]
fn while_it_is_polled_and_when_it_has_returned() {
    let mut seen = None;
    {
        let seen = &mut seen;
        // SAFETY: the future is dropped in this block, before what it borrows.
        let seen: &'static mut Option<Facts> = unsafe { &mut *std::ptr::from_mut(seen) };
        let mut future = pin!(
            async move {
                *seen = Some(one("polled"));
            }
            .tracked("polled")
        );
        assert!(poll(future.as_mut()).is_ready());
        let facts = one("polled");
        assert_eq!((facts.phase, facts.polls, facts.address), (Phase::Ended, 1, None));
    }
    let facts = seen.unwrap();
    assert_eq!((facts.phase, facts.polls), (Phase::Polling, 1));
    assert!(facts.address.is_some() && facts.poll_began_ns.is_some());
    assert_eq!(facts.sequence % 2, 1, "its memory may not be read");
}

#[test]
fn its_memory_is_closed_while_it_is_dropped() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            let facts = one("dropped");
            assert_eq!((facts.phase, facts.address), (Phase::Ended, None));
            SEEN.store(facts.sequence, Ordering::Relaxed);
        }
    }
    let last = Last;
    let mut future = Box::pin(
        async move {
            pending::<()>().await;
            drop(last);
        }
        .tracked("dropped"),
    );
    assert!(poll(future.as_mut()).is_pending());
    drop(future);
    assert_eq!(SEEN.load(Ordering::Relaxed) % 2, 1);
    assert!(named("dropped").is_empty());
}

#[test]
fn a_panic_ends_it_and_its_entry_comes_back() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("of the destructor");
        }
    }
    let mut future = Box::pin(poll_fn(|_| -> Poll<()> { panic!("of the poll") }).tracked("panics"));
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| poll(future.as_mut())));
    assert!(outcome.is_err());
    assert_eq!((one("panics").phase, one("panics").address), (Phase::Ended, None));
    drop(future);
    assert!(named("panics").is_empty());

    let panics = Panics;
    let future = async move { drop(panics) }.tracked("destructor panics");
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());
    assert!(named("destructor panics").is_empty());
}

#[test]
fn moved_before_the_first_poll() {
    let futures: Vec<_> = (0..3).map(|_| pending::<()>().tracked("moved")).collect();
    let mut boxed: Vec<_> = futures.into_iter().map(Box::pin).collect();
    assert!(named("moved").iter().all(|facts| facts.address.is_none()));
    for future in &mut boxed {
        assert!(poll(future.as_mut()).is_pending());
    }
    let mut found: Vec<_> = named("moved").iter().map(|facts| facts.address.unwrap()).collect();
    let mut truth: Vec<_> =
        boxed.iter().map(|future| (&raw const future.future).addr() as u64).collect();
    found.sort_unstable();
    truth.sort_unstable();
    assert_eq!(found, truth);
}

#[test]
fn names_are_cut_between_characters() {
    let long = format!("{}ü and more", "x".repeat(NAME_BYTES - 4));
    let future = pending::<()>().tracked(&long);
    one(&format!("{}…", "x".repeat(NAME_BYTES - 4)));
    drop(future);
    let whole = "y".repeat(NAME_BYTES);
    let future = Tracked::named(&whole, pending::<()>());
    one(&whole);
    drop(future);
}

#[test]
fn a_forgotten_one_stays() {
    std::mem::forget(pending::<()>().tracked("forgotten"));
    assert_eq!(one("forgotten").phase, Phase::New);
}

#[tokio::test]
async fn a_task_is_found_by_its_id_before_and_after_its_first_poll() {
    let line = line!() + 1;
    let handle = super::spawn_named("by id", pending::<()>());
    let id = super::spawn::number(handle.id());
    for phase in [Phase::New, Phase::Suspended] {
        let facts = find(id).unwrap();
        assert_eq!((facts.name.as_str(), facts.phase), ("by id", phase));
        assert_eq!((facts.spawned.file(), facts.spawned.line()), (file!(), line));
        tokio::task::yield_now().await;
    }
    handle.abort();
    assert!(handle.await.unwrap_err().is_cancelled());
    assert!(find(id).is_none());
}

#[tokio::test]
async fn a_part_of_a_task_has_the_tasks_id_and_gives_way_to_the_whole() {
    let handle = super::spawn_named("whole", async {
        pending::<()>().tracked("part").await;
    });
    let id = super::spawn::number(handle.id());
    tokio::task::yield_now().await;
    let part = one("part");
    assert_eq!(part.task_id, Some(id));
    assert_eq!(find(id).unwrap().name.as_str(), "whole");

    let plain = tokio::spawn(pending::<()>().tracked("only part"));
    tokio::task::yield_now().await;
    let plain_id = super::spawn::number(plain.id());
    assert_eq!(find(plain_id).unwrap().name.as_str(), "only part");

    let mut index = Index::new(10_000);
    index.fill();
    assert_eq!(index.left_out(), 0);
    assert_eq!(index.find(id).unwrap().name.as_str(), "whole");
    assert_eq!(index.find(plain_id).unwrap().name.as_str(), "only part");
    plain.abort();
    let _ = plain.await;
    assert!(index.find(plain_id).is_none(), "its entry is free now");

    let mut small = Index::new(1);
    small.fill();
    assert!(small.left_out() >= 1);
    handle.abort();
}

#[test]
fn the_future_that_block_on_runs() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(
        async {
            let facts = one("main");
            assert_eq!((facts.phase, facts.task_id), (Phase::Polling, None));
        }
        .tracked("main"),
    );
}

#[test]
fn local_tasks_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let _plain = super::spawn_local(pending::<()>());
        let handle = super::spawn_local_named("local", pending::<()>());
        assert_eq!(one("local").task_id, Some(super::spawn::number(handle.id())));
    });
}

/// Entries that were given back by one thread serve others before new ones are made.
#[test]
fn entries_are_used_again() {
    const MANY: usize = 3_000;
    let spawn =
        |count: usize| -> Vec<_> { (0..count).map(|_| pending::<()>().tracked("again")).collect() };
    let before = super::ENTRIES.all().count();
    for _ in 0..20 {
        std::thread::spawn(move || drop(spawn(MANY))).join().unwrap();
    }
    // Other tests run at the same time, and need some too.
    let grown = super::ENTRIES.all().count() - before;
    assert!(grown < 3 * MANY, "{grown} more entries");
}

/// What is read of one use: the name, the place, the type and the state belong
/// together, however fast futures come and go on the same entries.
#[test]
fn nothing_mixed_is_read_while_futures_churn() {
    const PLACES: usize = 4;
    const READS: u32 = 2_000;

    fn make(place: usize) -> (u32, Box<dyn Fn() -> bool>) {
        fn check<F: Future + 'static>(
            make: impl Fn() -> Tracked<F> + 'static,
        ) -> Box<dyn Fn() -> bool> {
            Box::new(move || {
                let mut future = pin!(make());
                (0..3).all(|_| poll(future.as_mut()).is_pending())
            })
        }
        match place {
            0 => (line!(), check(|| std::future::pending::<u8>().tracked("churn 0"))),
            1 => (line!(), check(|| std::future::pending::<u16>().tracked("churn 1"))),
            2 => (line!(), check(|| std::future::pending::<u32>().tracked("churn 2"))),
            _ => (line!(), check(|| std::future::pending::<u64>().tracked("churn 3"))),
        }
    }
    let types = ["u8", "u16", "u32", "u64"];
    let is_over = Arc::new(AtomicBool::new(false));
    let ready = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..3)
        .map(|first| {
            let (is_over, ready) = (Arc::clone(&is_over), Arc::clone(&ready));
            std::thread::spawn(move || {
                let kinds: Vec<_> = (0..PLACES).map(make).collect();
                ready.fetch_add(1, Ordering::Relaxed);
                let mut turn = first;
                while !is_over.load(Ordering::Relaxed) {
                    assert!((kinds[turn % PLACES].1)());
                    turn += 1;
                }
            })
        })
        .collect();
    while ready.load(Ordering::Relaxed) < 3 {
        std::thread::yield_now();
    }
    let lines: Vec<u32> = (0..PLACES).map(|place| make(place).0).collect();
    let mut judged = [0_u32; PLACES];
    let mut reads = 0;
    while reads < READS {
        each(&mut |facts| {
            let Some(place) = facts.name.as_str().strip_prefix("churn ") else { return true };
            let place: usize = place.parse().unwrap();
            judged[place] += 1;
            reads += 1;
            assert_eq!(facts.spawned.line(), lines[place]);
            let future = (facts.future)();
            assert!(future.ends_with(&format!("Pending<{}>", types[place])), "{future} {place}");
            assert!(facts.polls <= 3, "{facts:?}");
            assert_eq!(facts.phase == Phase::New, facts.polls == 0, "{facts:?}");
            if let (Some(began), Some(created)) = (facts.poll_began_ns, facts.created_ns) {
                assert!(began >= created, "{facts:?}");
            }
            true
        });
    }
    is_over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(judged.iter().all(|count| *count > 0), "{judged:?}");
}
