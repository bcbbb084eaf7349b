//! Reports for a caller: from any thread, into a descriptor of its own.
//!
//! 1. The caller places an order ([`crate::protocol::orders`]) with its
//!    descriptor and view, wakes a supervisor, and waits.
//! 2. A supervisor serves it like a request, by turns with those. It writes to
//!    the order's descriptor only: nothing of it reaches the destination, and
//!    no request is answered by it.
//! 3. If the order's report is overdue, the caller queues it again: another
//!    supervisor takes over and writes a whole one, without the section that the
//!    first one is stuck in.
//!
//! While its order is queued, the caller waits for as many reports, with the
//! rest after each, as there are orders: that is its turn, unless there are
//! requests as well. Then it waits for its own, as long as a supervisor is left
//! that could take over.
//!
//! Limits: what a taken-over attempt wrote stays in the descriptor, before the
//! whole report; [`ReportOutcome::bytes`] counts the latter.

use crate::error::ReportError;
use crate::reporter::Reporter;
use crate::view::ViewKind;

/// A report that was written for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportOutcome {
    /// The report's number. Reports for callers and for requests share one
    /// sequence.
    pub sequence: u64,
    /// Whether its last line says `complete`.
    pub is_complete: bool,
    /// Its size: it is what was written last, and so long.
    pub bytes: u64,
}

#[cfg(gmr_engine)]
impl Reporter {
    /// Writes a report to `fd`, now, and waits for it: for an admin endpoint, or
    /// a tool of the program's own. A thread inside [`run`](Self::run) composes
    /// it; its head says that it was requested by a call of the program.
    ///
    /// It has nothing to do with requests: they are not answered by it, not
    /// coalesced with it, and go to the destination, which sees nothing of it.
    /// It comes also while the destination is released. The counters of
    /// [`stats`](Self::stats) include it. Each call gets a report of its own.
    ///
    /// `fd` is handled by its type like a destination
    /// ([`Options::destination_fd`]). A regular file is best, an anonymous one
    /// of memfd_create(2) for example: a peer that reads slowly makes a
    /// supervisor wait, at most [`Options::output_deadline`]. What is written
    /// begins at the file's offset. If the report had to be begun anew, more
    /// was written than [`ReportOutcome::bytes`], which then is the last part.
    ///
    /// For a normal thread, not for signal handlers: it waits. Where no other
    /// caller does and nothing is stuck, that is one report, after the one in
    /// progress and a second's rest. At the most it is as long as five reports
    /// may take ([`Options::report_deadline`]) and four rests. If it gives up,
    /// `fd` may still be written to until the supervisor that is stuck comes
    /// back.
    ///
    /// [`Options::destination_fd`]: crate::Options::destination_fd
    /// [`Options::output_deadline`]: crate::Options::output_deadline
    /// [`Options::report_deadline`]: crate::Options::report_deadline
    ///
    /// # Errors
    ///
    /// [`ReportError`]. Of the callers that wait, four are served, each in its
    /// turn; more get `Busy`, and so does one whose turn does not come because
    /// reports that are requested come in between.
    pub fn report_to_fd(&self, fd: i32, view: ViewKind) -> Result<ReportOutcome, ReportError> {
        let engine = self.with_supervisors()?;
        engine::order(engine, fd, view)
    }
}

#[cfg(gmr_engine)]
mod engine {
    use core::sync::atomic::Ordering;

    use super::ReportOutcome;
    use crate::engine::{Engine, Order};
    use crate::error::ReportError;
    use crate::protocol::orders::{Answer, MAX_ORDERS, Placed, Progress};
    use crate::sink::destination::Destination;
    use crate::supervise::MAX_REST_NS;
    use crate::switching;
    use crate::sys::{clock, futex, gettid};
    use crate::view::ViewKind;

    /// Longest single wait of a caller whose order is queued.
    const SLICE_NS: u64 = 50_000_000;

    pub(super) fn order(
        engine: &Engine,
        fd: i32,
        view: ViewKind,
    ) -> Result<ReportOutcome, ReportError> {
        if engine.is_own_thread(gettid()) {
            return Err(ReportError::OnSupervisor);
        }
        if engine.supervisors_running() == 0 {
            return Err(ReportError::NoSupervisor);
        }
        let destination = Destination::open(fd, engine.options.supervisors as usize)
            .map_err(|error| ReportError::Destination(switching::describe(fd, error)))?;
        let order = Order { destination, view };
        let placed = engine.orders.place(order).map_err(|_| ReportError::Busy)?;
        call(engine);
        let Answer { sequence, bytes, is_complete } = wait(engine, &placed)?;
        if bytes == 0 {
            return Err(ReportError::NotWritten);
        }
        Ok(ReportOutcome { sequence, is_complete, bytes })
    }

    /// Makes a supervisor look at the orders.
    fn call(engine: &Engine) {
        engine.requests.poke();
        let (word, _) = engine.requests.word();
        futex::wake(word, 1);
    }

    fn wait(engine: &Engine, placed: &Placed<'_, Order>) -> Result<Answer, ReportError> {
        let (deadline_ns, placed_ns) = (report_deadline_ns(engine), clock::monotonic_ns());
        let turn_ns = deadline_ns.saturating_add(MAX_REST_NS).saturating_mul(MAX_ORDERS as u64);
        let give_up_ns = placed_ns.saturating_add(turn_ns);
        loop {
            let seen = engine.stats.finished.load(Ordering::Acquire);
            let progress = placed.progress();
            let now = clock::monotonic_ns();
            let look_again_ns = match progress {
                Progress::Done(answer) => return Ok(answer),
                Progress::Running { bank } => {
                    let due_ns = crate::compose::due_ns(engine, bank);
                    if now >= due_ns {
                        if now >= give_up_ns || engine.supervisors_running() < 2 {
                            return Err(ReportError::Stuck);
                        }
                        placed.queue_again(bank);
                        call(engine);
                        continue;
                    }
                    due_ns
                }
                Progress::Queued => {
                    if engine.is_shut_down.load(Ordering::Acquire) != 0 {
                        return Err(ReportError::ShutDown);
                    }
                    if nobody_takes_over(engine, now) {
                        return Err(ReportError::Stuck);
                    }
                    if now >= give_up_ns {
                        return Err(ReportError::Busy);
                    }
                    // Nobody says when it is taken.
                    give_up_ns.min(now.saturating_add(SLICE_NS))
                }
            };
            let left_ns = look_again_ns.saturating_sub(now);
            futex::wait(&engine.stats.finished, seen, Some(left_ns));
        }
    }

    /// Whether the report in progress is overdue for so long that whoever could
    /// take it over for an order that is queued had done so.
    fn nobody_takes_over(engine: &Engine, now: u64) -> bool {
        let Some(epoch) = engine.ownership.current() else { return false };
        // Supervisors that give way to the program's threads may come late.
        let patience_ns = MAX_REST_NS.saturating_add(report_deadline_ns(engine) >> 1);
        let due_ns = crate::compose::due_ns(engine, epoch.bank());
        now >= due_ns.saturating_add(patience_ns) && engine.ownership.is_current(epoch)
    }

    fn report_deadline_ns(engine: &Engine) -> u64 {
        u64::try_from(engine.options.report_deadline.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(not(gmr_engine))]
impl Reporter {
    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`ReportError::Unsupported`], always.
    pub fn report_to_fd(&self, _fd: i32, _view: ViewKind) -> Result<ReportOutcome, ReportError> {
        Err(ReportError::Unsupported)
    }
}
