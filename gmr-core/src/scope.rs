//! Scopes: what a thread is doing, in its own words, beside its stack.
//!
//! A stack says where a thread is; it does not say for whom. A scope does:
//! `request: GET /heat (2.3 s)`. It lives as long as its guard, and a report
//! that comes meanwhile shows it, whatever state the thread is in.
//!
//! 1. [`Scope::enter`] takes one of [`SLOTS`] static slots: the first free one
//!    from a place that the thread's id says, so that threads do not meet.
//! 2. It writes there when it began, its label and its detail. What is longer
//!    than [`DETAIL_BYTES`] is cut between characters.
//! 3. A report copies all live slots in one pass ([`Snapshot`]), just before it
//!    asks the threads for their stacks, and shows each thread its own, the
//!    outermost first. Secrets are masked there, not here: entering is cheap.
//! 4. Dropping the guard frees the slot. A report frees the slots of threads
//!    that are gone.
//!
//! The slots' protocol is [`crate::protocol::scopes`].

#[cfg(gmr_engine)]
use core::sync::atomic::{AtomicU64, Ordering};

use core::marker::PhantomData;

#[cfg(gmr_engine)]
use crate::model::{ActiveScope, Value};
#[cfg(gmr_engine)]
use crate::protocol::scopes::{Slot, Ticket};
#[cfg(gmr_engine)]
use crate::redact;
#[cfg(gmr_engine)]
use crate::sys::{clock, memory::Zeroable};

/// Scopes that can be open at once, in all threads together. With 128 bytes
/// each, of which only what is used is ever backed by memory.
#[cfg(gmr_engine)]
pub(crate) const SLOTS: usize = 1024;

/// Slots that an entering thread looks at. Bounds the time that it takes when
/// nearly all are taken, and how deep one thread may nest.
#[cfg(gmr_engine)]
const PROBES: usize = 128;

/// Longest detail that is kept.
const DETAIL_BYTES: usize = DETAIL_WORDS * 8;
const DETAIL_WORDS: usize = 11;

/// When it began (CLOCK_MONOTONIC), the label's address and length, the
/// detail's whole length << 8 | kept length, the detail.
#[cfg(gmr_engine)]
const WORDS: usize = 4 + DETAIL_WORDS;

#[cfg(gmr_engine)]
const _: () = assert!(size_of::<Slot<WORDS>>() == 128, "two cache lines");
#[cfg(gmr_engine)]
const _: () = assert!(DETAIL_BYTES <= 0xff, "the kept length is one byte");

#[cfg(gmr_engine)]
static POOL: [Slot<WORDS>; SLOTS] = [const { Slot::new() }; SLOTS];

/// Scopes that are open and found no slot.
#[cfg(gmr_engine)]
static UNRECORDED: Unrecorded = Unrecorded::new();

/// A count of scopes, in one word with the process that it is of: a number that
/// goes up at each setup of a forked child.
#[cfg(gmr_engine)]
struct Unrecorded(AtomicU64);

#[cfg(gmr_engine)]
impl Unrecorded {
    const PROCESS_SHIFT: u32 = 32;

    const fn new() -> Self {
        Unrecorded(AtomicU64::new(0))
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & u64::from(u32::MAX)
    }

    /// Returns what [`close`](Self::close) wants.
    fn open(&self) -> u32 {
        (self.0.fetch_add(1, Ordering::Relaxed) >> Self::PROCESS_SHIFT) as u32
    }

    /// Nothing, if the count has been cleared since.
    fn close(&self, process: u32) {
        let less = |word: u64| {
            let is_counted = word >> Self::PROCESS_SHIFT == u64::from(process);
            is_counted.then_some(word.wrapping_sub(1))
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn clear(&self) {
        let next = |word: u64| {
            let process = (word >> Self::PROCESS_SHIFT).wrapping_add(1);
            Some(process << Self::PROCESS_SHIFT)
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

/// Forgets the scopes of the process that this one was forked from: their
/// threads were not copied. (Those that have a slot, a report gives back.)
#[cfg(gmr_engine)]
pub(crate) fn clear_copy() {
    UNRECORDED.clear();
}

/// Says what this thread is doing, for as long as it lives.
///
/// Reports show it in the thread's block, before its stack, with the time since
/// it was entered:
///
/// ```text
/// ------                    Thread #10181 api-3                     ------
/// state = sleeping
/// doing = request: GET /heat (2.3 s)
/// doing = query: heat.stacks (2.1 s)
///
/// #0  …
/// ```
///
/// ```
/// use gmr_core::Scope;
///
/// fn handle(path: &str) {
///     let _request = Scope::enter_with("request", path);
///     query("heat.stacks");
/// }
///
/// fn query(table: &str) {
///     let _query = Scope::enter_with("query", table);
///     // …
/// }
/// # handle("/heat");
/// ```
///
/// Bind it to a name: `let _ = Scope::enter(…)` ends it at once.
///
/// It stays with its thread, so it is not [`Send`]. A future that holds one
/// across an `.await` would say it of whatever its thread does meanwhile.
///
/// # Secrets
///
/// The detail is masked like a command line ([`crate::redact`]), when a report
/// shows it. Where it was cut, what stands before the cut is masked rather too
/// much than too little. The label is shown as it is.
///
/// # Signal safety
///
/// Entering and leaving are safe: the thread's id from the kernel, the clock,
/// which needs no system call, and atomic operations on memory that is always
/// there; no allocation, no lock, no wait. The id is most of the cost, which
/// [`ThisThread`] saves. gmr-std's bench `scope` has the figures.
///
/// # Limitations
///
/// - 1,024 scopes in all threads together, and 128 in one. What does not fit is
///   not shown; the report says how many there are, and is not complete.
/// - 88 bytes of detail. What is longer is cut between characters, with a mark.
/// - A guard that is never dropped (`mem::forget`, a thread that ends by
///   `pthread_exit`) is shown until its thread has ended. Then the next report
///   gives its slot back; if a new thread has got the old one's id by then, it
///   is shown there.
/// - In a forked child, what the parent's threads were doing is not shown: the
///   thread that goes on there has another id. Scopes that it entered before the
///   fork are not shown either. (In a new pid namespace ids may repeat: enter no
///   scope around such a fork.)
/// - Two scopes of one thread that were entered at the same tick of the clock
///   may change places. (Ticks are nanoseconds where the clock is the processor's
///   own.)
/// - Where reports are not supported, it does nothing.
#[must_use = "the scope ends when this is dropped"]
pub struct Scope {
    #[cfg(gmr_engine)]
    place: Place<'static>,
    not_send: PhantomData<*mut ()>,
}

/// Where a scope is recorded; the error: there was no room, and it is counted.
#[cfg(gmr_engine)]
type Place<'p> = Result<(&'p Slot<WORDS>, Ticket), u32>;

impl Scope {
    /// Longest detail that is kept, in bytes.
    pub const MAX_DETAIL_BYTES: usize = DETAIL_BYTES;

    /// Enters a scope.
    ///
    /// # Signal safety
    ///
    /// Safe; see [`Scope`].
    pub fn enter(label: &'static str) -> Self {
        Self::enter_with(label, "")
    }

    /// Enters a scope with something that tells it from others of its label: a
    /// path, an id, a name. It is copied.
    ///
    /// # Signal safety
    ///
    /// Safe; see [`Scope`].
    pub fn enter_with(label: &'static str, detail: &str) -> Self {
        ThisThread::get().enter_with(label, detail)
    }
}

impl core::fmt::Debug for Scope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

#[cfg(gmr_engine)]
impl Drop for Scope {
    fn drop(&mut self) {
        match self.place {
            // `false` in a forked child whose report gave it back: fine.
            Ok((slot, ticket)) => drop(slot.release(ticket)),
            Err(process) => UNRECORDED.close(process),
        }
    }
}

/// The calling thread, asked for its id once: enters scopes without the system
/// call that [`Scope::enter`] makes for it.
///
/// For a loop whose every turn is a scope:
///
/// ```
/// let here = gmr_core::ThisThread::get();
/// for turn in 0..3 {
///     let _turn = here.enter("turn");
///     // …
/// }
/// ```
///
/// # Limitations
///
/// In a forked child it is still the parent's: what it enters there is not
/// shown. Get another one after `fork`.
#[derive(Debug, Clone, Copy)]
pub struct ThisThread {
    #[cfg(gmr_engine)]
    tid: u32,
    not_send: PhantomData<*mut ()>,
}

impl ThisThread {
    /// The calling thread.
    ///
    /// # Signal safety
    ///
    /// Safe: one system call.
    #[must_use]
    pub fn get() -> Self {
        ThisThread {
            #[cfg(gmr_engine)]
            tid: crate::sys::gettid(),
            not_send: PhantomData,
        }
    }

    /// As [`Scope::enter`].
    ///
    /// # Signal safety
    ///
    /// Safe; see [`Scope`].
    pub fn enter(self, label: &'static str) -> Scope {
        self.enter_with(label, "")
    }

    /// As [`Scope::enter_with`].
    ///
    /// # Signal safety
    ///
    /// Safe; see [`Scope`].
    pub fn enter_with(self, label: &'static str, detail: &str) -> Scope {
        self.enter_cut(label, detail, detail.len())
    }

    /// With a detail of `full_len` bytes, of which only the first are at hand.
    #[doc(hidden)]
    pub fn enter_cut(self, label: &'static str, detail: &str, full_len: usize) -> Scope {
        #[cfg(not(gmr_engine))]
        let _ = (label, detail, full_len);
        Scope {
            #[cfg(gmr_engine)]
            place: record(&POOL, self.tid, label, detail, full_len),
            not_send: PhantomData,
        }
    }
}

/// Where a thread begins to look: neighbours in number, which threads often
/// are, come to lie far apart (multiplication by 2^32 / the golden ratio).
#[cfg(gmr_engine)]
fn home(tid: u32, slots: usize) -> usize {
    (tid.wrapping_mul(0x9e37_79b9) as usize).checked_rem(slots).unwrap_or(0)
}

#[cfg(gmr_engine)]
fn record<'p>(
    pool: &'p [Slot<WORDS>],
    tid: u32,
    label: &'static str,
    detail: &str,
    full_len: usize,
) -> Place<'p> {
    let began_ns = clock::monotonic_ns();
    let (after, before) = pool.split_at_checked(home(tid, pool.len())).unwrap_or_default();
    let place = before.iter().chain(after).take(PROBES).find_map(|slot| {
        let ticket = slot.claim(tid, |words| write(words, began_ns, label, detail, full_len))?;
        Some((slot, ticket))
    });
    place.ok_or_else(|| UNRECORDED.open())
}

#[cfg(gmr_engine)]
fn write(
    words: &[AtomicU64; WORDS],
    began_ns: u64,
    label: &'static str,
    detail: &str,
    full_len: usize,
) {
    let kept_len = cut(detail, DETAIL_BYTES);
    let (facts, room) = words.split_at(WORDS - DETAIL_WORDS);
    let address = label.as_ptr().expose_provenance() as u64;
    let lengths = (full_len as u64) << 8 | kept_len as u64;
    for (word, value) in facts.iter().zip([began_ns, address, label.len() as u64, lengths]) {
        word.store(value, Ordering::Relaxed);
    }
    let kept = detail.as_bytes().get(..kept_len).unwrap_or_default();
    for (word, piece) in room.iter().zip(kept.chunks(8)) {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(piece) {
            *to = *from;
        }
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

/// How many of the first `limit` bytes are whole characters. (`str`'s own
/// function is newer than our oldest compiler.)
#[cfg(gmr_engine)]
fn cut(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// A slot as a report found it.
#[cfg(gmr_engine)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    words: [u64; WORDS],
    /// Where in the pool.
    slot: usize,
    /// `None` behind the last record.
    ticket: Option<Ticket>,
}

#[cfg(gmr_engine)]
#[expect(unsafe_code, reason = "numbers only")]
// SAFETY: all bytes zero is no ticket and numbers.
unsafe impl Zeroable for Record {}

/// All scopes at one moment, more or less: each is whole, but threads go on
/// while others are read.
#[cfg(gmr_engine)]
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    records: &'a [Record],
    taken_ns: u64,
    /// Scopes that were open and had no slot.
    pub(crate) unrecorded: u64,
}

#[cfg(gmr_engine)]
impl<'a> Snapshot<'a> {
    /// Reads the slots into `records`, as far as they have room.
    pub(crate) fn take(records: &'a mut [Record]) -> Self {
        Self::of_pool(&POOL, records)
    }

    fn of_pool(pool: &[Slot<WORDS>], records: &'a mut [Record]) -> Self {
        let mut used = 0_usize;
        for (index, slot) in pool.iter().enumerate() {
            let Some(record) = records.get_mut(used) else { break };
            // Once more: its owner went from one scope to the next just then.
            let ticket = slot.read(&mut record.words).or_else(|| slot.read(&mut record.words));
            if ticket.is_some() {
                (record.slot, record.ticket) = (index, ticket);
                used = used.saturating_add(1);
            }
        }
        Snapshot {
            records: records.get(..used).unwrap_or_default(),
            taken_ns: clock::monotonic_ns(),
            unrecorded: UNRECORDED.count(),
        }
    }

    /// What thread `tid` was doing, the outermost scope first. Each step looks at
    /// all records: there are few, and no memory to sort them in.
    pub(crate) fn of(&self, tid: u32) -> impl Iterator<Item = &'a Record> + use<'a> {
        let records = self.records;
        let mut last = None;
        core::iter::from_fn(move || {
            let next = records
                .iter()
                .filter(|record| record.tid() == Some(tid))
                .filter(|record| last.is_none_or(|last| record.order() > last))
                .min_by_key(|record| record.order())?;
            last = Some(next.order());
            Some(next)
        })
    }

    /// Gives back the slots of threads that are gone. `is_listed`: whether the
    /// report knows a thread of that id, which saves asking the kernel.
    pub(crate) fn give_back(&self, is_listed: impl Fn(u32) -> bool) {
        for record in self.records {
            if let (Some(ticket), Some(slot)) = (record.ticket, POOL.get(record.slot))
                && !is_listed(ticket.tid())
                && crate::sys::is_gone(ticket.tid())
            {
                slot.release(ticket);
            }
        }
    }

    /// How a report shows `record`, which is one of these. `masked` is for the
    /// detail.
    pub(crate) fn shown<'s>(&self, record: &Record, masked: &'s mut Masked) -> ActiveScope<'s> {
        let (began_ns, label, detail) = record.facts();
        masked.fill(&detail);
        let text = masked.0.as_slice();
        ActiveScope {
            label,
            detail: match detail.full_len_bytes {
                Some(_) => Value::Truncated { text, full_len_bytes: detail.full_len_bytes },
                None if text.is_empty() => Value::None,
                None => Value::Bytes(text),
            },
            age_ns: self.taken_ns.saturating_sub(began_ns),
        }
    }
}

#[cfg(gmr_engine)]
impl Record {
    fn tid(&self) -> Option<u32> {
        Some(self.ticket?.tid())
    }

    /// Of a thread's scopes the outer one is less.
    fn order(&self) -> (u64, usize) {
        let [began_ns, ..] = self.words;
        (began_ns, self.slot)
    }

    fn facts(&self) -> (u64, &'static str, Detail) {
        let [began_ns, address, label_len, lengths, words @ ..] = &self.words;
        let mut bytes = heapless::Vec::new();
        for word in words {
            let _ = bytes.extend_from_slice(&word.to_ne_bytes());
        }
        let kept_len = (lengths & 0xff) as usize;
        bytes.truncate(kept_len);
        let full_len = lengths >> 8;
        let full_len_bytes = (full_len > kept_len as u64).then_some(full_len);
        (*began_ns, label_at(*address, *label_len), Detail { bytes, full_len_bytes })
    }
}

#[cfg(gmr_engine)]
#[expect(unsafe_code, reason = "a label is stored as two numbers")]
fn label_at(address: u64, len: u64) -> &'static str {
    let start = core::ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: address and length of one `&'static str`, exposed by `write` and
    // read whole by the slot's protocol. (All zero would be null: no record.)
    let bytes = unsafe { core::slice::from_raw_parts(start, len as usize) };
    core::str::from_utf8(bytes).unwrap_or_default()
}

/// A detail as it was kept.
#[cfg(gmr_engine)]
struct Detail {
    bytes: heapless::Vec<u8, DETAIL_BYTES>,
    /// If it was cut.
    full_len_bytes: Option<u64>,
}

/// Room for a masked detail: in the worst case each second byte is a secret of
/// its own.
#[cfg(gmr_engine)]
#[derive(Debug, Default)]
pub(crate) struct Masked(heapless::Vec<u8, { DETAIL_BYTES * 2 }>);

#[cfg(gmr_engine)]
impl Masked {
    fn fill(&mut self, detail: &Detail) {
        let Masked(masked) = self;
        masked.clear();
        let mut judged = heapless::Vec::<u8, { DETAIL_BYTES + redact::AFTER_CUT.len() }>::new();
        let _ = judged.extend_from_slice(&detail.bytes);
        if detail.full_len_bytes.is_some() {
            let _ = judged.extend_from_slice(redact::AFTER_CUT);
        }
        let text = detail.bytes.as_slice();
        let mut done = 0;
        redact::secret_ranges(&judged, &mut |range| {
            let clear = text.get(done..range.start.min(text.len()));
            let _ = masked.extend_from_slice(clear.unwrap_or_default());
            if range.start < text.len() {
                let _ = masked.extend_from_slice(redact::MASK.as_bytes());
            }
            done = range.end.min(text.len());
        });
        let _ = masked.extend_from_slice(text.get(done..).unwrap_or_default());
    }
}

#[cfg(all(test, gmr_engine))]
mod tests {
    use std::boxed::Box;
    use std::string::{String, ToString};
    use std::vec::Vec;
    use std::{format, thread, vec};

    use super::*;
    use crate::model::Event;
    use crate::view::{Output, TextView, View};

    /// For tests in which scopes find no slot: they are counted in one place.
    static COUNTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

    const EMPTY: Record = Record { words: [0; WORDS], slot: 0, ticket: None };

    fn record(
        pool: &'static [Slot<WORDS>],
        tid: u32,
        label: &'static str,
        detail: &str,
    ) -> Option<(&'static Slot<WORDS>, Ticket)> {
        super::record(pool, tid, label, detail, detail.len()).ok()
    }

    fn pool(slots: usize) -> &'static [Slot<WORDS>] {
        Box::leak((0..slots).map(|_| Slot::new()).collect())
    }

    /// The scopes of thread `tid`, as label, detail and the length before a cut.
    fn shown(pool: &[Slot<WORDS>], tid: u32) -> Vec<(&'static str, String, Option<u64>)> {
        let mut records = vec![EMPTY; pool.len()];
        let snapshot = Snapshot::of_pool(pool, &mut records);
        let mut masked = Masked::default();
        snapshot
            .of(tid)
            .map(|record| {
                let (_, label, _) = record.facts();
                let (text, full_len_bytes) = match snapshot.shown(record, &mut masked).detail {
                    Value::None => (&b""[..], None),
                    Value::Bytes(text) => (text, None),
                    Value::Truncated { text, full_len_bytes } => (text, full_len_bytes),
                    other => panic!("{other:?}"),
                };
                (label, String::from_utf8(text.to_vec()).unwrap(), full_len_bytes)
            })
            .collect()
    }

    fn labels(pool: &[Slot<WORDS>], tid: u32) -> Vec<&'static str> {
        shown(pool, tid).into_iter().map(|(label, ..)| label).collect()
    }

    /// What a report would show of `detail`.
    fn kept(detail: &str) -> (String, Option<u64>) {
        let pool = pool(1);
        record(pool, 1, "label", detail).unwrap();
        let (_, text, full_len_bytes) = shown(pool, 1).remove(0);
        (text, full_len_bytes)
    }

    #[test]
    fn scopes_of_a_thread_come_outermost_first_and_go_when_dropped() {
        let own = crate::sys::gettid();
        let outer = Scope::enter_with("outer", "one");
        let inner = ThisThread::get().enter("inner");
        thread::spawn(move || {
            let _other = Scope::enter("other");
            assert_eq!(labels(&POOL, crate::sys::gettid()), ["other"]);
            assert_eq!(labels(&POOL, own), ["outer", "inner"]);
        })
        .join()
        .unwrap();
        assert_eq!(shown(&POOL, own)[0], ("outer", "one".to_string(), None));
        // In any order.
        drop(outer);
        assert_eq!(labels(&POOL, own), ["inner"]);
        drop(inner);
        assert!(labels(&POOL, own).is_empty());
    }

    #[test]
    fn reused_slots_do_not_change_the_order() {
        let pool = pool(4);
        let (slot, first) = record(pool, 1, "first", "").unwrap();
        record(pool, 1, "second", "").unwrap();
        record(pool, 2, "another's", "").unwrap();
        assert!(slot.release(first));
        record(pool, 1, "third", "").unwrap();
        assert_eq!(labels(pool, 1), ["second", "third"]);
        assert_eq!(labels(pool, 2), ["another's"]);
    }

    #[test]
    fn a_detail_is_cut_between_characters() {
        for len in [0, 1, 7, 8, 9, DETAIL_BYTES - 1, DETAIL_BYTES] {
            let detail = "x".repeat(len);
            assert_eq!(kept(&detail), (detail, None));
        }
        let long = "x".repeat(DETAIL_BYTES + 1);
        assert_eq!(kept(&long), ("x".repeat(DETAIL_BYTES), Some(long.len() as u64)));
        let wide = format!("x{}", "é".repeat(50));
        let expected = format!("x{}", "é".repeat((DETAIL_BYTES - 1) / 2));
        assert_eq!(kept(&wide), (expected, Some(101)));
    }

    #[test]
    fn secrets_are_masked_also_where_the_cut_hides_what_they_are() {
        let url = "https://user:hunter2@host/";
        assert_eq!(kept(&format!("GET {url}x")).0, "GET https://user:***@host/x");
        assert_eq!(kept("login password=hunter2 now").0, "login password=*** now");
        let url_at = |at: usize| kept(&format!("{} {url}{}", "p".repeat(at), "t".repeat(100))).0;
        for at in 0..DETAIL_BYTES {
            let shown = url_at(at);
            // Of the secret at most what a mask is of any length.
            assert!(!shown.contains(":h"), "{shown}");
        }
        assert!(url_at(DETAIL_BYTES - "https://user:hun".len() - 1).ends_with("https://user:***"));
        // Each is a secret of its own: the masked detail is longer.
        let many = "a:b@c ".repeat(14);
        assert_eq!(kept(&many).0, "a:***@c ".repeat(14));
    }

    #[test]
    fn what_has_no_room_is_counted_while_it_is_open() {
        let _alone = COUNTING.lock();
        let full = pool(2);
        let before = UNRECORDED.count();
        let scopes: Vec<_> = (0..3)
            .map(|_| Scope { place: super::record(full, 1, "x", "", 0), not_send: PhantomData })
            .collect();
        assert_eq!(labels(full, 1).len(), 2);
        assert_eq!(UNRECORDED.count(), before + 1);
        drop(scopes);
        assert_eq!(UNRECORDED.count(), before);
        assert!(record(full, 2, "fits", "").is_some());
    }

    #[test]
    fn scopes_of_the_process_before_a_fork_are_not_counted() {
        let unrecorded = Unrecorded::new();
        let inherited = [unrecorded.open(), unrecorded.open()];
        assert_eq!(unrecorded.count(), 2);
        unrecorded.clear();
        assert_eq!(unrecorded.count(), 0);
        let own = unrecorded.open();
        // Of the thread that goes on in the child.
        for process in inherited {
            unrecorded.close(process);
        }
        assert_eq!(unrecorded.count(), 1);
        unrecorded.close(own);
        assert_eq!(unrecorded.count(), 0);
    }

    #[test]
    fn one_thread_cannot_take_everything() {
        let _alone = COUNTING.lock();
        let pool = pool(SLOTS);
        let places: Vec<_> = (0..=PROBES).map(|_| record(pool, 7, "deep", "").is_some()).collect();
        assert_eq!(places.iter().filter(|is_placed| **is_placed).count(), PROBES);
        assert!(!places[PROBES]);
        UNRECORDED.close(0);
        assert_eq!(labels(pool, 7).len(), PROBES);
    }

    #[test]
    fn threads_whose_numbers_are_neighbours_do_not_meet() {
        let mut homes: Vec<_> = (5000..5100).map(|tid| home(tid, SLOTS)).collect();
        homes.sort_unstable();
        assert!(homes.windows(2).all(|pair| pair[1] - pair[0] >= 4), "{homes:?}");
    }

    #[test]
    fn slots_of_threads_that_are_gone_are_given_back() {
        let (tid, own) = (
            thread::spawn(|| {
                core::mem::forget(Scope::enter("leaked"));
                crate::sys::gettid()
            })
            .join()
            .unwrap(),
            crate::sys::gettid(),
        );
        let _own = Scope::enter("kept");
        let mut records = vec![EMPTY; SLOTS];
        // A joined thread may not be quite gone.
        let give_up = std::time::Instant::now() + core::time::Duration::from_secs(60);
        while labels(&POOL, tid) == ["leaked"] {
            Snapshot::take(&mut records).give_back(|_| false);
            assert!(std::time::Instant::now() < give_up, "never given back");
        }
        assert_eq!(labels(&POOL, own), ["kept"]);
    }

    #[test]
    fn what_a_handler_enters_meanwhile_is_no_harm() {
        let pool = pool(2);
        let slot = &pool[home(9, 2)];
        slot.claim(9, |_| {
            // Interrupted here.
            let (other, ticket) = record(pool, 9, "in the handler", "").unwrap();
            assert_eq!(labels(pool, 9), ["in the handler"]);
            assert!(other.release(ticket));
        })
        .unwrap();
    }

    #[test]
    fn the_age_is_since_it_was_entered() {
        struct Text(String);
        impl ufmt::uWrite for Text {
            type Error = core::convert::Infallible;
            fn write_str(&mut self, text: &str) -> Result<(), Self::Error> {
                self.0.push_str(text);
                Ok(())
            }
        }
        let pool = pool(1);
        let before_ns = clock::monotonic_ns();
        record(pool, 1, "request", "GET /").unwrap();
        let mut records = [EMPTY];
        let mut snapshot = Snapshot::of_pool(pool, &mut records);
        assert!(snapshot.taken_ns >= before_ns + snapshot.of(1).count() as u64);
        snapshot.taken_ns = snapshot.of(1).next().unwrap().words[0] + 2_300_000_000;
        let mut masked = Masked::default();
        let scope = snapshot.shown(snapshot.of(1).next().unwrap(), &mut masked);
        let mut text = Text(String::new());
        let out: &mut Output<'_> = &mut text;
        let mut view = TextView::new();
        view.event(&Event::BeginSection { id: 1, title: "T" }, out);
        view.event(&Event::Scope(scope), out);
        assert!(text.0.ends_with("doing = request: GET / (2.3 s)\n"), "{}", text.0);
    }
}
