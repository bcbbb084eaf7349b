//! Tasks that wait for tasks, and the ways to spawn them.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, LocalSet};
use tokio_util::sync::{CancellationToken, PollSemaphore};
#[cfg(feature = "join-map")]
use tokio_util::task::JoinMap;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::calls::{notified, rest};
use crate::parked::{self, keep, note_id, spawn, spawn_running};

tokio::task_local! {
    static NUMBER: u32;
}

async fn waits(task: JoinHandle<u32>) {
    let _ = task.await; // @waits
}

async fn spawns_and_waits() {
    let task = spawn("child task", "rest > ~Sleep", rest(2));
    let middle = spawn("task between", "waits > ~JoinHandle", waits(task));
    let _ = middle.await; // @spawns_and_waits
}

async fn blocks() {
    let blocking = tokio::task::spawn_blocking(|| {
        loop {
            std::thread::park();
        }
    });
    blocking.await.expect("no end"); // @blocks_a_thread
}

async fn joins_set() {
    let mut set = JoinSet::new();
    for number in 0..3 {
        let task = set.spawn(rest(number));
        note_id("task of a JoinSet", "suspended", "rest > ~Sleep", &task);
    }
    while let Some(result) = set.join_next().await {
        // @joins_set
        drop(result);
    }
}

async fn joins_all_of_set(notify: Arc<Notify>) {
    let mut set = JoinSet::new();
    let child = async move {
        notified(notify).await; // @child_of_set
    };
    let task = set.spawn(child);
    note_id("block of a JoinSet", "suspended", "child_of_set > notified > ~Notified", &task);
    set.join_all().await; // @joins_all_of_set
}

#[cfg(feature = "join-map")]
async fn joins_map() {
    let mut map = JoinMap::new();
    map.spawn("key", async {
        rest(1).await; // @task_of_map
    });
    map.join_next().await; // @joins_map
}

async fn tracks(tracker: TaskTracker) {
    tracker.close();
    tracker.wait().await; // @tracks
}

async fn cancelled(token: CancellationToken) {
    token.cancelled().await; // @cancelled
}

async fn until_cancelled(token: CancellationToken) {
    token.run_until_cancelled(rest(1)).await; // @until_cancelled
}

async fn aborts_on_drop() {
    let task = AbortOnDropHandle::new(spawn("task to abort", "rest > ~Sleep", rest(1)));
    let _ = task.await; // @aborts_on_drop
}

async fn scoped() {
    let inner = async {
        rest(NUMBER.get()).await // @in_scope
    };
    NUMBER.scope(3, inner).await; // @scoped
}

async fn unconstrained() {
    tokio::task::unconstrained(rest(1)).await; // @unconstrained
}

async fn polls_semaphore() {
    let semaphore = Arc::new(tokio::sync::Semaphore::new(0));
    let mut semaphore = PollSemaphore::new(semaphore);
    std::future::poll_fn(|context| semaphore.poll_acquire(context)).await; // @polls_semaphore
}

async fn runs() {
    tokio::task::block_in_place(|| {
        loop {
            std::thread::park();
        }
    })
}

pub(super) fn spawn_all() {
    let notify = Arc::new(Notify::new());
    spawn("JoinHandle", "spawns_and_waits > ~JoinHandle", spawns_and_waits());
    spawn("spawn_blocking", "blocks_a_thread > ~JoinHandle", blocks());
    spawn("JoinSet", "joins_set > ~join_set", joins_set());
    spawn("JoinSet, all", "joins_all_of_set > ~join_set", joins_all_of_set(notify.clone()));
    #[cfg(feature = "join-map")]
    {
        parked::expect("task of a JoinMap", 1, "task_of_map > rest > ~Sleep");
        spawn("JoinMap", "joins_map > ~join_map", joins_map());
    }
    let tracker = TaskTracker::new();
    let tracked = tracker.track_future(notified(notify));
    spawn("tracked task", "notified > ~Notified", tracked);
    spawn("TaskTracker", "tracks > ~Notified", tracks(tracker));
    let token = CancellationToken::new();
    keep(token.clone());
    spawn("CancellationToken", "cancelled > ~Notified", cancelled(token.child_token()));
    let tree = "until_cancelled > {rest > ~Sleep, ~Notified}";
    spawn("run_until_cancelled", tree, until_cancelled(token));
    spawn("AbortOnDropHandle", "aborts_on_drop > ~JoinHandle", aborts_on_drop());
    spawn("task-local", "scoped > in_scope > rest > ~Sleep", scoped());
    spawn("unconstrained", "unconstrained > rest > ~Sleep", unconstrained());
    spawn("PollSemaphore", "polls_semaphore > ~Acquire", polls_semaphore());
    spawn_running("block_in_place", runs());
}

async fn stays(number: std::rc::Rc<u32>) {
    rest(*number).await; // @stays
}

async fn spawns_here() {
    let child = async {
        rest(1).await // @local_child
    };
    let task = tokio::task::spawn_local(child);
    let task = parked::note("local child", "suspended", "local_child > rest > ~Sleep", task);
    let _ = task.await; // @spawns_here
}

/// Of a thread of their own.
pub(super) fn spawn_local(set: &LocalSet) {
    let number = std::rc::Rc::new(1);
    parked::spawn_local(set, "LocalSet", "stays > rest > ~Sleep", stays(number));
    parked::spawn_local(set, "LocalSet, nested", "spawns_here > ~JoinHandle", spawns_here());
}

/// Of a runtime that nobody runs.
pub(super) fn spawn_new(runtime: &Handle) {
    parked::spawn_new(runtime, "never polled", "?", rest(1));
    let block = async {
        rest(2).await;
    };
    parked::spawn_new(runtime, "never polled block", "?", block);
}
