//! The judge itself: what is right is exact, and no change of it goes unseen.

use super::judge::{Verdict, judge};
use super::outcome::Outcome;
use super::truth::{Below, Truth};
use gmr_tests::green::{GreenThreads, Kind, Task};

const TRUTH: &str = r#"{ "in_any_order": false, "nodes": [ { "at": {
    "mark": "outer", "file": "src/shapes/a.rs", "line": 7, "function": "outer", "below": {
    "in_any_order": false, "nodes": [
        { "at": { "mark": "one", "file": "src/shapes/a.rs", "line": 9, "function": "one",
            "below": { "in_any_order": false, "nodes": [ { "leaf": "Sleep" } ] } } },
        { "at": { "mark": "two", "file": "src/shapes/b.rs", "line": 3, "function": "two",
            "below": { "in_any_order": false, "nodes": [ { "leaf": "Notified" } ] } } }
    ] } } } ] }"#;

const TASK: &str = r#"{ "ids": [1], "count": 1, "state": "suspended", "stack": [
    { "depth": 0, "kind": "suspended", "function": "p::a::outer", "file": "/p/src/shapes/a.rs", "line": 7 },
    { "depth": 1, "kind": "holder", "function": "futures::Join<p::a::one, p::b::two>" },
    { "depth": 2, "kind": "suspended", "function": "p::a::one", "file": "/p/src/shapes/a.rs", "line": 9 },
    { "depth": 3, "kind": "leaf", "function": "tokio::time::Sleep" },
    { "depth": 2, "kind": "suspended", "function": "p::b::two", "file": "/p/src/shapes/b.rs", "line": 3 },
    { "depth": 3, "kind": "leaf", "function": "tokio::sync::Notified" } ] }"#;

fn truth() -> Below {
    serde_json::from_str(TRUTH).expect("a tree")
}

/// The verdict on the right task with a change.
fn changed(change: impl FnOnce(&mut Task)) -> Verdict {
    let mut task: Task = serde_json::from_str(TASK).expect("a task");
    change(&mut task);
    judge(&truth(), "suspended", &task)
}

#[track_caller]
fn is_wrong(change: impl FnOnce(&mut Task)) {
    let verdict = changed(change);
    assert!(verdict.is_wrong(), "{verdict}");
}

#[track_caller]
fn is_incomplete(change: impl FnOnce(&mut Task)) {
    let verdict = changed(change);
    assert!(matches!(verdict, Verdict::Incomplete(_)), "{verdict}");
}

#[test]
fn the_truth_is_exact() {
    assert_eq!(changed(|_| {}), Verdict::Exact);
}

#[test]
fn what_is_not_true_is_wrong() {
    for index in [0, 2, 4] {
        is_wrong(|task| task.stack[index].line = Some(8));
        is_wrong(|task| task.stack[index].file = Some("/p/src/shapes/c.rs".into()));
        is_wrong(|task| task.stack[index].function = "p::a::other".into());
    }
    is_wrong(|task| task.state = "running".into());
    // The two branches in the other order.
    is_wrong(|task| task.stack[2..].rotate_left(2));
    // A branch below the other.
    is_wrong(|task| {
        for level in &mut task.stack[4..] {
            level.depth += 1;
        }
    });
    // One too much.
    is_wrong(|task| task.stack.push(task.stack[2].clone()));
    is_wrong(|task| task.stack.insert(0, task.stack[0].clone()));
    is_wrong(|task| task.stack[2].kind = Kind::Returned);
    // A line of a library at which nothing waits.
    is_wrong(|task| {
        task.stack[3].kind = Kind::Suspended;
        task.stack[3].file = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        task.stack[3].line = Some(1);
    });
}

#[test]
fn what_is_not_said_is_incomplete_and_undecoded_only_with_a_mark() {
    is_incomplete(|task| task.stack.truncate(4));
    is_incomplete(|task| task.stack.truncate(1));
    is_incomplete(|task| task.stack.clear());
    is_incomplete(|task| task.stack[3].function = "tokio::sync::Notified".into());
    is_incomplete(|task| drop(task.stack.remove(5)));
    let verdict = changed(|task| {
        task.stack.truncate(2);
        task.stack[1].kind = Kind::Undecoded;
        task.stack[1].note = Some("no such type".into());
    });
    assert_eq!(verdict, Verdict::Undecoded("no such type".into()));
    let verdict = changed(|task| {
        task.stack.clear();
        task.undecoded = Some("no table".into());
    });
    assert_eq!(verdict, Verdict::Undecoded("no table".into()));
    // A mark does not excuse what is wrong.
    is_wrong(|task| {
        task.undecoded = Some("no table".into());
        task.stack[0].line = Some(8);
    });
    let verdict = changed(|task| task.stack[0].kind = Kind::InMacro);
    assert!(matches!(verdict, Verdict::Undecoded(_)), "{verdict}");
}

#[test]
fn in_any_order_any_order_is_right_and_nothing_else() {
    let mut truth = truth();
    let super::truth::Node::At(outer) = &mut truth.nodes[0] else { panic!("a place") };
    outer.below.in_any_order = true;
    let mut task: Task = serde_json::from_str(TASK).expect("a task");
    assert_eq!(judge(&truth, "suspended", &task), Verdict::Exact);
    task.stack[2..].rotate_left(2);
    assert_eq!(judge(&truth, "suspended", &task), Verdict::Exact);
    task.stack[4].line = Some(3);
    assert!(judge(&truth, "suspended", &task).is_wrong());
}

#[test]
fn tasks_that_are_not_there_and_tasks_that_nobody_spawned_are_counted() {
    let truth: Truth = serde_json::from_str(&format!(
        r#"{{ "tasks": [
            {{ "name": "a", "id": 1, "state": "suspended", "tree": {TRUTH} }},
            {{ "name": "b", "id": 2, "state": "suspended", "tree": {TRUTH} }} ],
          "anonymous": [ {{ "name": "c", "count": 2, "tree": {TRUTH} }} ] }}"#
    ))
    .expect("the truth");
    let task = |id: u64| TASK.replace("[1]", &format!("[{id}]"));
    let seen = |ids: &[u64]| {
        let tasks: Vec<_> = ids.iter().map(|id| task(*id)).collect();
        GreenThreads::of(&format!(
            r#"{{ "sections": [ {{ "title": "Green Threads", "status": "ok",
                "data": {{ "tasks": [ {} ] }} }} ] }}"#,
            tasks.join(", ")
        ))
    };
    let outcome = Outcome::of(&truth, &seen(&[1, 2, 7, 9]));
    assert_eq!((outcome.exact(), outcome.verdicts.len()), (4, 4));
    assert_eq!((outcome.missing(), outcome.strangers.len()), (0, 0));
    let outcome = Outcome::of(&truth, &seen(&[1, 7, 8, 9]));
    assert_eq!((outcome.exact(), outcome.missing()), (3, 1));
    assert_eq!(outcome.strangers.len(), 1);
    assert_eq!(Outcome::of(&truth, &seen(&[1, 2, 7, 9, 9])).twice, [9]);
}
