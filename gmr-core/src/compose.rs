//! Composes one report, on whatever thread holds the bank.
//!
//! 1. The head goes out at once: whoever waits sees that the signal arrived.
//! 2. *Collect*, under its deadline: threads, stacks, names.
//! 3. Findings: what the collected facts prove to be abnormal.
//! 4. Sections: Package, Threads, Processes, then the registered ones in their
//!    order, then Modules, which is for tools. Each has a deadline, looked at
//!    with every event.
//! 5. The end block says what is missing; the last line is the verdict.
//!
//! At each event and before each write the supervisor looks whether the report
//! is still its own; a takeover makes it return from wherever it is.
//!
//! Everything here is signal-safe: no allocation, no lock, no panic, no wait
//! without a deadline.

use core::sync::atomic::Ordering;

use rustix::fd::AsFd;

pub(crate) use self::collect::Visits;
use self::emitter::{AnyView, Emitter};
use self::sections::{Showing, Tally};
pub(crate) use self::serve::{Interrupted, Job, serve};
use self::step::Step;
#[cfg(feature = "signal")]
pub(crate) use self::takeover::{due_ns, take_over};
use crate::bank::{Bank, BankCell};
use crate::engine::{Ended, Engine};
use crate::findings::{self, Evidence};
use crate::judge::judged;
use crate::model::{Event, Incomplete};
use crate::outcomes::Outcomes;
use crate::protocol::orders::Answer;
use crate::protocol::ownership::Epoch;
use crate::protocol::requests::Taken;
use crate::scope::Snapshot;
use crate::section::{Place, SectionError, SectionWriter};
#[cfg(feature = "stacks")]
use crate::sections::{modules, threads::Sampled};
use crate::sections::{package, processes, threads as threads_section};
use crate::sink::Sink;
use crate::sink::destination::Destination;
use crate::sys::clock;
use crate::threads::{self, Asking, Listed, ThreadRecord};
use crate::view::ViewKind;

#[cfg(feature = "stacks")]
mod capture;
mod collect;
mod emitter;
mod end;
mod head;
mod sections;
mod serve;
mod step;
#[cfg(feature = "signal")]
mod takeover;

/// A report that was abandoned by the takeover that leads to this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Previous {
    sequence: u64,
    step: Step,
}

fn nanoseconds(duration: core::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn capture_signal() -> Option<u32> {
    #[cfg(feature = "stacks")]
    {
        u32::try_from(crate::signal::capture::signal()).ok().filter(|signal| *signal != 0)
    }
    #[cfg(not(feature = "stacks"))]
    None
}

/// Everything one report knows while it is written.
struct Report<'a> {
    engine: &'a Engine,
    cell: &'a BankCell,
    epoch: Epoch,
    out: Emitter<'a>,
    deadline_ns: u64,
    began_ns: u64,
    next_id: u32,
    tally: Tally,
    outcomes: Outcomes<'a>,
    incomplete: Incomplete,
    /// Steps that other supervisors are stuck in.
    stuck: heapless::Vec<Step, { crate::protocol::ownership::MAX_BANKS }>,
}

/// Returns what was written, if the report came to its end.
#[expect(clippy::too_many_arguments, reason = "the one place where all of them meet")]
fn compose(
    engine: &Engine,
    bank: &mut Bank,
    cell: &BankCell,
    epoch: Epoch,
    destination: &Destination,
    view: ViewKind,
    taken: &Taken,
    previous: Option<Previous>,
    interrupted: Option<Interrupted>,
) -> Option<Answer> {
    let is_current: &dyn Fn() -> bool = &|| engine.ownership.is_current(epoch);
    let began_ns = clock::monotonic_ns();
    cell.step.store(Step::HEAD.0, Ordering::Release);
    // A report that obeys ends a little before it counts as stuck.
    let deadline = nanoseconds(engine.options.report_deadline);
    let deadline_ns = began_ns.saturating_add(deadline.saturating_sub(deadline >> 3));
    let output_deadline_ns =
        deadline_ns.min(began_ns.saturating_add(nanoseconds(engine.options.output_deadline)));
    let null = engine.null.as_fd();
    let line = destination.open_line(epoch.bank(), null, output_deadline_ns, is_current);
    let Some(line) = line else {
        engine.stats.ended(&Ended {
            sequence: epoch.sequence(),
            incomplete: Incomplete::OUTPUT,
            duration_ns: clock::monotonic_ns().saturating_sub(began_ns),
            bytes: 0,
        });
        return None;
    };
    let Bank {
        sink,
        bytes,
        dirents,
        processes: table,
        threads: records,
        waits,
        scopes,
        outcomes,
        ..
    } = bank;
    let mut report = Report {
        engine,
        cell,
        epoch,
        out: Emitter {
            view: AnyView::new(view),
            sink: Sink::new(line, sink),
            is_current,
            section_deadline_ns: deadline_ns,
            section_limit_bytes: u64::MAX,
        },
        deadline_ns,
        began_ns,
        next_id: 1,
        tally: Tally::default(),
        outcomes: Outcomes::new(outcomes),
        incomplete: Incomplete::NONE,
        stuck: engine
            .banks
            .iter()
            .flatten()
            .filter(|other| !core::ptr::eq(*other, cell))
            .map(|other| Step(other.stuck_in.load(Ordering::Acquire)))
            .filter(|step| *step != Step::NONE)
            .collect(),
    };

    report.head(taken, previous, bytes);
    report.out.sink.flush(true);

    // Collect.
    report.enter(Step::COLLECT);
    let own_tids = engine.own_tids();
    let asking = Asking {
        capture_signal: capture_signal(),
        own_tids: &own_tids,
        interrupted_tid: interrupted.map(|interrupted| interrupted.tid),
        has_context: interrupted.is_some_and(|interrupted| !interrupted.context.is_null()),
        excluded: engine.options.exclude_threads,
        ticks_per_second: engine.facts.ticks_per_second(),
    };
    let is_skipped = report.stuck.contains(&Step::COLLECT);
    let mut list = |records: &mut [ThreadRecord], bytes: &mut [u8]| {
        if is_skipped { Listed::default() } else { threads::list(&asking, records, bytes, dirents) }
    };
    let listed = list(records, bytes);
    #[cfg(feature = "stacks")]
    let mut sampled = None;
    #[cfg(feature = "stacks")]
    let (listed, stacks) = if is_skipped {
        bank.stacks.frames.used = 0;
        (listed, crate::stacks::collect::Collected::default())
    } else {
        let mut listed = listed;
        let described = records.get_mut(..listed.count).unwrap_or_default();
        let until = report.capture_deadline_ns(0);
        let mut collected =
            report.capture(&mut bank.stacks, described, interrupted, &asking, bytes, until);
        if let Some(interval) = engine.options.sample_interval {
            bank.samples.remember(described, bank.stacks.frames.records);
            report.rest(nanoseconds(interval));
            let until = report.capture_deadline_ns(1);
            listed = list(records, bytes);
            let described = records.get_mut(..listed.count).unwrap_or_default();
            bank.samples.read_cpu(described);
            collected = report
                .capture(&mut bank.stacks, described, interrupted, &asking, bytes, until)
                .longer(collected);
            let frames = &*bank.stacks.frames.records;
            let (walker, tables) = (&mut bank.stacks.walker, engine.tables.current());
            bank.samples.compare(described, frames, &mut |one, other| {
                tables.as_ref().is_some_and(|it| walker.is_same_function(it.table, one, other))
            });
            sampled = Some(Sampled { ended: bank.samples.ended(&listed, described) });
        }
        (listed, collected)
    };
    let records = records.get_mut(..listed.count).unwrap_or_default();
    report.collect_sections(
        records,
        #[cfg(feature = "stacks")]
        &mut bank.stacks.frames,
        #[cfg(feature = "stacks")]
        &mut bank.added,
    );
    let scopes = Snapshot::take(scopes);
    #[cfg(feature = "stacks")]
    let tables = engine.tables.current();
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    if let Some(table) = &tables {
        let used = bank.stacks.frames.used;
        let frames = bank.stacks.frames.records.get(..used).unwrap_or_default();
        // The stacks are to be printed, with or without names.
        let left_ns = report.deadline_ns.saturating_sub(clock::monotonic_ns());
        let deadline_ns = report.deadline_ns.saturating_sub(left_ns >> 2);
        bank.names.resolve(engine, table.table, frames, bytes, &mut || {
            is_current() && clock::monotonic_ns() < deadline_ns
        });
    }

    #[cfg(all(feature = "stacks", feature = "symbols"))]
    let caller = |record: &ThreadRecord| match &tables {
        Some(tables) => crate::waits::evidence::caller(
            record,
            bank.stacks.frames.records,
            tables.table,
            &bank.names,
        ),
        None => crate::waits::Caller::Unknown,
    };
    #[cfg(not(all(feature = "stacks", feature = "symbols")))]
    let caller = |_: &crate::threads::ThreadRecord| crate::waits::Caller::Unknown;
    crate::waits::find(records, waits, bytes, &caller);
    threads::second_look::look(records, bytes);

    #[cfg(feature = "stacks")]
    let lines = engine.options.lines.map(|lines| lines.0);
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    if let (Some(lines), Some(table)) = (lines, &tables) {
        report.prepare_lines(lines, table.table, &bank.names);
    }

    // Made anew for each use: in between, sections add a worker's stack.
    macro_rules! facts {
        () => {
            threads_section::Facts {
                records,
                listed: &listed,
                scopes: &scopes,
                options: &engine.options,
                is_skipped,
                #[cfg(feature = "stacks")]
                sampled,
                #[cfg(feature = "stacks")]
                frames: bank.stacks.frames.records,
                #[cfg(feature = "stacks")]
                added: &bank.added,
                #[cfg(feature = "stacks")]
                table: tables.as_ref().map(|tables| tables.table),
                #[cfg(all(feature = "stacks", feature = "symbols"))]
                names: &bank.names,
                #[cfg(feature = "stacks")]
                lines,
            }
        };
    }
    let facts = facts!();
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    if bank.names.was_cut() {
        report.incomplete = report.incomplete.with(Incomplete::TRUNCATED);
    }
    scopes.give_back(|tid| facts.records.iter().any(|record| record.tid == tid));
    report.judge_threads(&facts);
    report.findings(&facts, bytes, dirents);

    // Sections.
    let policy = engine.options.redaction;
    report.section(Step::PACKAGE, package::TITLE, |out| package::write(engine, out));
    report.section(Step::THREADS, threads_section::TITLE, |out| {
        if facts.is_skipped {
            return Err(SectionError::Failed(
                "an earlier report is still stuck in the collection of threads",
            ));
        }
        judged(policy, bank.masked, out, |out| threads_section::write(&facts, bank.places, out))
    });
    let mut is_limit_hit = false;
    for place in [Place::BehindThreads, Place::InOrder] {
        if place == Place::InOrder {
            let mut scratch = processes::Scratch { table, bytes, dirents, limit_hit: false };
            report.section(Step::PROCESSES, processes::TITLE, |out| {
                judged(policy, bank.masked, out, |out| {
                    processes::write(&engine.facts, &mut scratch, out)
                })
            });
            is_limit_hit = scratch.limit_hit;
        }
        let mut after = 0;
        while let Some(visit) = engine.registry.visit_after(after) {
            after = visit.order;
            let registered = visit.registered;
            if registered.section.place() != place {
                engine.registry.leave(&visit);
                continue;
            }
            let step = Step::registered(visit.order);
            report.section_with(step, registered.title, |report| {
                let masked = &mut *bank.masked;
                let sequence = report.epoch.sequence();
                let facts = facts!();
                let outcome = report.generate(step, |out| {
                    judged(policy, masked, out, |out| {
                        let mut showing = Showing { out, facts: &facts, sequence };
                        registered.section.generate(&mut SectionWriter::new(&mut showing))
                    })
                });
                #[cfg(feature = "stacks")]
                if let Err(SectionError::Stuck { tid, .. }) = outcome
                    && !is_skipped
                {
                    let record = report.stack_of(tid, &asking, &mut bank.stacks, bytes);
                    #[cfg(feature = "symbols")]
                    report.more_names(&record, bank.stacks.frames.records, &mut bank.names, bytes);
                    report.show_stack(&record, &facts!(), masked);
                }
                outcome
            });
            engine.registry.leave(&visit);
            if !is_current() {
                return None;
            }
        }
    }
    if is_limit_hit {
        report.incomplete = report.incomplete.with(Incomplete::TRUNCATED);
    }
    #[cfg(feature = "stacks")]
    if engine.options.modules {
        let table = tables.as_ref().map(|tables| tables.table);
        report.section(Step::MODULES, modules::TITLE, |out| {
            judged(policy, bank.masked, out, |out| modules::write(table, out))
        });
    }

    report.end(
        &facts!(),
        #[cfg(feature = "stacks")]
        stacks,
    );
    Some(Answer {
        sequence: epoch.sequence(),
        bytes: report.out.sink.written_bytes(),
        is_complete: report.incomplete.is_complete(),
    })
}

impl Report<'_> {
    fn enter(&mut self, step: Step) {
        self.cell.step.store(step.0, Ordering::Release);
    }

    fn judge_threads(&mut self, facts: &threads_section::Facts<'_>) {
        if facts.is_skipped {
            return;
        }
        if facts.listed.total > facts.listed.count as u64 {
            self.incomplete = self.incomplete.with(Incomplete::THREAD_LIMIT);
        }
        if facts.scopes.unrecorded > 0 {
            self.incomplete = self.incomplete.with(Incomplete::TRUNCATED);
        }
        if facts.listed.error.is_some()
            || facts.records.iter().any(|record| !record.capture.keeps_complete())
        {
            self.incomplete = self.incomplete.with(Incomplete::THREADS);
        }
        #[cfg(feature = "passive")]
        if facts.records.iter().any(|record| record.while_parked.is_limit()) {
            self.incomplete = self.incomplete.with(Incomplete::THREADS);
        }
    }

    fn findings(
        &mut self,
        facts: &threads_section::Facts<'_>,
        bytes: &mut [u8],
        dirents: &mut [core::mem::MaybeUninit<u8>],
    ) {
        let stuck: heapless::Vec<&str, { crate::protocol::ownership::MAX_BANKS }> =
            self.stuck.iter().map(|step| step.title(self.engine)).collect();
        self.out.put(&Event::BeginFindings);
        let visits = Visits {
            engine: self.engine,
            cell: self.cell,
            stuck: &self.stuck,
            is_current: self.out.is_current,
        };
        let evidence =
            Evidence { engine: self.engine, threads: facts, stuck: &stuck, visits: &visits };
        let out = &mut self.out;
        findings::write(&evidence, bytes, dirents, &mut |finding| {
            out.put(&Event::Finding(*finding));
        });
    }
}
