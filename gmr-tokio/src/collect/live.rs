//! Live tests: real runtimes with tasks of known shapes, read while they run.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gmr_core::model::{AwaitKind, TaskState};
use tokio::runtime::{Builder, Handle, Runtime};

use super::*;

/// A condition that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// The table of this very test program.
pub(super) fn table() -> &'static LoadedTable {
    static TABLE: OnceLock<LoadedTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let limits = gmr_std::await_table::Limits {
            memory_bytes: 1 << 30,
            deadline: Instant::now() + 10 * PATIENCE,
            debug_dirs: Vec::new(),
        };
        let path = std::env::current_exe().unwrap();
        let built = gmr_std::await_table::build(&path, None, &limits).unwrap();
        LoadedTable::load(built.image).unwrap()
    })
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn root(handle: &Handle) -> Root {
    table().root_of_handle(handle).unwrap()
}

fn collected(roots: &[Root], arena: &mut Arena) {
    collect(table(), roots, &[], arena, &|| false);
}

/// Collects until `is_so`, which must come.
fn until(roots: &[Root], is_so: impl Fn(&Arena) -> bool) -> Arena {
    let mut arena = Arena::new(20_000);
    let start = Instant::now();
    loop {
        collected(roots, &mut arena);
        if is_so(&arena) {
            return arena;
        }
        assert!(start.elapsed() < PATIENCE, "{:#?}\n{}", arena.roots(), all_trees(&arena));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn count(arena: &Arena, is_it: impl Fn(&Group<'_>) -> bool) -> u64 {
    arena.groups().filter(|group| is_it(group)).map(|group| group.count).sum()
}

/// A tree in one line: `function:line` of each level, the last part of its path, deeper
/// ones behind `>`, branches behind `|`.
fn tree(group: &Group<'_>) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for level in group.levels() {
        let level = level.shown(table().table());
        if !text.is_empty() {
            text.push_str(if level.depth > depth { " > " } else { " | " });
        }
        depth = level.depth;
        let path = level.function.split('<').next().unwrap();
        let parts: Vec<&str> = path.split("::").filter(|part| !part.starts_with('{')).collect();
        text.push_str(parts.last().unwrap_or(&"?"));
        match (level.kind, level.line) {
            (AwaitKind::Suspended, Some(line)) => text.push_str(&format!(":{line}")),
            (AwaitKind::Suspended, None) => text.push_str(":?"),
            (kind, _) => text.push_str(&format!("[{}]", kind.code())),
        }
    }
    text
}

fn all_trees(arena: &Arena) -> String {
    let line = |group: Group<'_>| {
        let kind = group.kind.and_then(|kind| table().table().task(kind));
        let future = kind.and_then(|kind| table().table().ty(kind.future)).map(|ty| ty.name);
        let tree = tree(&group);
        format!("{:6} {:?} {tree} {future:?}\n", group.count, group.state)
    };
    arena.groups().map(line).collect()
}

fn has_tree(arena: &Arena, expected: &str) -> u64 {
    count(arena, |group| group.state == TaskState::Suspended && tree(group) == expected)
}

/// Futures whose lines are known; a line each.
#[rustfmt::skip]
mod shapes {
    use super::*;

    pub(super) async fn sleeper() { tokio::time::sleep(Duration::from_secs(100_000)).await }
    pub(super) const SLEEPER: u32 = line!() - 1;
    pub(super) async fn middle() { sleeper().await }
    pub(super) const MIDDLE: u32 = line!() - 1;
    pub(super) async fn outer(number: u64) -> u64 { middle().await; number }
    pub(super) const OUTER: u32 = line!() - 1;
    pub(super) async fn boxed(inner: Pin<Box<dyn Future<Output = ()> + Send>>) { inner.await }
    pub(super) const BOXED: u32 = line!() - 1;
    pub(super) async fn joiner<T>(handle: tokio::task::JoinHandle<T>) { let _ = handle.await; }
    pub(super) const JOINER: u32 = line!() - 1;
}
use shapes::*;

fn outer_tree() -> String {
    format!("outer:{OUTER} > middle:{MIDDLE} > sleeper:{SLEEPER} > Sleep[leaf]")
}

#[test]
fn all_tasks_of_a_multi_thread_runtime_are_there_with_their_lines() {
    let runtime = multi_thread();
    for number in 0..700 {
        runtime.spawn(outer(number));
        runtime.spawn(boxed(Box::pin(sleeper())));
        runtime.spawn(boxed(Box::pin(middle())));
    }
    let arena = until(&[root(runtime.handle())], |arena| {
        count(arena, |group| group.state == TaskState::Suspended) == 2100
    });
    let boxed_tree = |rest: &str| format!("boxed:{BOXED} > {rest}sleeper:{SLEEPER} > Sleep[leaf]");
    for expected in [outer_tree(), boxed_tree(""), boxed_tree(&format!("middle:{MIDDLE} > "))] {
        assert_eq!(has_tree(&arena, &expected), 700, "{expected}\n{}", all_trees(&arena));
    }
    assert_eq!((table().found().ambiguous, table().found().unsound), (0, 0));
    let summary = arena.roots()[0];
    let alive = runtime.metrics().num_alive_tasks() as u64;
    assert_eq!((summary.seen, alive, summary.alive_before), (2100, 2100, Some(2100)));
    assert_eq!((summary.unknown, summary.unstable, summary.lists_given_up), (0, 0, 0));
    // Each is there once, and is found by its id.
    let ids: HashSet<u64> = arena.groups().flat_map(|group| group.ids()).collect();
    assert_eq!(ids.len(), 2100);
    for id in ids {
        let task = arena.task(id).unwrap();
        assert!(arena.group(task.group.unwrap()).unwrap().ids().any(|other| other == id));
        assert_eq!((task.root, task.state), (Some(0), TaskState::Suspended));
    }
}

/// Runs `body` on a thread of its own, lets `check` look, then ends it.
fn beside<T: Send>(
    body: impl FnOnce(std::sync::mpsc::Sender<T>, tokio::sync::oneshot::Receiver<()>) + Send,
    check: impl FnOnce(T),
) {
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        scope.spawn(move || body(tell, ended));
        check(told.recv_timeout(PATIENCE).unwrap());
        let _ = end.send(());
    });
}

#[test]
fn all_tasks_of_a_current_thread_runtime_are_there() {
    beside(
        |tell, ended| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            for number in 0..300 {
                runtime.spawn(outer(number));
            }
            tell.send(runtime.handle().clone()).unwrap();
            let _ = runtime.block_on(ended);
        },
        |handle| {
            let arena = until(&[root(&handle)], |arena| has_tree(arena, &outer_tree()) == 300);
            assert_eq!(arena.roots()[0].seen, 300);
        },
    );
}

#[test]
fn all_tasks_of_a_local_set_are_there_until_it_is_dropped() {
    let mut last = None;
    beside(
        |tell, ended| {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let set = tokio::task::LocalSet::new();
            for number in 0..200 {
                set.spawn_local(outer(number));
            }
            tell.send(table().root_of_local_set(&set).unwrap()).unwrap();
            let _ = set.block_on(&runtime, ended);
        },
        |root| {
            let arena = until(&[root], |arena| has_tree(arena, &outer_tree()) == 200);
            let summary = arena.roots()[0];
            assert_eq!((summary.seen, summary.alive_before), (200, None));
            last = Some(root);
        },
    );
    let mut arena = Arena::new(100);
    collected(&[last.unwrap()], &mut arena);
    assert_eq!(arena.roots()[0].seen, 0);
}

#[test]
fn the_tasks_of_two_runtimes_are_told_apart_also_while_one_shuts_down() {
    let (one, two) = (multi_thread(), multi_thread());
    for number in 0..20 {
        one.spawn(outer(number));
        two.spawn(boxed(Box::pin(sleeper())));
        two.spawn(outer(number));
    }
    // Keeps the lists' memory, as a registration does.
    let handle = two.handle().clone();
    let roots = [root(one.handle()), root(&handle)];
    let arena = until(&roots, |arena| has_tree(arena, &outer_tree()) == 40);
    let of = |root| count(&arena, |group| group.root == Some(root));
    assert_eq!((of(0), of(1)), (20, 40));
    two.shutdown_background();
    let arena = until(&roots, |arena| arena.roots()[1].seen == 0);
    let summary = arena.roots()[1];
    assert_eq!((summary.alive_after, summary.is_gone), (Some(0), false));
    assert_eq!(arena.roots()[0].seen, 20);
}

#[test]
fn a_task_that_was_never_polled_is_new() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for number in 0..3 {
        runtime.spawn(outer(number));
    }
    let mut arena = Arena::new(100);
    collected(&[root(runtime.handle())], &mut arena);
    assert_eq!(count(&arena, |group| group.state == TaskState::New), 3);
    assert_eq!(count(&arena, |group| tree(group) == "outer[unresumed]"), 3);
}

#[test]
fn who_waits_for_a_task_says_for_which() {
    let runtime = multi_thread();
    let mut pairs = HashSet::new();
    for number in 0..5 {
        let awaited = runtime.spawn(outer(number));
        let to = awaited.id().to_string().parse::<u64>().unwrap();
        let from = runtime.spawn(joiner(awaited)).id().to_string().parse::<u64>().unwrap();
        pairs.insert((from, to));
    }
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocking = runtime.spawn_blocking(move || held.recv());
    let blocking_id = blocking.id().to_string().parse::<u64>().unwrap();
    let waiter = runtime.spawn(joiner(blocking)).id().to_string().parse::<u64>().unwrap();
    let arena = until(&[root(runtime.handle())], |arena| {
        count(arena, |group| group.state == TaskState::Suspended) == 11
    });
    let expected = format!("joiner:{JOINER} > JoinHandle[leaf]");
    let mut edges = HashSet::new();
    let mut kinds = Vec::new();
    for group in arena.groups().filter(|group| tree(group) == expected) {
        kinds.push((group.count, group.levels()[1].target_kind));
        group.edges(&mut |from, level, to| {
            assert_eq!(level, 1);
            edges.insert((from, to))
        });
    }
    pairs.insert((waiter, blocking_id));
    assert_eq!(edges, pairs, "{}", all_trees(&arena));
    // One group of five, and the one whose task is a closure.
    kinds.sort_unstable();
    assert_eq!(kinds.iter().map(|kind| kind.0).collect::<Vec<_>>(), [1, 5]);
    assert!(table().is_blocking(kinds[0].1) && !table().is_blocking(kinds[1].1));
    let group = arena.group(arena.task(waiter).unwrap().group.unwrap()).unwrap();
    assert_eq!(group.levels()[1].shown(table().table()).waits_for, Some(blocking_id));
    drop(release);
}

#[test]
fn a_task_that_is_polled_is_running_and_shows_if_it_was_aborted() {
    let runtime = multi_thread();
    let go_on = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&go_on);
    let task = runtime.spawn(async move {
        while !seen.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let roots = [root(runtime.handle())];
    let arena = until(&roots, |arena| count(arena, |group| group.state == TaskState::Running) == 1);
    assert!(arena.groups().all(|group| group.cancelled == 0 && group.levels().is_empty()));
    task.abort();
    let arena = until(&roots, |arena| count(arena, |group| group.cancelled == 1) == 1);
    assert!(arena.all().all(|task| task.is_cancelled && task.state == TaskState::Running));
    go_on.store(true, Ordering::Relaxed);
    until(&roots, |arena| arena.roots()[0].seen == 0);
}

#[test]
fn more_tasks_than_there_is_room_for_are_said_to_be_cut() {
    let runtime = multi_thread();
    for number in 0..50 {
        runtime.spawn(outer(number));
    }
    let roots = [root(runtime.handle())];
    until(&roots, |arena| has_tree(arena, &outer_tree()) == 50);
    let mut arena = Arena::new(20);
    collected(&roots, &mut arena);
    let summary = arena.roots()[0];
    assert_eq!((summary.seen, summary.is_cut, summary.alive_before), (20, true, Some(50)));
    collect(table(), &roots, &[], &mut arena, &|| true);
    assert!(arena.roots()[0].is_over);
}

#[test]
fn a_future_that_is_in_no_list_is_read_if_its_counter_stays() {
    // What `block_on` drives, with the counter of who tracks it.
    trait TypeProbe {
        fn probe(&self) -> core::any::TypeId;
    }
    impl<F: 'static> TypeProbe for F {
        fn probe(&self) -> core::any::TypeId {
            core::any::TypeId::of::<F>()
        }
    }
    let mut future = Box::pin(boxed(Box::pin(middle())));
    let runtime = multi_thread();
    let _guard = runtime.enter();
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    let address = core::ptr::from_ref(&*future) as u64;
    let probe: &dyn TypeProbe = &*future;
    // The second word of a reference to a trait's object.
    // SAFETY: such a reference is two words.
    let [_, vtable] = unsafe { core::mem::transmute::<&dyn TypeProbe, [u64; 2]>(probe) };
    assert_ne!(probe.probe(), core::any::TypeId::of::<()>());
    let sequence = AtomicU64::new(4);
    let extra = |sequence_then| Extra {
        key: 77,
        address,
        probe_vtable: vtable,
        sequence_address: sequence.as_ptr() as u64,
        sequence: sequence_then,
    };
    let mut arena = Arena::new(10);
    let mut look = |then, value| {
        sequence.store(value, Ordering::Relaxed);
        collect(table(), &[], &[extra(then)], &mut arena, &|| false);
        let task = arena.extra(77).unwrap();
        assert_eq!((task.root, arena.extras().seen), (None, 1));
        let group = arena.group(task.group.unwrap()).unwrap();
        (task.state, task.kind.is_some(), tree(&group))
    };
    let expected = format!("boxed:{BOXED} > middle:{MIDDLE} > sleeper:{SLEEPER} > Sleep[leaf]");
    assert_eq!(look(4, 4), (TaskState::Suspended, true, expected));
    assert_eq!(look(5, 5), (TaskState::Running, true, String::new()));
    assert_eq!(look(4, 6), (TaskState::Unstable, true, String::new()));
    assert_eq!(look(4, 5), (TaskState::Unstable, true, String::new()));
}

#[test]
fn nothing_is_allocated_while_tasks_come_and_go() {
    let runtime = multi_thread();
    for number in 0..300 {
        runtime.spawn(outer(number));
        runtime.spawn(boxed(Box::pin(middle())));
        runtime.spawn(joiner(runtime.spawn(sleeper())));
    }
    runtime.spawn(async {
        loop {
            let _ = tokio::spawn(async { tokio::task::yield_now().await }).await;
        }
    });
    let roots = [root(runtime.handle())];
    let mut arena = Arena::new(10_000);
    for _ in 0..20 {
        let calls = super::no_allocation::allocations(|| {
            collected(&roots, &mut arena);
            let mut ids = 0;
            for group in arena.groups() {
                ids += group.ids().filter(|id| arena.task(*id).is_some()).count();
                group.edges(&mut |from, _, to| from != to);
                for level in group.levels() {
                    assert!(!level.shown(table().table()).function.is_empty());
                }
            }
            assert!(ids >= 1200);
            assert_eq!(table().root_of_arc(false, roots[0].arc), Some(roots[0]));
        });
        assert_eq!(calls, 0);
    }
}

/// Two shapes between which a task changes all the time: `left` awaits `left_inner`, in a
/// box, and `right` awaits `right_inner`. A tree that mixes them was never true.
#[rustfmt::skip]
mod churn {
    use super::*;

    type Inner = Pin<Box<dyn Future<Output = ()> + Send>>;

    pub(super) const TREES: [[u32; 3]; 2] =
        [[CHANGE + 2, LEFT, LEFT_INNER], [CHANGE + 3, RIGHT, RIGHT_INNER]];

    async fn left_inner() { tokio::task::yield_now().await }
    const LEFT_INNER: u32 = line!() - 1;
    async fn right_inner() { tokio::task::yield_now().await }
    const RIGHT_INNER: u32 = line!() - 1;
    async fn left(inner: Inner) { inner.await }
    const LEFT: u32 = line!() - 1;
    async fn right(inner: Inner) { inner.await }
    const RIGHT: u32 = line!() - 1;
    const CHANGE: u32 = line!() + 1;
    pub(super) async fn change(rounds: u32) {
        for _ in 0..rounds {
            left(Box::pin(left_inner())).await;
            right(Box::pin(right_inner())).await;
        }
    }
}

#[test]
fn while_tasks_change_and_end_no_tree_is_wrong_and_none_that_stays_is_missed() {
    const STABLE: u64 = 150;
    let runtime = multi_thread();
    let stable: HashSet<u64> = (0..STABLE)
        .map(|number| runtime.spawn(outer(number)).id().to_string().parse().unwrap())
        .collect();
    let roots = [root(runtime.handle())];
    until(&roots, |arena| has_tree(arena, &outer_tree()) == STABLE);
    for _ in 0..16 {
        runtime.spawn(async {
            loop {
                let some: Vec<_> =
                    (1..5).map(|rounds| tokio::spawn(churn::change(rounds))).collect();
                for task in some {
                    let _ = task.await;
                }
            }
        });
    }
    let mut arena = Arena::new(20_000);
    let mut judged = 0;
    // So many that some were seen in each of the two shapes.
    while judged < 2_000 {
        collected(&roots, &mut arena);
        assert_eq!(has_tree(&arena, &outer_tree()), STABLE, "{:?}", arena.roots());
        assert!(stable.iter().all(|id| arena.task(*id).is_some()));
        for group in arena.groups() {
            let levels: Vec<_> =
                group.levels().iter().map(|level| level.shown(table().table())).collect();
            if !levels.first().is_some_and(|level| level.function.contains("churn::change")) {
                continue;
            }
            let lines: Vec<u32> = levels.iter().filter_map(|level| level.line).collect();
            let is_whole = churn::TREES.iter().any(|tree| lines[..] == tree[..]);
            match group.state {
                TaskState::New => assert_eq!(levels.len(), 1),
                _ => assert!(is_whole || levels.is_empty(), "{:?} {}", group.state, tree(&group)),
            }
            judged += group.count;
        }
    }
}

/// How long a hundred thousand tasks take, ten levels deep, of two shapes. For a build with
/// types: `CARGO_PROFILE_RELEASE_DEBUG=2 cargo test --release -p gmr-tokio --lib
/// a_hundred_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_tasks() {
    #[rustfmt::skip]
    macro_rules! levels {
        ($($name:ident awaits $inner:ident),*) => { $(async fn $name() { $inner().await })* };
    }
    levels!(l1 awaits l2, l2 awaits l3, l3 awaits l4, l4 awaits l5, l5 awaits l6);
    levels!(l6 awaits l7, l7 awaits l8, l8 awaits sleeper);
    async fn l3_boxed() {
        let inner: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(l4());
        boxed(inner).await;
    }
    const TASKS: u64 = 100_000;
    let runtime = multi_thread();
    let roots = [root(runtime.handle())];
    let mut arena = Arena::new(262_144);
    for round in ["in place", "with a box"] {
        let is_boxed = round == "with a box";
        let abort: Vec<_> = (0..TASKS)
            .map(|_| if is_boxed { runtime.spawn(l3_boxed()) } else { runtime.spawn(l1()) })
            .collect();
        loop {
            collected(&roots, &mut arena);
            let is_parked = |group: &Group<'_>| group.state == TaskState::Suspended;
            if count(&arena, is_parked) == TASKS {
                break;
            }
        }
        for _ in 0..5 {
            let before = arena.calls();
            let start = Instant::now();
            collected(&roots, &mut arena);
            let elapsed = start.elapsed();
            let calls = arena.calls() - before;
            println!(
                "{round}: {TASKS} tasks in {elapsed:?}, {:.2} us each, {:.3} calls each, {} groups",
                elapsed.as_secs_f64() * 1e6 / TASKS as f64,
                calls as f64 / TASKS as f64,
                arena.groups().len(),
            );
        }
        print!("{}", all_trees(&arena));
        for task in abort {
            task.abort();
        }
        while arena.roots()[0].seen > 0 {
            collected(&roots, &mut arena);
        }
    }
}
