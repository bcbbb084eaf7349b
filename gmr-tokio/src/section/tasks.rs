//! Writes Green Threads.
//!
//! 1. How many tasks there are and were seen, of how many runtimes; the table, the
//!    self tests; every limit that was hit.
//! 2. The tasks that are being polled, the longest poll first, each with its thread
//!    (whose stack is in Threads).
//! 3. Those that wait to be polled, then those that wait at an `.await`: equal trees
//!    are one block, the longest wait first where it is known, then the largest
//!    block.
//! 4. The tasks that only a thread tells of: `spawn_blocking`.
//!
//! Without a table only what the program tracks itself is listed, with the reason.

use gmr_core::model::{Task, TaskState};
use gmr_core::{SectionResult, SectionWriter};

use super::collection::{Collection, Listing, ThreadSeen, outcome};
use crate::collect::{Group, RootSummary};
use crate::setup::probe::Outcome;
use crate::setup::{State, TableReady};
use crate::text::Text;
use crate::tracked::{Facts, Phase};

/// Ids of a block that are given.
const MAX_IDS: usize = 100;

/// Edges of one block that are given.
const MAX_EDGES_SHOWN: u64 = 32;

/// Tracked futures that are listed when there is no table.
const MAX_TRACKED_SHOWN: u32 = 1000;

pub(super) fn write(
    state: &'static State,
    collection: &mut Collection,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    write_summary(collection, state.table(), out)?;
    write_sources(state, collection, out)?;
    write_limits(collection, out)?;
    let now_ns = collection.collected_ns;
    match (collection.listing, state.table()) {
        (Listing::Read, Some(table)) => {
            sort(collection);
            let collection = &*collection;
            out.blocks("tasks", |out| {
                let lister = Lister { collection, table, now_ns };
                lister.write_running(out)?;
                lister.write_groups(out)?;
                write_unlisted(collection, now_ns, out)?;
                write_blocking(collection, Some(table), out)
            })
        }
        _ => {
            let collection = &*collection;
            out.blocks("tasks", |out| {
                write_running_alone(collection, now_ns, out)?;
                write_tracked(collection, now_ns, crate::tracked::each, "no await table", out)?;
                write_blocking(collection, None, out)
            })
        }
    }
}

fn write_summary(
    collection: &Collection,
    table: Option<&TableReady>,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let mut text = Text::<160>::new();
    if collection.listing == Listing::Read {
        let roots = collection.arena.roots();
        let seen = roots.iter().fold(0_u64, |sum, root| sum.saturating_add(root.seen));
        // The self tests' are not the program's.
        let own = table.map_or(0, |table| own_tasks(collection, table));
        let seen = seen.saturating_sub(own);
        let alive = alive(collection).saturating_sub(own);
        text.number(seen).text(" tasks seen of ").number(alive).text(" alive, ");
    } else {
        text.text("tasks are not listed, ");
        let metrics = collection.runtimes.iter().filter_map(|runtime| runtime.registered);
        let counts = metrics.map(|known| known.metrics.num_alive_tasks() as u64);
        let alive = counts.fold(0_u64, u64::saturating_add);
        if alive != 0 {
            text.number(alive).text(if alive == 1 { " is alive, " } else { " are alive, " });
        }
    }
    let all = collection.runtimes.len() as u64;
    let met = collection.runtimes.iter().filter(|runtime| runtime.registered.is_none()).count();
    text.number(all).text(if all == 1 { " runtime" } else { " runtimes" });
    if met != 0 {
        text.text(" (").number(all.saturating_sub(met as u64)).text(" registered, ");
        text.number(met as u64).text(" met)");
    }
    if collection.local_sets != 0 {
        text.text(", ").number(u64::from(collection.local_sets));
        text.text(if collection.local_sets == 1 { " local set" } else { " local sets" });
    }
    out.value("summary", text.as_str())?;
    Ok(())
}

/// Whether a kind of task is the self test's.
fn is_own(table: &TableReady, kind: Option<u32>) -> bool {
    let table = table.loaded.table();
    kind.and_then(|kind| table.task(kind))
        .and_then(|task| table.ty(task.future))
        .is_some_and(|ty| ty.name.starts_with("gmr_tokio::setup::probe::"))
}

/// How many tasks of the report are self tests.
fn own_tasks(collection: &Collection, table: &TableReady) -> u64 {
    let groups = collection.arena.groups();
    groups
        .filter(|group| group.root.is_some() && is_own(table, group.kind))
        .fold(0_u64, |sum, group| sum.saturating_add(group.count))
}

/// How many tasks there are: as the lists say; as a runtime's metrics say if its list
/// could not be read, or seems to be empty.
fn alive(collection: &Collection) -> u64 {
    let roots = collection.arena.roots();
    let of_root = |root: &RootSummary| root.alive_after.unwrap_or(root.seen);
    let of_runtimes = collection.runtimes.iter().map(|runtime| {
        let counted = runtime.root.and_then(|root| roots.get(root)).map_or(0, of_root);
        let told = runtime.registered.map_or(0, |known| known.metrics.num_alive_tasks() as u64);
        if counted == 0 { told } else { counted }
    });
    let is_local =
        |number: usize| !collection.runtimes.iter().any(|runtime| runtime.root == Some(number));
    let of_sets = roots.iter().enumerate().filter(|(number, _)| is_local(*number));
    of_runtimes
        .chain(of_sets.map(|(_, root)| of_root(root)))
        .fold(0_u64, |sum, alive| sum.saturating_add(alive))
}

/// The table and the self tests: what the list rests upon.
fn write_sources(
    state: &'static State,
    collection: &Collection,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    match (state.table(), state.why_no_table()) {
        (Some(table), _) => {
            let mut text = Text::<512>::new();
            text.number((table.loaded.image_bytes() as u64).div_ceil(1024)).text(" KiB ");
            text.text(&table.origin).text(", in ");
            text.duration(crate::setup::nanoseconds(table.elapsed));
            out.value("await table", text.as_str())?;
            if !table.refused.is_empty() {
                out.value("await table refused", table.refused.as_str())?;
            }
            write_found(table, out)?;
            let notes = table.loaded.table().notes();
            if !notes.is_empty() {
                out.value("await table notes", notes)?;
            }
        }
        (None, Some(why)) => {
            let mut text = Text::<512>::new();
            text.text("none: ").text(why);
            out.value("await table", text.as_str())?;
        }
        (None, None) => out.value("await table", "not ready yet: it is still being made")?,
    }
    if collection.listing != Listing::Read {
        out.value(
            "all tasks",
            "unavailable without an await table: what the program tracks itself is shown",
        )?;
        return Ok(());
    }
    for (runtime, number) in collection.runtimes.iter().zip(1_u64..) {
        let Some(registered) = runtime.registered else {
            if runtime.root.is_none() {
                let mut text = Text::<160>::new();
                text.text("runtime ").number(number);
                text.text(": its list of tasks is not where the await table says");
                out.value("not listed", text.as_str())?;
            }
            continue;
        };
        let outcome = outcome(registered);
        if outcome == Outcome::Passed && runtime.root.is_some() {
            continue;
        }
        let mut text = Text::<256>::new();
        text.text("runtime ").number(number).text(": ").text(outcome.words());
        if outcome == Outcome::Failed {
            let why = registered.probe.get().map_or("", |probe| probe.why());
            text.text(": ")
                .text(why)
                .text("; of its tasks those are shown that the program tracks itself");
        } else if runtime.root.is_none() {
            text.text("; its list of tasks is not where the await table says: not listed");
        }
        out.value("self test", text.as_str())?;
    }
    Ok(())
}

/// What of the table could not be used in this process.
fn write_found(table: &TableReady, out: &mut SectionWriter<'_>) -> SectionResult {
    let found = table.loaded.found();
    let mut text = Text::<200>::new();
    let mut add = |count: u64, words: &str| {
        if count != 0 {
            if !text.as_str().is_empty() {
                text.text("; ");
            }
            text.number(count).text(words);
        }
    };
    add(u64::from(found.ambiguous), " vtables that several kinds of tasks may have");
    add(u64::from(found.unsound), " kinds of tasks that contradict themselves");
    add(found.bytes_left_out, " bytes of data were not searched");
    if !text.as_str().is_empty() {
        out.value("await table not used", text.as_str())?;
    }
    Ok(())
}

/// What was left out, and why.
fn write_limits(collection: &Collection, out: &mut SectionWriter<'_>) -> SectionResult {
    let mut say = |count: u64, words: &str| -> SectionResult {
        if count != 0 {
            let mut text = Text::<160>::new();
            text.number(count).text(" ").text(words);
            out.value("left out", text.as_str())?;
        }
        Ok(())
    };
    if collection.listing == Listing::Read {
        let sum = |of: fn(&RootSummary) -> u64| {
            collection.arena.roots().iter().fold(0_u64, |sum, root| sum.saturating_add(of(root)))
        };
        say(
            sum(|root| u64::from(root.is_cut)),
            "lists: more tasks than there is room for (Options::max_tasks)",
        )?;
        say(
            sum(|root| u64::from(root.is_over)),
            "lists: not read to their ends, the time was over",
        )?;
        say(sum(|root| root.lists_given_up), "lists: changed faster than they could be followed")?;
        say(sum(|root| u64::from(root.is_gone)), "lists: gone while they were read")?;
        say(collection.arena.trees_left_out(), "tasks: too many different await trees")?;
        say(collection.arena.edges_left_out(), "edges between tasks: too many")?;
        let extras = collection.arena.extras();
        let is_cut = extras.is_cut || extras.is_over;
        say(u64::from(is_cut), "list of tracked futures: no room, or the time was over")?;
        say(collection.arena.roots_left_out() as u64, "runtimes or local sets: too many")?;
        say(u64::from(collection.extras_left_out), "tracked futures in no list: too many")?;
    }
    say(u64::from(collection.threads_left_out), "threads: too many to look at")?;
    say(collection.tracked.left_out(), "tracked futures: too many to be found by their tasks")?;
    #[cfg(feature = "waker-trace")]
    say(collection.traces_left_out, "waker traces: too many to be shown")?;
    #[cfg(feature = "waker-trace")]
    say(crate::waker_trace::untraced(), "wakers: not traced, there was no room")?;
    say(crate::tracked::untracked(), "futures: not tracked, there was no room")?;
    if !collection.are_local_sets_known {
        out.value("local sets", "not read: one is being registered just now")?;
    }
    Ok(())
}

/// Sorts the groups, see the head of this file.
fn sort(collection: &mut Collection) {
    let Collection { arena, order, tracked, collected_ns, .. } = collection;
    order.clear();
    for (group, number) in arena.groups().zip(0_u32..) {
        if order.len() == order.capacity() {
            break;
        }
        let rank = match group.state {
            TaskState::Running => 0,
            TaskState::Scheduled => 1,
            TaskState::Suspended => 2,
            TaskState::New => 3,
            TaskState::Blocking => 4,
            TaskState::Unstable => 5,
            TaskState::Unknown => 6,
            _ => 7,
        };
        let longest = longest_wait(&group, tracked, *collected_ns).unwrap_or(0);
        order.push((rank, u64::MAX - longest, u64::MAX - group.count, number));
    }
    order.sort_unstable();
}

/// How long the one of them that waits longest has waited, of those that tell.
fn longest_wait(group: &Group<'_>, tracked: &crate::tracked::Index, now_ns: u64) -> Option<u64> {
    group.ids().filter_map(|id| waits_for_ns(&tracked.find(id)?, now_ns)).max()
}

/// Since its last poll began, if it waits; since it was made, if it was never polled.
fn waits_for_ns(facts: &Facts, now_ns: u64) -> Option<u64> {
    let since = match facts.phase {
        Phase::New => facts.created_ns,
        Phase::Suspended => facts.poll_began_ns,
        _ => None,
    };
    since.map(|since| now_ns.saturating_sub(since))
}

struct Lister<'c> {
    collection: &'c Collection,
    table: &'c TableReady,
    now_ns: u64,
}

impl Lister<'_> {
    /// The name of a task's future, and where it is defined.
    fn kind(&self, kind: Option<u32>, is_task: bool) -> Kind<'_> {
        let table = self.table.loaded.table();
        match kind {
            Some(kind) if is_task => {
                let Some(task) = table.task(kind) else { return Kind::default() };
                Kind {
                    future: table.ty(task.future).map(|ty| ty.name),
                    place: (task.line != 0).then_some((task.file, task.line)),
                }
            }
            Some(ty) => Kind { future: table.ty(ty).map(|ty| ty.name), place: None },
            None => Kind::default(),
        }
    }

    fn write_running(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        for thread in by_poll_time(self.collection, self.now_ns) {
            let Some(id) = self.collection.polled(thread) else { continue };
            let facts = self.collection.tracked.find(id);
            let seen = self.collection.arena.task(id);
            // Its poll was over when the lists were read: it is in its group.
            let is_over = seen.is_some_and(|seen| seen.state != TaskState::Running);
            if is_over || is_own(self.table, seen.and_then(|seen| seen.kind)) {
                continue;
            }
            let kind = self.kind(seen.and_then(|seen| seen.kind), true);
            write_polled(self.collection, thread, id, &kind, facts.as_ref(), self.now_ns, out)?;
        }
        Ok(())
    }

    fn write_groups(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        for (.., number) in &self.collection.order {
            out.check()?;
            if let Some(group) = self.collection.arena.group(*number) {
                self.write_group(&group, out)?;
            }
        }
        Ok(())
    }

    fn write_group(&self, group: &Group<'_>, out: &mut SectionWriter<'_>) -> SectionResult {
        let is_task = group.root.is_some();
        if is_task && is_own(self.table, group.kind) {
            return Ok(());
        }
        let mut ids = heapless::Vec::<u64, MAX_IDS>::new();
        // Tasks that threads poll have had their blocks; those whose id two threads
        // have, as in block_in_place, too.
        let is_shown =
            |id: &u64| group.state == TaskState::Running && is_task && self.is_polled(*id);
        let mut count = 0_u64;
        let mut first = None;
        for id in group.ids().filter(|id| !is_shown(id)) {
            count = count.saturating_add(1);
            first = first.or(Some(id));
            if is_task {
                let _ = ids.push(id);
            }
        }
        let Some(first) = first else { return Ok(()) };
        let facts = if is_task {
            self.collection.tracked.find(first)
        } else {
            usize::try_from(first)
                .ok()
                .and_then(|key| self.collection.extra_facts.get(key))
                .copied()
        };
        let longest = if is_task {
            longest_wait(group, &self.collection.tracked, self.now_ns)
        } else {
            facts.as_ref().and_then(|facts| waits_for_ns(facts, self.now_ns))
        };
        let kind = self.kind(group.kind, is_task);
        // What the tree begins with is not said twice.
        let begins = group.levels().first().map(|level| level.shown(self.table.loaded.table()));
        let future = kind.future.filter(|name| begins.is_none_or(|level| level.function != *name));
        let single = facts.as_ref().filter(|_| count == 1);
        let task = Task {
            count,
            ids: &ids,
            name: name_of(single),
            state: group.state,
            tid: None,
            for_ns: longest,
            future,
        };
        out.task(&task, |out| {
            write_place(kind.place, out)?;
            if let Some(facts) = single {
                write_facts(facts, self.now_ns, out)?;
            } else if let Some(facts) = &facts {
                write_spawned(facts, out)?;
            }
            if group.cancelled != 0 {
                out.value("aborted", group.cancelled)?;
            }
            if !is_task {
                out.value("in", "no list of tasks: block_on, another executor, or part of one")?;
            }
            let levels = group.levels();
            for level in levels {
                out.await_level(&level.shown(self.table.loaded.table()))?;
            }
            // The tree of one task has its edges in its lines.
            if group.count > 1 {
                write_edges(group, out)?;
            }
            if let Some(facts) = single.filter(|_| levels.is_empty()) {
                write_traces(self.collection, facts, out)?;
            }
            if levels.is_empty() {
                let why = why_no_tree(group.state, group.kind.is_some());
                if !why.is_empty() {
                    out.value("undecoded", why)?;
                }
            }
            Ok(())
        })
    }

    fn is_polled(&self, id: u64) -> bool {
        self.collection.threads.iter().any(|thread| self.collection.polled(thread) == Some(id))
    }
}

/// What is known of a task by its kind.
#[derive(Debug, Clone, Copy, Default)]
struct Kind<'a> {
    future: Option<&'a str>,
    place: Option<(&'a str, u32)>,
}

/// Threads, those first whose poll has lasted longest.
fn by_poll_time(collection: &Collection, now_ns: u64) -> impl Iterator<Item = &ThreadSeen> {
    let time = move |thread: &ThreadSeen| polled_for_ns(collection, thread, now_ns).unwrap_or(0);
    // A few dozen at most poll at a time: a selection of the next one each time.
    let mut last: Option<(u64, u32)> = None;
    core::iter::from_fn(move || {
        let candidates = collection.threads.iter().filter(|thread| thread.look.is_driving);
        let next = candidates
            .map(|thread| (thread, (time(thread), u32::MAX - thread.tid)))
            .filter(|(_, key)| last.is_none_or(|last| *key < last))
            .max_by_key(|(_, key)| *key)?;
        last = Some(next.1);
        Some(next.0)
    })
}

/// How long a thread is in its poll: as the task tells, or at least as it was seen.
pub(super) fn polled_for_ns(
    collection: &Collection,
    thread: &ThreadSeen,
    now_ns: u64,
) -> Option<u64> {
    let told = collection
        .tracked
        .find(thread.look.task)
        .filter(|facts| facts.phase == Phase::Polling)
        .and_then(|facts| facts.poll_began_ns)
        .map(|began| now_ns.saturating_sub(began));
    let seen = || {
        let is_its = |number: usize| {
            collection.threads.get(number).is_some_and(|other| other.tid == thread.tid)
        };
        let worker = collection.workers.iter().find(|worker| worker.thread.is_some_and(is_its))?;
        worker.blocked.map(|blocked| blocked.for_ns)
    };
    told.or_else(seen)
}

fn write_polled(
    collection: &Collection,
    thread: &ThreadSeen,
    id: u64,
    kind: &Kind<'_>,
    facts: Option<&Facts>,
    now_ns: u64,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let task = Task {
        count: 1,
        ids: &[id],
        name: name_of(facts),
        state: TaskState::Running,
        tid: Some(thread.tid),
        for_ns: polled_for_ns(collection, thread, now_ns),
        future: kind.future,
    };
    out.task(&task, |out| {
        let mut text = Text::<64>::new();
        text.text("#").number(u64::from(thread.tid)).text(" ").lossy(thread.name());
        out.value("see thread", text.as_str())?;
        write_place(kind.place, out)?;
        if let Some(facts) = facts {
            write_facts(facts, now_ns, out)?;
        }
        Ok(())
    })
}

fn name_of(facts: Option<&Facts>) -> Option<&str> {
    facts.map(|facts| facts.name.as_str()).filter(|name| !name.is_empty())
}

fn write_place(place: Option<(&str, u32)>, out: &mut SectionWriter<'_>) -> SectionResult {
    if let Some((file, line)) = place {
        out.value("defined", Text::<256>::new().place(file, line).as_str())?;
    }
    Ok(())
}

fn write_spawned(facts: &Facts, out: &mut SectionWriter<'_>) -> SectionResult {
    let place = facts.spawned;
    out.value("spawned", Text::<256>::new().place(place.file(), place.line()).as_str())?;
    Ok(())
}

fn write_facts(facts: &Facts, now_ns: u64, out: &mut SectionWriter<'_>) -> SectionResult {
    write_spawned(facts, out)?;
    out.value("polls", facts.polls)?;
    if let Some(created) = facts.created_ns {
        let age = now_ns.saturating_sub(created);
        out.value("age", gmr_core::model::Value::DurationNs(age))?;
    }
    Ok(())
}

/// Which task waits for which, where each waits for another.
fn write_edges(group: &Group<'_>, out: &mut SectionWriter<'_>) -> SectionResult {
    let mut count = 0_u64;
    group.edges(&mut |_, _, _| {
        count = count.saturating_add(1);
        true
    });
    if count == 0 {
        return Ok(());
    }
    out.list("waits for", |out| {
        let (mut shown, mut outcome) = (0_u64, Ok(()));
        group.edges(&mut |from, _, to| {
            let mut text = Text::<64>::new();
            text.number(from).text(" -> ").number(to);
            outcome = out.item(text.as_str());
            shown = shown.saturating_add(1);
            outcome.is_ok() && shown < MAX_EDGES_SHOWN
        });
        outcome?;
        if shown < count {
            let mut text = Text::<64>::new();
            text.number(count.saturating_sub(shown)).text(" more");
            out.item(text.as_str())?;
        }
        Ok(())
    })
}

/// Where a tracked future left its wakers: native stacks.
#[cfg(feature = "waker-trace")]
fn write_traces(
    collection: &Collection,
    facts: &Facts,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    for trace in collection.traces.iter().filter(|trace| trace.id == facts.id) {
        out.value(
            "waker of",
            match (trace.is_of_last_poll, trace.is_cut) {
                (true, false) => "the last poll",
                (true, true) => "the last poll; outer frames are missing",
                (false, false) => "an earlier poll: it may not be waited for any more",
                (false, true) => {
                    "an earlier poll: it may not be waited for any more; outer frames are missing"
                }
            },
        )?;
        out.show_stack(trace.stack)?;
    }
    Ok(())
}

#[cfg(not(feature = "waker-trace"))]
fn write_traces(_: &Collection, _: &Facts, _: &mut SectionWriter<'_>) -> SectionResult {
    Ok(())
}

/// Why there is no tree where there might be one.
fn why_no_tree(state: TaskState, is_kind_known: bool) -> &'static str {
    match state {
        _ if !is_kind_known => "unknown type: the crate that spawns it has no debug information",
        TaskState::Running => "it was being polled",
        TaskState::Unstable => "it changed each time it was read",
        TaskState::Suspended | TaskState::Scheduled => "no room: too many different await trees",
        _ => "",
    }
}

/// Blocking tasks: only the threads that run them tell of them.
fn write_blocking(
    collection: &Collection,
    table: Option<&TableReady>,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    for thread in collection.threads.iter().filter(|thread| thread.is_blocking_task()) {
        let id = thread.look.task;
        let seen = collection.arena.task(id).filter(|_| table.is_some());
        // Of a runtime that runs within a blocking task, say: had its block.
        if seen.is_some() {
            continue;
        }
        let future = table.and_then(|table| joined_type(collection, table, id));
        let task = Task {
            count: 1,
            ids: &[id],
            name: None,
            state: TaskState::Blocking,
            tid: Some(thread.tid),
            for_ns: None,
            future,
        };
        out.task(&task, |out| {
            let mut text = Text::<64>::new();
            text.text("#").number(u64::from(thread.tid)).text(" ").lossy(thread.name());
            out.value("see thread", text.as_str())?;
            Ok(())
        })?;
    }
    Ok(())
}

/// The type of a blocking task that a task of the report waits for.
fn joined_type<'t>(collection: &Collection, table: &'t TableReady, id: u64) -> Option<&'t str> {
    let mut levels = collection.arena.groups().flat_map(|group| group.levels());
    let level = levels.find(|level| level.target_id == id)?;
    let table = table.loaded.table();
    table.ty(table.task(level.target_kind)?.future).map(|ty| ty.name)
}

/// Without a table: what threads poll, by their ids alone.
fn write_running_alone(
    collection: &Collection,
    now_ns: u64,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    for thread in by_poll_time(collection, now_ns) {
        let Some(id) = collection.polled(thread) else { continue };
        let facts = collection.tracked.find(id);
        write_polled(collection, thread, id, &Kind::default(), facts.as_ref(), now_ns, out)?;
    }
    Ok(())
}

/// Of runtimes whose lists are not read: what is tracked.
fn write_unlisted(
    collection: &Collection,
    now_ns: u64,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    if collection.runtimes.iter().all(|runtime| runtime.root.is_some()) {
        return Ok(());
    }
    // Those that were there before the lists were walked: newer ones are in no list
    // that was read either.
    let each = |take: &mut dyn FnMut(&Facts) -> bool| {
        let is_unlisted =
            |facts: &Facts| facts.task_id.is_some_and(|id| collection.arena.task(id).is_none());
        collection.tracked.each(&mut |facts| !is_unlisted(facts) || take(facts));
    };
    write_tracked(collection, now_ns, each, "it is in no list that could be read", out)
}

/// What is tracked, each by itself: all that `each` gives.
fn write_tracked(
    collection: &Collection,
    now_ns: u64,
    each: impl FnOnce(&mut dyn FnMut(&Facts) -> bool),
    why: &str,
    out: &mut SectionWriter<'_>,
) -> SectionResult {
    let (mut shown, mut left_out) = (0_u32, 0_u64);
    let mut outcome = Ok(());
    each(&mut |facts| {
        let state = match facts.phase {
            Phase::New => TaskState::New,
            Phase::Suspended => TaskState::Suspended,
            Phase::Polling => TaskState::Running,
            Phase::Ended => return true,
        };
        let is_polled = facts.task_id.is_some_and(|id| {
            collection.threads.iter().any(|thread| collection.polled(thread) == Some(id))
        });
        if is_polled {
            return true;
        }
        if shown >= MAX_TRACKED_SHOWN {
            left_out = left_out.saturating_add(1);
            return true;
        }
        shown = shown.saturating_add(1);
        let task = Task {
            count: 1,
            ids: facts.task_id.as_slice(),
            name: name_of(Some(facts)),
            state,
            tid: None,
            for_ns: waits_for_ns(facts, now_ns),
            future: Some((facts.future)()),
        };
        outcome = out.task(&task, |out| {
            write_facts(facts, now_ns, out)?;
            out.value("undecoded", why)?;
            write_traces(collection, facts, out)?;
            Ok(())
        });
        outcome.is_ok()
    });
    outcome?;
    if left_out != 0 {
        out.value("tracked futures left out", left_out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn of_a_runtime_whose_list_is_not_read_the_tracked_tasks_are_shown() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let registered = crate::runtimes::keep(runtime.handle()).unwrap();
        registered.root.set(None).unwrap();
        let reports = crate::setup_autorun(crate::package!()).install().unwrap();
        let _ = crate::wait_until_ready(Duration::from_secs(120));
        let entered = runtime.enter();
        let task = crate::spawn_named("tracked all the same", std::future::pending::<()>());
        drop(entered);
        let id = task.id().to_string().parse::<u64>().unwrap();
        let mut is_parked = false;
        while !is_parked {
            crate::tracked::each(&mut |facts| {
                is_parked |= facts.task_id == Some(id) && facts.phase == Phase::Suspended;
                true
            });
        }
        let report = reports.report(crate::View::Text).unwrap();
        assert!(report.contains("\"tracked all the same\""), "{report}");
        assert!(report.contains("undecoded = it is in no list that could be read"), "{report}");
        reports.shutdown();
    }
}
