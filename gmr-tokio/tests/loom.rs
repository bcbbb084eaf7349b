//! Model checking of tracked futures' entries and their free lists:
//! `RUSTFLAGS="--cfg loom" cargo test -p gmr-tokio --release --test loom`.
//!
//! The crate itself is empty then: loom's types cannot be in its statics. So the two
//! protocols are built in here.

#![cfg(loom)]
#![allow(dead_code, reason = "the protocols alone")]

#[path = "../src/tracked/entry.rs"]
mod entry;
#[path = "../src/tracked/free.rs"]
mod free;
#[path = "../src/tracked/sync.rs"]
mod sync;

use entry::{Entry, Phase, Use};
use free::List;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

fn claim(entry: &Entry<2>, value: u64) -> Use {
    entry.claim(|words| {
        for word in words {
            word.store(value, Ordering::Relaxed);
        }
    })
}

/// Every interleaving with so many preemptions: without a bound these take hours.
fn bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A report against an entry that goes from one future to the next: what it reads is
/// of one of them.
#[test]
fn loom_a_copy_is_of_one_use() {
    loom::model(|| {
        let entry = Arc::new(Entry::<2>::new(0));
        let first = claim(&entry, 1);
        let owner = {
            let entry = Arc::clone(&entry);
            thread::spawn(move || {
                entry.end();
                entry.retire();
                claim(&entry, 2)
            })
        };
        let mut copy = [0; 2];
        let seen = entry.read(&mut copy);
        let second = owner.join().unwrap();
        if let Some(seen) = seen {
            let value = if seen.of == first { 1 } else { 2 };
            assert!(seen.of == first || seen.of == second);
            assert_eq!(copy, [value; 2]);
            assert_eq!(seen.polls, 0);
        }
    });
}

/// A report against polls: the time is that of the poll that the count names, or of the
/// one that is about to begin.
#[test]
fn loom_a_time_is_of_its_poll() {
    bounded(3, || {
        let entry = Arc::new(Entry::<2>::new(0));
        claim(&entry, 1);
        let owner = {
            let entry = Arc::clone(&entry);
            thread::spawn(move || {
                for poll in 1..3 {
                    entry.enter(7, poll);
                    entry.leave();
                }
            })
        };
        let seen = entry.read(&mut [0; 2]).unwrap();
        match (seen.phase, seen.began) {
            (_, None) => {}
            (Phase::Polling, Some(began)) => assert_eq!(began, seen.polls),
            (_, Some(began)) => assert!(began == seen.polls || began == seen.polls + 1),
        }
        owner.join().unwrap();
    });
}

/// A report that copies a future's memory by the rule: the same even sequence before
/// and after means that the copy is of one suspension. (Here the memory is atomic; a
/// real report has the kernel read it.)
#[test]
fn loom_memory_that_is_accepted_is_of_one_suspension() {
    bounded(3, || {
        let entry = Arc::new(Entry::<2>::new(0));
        let memory = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        claim(&entry, 1);
        entry.enter(7, 1);
        entry.leave();
        let owner = {
            let (entry, memory) = (Arc::clone(&entry), Arc::clone(&memory));
            thread::spawn(move || {
                entry.enter(7, 2);
                memory[0].store(1, Ordering::Relaxed);
                memory[1].store(1, Ordering::Relaxed);
                entry.leave();
                entry.end();
                memory[0].store(2, Ordering::Relaxed);
            })
        };
        let before = entry.read(&mut [0; 2]).unwrap();
        let copy = [memory[0].load(Ordering::Relaxed), memory[1].load(Ordering::Relaxed)];
        loom::sync::atomic::fence(Ordering::Acquire);
        let after = entry.read(&mut [0; 2]).unwrap();
        if before.sequence == after.sequence && before.sequence % 2 == 0 {
            assert_eq!(copy, [before.polls - 1; 2]);
        }
        owner.join().unwrap();
    });
}

/// Two threads take from one list and give back: nobody gets what another one has, and
/// nothing is lost.
#[test]
fn loom_an_entry_has_one_holder() {
    loom::model(|| {
        let links = Arc::new([AtomicU32::new(free::END), AtomicU32::new(free::END)]);
        let held = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let list = Arc::new(List::new());
        for index in 0..2 {
            list.push(index, &links[index as usize]);
        }
        let turn = {
            let (links, held, list) = (Arc::clone(&links), Arc::clone(&held), Arc::clone(&list));
            move || {
                let index = list.pop(|index| &links[index as usize]).unwrap();
                let holders = &held[index as usize];
                assert_eq!(holders.fetch_add(1, Ordering::Relaxed), 0);
                holders.fetch_sub(1, Ordering::Relaxed);
                list.push(index, &links[index as usize]);
            }
        };
        let other = thread::spawn(turn.clone());
        turn();
        other.join().unwrap();
        let link = |index: u32| &links[index as usize];
        let mut left = [list.pop(link).unwrap(), list.pop(link).unwrap()];
        left.sort_unstable();
        assert_eq!(left, [0, 1]);
        assert_eq!(list.pop(link), None);
    });
}

/// A thread takes all while another one gives back.
#[test]
fn loom_taking_all_loses_nothing() {
    loom::model(|| {
        let links = Arc::new([AtomicU32::new(free::END), AtomicU32::new(free::END)]);
        let list = Arc::new(List::new());
        list.push(0, &links[0]);
        let other = {
            let (links, list) = (Arc::clone(&links), Arc::clone(&list));
            thread::spawn(move || list.push(1, &links[1]))
        };
        let mut count = 0;
        let mut count_all = |first: Option<u32>| {
            let mut next = first;
            while let Some(index) = next {
                count += 1;
                next = links[index as usize].load(Ordering::Relaxed).checked_sub(1);
            }
        };
        count_all(list.take());
        other.join().unwrap();
        count_all(list.take());
        assert_eq!(count, 2);
    });
}
