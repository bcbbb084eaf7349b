//! Lets registered sections look at the process, right behind the capture.
//!
//! They have half of the time that is left of the report's, all together: the rest is
//! for writing it. One that an earlier report is stuck in is left out; one that does
//! not come back is what a takeover names, and what the next report leaves out.

use core::sync::atomic::Ordering;

use super::{Report, Step};
use crate::bank::BankCell;
use crate::engine::Engine;
use crate::model::Capture;
use crate::section::{Collecting, SeenThread, SignalSafeSection, StackId, Stop};
use crate::sys::clock;
use crate::threads::ThreadRecord;

impl Report<'_> {
    /// Lets the threads run for a while.
    #[cfg(feature = "stacks")]
    pub(super) fn rest(&self, interval_ns: u64) {
        rest(interval_ns, self.deadline_ns, self.out.is_current);
    }

    /// Lets registered sections look at the process.
    pub(super) fn collect_sections(
        &mut self,
        records: &[ThreadRecord],
        #[cfg(feature = "stacks")] frames: &mut crate::stacks::collect::Frames,
        #[cfg(feature = "stacks")] added: &mut crate::bank::AddedStacks,
    ) {
        #[cfg(feature = "stacks")]
        added.clear();
        let left_ns = self.deadline_ns.saturating_sub(clock::monotonic_ns());
        let mut collecting = CollectingSections {
            sequence: self.epoch.sequence(),
            // The rest is for writing it all.
            deadline_ns: self.deadline_ns.saturating_sub(left_ns >> 1),
            is_current: self.out.is_current,
            records,
            #[cfg(feature = "stacks")]
            frames,
            #[cfg(feature = "stacks")]
            added,
        };
        let visits = Visits {
            engine: self.engine,
            cell: self.cell,
            stuck: &self.stuck,
            is_current: self.out.is_current,
        };
        visits.each(&mut |section| section.collect(&mut collecting));
    }
}

/// The registered sections, for what they do beside writing: each in its own step.
pub(crate) struct Visits<'r> {
    pub(super) engine: &'r Engine,
    pub(super) cell: &'r BankCell,
    pub(super) stuck: &'r [Step],
    pub(super) is_current: &'r dyn Fn() -> bool,
}

impl Visits<'_> {
    /// Calls `each` with those that no earlier report is stuck in, in their order.
    pub(crate) fn each(&self, each: &mut dyn FnMut(&dyn SignalSafeSection)) {
        let around = self.cell.step.load(Ordering::Acquire);
        let mut after = 0;
        // A report that was taken over calls none: the new one does.
        while (self.is_current)()
            && let Some(visit) = self.engine.registry.visit_after(after)
        {
            after = visit.order;
            let step = Step::registered(visit.order);
            if !self.stuck.contains(&step) {
                self.cell.step.store(step.0, Ordering::Release);
                each(visit.registered.section);
            }
            self.engine.registry.leave(&visit);
        }
        self.cell.step.store(around, Ordering::Release);
    }
}

/// What sections see of a report that collects.
struct CollectingSections<'r> {
    sequence: u64,
    deadline_ns: u64,
    is_current: &'r dyn Fn() -> bool,
    records: &'r [ThreadRecord],
    #[cfg(feature = "stacks")]
    frames: &'r mut crate::stacks::collect::Frames,
    #[cfg(feature = "stacks")]
    added: &'r mut crate::bank::AddedStacks,
}

impl Collecting for CollectingSections<'_> {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    fn check(&self) -> Result<(), Stop> {
        let is_over = !(self.is_current)() || clock::monotonic_ns() >= self.deadline_ns;
        if is_over { Err(Stop) } else { Ok(()) }
    }

    fn threads(&self, each: &mut dyn FnMut(&SeenThread<'_>)) {
        for record in self.records {
            let is_own = record.capture == Capture::Own;
            each(&SeenThread::new(record.tid, record.name(), record.state, is_own));
        }
    }

    fn rest(&self, interval_ns: u64) {
        rest(interval_ns, self.deadline_ns, self.is_current);
    }

    #[cfg(feature = "stacks")]
    fn add_stack(&mut self, addresses: &[u64]) -> Option<StackId> {
        let number = u32::try_from(self.added.len()).ok()?;
        self.added.push(self.frames.add(addresses)?).ok()?;
        Some(StackId(number))
    }

    #[cfg(not(feature = "stacks"))]
    fn add_stack(&mut self, _addresses: &[u64]) -> Option<StackId> {
        None
    }
}

/// Lets the threads run for a while.
fn rest(interval_ns: u64, deadline_ns: u64, is_current: &dyn Fn() -> bool) {
    /// How often a takeover is looked for.
    const LOOK_NS: u64 = 50_000_000;
    let end_ns = clock::monotonic_ns().saturating_add(interval_ns).min(deadline_ns);
    while is_current() {
        let left_ns = end_ns.saturating_sub(clock::monotonic_ns());
        if left_ns == 0 {
            break;
        }
        crate::sys::futex::rest(left_ns.min(LOOK_NS));
    }
}
