//! Runs sections: ours and the program's, each with its deadline and limit.

use super::{Report, Step, nanoseconds};
#[cfg(feature = "stacks")]
use crate::judge::judged;
use crate::model::{Await, Event, Incomplete, SectionOutcome, SectionStatus, Task};
#[cfg(feature = "stacks")]
use crate::section::StackId;
use crate::section::{EventSink, SectionError, SectionResult, SectionWriter, Stop};
use crate::sections::threads as threads_section;
use crate::sys::clock;
#[cfg(feature = "stacks")]
use crate::threads::ThreadRecord;

/// The most a registered section may write. A runaway section would otherwise
/// fill the disk within its deadline.
const MAX_SECTION_BYTES: u64 = 16 << 20;

/// How the sections went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) ok: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
}

impl Report<'_> {
    pub(super) fn section(
        &mut self,
        step: Step,
        title: &'static str,
        generate: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) {
        self.section_with(step, title, |report| report.generate(step, generate));
    }

    /// A section whose content `write` has written.
    pub(super) fn section_with(
        &mut self,
        step: Step,
        title: &'static str,
        write: impl FnOnce(&mut Self) -> SectionResult,
    ) {
        if !(self.out.is_current)() {
            return;
        }
        let began_ns = clock::monotonic_ns();
        self.out.put(&Event::BeginSection { id: self.next_id, title });
        self.next_id = self.next_id.saturating_add(1);
        let status = if self.stuck.contains(&step) {
            SectionStatus::SkippedStuck
        } else if began_ns >= self.deadline_ns {
            SectionStatus::SkippedDeadline
        } else {
            self.enter(step);
            match write(self) {
                Ok(()) => SectionStatus::Ok,
                Err(SectionError::Stopped)
                    if self.out.sink.total_bytes() > self.out.section_limit_bytes =>
                {
                    SectionStatus::SizeLimit
                }
                Err(SectionError::Stopped) => SectionStatus::Deadline,
                Err(SectionError::Failed(reason)) => SectionStatus::Failed(reason),
                Err(SectionError::SizeLimit) => SectionStatus::SizeLimit,
                Err(SectionError::Skipped(reason)) => SectionStatus::Skipped(reason),
                Err(SectionError::Stuck { is_earlier: false, .. }) => SectionStatus::Stuck,
                Err(SectionError::Stuck { is_earlier: true, .. }) => SectionStatus::SkippedStuck,
            }
        };
        if !(self.out.is_current)() {
            return;
        }
        match status {
            SectionStatus::Ok => self.tally.ok = self.tally.ok.saturating_add(1),
            SectionStatus::SkippedStuck
            | SectionStatus::SkippedDeadline
            | SectionStatus::Skipped(_) => {
                self.tally.skipped = self.tally.skipped.saturating_add(1);
                self.incomplete = self.incomplete.with(Incomplete::SECTION_SKIPPED);
            }
            _ => {
                self.tally.failed = self.tally.failed.saturating_add(1);
                self.incomplete = self.incomplete.with(Incomplete::SECTION_FAILED);
            }
        }
        let elapsed_ns = clock::monotonic_ns().saturating_sub(began_ns);
        self.out.put(&Event::EndSection { status, elapsed_ns });
        self.outcomes.add(SectionOutcome { title, status, elapsed_ns });
    }

    /// Runs a generator under the deadline and limit of its kind.
    pub(super) fn generate(
        &mut self,
        step: Step,
        generate: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        // Ours are bounded by what was collected; a slow destination must not
        // cut them.
        (self.out.section_deadline_ns, self.out.section_limit_bytes) = if step.is_registered() {
            let budget = nanoseconds(self.engine.options.section_deadline);
            (
                clock::monotonic_ns().saturating_add(budget).min(self.deadline_ns),
                self.out.sink.total_bytes().saturating_add(MAX_SECTION_BYTES),
            )
        } else {
            (self.deadline_ns, u64::MAX)
        };
        generate(&mut SectionWriter::new(&mut self.out))
    }

    #[cfg(feature = "stacks")]
    pub(super) fn show_stack(
        &mut self,
        record: &ThreadRecord,
        facts: &threads_section::Facts<'_>,
        masked: &mut [u8],
    ) {
        self.out.section_deadline_ns = self.deadline_ns;
        let policy = self.engine.options.redaction;
        let _ = judged(policy, masked, &mut SectionWriter::new(&mut self.out), |out| {
            out.blocks("worker", |out| threads_section::write_thread(facts, record, out))
        });
    }
}

/// What a registered section writes through: it may ask for the report's own
/// threads.
pub(super) struct Showing<'s, 'w, 'f> {
    pub(super) out: &'s mut SectionWriter<'w>,
    pub(super) facts: &'s threads_section::Facts<'f>,
    pub(super) sequence: u64,
}

impl EventSink for Showing<'_, '_, '_> {
    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        if self.shortens(event) {
            return emit_shortened(event, self.out);
        }
        self.out.event(event)
    }

    fn emit_exposed(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        if self.shortens(event) {
            return emit_shortened(event, &mut self.out.exposed());
        }
        self.out.exposed().event(event)
    }

    fn deadline_ns(&self) -> u64 {
        self.out.deadline_ns()
    }

    fn check(&self) -> Result<(), Stop> {
        self.out.check()
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn show_thread(&mut self, tid: u32) -> Result<bool, Stop> {
        let Some(record) = self.facts.records.iter().find(|record| record.tid == tid) else {
            return Ok(false);
        };
        stopped(threads_section::write_thread(self.facts, record, self.out))?;
        Ok(true)
    }

    #[cfg(feature = "stacks")]
    fn show_stack(&mut self, stack: StackId) -> Result<bool, Stop> {
        match threads_section::write_added(self.facts, stack, self.out) {
            Some(outcome) => stopped(outcome).map(|()| true),
            None => Ok(false),
        }
    }
}

impl Showing<'_, '_, '_> {
    /// Whether it has names of types, which become as short as those of frames.
    fn shortens(&self, event: &Event<'_>) -> bool {
        cfg!(feature = "symbols")
            && !self.facts.options.full_names
            && matches!(event, Event::Await(_) | Event::BeginTask(_))
    }
}

/// A function of its own: only these events need the room.
#[inline(never)]
fn emit_shortened(event: &Event<'_>, out: &mut SectionWriter<'_>) -> Result<(), Stop> {
    let mut room = [0; NAME_ROOM_BYTES];
    match *event {
        Event::Await(level) => {
            let function = shortened(level.function, &mut room);
            out.event(&Event::Await(Await { function, ..level }))
        }
        Event::BeginTask(task) => {
            let future = task.future.map(|future| shortened(future, &mut room));
            out.event(&Event::BeginTask(Task { future, ..task }))
        }
        ref other => out.event(other),
    }
}

/// Stands for the end of a name that is too long.
#[cfg(feature = "symbols")]
const CUT: &str = "…";

#[cfg(feature = "symbols")]
const NAME_ROOM_BYTES: usize = crate::symbols::MAX_NAME_BYTES + CUT.len();
#[cfg(not(feature = "symbols"))]
const NAME_ROOM_BYTES: usize = 0;

/// Long generic arguments are left out, and what is beyond the room for a name.
#[cfg(feature = "symbols")]
fn shortened<'n>(name: &'n str, room: &'n mut [u8]) -> &'n str {
    let (names, _) = room.split_at_mut(room.len().saturating_sub(CUT.len()));
    let cut = crate::symbols::shorten_into(name, names);
    let mut len = cut.len;
    if cut.truncated {
        let end = len.saturating_add(CUT.len());
        if let Some(place) = room.get_mut(len..end) {
            place.copy_from_slice(CUT.as_bytes());
            len = end;
        }
    }
    let written = room.get(..len).unwrap_or_default();
    core::str::from_utf8(written).unwrap_or(name)
}

#[cfg(not(feature = "symbols"))]
fn shortened<'n>(name: &'n str, _: &'n mut [u8]) -> &'n str {
    name
}

/// Writing what was collected fails for one reason only.
fn stopped(outcome: SectionResult) -> Result<(), Stop> {
    outcome.map_err(|_| Stop)
}

#[cfg(all(test, feature = "symbols"))]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_are_shortened_and_a_cut_is_marked() {
        let mut room = [0; NAME_ROOM_BYTES];
        let mut short = |name: &str| std::string::String::from(shortened(name, &mut room));
        assert_eq!(short("tokio::time::Sleep"), "tokio::time::Sleep");
        assert_eq!(short(""), "");
        let long = std::format!("a::F<{}>::b", "x::Y, ".repeat(20));
        assert_eq!(short(&long), "a::F<…>::b");
        let longer = "é".repeat(600);
        let cut = short(&longer);
        assert_eq!(cut, std::format!("{}…", "é".repeat(256)));
    }
}
