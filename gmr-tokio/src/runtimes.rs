//! The runtimes and local sets that reports look at.
//!
//! 1. A runtime that the program registers keeps its place for ever, with a handle
//!    of its own: so its lists of tasks stay where they are, also after its end.
//! 2. A local set is remembered by the words that it consists of; nothing keeps it
//!    alive. Once it is dropped, what they lead to is not its list any more (the
//!    list's id says so).
//! 3. Runtimes that nobody registered are met in the thread-locals of their
//!    threads, at each report anew.
//!
//! Registering may come before the setup, or after. Supervisors read all of it
//! without waiting.
//!
//! Limits: [`MOST_RUNTIMES`] registered runtimes in the life of a process, and the
//! last [`MOST_LOCAL_SETS`] local sets.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};

use gmr_core::hosted::memory;
use tokio::runtime::{Handle, RuntimeFlavor, RuntimeMetrics};
use tokio::task::LocalSet;

use crate::setup::probe::Probe;
use crate::table::Root;
use crate::threads::{Flavor, handle_words};

/// Registered runtimes. A program has a few; one that makes many does not want each
/// of them kept.
pub(crate) const MOST_RUNTIMES: usize = 64;

/// Local sets that are remembered.
pub(crate) const MOST_LOCAL_SETS: usize = 64;

/// Words of a `LocalSet` itself.
const LOCAL_SET_WORDS: usize = size_of::<LocalSet>().div_ceil(8);

/// A registered runtime.
#[derive(Debug)]
pub(crate) struct Registered {
    /// Keeps what the others point to.
    pub(crate) handle: Handle,
    /// Atomic loads, all of them.
    pub(crate) metrics: RuntimeMetrics,
    pub(crate) flavor: Flavor,
    /// What its handle points to; 0: not known.
    pub(crate) address: u64,
    /// Its list of tasks, once there is a table.
    pub(crate) root: OnceLock<Option<Root>>,
    /// The task that tells whether lists are read right.
    pub(crate) probe: OnceLock<Arc<Probe>>,
}

static RUNTIMES: [OnceLock<Registered>; MOST_RUNTIMES] = [const { OnceLock::new() }; MOST_RUNTIMES];

/// Guards against two who register the same runtime at a time.
static REGISTERING: Mutex<()> = Mutex::new(());

/// All registered ones, in the order of their registration. Signal-safe.
pub(crate) fn registered() -> impl Iterator<Item = &'static Registered> {
    RUNTIMES.iter().map_while(OnceLock::get)
}

/// Keeps a runtime; the same one once. `None`: there is no room.
pub(crate) fn keep(handle: &Handle) -> Option<&'static Registered> {
    let _one_at_a_time = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
    let address = handle_words(handle).map_or(0, |(_, address)| address);
    if let Some(known) = registered().find(|known| address != 0 && known.address == address) {
        return Some(known);
    }
    let place = RUNTIMES.iter().find(|place| place.get().is_none())?;
    Some(place.get_or_init(|| Registered {
        handle: handle.clone(),
        metrics: handle.metrics(),
        flavor: match handle.runtime_flavor() {
            RuntimeFlavor::CurrentThread => Flavor::CurrentThread,
            _ => Flavor::MultiThread,
        },
        address,
        root: OnceLock::new(),
        probe: OnceLock::new(),
    }))
}

/// A local set: a copy of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownLocalSet {
    words: [u64; LOCAL_SET_WORDS],
    /// Its list, once there is a table.
    root: Option<Root>,
}

static LOCAL_SETS: Mutex<heapless::Vec<KnownLocalSet, MOST_LOCAL_SETS>> =
    Mutex::new(heapless::Vec::new());

/// Remembers a local set, in place of the oldest if there are too many.
pub(crate) fn remember(set: &LocalSet, root: impl FnOnce(&LocalSet) -> Option<Root>) -> bool {
    let mut bytes = [0; LOCAL_SET_WORDS * 8];
    let size = size_of::<LocalSet>();
    let read = memory::read(core::ptr::from_ref(set) as u64, &mut bytes[..size]);
    if read != Ok(size) {
        return false;
    }
    let mut words = [0; LOCAL_SET_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let known = KnownLocalSet { words, root: root(set) };
    let mut sets = LOCAL_SETS.lock().unwrap_or_else(PoisonError::into_inner);
    sets.retain(|other| other.root != known.root || known.root.is_none());
    if sets.is_full() {
        sets.remove(0);
    }
    sets.push(known).is_ok()
}

/// Calls `each` with the lists of all local sets, finding those that were registered
/// before there was a table, and forgetting those that were dropped. `false`: they are being changed just now. Signal-safe.
pub(crate) fn local_sets(find: &dyn Fn(u64) -> Option<Root>, each: &mut dyn FnMut(Root)) -> bool {
    let mut sets = match LOCAL_SETS.try_lock() {
        Ok(sets) => sets,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    for set in sets.iter_mut().filter(|set| set.root.is_none()) {
        set.root = find(set.words.as_ptr() as u64);
    }
    sets.retain(|set| set.root.is_none_or(|root| is_counted(root.arc)));
    sets.iter().filter_map(|set| set.root).for_each(each);
    true
}

/// Whether the counts of an `Arc` look like such: where it was freed they do not, as
/// the allocator keeps addresses there.
fn is_counted(arc: u64) -> bool {
    let mut bytes = [0; 16];
    let counts = 1..1 << 24;
    memory::read(arc, &mut bytes) == Ok(16)
        && bytes.as_chunks().0.iter().all(|count| counts.contains(&u64::from_ne_bytes(*count)))
}
