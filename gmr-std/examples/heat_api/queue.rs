//! A bounded queue between the acceptor and the workers.
//!
//! When it is full, `push` waits: the kernel's listen backlog then holds the
//! newcomers, and no memory of ours grows with the load. `close` lets both
//! sides come to an end; what is queued by then is still handed out.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    not_empty: Condvar,
    not_full: Condvar,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Queue {
            state: Mutex::new(State { items: VecDeque::with_capacity(capacity), closed: false }),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
            capacity,
        }
    }

    /// Appends `item` and returns how many now wait, or `None` if the queue is
    /// closed.
    pub(crate) fn push(&self, item: T) -> Option<usize> {
        let mut state = self
            .not_full
            .wait_while(self.lock(), |state| !state.closed && state.items.len() >= self.capacity)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state.items.push_back(item);
        self.not_empty.notify_one();
        Some(state.items.len())
    }

    /// Takes the oldest item, or `None` once the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self
            .not_empty
            .wait_while(self.lock(), |state| !state.closed && state.items.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front();
        self.not_full.notify_one();
        item
    }

    /// How full it is, for a report.
    pub(crate) fn state(&self) -> impl Serialize + use<T> {
        #[derive(Serialize)]
        struct Fill {
            waiting: usize,
            capacity: usize,
            closed: bool,
        }
        let state = self.lock();
        Fill { waiting: state.items.len(), capacity: self.capacity, closed: state.closed }
    }

    /// Whether somebody waits for a worker.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.lock().items.is_empty()
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.not_empty.notify_all();
        self.not_full.notify_all();
    }

    /// No code under this lock can leave the queue half changed, so a lock that
    /// a panic has poisoned is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
