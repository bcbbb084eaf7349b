//! The service's own part of a report: "Some Special Section".
//!
//! A signal-safe section is made of atomics that the service keeps up to date
//! while it works, and of code that only reads them. That is why it is still
//! written when a thread is stuck with the allocator's lock in its hand.

use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use gmr_std::{SectionResult, SectionWriter, SignalSafeSection};

use crate::{config::MAX_WORKERS, routes::Route};

/// The one instance. Sections live as long as the process, hence a static.
pub(crate) static SPECIAL: Special = Special::new();

pub(crate) struct Special {
    requests_served: AtomicU64,
    connections: AtomicU64,
    /// Indexed by `Route as usize`, as is `Route::ALL`.
    by_route: [AtomicU64; Route::ALL.len()],
    queue_capacity: AtomicUsize,
    queue_high_water: AtomicUsize,
    workers: AtomicUsize,
    /// What each worker is doing: an `Activity`.
    activities: [AtomicU8; MAX_WORKERS],
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Activity {
    WaitingForConnection,
    WaitingForRequest,
    Answering,
}

impl Activity {
    const fn text(code: u8) -> &'static str {
        match code {
            0 => "waiting for a connection",
            1 => "waiting for a request",
            _ => "answering",
        }
    }
}

impl Special {
    const fn new() -> Self {
        Special {
            requests_served: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            by_route: [const { AtomicU64::new(0) }; Route::ALL.len()],
            queue_capacity: AtomicUsize::new(0),
            queue_high_water: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
            activities: [const { AtomicU8::new(0) }; MAX_WORKERS],
        }
    }

    pub(crate) fn started(&self, workers: usize, queue_capacity: usize) {
        self.workers.store(workers, Relaxed);
        self.queue_capacity.store(queue_capacity, Relaxed);
    }

    pub(crate) fn queued(&self, depth: usize) {
        self.connections.fetch_add(1, Relaxed);
        self.queue_high_water.fetch_max(depth, Relaxed);
    }

    pub(crate) fn served(&self, route: Route) {
        self.requests_served.fetch_add(1, Relaxed);
        if let Some(count) = self.by_route.get(route as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn now(&self, worker: usize, activity: Activity) {
        if let Some(slot) = self.activities.get(worker) {
            slot.store(activity as u8, Relaxed);
        }
    }

    pub(crate) fn requests_served(&self) -> u64 {
        self.requests_served.load(Relaxed)
    }
}

// SAFETY: `generate` loads atomics and passes them and literals to `out`. It
// does not allocate, lock, wait, panic (there is no indexing) or call the
// system.
#[expect(unsafe_code, reason = "implementing the trait is a promise")]
unsafe impl SignalSafeSection for Special {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("requests served", self.requests_served.load(Relaxed))?;
        out.value("connections", self.connections.load(Relaxed))?;
        out.group("queue", |out| {
            out.value("capacity", number(&self.queue_capacity))?;
            out.value("high water", number(&self.queue_high_water))?;
            Ok(())
        })?;
        out.group("requests by route", |out| {
            for (route, count) in Route::ALL.iter().zip(&self.by_route) {
                out.value(route.name(), count.load(Relaxed))?;
            }
            Ok(())
        })?;
        // In the order of their numbers: the first is api-worker-1.
        out.list("workers", |out| {
            for activity in self.activities.iter().take(self.workers.load(Relaxed)) {
                out.item(Activity::text(activity.load(Relaxed)))?;
            }
            Ok(())
        })
    }
}

fn number(atomic: &AtomicUsize) -> u64 {
    u64::try_from(atomic.load(Relaxed)).unwrap_or(u64::MAX)
}
