//! A thread that composes reports: lent by the program, or gmr-std's.
//!
//! 1. Wait for requests and orders, without a timeout: nothing runs at rest.
//! 2. There is one: begin the report. If another supervisor is at one, wait until
//!    it is done or overdue; overdue, take it over.
//! 3. After a report look again: what was asked meanwhile gets one more, after
//!    a rest as long as the report was. So a storm of requests costs at most
//!    half of one core, and most of it is coalesced.

use core::sync::atomic::Ordering;

use crate::bank::Lease;
use crate::compose::{self, Job};
use crate::engine::Engine;
use crate::error::RunError;
use crate::sys::signal::Mask;
use crate::sys::{clock, futex};

/// Runs until shutdown.
pub(crate) fn run(engine: &'static Engine) -> Result<(), RunError> {
    let tid = crate::sys::gettid();
    let leased = engine
        .banks
        .iter()
        .enumerate()
        .find_map(|(bank, cell)| Some((bank, cell.as_ref()?, cell.as_ref()?.lease(tid)?)));
    let Some((bank, cell, mut lease)) = leased else { return Err(RunError::Taken) };
    engine.add_own_thread(tid);
    let mut mask = Mask::all_asynchronous();
    let trigger = crate::signal::trigger::trigger_signal();
    if trigger != 0 {
        mask = mask.without(trigger);
    }
    let before = mask.apply();
    #[expect(unsafe_code, reason = "a stack of the bank's own")]
    // SAFETY: exclusive with the lease; `supervise` never unwinds.
    unsafe {
        crate::sys::stack::run_on(cell.stack, || supervise(engine, &mut lease, bank));
    }
    before.apply();
    engine.remove_own_thread(tid);
    drop(lease);
    Ok(())
}

fn supervise(engine: &Engine, lease: &mut Lease<'_>, bank: usize) {
    let mut last = Job::Order;
    loop {
        let (word, seen) = engine.requests.word();
        if engine.is_shut_down.load(Ordering::Acquire) != 0 {
            return;
        }
        let Some(job) = next_job(engine, last) else {
            futex::wait(word, seen, None);
            continue;
        };
        let began_ns = clock::monotonic_ns();
        let rest_ns = engine.rest_until_ns.load(Ordering::Acquire).saturating_sub(began_ns);
        if rest_ns > 0 {
            futex::wait(word, seen, Some(rest_ns));
            continue;
        }
        match compose::serve(engine, lease, bank, job, None) {
            Ok(()) => {
                last = job;
                let now = clock::monotonic_ns();
                let rest_ns = now.saturating_sub(began_ns).min(MAX_REST_NS);
                engine.rest_until_ns.store(now.saturating_add(rest_ns), Ordering::Release);
            }
            Err(other) => {
                let due_ns = compose::due_ns(engine, other.bank());
                if began_ns >= due_ns {
                    compose::take_over(engine, lease, bank, job, other);
                    last = job;
                } else {
                    futex::wait(word, seen, Some(due_ns.saturating_sub(began_ns)));
                }
            }
        }
    }
}

/// What to do next: where there are requests and orders, by turns.
fn next_job(engine: &Engine, last: Job) -> Option<Job> {
    match (engine.requests.is_pending(), engine.orders.is_pending()) {
        (true, true) if last == Job::Requests => Some(Job::Order),
        (true, _) => Some(Job::Requests),
        (false, true) => Some(Job::Order),
        (false, false) => None,
    }
}

/// Longest rest after a report: an operator who asks again should not wait for
/// long because the first report was slow.
pub(crate) const MAX_REST_NS: u64 = 1_000_000_000;

/// Serves as a worker until shutdown, or until `work` returns `false`. On a
/// normal thread.
#[cfg(feature = "stacks")]
pub(crate) fn run_worker(engine: &Engine, work: &mut dyn FnMut() -> bool) {
    let tid = crate::sys::gettid();
    engine.add_own_thread(tid);
    engine.workers.run(&|| engine.tables.refresh_if_changed(), work, &|| {
        engine.is_shut_down.load(Ordering::Acquire) != 0
    });
    engine.remove_own_thread(tid);
}
