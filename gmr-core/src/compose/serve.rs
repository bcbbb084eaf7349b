//! From requests and orders to reports: begins one, says where it goes, ends it.
//!
//! What a takeover has to fence is published in the bank's cell ([`Output`]) before
//! the first byte is written, and taken back behind the last.

use core::sync::atomic::Ordering;

use rustix::fd::AsFd;

use super::{Previous, Step, compose};
use crate::bank::{BankCell, Lease};
use crate::engine::{Engine, Order};
use crate::protocol::counted::Held;
use crate::protocol::orders::Answer;
use crate::protocol::ownership::Epoch;
use crate::protocol::requests::{Requester, Taken};
use crate::sink::destination::Destination;
use crate::sys::clock;
use crate::view::ViewKind;

/// The thread that a report in the handler interrupted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupted {
    pub(crate) tid: u32,
    /// The handler's context: registers and stack.
    pub(crate) context: *const core::ffi::c_void,
}

/// What a report answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// All requests made so far, at the destination.
    Requests,
    /// One order, at its caller's.
    Order,
}

/// Where the report of a bank goes: what a takeover has to fence. In one word,
/// 0 for nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output(pub(super) u32);

impl Output {
    pub(super) const NOWHERE: Self = Output(0);
    /// An order's output is this plus its place.
    const FIRST_ORDER: u32 = 256;

    pub(super) fn destination(place: u32) -> Self {
        Output(place.saturating_add(1))
    }

    pub(super) fn order(place: usize) -> Self {
        Output(Self::FIRST_ORDER.saturating_add(u32::try_from(place).unwrap_or(0)))
    }

    /// Holds it, and says how it is written to.
    pub(super) fn hold(self, engine: &Engine) -> Option<Outlet<'_>> {
        if self.0 >= Self::FIRST_ORDER {
            let place = self.0.saturating_sub(Self::FIRST_ORDER);
            engine.orders.at(place as usize).map(Outlet::Order)
        } else {
            let destination = engine.destinations.at(self.0.checked_sub(1)?)?;
            Some(Outlet::Destination(destination, engine.options.view))
        }
    }
}

/// A destination that stays open for as long as this is there.
pub(super) enum Outlet<'a> {
    Destination(Held<'a, Destination>, ViewKind),
    Order(Held<'a, Order>),
}

impl Outlet<'_> {
    pub(super) fn destination(&self) -> &Destination {
        match self {
            Outlet::Destination(destination, _) => destination,
            Outlet::Order(order) => &order.destination,
        }
    }

    pub(super) fn view(&self) -> ViewKind {
        match self {
            Outlet::Destination(_, view) => *view,
            Outlet::Order(order) => order.view,
        }
    }
}

/// Begins a report on `bank` and writes it. The error: another is in progress.
pub(crate) fn serve(
    engine: &Engine,
    lease: &mut Lease<'_>,
    bank: usize,
    job: Job,
    interrupted: Option<Interrupted>,
) -> Result<(), Epoch> {
    let Some(cell) = engine.cell(bank) else { return Ok(()) };
    cell.stuck_in.store(0, Ordering::Release);
    // Before `begin`: who finds the report begun finds this time.
    cell.began_ns.store(clock::monotonic_ns(), Ordering::Release);
    let epoch = engine.ownership.begin(bank)?;
    write(engine, lease, cell, epoch, job, None, interrupted);
    Ok(())
}

pub(super) fn write(
    engine: &Engine,
    lease: &mut Lease<'_>,
    cell: &BankCell,
    epoch: Epoch,
    job: Job,
    previous: Option<Previous>,
    interrupted: Option<Interrupted>,
) {
    let is_finished = match job {
        Job::Requests => requested(engine, lease, cell, epoch, previous, interrupted),
        Job::Order => ordered(engine, lease, cell, epoch, previous),
    };
    if !is_finished {
        // Taken over meanwhile: we are back, so nothing is stuck any more.
        cell.stuck_in.store(0, Ordering::Release);
    }
    engine.stats.finished.fetch_add(1, Ordering::Release);
    crate::sys::futex::wake(&engine.stats.finished, u32::MAX >> 1);
}

/// Answers all requests made so far. `false`: it was taken over.
fn requested(
    engine: &Engine,
    lease: &mut Lease<'_>,
    cell: &BankCell,
    epoch: Epoch,
    previous: Option<Previous>,
    interrupted: Option<Interrupted>,
) -> bool {
    let Some(taken) = engine.requests.take() else { return finish(engine, cell, epoch, None) };
    // After the requests: what is asked for after a switch goes to the new one.
    let Some((place, destination)) = engine.destinations.hold() else {
        let count = u64::from(taken.coalesced).saturating_add(1);
        engine.stats.ignored.fetch_add(count, Ordering::Relaxed);
        return finish(engine, cell, epoch, None);
    };
    engine.stats.coalesced.fetch_add(u64::from(taken.coalesced), Ordering::Relaxed);
    cell.output.store(Output::destination(place).0, Ordering::Release);
    let view = engine.options.view;
    compose(engine, lease.bank(), cell, epoch, &destination, view, &taken, previous, interrupted);
    finish(engine, cell, epoch, Some(&destination))
}

/// Answers one order. `false`: it was taken over.
fn ordered(
    engine: &Engine,
    lease: &mut Lease<'_>,
    cell: &BankCell,
    epoch: Epoch,
    previous: Option<Previous>,
) -> bool {
    let Some(taken) = engine.orders.take(epoch.bank()) else {
        return finish(engine, cell, epoch, None);
    };
    cell.output.store(Output::order(taken.number()).0, Ordering::Release);
    let Order { destination, view } = taken.order();
    let who = Taken { coalesced: 0, requester: Some(Requester::call()) };
    let written =
        compose(engine, lease.bank(), cell, epoch, destination, *view, &who, previous, None);
    let nothing = Answer { sequence: epoch.sequence(), bytes: 0, is_complete: false };
    let is_finished = finish(engine, cell, epoch, Some(destination));
    if is_finished {
        taken.answer(written.unwrap_or(nothing));
    } else {
        taken.put_back();
    }
    is_finished
}

/// Ends the report. `false`: it was taken over.
fn finish(
    engine: &Engine,
    cell: &BankCell,
    epoch: Epoch,
    destination: Option<&Destination>,
) -> bool {
    cell.step.store(Step::NONE.0, Ordering::Release);
    let is_finished = engine.ownership.finish(epoch);
    if let Some(destination) = destination
        && !is_finished
    {
        destination.mend(epoch.bank(), engine.null.as_fd());
    }
    cell.output.store(Output::NOWHERE.0, Ordering::Release);
    is_finished
}
