//! Writes the table: types that a walk can come to, then tasks and vtables.

use std::collections::HashMap;
use std::rc::Rc;

use super::fold::flags;
use super::graph::{Node, Shape};
use super::names::Impls;
use super::tasks::{List, Tasks};
use crate::await_table::format::{
    self, Field, Kind, NONE, Scheduler, State, StateKind, Task, Type, Variant, Vtable,
};
use crate::await_table::image::{TextId, Writer};

/// How many steps lead from a task's future to the async block in it, at most.
const MAX_WRAPPERS: usize = 16;

/// Writes types when something refers to them.
pub(super) struct Emitter<'n> {
    writer: Writer,
    nodes: &'n [Node],
    impls: &'n Impls,
    /// The class of each node, and the first node of each class.
    classes: &'n [u32],
    firsts: HashMap<u32, u32>,
    /// Numbers in the table, by class.
    known: HashMap<u32, u32>,
    /// Nodes in the order of their numbers.
    order: Vec<u32>,
}

impl<'n> Emitter<'n> {
    pub(super) fn new(nodes: &'n [Node], classes: &'n [u32], impls: &'n Impls) -> Self {
        let mut firsts = HashMap::new();
        for (node, class) in (0..).zip(classes) {
            firsts.entry(*class).or_insert(node);
        }
        Emitter {
            writer: Writer::new(),
            nodes,
            impls,
            classes,
            firsts,
            known: HashMap::new(),
            order: Vec::new(),
        }
    }

    /// Number of a type in the table.
    fn ty(&mut self, node: u32) -> u32 {
        let class = self.classes.get(node as usize).copied().unwrap_or(NONE);
        let next = self.order.len() as u32;
        let number = *self.known.entry(class).or_insert(next);
        if number == next {
            self.order.push(self.firsts.get(&class).copied().unwrap_or(node));
        }
        number
    }

    /// Adds vtables, by address.
    pub(super) fn vtables(&mut self, vtables: &[(u64, u32)]) {
        for &(svma, node) in vtables {
            let ty = self.ty(node);
            self.writer.vtable(Vtable { svma, ty });
        }
    }

    /// Adds all that is known of tasks.
    pub(super) fn tasks(&mut self, tasks: &Tasks) {
        for scheduler in &tasks.schedulers {
            let name = self.writer.text(&self.impls.shown(&scheduler.name));
            let none = List {
                id: NONE,
                shards: NONE,
                shard_count: NONE,
                shard_bytes: 0,
                list: NONE,
                head: NONE,
                tail: NONE,
                count: NONE,
                mask: NONE,
            };
            let list = scheduler.list.unwrap_or(none);
            // A list that is not known is no list that can be read.
            let kind = match (scheduler.list, scheduler.kind) {
                (None, format::SchedulerKind::Blocking) => format::SchedulerKind::Blocking,
                (None, _) => format::SchedulerKind::Other,
                (Some(_), kind) => kind,
            };
            self.writer.scheduler(&Scheduler {
                name,
                kind,
                id_offset: list.id,
                shards_offset: list.shards,
                shard_count_offset: list.shard_count,
                shard_bytes: list.shard_bytes,
                list_offset: list.list,
                head_offset: list.head,
                tail_offset: list.tail,
                count_offset: list.count,
                mask_offset: list.mask,
            });
        }
        for task in &tasks.tasks {
            let future = self.ty(task.future);
            let (file, line) = self.definition(task.future);
            let file = self.writer.text(&file);
            let cell = &task.cell;
            self.writer.task(&Task {
                poll_svma: task.poll_svma,
                future,
                scheduler: task.scheduler as u32,
                scheduler_offset: cell.scheduler_offset,
                id_offset: cell.id_offset,
                stage_offset: cell.stage_offset,
                stage_bytes: cell.stage_bytes,
                tag_offset: cell.tag_offset,
                tag_bytes: cell.tag_bytes,
                tag_running: cell.tag_running,
                future_offset: cell.future_offset,
                trailer_offset: cell.trailer_offset,
                previous_offset: cell.previous_offset,
                next_offset: cell.next_offset,
                cell_bytes: cell.bytes,
                file,
                line,
            });
        }
        if let Some(layout) = &tasks.layout {
            self.writer.entries(layout);
        }
    }

    /// Where the code of a future begins, if there is but one that it can be.
    fn definition(&self, node: u32) -> (Rc<str>, u32) {
        let unknown = (Rc::from(""), 0);
        let mut at = node;
        for _ in 0..MAX_WRAPPERS {
            let Some(node) = self.nodes.get(at as usize) else { return unknown };
            at = match &node.shape {
                Shape::Coroutine { states, .. } => {
                    let begin = states.iter().find(|state| state.kind == StateKind::Unresumed);
                    return begin.map_or(unknown, |state| (Rc::clone(&state.file), state.line));
                }
                Shape::Pointer(to) => *to,
                Shape::Struct(fields) => match fields[..] {
                    [field] => field.ty,
                    _ => return unknown,
                },
                _ => return unknown,
            };
        }
        unknown
    }

    /// Writes the types, and returns the image.
    pub(super) fn finish(mut self, build_id: &[u8], notes: &str) -> Vec<u8> {
        let mut at = 0;
        while let Some(&node) = self.order.get(at) {
            at += 1;
            let Some(node) = self.nodes.get(node as usize) else { continue };
            let kind = self.kind(&node.shape);
            let name = self.writer.text(&self.impls.shown(&node.name));
            self.writer.ty(&Type { name, size: node.bytes, kind, flags: flags(node) });
        }
        self.writer.finish(build_id, notes)
    }

    fn kind(&mut self, shape: &Shape) -> Kind {
        match shape {
            Shape::Opaque => Kind::Opaque,
            Shape::Dyn => Kind::Dyn,
            Shape::JoinHandle { header_offset } => {
                Kind::JoinHandle { header_offset: *header_offset }
            }
            Shape::Pointer(to) => Kind::Pointer { to: self.ty(*to) },
            Shape::Slice(element) => Kind::Slice { element: self.ty(*element) },
            Shape::Vec { element, pointer_offset, length_offset } => Kind::Vec {
                element: self.ty(*element),
                pointer_offset: *pointer_offset,
                length_offset: *length_offset,
            },
            Shape::Array { element, count } => {
                Kind::Array { element: self.ty(*element), count: *count }
            }
            Shape::FuturesUnordered { future, future_offset, head_offset, next_offset } => {
                Kind::FuturesUnordered {
                    future: self.ty(*future),
                    future_offset: *future_offset,
                    head_offset: *head_offset,
                    next_offset: *next_offset,
                }
            }
            Shape::Struct(fields) => {
                let (first, count) = self.fields(fields);
                Kind::Struct { first, count }
            }
            Shape::Coroutine { tag_offset, tag_bytes, states } => {
                let (mut first, count) = (NONE, states.len() as u32);
                for state in states {
                    let file = self.writer.text(&state.file);
                    let awaitee = state.awaitee.map(|field| self.renumbered(field));
                    let number = self.writer.state(&State {
                        value: state.value,
                        kind: state.kind,
                        file,
                        line: state.line,
                        awaitee,
                        is_in_macro: state.is_in_macro,
                    });
                    first = first.min(number);
                }
                let (tag_offset, tag_bytes) = (*tag_offset, *tag_bytes);
                Kind::Coroutine { first, count, tag_offset, tag_bytes }
            }
            Shape::Enum { tag_offset, tag_bytes, variants } => {
                let (mut first, count) = (NONE, variants.len() as u32);
                // The fields of a variant follow each other: there is one at most.
                let lists: Vec<(u32, u32)> =
                    variants.iter().map(|there| self.fields(there.field.as_slice())).collect();
                for (variant, (first_field, fields)) in variants.iter().zip(lists) {
                    let name = self.writer.text(&variant.name);
                    let number = self.writer.variant(&Variant::<TextId> {
                        value: variant.value,
                        first: first_field,
                        count: fields,
                        name,
                    });
                    first = first.min(number);
                }
                let (tag_offset, tag_bytes) = (*tag_offset, *tag_bytes);
                Kind::Enum { first, count, tag_offset, tag_bytes }
            }
        }
    }

    fn renumbered(&mut self, field: Field) -> Field {
        Field { offset: field.offset, ty: self.ty(field.ty) }
    }

    fn fields(&mut self, fields: &[Field]) -> (u32, u32) {
        let first = self.writer.next_field();
        for field in fields {
            let field = self.renumbered(*field);
            self.writer.field(&field);
        }
        (first, fields.len() as u32)
    }
}
