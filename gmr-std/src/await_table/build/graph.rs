//! Types as a graph: what can be reached from the futures that were found.
//!
//! 1. [`Graph::node`] gives a type a number, and queues it.
//! 2. [`Graph::decode_all`] turns queued entries into [`Node`]s, which queue
//!    what they refer to. No recursion: types nest as deep as they like.
//!
//! Followed are the fields of structs and enums, what is owned or borrowed
//! alone (`&mut`, `Box`, slices of both, `Vec`), the list of a `FuturesUnordered`,
//! and the `Arc` of `Shared`. Nobody polls a future through other shared pointers
//! (`&`, `Arc`, `Rc`): what is behind them is a program's state, and futures there
//! are not what is waited for. Raw pointers and unions (`MaybeUninit`) may
//! point to, or hold, nothing; [`STOPS`] are parts of a runtime. Whatever
//! contradicts itself is opaque, and counted in [`Graph::refused`].

use std::collections::HashMap;
use std::collections::VecDeque;
use std::rc::Rc;

use gimli::constants as dw;

use super::coroutine::{self, Locals};
use super::entries::{Entries, Entry, Member, Value128, Variants};
use crate::await_table::format::Field;
use crate::lines::budget::{Failure, Reserved};

/// The memory of a node, besides its name, fields and states.
const NODE_COST: u64 = 3 * size_of::<Node>() as u64;

/// How deep a pointer may be wrapped: `Arc`, `NonNull`, `Unique`, …
const MAX_WRAPPERS: usize = 8;

/// Not looked into: parts of a runtime that a future refers to, but does not
/// wait for.
const STOPS: [&str; 7] = [
    "tokio::runtime::",
    "tokio::task::local::LocalSet",
    "tokio::task::local::Context",
    "tokio::task::local::Shared",
    "std::thread::",
    "tracing_core::",
    "tracing::span::",
];

/// The one `Arc` that a future is polled through.
const SHARED: &str = "Arc<futures_util::future::future::shared::Inner<";

/// Within [`STOPS`], but wrappers of a future.
const NO_STOPS: [&str; 2] = ["tokio::runtime::coop::", "tokio::runtime::task::join::JoinHandle<"];

/// What a type is; as [`Kind`](crate::await_table::format::Kind), with lists in
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Opaque,
    Struct(Vec<Field>),
    Coroutine { tag_offset: u32, tag_bytes: u32, states: Vec<State> },
    Enum { tag_offset: u32, tag_bytes: u32, variants: Vec<Variant> },
    Pointer(u32),
    Dyn,
    Slice(u32),
    Vec { element: u32, pointer_offset: u32, length_offset: u32 },
    Array { element: u32, count: u32 },
    FuturesUnordered { future: u32, future_offset: u32, head_offset: u32, next_offset: u32 },
    JoinHandle { header_offset: u32 },
}

impl Shape {
    /// Calls `each` with what the type refers to.
    pub(super) fn for_each_child(&self, mut each: impl FnMut(u32)) {
        match self {
            Shape::Opaque | Shape::Dyn | Shape::JoinHandle { .. } => {}
            Shape::Struct(fields) => fields.iter().for_each(|field| each(field.ty)),
            Shape::Coroutine { states, .. } => {
                states.iter().filter_map(|state| state.awaitee).for_each(|field| each(field.ty));
            }
            Shape::Enum { variants, .. } => {
                let fields = variants.iter().filter_map(|variant| variant.field);
                fields.for_each(|field| each(field.ty));
            }
            Shape::Pointer(child)
            | Shape::Slice(child)
            | Shape::Vec { element: child, .. }
            | Shape::Array { element: child, .. }
            | Shape::FuturesUnordered { future: child, .. } => each(*child),
        }
    }

    /// Changes the numbers of what the type refers to.
    pub(super) fn renumber(&mut self, mut new: impl FnMut(u32) -> u32) {
        match self {
            Shape::Opaque | Shape::Dyn | Shape::JoinHandle { .. } => {}
            Shape::Struct(fields) => fields.iter_mut().for_each(|field| field.ty = new(field.ty)),
            Shape::Coroutine { states, .. } => {
                let awaitees = states.iter_mut().filter_map(|state| state.awaitee.as_mut());
                awaitees.for_each(|field| field.ty = new(field.ty));
            }
            Shape::Enum { variants, .. } => {
                let fields = variants.iter_mut().filter_map(|variant| variant.field.as_mut());
                fields.for_each(|field| field.ty = new(field.ty));
            }
            Shape::Pointer(child)
            | Shape::Slice(child)
            | Shape::Vec { element: child, .. }
            | Shape::Array { element: child, .. }
            | Shape::FuturesUnordered { future: child, .. } => *child = new(*child),
        }
    }
}

/// A state of a coroutine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) value: u32,
    pub(super) kind: crate::await_table::format::StateKind,
    pub(super) file: Rc<str>,
    pub(super) line: u32,
    pub(super) awaitee: Option<Field>,
    pub(super) is_in_macro: bool,
}

/// A variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Variant {
    pub(super) value: Option<u64>,
    pub(super) name: Rc<str>,
    pub(super) field: Option<Field>,
}

/// A type.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: Rc<str>,
    pub(super) bytes: u32,
    pub(super) shape: Shape,
    /// It implements `Future`, as far as is known.
    pub(super) is_future: bool,
}

/// Types that were left opaque because their entries make no sense.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Entries that cannot be read.
    pub(super) damaged: usize,
    /// Coroutines without a state, or with two of the same number.
    pub(super) coroutines: usize,
    /// Enums whose variants cannot be told apart.
    pub(super) enums: usize,
}

/// The types that were reached.
pub(super) struct Graph<'g, 'a> {
    pub(super) entries: &'g mut Entries<'a>,
    pub(super) nodes: Vec<Node>,
    pub(super) locals: &'g Locals,
    pub(super) refused: Refused,
    /// Numbers of nodes by those of entries.
    known: HashMap<u64, u32>,
    queue: VecDeque<(u64, u32)>,
    reserved: Reserved<'a>,
}

impl<'g, 'a> Graph<'g, 'a> {
    pub(super) fn new(entries: &'g mut Entries<'a>, locals: &'g Locals) -> Result<Self, Failure> {
        let reserved = entries.budget().reserve(0)?;
        Ok(Graph {
            entries,
            nodes: Vec::new(),
            locals,
            refused: Refused::default(),
            known: HashMap::new(),
            queue: VecDeque::new(),
            reserved,
        })
    }

    /// The node of a type.
    pub(super) fn node(&mut self, at: u64) -> Result<u32, Failure> {
        if let Some(&node) = self.known.get(&at) {
            return Ok(node);
        }
        self.reserved.grow(NODE_COST)?;
        let node = u32::try_from(self.nodes.len()).map_err(|_| Failure::OverBudget)?;
        self.nodes.push(Node {
            name: Rc::from(""),
            bytes: 0,
            shape: Shape::Opaque,
            is_future: false,
        });
        self.known.insert(at, node);
        self.queue.push_back((at, node));
        Ok(node)
    }

    /// Looks at everything that is queued, and at what it leads to.
    pub(super) fn decode_all(&mut self) -> Result<(), Failure> {
        while let Some((at, number)) = self.queue.pop_front() {
            self.entries.budget().step()?;
            let Some(entry) = self.entries.get(at)? else {
                self.refused.damaged += 1;
                continue;
            };
            let name = self.entries.full_name(&entry)?;
            let shape = match self.shape(&entry, &name) {
                Ok(shape) => shape,
                Err(Failure::Damaged(_)) => {
                    self.entries.budget().check()?;
                    self.refused.damaged += 1;
                    Shape::Opaque
                }
                Err(failure) => return Err(failure),
            };
            let lists = match &shape {
                Shape::Struct(fields) => fields.len() * size_of::<Field>(),
                Shape::Coroutine { states, .. } => states.len() * size_of::<State>(),
                Shape::Enum { variants, .. } => variants.len() * size_of::<Variant>(),
                _ => 0,
            };
            self.reserved.grow((name.len() + lists) as u64)?;
            let bytes = match entry.tag {
                dw::DW_TAG_pointer_type => Some(8),
                _ => entry.bytes.and_then(|bytes| u32::try_from(bytes).ok()),
            };
            if let Some(node) = self.nodes.get_mut(number as usize) {
                node.shape = match bytes {
                    // Larger than any future.
                    None if entry.bytes.is_some() => Shape::Opaque,
                    _ => shape,
                };
                node.is_future = matches!(node.shape, Shape::Coroutine { .. });
                node.name = Rc::from(name);
                node.bytes = bytes.unwrap_or(0);
            }
        }
        Ok(())
    }

    /// A field that is followed.
    fn field(&mut self, member: &Member, base: u64) -> Result<Option<Field>, Failure> {
        let offset = base.checked_add(member.offset).and_then(|sum| u32::try_from(sum).ok());
        let Some(offset) = offset else { return Ok(None) };
        Ok(Some(Field { offset, ty: self.node(member.ty)? }))
    }

    fn shape(&mut self, entry: &Rc<Entry>, name: &str) -> Result<Shape, Failure> {
        match entry.tag {
            dw::DW_TAG_structure_type => self.structure(entry, name),
            dw::DW_TAG_pointer_type if is_followed_pointer(&entry.name) => match entry.ty {
                Some(to) => Ok(Shape::Pointer(self.node(to)?)),
                None => Ok(Shape::Opaque),
            },
            dw::DW_TAG_array_type => {
                let count = entry.count.and_then(|count| u32::try_from(count).ok());
                match (entry.ty, count) {
                    (Some(element), Some(count)) if count > 0 => {
                        Ok(Shape::Array { element: self.node(element)?, count })
                    }
                    _ => Ok(Shape::Opaque),
                }
            }
            _ => Ok(Shape::Opaque),
        }
    }

    fn structure(&mut self, entry: &Rc<Entry>, name: &str) -> Result<Shape, Failure> {
        if coroutine::is_coroutine(&entry.name) {
            let shape = coroutine::shape(self, entry, name)?;
            if shape.is_none() {
                self.refused.coroutines += 1;
            }
            return Ok(shape.unwrap_or(Shape::Opaque));
        }
        let is_stopped = STOPS.iter().any(|stop| name.starts_with(stop))
            && !NO_STOPS.iter().any(|stop| name.starts_with(stop))
            && !entry.name.starts_with("{closure_env");
        if is_stopped {
            return Ok(Shape::Opaque);
        }
        if let Some(variants) = &entry.variants {
            return self.enumeration(variants);
        }
        if let Some(shape) = self.wide_pointer(entry)? {
            return Ok(shape);
        }
        let special = match name.split_once('<').map(|(path, _)| path) {
            Some("alloc::vec::Vec") => Some(self.vector(entry)?),
            Some("alloc::sync::Arc") => Some(self.counted(entry)?),
            Some("tokio::runtime::task::join::JoinHandle") => Some(self.join_handle(entry)?),
            Some("futures_util::stream::futures_unordered::FuturesUnordered") => {
                Some(self.futures_unordered(entry)?)
            }
            _ => None,
        };
        if let Some(special) = special {
            return Ok(special.unwrap_or(Shape::Opaque));
        }
        let mut fields = Vec::with_capacity(entry.members.len());
        for member in &entry.members {
            fields.extend(self.field(member, 0)?);
        }
        Ok(if fields.is_empty() { Shape::Opaque } else { Shape::Struct(fields) })
    }

    fn enumeration(&mut self, variants: &Variants) -> Result<Shape, Failure> {
        // All variants but one are impossible; which one, nothing tells.
        if variants.tag().is_none() && variants.list.len() > 1 {
            return Ok(Shape::Opaque);
        }
        let Some((tag_offset, tag_bytes)) = self.tag(variants)? else {
            self.refused.enums += 1;
            return Ok(Shape::Opaque);
        };
        let mut list: Vec<Variant> = Vec::with_capacity(variants.list.len());
        for (value, member) in &variants.list {
            let value = match value {
                Value128::Other => None,
                Value128::Is(value) => Some(cut(*value, tag_bytes)),
                Value128::Unknown => {
                    self.refused.enums += 1;
                    return Ok(Shape::Opaque);
                }
            };
            let is_again = list.iter().any(|there| there.value == value);
            if is_again {
                self.refused.enums += 1;
                return Ok(Shape::Opaque);
            }
            let field = self.field(member, 0)?;
            list.push(Variant { value, name: Rc::clone(&member.name), field });
        }
        Ok(Shape::Enum { tag_offset, tag_bytes, variants: list })
    }

    /// Where a discriminant is, and its size; 0: there is none. `None`: it cannot
    /// be read.
    pub(super) fn tag(&mut self, variants: &Variants) -> Result<Option<(u32, u32)>, Failure> {
        let Some(tag) = variants.tag() else { return Ok(Some((0, 0))) };
        let (at, offset) = (tag.ty, u32::try_from(tag.offset));
        let Some(ty) = self.entries.get(at)? else { return Ok(None) };
        Ok(match (ty.bytes, offset) {
            (Some(bytes @ (1 | 2 | 4 | 8)), Ok(offset)) => Some((offset, bytes as u32)),
            _ => None,
        })
    }

    /// References and boxes of what has no size: an address, and a vtable or a
    /// length.
    fn wide_pointer(&mut self, entry: &Entry) -> Result<Option<Shape>, Failure> {
        let [first, second] = &entry.members[..] else { return Ok(None) };
        let is_followed = is_followed_pointer(&entry.name);
        let is_wide = (first.offset, second.offset) == (0, 8) && entry.bytes == Some(16);
        Ok(match (&*first.name, &*second.name) {
            ("pointer", "vtable") if is_wide && is_followed && is_dyn_future(&entry.name) => {
                Some(Shape::Dyn)
            }
            ("pointer", "vtable") => Some(Shape::Opaque),
            ("data_ptr", "length") => {
                let element = match self.entries.get(first.ty)? {
                    Some(pointer) if is_wide && is_followed => pointer.ty,
                    _ => None,
                };
                Some(match element {
                    Some(element) => Shape::Slice(self.node(element)?),
                    None => Shape::Opaque,
                })
            }
            _ => None,
        })
    }

    fn vector(&mut self, entry: &Entry) -> Result<Option<Shape>, Failure> {
        let (Some(buffer), Some(length), Some(element)) =
            (entry.member("buf"), entry.member("len"), entry.parameter("T"))
        else {
            return Ok(None);
        };
        let (buffer, length_at) = (buffer.clone(), length.offset);
        let Some((offset, _)) = self.pointer_in(buffer.ty)? else { return Ok(None) };
        let offset = buffer.offset.checked_add(offset).and_then(|sum| u32::try_from(sum).ok());
        let (Some(pointer_offset), Ok(length_offset)) = (offset, u32::try_from(length_at)) else {
            return Ok(None);
        };
        Ok(Some(Shape::Vec { element: self.node(element)?, pointer_offset, length_offset }))
    }

    /// `Arc`: the address of counts and value.
    fn counted(&mut self, entry: &Entry) -> Result<Option<Shape>, Failure> {
        // With another allocator, or of what has no size, it is larger.
        if entry.bytes != Some(8) || !entry.name.starts_with(SHARED) {
            return Ok(None);
        }
        let Some((0, inner)) = self.pointer_in(entry.at)? else { return Ok(None) };
        Ok(Some(Shape::Pointer(self.node(inner)?)))
    }

    fn join_handle(&mut self, entry: &Entry) -> Result<Option<Shape>, Failure> {
        let Some((offset, header)) = self.pointer_in(entry.at)? else { return Ok(None) };
        let header = self.entries.get(header)?;
        let is_header = header.is_some_and(|header| &*header.name == "Header");
        let header_offset = u32::try_from(offset).ok().filter(|_| is_header);
        Ok(header_offset.map(|header_offset| Shape::JoinHandle { header_offset }))
    }

    fn futures_unordered(&mut self, entry: &Entry) -> Result<Option<Shape>, Failure> {
        let Some(head) = entry.member("head_all").cloned() else { return Ok(None) };
        let Some((inside, task)) = self.pointer_in(head.ty)? else { return Ok(None) };
        let Some(task) = self.entries.get(task)? else { return Ok(None) };
        let (Some(future), Some(next)) = (task.member("future"), task.member("next_all")) else {
            return Ok(None);
        };
        let head = head.offset.checked_add(inside).and_then(|sum| u32::try_from(sum).ok());
        let (Some(head_offset), Ok(future_offset), Ok(next_offset)) =
            (head, u32::try_from(future.offset), u32::try_from(next.offset))
        else {
            return Ok(None);
        };
        let future = self.node(future.ty)?;
        Ok(Some(Shape::FuturesUnordered { future, future_offset, head_offset, next_offset }))
    }

    /// The first raw pointer in a type, where it is and what it points to.
    pub(super) fn pointer_in(&mut self, at: u64) -> Result<Option<(u64, u64)>, Failure> {
        let (mut at, mut offset) = (at, 0_u64);
        for _ in 0..MAX_WRAPPERS {
            let Some(entry) = self.entries.get(at)? else { return Ok(None) };
            if entry.tag == dw::DW_TAG_pointer_type {
                return Ok(entry.ty.map(|to| (offset, to)));
            }
            // Markers have no size: the pointer is what is left.
            let mut inner = None;
            for member in &entry.members {
                let ty = self.entries.get(member.ty)?;
                if ty.is_some_and(|ty| ty.bytes.unwrap_or(8) >= 8) {
                    inner = Some(member);
                    break;
                }
            }
            let Some(member) = inner else { return Ok(None) };
            offset = offset.saturating_add(member.offset);
            at = member.ty;
        }
        Ok(None)
    }
}

/// A discriminant's value, as it is when read without a sign.
pub(super) fn cut(value: u64, bytes: u32) -> u64 {
    match bytes {
        1 | 2 | 4 => value & ((1 << (8 * bytes)) - 1),
        _ => value,
    }
}

/// Whether a pointer's target is its own alone.
fn is_followed_pointer(name: &str) -> bool {
    name.starts_with("&mut ") || name.starts_with("alloc::boxed::Box<")
}

/// Whether it is a pointer to a `dyn Future`, or a `dyn Stream`.
fn is_dyn_future(name: &str) -> bool {
    let target = name
        .strip_prefix("alloc::boxed::Box<")
        .or_else(|| name.strip_prefix("&mut "))
        .unwrap_or(name);
    let target = target.strip_prefix('(').unwrap_or(target);
    let Some(path) = target.strip_prefix("dyn ") else { return false };
    let path = path.split(['<', ' ', ',', ')', '>']).next().unwrap_or(path);
    matches!(path, "core::future::future::Future" | "futures_core::stream::Stream")
}
