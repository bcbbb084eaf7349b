//! Traces as reports find them. The addresses are given names here by what std knows of
//! its own stack; in reports by gmr's symbols.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{each, trace_wakers, untraced};
use crate::TrackedExt;

/// Of a future: how many traces, and the addresses of the last.
fn traces(name: &str) -> Vec<(bool, Vec<u64>)> {
    let mut found = Vec::new();
    each(&mut |trace| {
        if trace.facts.name.as_str() == name {
            found.push((trace.is_of_last_poll, trace.addresses.to_vec()));
        }
        true
    });
    found
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps the waker, like anything that waits.
async fn leaf(keep: Arc<std::sync::Mutex<Option<Waker>>>) {
    poll_fn(|context| {
        *keep.lock().unwrap() = Some(context.waker().clone());
        Poll::<()>::Pending
    })
    .await;
}

#[inline(never)]
async fn middle(keep: Arc<std::sync::Mutex<Option<Waker>>>) {
    leaf(keep).await;
}

#[test]
fn a_trace_lives_as_long_as_a_waker() {
    trace_wakers(true);
    let keep = Arc::new(std::sync::Mutex::new(None));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(middle(Arc::clone(&keep)).tracked("kept"));
    assert!(traces("kept").is_empty());
    assert!(future.as_mut().poll(&mut context).is_pending());

    let found = traces("kept");
    assert_eq!(found.len(), 1);
    assert!(found[0].0 && !found[0].1.is_empty());
    // A clone of a clone is the same trace, and wakes the same.
    let kept: Waker = keep.lock().unwrap().clone().unwrap();
    assert_eq!(traces("kept").len(), 1);
    kept.wake_by_ref();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    drop(keep.lock().unwrap().take());
    assert_eq!(traces("kept").len(), 1);
    // By value: wakes, and is gone.
    std::thread::spawn(move || kept.wake()).join().unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    assert!(traces("kept").is_empty());
    assert_eq!(Arc::strong_count(&count), 2, "no clone of the executor's waker is left");
    assert_eq!(untraced(), 0);
}

#[test]
fn an_older_trace_is_told_from_that_of_the_last_poll() {
    trace_wakers(true);
    let mut kept: Vec<Waker> = Vec::new();
    let mut polls = 0;
    let kept_here = std::sync::Arc::new(std::sync::Mutex::new(std::mem::take(&mut kept)));
    let keep = Arc::clone(&kept_here);
    let mut future = pin!(
        poll_fn(move |context| {
            polls += 1;
            if polls < 3 {
                keep.lock().unwrap().push(context.waker().clone());
            }
            Poll::<()>::Pending
        })
        .tracked("older")
    );
    let mut context = Context::from_waker(Waker::noop());
    for truth in [vec![true], vec![false, true], vec![false, false]] {
        assert!(future.as_mut().poll(&mut context).is_pending());
        let mut found: Vec<_> = traces("older").iter().map(|trace| trace.0).collect();
        found.sort_unstable();
        assert_eq!(found, truth);
    }
}

#[test]
fn frames_from_the_wait_to_the_poll_and_no_others() {
    trace_wakers(true);
    let keep = Arc::new(std::sync::Mutex::new(None));
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(middle(Arc::clone(&keep)).tracked("frames"));
    assert!(future.as_mut().poll(&mut context).is_pending());
    let found = traces("frames");
    let names: Vec<String> = found[0].1.iter().map(|address| function(*address)).collect();
    // Without optimisation each has a frame; with it some are inlined into others.
    if cfg!(debug_assertions) {
        let place = |part: &str| {
            names
                .iter()
                .position(|name| name.contains(part))
                .unwrap_or_else(|| panic!("{part}: {names:?}"))
        };
        assert!(place("leaf") < place("middle"), "{names:?}");
        let last = names.last().unwrap();
        assert!(last.contains("waker_trace::poll"), "{names:?}");
    }
    for name in &names {
        assert!(!name.contains("clone_root") && !name.contains("capture"), "{names:?}");
        assert!(!name.contains("frames_from_the_wait"), "{names:?}");
    }
}

/// The symbol that an address lies in: dladdr(3) knows exported ones only, so the
/// executable's own table is read.
fn function(address: u64) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let first = u64::from_str_radix(maps.split('-').next().unwrap(), 16).unwrap();
    let wanted = address - 1 - first;
    let image = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let word = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
    let half = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let (sections, count) =
        (word(0x28) as usize, usize::from(image[0x3c]) | usize::from(image[0x3d]) << 8);
    for section in (0..count).map(|number| sections + number * 64) {
        const SYMTAB: u32 = 2;
        if half(section + 4) != SYMTAB {
            continue;
        }
        let (start, size) = (word(section + 24) as usize, word(section + 32) as usize);
        let names = word(sections + half(section + 40) as usize * 64 + 24) as usize;
        for symbol in (start..start + size).step_by(24) {
            let (value, length) = (word(symbol + 8), word(symbol + 16));
            if value <= wanted && wanted < value + length {
                let name = &image[names + half(symbol) as usize..];
                let end = name.iter().position(|byte| *byte == 0).unwrap();
                // `a::b` is mangled with lengths between; enough to look for parts.
                return String::from_utf8_lossy(&name[..end])
                    .replace("11waker_trace4poll", "waker_trace::poll");
            }
        }
    }
    format!("{wanted:#x}")
}

#[test]
fn one_within_another_is_traced_once() {
    trace_wakers(true);
    let keep = Arc::new(std::sync::Mutex::new(None));
    let mut context = Context::from_waker(Waker::noop());
    let part = middle(Arc::clone(&keep)).tracked("traced part");
    let mut future = pin!(part.tracked("traced whole"));
    assert!(future.as_mut().poll(&mut context).is_pending());
    assert_eq!((traces("traced whole").len(), traces("traced part").len()), (1, 0));
}

#[tokio::test]
async fn tasks_that_wait_for_what_tokio_has() {
    trace_wakers(true);
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<u8>(1);
    let task = crate::spawn_named("receiver", async move { receiver.recv().await });
    let never = crate::spawn_named("never", pending::<()>());
    tokio::task::yield_now().await;
    assert_eq!(traces("receiver").len(), 1);
    assert!(traces("never").is_empty());
    sender.send(7).await.unwrap();
    assert_eq!(task.await.unwrap(), Some(7));
    assert!(traces("receiver").is_empty());
    never.abort();
}

/// Wakers that are cloned, woken and dropped by other threads, while reports read.
#[test]
fn wakers_that_churn() {
    const TURNS: usize = 2_000;
    trace_wakers(true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let _inside = runtime.enter();
            crate::spawn_named("churning waker", async {
                for _ in 0..TURNS {
                    let (sender, receiver) = tokio::sync::oneshot::channel();
                    let other = tokio::spawn(async move { sender.send(1).unwrap() });
                    assert_eq!(receiver.await, Ok(1));
                    other.await.unwrap();
                }
            })
        })
        .collect();
    let mut most = 0;
    while !tasks.iter().all(|task| task.is_finished()) {
        let found = traces("churning waker");
        most = most.max(found.len());
        assert!(found.iter().all(|trace| !trace.1.is_empty()));
    }
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    drop(runtime);
    assert!(most > 0);
    assert!(traces("churning waker").is_empty());
}
