//! Which thread polls which task: thread-locals of tokio, read from outside.
//!
//! 1. tokio keeps in a thread-local what a thread is at: the id of the task that
//!    it polls, a handle of its runtime, and, on a thread that drives a runtime, a
//!    pointer to the scheduler's context on its own stack. Where they are in the
//!    executable's thread-local block is the same for all threads, and not known:
//!    it is learned once, with runtimes of our own ([`learn`]).
//! 2. A thread's block lies below its thread pointer. That is the address of its
//!    robust list, which the kernel tells of any thread, less a distance that is
//!    the same for all. It is believed only if the word there points to itself
//!    and the thread's id is where glibc keeps it.
//! 3. The context leads to the worker's index, and to a counter of polls: if that
//!    stands still between two looks, so does the poll.
//!
//! Everything is read by the kernel ([`gmr_core::hosted::memory`]): an address
//! that is stale gives a refused read or words that do not fit, never a fault.
//!
//! Limits: glibc on x86_64; tokio linked into the executable itself, once. Where
//! that is not so, learning fails with words, and reports do without.

mod learn;

use gmr_core::hosted::memory::{self, Range};

use crate::runtimes::{self, Registered};
pub(crate) use learn::{handle_words, learn};

/// Bytes of a scheduler's context that are looked at.
const CONTEXT_BYTES: usize = 64;

/// Bytes of a worker that are looked at: the counts of its `Arc` and its three words.
/// Not more: behind it is other memory, where what looks like an index may stand by
/// chance, and then none is believed.
const WORKER_BYTES: usize = 40;

/// Where everything is; see the head of this file. Distances go down from the
/// thread pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// From the thread pointer up to the head of the robust list.
    robust_offset: u64,
    /// Up to glibc's thread id.
    tid_offset: u64,
    /// Down to the id of the current task.
    task_distance: u64,
    /// Down to the word that points to the runtime; the one before says which
    /// kind of runtime it is.
    handle_distance: u64,
    /// Down to the pointer to the scheduler's context.
    context_distance: u64,
    /// What the word before the handle is for a current-thread runtime.
    current_tag: u64,
    /// The same for a multi-thread runtime.
    multi_tag: u64,
    /// Within the context of each.
    current: ContextPlaces,
    multi: ContextPlaces,
    /// Where a multi-thread worker has its index.
    worker: Option<WorkerPlaces>,
}

/// Where a context points to the core of its worker, and where that counts its
/// polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ContextPlaces {
    tick: Option<TickPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TickPlace {
    core_offset: u64,
    tick_offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WorkerPlaces {
    /// In the context: the pointer to the worker.
    worker_offset: u64,
    /// In the worker: the pointer to the runtime.
    handle_offset: u64,
    index_offset: u64,
}

/// What a runtime is, as far as its handle says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    CurrentThread,
    MultiThread,
}

impl Flavor {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Flavor::CurrentThread => "current_thread",
            Flavor::MultiThread => "multi_thread",
        }
    }
}

/// What a thread was at when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Look {
    /// The id that tokio has for it: of the task that it polls, of a blocking
    /// task; of a multi-thread worker between tasks that of the task that started
    /// it. 0: none.
    pub(crate) task: u64,
    /// The runtime that it drives if that is registered, else that it has entered, as an
    /// address; 0: none.
    pub(crate) runtime: u64,
    /// What that is, if the tag is known.
    pub(crate) flavor: Option<Flavor>,
    /// It drives that runtime, or one that it has entered before.
    pub(crate) is_driving: bool,
    /// What it drives is not `runtime`, but one that nobody has registered.
    pub(crate) is_elsewhere: bool,
    /// Its index among the workers of the runtime.
    pub(crate) index: Option<u32>,
    /// The worker's core is with the context: it polls, or it parks.
    pub(crate) has_core: bool,
    /// The counter of polls, if `has_core`.
    pub(crate) tick: Option<u32>,
}

fn word(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

fn read_words<const BYTES: usize>(address: u64) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    (memory::read(address, &mut bytes) == Ok(BYTES)).then_some(bytes)
}

/// Whether it may be an address of an object of ours.
fn is_plausible(address: u64) -> bool {
    (0x1_0000..1 << 47).contains(&address) && address.is_multiple_of(8)
}

impl Places {
    /// The thread pointer of a thread of this process. `None`: it is not there,
    /// or not what it is expected to be.
    fn thread_pointer(&self, tid: u32) -> Option<u64> {
        memory::robust_list(tid)?.checked_sub(self.robust_offset)
    }

    /// Looks at a thread. `None`: it could not be read.
    ///
    /// Signal-safe: three to five calls of the kernel.
    pub(crate) fn look(&self, tid: u32) -> Option<Look> {
        let pointer = self.thread_pointer(tid)?;
        let ranges = [
            Range { address: pointer, bytes: 8 },
            Range { address: pointer.wrapping_add(self.tid_offset), bytes: 4 },
            Range { address: pointer.wrapping_sub(self.task_distance), bytes: 8 },
            Range {
                address: pointer.wrapping_sub(self.handle_distance).wrapping_sub(8),
                bytes: 16,
            },
            Range { address: pointer.wrapping_sub(self.context_distance), bytes: 8 },
        ];
        let mut bytes = [0; 44];
        if memory::read_ranges(&ranges, &mut bytes) != Ok(44) {
            return None;
        }
        let own_tid = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        if word(&bytes, 0)? != pointer || own_tid != tid {
            return None;
        }
        let (task, tag, runtime, context) =
            (word(&bytes, 12)?, word(&bytes, 20)?, word(&bytes, 28)?, word(&bytes, 36)?);
        let flavor = match tag {
            _ if !is_plausible(runtime) => None,
            tag if tag == self.current_tag => Some(Flavor::CurrentThread),
            tag if tag == self.multi_tag => Some(Flavor::MultiThread),
            _ => None,
        };
        let mut look = Look {
            task,
            runtime: if flavor.is_some() { runtime } else { 0 },
            flavor,
            ..Look::default()
        };
        if is_plausible(context) {
            look.is_driving = true;
            self.look_at_context(context, &mut look);
        }
        Some(look)
    }

    fn look_at_context(&self, context: u64, look: &mut Look) {
        let Some(bytes) = read_words::<CONTEXT_BYTES>(context) else { return };
        let Some(entered) = look.flavor else { return };
        look.index = self.index(&bytes, entered, look.runtime);
        if look.index.is_none() && (entered == Flavor::CurrentThread || self.worker.is_some()) {
            // `Handle::enter` within a poll: the context is still that of the runtime
            // that polls.
            let of = |known: &Registered| self.index(&bytes, known.flavor, known.address);
            let mut known = runtimes::registered().filter(|known| known.address != 0);
            let driven = known.find_map(|known| Some((known, of(known)?)));
            let Some((known, index)) = driven else {
                look.is_elsewhere = true;
                return;
            };
            (look.flavor, look.runtime) = (Some(known.flavor), known.address);
            look.index = Some(index);
        }
        let places = match look.flavor {
            Some(Flavor::CurrentThread) => &self.current,
            _ => &self.multi,
        };
        let Some(place) = places.tick else { return };
        let core = word(&bytes, place.core_offset as usize).filter(|core| is_plausible(*core));
        if let Some(core) = core {
            look.has_core = true;
            look.tick =
                read_words::<4>(core.wrapping_add(place.tick_offset)).map(u32::from_ne_bytes);
        }
    }

    /// The index among the workers of `runtime`, if the context is one of theirs.
    fn index(&self, context: &[u8], flavor: Flavor, runtime: u64) -> Option<u32> {
        match flavor {
            // Its context has the handle itself.
            Flavor::CurrentThread => {
                let mut words = context.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
                words.any(|word| word == runtime).then_some(0)
            }
            Flavor::MultiThread => self.worker?.index(context, runtime),
        }
    }

    /// Whether the workers' counters of polls are known, so that it can be told
    /// one poll from many.
    pub(crate) fn knows_polls(&self) -> bool {
        self.current.tick.is_some() && self.multi.tick.is_some()
    }

    /// Whether a worker's index is known.
    pub(crate) fn knows_workers(&self) -> bool {
        self.worker.is_some()
    }
}

impl WorkerPlaces {
    fn index(&self, context: &[u8], runtime: u64) -> Option<u32> {
        let worker = word(context, self.worker_offset as usize)?;
        if !is_plausible(worker) {
            return None;
        }
        let bytes = read_words::<WORKER_BYTES>(worker)?;
        if word(&bytes, self.handle_offset as usize)? != runtime {
            return None;
        }
        u32::try_from(word(&bytes, self.index_offset as usize)?).ok()
    }
}
