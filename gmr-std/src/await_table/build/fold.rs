//! What is kept of the types: what may hold a future, and each type once.
//!
//! 1. [`mark`] says which types are futures.
//! 2. [`prune`] finds those that may hold one, and leaves the rest out.
//! 3. [`merge`] gives equal types one number: each unit has its own entry of a
//!    type. Two are equal if they are alike in all there is, and so is what
//!    they refer to; a name is not enough.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::graph::{Graph, Node, Shape};
use super::names::generic;
use crate::await_table::format::type_flag;
use crate::lines::budget::{Budget, Failure};

/// Futures that are waited for and whose inside is nobody's business, also if
/// their crate has no debug information. Beginnings of paths.
const LEAVES: [&str; 12] = [
    "tokio::time::sleep::Sleep",
    "tokio::sync::notify::Notified",
    "tokio::sync::notify::OwnedNotified",
    "tokio::sync::batch_semaphore::Acquire",
    "tokio::sync::oneshot::Receiver<",
    "tokio::sync::broadcast::Recv<",
    "tokio::runtime::task::join::JoinHandle<",
    "tokio::runtime::io::scheduled_io::Readiness",
    "tokio::task::yield_now::",
    "tokio::task::coop::consume_budget::",
    "futures_channel::oneshot::Receiver<",
    "event_listener::EventListener",
];

/// Never shown themselves. Beginnings of paths.
const TRANSPARENT: [&str; 7] = [
    "core::pin::Pin<",
    "core::pin::unsafe_pinned::UnsafePinned<",
    "core::cell::UnsafeCell<",
    "core::mem::manually_drop::ManuallyDrop<",
    "core::mem::maybe_dangling::MaybeDangling<",
    "alloc::boxed::Box<",
    "core::panic::unwind_safe::AssertUnwindSafe<",
];

/// Says which types are futures: those whose `poll` is known, those that
/// vtables and tasks are of, and those that coroutines await.
pub(super) fn mark(graph: &mut Graph<'_, '_>, bases: &HashSet<String>, roots: &[u32]) {
    let mut futures: HashSet<u32> = roots.iter().copied().collect();
    for node in &graph.nodes {
        if let Shape::Coroutine { states, .. } = &node.shape {
            futures.extend(states.iter().filter_map(|state| state.awaitee).map(|field| field.ty));
        }
    }
    for (number, node) in (0..).zip(&mut graph.nodes) {
        let is_pointer = matches!(node.shape, Shape::Pointer(_) | Shape::Slice(_));
        let is_known = futures.contains(&number) && !is_pointer && !is_transparent(&node.name);
        node.is_future |= is_known || is_leaf(&node.name) || bases.contains(generic(&node.name));
    }
}

fn is_leaf(name: &str) -> bool {
    LEAVES.iter().any(|leaf| name.starts_with(leaf))
}

fn is_transparent(name: &str) -> bool {
    // gmr-tokio's own wrapper, in whichever module.
    let is_tracked = name.starts_with("gmr_tokio::") && generic(name).ends_with("::Tracked");
    is_tracked || TRANSPARENT.iter().any(|begin| name.starts_with(begin))
}

/// Leaves only what may hold a future. What a coroutine awaits keeps its name.
pub(super) fn prune(nodes: &mut [Node], budget: &Budget<'_>) -> Result<(), Failure> {
    let edges: usize = nodes
        .iter()
        .map(|node| {
            let mut count = 0;
            node.shape.for_each_child(|_| count += 1);
            count
        })
        .sum();
    // Vectors that double, of numbers.
    let _reserved = budget.reserve((nodes.len() * 64 + edges * 8) as u64)?;
    let mut parents: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    let mut live = vec![false; nodes.len()];
    let mut queue = Vec::new();
    for (number, node) in (0_u32..).zip(&*nodes) {
        budget.step()?;
        node.shape.for_each_child(|child| {
            if let Some(parents) = parents.get_mut(child as usize) {
                parents.push(number);
            }
        });
        if node.is_future || matches!(node.shape, Shape::Dyn) {
            queue.push(number);
        }
    }
    while let Some(number) = queue.pop() {
        budget.step()?;
        let Some(live) = live.get_mut(number as usize) else { continue };
        if !std::mem::replace(live, true) {
            queue.extend(parents.get(number as usize).into_iter().flatten());
        }
    }
    let is_live = |child: u32| live.get(child as usize).copied().unwrap_or(false);
    for (number, node) in (0..).zip(nodes) {
        if is_leaf(&node.name) && !matches!(node.shape, Shape::JoinHandle { .. }) {
            node.shape = Shape::Opaque;
        }
        match &mut node.shape {
            Shape::Struct(fields) => fields.retain(|field| is_live(field.ty)),
            Shape::Enum { variants, .. } => {
                for variant in variants {
                    variant.field = variant.field.filter(|field| is_live(field.ty));
                }
            }
            _ => {}
        }
        let is_empty = match &node.shape {
            Shape::Struct(fields) => fields.is_empty(),
            Shape::Enum { variants, .. } => variants.iter().all(|there| there.field.is_none()),
            Shape::Pointer(child)
            | Shape::Slice(child)
            | Shape::Vec { element: child, .. }
            | Shape::Array { element: child, .. }
            | Shape::FuturesUnordered { future: child, .. } => !is_live(*child),
            Shape::Opaque | Shape::Dyn | Shape::Coroutine { .. } | Shape::JoinHandle { .. } => {
                false
            }
        };
        if is_empty || !is_live(number) {
            node.shape = Shape::Opaque;
        }
    }
    Ok(())
}

/// A type's flags in the table.
pub(super) fn flags(node: &Node) -> u32 {
    let is_end = matches!(node.shape, Shape::Opaque | Shape::JoinHandle { .. });
    if node.is_future && is_end {
        return type_flag::LEAF;
    }
    let is_pointer = matches!(node.shape, Shape::Pointer(_));
    if is_pointer || !is_end && is_transparent(&node.name) { type_flag::TRANSPARENT } else { 0 }
}

/// Numbers of classes of equal types, by the numbers of types.
pub(super) fn merge(nodes: &[Node], budget: &Budget<'_>) -> Result<Vec<u32>, Failure> {
    let _reserved = budget.reserve((nodes.len() * 4 * size_of::<Node>()) as u64)?;
    let mut classes = vec![0_u32; nodes.len()];
    let mut count = 0;
    loop {
        // Two are of one class as long as nothing tells them apart.
        let mut numbers: HashMap<(&Rc<str>, u32, bool, Shape), u32> = HashMap::new();
        let mut next = Vec::with_capacity(nodes.len());
        for node in nodes {
            budget.steps(16)?;
            let mut shape = node.shape.clone();
            shape.renumber(|child| classes.get(child as usize).copied().unwrap_or(0));
            let class = u32::try_from(numbers.len()).map_err(|_| Failure::OverBudget)?;
            let key = (&node.name, node.bytes, node.is_future, shape);
            next.push(*numbers.entry(key).or_insert(class));
        }
        let found = numbers.len();
        drop(numbers);
        classes = next;
        if found == count {
            return Ok(classes);
        }
        count = found;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::await_table::format::Field;
    use crate::lines::Limits;

    fn with_budget<T>(test: impl FnOnce(&Budget<'_>) -> T) -> T {
        let limits = Limits {
            memory_bytes: 1 << 20,
            deadline: Instant::now() + Duration::from_secs(60),
            is_wanted: &|| true,
            debug_dirs: &[],
            system_libraries: false,
            full_names: true,
        };
        test(&Budget::new(&limits))
    }

    fn node(name: &str, shape: Shape) -> Node {
        Node { name: Rc::from(name), bytes: 8, shape, is_future: false }
    }

    fn fields(types: &[u32]) -> Shape {
        Shape::Struct(types.iter().map(|&ty| Field { offset: 0, ty }).collect())
    }

    #[test]
    fn types_are_one_only_if_all_they_lead_to_is_equal() {
        // Two of a name that differ two steps away, and two that do not; in circles.
        let nodes = [
            node("a", fields(&[1, 0])),
            node("b", Shape::Pointer(2)),
            node("c", Shape::Dyn),
            node("a", fields(&[4, 3])),
            node("b", Shape::Pointer(5)),
            node("c", Shape::Opaque),
            node("a", fields(&[7, 6])),
            node("b", Shape::Pointer(2)),
        ];
        let classes = with_budget(|budget| merge(&nodes, budget)).unwrap();
        assert_eq!((classes[0], classes[1]), (classes[6], classes[7]));
        assert_ne!(classes[0], classes[3]);
        assert_ne!(classes[1], classes[4]);
        let different: HashSet<u32> = classes.into_iter().collect();
        assert_eq!(different.len(), 6);
    }

    #[test]
    fn what_holds_no_future_is_left_out() {
        let mut nodes = vec![
            node("holder", fields(&[1, 2, 3])),
            node("text", fields(&[4])),
            node("boxed", Shape::Pointer(5)),
            node("tokio::time::sleep::Sleep", fields(&[5])),
            node("u8", Shape::Opaque),
            node("future", Shape::Opaque),
        ];
        nodes[5].is_future = true;
        nodes[3].is_future = true;
        with_budget(|budget| prune(&mut nodes, budget)).unwrap();
        let Shape::Struct(kept) = &nodes[0].shape else { panic!("{:?}", nodes[0]) };
        assert_eq!(kept.iter().map(|field| field.ty).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(nodes[1].shape, Shape::Opaque);
        assert_eq!(nodes[2].shape, Shape::Pointer(5));
        // Known to be the end of a stack, whatever is in it.
        assert_eq!(nodes[3].shape, Shape::Opaque);
        assert_eq!(flags(&nodes[3]), type_flag::LEAF);
        assert_eq!(flags(&nodes[2]), type_flag::TRANSPARENT);
    }
}
