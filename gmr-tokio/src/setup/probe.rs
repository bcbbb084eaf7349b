//! The self test: a task of ours on each registered runtime, which parks at a known
//! line. The runtime's list must show it there, or lists are not believed.
//!
//! 1. [`spawn`] leaves the task to the runtime. Until that polls it, nothing is known.
//! 2. Polled for the first time it says so, parks, and a worker of the reporter
//!    looks for it as a report does ([`check`]).
//! 3. Then it is woken and ends. If the runtime ends first, so does the test.
//!
//! The code is `#[inline]`, so that it becomes part of the program's own crates:
//! those have debug information where dependencies often have none.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use gmr_core::model::{AwaitKind, TaskState};
use tokio::runtime::Handle;

use crate::collect::{Arena, collect};
use crate::table::{LoadedTable, Root};

/// How often, and how long in between, a worker looks for a task that has only just
/// parked.
const LOOKS: u32 = 200;
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(2);

/// What is known of a self test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The runtime has not polled it yet.
    Waiting,
    /// It parks, and is being looked for.
    Parked,
    /// It was found where it is.
    Passed,
    /// It was found, but its type is not in the table.
    PassedWithoutTree,
    /// It was not found, or elsewhere.
    Failed,
    /// The runtime has ended before.
    Ended,
}

impl Outcome {
    const fn from_number(number: u32) -> Self {
        match number {
            1 => Outcome::Parked,
            2 => Outcome::Passed,
            3 => Outcome::PassedWithoutTree,
            4 => Outcome::Failed,
            5 => Outcome::Ended,
            _ => Outcome::Waiting,
        }
    }

    const fn number(self) -> u32 {
        match self {
            Outcome::Waiting => 0,
            Outcome::Parked => 1,
            Outcome::Passed => 2,
            Outcome::PassedWithoutTree => 3,
            Outcome::Failed => 4,
            Outcome::Ended => 5,
        }
    }

    /// In words; `why` those of the failure.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Outcome::Waiting => "has not run yet: the runtime has not polled it since the setup",
            Outcome::Parked => "is running",
            Outcome::Passed => "passed",
            Outcome::PassedWithoutTree => {
                "passed, by the list alone: gmr-tokio has no debug information here"
            }
            Outcome::Failed => "failed",
            Outcome::Ended => "the runtime has ended",
        }
    }

    /// Whether nothing more is to be expected.
    pub(crate) const fn is_final(self) -> bool {
        !matches!(self, Outcome::Waiting | Outcome::Parked)
    }
}

/// One self test.
#[derive(Debug)]
pub(crate) struct Probe {
    outcome: AtomicU32,
    /// Its task's id; 0: not known yet.
    id: AtomicU64,
    /// Where it parks.
    line: AtomicU32,
    waker: Mutex<Option<Waker>>,
    why: OnceLock<String>,
    /// Is told once it parks, and once all is over.
    changed: fn(&Arc<Probe>),
}

impl Probe {
    pub(crate) fn new(changed: fn(&Arc<Probe>)) -> Arc<Self> {
        Arc::new(Probe {
            outcome: AtomicU32::new(Outcome::Waiting.number()),
            id: AtomicU64::new(0),
            line: AtomicU32::new(0),
            waker: Mutex::new(None),
            why: OnceLock::new(),
            changed,
        })
    }

    /// How it stands. Signal-safe.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::from_number(self.outcome.load(Ordering::Acquire))
    }

    /// Why it has failed. Signal-safe.
    pub(crate) fn why(&self) -> &str {
        self.why.get().map_or("", String::as_str)
    }

    /// Ends it, if nothing else did.
    fn end(self: &Arc<Self>, outcome: Outcome) {
        let becomes = |old| (!Outcome::from_number(old).is_final()).then_some(outcome.number());
        let is_first =
            self.outcome.fetch_update(Ordering::AcqRel, Ordering::Acquire, becomes).is_ok();
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
        if is_first {
            (self.changed)(self);
        }
    }
}

/// Parks until the test is over.
struct Parking<'a>(&'a Arc<Probe>);

impl Future for Parking<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let probe = self.0;
        if probe.outcome().is_final() {
            return Poll::Ready(());
        }
        *probe.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        // It may have ended in between.
        if probe.outcome().is_final() {
            return Poll::Ready(());
        }
        let (waiting, parked) = (Outcome::Waiting.number(), Outcome::Parked.number());
        let is_first = probe
            .outcome
            .compare_exchange(waiting, parked, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if is_first {
            (probe.changed)(probe);
        }
        Poll::Pending
    }
}

/// Whatever ends the task ends the test.
struct Testing(Arc<Probe>);

impl Drop for Testing {
    fn drop(&mut self) {
        self.0.end(Outcome::Ended);
    }
}

#[inline]
async fn self_test(testing: Testing) {
    let probe = &testing.0;
    let id = tokio::task::try_id().and_then(|id| id.to_string().parse().ok());
    probe.id.store(id.unwrap_or(0), Ordering::Release);
    probe.line.store(line!() + 1, Ordering::Release);
    Parking(probe).await;
}

/// Leaves a self test to a runtime. (Its address is taken where a program sets up.)
#[inline]
pub(crate) fn spawn(handle: &Handle, probe: Arc<Probe>) {
    handle.spawn(self_test(Testing(probe)));
}

/// Looks for a test that parks, and ends it. For an ordinary thread.
pub(crate) fn check(probe: &Arc<Probe>, table: &LoadedTable, root: Option<Root>, max_tasks: usize) {
    let found = match root {
        None => Err("the runtime's list of tasks is not where the table says"),
        Some(root) => {
            let mut arena = Arena::new(max_tasks);
            let mut outcome = Err("its task did not come to rest");
            for _ in 0..LOOKS {
                outcome = look(probe, table, root, &mut arena);
                if outcome != Err(NOT_AT_REST) || probe.outcome().is_final() {
                    break;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            outcome
        }
    };
    match found {
        Ok(outcome) => probe.end(outcome),
        Err(why) => {
            let _ = probe.why.set(why.to_owned());
            probe.end(Outcome::Failed);
        }
    }
}

const NOT_AT_REST: &str = "its task did not come to rest";

fn look(
    probe: &Probe,
    table: &LoadedTable,
    root: Root,
    arena: &mut Arena,
) -> Result<Outcome, &'static str> {
    collect(table, &[root], &[], arena, &|| false);
    let id = probe.id.load(Ordering::Acquire);
    let seen = arena.task(id).ok_or("its task is not in the runtime's list")?;
    match seen.state {
        _ if seen.kind.is_none() => return Ok(Outcome::PassedWithoutTree),
        TaskState::Suspended => {}
        TaskState::Running | TaskState::Scheduled | TaskState::Unstable | TaskState::New => {
            return Err(NOT_AT_REST);
        }
        _ => return Err("its task is not in the state that it is in"),
    }
    let group = seen.group.and_then(|group| arena.group(group)).ok_or("its task has no tree")?;
    let level = group.levels().first().ok_or("its task has no tree")?.shown(table.table());
    let is_here = level.kind == AwaitKind::Suspended
        && level.file.is_some_and(|file| file.ends_with("probe.rs"))
        && level.line == Some(probe.line.load(Ordering::Acquire));
    if is_here { Ok(Outcome::Passed) } else { Err("its task was found at another line") }
}
