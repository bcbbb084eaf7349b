//! Proofs on memory made by hand, and on the machine's own locks.

use core::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::owner::{Found, Threads, prove};
use super::*;
use crate::syscalls::futex::{OWNER_DIED, Waiting};

/// Words of memory; all else is not mapped.
#[derive(Debug, Default, Clone)]
struct Fake(BTreeMap<u64, u32>);

impl Fake {
    fn at(mut self, address: u64, words: &[u32]) -> Self {
        for (index, word) in words.iter().enumerate() {
            self.0.insert(address + 4 * index as u64, *word);
        }
        self
    }

    fn read(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        for (index, chunk) in into.chunks_mut(4).enumerate() {
            let Some(word) = self.0.get(&(address + 4 * index as u64)) else { break };
            chunk.copy_from_slice(&word.to_ne_bytes()[..chunk.len()]);
            done += chunk.len();
        }
        done
    }
}

const ADDRESS: u64 = 0x7f00_0000_1000;
const OWNER: u32 = 4711;
const LISTED: Owner = Owner::Listed { index: 3 };

fn wait(waiting: Waiting) -> FutexCall {
    FutexCall { address: ADDRESS, expected: 2, has_timeout: false, is_private: true, waiting }
}

/// Thread 4711 is the fourth; 5 has ended; all else is there without a record.
fn found_with(fake: &Fake, call: &FutexCall, caller: Caller, robust_list: u64) -> Found {
    let threads = Threads {
        find: &|tid| (tid == OWNER).then_some(3),
        is_gone: &|tid| tid == 5,
        robust_list: &|tid| if tid == OWNER { robust_list } else { 0 },
    };
    prove(call, caller, &threads, &|address, into| fake.read(address, into))
}

fn found(fake: &Fake, call: &FutexCall, caller: Caller) -> Found {
    found_with(fake, call, caller, 0)
}

#[test]
fn the_word_of_a_pi_futex_names_its_owner() {
    let call = wait(Waiting::Lock);
    let of = |word| found(&Fake::default().at(ADDRESS, &[word]), &call, Caller::Unknown).owner;
    assert_eq!(of(OWNER | 0x8000_0000), LISTED);
    assert_eq!(of(5), Owner::Gone { tid: 5 });
    assert_eq!(of(6), Owner::Unlisted { tid: 6 });
    assert_eq!(of(OWNER_DIED | 0x8000_0000), Owner::Died);
    assert_eq!(of(0), Owner::Unknown);
    // Not mapped.
    assert_eq!(found(&Fake::default(), &call, Caller::Unknown), Found::NOTHING);
    // Shared: it may be another process's.
    let shared = FutexCall { is_private: false, ..call };
    let fake = Fake::default().at(ADDRESS, &[5]);
    assert_eq!(found(&fake, &shared, Caller::Unknown).owner, Owner::Unknown);
}

/// `__lock`, `__count`, `__owner`, `__nusers`, `__kind`.
const MUTEX: [u32; 5] = [2, 0, OWNER, 1, 0];

#[test]
fn a_mutex_is_one_only_by_its_caller_and_all_its_fields() {
    let call = wait(Waiting::Word);
    let of = |words: [u32; 5], caller| found(&Fake::default().at(ADDRESS, &words), &call, caller);
    let proven = of(MUTEX, Caller::MutexLock);
    assert_eq!((proven.kind, proven.owner, proven.lock), (Kind::Mutex, LISTED, ADDRESS));
    // Recursive, checking, adaptive, with and without elision.
    for kind in [1, 2, 3, 0x103, 0x203] {
        assert_eq!(of([2, 1, OWNER, 1, kind], Caller::MutexLock).owner, LISTED, "{kind:#x}");
    }
    for caller in [Caller::Unknown, Caller::ReadLock, Caller::WriteLock, Caller::Join] {
        assert_eq!(of(MUTEX, caller), Found::NOTHING, "{caller:?}");
    }
    for (at, odd) in [(0, 0), (0, 1), (0, 3), (2, 0), (2, 1 << 30), (3, 0), (4, 4), (4, 0x1000)] {
        let mut words = MUTEX;
        words[at] = odd;
        assert_eq!(of(words, Caller::MutexLock), Found::NOTHING, "{words:?}");
    }
    let gone = of([2, 0, 5, 1, 0], Caller::MutexLock);
    assert_eq!((gone.kind, gone.owner), (Kind::Mutex, Owner::Gone { tid: 5 }));
    // Of a shared one the owner may be in another process, whatever its number.
    for tid in [5, 6, OWNER] {
        assert_eq!(of([2, 0, tid, 1, 0x80], Caller::MutexLock), Found::NOTHING);
        let (fake, shared) = (
            Fake::default().at(ADDRESS, &[2, 0, tid, 1, 0]),
            FutexCall { is_private: false, ..call },
        );
        assert_eq!(found(&fake, &shared, Caller::MutexLock), Found::NOTHING);
    }
    // A robust one by its word: its owner died.
    let died = of([OWNER_DIED | 0x8000_0000, 0, OWNER, 1, 0x10], Caller::MutexLock);
    assert_eq!((died.kind, died.owner), (Kind::Mutex, Owner::Died));
    assert_eq!(of([2, 0, OWNER, 1, 0x10], Caller::MutexLock), Found::NOTHING);
    // Not aligned, or not all of it mapped.
    let fake = Fake::default().at(ADDRESS, &MUTEX[..4]);
    assert_eq!(found(&fake, &call, Caller::MutexLock), Found::NOTHING);
    let odd = FutexCall { address: ADDRESS + 4, ..call };
    let fake = Fake::default().at(ADDRESS + 4, &MUTEX);
    assert_eq!(found(&fake, &odd, Caller::MutexLock), Found::NOTHING);
}

#[test]
fn a_rwlock_is_found_from_each_of_its_futexes() {
    let written = Fake::default().at(ADDRESS, &[3, 0, 1, 3, 0, 0, OWNER, 0]);
    let at = |offset, caller| {
        let call = FutexCall { address: ADDRESS + offset, ..wait(Waiting::Word) };
        found(&written, &call, caller)
    };
    for (offset, caller) in [
        (8, Caller::ReadLock),
        (0, Caller::ReadLock),
        (12, Caller::WriteLock),
        (8, Caller::WriteLock),
    ] {
        let found = at(offset, caller);
        let expected = (Kind::RwLock, LISTED, ADDRESS);
        assert_eq!((found.kind, found.owner, found.lock), expected, "{offset} {caller:?}");
    }
    assert_eq!(at(12, Caller::ReadLock), Found::NOTHING);
    assert_eq!(at(8, Caller::Unknown), Found::NOTHING);
    // Processes share it.
    let shared = Fake::default().at(ADDRESS, &[3, 0, 1, 3, 0, 0, OWNER, 1]);
    let call = FutexCall { address: ADDRESS + 12, ..wait(Waiting::Word) };
    assert_eq!(found(&shared, &call, Caller::WriteLock), Found::NOTHING);
    // Readers have it.
    let read = Fake::default().at(ADDRESS, &[8, 0, 0, 3, 0, 0, 0, 0]);
    let call = FutexCall { address: ADDRESS + 12, ..wait(Waiting::Word) };
    assert_eq!(found(&read, &call, Caller::WriteLock), Found::NOTHING);
}

/// A robust list: its head, then the entries at 32 bytes behind each lock.
fn robust(locks: &[u64], head: u64) -> Fake {
    let entries: Vec<u64> = locks.iter().map(|lock| lock + 32).chain([head]).collect();
    let halves = |word: u64| [word as u32, (word >> 32) as u32];
    let mut fake = Fake::default();
    let first = entries[0];
    fake = fake.at(head, &halves(first)).at(head + 8, &halves((-32_i64).cast_unsigned()));
    for pair in entries.windows(2) {
        // Some are marked as PI.
        fake = fake.at(pair[0], &halves(pair[1] | u64::from(pair[1] % 3 == 0)));
        fake = fake.at(pair[0] + 8, &[0, 0]);
    }
    for lock in locks {
        fake = fake.at(*lock, &[OWNER | 0x8000_0000]);
    }
    fake
}

#[test]
fn a_robust_mutex_is_on_the_list_of_the_one_its_word_names() {
    const HEAD: u64 = 0x7f00_0009_0000;
    let others = [0x7f00_0002_0000, 0x7f00_0003_0000];
    let call = wait(Waiting::Word);
    let fake = robust(&[others[0], ADDRESS, others[1]], HEAD);
    let proven = found_with(&fake, &call, Caller::Unknown, HEAD);
    assert_eq!((proven.kind, proven.owner), (Kind::RobustMutex, LISTED));
    // The list of another, an empty one, none at all.
    let fake = robust(&others, HEAD).at(ADDRESS, &[OWNER | 0x8000_0000]);
    assert_eq!(found_with(&fake, &call, Caller::Unknown, HEAD), Found::NOTHING);
    assert_eq!(found_with(&fake, &call, Caller::Unknown, 0), Found::NOTHING);
    let empty = Fake::default().at(HEAD, &[HEAD as u32, (HEAD >> 32) as u32, 0, 0]);
    let empty = empty.at(ADDRESS, &[OWNER]);
    assert_eq!(found_with(&empty, &call, Caller::Unknown, HEAD), Found::NOTHING);
    // One that never comes back to its head.
    let endless = others[0];
    let fake = robust(&others, HEAD).at(ADDRESS, &[OWNER]);
    let fake = fake.at(others[1] + 32, &[(endless + 32) as u32, (endless >> 32) as u32]);
    assert_eq!(found_with(&fake, &call, Caller::Unknown, HEAD), Found::NOTHING);
}

#[test]
fn the_end_of_a_thread_is_known_by_its_word_and_where_that_lies() {
    let call = FutexCall { expected: OWNER, is_private: false, ..wait(Waiting::Word) };
    let fake = Fake::default().at(ADDRESS, &[OWNER]);
    let end = Found { kind: Kind::ThreadEnd, owner: LISTED, lock: ADDRESS };
    assert_eq!(found_with(&fake, &call, Caller::Unknown, ADDRESS + 16), end);
    assert_eq!(found_with(&fake, &call, Caller::Join, 0), end);
    assert_eq!(found_with(&fake, &call, Caller::Unknown, ADDRESS + 24), Found::NOTHING);
    assert_eq!(found_with(&fake, &call, Caller::Unknown, 0), Found::NOTHING);
    let other = Fake::default().at(ADDRESS, &[OWNER + 1]);
    assert_eq!(found_with(&other, &call, Caller::Join, ADDRESS + 16), Found::NOTHING);
    let private = FutexCall { is_private: true, ..call };
    assert_eq!(found_with(&fake, &private, Caller::Join, ADDRESS + 16), Found::NOTHING);
}

/// The machine's own locks, taken by this thread: the layout is glibc's.
#[expect(unsafe_code, reason = "the C library's own locks")]
#[test]
fn the_locks_of_this_machine_are_as_their_layout_says() {
    let memory = |address: u64, into: &mut [u8]| vm::read(address, into);
    let tid = crate::sys::gettid();

    let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
    let address = mutex.get() as u64;
    // SAFETY: initialised, and ours.
    assert_eq!(unsafe { libc::pthread_mutex_lock(mutex.get()) }, 0);
    // Locked, and nobody waits: not what a waiter would see.
    assert_eq!(glibc::mutex(&memory, address), None);
    // SAFETY: the word is an integer; unlocking it wakes nobody then.
    unsafe { mutex.get().cast::<u32>().write(2) };
    let holder = glibc::Holder::Thread { tid, is_shared: false };
    assert_eq!(glibc::mutex(&memory, address), Some(holder));
    // SAFETY: locked by this thread.
    assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex.get()) }, 0);
    assert_eq!(glibc::mutex(&memory, address), None);

    let lock = UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER);
    let address = lock.get() as u64;
    // SAFETY: initialised, and ours.
    assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock.get()) }, 0);
    assert_eq!(glibc::read_lock(&memory, address + 8), Some((address, holder)));
    assert_eq!(glibc::write_lock(&memory, address + 12), Some((address, holder)));
    // SAFETY: locked by this thread.
    assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock.get()) }, 0);
    assert_eq!(glibc::read_lock(&memory, address + 8), None);
}

/// Where the word of this thread's end lies, by the head of its robust list.
#[test]
fn the_word_of_a_threads_end_lies_in_front_of_its_robust_list() {
    let (sender, numbers) = std::sync::mpsc::channel();
    let (_go, wait) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        sender.send(crate::sys::gettid()).unwrap();
        let _closed = wait.recv();
    });
    let tid = numbers.recv().unwrap();
    let head = crate::sys::robust_list(tid);
    let memory = |address: u64, into: &mut [u8]| vm::read(address, into);
    assert_eq!(glibc::word(&memory, head - 16), Some(tid));
    assert!(glibc::is_thread_word(head - 16, head));
    assert_eq!(crate::sys::robust_list(u32::MAX >> 1), 0);
}

#[test]
fn calls_that_wait_on_futexes() {
    let call = |number, arguments| FutexCall::of(&Call::Made { number, arguments, sp: 0, pc: 0 });
    let futex = libc::SYS_futex;
    let wait = call(futex, [ADDRESS, 0x80, 2, 0, 0, 0]).unwrap();
    assert_eq!((wait.address, wait.expected, wait.is_private), (ADDRESS, 2, true));
    assert!(!wait.has_timeout && wait.waiting == Waiting::Word);
    assert!(call(futex, [ADDRESS, 0x109, 2, 77, 0, 0]).unwrap().has_timeout);
    assert_eq!(call(futex, [ADDRESS, 0x86, 0, 0, 0, 0]).unwrap().waiting, Waiting::Lock);
    assert_eq!(call(futex, [ADDRESS, 0x81, 1, 0, 0, 0]), None);
    assert_eq!(call(libc::SYS_read, [ADDRESS, 0x80, 2, 0, 0, 0]), None);
    assert_eq!(FutexCall::of(&Call::Running), None);
}

#[test]
fn waits_in_words() {
    let text = |wait: &Wait| {
        let mut line = crate::line::Line::<200>::new();
        words::write(&mut line, wait);
        std::string::String::from(line.as_str())
    };
    let plain = Wait { address: 0x10, waiters: 1, lock: 0x10, ..Wait::NONE };
    assert_eq!(text(&plain), "futex 0x10");
    let many = Wait { waiters: 38, ..plain };
    assert_eq!(text(&many), "futex 0x10 (38 threads wait on it)");
    let died = Wait { kind: Kind::PiLock, owner: Owner::Died, ..plain };
    assert_eq!(text(&died), "futex 0x10, PI lock, its owner ended without unlocking it");
    let owned = Wait { kind: Kind::Mutex, owner: LISTED, owner_tid: 7, ..plain };
    assert_eq!(text(&owned), "futex 0x10, pthread mutex owned by #7");
}

proptest! {
    /// Whatever lies in memory, nothing panics, and an owner that is said is in
    /// it.
    #[test]
    fn any_memory_is_survived(
        words in proptest::collection::vec(prop_oneof![any::<u32>(), 0_u32..4, Just(OWNER)], 0..24),
        offset in 0_u64..40,
        head in 0_u64..100,
        expected in any::<u32>(),
        caller in 0_usize..5,
    ) {
        let fake = Fake::default().at(ADDRESS, &words);
        let callers = [
            Caller::Unknown, Caller::MutexLock, Caller::ReadLock, Caller::WriteLock, Caller::Join,
        ];
        for waiting in [Waiting::Word, Waiting::Lock] {
            for is_private in [false, true] {
                let address = ADDRESS + offset;
                let call =
                    FutexCall { address, expected, has_timeout: false, is_private, waiting };
                let found = found_with(&fake, &call, callers[caller], ADDRESS + head);
                if found.owner == LISTED {
                    let is_there = words.iter().any(|word| word & 0x3fff_ffff == OWNER);
                    prop_assert!(is_there, "{found:?}");
                }
            }
        }
    }
}
