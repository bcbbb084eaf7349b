//! What tasks say of themselves.
//!
//! A task is wrapped ([`Watched`]). While it is polled, each `.await` that it
//! enters is noted with its line ([`at`]), and taken back when it is over. At the
//! end of a poll the lines are where it waits: their hash goes into a ring, with
//! the time. The begin of the next poll ends that.
//!
//! Slots are used again, but not before [`REST_NS`]: whoever judges a report that
//! was written meanwhile still finds what a task said that has ended.

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

/// How many tasks are watched at once, those that ended a moment ago included.
const SLOTS: usize = 1 << 15;

/// Of these, the first are for long-lived tasks, and remember more.
const LONG_LIVED: usize = 512;
const LONG_MEMORY: u64 = 4096;
const SHORT_MEMORY: u64 = 64;

/// Await points in each other.
const DEPTH: usize = 24;

/// No report takes longer, or it is not judged.
const REST_NS: u64 = 400_000_000;

/// Ids are told apart as long as so many tasks were spawned between them.
const IDS: usize = 1 << 20;

/// The hash of a task that was never polled.
pub(crate) const NEW: u64 = 1;

/// Now, in nanoseconds since the first call.
pub(crate) fn now_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// FNV-1a, over lines.
pub(crate) fn hash(lines: impl IntoIterator<Item = u32>) -> u64 {
    lines.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, line| {
        (hash ^ u64::from(line)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A time in which a task waited at the same lines.
#[derive(Default)]
struct Rest {
    id: AtomicU64,
    hash: AtomicU64,
    from_ns: AtomicU64,
    to_ns: AtomicU64,
}

struct Slot {
    id: AtomicU64,
    /// How many rests there were; the last of them are in the ring.
    rests: AtomicU64,
    ring: Box<[Rest]>,
    depth: AtomicUsize,
    lines: [AtomicU32; DEPTH],
}

impl Slot {
    fn new(index: usize) -> Self {
        let memory = if index < LONG_LIVED { LONG_MEMORY } else { SHORT_MEMORY };
        Slot {
            id: AtomicU64::new(0),
            rests: AtomicU64::new(0),
            ring: (0..memory).map(|_| Rest::default()).collect(),
            depth: AtomicUsize::new(0),
            lines: [const { AtomicU32::new(0) }; DEPTH],
        }
    }

    fn rest(&self, number: u64) -> &Rest {
        &self.ring[(number % self.ring.len() as u64) as usize]
    }

    fn wakes(&self) {
        let rests = self.rests.load(Ordering::Relaxed);
        if let Some(last) = rests.checked_sub(1) {
            self.rest(last).to_ns.store(now_ns(), Ordering::Release);
        }
    }

    fn rests(&self, hash: u64, from_ns: u64) {
        let number = self.rests.load(Ordering::Relaxed);
        let rest = self.rest(number);
        rest.id.store(self.id.load(Ordering::Relaxed), Ordering::Relaxed);
        rest.hash.store(hash, Ordering::Relaxed);
        rest.from_ns.store(from_ns, Ordering::Relaxed);
        rest.to_ns.store(u64::MAX, Ordering::Relaxed);
        self.rests.store(number + 1, Ordering::Release);
    }

    fn hash(&self) -> u64 {
        let depth = self.depth.load(Ordering::Relaxed);
        hash(self.lines[..depth].iter().map(|line| line.load(Ordering::Relaxed)))
    }
}

struct Oracle {
    slots: Box<[Slot]>,
    /// By id: the id and the slot.
    by_id: Box<[(AtomicU64, AtomicUsize)]>,
    free: Mutex<Free>,
}

struct Free {
    long_lived: Vec<usize>,
    others: VecDeque<(usize, u64)>,
}

static ORACLE: LazyLock<Oracle> = LazyLock::new(|| Oracle {
    slots: (0..SLOTS).map(Slot::new).collect(),
    by_id: (0..IDS).map(|_| Default::default()).collect(),
    free: Mutex::new(Free {
        long_lived: (0..LONG_LIVED).rev().collect(),
        others: (LONG_LIVED..SLOTS).map(|index| (index, 0)).collect(),
    }),
});

impl Oracle {
    /// A slot that nobody asks about any more.
    fn take(&self, is_long_lived: bool) -> Option<usize> {
        let mut free = self.free.lock().expect("a lock");
        if is_long_lived {
            return free.long_lived.pop();
        }
        let (index, since_ns) = free.others.pop_front()?;
        if since_ns + REST_NS > now_ns() && since_ns > 0 {
            free.others.push_front((index, since_ns));
            return None;
        }
        Some(index)
    }

    fn give_back(&self, index: usize) {
        if index >= LONG_LIVED {
            self.free.lock().expect("a lock").others.push_back((index, now_ns()));
        }
    }
}

/// Makes what is needed, before time matters.
pub(crate) fn prepare() {
    LazyLock::force(&ORACLE);
    now_ns();
}

thread_local! {
    /// The slot of the task that is polled.
    static POLLED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// An await point that was entered.
pub(crate) struct At(Option<usize>);

/// Notes that the task awaits something at a line.
pub(crate) fn at(line: u32) -> At {
    let index = POLLED.get();
    if let Some(index) = index {
        let slot = &ORACLE.slots[index];
        let depth = slot.depth.load(Ordering::Relaxed);
        slot.lines[depth].store(line, Ordering::Relaxed);
        slot.depth.store(depth + 1, Ordering::Relaxed);
    }
    At(index)
}

impl Drop for At {
    fn drop(&mut self) {
        if let Some(index) = self.0 {
            ORACLE.slots[index].depth.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A task that is watched.
pub(crate) struct Watched<F> {
    slot: Option<usize>,
    is_new: bool,
    is_long_lived: bool,
    future: Option<Pin<Box<F>>>,
}

impl<F> Watched<F> {
    pub(crate) fn new(future: F, is_long_lived: bool) -> Self {
        Watched { slot: None, is_new: true, is_long_lived, future: Some(Box::pin(future)) }
    }

    fn begin(&mut self) {
        self.is_new = false;
        self.slot = ORACLE.take(self.is_long_lived);
        let Some(index) = self.slot else { return };
        let id: u64 = tokio::task::id().to_string().parse().expect("a number");
        let slot = &ORACLE.slots[index];
        slot.id.store(id, Ordering::Relaxed);
        slot.depth.store(0, Ordering::Relaxed);
        slot.rests(NEW, 0);
        let (known, at) = &ORACLE.by_id[id as usize % IDS];
        at.store(index, Ordering::Relaxed);
        known.store(id, Ordering::Release);
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_new {
            self.begin();
        }
        let slot = self.slot;
        if let Some(index) = slot {
            ORACLE.slots[index].wakes();
        }
        let outer = POLLED.replace(slot);
        let polled = self.future.as_mut().expect("not over").as_mut().poll(context);
        POLLED.set(outer);
        if let (Some(index), Poll::Pending) = (slot, polled) {
            let slot = &ORACLE.slots[index];
            slot.rests(slot.hash(), now_ns());
        }
        polled
    }
}

impl<F> Drop for Watched<F> {
    fn drop(&mut self) {
        if let Some(index) = self.slot {
            // While it is dropped it is nowhere.
            ORACLE.slots[index].wakes();
            self.future = None;
            ORACLE.give_back(index);
        }
    }
}

/// What came of a tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    True,
    /// With what was true meanwhile: hashes with their times.
    Wrong(String),
    /// It is not remembered.
    Unknown,
}

/// Whether a task waited at these lines at some time between the two.
pub(crate) fn was_at(id: u64, hash: u64, from_ns: u64, to_ns: u64) -> Answer {
    let (known, at) = &ORACLE.by_id[id as usize % IDS];
    if known.load(Ordering::Acquire) != id {
        // It was not polled yet.
        return if hash == NEW { Answer::True } else { Answer::Unknown };
    }
    let slot = &ORACLE.slots[at.load(Ordering::Relaxed)];
    let memory = slot.ring.len() as u64;
    let rests = slot.rests.load(Ordering::Acquire);
    // The oldest may be written over while it is read.
    let first = rests.saturating_sub(memory - 2);
    let (mut oldest_ns, mut met) = (u64::MAX, Vec::new());
    for number in (first..rests).rev() {
        let rest = slot.rest(number);
        if rest.id.load(Ordering::Relaxed) != id {
            break;
        }
        let (since, until) =
            (rest.from_ns.load(Ordering::Relaxed), rest.to_ns.load(Ordering::Acquire));
        oldest_ns = since;
        if since <= to_ns && until >= from_ns {
            if rest.hash.load(Ordering::Relaxed) == hash {
                return Answer::True;
            }
            met.push((rest.hash.load(Ordering::Relaxed), since, until));
        }
        if until < from_ns {
            break;
        }
    }
    let is_forgotten = slot.rests.load(Ordering::Acquire) - first >= memory;
    if is_forgotten || oldest_ns > from_ns || slot.id.load(Ordering::Relaxed) != id {
        return Answer::Unknown;
    }
    Answer::Wrong(format!("{hash:x} in {from_ns} to {to_ns}; it was {met:x?}"))
}
