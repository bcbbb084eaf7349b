//! What stands for a database: so many queries at once, one of them after the
//! other in the part that is shared, each taking its time.
//!
//! In a report, tasks that wait for a connection, for the lock and for the answer
//! look different. That is the point.

use std::time::Duration;

use tokio::{
    sync::{Mutex, Semaphore},
    time,
};

use crate::config;

pub(crate) struct Database {
    /// One permit for each connection.
    pool: Semaphore,
    /// The stacks, as a transaction sees them.
    stacks: Mutex<Stacks>,
    query: Duration,
}

#[derive(Default)]
struct Stacks {
    created: u64,
    cleaned: u64,
}

/// A query's answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) created: u64,
    pub(crate) cleaned: u64,
}

impl Database {
    pub(crate) fn new(config: &config::Database) -> Self {
        Database {
            pool: Semaphore::new(config.max_pool_size),
            stacks: Mutex::default(),
            query: config.query(),
        }
    }

    /// What there is. Queries run beside each other.
    pub(crate) async fn read(&self) -> Row {
        let _connection = self.connection().await;
        time::sleep(self.query).await;
        let stacks = self.stacks.lock().await;
        Row { created: stacks.created, cleaned: stacks.cleaned }
    }

    /// One more. Transactions wait for each other.
    pub(crate) async fn create(&self) {
        let _connection = self.connection().await;
        let mut stacks = self.stacks.lock().await;
        time::sleep(self.query / 4).await;
        stacks.created += 1;
    }

    /// Cleans up.
    pub(crate) async fn clean(&self) {
        let _connection = self.connection().await;
        let mut stacks = self.stacks.lock().await;
        time::sleep(self.query / 4).await;
        stacks.cleaned = stacks.created;
    }

    async fn connection(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.pool.acquire().await.expect("nobody closes the pool")
    }
}
