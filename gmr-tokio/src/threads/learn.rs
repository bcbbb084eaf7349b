//! Learns where tokio keeps its thread-locals, with runtimes of our own.
//!
//! 1. A current-thread runtime and a multi-thread one with two workers live for a
//!    moment. Their handles' own words tell how each kind is marked.
//! 2. Tasks on both search their own thread's block for their own id
//!    (`tokio::task::id`), for their runtime, and for a pointer into their own
//!    stack behind which the runtime is found again: the scheduler's context.
//!    The same is asked of a blocking task (it has an id and a runtime, and no
//!    context) and of a thread that is no business of tokio's (all zero). A place
//!    is taken if it is the only one that all of them agree on.
//! 3. A task that wakes itself looks for a number in its worker's core that grows
//!    with each poll, and stays within one.
//! 4. The workers of the second runtime are then looked at from outside, as a report
//!    does: what counts as their index is 0 in one and 1 in the other.
//!
//! Runs on an ordinary thread, once; takes some milliseconds. Nothing of the
//! program's runtimes is touched.
//!
//! # Safety
//!
//! One call of the C library without preconditions.
#![expect(unsafe_code, reason = "pthread_self(3)")]

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use gmr_core::hosted::{memory, wait};
use tokio::runtime::{Builder, Handle, Runtime};

use super::{
    CONTEXT_BYTES, ContextPlaces, Places, TickPlace, WORKER_BYTES, WorkerPlaces, is_plausible,
    read_words, word,
};

/// Tasks that search, on each runtime: an id is a small number, and found in many
/// places by chance.
const SEARCHES: usize = 6;

/// Polls that the counter is watched for: beyond the 61 after which tokio's
/// workers do their housekeeping, which resets other counters.
const POLLS: usize = 150;

/// Most that a counter of polls grows between two polls of a task.
const MOST_GROWTH: u32 = 4;

/// Bytes of a core that are searched for it.
const CORE_BYTES: usize = 512;

/// How far glibc's description of a thread is searched for its id.
const PTHREAD_BYTES: usize = 2304;

/// A thread-local block that is larger is not searched.
const MOST_BLOCK_BYTES: u64 = 1 << 20;

/// How long a runtime of ours may take for one step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why it is not known which thread polls which task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum LearnError {
    /// Not glibc on x86_64.
    Platform,
    /// The executable has no thread-locals, or far too many.
    NoBlock,
    /// The kernel does not let memory be read, or tell of threads.
    Refused,
    /// No runtime could be made, or it did not run.
    Runtime(String),
    /// Not one place that all agree on.
    Places { what: &'static str, found: usize },
}

impl std::fmt::Display for LearnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LearnError::Platform => write!(f, "known for glibc on x86_64 only"),
            LearnError::NoBlock => write!(f, "the executable has no thread-local block"),
            LearnError::Refused => {
                write!(f, "the kernel refuses process_vm_readv(2) or get_robust_list(2)")
            }
            LearnError::Runtime(why) => write!(f, "no runtime to learn from: {why}"),
            LearnError::Places { what, found: 0 } => write!(
                f,
                "{what} is not in the executable's thread-local block \
                 (is tokio in a shared library, or another version?)"
            ),
            LearnError::Places { what, found } => {
                write!(f, "{found} places in the thread-local block may hold {what}")
            }
        }
    }
}

/// The words of a handle: what kind of runtime, and its address.
pub(crate) fn handle_words(handle: &Handle) -> Option<(u64, u64)> {
    if size_of::<Handle>() != 16 {
        return None;
    }
    let bytes = read_words::<16>(std::ptr::from_ref(handle) as u64)?;
    let (tag, address) = (word(&bytes, 0)?, word(&bytes, 8)?);
    (tag < 16 && is_plausible(address)).then_some((tag, address))
}

/// The calling thread's thread pointer.
fn thread_pointer() -> u64 {
    // SAFETY: no preconditions. (Of glibc on x86_64 it is the thread pointer.)
    unsafe { libc::pthread_self() }
}

/// Size of the executable's block below a thread pointer.
fn block_bytes() -> Option<u64> {
    let mut bytes = None;
    memory::executable(&mut |segment| {
        if segment.is_tls {
            let align = segment.align.max(8);
            bytes = Some(segment.end.saturating_sub(segment.start).next_multiple_of(align));
        }
    })?;
    bytes.filter(|bytes| (8..=MOST_BLOCK_BYTES).contains(bytes))
}

/// Which places of a block hold what: distances down from the thread pointer.
#[derive(Debug, Clone)]
struct Found {
    task: BTreeSet<u64>,
    handle: BTreeSet<u64>,
    context: BTreeSet<u64>,
    /// That are zero.
    empty: BTreeSet<u64>,
}

/// Searches the calling thread's block.
fn search(id: u64, runtime: u64, block_bytes: u64) -> Option<Found> {
    let here = 0_u8;
    let stack = std::ptr::from_ref(&here) as u64;
    let pointer = thread_pointer();
    let start = pointer.checked_sub(block_bytes)?;
    let mut block = vec![0; block_bytes as usize];
    if memory::read(start, &mut block) != Ok(block.len()) {
        return None;
    }
    let mut found = Found {
        task: BTreeSet::new(),
        handle: BTreeSet::new(),
        context: BTreeSet::new(),
        empty: BTreeSet::new(),
    };
    for offset in (0..block.len()).step_by(8) {
        let value = word(&block, offset)?;
        let distance = block_bytes - offset as u64;
        if value == 0 {
            found.empty.insert(distance);
        }
        if id != 0 && value == id {
            found.task.insert(distance);
        }
        if value == runtime {
            found.handle.insert(distance);
        }
        if (stack..start).contains(&value) && leads_to(value, runtime) {
            found.context.insert(distance);
        }
    }
    Some(found)
}

/// Whether `context` is a scheduler's context: the runtime is in it, or in a
/// worker that it points to.
fn leads_to(context: u64, runtime: u64) -> bool {
    let Some(bytes) = read_words::<CONTEXT_BYTES>(context) else { return false };
    let mut words = (0..CONTEXT_BYTES).step_by(8).filter_map(|at| word(&bytes, at));
    words.any(|value| value == runtime || worker_handle(value, runtime).is_some())
}

/// Where in a worker the runtime is; behind the counts of its `Arc`.
fn worker_handle(worker: u64, runtime: u64) -> Option<u64> {
    if !is_plausible(worker) {
        return None;
    }
    let bytes = read_words::<WORKER_BYTES>(worker)?;
    (16..WORKER_BYTES).step_by(8).find(|at| word(&bytes, *at) == Some(runtime)).map(|at| at as u64)
}

/// Numbers of a core that may count polls, and what they were.
type Counters = Vec<(TickPlace, u32)>;

fn counters(context: u64) -> Counters {
    let mut all = Counters::new();
    let Some(bytes) = read_words::<CONTEXT_BYTES>(context) else { return all };
    for core_offset in (0..CONTEXT_BYTES).step_by(8) {
        let core = word(&bytes, core_offset).filter(|core| is_plausible(*core));
        let Some(core) = core else { continue };
        let mut bytes = [0; CORE_BYTES];
        // Up to the end of what is mapped.
        let Ok(length) = memory::read(core, &mut bytes) else { continue };
        for (number, four) in bytes.get(..length).unwrap_or_default().chunks_exact(4).enumerate() {
            let place =
                TickPlace { core_offset: core_offset as u64, tick_offset: number as u64 * 4 };
            all.push((place, four.try_into().map_or(0, u32::from_ne_bytes)));
        }
    }
    all
}

/// Watches for a counter of polls: to be awaited by a task.
async fn watch(context_distance: u64) -> Option<TickPlace> {
    let context = move || {
        let at = thread_pointer().checked_sub(context_distance)?;
        word(&read_words::<8>(at)?, 0)
    };
    let mut left: Option<Counters> = None;
    let (mut polls, mut before) = (0, 0);
    std::future::poll_fn(move |cx| {
        let Some(context) = context() else { return Poll::Ready(None) };
        let (now, again) = (counters(context), counters(context));
        let is_counting = |place: &TickPlace, before: u32| {
            let value = |all: &Counters| {
                all.iter().find(|(other, _)| other == place).map(|(_, value)| *value)
            };
            let grown = value(&now).map(|value| value.wrapping_sub(before));
            value(&now) == value(&again)
                && grown.is_some_and(|grown| (1..=MOST_GROWTH).contains(&grown))
        };
        let is_same_worker = core::mem::replace(&mut before, context) == context;
        left = Some(match left.take() {
            None => now,
            // Another worker has stolen the task, and counts for itself.
            Some(left) if !is_same_worker => left
                .into_iter()
                .filter_map(|(place, _)| now.iter().find(|(other, _)| *other == place).copied())
                .collect(),
            Some(left) => left
                .into_iter()
                .filter(|(place, before)| is_counting(place, *before))
                .filter_map(|(place, _)| now.iter().find(|(other, _)| *other == place).copied())
                .collect(),
        });
        polls += 1;
        let candidates = left.as_deref().unwrap_or_default();
        if polls == POLLS || candidates.is_empty() {
            return Poll::Ready(candidates.first().map(|(place, _)| *place));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// What one runtime of ours tells.
struct Told {
    tag: u64,
    address: u64,
    /// On tasks, on a blocking task.
    tasks: Vec<Found>,
    blocking: Found,
}

fn unknown(error: impl std::fmt::Display) -> LearnError {
    LearnError::Runtime(error.to_string())
}

fn own_id() -> u64 {
    tokio::task::try_id().and_then(|id| id.to_string().parse().ok()).unwrap_or(0)
}

/// Waits for what tasks send. A current-thread runtime runs meanwhile.
fn run<T: Send + 'static>(
    runtime: &Runtime,
    is_driven_here: bool,
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, LearnError> {
    let (sender, receiver) = mpsc::channel();
    let spawned = runtime.spawn(async move {
        let _ = sender.send(task.await);
    });
    if is_driven_here {
        let _ = runtime.block_on(spawned);
    }
    receiver.recv_timeout(PATIENCE).map_err(unknown)
}

fn ask(runtime: &Runtime, is_driven_here: bool, bytes: u64) -> Result<Told, LearnError> {
    let (tag, address) = handle_words(runtime.handle())
        .ok_or(LearnError::Places { what: "the runtime", found: 0 })?;
    let mut tasks = Vec::new();
    for _ in 0..SEARCHES {
        let found = run(runtime, is_driven_here, async move { search(own_id(), address, bytes) })?;
        tasks.push(found.ok_or(LearnError::Refused)?);
    }
    let (sender, receiver) = mpsc::channel();
    runtime.spawn_blocking(move || {
        let _ = sender.send(search(own_id(), address, bytes));
    });
    let blocking = receiver.recv_timeout(PATIENCE).map_err(unknown)?;
    Ok(Told { tag, address, tasks, blocking: blocking.ok_or(LearnError::Refused)? })
}

/// The one place that all sets agree on.
fn one(what: &'static str, sets: &[&BTreeSet<u64>]) -> Result<u64, LearnError> {
    let (first, rest) = sets.split_first().ok_or(LearnError::Places { what, found: 0 })?;
    let common: Vec<_> =
        first.iter().filter(|place| rest.iter().all(|set| set.contains(place))).collect();
    match common[..] {
        [place] => Ok(*place),
        _ => Err(LearnError::Places { what, found: common.len() }),
    }
}

/// From the thread pointer to the robust list and to the thread's id.
fn thread_offsets() -> Result<(u64, BTreeSet<u64>), LearnError> {
    let (pointer, tid) = (thread_pointer(), wait::gettid());
    let robust = memory::robust_list(tid).ok_or(LearnError::Refused)?;
    let mut bytes = vec![0; PTHREAD_BYTES];
    let length = memory::read(pointer, &mut bytes).map_err(|_| LearnError::Refused)?;
    let places = bytes[..length]
        .chunks_exact(4)
        .enumerate()
        .filter(|(_, four)| **four == tid.to_ne_bytes())
        .map(|(number, _)| number as u64 * 4);
    Ok((robust.wrapping_sub(pointer), places.collect()))
}

/// Learns; see the head of this file. For an ordinary thread.
pub(crate) fn learn() -> Result<Places, LearnError> {
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        return Err(LearnError::Platform);
    }
    let bytes = block_bytes().ok_or(LearnError::NoBlock)?;
    let current = Builder::new_current_thread().build().map_err(unknown)?;
    let multi = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("gmr-learn")
        .build()
        .map_err(unknown)?;

    let (robust_offset, own_tids) = thread_offsets()?;
    let plain = move || Some((thread_offsets().ok()?, search(0, 0, bytes)?));
    let plain = std::thread::Builder::new()
        .name("gmr-learn".into())
        .spawn(plain)
        .map_err(unknown)?
        .join()
        .map_err(|_| unknown("a thread panicked"))?;
    let ((other_robust, other_tids), plain) = plain.ok_or(LearnError::Refused)?;
    if other_robust != robust_offset {
        return Err(LearnError::Places { what: "the thread pointer", found: 0 });
    }
    let tid_offset = one("the thread's id", &[&own_tids, &other_tids])?;

    let told = [ask(&current, true, bytes)?, ask(&multi, false, bytes)?];
    let all_tasks = || told.iter().flat_map(|told| &told.tasks);
    let blocking = || told.iter().map(|told| &told.blocking);

    let mut sets: Vec<_> = all_tasks().map(|found| &found.task).collect();
    sets.extend(blocking().map(|found| &found.task));
    sets.push(&plain.empty);
    let task_distance = one("the current task's id", &sets)?;

    let mut sets: Vec<_> = all_tasks().map(|found| &found.handle).collect();
    sets.extend(blocking().map(|found| &found.handle));
    sets.push(&plain.empty);
    let handle_distance = one("the runtime", &sets)?;

    let mut sets: Vec<_> = all_tasks().map(|found| &found.context).collect();
    sets.extend(blocking().map(|found| &found.empty));
    sets.push(&plain.empty);
    let context_distance = one("the scheduler's context", &sets)?;

    let mut places = Places {
        robust_offset,
        tid_offset,
        task_distance,
        handle_distance,
        context_distance,
        current_tag: told[0].tag,
        multi_tag: told[1].tag,
        current: ContextPlaces { tick: run(&current, true, watch(context_distance))? },
        multi: ContextPlaces { tick: run(&multi, false, watch(context_distance))? },
        worker: None,
    };
    places.worker = learn_worker(&places, told[1].address);
    Ok(places)
}

/// Looks from outside at the two workers of the runtime at `address`.
fn learn_worker(places: &Places, address: u64) -> Option<WorkerPlaces> {
    let until = Instant::now() + PATIENCE;
    let contexts = loop {
        let contexts = contexts(places, address);
        if contexts.len() == 2 || Instant::now() > until {
            break contexts;
        }
        // The second worker may not have begun yet.
        std::thread::sleep(Duration::from_millis(1));
    };
    let [one, other] = contexts[..] else { return None };
    let place = |context: u64| {
        let bytes = read_words::<CONTEXT_BYTES>(context)?;
        (0..CONTEXT_BYTES).step_by(8).find_map(|at| {
            let worker = word(&bytes, at)?;
            Some((at as u64, worker, worker_handle(worker, address)?))
        })
    };
    let (one, other) = (place(one)?, place(other)?);
    if (one.0, one.2) != (other.0, other.2) {
        return None;
    }
    let (first, second) =
        (read_words::<WORKER_BYTES>(one.1)?, read_words::<WORKER_BYTES>(other.1)?);
    let mut candidates = (16..WORKER_BYTES).step_by(8).filter(|at| {
        matches!((word(&first, *at), word(&second, *at)), (Some(0), Some(1)) | (Some(1), Some(0)))
    });
    let index_offset = candidates.next()? as u64;
    candidates.next().is_none().then_some(WorkerPlaces {
        worker_offset: one.0,
        handle_offset: one.2,
        index_offset,
    })
}

/// The contexts of all threads that drive the runtime at `address`.
fn contexts(places: &Places, address: u64) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let tids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    tids.filter_map(|tid: u32| {
        let look = places.look(tid)?;
        let at = places.thread_pointer(tid)?.checked_sub(places.context_distance)?;
        (look.runtime == address && look.is_driving).then(|| word(&read_words::<8>(at)?, 0))?
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Flavor;
    use super::*;
    use std::sync::Arc;

    fn look_from_outside(places: &Places, tid: u32) -> super::super::Look {
        let places = *places;
        std::thread::spawn(move || places.look(tid)).join().unwrap().unwrap()
    }

    #[test]
    fn what_was_learned_tells_what_other_threads_are_at() {
        let places = learn().unwrap();
        assert!(places.knows_polls() && places.knows_workers(), "{places:?}");
        // The test's own thread is no business of tokio's.
        let own = look_from_outside(&places, wait::gettid());
        assert_eq!((own.task, own.runtime, own.is_driving), (0, 0, false));

        let current = Builder::new_current_thread().build().unwrap();
        let (_, address) = handle_words(current.handle()).unwrap();
        current.block_on(async {
            let look = look_from_outside(&places, wait::gettid());
            assert_eq!((look.runtime, look.flavor), (address, Some(Flavor::CurrentThread)));
            assert!(look.is_driving && look.has_core && look.task == 0, "{look:?}");
            let task = tokio::spawn(async move {
                let look = look_from_outside(&places, wait::gettid());
                let again = look_from_outside(&places, wait::gettid());
                assert_eq!(look, again);
                assert_eq!(look.task, own_id());
                look.tick
            });
            let ticks = [task.await.unwrap(), look_from_outside(&places, wait::gettid()).tick];
            assert!(ticks[0].is_some() && ticks[0] != ticks[1], "{ticks:?}");
        });
        let after = look_from_outside(&places, wait::gettid());
        assert_eq!((after.task, after.runtime, after.is_driving), (0, 0, false));
    }

    #[test]
    fn each_worker_has_its_own_index() {
        const WORKERS: u32 = 5;
        let places = learn().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS as usize).build().unwrap();
        let (_, address) = handle_words(runtime.handle()).unwrap();
        // All at once: each has a worker of its own.
        let barrier = Arc::new(std::sync::Barrier::new(WORKERS as usize + 1));
        let (sender, receiver) = mpsc::channel();
        for _ in 0..WORKERS {
            let (barrier, sender) = (barrier.clone(), sender.clone());
            runtime.spawn(async move {
                sender.send((wait::gettid(), own_id())).unwrap();
                barrier.wait();
            });
        }
        let threads: Vec<_> = receiver.iter().take(WORKERS as usize).collect();
        let looks: Vec<_> = threads.iter().map(|(tid, id)| (places.look(*tid), *id)).collect();
        barrier.wait();
        let mut indices = BTreeSet::new();
        for (look, id) in looks {
            let look = look.unwrap();
            assert_eq!((look.task, look.runtime), (id, address));
            assert!(look.is_driving && look.has_core && look.tick.is_some(), "{look:?}");
            indices.extend(look.index);
        }
        assert_eq!(indices, (0..WORKERS).collect());
        let blocking = runtime.spawn_blocking(move || (places.look(wait::gettid()), own_id()));
        let (look, id) = runtime.block_on(blocking).unwrap();
        let look = look.unwrap();
        assert_eq!((look.task, look.runtime, look.is_driving), (id, address, false));
    }

    #[test]
    fn a_thread_that_is_not_there_cannot_be_looked_at() {
        assert_eq!(learn().unwrap().look(u32::MAX >> 1), None);
    }
}
