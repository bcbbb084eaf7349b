//! What reports read: the facts of every tracked future.
//!
//! Signal-safe: loads of memory that is never freed.

use std::panic::Location;
use std::sync::atomic::Ordering;

use super::clock::Rate;
use super::entry::{Phase, Seen, Use};
use super::{ENTRIES, Entry, IDENTITY_WORDS, NAME_BYTES, NAME_WORDS};

/// A name, as it was kept: copied, so that any string will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES],
    len: u8,
}

/// Behind what was kept of a name that was longer.
const CUT_MARK: &str = "…";

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let (kept, mark) = if name.len() <= NAME_BYTES {
            (name.len(), "")
        } else {
            (cut(name, NAME_BYTES - CUT_MARK.len()), CUT_MARK)
        };
        let mut bytes = [0; NAME_BYTES];
        for (to, from) in bytes.iter_mut().zip(name.bytes().take(kept).chain(mark.bytes())) {
            *to = from;
        }
        Name { bytes, len: (kept + mark.len()) as u8 }
    }

    /// The name, or what was kept of it, and a mark; empty: it has none.
    pub(crate) fn as_str(&self) -> &str {
        let kept = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(kept).unwrap_or_default()
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

/// How many of the first `limit` bytes are whole characters.
fn cut(text: &str, limit: usize) -> usize {
    (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// What stands in an entry's identity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// In ticks.
    pub(super) created: u64,
    pub(super) place: &'static Location<'static>,
    pub(super) future: fn() -> &'static str,
    pub(super) probe_vtable: u64,
    pub(super) is_task: bool,
    pub(super) name: Name,
}

const IS_TASK: u64 = 1 << 8;

impl Identity {
    pub(super) fn to_words(self) -> [u64; IDENTITY_WORDS] {
        let flags = if self.is_task { IS_TASK } else { 0 };
        let mut words = [0; IDENTITY_WORDS];
        words[0] = self.created;
        words[1] = std::ptr::from_ref(self.place).expose_provenance() as u64;
        words[2] = (self.future as *const ()).expose_provenance() as u64;
        words[3] = self.probe_vtable;
        words[4] = u64::from(self.name.len) | flags;
        for (word, bytes) in words[5..].iter_mut().zip(self.name.bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }

    /// # Safety
    ///
    /// The words are those of [`to_words`](Self::to_words).
    unsafe fn from_words(words: &[u64; IDENTITY_WORDS]) -> Self {
        let [created, place, future, probe_vtable, lengths, name @ ..] = *words;
        let place: *const Location<'static> = std::ptr::with_exposed_provenance(place as usize);
        let future: *const () = std::ptr::with_exposed_provenance(future as usize);
        let name: [u64; NAME_WORDS] = name;
        let mut bytes = [0; NAME_BYTES];
        for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(name) {
            *to = from.to_ne_bytes();
        }
        Identity {
            created,
            // SAFETY: it was a reference that is valid for ever.
            place: unsafe { &*place },
            // SAFETY: it was a function of this type.
            future: unsafe { std::mem::transmute::<*const (), fn() -> &'static str>(future) },
            probe_vtable,
            is_task: lengths & IS_TASK != 0,
            name: Name { bytes, len: lengths as u8 },
        }
    }
}

/// Names a tracked future: never the same for two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    index: u32,
    of: Use,
}

#[cfg_attr(not(feature = "waker-trace"), allow(dead_code, reason = "for waker traces"))]
impl Id {
    /// Of the future that has the entry now: the owner's.
    pub(crate) fn of(entry: &Entry) -> Self {
        Id { index: entry.index, of: entry.current() }
    }

    pub(crate) fn to_words(self) -> (u32, u64) {
        (self.index, self.of.0)
    }

    /// Of what [`to_words`](Self::to_words) gave.
    pub(crate) fn from_words(index: u32, of: u64) -> Self {
        Id { index, of: Use(of) }
    }

    /// What is known of it. `None`: it is gone.
    ///
    /// # Signal safety
    ///
    /// Safe.
    pub(crate) fn facts(self) -> Option<Facts> {
        Facts::of(ENTRIES.get(self.index)?, Rate::now()).filter(|facts| facts.id == self)
    }
}

/// What is known of a tracked future. Times are nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Which future it is.
    #[cfg_attr(not(feature = "waker-trace"), allow(dead_code, reason = "for waker traces"))]
    pub(crate) id: Id,
    /// The task that polled it first. `None`: it was not polled by a task yet, or its
    /// executor is not tokio.
    pub(crate) task_id: Option<u64>,
    /// Its name; empty: it has none.
    pub(crate) name: Name,
    /// Where it was spawned or wrapped.
    pub(crate) spawned: &'static Location<'static>,
    /// Says the type's name.
    pub(crate) future: fn() -> &'static str,
    /// How often it was polled, the current poll included.
    pub(crate) polls: u64,
    /// What it does.
    pub(crate) phase: Phase,
    /// When it was spawned or wrapped; `None`: polls are not timed.
    pub(crate) created_ns: Option<u64>,
    /// When its last poll began, the current one if it is polled. `None`: there was
    /// none, polls are not timed, or they followed each other too fast.
    pub(crate) poll_began_ns: Option<u64>,
    /// Where the future is; `None`: it was never polled, or has ended.
    pub(crate) address: Option<u64>,
    /// The address of its `<F as TypeProbe>::{vtable}`.
    pub(crate) probe_vtable: u64,
    /// Where its sequence word (a `u64`) is. The future's memory belongs to one
    /// suspension if that word is [`sequence`](Self::sequence), and is even, before and
    /// after it is read.
    pub(crate) sequence_address: u64,
    /// What that word was.
    pub(crate) sequence: u64,
}

impl Facts {
    fn of(entry: &Entry, rate: Rate) -> Option<Facts> {
        let mut words = [0; IDENTITY_WORDS];
        let seen: Seen = entry.read(&mut words)?;
        // SAFETY: an entry's identity is written by `to_words` alone, and this copy is
        // whole.
        let identity = unsafe { Identity::from_words(&words) };
        Some(Facts {
            id: Id { index: entry.index, of: seen.of },
            task_id: seen.task_id,
            name: identity.name,
            spawned: identity.place,
            future: identity.future,
            polls: seen.polls,
            phase: seen.phase,
            created_ns: rate.to_ns(identity.created),
            poll_began_ns: seen.began.and_then(|began| rate.to_ns(began)),
            address: seen.address,
            probe_vtable: identity.probe_vtable,
            sequence_address: entry.sequence_address(),
            sequence: seen.sequence,
        })
    }
}

/// Calls `take` with the facts of every tracked future, in no order, until it returns
/// `false`. What is spawned or dropped meanwhile may be missed.
///
/// # Signal safety
///
/// Safe, if `take` is.
pub(crate) fn each(take: &mut dyn FnMut(&Facts) -> bool) {
    let rate = Rate::now();
    for entry in ENTRIES.all() {
        if let Some(facts) = Facts::of(entry, rate)
            && !take(&facts)
        {
            return;
        }
    }
}

/// How many futures found no room, since the start: they are not tracked.
pub(crate) fn untracked() -> u64 {
    ENTRIES.missed()
}

/// Tracked futures by the id of their task. Made at setup, filled for each report.
#[derive(Debug)]
pub(crate) struct Index {
    /// Task, whether it is a part only, and the entry's number. Never grows.
    places: Vec<(u64, bool, u32)>,
    left_out: u64,
}

impl Index {
    /// For so many futures at most. (16 bytes each, of which only what is used is
    /// resident.)
    pub(crate) fn new(max_futures: usize) -> Self {
        Index { places: Vec::with_capacity(max_futures), left_out: 0 }
    }

    /// Looks at all tracked futures.
    ///
    /// # Signal safety
    ///
    /// Safe.
    pub(crate) fn fill(&mut self) {
        self.places.clear();
        self.left_out = 0;
        for entry in ENTRIES.all() {
            let Some((id, is_task)) = key(entry) else { continue };
            if self.places.len() < self.places.capacity() {
                self.places.push((id, !is_task, entry.index));
            } else {
                self.left_out += 1;
            }
        }
        self.places.sort_unstable();
    }

    /// Futures that had no room in it.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Calls `take` with the facts of each that was there when it was filled and still is,
    /// until it returns `false`.
    ///
    /// # Signal safety
    ///
    /// Safe, if `take` is.
    pub(crate) fn each(&self, take: &mut dyn FnMut(&Facts) -> bool) {
        let rate = Rate::now();
        for (id, _, index) in &self.places {
            let facts = ENTRIES.get(*index).and_then(|entry| Facts::of(entry, rate));
            if let Some(facts) = facts.filter(|facts| facts.task_id == Some(*id))
                && !take(&facts)
            {
                return;
            }
        }
    }

    /// The facts of a task that was there when it was filled: of its own future, if that
    /// is tracked, else of a tracked future that it polled first.
    ///
    /// # Signal safety
    ///
    /// Safe.
    pub(crate) fn find(&self, task_id: u64) -> Option<Facts> {
        let first = self.places.partition_point(|place| place.0 < task_id);
        let (id, _, index) = *self.places.get(first)?;
        let facts = Facts::of(ENTRIES.get(index)?, Rate::now())?;
        (id == task_id && facts.task_id == Some(id)).then_some(facts)
    }
}

fn key(entry: &Entry) -> Option<(u64, bool)> {
    let mut words = [0; IDENTITY_WORDS];
    let seen = entry.read(&mut words)?;
    Some((seen.task_id?, words[4] & IS_TASK != 0))
}

/// Stores the identity: for [`claim`](super::entry::Entry::claim).
pub(super) fn write(identity: Identity) -> impl FnOnce(&[super::sync::AtomicU64; IDENTITY_WORDS]) {
    move |words| {
        for (word, value) in words.iter().zip(identity.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
    }
}
