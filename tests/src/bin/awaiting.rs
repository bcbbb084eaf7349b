//! Async functions at known lines, for the await table: `tests/await_table.rs`
//! reads this program's debug information and compares it with the marks.
//!
//! It runs, so that nothing is left out; it waits for nothing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};

async fn outer(id: u32) -> u32 {
    let text = inner(id, "x").await; // outer
    text.len() as u32
}

async fn inner<T: Into<String>>(id: u32, text: T) -> String {
    tokio::time::sleep(Duration::from_millis(u64::from(id))).await; // inner
    text.into()
}

struct Store {
    value: Mutex<u32>,
}

impl Store {
    async fn add(&self, more: u32) -> u32 {
        let mut value = self.value.lock().await; // add
        *value += more;
        *value
    }
}

async fn both(store: &Store) {
    tokio::select! { // both
        _ = outer(1) => {}
        _ = store.add(1) => {}
    }
    tokio::join!(outer(0), store.add(2)); // join
}

macro_rules! wait_for {
    ($future:expr) => {
        $future.await // own macro
    };
}

async fn in_macro() {
    wait_for!(outer(0));
}

fn boxed() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {
        outer(0).await; // boxed
    })
}

async fn receive(receiver: oneshot::Receiver<u8>) {
    let _ = receiver.await; // receive
}

async fn spawned() {
    let handle = tokio::spawn(boxed());
    let _ = handle.await; // spawned
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let (sender, receiver) = oneshot::channel();
    runtime.block_on(async {
        let _ = sender.send(1);
        let store: &'static Store = Box::leak(Box::new(Store { value: Mutex::new(0) }));
        let tasks = [
            tokio::spawn(both(store)),
            tokio::spawn(in_macro()),
            tokio::spawn(receive(receiver)),
            tokio::spawn(spawned()),
        ];
        for task in tasks {
            task.await.expect("no panic");
        }
        let blocking = tokio::task::spawn_blocking(|| 1).await;
        assert_eq!(blocking.expect("no panic"), 1);
    });
}
