//! tokio's tasks: where in each kind of task everything is.
//!
//! 1. `tokio::runtime::task::raw::poll<T, S>` names a future and a scheduler;
//!    its address is what a task's vtable holds.
//! 2. The task is a `Cell<T, S>`: the one of the same two types, or of the same
//!    name if all of that name are alike.
//! 3. `S` is an `Arc` of what has the list of tasks.
//!
//! Members are found by their names: offsets differ from version to version.

use std::collections::HashMap;
use std::rc::Rc;

use super::entries::{Entry, Value128};
use super::graph::{Graph, cut};
use super::scan::Found;
use crate::await_table::format::{Entries as Layout, NONE, SchedulerKind};
use crate::lines::budget::Failure;

/// How deep things may be wrapped (`UnsafeCell`, `CoreStage`, `Mutex`, …).
const MAX_WRAPPERS: u32 = 7;

/// A kind of task; as [`Task`](crate::await_table::format::Task).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) poll_svma: u64,
    pub(super) future: u32,
    pub(super) scheduler: usize,
    pub(super) cell: Cell,
}

/// Where in a task everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) scheduler_offset: u32,
    pub(super) id_offset: u32,
    pub(super) stage_offset: u32,
    pub(super) stage_bytes: u32,
    pub(super) tag_offset: u32,
    pub(super) tag_bytes: u32,
    pub(super) tag_running: u64,
    pub(super) future_offset: u32,
    pub(super) trailer_offset: u32,
    pub(super) previous_offset: u32,
    pub(super) next_offset: u32,
    pub(super) bytes: u32,
    /// What must be the same in all tasks.
    header: Header,
}

/// A task's header and its vtable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Header {
    state: u32,
    vtable: u32,
    owner: u32,
    poll: u32,
    trailer: u32,
    scheduler: u32,
    id: u32,
}

/// Where a scheduler has its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scheduler {
    pub(super) name: Rc<str>,
    pub(super) kind: SchedulerKind,
    /// `None`: not known, or there is none.
    pub(super) list: Option<List>,
}

/// As in [`Scheduler`](crate::await_table::format::Scheduler).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    pub(super) id: u32,
    pub(super) shards: u32,
    pub(super) shard_count: u32,
    pub(super) shard_bytes: u32,
    pub(super) list: u32,
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) count: u32,
    pub(super) mask: u32,
}

/// All that is known of tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) tasks: Vec<Task>,
    pub(super) schedulers: Vec<Scheduler>,
    pub(super) layout: Option<Layout>,
    /// Kinds without a `Cell`, or with several that differ.
    pub(super) without_cell: usize,
    /// Kinds of another copy of tokio, whose tasks look otherwise.
    pub(super) of_other_copy: usize,
    /// Functions of one address that poll different futures.
    pub(super) ambiguous: usize,
    /// Schedulers whose list was not found.
    pub(super) without_list: Vec<Rc<str>>,
}

/// A member's offset and type.
type Place = (u64, u64);

fn short(offset: u64) -> Option<u32> {
    u32::try_from(offset).ok()
}

/// Puts together what is known of tasks. Their futures are queued in the graph.
pub(super) fn find(graph: &mut Graph<'_, '_>, found: &Found) -> Result<Tasks, Failure> {
    let mut out = Tasks::default();
    let mut cells: HashMap<Rc<str>, Vec<u64>> = HashMap::new();
    for &at in &found.cells {
        if let Some(cell) = graph.entries.get(at)? {
            let arguments = cell.name.strip_prefix("Cell").unwrap_or_default();
            cells.entry(Rc::from(arguments)).or_default().push(at);
        }
    }
    let mut headers: HashMap<Header, usize> = HashMap::new();
    let mut pending = Vec::new();
    for &(poll_svma, at) in &found.polls {
        graph.entries.budget().step()?;
        let Some(poll) = graph.entries.get(at)? else { continue };
        let (Some(future), Some(scheduler)) = (poll.parameter("T"), poll.parameter("S")) else {
            continue;
        };
        let arguments = poll.name.strip_prefix("poll").unwrap_or_default();
        let named = cells.get(arguments).map(Vec::as_slice).unwrap_or_default();
        let cell = match cell_of(graph, named, future, scheduler) {
            Err(Failure::Damaged(_)) => graph.entries.budget().check().map(|()| None)?,
            cell => cell?,
        };
        let Some(cell) = cell else {
            out.without_cell += 1;
            continue;
        };
        *headers.entry(cell.header).or_default() += 1;
        pending.push((poll_svma, future, scheduler, cell));
    }
    // Of several copies of tokio in one program, that with most tasks.
    let header = headers.iter().max_by_key(|(header, count)| (**count, header.state)).map(|h| *h.0);
    let mut known: HashMap<u64, usize> = HashMap::new();
    for (poll_svma, future, scheduler, cell) in pending {
        if Some(cell.header) != header {
            out.of_other_copy += 1;
            continue;
        }
        let scheduler = match known.get(&scheduler) {
            Some(&index) => index,
            None => {
                let index = scheduler_of(graph, &mut out, scheduler)?;
                known.insert(scheduler, index);
                index
            }
        };
        let future = graph.node(future)?;
        out.tasks.push(Task { poll_svma, future, scheduler, cell });
    }
    out.tasks.sort_by_key(|task| task.poll_svma);
    if let (Some(header), Some(first)) = (header, out.tasks.first()) {
        out.layout = Some(layout(graph, found, header, first.cell)?);
    }
    Ok(out)
}

/// The layout of the task of two types; `None`: there is none, or several.
fn cell_of(
    graph: &mut Graph<'_, '_>,
    named: &[u64],
    future: u64,
    scheduler: u64,
) -> Result<Option<Cell>, Failure> {
    let mut same_name = None;
    for &at in named {
        let Some(entry) = graph.entries.get(at)? else { continue };
        let types: Vec<u64> = entry.parameters.iter().map(|(_, ty)| *ty).collect();
        let Some(cell) = cell(graph, &entry)? else { continue };
        if types == [future, scheduler] {
            return Ok(Some(cell));
        }
        match same_name {
            None => same_name = Some(cell),
            Some(there) if there == cell => {}
            Some(_) => return Ok(None),
        }
    }
    Ok(same_name)
}

fn cell(graph: &mut Graph<'_, '_>, entry: &Entry) -> Result<Option<Cell>, Failure> {
    let at = entry.at;
    let (Some(header), Some((scheduler, _)), Some((id, _)), Some((stage, stage_type))) = (
        path(graph, at, &["header"])?,
        path(graph, at, &["core", "scheduler"])?,
        path(graph, at, &["core", "task_id"])?,
        path(graph, at, &["core", "stage"])?,
    ) else {
        return Ok(None);
    };
    let Some((trailer, trailer_type)) = path(graph, at, &["trailer"])? else { return Ok(None) };
    let Some((inside, stage_type)) = inner(graph, stage_type, "Stage<", MAX_WRAPPERS)? else {
        return Ok(None);
    };
    let Some(stage_entry) = graph.entries.get(stage_type)? else { return Ok(None) };
    let Some(variants) = &stage_entry.variants else { return Ok(None) };
    let Some((tag, tag_bytes @ 1..)) = graph.tag(variants)? else { return Ok(None) };
    let running = variants.list.iter().find(|(_, member)| &*member.name == "Running");
    let Some((Value128::Is(value), running)) = running else { return Ok(None) };
    let (running_offset, running_type) = (running.offset, running.ty);
    let Some((future, _)) = path(graph, running_type, &["__0"])? else { return Ok(None) };
    let Some((pointers, pointers_type)) = inner(graph, trailer_type, "PointersInner<", 5)? else {
        return Ok(None);
    };
    let (Some((previous, _)), Some((next, _))) =
        (path(graph, pointers_type, &["prev"])?, path(graph, pointers_type, &["next"])?)
    else {
        return Ok(None);
    };
    let (0, header_type) = header else { return Ok(None) };
    let Some(header) = header_of(graph, header_type)? else { return Ok(None) };
    let stage = stage.saturating_add(inside);
    let of_future = stage.saturating_add(running_offset).saturating_add(future);
    let pointers = trailer.saturating_add(pointers);
    Ok((|| {
        Some(Cell {
            scheduler_offset: short(scheduler)?,
            id_offset: short(id)?,
            stage_offset: short(stage)?,
            stage_bytes: short(stage_entry.bytes?)?,
            tag_offset: short(stage.checked_add(u64::from(tag))?)?,
            tag_bytes,
            tag_running: cut(*value, tag_bytes),
            future_offset: short(of_future)?,
            trailer_offset: short(trailer)?,
            previous_offset: short(pointers.checked_add(previous)?)?,
            next_offset: short(pointers.checked_add(next)?)?,
            bytes: short(entry.bytes?)?,
            header,
        })
    })())
}

fn header_of(graph: &mut Graph<'_, '_>, at: u64) -> Result<Option<Header>, Failure> {
    let (Some((state, _)), Some((vtable, to_vtable)), Some((owner, _))) = (
        path(graph, at, &["state"])?,
        path(graph, at, &["vtable"])?,
        path(graph, at, &["owner_id"])?,
    ) else {
        return Ok(None);
    };
    let Some((0, vtable_type)) = graph.pointer_in(to_vtable)? else { return Ok(None) };
    let mut of = |name: &str| -> Result<Option<u32>, Failure> {
        Ok(path(graph, vtable_type, &[name])?.and_then(|(offset, _)| short(offset)))
    };
    let (poll, trailer) = (of("poll")?, of("trailer_offset")?);
    let (scheduler, id) = (of("scheduler_offset")?, of("id_offset")?);
    Ok((|| {
        Some(Header {
            state: short(state)?,
            vtable: short(vtable)?,
            owner: short(owner)?,
            poll: poll?,
            trailer: trailer?,
            scheduler: scheduler?,
            id: id?,
        })
    })())
}

/// The scheduler `S`, by number: equal ones of several units are one.
fn scheduler_of(graph: &mut Graph<'_, '_>, out: &mut Tasks, at: u64) -> Result<usize, Failure> {
    let Some(entry) = graph.entries.get(at)? else {
        return Err(Failure::Damaged(gimli::Error::MissingUnitDie));
    };
    let name: Rc<str> = graph.entries.full_name(&entry)?.into();
    let kind = kind(&name);
    let list = match kind {
        SchedulerKind::Blocking | SchedulerKind::Other => None,
        _ => list(graph, at, kind)?,
    };
    if list.is_none() && kind != SchedulerKind::Blocking && !out.without_list.contains(&name) {
        out.without_list.push(Rc::clone(&name));
    }
    let scheduler = Scheduler { name, kind, list };
    if let Some(index) = out.schedulers.iter().position(|there| *there == scheduler) {
        return Ok(index);
    }
    out.schedulers.push(scheduler);
    Ok(out.schedulers.len() - 1)
}

fn kind(name: &str) -> SchedulerKind {
    if name == "tokio::runtime::blocking::schedule::BlockingSchedule" {
        return SchedulerKind::Blocking;
    }
    let shared = name.strip_prefix("alloc::sync::Arc<").unwrap_or_default();
    let shared = shared.split([',', '>']).next().unwrap_or_default();
    match shared {
        "tokio::runtime::scheduler::multi_thread::handle::Handle" => SchedulerKind::MultiThread,
        "tokio::runtime::scheduler::current_thread::Handle" => SchedulerKind::CurrentThread,
        "tokio::task::local::Shared" => SchedulerKind::Local,
        _ => SchedulerKind::Other,
    }
}

/// The list of tasks in what the `Arc` at `arc` points to.
fn list(graph: &mut Graph<'_, '_>, arc: u64, kind: SchedulerKind) -> Result<Option<List>, Failure> {
    let Some((0, shared)) = graph.pointer_in(arc)? else { return Ok(None) };
    let name = match kind {
        SchedulerKind::Local => "LocalOwnedTasks<",
        _ => "OwnedTasks<",
    };
    let Some((owned, owned_type)) = inner(graph, shared, name, MAX_WRAPPERS)? else {
        return Ok(None);
    };
    let Some((id, _)) = path(graph, owned_type, &["id"])? else { return Ok(None) };
    let sum = |parts: &[u64]| parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part));
    let offset = |parts: &[u64]| sum(parts).and_then(short);
    let ends = |graph: &mut Graph<'_, '_>, list: u64| -> Result<Option<(u32, u32)>, Failure> {
        let (head, tail) = (path(graph, list, &["head"])?, path(graph, list, &["tail"])?);
        Ok(head.zip(tail).and_then(|(head, tail)| Some((short(head.0)?, short(tail.0)?))))
    };
    if kind == SchedulerKind::Local {
        let Some((at, list)) = inner(graph, owned_type, "LinkedList<", MAX_WRAPPERS)? else {
            return Ok(None);
        };
        let Some((head, tail)) = ends(graph, list)? else { return Ok(None) };
        return Ok((|| {
            Some(List {
                id: offset(&[owned, id])?,
                shards: NONE,
                shard_count: NONE,
                shard_bytes: 0,
                list: offset(&[owned, at])?,
                head,
                tail,
                count: NONE,
                mask: NONE,
            })
        })());
    }
    let Some((sharded, sharded_type)) = path(graph, owned_type, &["list"])? else {
        return Ok(None);
    };
    let (Some((address, to)), Some((length, _))) = (
        path(graph, sharded_type, &["lists", "data_ptr"])?,
        path(graph, sharded_type, &["lists", "length"])?,
    ) else {
        return Ok(None);
    };
    let Some((0, shard)) = graph.pointer_in(to)? else { return Ok(None) };
    let Some(shard_bytes) = graph.entries.get(shard)?.and_then(|shard| shard.bytes) else {
        return Ok(None);
    };
    let Some((at, list)) = inner(graph, shard, "LinkedList<", MAX_WRAPPERS)? else {
        return Ok(None);
    };
    let Some((head, tail)) = ends(graph, list)? else { return Ok(None) };
    let count = path(graph, sharded_type, &["count"])?;
    let mask = path(graph, sharded_type, &["shard_mask"])?;
    let optional = |place: Option<Place>| match place {
        Some((at, _)) => offset(&[owned, sharded, at]),
        None => Some(NONE),
    };
    Ok((|| {
        Some(List {
            id: offset(&[owned, id])?,
            shards: offset(&[owned, sharded, address])?,
            shard_count: offset(&[owned, sharded, length])?,
            shard_bytes: short(shard_bytes)?,
            list: short(at)?,
            head,
            tail,
            count: optional(count)?,
            mask: optional(mask)?,
        })
    })())
}

/// What all tasks share, and how to get at the lists.
fn layout(
    graph: &mut Graph<'_, '_>,
    found: &Found,
    header: Header,
    cell: Cell,
) -> Result<Layout, Failure> {
    let mut out = Layout {
        state_offset: header.state,
        vtable_offset: header.vtable,
        owner_offset: header.owner,
        vtable_poll: header.poll,
        vtable_trailer: header.trailer,
        vtable_scheduler: header.scheduler,
        vtable_id: header.id,
        previous_in_trailer: cell.previous_offset.saturating_sub(cell.trailer_offset),
        next_in_trailer: cell.next_offset.saturating_sub(cell.trailer_offset),
        local_context_offset: NONE,
        local_shared_offset: NONE,
        ..Layout::default()
    };
    let mut handles = Vec::new();
    for &at in &found.handles {
        if let Some(handle) = handle(graph, at)?
            && !handles.contains(&handle)
        {
            handles.push(handle);
        }
    }
    // Several copies of tokio: which of them is meant nobody knows.
    if let [handle] = handles[..] {
        out.handle_tag_offset = handle.tag_offset;
        out.handle_tag_bytes = handle.tag_bytes;
        out.handle_tag_current = handle.tag_current;
        out.handle_arc_offset = handle.arc_offset;
    }
    let mut sets = Vec::new();
    for &at in &found.local_sets {
        if let Some(set) = local_set(graph, at)?
            && !sets.contains(&set)
        {
            sets.push(set);
        }
    }
    if let [(context, shared)] = sets[..] {
        out.local_context_offset = context;
        out.local_shared_offset = shared;
    }
    Ok(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Handle {
    tag_offset: u32,
    tag_bytes: u32,
    tag_current: u32,
    arc_offset: u32,
}

/// `tokio::runtime::Handle`: an enum of `Arc`s.
fn handle(graph: &mut Graph<'_, '_>, at: u64) -> Result<Option<Handle>, Failure> {
    let Some((offset, inner)) = path(graph, at, &["inner"])? else { return Ok(None) };
    let Some(entry) = graph.entries.get(inner)? else { return Ok(None) };
    let Some(variants) = &entry.variants else { return Ok(None) };
    let Some((tag, tag_bytes)) = graph.tag(variants)? else { return Ok(None) };
    let (mut current, mut arcs) = (None, Vec::new());
    for (value, member) in &variants.list {
        if !matches!(&*member.name, "CurrentThread" | "MultiThread") {
            continue;
        }
        if &*member.name == "CurrentThread" {
            current = Some(*value);
        }
        let (base, ty) = (member.offset, member.ty);
        let Some((arc, _)) = path(graph, ty, &["__0"])? else { return Ok(None) };
        arcs.push(offset.saturating_add(base).saturating_add(arc));
    }
    arcs.dedup();
    let [arc] = arcs[..] else { return Ok(None) };
    let Some(arc_offset) = short(arc) else { return Ok(None) };
    Ok(match current {
        Some(Value128::Is(value)) if tag_bytes > 0 => (|| {
            Some(Handle {
                tag_offset: short(offset.checked_add(u64::from(tag))?)?,
                tag_bytes,
                tag_current: u32::try_from(cut(value, tag_bytes)).ok()?,
                arc_offset,
            })
        })(),
        // Without the multi-thread scheduler there is nothing to tell apart:
        // the highest byte of an address is 0, whichever it is.
        Some(Value128::Other) if variants.list.len() == 1 => arc_offset
            .checked_add(7)
            .map(|tag_offset| Handle { tag_offset, tag_bytes: 1, tag_current: 0, arc_offset }),
        _ => None,
    })
}

/// `LocalSet`: where its context is, and there the shared part.
fn local_set(graph: &mut Graph<'_, '_>, at: u64) -> Result<Option<(u32, u32)>, Failure> {
    let Some((context, rc)) = path(graph, at, &["context"])? else { return Ok(None) };
    let Some((0, counted)) = graph.pointer_in(rc)? else { return Ok(None) };
    let Some((shared, _)) = path(graph, counted, &["value", "shared"])? else { return Ok(None) };
    Ok(short(context).zip(short(shared)))
}

/// A member of a member of …
fn path(graph: &mut Graph<'_, '_>, at: u64, names: &[&str]) -> Result<Option<Place>, Failure> {
    let (mut offset, mut at) = (0_u64, at);
    for name in names {
        let Some(entry) = graph.entries.get(at)? else { return Ok(None) };
        let Some(member) = entry.member(name) else { return Ok(None) };
        offset = offset.saturating_add(member.offset);
        at = member.ty;
    }
    Ok(Some((offset, at)))
}

/// The first type of a name within a type, by value.
fn inner(
    graph: &mut Graph<'_, '_>,
    at: u64,
    name: &str,
    depth: u32,
) -> Result<Option<Place>, Failure> {
    graph.entries.budget().step()?;
    let Some(entry) = graph.entries.get(at)? else { return Ok(None) };
    if entry.name.starts_with(name) {
        return Ok(Some((0, at)));
    }
    let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
    for member in &entry.members {
        if let Some((offset, found)) = inner(graph, member.ty, name, depth)? {
            return Ok(Some((member.offset.saturating_add(offset), found)));
        }
    }
    Ok(None)
}
