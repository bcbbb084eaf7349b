//! Lets registered sections look at the process, right behind the capture.
//!
//! They have half of the time that is left of the report's, all together: the rest is
//! for writing it. One that an earlier report is stuck in is left out.

use core::sync::atomic::Ordering;

use super::{Report, Step};
use crate::model::Capture;
use crate::section::{Collecting, SeenThread, StackId, Stop};
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
        let mut after = 0;
        while let Some(visit) = self.engine.registry.visit_after(after) {
            after = visit.order;
            let step = Step::registered(visit.order);
            if !self.stuck.contains(&step) {
                self.cell.step.store(step.0, Ordering::Release);
                visit.registered.section.collect(&mut collecting);
            }
            self.engine.registry.leave(&visit);
            if !(self.out.is_current)() {
                return;
            }
        }
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
