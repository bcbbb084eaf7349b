//! Every wait of tokio::sync, and those of the futures crate.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::sync::{
    Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, mpsc, oneshot, watch,
};

use super::calls::{notified, rest};
use crate::parked::{keep, spawn};

async fn locks(mutex: Arc<Mutex<u32>>) {
    let mut number = mutex.lock().await; // @locks
    *number += 1;
}

async fn locks_owned(mutex: Arc<Mutex<u32>>) {
    let _ = mutex.lock_owned().await; // @locks_owned
}

async fn holds(mutex: Arc<Mutex<u32>>, notify: Arc<Notify>) {
    let mut number = mutex.try_lock().expect("a free lock");
    notified(notify).await; // @holds
    *number += 1;
}

async fn reads(lock: Arc<RwLock<u32>>) {
    let _ = lock.read().await; // @reads
}

async fn writes(lock: Arc<RwLock<u32>>) {
    let _ = lock.write().await; // @writes
}

async fn acquires(semaphore: Arc<Semaphore>) {
    let _ = semaphore.acquire().await; // @acquires
}

async fn acquires_many(semaphore: Arc<Semaphore>) {
    let _ = semaphore.acquire_many_owned(3).await; // @acquires_many
}

async fn meets(barrier: Arc<Barrier>) {
    barrier.wait().await; // @meets
}

async fn receives(mut receiver: mpsc::Receiver<u8>) {
    while let Some(number) = receiver.recv().await {
        // @receives
        std::hint::black_box(number);
    }
}

async fn receives_many(mut receiver: mpsc::UnboundedReceiver<u8>) {
    let mut all = Vec::new();
    receiver.recv_many(&mut all, 10).await; // @receives_many
}

async fn receives_unbounded(mut receiver: mpsc::UnboundedReceiver<u8>) {
    receiver.recv().await; // @receives_unbounded
}

async fn sends(sender: mpsc::Sender<u8>) {
    for number in 0.. {
        let _ = sender.send(number).await; // @sends
    }
}

async fn reserves(sender: mpsc::Sender<u8>) {
    let first = sender.reserve().await;
    let _ = sender.reserve_many(1).await; // @reserves
    drop(first);
}

async fn outlasts(sender: mpsc::Sender<u8>) {
    sender.closed().await; // @outlasts
}

async fn receives_once(receiver: oneshot::Receiver<u8>) {
    let _ = receiver.await; // @receives_once
}

async fn outlasts_once(mut sender: oneshot::Sender<u8>) {
    sender.closed().await; // @outlasts_once
}

async fn watches(mut receiver: watch::Receiver<u8>) {
    let _ = receiver.changed().await; // @watches
}

async fn watches_for(mut receiver: watch::Receiver<u8>) {
    let _ = receiver.wait_for(|number| *number > 3).await; // @watches_for
}

async fn hears(mut receiver: broadcast::Receiver<u8>) {
    let _ = receiver.recv().await; // @hears
}

async fn initializes(cell: Arc<OnceCell<u32>>) {
    let make = || async {
        rest(1).await // @initializer
    };
    cell.get_or_init(make).await; // @initializes
}

async fn waits_for_initializer(cell: Arc<OnceCell<u32>>) {
    cell.get_or_init(|| rest(2)).await; // @waits_for_initializer
}

async fn waits_by_reference(notify: Arc<Notify>) {
    let notified = notify.notified();
    tokio::pin!(notified);
    notified.as_mut().enable();
    notified.await; // @waits_by_reference
}

async fn locks_of_futures(mutex: Arc<futures::lock::Mutex<u32>>) {
    *mutex.lock().await += 1; // @locks_of_futures
}

async fn receives_of_futures(mut receiver: futures::channel::mpsc::Receiver<u8>) {
    receiver.next().await; // @receives_of_futures
}

async fn sends_of_futures(mut sender: futures::channel::mpsc::Sender<u8>) {
    for number in 0.. {
        let _ = sender.send(number).await; // @sends_of_futures
    }
}

async fn receives_once_of_futures(receiver: futures::channel::oneshot::Receiver<u8>) {
    let _ = receiver.await; // @receives_once_of_futures
}

fn spawn_locks() {
    let notify = Arc::new(Notify::new());
    let mutex = Arc::new(Mutex::new(0));
    keep(mutex.clone().try_lock_owned().expect("a free lock"));
    spawn("Mutex", "locks > ~Acquire", locks(mutex.clone()));
    spawn("Mutex, owned", "locks_owned > ~Acquire", locks_owned(mutex));
    let free = Arc::new(Mutex::new(0));
    spawn("held Mutex", "holds > notified > ~Notified", holds(free, notify.clone()));
    let lock = Arc::new(RwLock::new(0));
    keep(lock.clone().try_write_owned().expect("a free lock"));
    spawn("RwLock, read", "reads > ~Acquire", reads(lock.clone()));
    spawn("RwLock, write", "writes > ~Acquire", writes(lock));
    let semaphore = Arc::new(Semaphore::new(1));
    keep(semaphore.clone().try_acquire_owned().expect("a permit"));
    spawn("Semaphore", "acquires > ~Acquire", acquires(semaphore.clone()));
    spawn("Semaphore, many", "acquires_many > ~Acquire", acquires_many(semaphore));
    spawn("Barrier", "meets > ~barrier", meets(Arc::new(Barrier::new(2))));
    spawn("Notified, enabled", "waits_by_reference > ~Notified", waits_by_reference(notify));
    let cell = Arc::new(OnceCell::new());
    let tree = "initializes > initializer > rest > ~Sleep";
    let first = spawn("OnceCell, the first", tree, initializes(cell.clone()));
    let second = async move {
        // Only after the first has been polled is it the second.
        while !first.is_finished() && !is_initializing(&cell) {
            tokio::task::yield_now().await;
        }
        waits_for_initializer(cell).await; // @second
    };
    spawn("OnceCell, the second", "second > waits_for_initializer > ~Acquire", second);
    let mutex = Arc::new(futures::lock::Mutex::new(0));
    keep(mutex.try_lock_owned().expect("a free lock"));
    spawn("futures Mutex", "locks_of_futures > ~MutexLockFuture", locks_of_futures(mutex));
}

/// Whether somebody is at it: its debug output does not say, a second attempt
/// to set it does.
fn is_initializing(cell: &OnceCell<u32>) -> bool {
    matches!(cell.set(1), Err(tokio::sync::SetError::InitializingError(_)))
}

fn spawn_channels() {
    let (sender, receiver) = mpsc::channel(1);
    keep(sender);
    spawn("mpsc", "receives > ~mpsc", receives(receiver));
    let (sender, receiver) = mpsc::unbounded_channel();
    keep(sender);
    spawn("mpsc, unbounded", "receives_unbounded > ~mpsc", receives_unbounded(receiver));
    let (sender, receiver) = mpsc::unbounded_channel();
    keep(sender);
    spawn("mpsc, many", "receives_many > ~mpsc", receives_many(receiver));
    let (sender, receiver) = mpsc::channel(2);
    keep(receiver);
    spawn("full mpsc", "sends > ~Acquire", sends(sender));
    let (sender, receiver) = mpsc::channel(1);
    keep(receiver);
    spawn("mpsc, reserve", "reserves > ~Acquire", reserves(sender));
    let (sender, receiver) = mpsc::channel(1);
    keep(receiver);
    spawn("mpsc, closed", "outlasts > ~Notified", outlasts(sender));
    let (sender, receiver) = oneshot::channel();
    keep(sender);
    spawn("oneshot", "receives_once > ~oneshot", receives_once(receiver));
    let (sender, receiver) = oneshot::channel();
    keep(receiver);
    spawn("oneshot, closed", "outlasts_once > ~oneshot", outlasts_once(sender));
    let (sender, receiver) = watch::channel(0);
    keep(sender);
    spawn("watch", "watches > ~Notified", watches(receiver.clone()));
    spawn("watch for", "watches_for > ~Notified", watches_for(receiver));
    let (sender, receiver) = broadcast::channel(3);
    keep(sender);
    spawn("broadcast", "hears > ~broadcast", hears(receiver));
    let (sender, receiver) = futures::channel::mpsc::channel(1);
    keep(sender);
    spawn("futures mpsc", "receives_of_futures > ~Next", receives_of_futures(receiver));
    let (sender, receiver) = futures::channel::mpsc::channel(1);
    keep(receiver);
    spawn("full futures mpsc", "sends_of_futures > ~Send", sends_of_futures(sender));
    let (sender, receiver) = futures::channel::oneshot::channel();
    keep(sender);
    let waits = receives_once_of_futures(receiver);
    spawn("futures oneshot", "receives_once_of_futures > ~oneshot", waits);
}

pub(super) fn spawn_all() {
    spawn_locks();
    spawn_channels();
}
