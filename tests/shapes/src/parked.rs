//! The tasks that are there, and waiting until they rest.

use std::any::Any;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle, LocalSet};

use crate::truth::{self, Below};

/// At rest for so long is at rest: a wake-up that is on its way takes
/// microseconds.
const REST: Duration = Duration::from_millis(150);

/// How often that is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Nothing here takes as long.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is true of all tasks.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Truth {
    tasks: Vec<Task>,
    anonymous: Vec<Anonymous>,
}

/// A task with what is true of it.
#[derive(Debug, Clone, Serialize)]
struct Task {
    name: &'static str,
    id: u64,
    state: &'static str,
    tree: Below,
}

/// Tasks that a library spawns, whose ids nobody tells.
#[derive(Debug, Clone, Serialize)]
struct Anonymous {
    name: &'static str,
    count: usize,
    tree: Below,
}

static TRUTH: Mutex<Truth> = Mutex::new(Truth { tasks: Vec::new(), anonymous: Vec::new() });
static ALIVE: Mutex<Vec<(&str, AbortHandle)>> = Mutex::new(Vec::new());
static KEPT: Mutex<Vec<Box<dyn Any + Send>>> = Mutex::new(Vec::new());

/// Keeps for ever what a task's wait would end without: the other end of a
/// channel, a guard.
pub(crate) fn keep<T: Send + 'static>(value: T) {
    KEPT.lock().expect("a lock").push(Box::new(value));
}

/// Spawns a task of which `tree` is true.
pub(crate) fn spawn<F>(name: &'static str, tree: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    note(name, "suspended", tree, tokio::spawn(future))
}

/// The same on a runtime that nobody runs: it stays new.
pub(crate) fn spawn_new<F>(runtime: &Handle, name: &'static str, tree: &str, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    drop(note(name, "new", tree, runtime.spawn(future)));
}

/// The same on a set of tasks that stay on their thread.
pub(crate) fn spawn_local<F>(set: &LocalSet, name: &'static str, tree: &str, future: F)
where
    F: Future + 'static,
{
    drop(note(name, "suspended", tree, set.spawn_local(future)));
}

/// A task that is being polled for ever.
pub(crate) fn spawn_running<F>(name: &'static str, future: F)
where
    F: Future<Output: Send> + Send + 'static,
{
    drop(note(name, "running", "?", tokio::spawn(future)));
}

/// Notes what is true of a task that was spawned in its own way.
pub(crate) fn note<T>(
    name: &'static str,
    state: &'static str,
    tree: &str,
    task: JoinHandle<T>,
) -> JoinHandle<T> {
    note_id(name, state, tree, &task.abort_handle());
    task
}

/// The same, of what a `JoinSet` returns.
pub(crate) fn note_id(name: &'static str, state: &'static str, tree: &str, task: &AbortHandle) {
    let id = task.id().to_string().parse().expect("a number");
    let tree = truth::tree(tree);
    TRUTH.lock().expect("a lock").tasks.push(Task { name, id, state, tree });
    ALIVE.lock().expect("a lock").push((name, task.clone()));
}

/// Announces tasks that a library spawns.
pub(crate) fn expect(name: &'static str, count: usize, tree: &str) {
    let anonymous = Anonymous { name, count, tree: truth::tree(tree) };
    TRUTH.lock().expect("a lock").anonymous.push(anonymous);
}

/// What is true.
pub(crate) fn truth() -> Truth {
    TRUTH.lock().expect("a lock").clone()
}

/// Waits until no task of the runtime moves any more.
///
/// # Errors
///
/// If they do not come to rest, or one of them has ended.
pub(crate) fn wait_until_at_rest(runtime: &Handle) -> Result<(), String> {
    let metrics = runtime.metrics();
    let counts = || -> Vec<u64> {
        (0..metrics.num_workers()).map(|worker| metrics.worker_park_unpark_count(worker)).collect()
    };
    let is_parked = |counts: &[u64]| counts.iter().all(|count| count % 2 == 1);
    let began = Instant::now();
    let (mut before, mut since) = (counts(), Instant::now());
    loop {
        std::thread::sleep(INTERVAL);
        let now = counts();
        if now != before || !is_parked(&now) || metrics.global_queue_depth() > 0 {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() >= REST {
            break;
        }
        if began.elapsed() > DEADLINE {
            return Err("the tasks do not come to rest".to_owned());
        }
    }
    let alive = ALIVE.lock().expect("a lock");
    match alive.iter().find(|(_, task)| task.is_finished()) {
        Some((name, _)) => Err(format!("{name} has ended")),
        None => Ok(()),
    }
}
