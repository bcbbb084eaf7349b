//! Writes Runtime: blocked workers with their stacks first, then each runtime, then
//! each worker.

use gmr_core::model::{Column, Value};
use gmr_core::{SectionResult, SectionWriter};

use super::collection::{Collection, RuntimeSeen, WorkerSeen};
use crate::setup::State;
use crate::text::Text;
use crate::workers::Standing;

/// Blocked workers whose stacks are shown; all are listed.
const MAX_STACKS: usize = 16;

const RUNTIMES: [Column<'_>; 9] = [
    Column::number("runtime", 7),
    Column::text("flavor", 14),
    Column::text("known by", 12),
    Column::number("workers", 7),
    Column::number("driving", 7),
    Column::number("tasks", 9),
    Column::number("queued", 7),
    Column::number("blocking", 8),
    Column::number("others", 6),
];

const WORKERS: [Column<'_>; 8] = [
    Column::number("runtime", 7),
    Column::number("worker", 6),
    Column::number("thread", 8),
    Column::text("name", 16),
    Column::text("state", 8),
    Column::number("task", 8),
    Column::number("parked", 10),
    Column::number("busy", 12),
];

pub(super) fn write(
    state: &'static State,
    collection: &mut Collection,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let collection = &*collection;
    write_summary(collection, out)?;
    match state.places() {
        Some(Err(why)) => {
            let mut text = Text::<256>::new();
            text.text("which thread polls which task is not known: ").text(why);
            out.value("threads", text.as_str())?;
        }
        None => out.value("threads", "which thread polls which task is not known yet")?,
        Some(Ok(places)) if !places.knows_polls() => {
            out.value("polls", "one poll cannot be told from the next of the same task")?;
        }
        Some(Ok(places)) if !places.knows_workers() => {
            out.value("threads", "which worker a thread is, is not known")?;
        }
        Some(Ok(_)) => {}
    }
    if let Some(why) = state.why_no_watch() {
        out.value("stall watch", why)?;
    }
    if collection.threads_unknown != 0 {
        out.value("threads that could not be looked at", collection.threads_unknown)?;
    }
    if collection.is_cut {
        out.value("workers", "the time was over before they could be judged")?;
    }
    write_blocked(collection, out)?;
    out.table("runtimes", &RUNTIMES, |table| {
        for (runtime, number) in collection.runtimes.iter().zip(1_u64..) {
            table.row(&runtime_row(collection, runtime, number))?;
        }
        Ok(())
    })?;
    out.table("workers", &WORKERS, |table| {
        for worker in &collection.workers {
            table.row(&worker_row(collection, worker))?;
        }
        Ok(())
    })?;
    if collection.workers_left_out != 0 {
        out.value("workers left out", collection.workers_left_out)?;
    }
    Ok(())
}

fn write_summary(collection: &Collection, out: &mut SectionWriter<'_>) -> SectionResult {
    let workers = &collection.workers;
    let count = |is: fn(&WorkerSeen) -> bool| workers.iter().filter(|worker| is(worker)).count();
    let blocked = count(|worker| worker.blocked.is_some());
    let parked = count(|worker| worker.standing == Standing::Parked);
    let mut text = Text::<160>::new();
    let runtimes = collection.runtimes.len() as u64;
    text.number(runtimes).text(if runtimes == 1 { " runtime, " } else { " runtimes, " });
    text.number(workers.len() as u64).text(" workers: ");
    text.number(parked as u64).text(" parked, ").number(blocked as u64).text(" blocked");
    out.value("summary", text.as_str())?;
    Ok(())
}

/// What a blocked worker does, in words: for here and for findings.
pub(super) fn describe<const BYTES: usize>(
    collection: &Collection,
    worker: &WorkerSeen,
    text: &mut Text<BYTES>,
) {
    let Some(blocked) = worker.blocked else { return };
    let thread = worker.thread.and_then(|number| collection.threads.get(number));
    if let Some(thread) = thread {
        text.lossy(thread.name()).text(" #").number(u64::from(thread.tid));
    }
    match blocked.poll.task {
        0 => text.text(" has polled the future of block_on"),
        task => text.text(" has polled task ").number(task),
    };
    let told = thread.and_then(|thread| {
        super::tasks::polled_for_ns(collection, thread, collection.collected_ns)
    });
    match told.filter(|told| *told > blocked.for_ns) {
        Some(told) => text.text(" for ").duration(told),
        None => text.text(" for at least ").duration(blocked.for_ns),
    };
    if !blocked.poll.is_one() {
        text.text(" (the same task at ").number(u64::from(blocked.looks)).text(" looks)");
    }
    let cpu = blocked.cpu_ns.map(|cpu_ns| {
        // Of the time that it was looked at, in percent.
        cpu_ns.saturating_mul(100).checked_div(blocked.for_ns).unwrap_or(0)
    });
    match cpu {
        Some(..5) => text.text(", without using the CPU"),
        Some(percent @ 5..) => text.text(", with ").number(percent.min(100)).text(" % of a CPU"),
        None => text,
    };
}

fn write_blocked(collection: &Collection, out: &mut SectionWriter<'_>) -> SectionResult {
    let blocked = || collection.workers.iter().filter(|worker| worker.blocked.is_some());
    if blocked().next().is_none() {
        return Ok(());
    }
    out.list("blocked", |out| {
        for worker in blocked() {
            let mut text = Text::<256>::new();
            describe(collection, worker, &mut text);
            out.item(text.as_str())?;
        }
        Ok(())
    })?;
    out.blocks("threads", |out| {
        for worker in blocked().take(MAX_STACKS) {
            let thread = worker.thread.and_then(|number| collection.threads.get(number));
            if let Some(thread) = thread {
                out.show_thread(thread.tid)?;
            }
        }
        Ok(())
    })
}

fn runtime_row(
    collection: &Collection,
    runtime: &RuntimeSeen,
    number: u64,
) -> [Value<'static>; RUNTIMES.len()] {
    let metrics = runtime.registered.map(|registered| &registered.metrics);
    let seen = runtime.root.and_then(|root| collection.arena.roots().get(root));
    let tasks = metrics
        .map(|metrics| metrics.num_alive_tasks() as u64)
        .or_else(|| seen.and_then(|seen| seen.alive_after));
    [
        number.into(),
        runtime.flavor.word().into(),
        if metrics.is_some() { "registration" } else { "its threads" }.into(),
        metrics.map(|metrics| metrics.num_workers() as u64).into(),
        runtime.driving.into(),
        tasks.into(),
        metrics.map(|metrics| metrics.global_queue_depth() as u64).into(),
        runtime.blocking.into(),
        runtime.others.into(),
    ]
}

fn worker_row<'c>(collection: &'c Collection, worker: &WorkerSeen) -> [Value<'c>; WORKERS.len()] {
    let thread = worker.thread.and_then(|number| collection.threads.get(number));
    let runtime = collection.runtimes.get(worker.runtime);
    let registered = runtime.and_then(|runtime| runtime.registered);
    let counted = registered.zip(worker.index).map(|(known, index)| (known, index as usize));
    let counted = counted.filter(|(known, index)| *index < known.metrics.num_workers());
    let is_driven = runtime.is_some_and(|runtime| runtime.driving != 0);
    let state = match worker.standing {
        _ if worker.blocked.is_some() => "blocked",
        _ if worker.is_shared => "shared",
        Standing::Parked => "parked",
        Standing::Between => "active",
        Standing::Polling(_) => "polling",
        Standing::Unknown if thread.is_none() && !is_driven => "undriven",
        Standing::Unknown => "unknown",
    };
    let task = match worker.standing {
        Standing::Polling(poll) if poll.task != 0 => Some(poll.task),
        _ => None,
    };
    let task = task.or_else(|| thread.and_then(|thread| collection.polled(thread)));
    [
        (worker.runtime as u64).saturating_add(1).into(),
        worker.index.into(),
        thread.map(|thread| thread.tid).into(),
        thread.map(|thread| Value::Bytes(thread.name())).into(),
        state.into(),
        task.into(),
        counted.map(|(known, index)| known.metrics.worker_park_count(index)).into(),
        counted.map(|(known, index)| known.metrics.worker_total_busy_duration(index)).into(),
    ]
}
