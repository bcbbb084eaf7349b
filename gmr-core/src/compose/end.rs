//! The end of a report: what it says of itself, and its verdict.

use ufmt::uwrite;

use super::emitter::AnyView;
#[cfg(feature = "stacks")]
use super::head::signal_name;
use super::sections::Tally;
use super::{Report, Step};
use crate::engine::Ended;
use crate::model::{Capture, Event, Incomplete, StackEnd, Value};
use crate::sections::threads as threads_section;
use crate::sys::clock;
use crate::threads::ThreadRecord;

impl Report<'_> {
    pub(super) fn end(
        &mut self,
        facts: &threads_section::Facts<'_>,
        #[cfg(feature = "stacks")] collected: crate::stacks::collect::Collected,
    ) {
        self.enter(Step::END);
        let engine = self.engine;
        if clock::monotonic_ns() >= self.deadline_ns {
            self.incomplete = self.incomplete.with(Incomplete::DEADLINE);
        }
        if self.out.sink.lost_bytes() > 0 {
            self.incomplete = self.incomplete.with(Incomplete::OUTPUT);
        }
        let mut text = heapless::String::<256>::new();
        self.out.put(&Event::BeginEnd);
        let count = |capture| facts.records.iter().filter(|r| r.capture == capture).count();
        let asked = facts.listed.total.saturating_sub(count(Capture::Own) as u64);
        let _ = if asked > 0 && count(Capture::NotBuilt) as u64 == asked {
            uwrite!(&mut text, "{}, their stacks are not built in (feature `stacks`)", asked)
        } else {
            let is_whole = |record: &&ThreadRecord| record.stack_end == StackEnd::Complete;
            let whole = facts.records.iter().filter(is_whole).count();
            uwrite!(&mut text, "{} of {} with a whole stack", whole, asked)
        };
        self.out.value("threads", &*text);
        text.clear();
        let Tally { ok, failed, skipped } = self.tally;
        let _ = uwrite!(&mut text, "{} ok, {} failed, {} skipped", ok, failed, skipped);
        self.out.value("sections", &*text);
        self.out.put(&Event::BeginList { key: Some("section times") });
        for outcome in self.outcomes.as_slice() {
            self.out.put(&Event::Outcome(*outcome));
        }
        self.out.put(&Event::Close);
        if self.outcomes.missed > 0 {
            self.out.value("section times left out", self.outcomes.missed);
        }
        let size = self.out.sink.total_bytes();
        self.out.value("output", Value::ByteCount(size));
        let lost = self.out.sink.lost_bytes();
        if lost > 0 {
            self.out.value("not taken by the destination", Value::ByteCount(lost));
        }
        #[cfg(all(feature = "stacks", feature = "symbols"))]
        self.out.value("names", self.names_summary(facts).as_str());
        #[cfg(feature = "stacks")]
        if let Some(lines) = facts.lines {
            // Said before what depends on it: the verdict.
            let was_cut = lines.summary(&mut |text| self.out.value("source lines", text));
            if was_cut {
                self.incomplete = self.incomplete.with(Incomplete::SOURCE_LINES);
            }
        }
        #[cfg(feature = "stacks")]
        if collected.longest_capture_tid != 0 {
            self.out.value("longest capture", Value::DurationNs(collected.longest_capture_ns));
            self.out.value("longest capture by thread", collected.longest_capture_tid);
        }
        let kind = self.out.sink.channel().kind();
        self.out.value("destination", kind.name());
        #[cfg(feature = "stacks")]
        self.settings(&mut text);
        // Under `abort` a panic in a section ends the process.
        let strategy = if cfg!(panic = "abort") { "abort" } else { "unwind" };
        self.out.value("panic", strategy);
        let took = clock::monotonic_ns().saturating_sub(self.began_ns);
        self.out.value("time taken", Value::DurationNs(took));
        if !(self.out.is_current)() {
            return;
        }
        self.out.put(&Event::EndReport {
            sequence: self.epoch.sequence(),
            incomplete: self.incomplete,
        });
        self.out.sink.flush(true);
        if self.out.sink.lost_bytes() > 0 {
            self.incomplete = self.incomplete.with(Incomplete::OUTPUT);
            self.last_words();
        }
        engine.stats.ended(&Ended {
            sequence: self.epoch.sequence(),
            incomplete: self.incomplete,
            duration_ns: took,
            bytes: self.out.sink.written_bytes(),
        });
    }

    #[cfg(all(feature = "stacks", feature = "symbols"))]
    fn names_summary(&self, facts: &threads_section::Facts<'_>) -> heapless::String<128> {
        facts.names.summary()
    }

    /// The settings that matter for reading the stacks.
    #[cfg(feature = "stacks")]
    fn settings(&mut self, text: &mut heapless::String<256>) {
        let options = &self.engine.options;
        let signal = crate::signal::capture::signal();
        text.clear();
        let _ = uwrite!(
            text,
            "{}, {} slots of {} KiB, {} frames, {} threads",
            signal_name(signal).unwrap_or("real-time signal"),
            options.capture_slots,
            options.window_bytes >> 10,
            options.max_frames,
            options.max_threads
        );
        if crate::sys::vm::was_refused() {
            let _ = uwrite!(text, ", process_vm_readv refused (copied by page probe)");
        }
        self.out.value("capture", &**text);
    }

    /// The destination lost bytes: if it takes any again, it is told so.
    fn last_words(&mut self) {
        if let AnyView::Text(_) = self.out.view {
            let mut words = heapless::String::<128>::new();
            let _ = uwrite!(
                &mut words,
                "\nEnd of report {}: incomplete (output not taken)\n",
                self.epoch.sequence()
            );
            self.out.sink.last_words(&words);
        }
    }
}
