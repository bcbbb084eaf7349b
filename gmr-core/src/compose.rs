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
#[cfg(feature = "signal")]
use ufmt::uWrite;
use ufmt::uwrite;

use crate::bank::{Bank, BankCell, Lease};
use crate::engine::{Ended, Engine, Order};
use crate::findings::{self, Evidence};
use crate::judge::judged;
use crate::model::{Capture, Event, Incomplete, SectionOutcome, SectionStatus, StackEnd, Value};
use crate::outcomes::Outcomes;
use crate::procfs::read;
use crate::protocol::counted::Held;
#[cfg(feature = "signal")]
use crate::protocol::named;
use crate::protocol::orders::Answer;
use crate::protocol::ownership::Epoch;
use crate::protocol::requests::{Requester, Taken};
use crate::scope::Snapshot;
use crate::section::{
    Collecting, EventSink, Place, SectionError, SectionResult, SectionWriter, SeenThread, StackId,
    Stop,
};
#[cfg(feature = "stacks")]
use crate::sections::{modules, threads::Sampled};
use crate::sections::{package, processes, threads as threads_section};
use crate::sink::Sink;
use crate::sink::destination::{Destination, OpenLine};
use crate::sys::clock;
use crate::threads::{self, Asking, Listed, ThreadRecord};
use crate::view::{JsonStyle, JsonView, TextView, View, ViewKind};

/// Where a report is: what a takeover names, and what the next report skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step(u32);

impl Step {
    const NONE: Self = Step(0);
    const HEAD: Self = Step(1);
    const COLLECT: Self = Step(2);
    const PACKAGE: Self = Step(3);
    const THREADS: Self = Step(4);
    const PROCESSES: Self = Step(5);
    const END: Self = Step(6);
    #[cfg(feature = "stacks")]
    const MODULES: Self = Step(7);
    /// A registered section's step is this plus its order number.
    const FIRST_REGISTERED: u32 = 16;

    fn registered(order: u32) -> Self {
        Step(Self::FIRST_REGISTERED.saturating_add(order))
    }

    fn is_registered(self) -> bool {
        self.0 >= Self::FIRST_REGISTERED
    }

    /// What to call it in the report.
    fn title(self, engine: &Engine) -> &'static str {
        match self {
            Step::NONE => "its end",
            Step::HEAD => "its head",
            Step::COLLECT => "the collection of threads",
            Step::PACKAGE => package::TITLE,
            Step::THREADS => threads_section::TITLE,
            Step::PROCESSES => processes::TITLE,
            Step::END => "its end block",
            #[cfg(feature = "stacks")]
            Step::MODULES => modules::TITLE,
            Step(other) => {
                let order = other.saturating_sub(Self::FIRST_REGISTERED);
                engine.registry.title(order).unwrap_or("a section that was unregistered since")
            }
        }
    }
}

/// A report that was abandoned by the takeover that leads to this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Previous {
    sequence: u64,
    step: Step,
}

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
struct Output(u32);

impl Output {
    const NOWHERE: Self = Output(0);
    /// An order's output is this plus its place.
    const FIRST_ORDER: u32 = 256;

    fn destination(place: u32) -> Self {
        Output(place.saturating_add(1))
    }

    fn order(place: usize) -> Self {
        Output(Self::FIRST_ORDER.saturating_add(u32::try_from(place).unwrap_or(0)))
    }

    /// Holds it, and says how it is written to.
    fn hold(self, engine: &Engine) -> Option<Outlet<'_>> {
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
enum Outlet<'a> {
    Destination(Held<'a, Destination>, ViewKind),
    Order(Held<'a, Order>),
}

impl Outlet<'_> {
    fn destination(&self) -> &Destination {
        match self {
            Outlet::Destination(destination, _) => destination,
            Outlet::Order(order) => &order.destination,
        }
    }

    fn view(&self) -> ViewKind {
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

/// When the report on `bank` is overdue, CLOCK_MONOTONIC in nanoseconds.
#[cfg(feature = "signal")]
pub(crate) fn due_ns(engine: &Engine, bank: usize) -> u64 {
    let began = engine.cell(bank).map_or(0, |cell| cell.began_ns.load(Ordering::Acquire));
    began.saturating_add(nanoseconds(engine.options.report_deadline))
}

/// Takes the overdue report `stuck` over and writes a new one on `bank`.
#[cfg(feature = "signal")]
pub(crate) fn take_over(
    engine: &Engine,
    lease: &mut Lease<'_>,
    bank: usize,
    job: Job,
    stuck: Epoch,
) {
    let (Some(cell), Some(other)) = (engine.cell(bank), engine.cell(stuck.bank())) else {
        return;
    };
    cell.began_ns.store(clock::monotonic_ns(), Ordering::Release);
    let step = Step(other.step.load(Ordering::Acquire));
    // Before the takeover: its old holder clears this when it comes back, and
    // it can only notice afterwards.
    other.stuck_in.store(step.0, Ordering::Release);
    let Some(epoch) = engine.ownership.take_over(stuck, bank) else {
        // It finished at the last moment.
        other.stuck_in.store(0, Ordering::Release);
        return;
    };
    let previous = Previous { sequence: stuck.sequence(), step };
    // Held, or the number that is fenced could be the program's by then. Its old
    // holder may be coming back: the place could be the next caller's.
    if let Some(outlet) = named::hold(&other.output, |output| Output(output).hold(engine)) {
        outlet.destination().fence(stuck.bank(), engine.null.as_fd());
        end_abandoned(engine, lease, bank, epoch, previous, &outlet);
    }
    engine.stats.abandoned.fetch_add(1, Ordering::Relaxed);
    write(engine, lease, cell, epoch, job, Some(previous), None);
}

/// Ends the abandoned report visibly, wherever it went and wherever it stopped:
/// the next report may go elsewhere.
#[cfg(feature = "signal")]
fn end_abandoned(
    engine: &Engine,
    lease: &mut Lease<'_>,
    bank: usize,
    epoch: Epoch,
    previous: Previous,
    outlet: &Outlet<'_>,
) {
    let is_current = || engine.ownership.is_current(epoch);
    // The new report is to end before it counts as stuck (`compose`).
    let patience = nanoseconds(engine.options.report_deadline) >> 3;
    let patience = patience.min(nanoseconds(engine.options.output_deadline));
    let deadline_ns = clock::monotonic_ns().saturating_add(patience);
    let null = engine.null.as_fd();
    let line = outlet.destination().open_line(bank, null, deadline_ns, &is_current);
    let Some(line) = line else { return };
    let mut sink = Sink::new(line, lease.bank().sink);
    if outlet.view() == ViewKind::Text {
        let mut words = heapless::String::<256>::new();
        let _ = uwrite!(
            &mut words,
            "\nEnd of report {}: incomplete (abandoned in {})\n\n",
            previous.sequence,
            previous.step.title(engine)
        );
        let _ = sink.write_str(&words);
    } else {
        // The next document begins on a line of its own.
        let _ = sink.write_str("\n");
    }
    sink.flush(true);
}

fn nanoseconds(duration: core::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

enum AnyView {
    Text(TextView),
    Json(JsonView),
}

impl AnyView {
    fn new(kind: ViewKind) -> Self {
        match kind {
            ViewKind::Text => AnyView::Text(TextView::new()),
            ViewKind::Json => AnyView::Json(JsonView::new(JsonStyle::Pretty)),
            ViewKind::JsonLine => AnyView::Json(JsonView::new(JsonStyle::Line)),
        }
    }
}

/// View and sink of one report, and its deadlines.
struct Emitter<'a> {
    view: AnyView,
    sink: Sink<'a, OpenLine<'a>>,
    is_current: &'a dyn Fn() -> bool,
    section_deadline_ns: u64,
    /// Size of the report at which the section is cut.
    section_limit_bytes: u64,
}

/// Source lines may take this part of what is left of a report's time. Some
/// seconds by default: a large program without optimisation takes that long
/// once.
const LINES_PART_OF_DEADLINE: u64 = 3;

/// The most a registered section may write. A runaway section would otherwise
/// fill the disk within its deadline.
const MAX_SECTION_BYTES: u64 = 16 << 20;

impl Emitter<'_> {
    /// The reporter's own event: no deadline applies.
    fn put(&mut self, event: &Event<'_>) {
        match &mut self.view {
            AnyView::Text(view) => view.event(event, &mut self.sink),
            AnyView::Json(view) => view.event(event, &mut self.sink),
        }
    }

    fn value<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.put(&Event::Value { key, value: value.into() });
    }
}

impl EventSink for Emitter<'_> {
    fn deadline_ns(&self) -> u64 {
        self.section_deadline_ns
    }

    fn check(&self) -> Result<(), Stop> {
        let is_over = !(self.is_current)() || clock::monotonic_ns() >= self.section_deadline_ns;
        if is_over { Err(Stop) } else { Ok(()) }
    }

    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        self.check()?;
        if self.sink.total_bytes() > self.section_limit_bytes {
            return Err(Stop);
        }
        // The report's own structure is not a section's to write.
        if !event.is_content() {
            return Ok(());
        }
        self.put(event);
        Ok(())
    }
}

/// How the sections went.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    ok: u32,
    failed: u32,
    skipped: u32,
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

fn write(
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
    report.enter(Step::COLLECT);
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

/// What a registered section writes through: it may ask for the report's own
/// threads.
struct Showing<'s, 'w, 'f> {
    out: &'s mut SectionWriter<'w>,
    facts: &'s threads_section::Facts<'f>,
    sequence: u64,
}

impl EventSink for Showing<'_, '_, '_> {
    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        self.out.event(event)
    }

    fn emit_exposed(&mut self, event: &Event<'_>) -> Result<(), Stop> {
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

/// Writing what was collected fails for one reason only.
fn stopped(outcome: SectionResult) -> Result<(), Stop> {
    outcome.map_err(|_| Stop)
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

fn capture_signal() -> Option<u32> {
    #[cfg(feature = "stacks")]
    {
        u32::try_from(crate::signal::capture::signal()).ok().filter(|signal| *signal != 0)
    }
    #[cfg(not(feature = "stacks"))]
    None
}

impl Report<'_> {
    fn enter(&mut self, step: Step) {
        self.cell.step.store(step.0, Ordering::Release);
    }

    fn head(&mut self, taken: &Taken, previous: Option<Previous>, bytes: &mut [u8]) {
        let (engine, out) = (self.engine, &mut self.out);
        out.put(&Event::BeginReport);
        out.put(&Event::BeginHead);
        out.value("report", self.epoch.sequence());
        if taken.coalesced > 0 {
            out.value("requests coalesced", taken.coalesced);
        }
        if let Some(service) = engine.options.service_name {
            out.value("service", service);
        }
        let who = describe_requester(taken.requester.as_ref(), bytes);
        out.value("requested by", Value::Bytes(&who));
        out.value("time", Value::Timestamp(clock::now()));
        if let Some(age) = process_age(engine, bytes) {
            out.value("uptime", Value::DurationNs(age));
        }
        out.value("host", Value::Bytes(engine.facts.host()));
        out.value("pid", engine.pid);
        // Keys come once: further out than the next namespace is another key.
        for (key, outer) in OUTER_PID_KEYS.into_iter().zip(outer_pids(bytes).iter().rev()) {
            out.value(key, *outer);
        }
        let ignored = engine.stats.ignored.load(Ordering::Relaxed);
        if ignored > 0 {
            out.value("requests ignored (forked children, after shutdown or release)", ignored);
        }
        if let Some(previous) = previous {
            let title = previous.step.title(engine);
            out.put(&Event::BeginGroup { key: Some("previous report") });
            out.value("report", previous.sequence);
            out.value("complete", false);
            out.value("abandoned in", title);
            out.put(&Event::Close);
        }
    }

    /// Lets the threads run for a while.
    #[cfg(feature = "stacks")]
    fn rest(&self, interval_ns: u64) {
        rest(interval_ns, self.deadline_ns, self.out.is_current);
    }

    /// Lets registered sections look at the process.
    fn collect_sections(
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

    /// When the capture of sample `number` (0 or 1) has to be done. One may take half
    /// of the report's time. Of two, the first leaves the second as much as itself,
    /// whatever the rest in between takes (at most a quarter of the report's deadline).
    #[cfg(feature = "stacks")]
    fn capture_deadline_ns(&self, number: u32) -> u64 {
        let quarter = self.deadline_ns.saturating_sub(self.began_ns) >> 2;
        let quarters = match (self.engine.options.sample_interval, number) {
            (None, _) => 2,
            (Some(_), 0) => 1,
            (Some(_), _) => 3,
        };
        self.began_ns.saturating_add(quarter.saturating_mul(quarters))
    }

    #[cfg(feature = "stacks")]
    fn capture(
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
        let out = &mut self.out;
        let evidence = Evidence { engine: self.engine, threads: facts, stuck: &stuck };
        findings::write(&evidence, bytes, dirents, &mut |finding| {
            out.put(&Event::Finding(*finding));
        });
    }

    fn section(
        &mut self,
        step: Step,
        title: &'static str,
        generate: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) {
        self.section_with(step, title, |report| report.generate(step, generate));
    }

    /// A section whose content `write` has written.
    fn section_with(
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
    fn generate(
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

    /// Has the host find the source lines of all addresses.
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    fn prepare_lines(
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
    #[cfg(feature = "stacks")]
    fn stack_of(
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
    #[cfg(all(feature = "stacks", feature = "symbols"))]
    fn more_names(
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

    /// Shows a stack within a section.
    #[cfg(feature = "stacks")]
    fn show_stack(
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

    fn end(
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

/// `SIGUSR2 from pid 4711 (bash), uid 1000`
fn describe_requester(who: Option<&Requester>, bytes: &mut [u8]) -> heapless::Vec<u8, 128> {
    let mut text = heapless::Vec::<u8, 128>::new();
    let Some(who) = who else {
        let _ = text.extend_from_slice(b"unknown (the first requester could not leave its name)");
        return text;
    };
    if let Some((tid, for_ns)) = who.stalled() {
        let _ = match tid {
            0 => uwrite!(&mut text, "stall watch (an async runtime, "),
            _ => uwrite!(&mut text, "stall watch (#{} in one poll, ", tid),
        };
        let _ = uwrite!(&mut text, "{} ms)", for_ns / 1_000_000);
        return text;
    }
    if who.signal == 0 {
        let _ = text.extend_from_slice(b"a call of the program");
        return text;
    }
    match signal_name(who.signal) {
        Some(name) => {
            let _ = uwrite!(&mut text, "{}", name);
        }
        None => {
            let _ = uwrite!(&mut text, "signal {}", who.signal);
        }
    }
    if who.code > 0 {
        let _ = uwrite!(&mut text, " from the kernel");
        return text;
    }
    if who.pid == 0 {
        let _ = uwrite!(&mut text, " from outside this pid namespace");
    } else {
        let _ = uwrite!(&mut text, " from pid {}", who.pid);
        let mut path =
            crate::procfs::path::SmallPath::new().push("/proc/").number(who.pid).push("/comm");
        if let Some(path) = path.as_c_str()
            && let Ok(comm) = read::file(rustix::fs::CWD, path, bytes)
        {
            let name = comm.bytes.strip_suffix(b"\n").unwrap_or(comm.bytes);
            let name = name.get(..name.len().min(32)).unwrap_or(name);
            let _ = text.extend_from_slice(b" (");
            let _ = text.extend_from_slice(name);
            let _ = text.extend_from_slice(b")");
        }
    }
    let _ = uwrite!(&mut text, ", uid {}", who.uid);
    text
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGTERM => "SIGTERM",
        libc::SIGALRM => "SIGALRM",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGURG => "SIGURG",
        _ => return None,
    })
}

fn process_age(engine: &Engine, bytes: &mut [u8]) -> Option<u64> {
    let content = read::file(rustix::fs::CWD, c"/proc/self/stat", bytes).ok()?;
    let stat = crate::procfs::stat::parse(content.bytes)?;
    crate::procfs::uptime::age_ns(
        crate::procfs::uptime::boot_time_ns(),
        stat.start_ticks?,
        engine.facts.ticks_per_second(),
    )
}

/// Our process id in outer namespaces, from the next one on; more are left out.
const OUTER_PID_KEYS: [&str; 3] = [
    "pid in an outer namespace",
    "pid two namespaces further out",
    "pid three namespaces further out",
];

/// The process ids by which outer namespaces know us, if /proc shows them, the
/// outermost first.
fn outer_pids(bytes: &mut [u8]) -> heapless::Vec<u32, 8> {
    let Ok(content) = read::file(rustix::fs::CWD, c"/proc/self/status", bytes) else {
        return heapless::Vec::new();
    };
    let status = crate::procfs::status::parse(content.bytes);
    let inner = status.ns_pids.len().saturating_sub(1);
    status.ns_pids.iter().take(inner).copied().take(8).collect()
}
