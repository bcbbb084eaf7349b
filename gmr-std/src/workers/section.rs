//! An ordinary section: a closure that may allocate, lock and panic.
//!
//! 1. A report's supervisor hands it to a worker ([`super::pool`]).
//! 2. The worker runs the closure, and records what it returned as a blob:
//!    flattened and masked like a configuration.
//! 3. The supervisor replays the blob. A closure that did not return in time
//!    leaves nothing but its worker's stack.
//!
//! Limits: the recording's ([`crate::config`]): 1 MiB in all. What is recorded
//! is kept until the closure runs again.
//!
//! # Safety
//!
//! `output` is the worker's between `begin` and `finish`, and the supervisor's
//! when the hand-off is done ([`Handoff`]).
#![expect(unsafe_code, reason = "the output changes hands; a signal-safe section")]

use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use gmr_core::section::{SectionError, SectionResult, SectionWriter, SignalSafeSection};

use super::handoff::{GaveUp, Handoff, Refused};
use super::panics;
use super::pool::Pool;
use crate::section::{Generator, Output};

/// See the module's page.
pub(crate) struct Section {
    pub(super) handoff: Handoff,
    generator: Mutex<Generator>,
    output: UnsafeCell<Option<Output>>,
    pool: &'static Pool,
    /// The box it lives in: what travels to a worker, which may have to free it.
    this: AtomicPtr<Section>,
}

// SAFETY: the generator is behind a mutex, the output under the hand-off's
// protocol; both are `Send`.
unsafe impl Sync for Section {}

impl core::fmt::Debug for Section {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Section").field("handoff", &self.handoff).finish_non_exhaustive()
    }
}

impl Section {
    /// Makes one and lets go of it: [`detach`](Self::detach) takes it back.
    pub(crate) fn let_go(generator: Generator, pool: &'static Pool) -> NonNull<Section> {
        let section = NonNull::from(Box::leak(Box::new(Section {
            handoff: Handoff::new(),
            generator: Mutex::new(generator),
            output: UnsafeCell::new(None),
            pool,
            this: AtomicPtr::new(ptr::null_mut()),
        })));
        // SAFETY: made above.
        unsafe { section.as_ref() }.this.store(section.as_ptr(), Ordering::Release);
        section
    }

    /// The pointer that owns it.
    pub(super) fn this(&self) -> *mut Section {
        self.this.load(Ordering::Acquire)
    }

    /// Nobody will run it again: frees it, or leaves that to the worker that is
    /// with it.
    ///
    /// # Safety
    ///
    /// Of [`let_go`](Self::let_go), once, and no report can reach it any more.
    pub(crate) unsafe fn detach(section: NonNull<Section>) {
        // SAFETY: alive until it is freed.
        let is_free = unsafe { section.as_ref() }.handoff.detach();
        if is_free {
            // SAFETY: no worker is with it.
            unsafe { Section::free(section) };
        }
    }

    /// Frees it. What the closure had may panic when it is dropped: whoever is
    /// here goes on.
    ///
    /// # Safety
    ///
    /// Of [`let_go`](Self::let_go), once, and nobody can reach it any more.
    pub(crate) unsafe fn free(section: NonNull<Section>) {
        // SAFETY: made by `let_go` from a box.
        let owned = unsafe { Box::from_raw(section.as_ptr()) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(owned))) {
            // Its own drop may panic too.
            std::mem::forget(payload);
        }
    }

    /// Runs the closure. For the worker that has begun the hand-off.
    pub(super) fn produce(&self) {
        // A panic of an earlier run is no reason not to try again.
        let mut generator = self.generator.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = self.pool.redaction();
        let output = panics::catch(|| generator(policy))
            .unwrap_or_else(|message| Output::failed("it panicked", &message, policy));
        drop(generator);
        // SAFETY: the worker's; see the module's page.
        unsafe { *self.output.get() = Some(output) };
    }

    fn replay(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        // SAFETY: the supervisor's; see the module's page.
        let output = unsafe { &*self.output.get() };
        match output {
            Some(Output::Returned(recorded)) => {
                recorded.blob.replay(&mut out.exposed())?;
                if recorded.is_cut { Err(SectionError::SizeLimit) } else { Ok(()) }
            }
            Some(Output::Failed { message, reason }) => {
                message.replay(&mut out.exposed())?;
                Err(SectionError::Failed(reason))
            }
            None => Err(SectionError::Failed("its worker left nothing")),
        }
    }
}

const NO_WORKER: SectionError =
    SectionError::Skipped("no worker came for it: all are stuck or busy");

// SAFETY: claims and waits by atomics and futexes with the section's deadline;
// replaying is signal-safe. Nothing is allocated, locked or freed here.
unsafe impl SignalSafeSection for Section {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        if self.pool.is_silent() && !self.handoff.is_stuck() {
            return Err(NO_WORKER);
        }
        match self.handoff.claim() {
            Ok(()) => {}
            Err(Refused::Stuck { tid: Some(tid) }) => {
                return Err(SectionError::Stuck { tid, is_earlier: true });
            }
            Err(Refused::Stuck { tid: None }) => return Err(NO_WORKER),
            Err(Refused::InUse) => {
                return Err(SectionError::Skipped("another report is just running it"));
            }
        }
        match self.pool.run_elsewhere(self, &|| out.check().is_err()) {
            GaveUp::Done => {
                let outcome = self.replay(out);
                self.handoff.release();
                outcome
            }
            GaveUp::NotTaken | GaveUp::Late { tid: None } => Err(NO_WORKER),
            GaveUp::Late { tid: Some(tid) } => Err(SectionError::Stuck { tid, is_earlier: false }),
        }
    }

    fn is_stuck(&self) -> bool {
        self.handoff.is_stuck()
    }
}
