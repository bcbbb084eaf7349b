//! The sections Green Threads and Runtime.
//!
//! 1. While the report collects, all is looked at once, for both
//!    ([`collection`]): threads, lists of tasks, workers.
//! 2. What is abnormal becomes findings ([`findings`]).
//! 3. The sections write what was collected ([`tasks`], [`runtime`]).
//!
//! A supervisor takes the collection with `try_lock`: if an abandoned report is still
//! inside, the next one does without, and says so.
//!
//! # Safety
//!
//! The contract of [`SignalSafeSection`] is kept: no allocation (all memory is there
//! since the setup, and full is full), no lock but `try_lock`, no panic (slices are
//! asked by `get`), loops are over what was collected or ask `check`.
#![expect(unsafe_code, reason = "signal-safe sections")]

mod collection;
mod findings;
mod runtime;
mod tasks;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};

use gmr_core::model::FindingCode;
use gmr_core::section::Stacks;
use gmr_core::{Collecting, Place, SectionError, SectionResult, SectionWriter, SignalSafeSection};

use crate::setup::{NO_ROOM, State};
pub(crate) use collection::Collection;

pub(crate) const GREEN_THREADS: &str = "Green Threads";
pub(crate) const RUNTIME: &str = "Runtime";

/// A collection that nobody else is at.
fn try_lock(collection: &Mutex<Collection>) -> Option<MutexGuard<'_, Collection>> {
    match collection.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Writes what was collected for the report that `out` belongs to.
fn with_collected(
    state: &OnceLock<&'static State>,
    out: &mut SectionWriter<'_>,
    write: impl FnOnce(&'static State, &mut Collection, &mut SectionWriter<'_>) -> SectionResult,
) -> SectionResult {
    const NOT_COLLECTED: SectionError =
        SectionError::Skipped("nothing was collected: an earlier report is still at it");
    let Some(state) = state.get().copied() else {
        return Err(SectionError::Skipped("the setup has not ended"));
    };
    let collection = state.collection.get();
    let Some(collection) = collection else {
        let is_over = state.places().is_some();
        let why = if is_over { NO_ROOM } else { "the setup has not ended" };
        return Err(SectionError::Skipped(why));
    };
    let mut collection = try_lock(collection).ok_or(NOT_COLLECTED)?;
    if collection.sequence != out.sequence() {
        return Err(NOT_COLLECTED);
    }
    write(state, &mut collection, out)
}

/// Green Threads: every task. It collects for both.
#[derive(Debug)]
pub(crate) struct GreenThreads {
    state: OnceLock<&'static State>,
    /// The report that asked last: what was collected for another gives no findings.
    sequence: AtomicU64,
}

impl GreenThreads {
    pub(crate) const fn new() -> Self {
        GreenThreads { state: OnceLock::new(), sequence: AtomicU64::new(0) }
    }

    pub(crate) fn belongs_to(&self, state: &'static State) {
        let _ = self.state.set(state);
    }
}

// SAFETY: see the head of this file.
unsafe impl SignalSafeSection for GreenThreads {
    fn collect(&self, report: &mut dyn Collecting) {
        let Some(state) = self.state.get().copied() else { return };
        self.sequence.store(report.sequence(), Ordering::Release);
        let Some(mut collection) = state.collection.get().and_then(try_lock) else { return };
        collection.collect(state, report);
    }

    fn findings(&self, stacks: &dyn Stacks, give: &mut dyn FnMut(FindingCode, &str, &[u32])) {
        let Some(state) = self.state.get().copied() else { return };
        let Some(collection) = state.collection.get().and_then(try_lock) else { return };
        if collection.sequence != self.sequence.load(Ordering::Acquire) {
            return;
        }
        findings::give(state, &collection, stacks, give);
    }

    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        with_collected(&self.state, out, tasks::write)
    }

    fn place(&self) -> Place {
        Place::BehindThreads
    }
}

/// Runtime: the runtimes and their workers.
#[derive(Debug)]
pub(crate) struct RuntimeSection(OnceLock<&'static State>);

impl RuntimeSection {
    pub(crate) const fn new() -> Self {
        RuntimeSection(OnceLock::new())
    }

    pub(crate) fn belongs_to(&self, state: &'static State) {
        let _ = self.0.set(state);
    }
}

// SAFETY: see the head of this file.
unsafe impl SignalSafeSection for RuntimeSection {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        with_collected(&self.0, out, runtime::write)
    }

    fn place(&self) -> Place {
        Place::BehindThreads
    }
}
