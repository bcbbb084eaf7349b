//! Captures stacks, and has names and source lines found.

use super::{Interrupted, Report, nanoseconds};
use crate::model::Incomplete;
#[cfg(feature = "symbols")]
use crate::sys::clock;
use crate::threads::{self, Asking, ThreadRecord};

/// Source lines may take this part of what is left of a report's time. Some
/// seconds by default: a large program without optimisation takes that long
/// once.
#[cfg(feature = "symbols")]
const LINES_PART_OF_DEADLINE: u64 = 3;

impl Report<'_> {
    /// When the capture of sample `number` (0 or 1) has to be done. One may take half
    /// of the report's time. Of two, the first leaves the second as much as itself,
    /// whatever the rest in between takes (at most a quarter of the report's deadline).
    pub(super) fn capture_deadline_ns(&self, number: u32) -> u64 {
        let quarter = self.deadline_ns.saturating_sub(self.began_ns) >> 2;
        let quarters = match (self.engine.options.sample_interval, number) {
            (None, _) => 2,
            (Some(_), 0) => 1,
            (Some(_), _) => 3,
        };
        self.began_ns.saturating_add(quarter.saturating_mul(quarters))
    }

    pub(super) fn capture(
        &mut self,
        stacks: &mut crate::bank::Stacks,
        records: &mut [ThreadRecord],
        interrupted: Option<Interrupted>,
        asking: &Asking<'_>,
        bytes: &mut [u8],
        deadline_ns: u64,
    ) -> crate::stacks::collect::Collected {
        use crate::stacks::collect::Collector;
        let engine = self.engine;
        stacks.frames.used = 0;
        let checked = crate::stacks::fresh::check(engine, bytes);
        if !checked.is_trusted {
            self.incomplete = self.incomplete.with(Incomplete::TRUNCATED);
        }
        let Some(table) = engine.tables.current() else {
            return crate::stacks::collect::Collected::default();
        };
        if table.table.is_cut {
            self.incomplete = self.incomplete.with(Incomplete::TRUNCATED);
        }
        let is_current = self.out.is_current;
        let mut collector = Collector {
            bank: self.epoch.bank(),
            slots: stacks.slots,
            flights: stacks.flights,
            walker: &mut stacks.walker,
            #[cfg(feature = "passive")]
            passive: &mut stacks.passive,
            table: table.table,
            frames: &mut stacks.frames,
            thread_deadline_ns: nanoseconds(engine.options.thread_deadline),
            deadline_ns,
        };
        if let Some(interrupted) = interrupted
            && let Some(record) = records.iter_mut().find(|record| record.is_triggering)
            && !interrupted.context.is_null()
        {
            #[expect(unsafe_code, reason = "the handler's own context")]
            // SAFETY: we run in that handler, on another stack; its frame and
            // the ucontext in it are alive.
            unsafe {
                stacks.own.take(interrupted.context.cast());
            }
            collector.own(record, &stacks.own);
        }
        let collected = collector.run(records, is_current);
        crate::threads::look_again(asking, records, bytes);
        let collected = collector.run(records, is_current).longer(collected);
        #[cfg(feature = "passive")]
        collector.run_parked(records, is_current);
        if !crate::stacks::fresh::look_back(engine, table.table, bytes) {
            collector.cut(records);
        }
        collected
    }

    /// Has the host find the source lines of all addresses.
    #[cfg(feature = "symbols")]
    pub(super) fn prepare_lines(
        &mut self,
        lines: &dyn crate::hosted::SourceLines,
        table: &crate::stacks::modules::Table,
        names: &crate::names::Names,
    ) {
        use crate::stacks::unwind::Modules;
        let now = clock::monotonic_ns();
        // The stacks are to be printed, with or without lines.
        let wait = self.deadline_ns.saturating_sub(now) / LINES_PART_OF_DEADLINE;
        lines.prepare(&crate::hosted::LineRequest {
            generation: table.generation(),
            addresses: names,
            deadline_ns: now.saturating_add(wait),
            is_current: self.out.is_current,
        });
    }

    /// Captures one of the reporter's own threads.
    pub(super) fn stack_of(
        &mut self,
        tid: u32,
        asking: &Asking<'_>,
        stacks: &mut crate::bank::Stacks,
        bytes: &mut [u8],
    ) -> ThreadRecord {
        let mut record = threads::describe_own(asking, tid, bytes);
        if let Some(table) = self.engine.tables.current() {
            let mut collector = crate::stacks::collect::Collector {
                bank: self.epoch.bank(),
                slots: stacks.slots,
                flights: stacks.flights,
                walker: &mut stacks.walker,
                #[cfg(feature = "passive")]
                passive: &mut stacks.passive,
                table: table.table,
                frames: &mut stacks.frames,
                thread_deadline_ns: nanoseconds(self.engine.options.thread_deadline),
                deadline_ns: self.deadline_ns,
            };
            let records = core::slice::from_mut(&mut record);
            collector.run(records, self.out.is_current);
            #[cfg(feature = "passive")]
            collector.run_parked(records, self.out.is_current);
        }
        record
    }

    /// Finds the names of a further stack.
    #[cfg(feature = "symbols")]
    pub(super) fn more_names(
        &mut self,
        record: &ThreadRecord,
        frames: &[crate::stacks::collect::FrameRecord],
        names: &mut crate::names::Names,
        bytes: &mut [u8],
    ) {
        let Some(table) = self.engine.tables.current() else { return };
        let frames = record.frames(frames);
        let (deadline_ns, is_current) = (self.deadline_ns, self.out.is_current);
        names.resolve_more(self.engine, table.table, frames, bytes, &mut || {
            is_current() && clock::monotonic_ns() < deadline_ns
        });
    }
}
