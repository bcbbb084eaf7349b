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
//! Otherwise the line is that of the macro, and marked as such. Which lines are
//! macros' is told by their files: those of other packages, and others than the
//! function's; and lines before the function, since a macro in the same file stands
//! before its use. Lines behind the function's end are its own: an attribute has
//! made it (`async_trait`, `instrument`), and it begins and ends there. So are lines
//! of the crate in a function that a macro of another package has made
//! (`async_stream`).
//!
//! # Limitations
//!
//! - A macro that is defined in the function itself, or in the same file behind
//!   it, is not told from the function's own code.

use std::collections::HashMap;
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
            let name = match entries.full_name(&function) {
                Ok(name) => name,
                Err(Failure::Damaged(_)) => {
                    entries.budget().check()?;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
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
    mark_macros(name, &mut states);
    if states.iter().any(|state| state.is_in_macro) {
        find_calls(graph, name, &mut states, &awaited)?;
    }
    Ok(Some(Shape::Coroutine { tag_offset, tag_bytes, states }))
}

/// Which lines are a function's own.
struct Home<'s> {
    krate: &'s str,
    file: Rc<str>,
    line: u32,
}

impl<'s> Home<'s> {
    /// `name` is the coroutine's path.
    fn new(name: &'s str, states: &[State]) -> Option<Self> {
        let begin = states.iter().find(|state| state.kind == StateKind::Unresumed)?;
        let krate = name.split("::").next().unwrap_or(name);
        Some(Home { krate, file: Rc::clone(&begin.file), line: begin.line })
    }

    fn has(&self, file: &str, line: u32) -> bool {
        if self.is_foreign(file) {
            return false;
        }
        // One that a macro has made as a whole has no lines of its own.
        self.is_foreign(&self.file) || (*file == *self.file && line >= self.line)
    }

    fn is_foreign(&self, file: &str) -> bool {
        match package(file) {
            Some("library") => !matches!(self.krate, "core" | "alloc" | "std"),
            Some(package) => !package.bytes().map(underscore).eq(self.krate.bytes()),
            None => false,
        }
    }
}

/// The package that a file is of, as far as its path says: `NAME-1.2.3/src/x.rs`,
/// or the standard library's.
fn package(file: &str) -> Option<&str> {
    let (first, _) = file.split_once('/')?;
    if first == "library" {
        return Some(first);
    }
    // Whole numbers, but for the last: `1.2.3-alpha.1`.
    let is_version = |text: &str| {
        let mut parts = text.splitn(3, '.');
        let mut is_number = |is_whole: bool| {
            let part = parts.next().unwrap_or_default();
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && (digits == part.len() || !is_whole)
        };
        is_number(true) && is_number(true) && is_number(false)
    };
    let mut dashes = first.match_indices('-');
    dashes.find(|(at, _)| is_version(&first[at + 1..])).map(|(at, _)| &first[..at])
}

/// Crates are called like their packages, but for this.
fn underscore(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// Marks lines that are not the function's own.
fn mark_macros(name: &str, states: &mut [State]) {
    let Some(home) = Home::new(name, states) else { return };
    for state in states.iter_mut().filter(|state| state.kind == StateKind::Suspended) {
        state.is_in_macro = !home.has(&state.file, state.line);
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
    let Some(home) = Home::new(name, states) else { return Ok(()) };
    let mut names = Vec::with_capacity(awaited.len());
    for ty in awaited {
        names.push(match ty {
            Some(ty) => entries.get(*ty)?.map(|ty| Rc::clone(&ty.name)),
            None => None,
        });
    }
    // Lines of the function, by the type that is awaited there.
    let mut calls: Vec<(Rc<str>, u32, Rc<str>)> = Vec::new();
    for local in locals {
        let Some(ty) = entries.get(local.ty)? else { continue };
        let unit = entries.units.load(local.unit)?;
        let file = file(&entries.units, &unit, local.file)?;
        if home.has(&file, local.line) {
            calls.push((Rc::clone(&ty.name), local.line, file));
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
        let lines: Vec<&(Rc<str>, u32, Rc<str>)> =
            calls.iter().filter(|(there, line, _)| there == name && !own.contains(line)).collect();
        if lines.len() != open.len() {
            continue;
        }
        for (at, (_, line, file)) in open.into_iter().zip(lines) {
            if let Some(state) = states.get_mut(at) {
                (state.line, state.is_in_macro) = (*line, false);
                state.file = Rc::clone(file);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(kind: StateKind, file: &str, line: u32) -> State {
        State { value: 0, kind, file: Rc::from(file), line, awaitee: None, is_in_macro: false }
    }

    fn marks(name: &str, begin: (&str, u32), awaits: &[(&str, u32)]) -> Vec<bool> {
        let mut states = vec![state(StateKind::Unresumed, begin.0, begin.1)];
        let awaits = awaits.iter().map(|(file, line)| state(StateKind::Suspended, file, *line));
        states.extend(awaits);
        mark_macros(name, &mut states);
        states[1..].iter().map(|state| state.is_in_macro).collect()
    }

    #[test]
    fn lines_of_macros_are_told_by_their_files() {
        let own = "app/src/main.rs";
        let select = "tokio-1.54.1/src/macros/select.rs";
        let awaits = [(own, 12), (own, 30), (own, 9), (select, 12), ("app/src/macros.rs", 12)];
        let expected = [false, false, true, true, true];
        assert_eq!(marks("app::f", (own, 10), &awaits), expected);
        // A function that a macro has made.
        let awaits = [(own, 12), ("async-stream-0.3.6/src/lib.rs", 193)];
        let lib = ("async-stream-0.3.6/src/lib.rs", 193);
        assert_eq!(marks("app::f::{async_block_env#0}", lib, &awaits), [false, true]);
        // A function of that package.
        assert_eq!(marks("async_stream::f", lib, &awaits[1..]), [false]);
        assert_eq!(
            marks("core::f", ("library/core/src/x.rs", 1), &[("library/core/src/x.rs", 2)]),
            [false]
        );
    }

    #[test]
    fn packages_are_told_by_their_version() {
        assert_eq!(package("sha-1-0.10.0/src/lib.rs"), Some("sha-1"));
        assert_eq!(package("tokio-1.54.1/src/x.rs"), Some("tokio"));
        assert_eq!(package("tokio-1.54.1-alpha.2/src/x.rs"), Some("tokio"));
        assert_eq!(package("my-app/src/x.rs"), None);
        assert_eq!(package("main.rs"), None);
    }
}
