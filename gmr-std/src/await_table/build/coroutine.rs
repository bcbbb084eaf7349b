//! Coroutines: what their states mean, and at which line each of them waits.
//!
//! A coroutine's entry has a discriminant and variants: `Unresumed` (whose line
//! is where the code begins), `Returned` and `Panicked` (where it ends), and a
//! `SuspendN` for each `.await`, with its line and, as `__awaitee`, what is awaited.
//!
//! An `.await` within a macro of another crate has a line there. tokio's
//! `select!`, `join!` and `try_join!` keep what they poll in a local called
//! `futures`; the compiler says of it that it stands at the call. It is told by
//! its type: if as many calls in the function have locals of that type as there
//! are states that keep one, they are the same, in order.
//!
//! Otherwise the line is that of the macro, and marked as such.

use std::collections::HashMap;
use std::rc::Rc;

use super::entries::{Entries, Entry, Value128};
use super::graph::{Graph, Shape, State, cut};
use super::scan::Local;
use super::units::Units;
use crate::await_table::format::{Field, StateKind};
use crate::lines::budget::Failure;

/// Where the macros' locals are, by the name of their type.
#[derive(Debug, Default)]
pub(super) struct Macros {
    calls: HashMap<Rc<str>, Vec<(Rc<str>, u32)>>,
}

impl Macros {
    /// Looks the locals' types and files up.
    pub(super) fn new(entries: &mut Entries<'_>, locals: &[Local]) -> Result<Self, Failure> {
        let mut calls: HashMap<Rc<str>, Vec<(Rc<str>, u32)>> = HashMap::new();
        for local in locals {
            let Some(ty) = entries.get(local.ty)? else { continue };
            let unit = entries.units.load(local.unit)?;
            let file = file(&entries.units, &unit, local.file)?;
            let calls = calls.entry(Rc::clone(&ty.name)).or_default();
            if !calls.contains(&(Rc::clone(&file), local.line)) {
                calls.push((file, local.line));
            }
        }
        Ok(Macros { calls })
    }

    /// The lines of calls in a part of a file, in order.
    fn lines(&self, ty: &str, file: &str, first: u32, last: u32) -> Vec<u32> {
        let calls = self.calls.get(ty).map(Vec::as_slice).unwrap_or_default();
        let within = |call: &&(Rc<str>, u32)| &*call.0 == file && (first..=last).contains(&call.1);
        let mut lines: Vec<u32> = calls.iter().filter(within).map(|call| call.1).collect();
        lines.sort_unstable();
        lines
    }
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

/// A state whose line is in a macro: which one, and the type of its `futures`.
struct InMacro {
    state: usize,
    ty: Rc<str>,
}

/// What a coroutine's entry says; `None` if it contradicts itself.
pub(super) fn shape(graph: &mut Graph<'_, '_>, entry: &Entry) -> Result<Option<Shape>, Failure> {
    let Some(variants) = &entry.variants else { return Ok(None) };
    let Some((tag_offset, tag_bytes @ 1..)) = graph.tag(variants)? else { return Ok(None) };
    let unit = graph.entries.units.load(entry.unit)?;
    let mut states: Vec<State> = Vec::with_capacity(variants.list.len());
    let mut in_macros = Vec::new();
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
        if kind == StateKind::Suspended
            && let Some(futures) = saved.member("futures")
            && let Some(ty) = graph.entries.get(futures.ty)?
        {
            in_macros.push(InMacro { state: states.len(), ty: Rc::clone(&ty.name) });
        }
        let file = file(&graph.entries.units, &unit, member.file)?;
        let line = u32::try_from(member.line).unwrap_or(0);
        states.push(State { value, kind, file, line, awaitee, is_in_macro: false });
    }
    place_macros(graph.macros, &mut states, &in_macros);
    Ok(Some(Shape::Coroutine { tag_offset, tag_bytes, states }))
}

/// Marks lines that are in macros, and gives those that are known the line of the
/// call.
fn place_macros(macros: &Macros, states: &mut [State], in_macros: &[InMacro]) {
    let of = |kind| states.iter().find(move |state| state.kind == kind);
    let Some(begin) = of(StateKind::Unresumed).cloned() else { return };
    let end = of(StateKind::Returned).filter(|end| end.file == begin.file);
    let (first, last) = (begin.line, end.map_or(u32::MAX, |end| end.line));
    let is_own = |state: &State| {
        let is_within = first > last || first == 0 || (first..=last).contains(&state.line);
        state.file == begin.file && is_within
    };
    for state in states.iter_mut() {
        state.is_in_macro = state.kind == StateKind::Suspended && !is_own(state);
    }
    let is_open = |mark: &&InMacro, states: &[State]| {
        states.get(mark.state).is_some_and(|state| state.is_in_macro)
    };
    let open: Vec<&InMacro> = in_macros.iter().filter(|mark| is_open(mark, states)).collect();
    for mark in &open {
        let lines = macros.lines(&mark.ty, &begin.file, first, last);
        let same: Vec<&&InMacro> = open.iter().filter(|other| other.ty == mark.ty).collect();
        if same.len() != lines.len() {
            continue;
        }
        let position = same.iter().position(|other| other.state == mark.state);
        if let (Some(line), Some(state)) =
            (position.and_then(|at| lines.get(at)), states.get_mut(mark.state))
        {
            state.line = *line;
            state.file = Rc::clone(&begin.file);
            state.is_in_macro = false;
        }
    }
}
