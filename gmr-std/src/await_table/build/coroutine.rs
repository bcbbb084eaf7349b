//! Coroutines: what their states mean, and at which line each of them waits.
//!
//! A coroutine's entry has a discriminant and variants: `Unresumed` (whose line
//! is where the code begins), `Returned` and `Panicked` (where it ends), and a
//! `SuspendN` for each `.await`, with its line and, as `__awaitee`, what is awaited.
//!
//! An `.await` within a macro of another crate has a line there. But the local
//! that holds what is awaited, `__awaitee` too, has the line of the call. It is
//! told by its function and its type, which most macros make themselves (a closure
//! of `poll_fn`). Where several states have the same type, the lines must be as
//! many as the states: then they are the same, in order.
//!
//! Otherwise the line is that of the macro, and marked as such. So is a line outside
//! of the function: that of a macro in the same file.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::entries::{Entries, Entry, Value128};
use super::graph::{Graph, Shape, State, cut};
use super::names::Impls;
use super::scan::Local;
use super::units::Units;
use crate::await_table::format::{Field, StateKind};
use crate::lines::budget::Failure;

/// Where the locals are that are awaited, by the function they are in.
#[derive(Debug, Default)]
pub(super) struct Locals {
    by_function: HashMap<String, Vec<Local>>,
    /// What the functions' symbols tell of the types that they are methods of.
    pub(super) impls: Impls,
}

impl Locals {
    /// Looks the functions' names up.
    pub(super) fn new(entries: &mut Entries<'_>, locals: &[Local]) -> Result<Self, Failure> {
        let mut by_function: HashMap<String, Vec<Local>> = HashMap::new();
        let mut impls = Impls::default();
        for locals in locals.chunk_by(|one, other| one.function == other.function) {
            let Some(function) = locals.first() else { continue };
            let Some(function) = entries.get(function.function)? else { continue };
            let name = entries.full_name(&function)?;
            impls.learn(&name, &function.symbol);
            by_function.entry(without_arguments(name)).or_default().extend(locals);
        }
        Ok(Locals { by_function, impls })
    }
}

/// A function's path without its last generic arguments.
fn without_arguments(mut path: String) -> String {
    // `{async_fn#0}<T>`
    if let Some(end) = path.find("}<").map(|at| at + 1) {
        path.truncate(end);
    }
    path
}

/// A source file; empty if the line table is damaged.
fn file<'a>(
    units: &Units<'a>,
    unit: &super::units::Loaded<'a>,
    index: u64,
) -> Result<Rc<str>, Failure> {
    match units.file(unit, index) {
        Err(Failure::Damaged(_)) => units.budget().check().map(|()| Rc::from("")),
        file => file,
    }
}

/// Whether a type's name is that of a coroutine.
pub(super) fn is_coroutine(name: &str) -> bool {
    ["{async_", "{gen_", "{coroutine"].iter().any(|begin| name.starts_with(begin))
}

/// What a coroutine's entry says; `None` if it contradicts itself.
pub(super) fn shape(
    graph: &mut Graph<'_, '_>,
    entry: &Entry,
    name: &str,
) -> Result<Option<Shape>, Failure> {
    let Some(variants) = &entry.variants else { return Ok(None) };
    let Some((tag_offset, tag_bytes @ 1..)) = graph.tag(variants)? else { return Ok(None) };
    let unit = graph.entries.units.load(entry.unit)?;
    let mut states: Vec<State> = Vec::with_capacity(variants.list.len());
    let mut awaited = Vec::with_capacity(variants.list.len());
    for (value, member) in &variants.list {
        let Value128::Is(value) = value else { return Ok(None) };
        let Ok(value) = u32::try_from(cut(*value, tag_bytes)) else { return Ok(None) };
        let Some(saved) = graph.entries.get(member.ty)? else { return Ok(None) };
        let kind = match &*saved.name {
            "Unresumed" => StateKind::Unresumed,
            "Returned" => StateKind::Returned,
            "Panicked" => StateKind::Panicked,
            name if name.starts_with("Suspend") => StateKind::Suspended,
            _ => return Ok(None),
        };
        if states.iter().any(|state| state.value == value) {
            return Ok(None);
        }
        let mut awaitee = None;
        if kind == StateKind::Suspended
            && let Some(there) = saved.member("__awaitee")
        {
            let Some(offset) = there.offset.checked_add(member.offset) else { return Ok(None) };
            let Ok(offset) = u32::try_from(offset) else { return Ok(None) };
            awaitee = Some(Field { offset, ty: graph.node(there.ty)? });
        }
        awaited.push(saved.member("__awaitee").map(|there| there.ty));
        let file = file(&graph.entries.units, &unit, member.file)?;
        let line = u32::try_from(member.line).unwrap_or(0);
        states.push(State { value, kind, file, line, awaitee, is_in_macro: false });
    }
    mark_macros(&mut states);
    if states.iter().any(|state| state.is_in_macro) {
        find_calls(graph, name, &mut states, &awaited)?;
    }
    Ok(Some(Shape::Coroutine { tag_offset, tag_bytes, states }))
}

/// File and lines of the function itself.
fn extent(states: &[State]) -> Option<(Rc<str>, RangeInclusive<u32>)> {
    let of = |kind| states.iter().find(move |state| state.kind == kind);
    let begin = of(StateKind::Unresumed)?;
    let end = of(StateKind::Returned).filter(|end| end.file == begin.file);
    let last = end.map_or(u32::MAX, |end| end.line);
    // One that a macro has made may end before it begins: nothing is known.
    let last = if last < begin.line { u32::MAX } else { last };
    Some((Rc::clone(&begin.file), begin.line..=last))
}

/// Marks lines that are not within the function.
fn mark_macros(states: &mut [State]) {
    let Some((home, lines)) = extent(states) else { return };
    for state in states.iter_mut().filter(|state| state.kind == StateKind::Suspended) {
        state.is_in_macro = state.file != home || !lines.contains(&state.line);
    }
}

/// Gives states that are in macros the line of the call, where it is certain.
fn find_calls(
    graph: &mut Graph<'_, '_>,
    name: &str,
    states: &mut [State],
    awaited: &[Option<u64>],
) -> Result<(), Failure> {
    let locals: &Locals = graph.locals;
    let function = without_arguments(name.replacen("_env#", "#", 1));
    let Some(locals) = locals.by_function.get(&function) else { return Ok(()) };
    let entries = &mut *graph.entries;
    let Some((home, extent)) = extent(states) else { return Ok(()) };
    let mut names = Vec::with_capacity(awaited.len());
    for ty in awaited {
        names.push(match ty {
            Some(ty) => entries.get(*ty)?.map(|ty| Rc::clone(&ty.name)),
            None => None,
        });
    }
    // Lines within the function, by the type that is awaited there.
    let mut calls: Vec<(Rc<str>, u32)> = Vec::new();
    for local in locals {
        let Some(ty) = entries.get(local.ty)? else { continue };
        let unit = entries.units.load(local.unit)?;
        if extent.contains(&local.line) && file(&entries.units, &unit, local.file)? == home {
            calls.push((Rc::clone(&ty.name), local.line));
        }
    }
    calls.sort_unstable();
    calls.dedup();
    let mut done: Vec<&Rc<str>> = Vec::new();
    for name in names.iter().flatten() {
        if done.contains(&name) {
            continue;
        }
        done.push(name);
        let is_same = |at: &usize| names.get(*at).is_some_and(|there| there.as_ref() == Some(name));
        let same: Vec<usize> = (0..states.len()).filter(is_same).collect();
        let of = |at: &usize| states.get(*at).cloned();
        // Those whose line is their own are no calls.
        let own: Vec<u32> = same
            .iter()
            .filter_map(of)
            .filter(|state| !state.is_in_macro)
            .map(|state| state.line)
            .collect();
        let open: Vec<usize> =
            same.into_iter().filter(|at| of(at).is_some_and(|state| state.is_in_macro)).collect();
        let lines: Vec<u32> = calls
            .iter()
            .filter(|(there, line)| there == name && !own.contains(line))
            .map(|call| call.1)
            .collect();
        if lines.len() != open.len() {
            continue;
        }
        for (at, line) in open.into_iter().zip(lines) {
            if let Some(state) = states.get_mut(at) {
                (state.line, state.is_in_macro) = (line, false);
                state.file = Rc::clone(&home);
            }
        }
    }
    Ok(())
}
