//! Tasks of an async runtime in the report for people.
//!
//! 1. The rule of one task: `Task 4711 "poller" running on #10181 for 12.4 s`. What
//!    is not known is left out.
//! 2. The rule of several: `290 tasks with the same await tree: 12, 13, 14, …`.
//!    What they have in common follows in lines: `state = suspended`, `for = 12.4 s
//!    (the longest)`; and `tasks = 12, 13, 14, …, 190 more` with all ids that are
//!    given, if the rule has not all of them. It is one line, however long, for
//!    grep.
//! 3. One level of a tree: `src/db.rs:20  heat::db::acquire (NOTE) -> task 17`. What
//!    is not known to be suspended at that place says so in parentheses. Levels that only
//!    pass a poll on (`PollFn`) have no line, and what they hold is not indented for them;
//!    JSON has them.
//!
//! # Limits
//!
//! Levels deeper than [`MAX_SHOWN_DEPTH`] stand below each other, each with its
//! depth in words.

use super::{Line, TextLayout};
use crate::model::{Await, AwaitKind, Task, TaskState};
use crate::view::Output;
use crate::view::escape;
use crate::view::format::{decimal, duration, put, spaces};

/// Ids in a rule: more do not fit beside the words.
const MAX_RULE_IDS: usize = 3;

/// The deepest level that has an indentation of its own: half of the width of a
/// screen goes to it.
const MAX_SHOWN_DEPTH: u32 = 48;

/// Columns that a level is indented by below its outer one.
const LEVEL_INDENT: usize = 2;

/// Types that only pass a poll on to what they hold, which follows: lines of theirs would
/// be half of a tree, and say nothing.
const PASS_ON: [&str; 2] = ["core::future::poll_fn::PollFn<", "tokio::task::coop::Coop<"];

/// Which levels above the one to come were left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    /// Bit by bit, by depth. What is deeper is always shown.
    left_out: u128,
}

impl Tree {
    pub(super) const fn new() -> Self {
        Tree { left_out: 0 }
    }

    /// How deep a level is shown; `None`: not at all.
    pub(super) fn depth_shown(&mut self, level: &Await<'_>) -> Option<u32> {
        let bit = 1_u128.checked_shl(level.depth).unwrap_or(0);
        // Deeper ones, and one of this depth, belonged to another branch.
        self.left_out &= if bit == 0 { u128::MAX } else { bit.saturating_sub(1) };
        let passes_on = PASS_ON.iter().any(|name| level.function.starts_with(name));
        let says_more = level.file.is_some() || level.waits_for.is_some() || !level.note.is_empty();
        if level.kind == AwaitKind::Holder && passes_on && !says_more {
            self.left_out |= bit;
            // Beyond the bits it is shown.
            return (bit == 0).then(|| level.depth.saturating_sub(self.left_out.count_ones()));
        }
        Some(level.depth.saturating_sub(self.left_out.count_ones()))
    }
}

impl TextLayout {
    pub(super) fn task(&mut self, task: &Task<'_>, out: &mut Output<'_>) {
        let is_one = task.count == 1;
        self.rule(out, |out| {
            if is_one {
                one_task(out, task);
            } else {
                several_tasks(out, task);
            }
        });
        self.last = Line::Content;
        if !is_one {
            self.one_line(b"", out, |out| {
                put(out, "state = ");
                put(out, task.state.code());
            });
            if let Some(tid) = task.tid {
                self.one_line(b"", out, |out| {
                    put(out, "thread = #");
                    decimal(out, u64::from(tid));
                });
            }
            if let Some(for_ns) = task.for_ns {
                self.one_line(b"", out, |out| {
                    put(out, "for = ");
                    duration(out, for_ns);
                    put(out, " (the longest)");
                });
            }
            if task.ids.len() > MAX_RULE_IDS {
                self.one_line(b"", out, |out| {
                    put(out, "tasks = ");
                    ids(out, task.ids);
                    let left_out = task.count.saturating_sub(task.ids.len() as u64);
                    if left_out > 0 {
                        put(out, ", ");
                        decimal(out, left_out);
                        put(out, " more");
                    }
                });
            }
        }
        if let Some(future) = task.future {
            self.one_line(b"", out, |out| {
                put(out, "future = ");
                escape::line(out, future.as_bytes());
            });
        }
    }
}

fn one_task(out: &mut Output<'_>, task: &Task<'_>) {
    put(out, " Task ");
    match task.ids.first() {
        Some(id) => decimal(out, *id),
        None => put(out, "without id"),
    }
    name(out, task);
    put(out, " ");
    put(out, task.state.code());
    if let Some(tid) = task.tid {
        put(out, " on #");
        decimal(out, u64::from(tid));
    }
    if let Some(for_ns) = task.for_ns {
        put(out, " for ");
        duration(out, for_ns);
    }
    put(out, " ");
}

fn several_tasks(out: &mut Output<'_>, task: &Task<'_>) {
    put(out, " ");
    decimal(out, task.count);
    // A blocking closure has no tree.
    let is_blocking = task.state == TaskState::Blocking;
    put(out, if is_blocking { " blocking tasks" } else { " tasks" });
    name(out, task);
    put(out, if is_blocking { "" } else { " with the same await tree" });
    let shown = task.ids.get(..MAX_RULE_IDS).unwrap_or(task.ids);
    if !shown.is_empty() {
        put(out, ": ");
        ids(out, shown);
        put(out, if (shown.len() as u64) < task.count { ", …" } else { "" });
    }
    put(out, " ");
}

fn name(out: &mut Output<'_>, task: &Task<'_>) {
    if let Some(name) = task.name {
        put(out, " \"");
        escape::line(out, name.as_bytes());
        put(out, "\"");
    }
}

fn ids(out: &mut Output<'_>, ids: &[u64]) {
    let mut separator = "";
    for id in ids {
        put(out, separator);
        decimal(out, *id);
        separator = ", ";
    }
}

/// What a level's line begins with, if that stands at the block's own column.
pub(super) fn level_start<'a>(level: &Await<'a>) -> &'a [u8] {
    match level.depth {
        0 => level.file.unwrap_or(level.function).as_bytes(),
        _ => b"",
    }
}

pub(super) fn level_line(out: &mut Output<'_>, level: &Await<'_>) {
    spaces(out, (level.depth.min(MAX_SHOWN_DEPTH) as usize).saturating_mul(LEVEL_INDENT));
    if level.depth > MAX_SHOWN_DEPTH {
        put(out, "(depth ");
        decimal(out, u64::from(level.depth));
        put(out, ") ");
    }
    if let Some(file) = level.file {
        escape::line(out, file.as_bytes());
        if let Some(line) = level.line {
            put(out, ":");
            decimal(out, u64::from(line));
        }
        put(out, "  ");
    }
    escape::line(out, level.function.as_bytes());
    let words = match level.kind {
        AwaitKind::Suspended | AwaitKind::Holder | AwaitKind::Leaf => "",
        AwaitKind::InMacro => "line within a macro",
        AwaitKind::Unresumed => "never polled",
        AwaitKind::Returned => "returned",
        AwaitKind::Panicked => "panicked",
        AwaitKind::Undecoded => "not decoded",
    };
    if !words.is_empty() || !level.note.is_empty() {
        put(out, " (");
        put(out, words);
        put(out, if words.is_empty() || level.note.is_empty() { "" } else { ": " });
        escape::line(out, level.note.as_bytes());
        put(out, ")");
    }
    if let Some(id) = level.waits_for {
        put(out, " -> task ");
        decimal(out, id);
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use crate::model::{Await, AwaitKind, Event, Task, TaskState};
    use crate::view::TextView;
    use crate::view::testing::{END, LEAF, LEVEL, SECTION, SECTION_OK, TASK, rendered, value};

    /// The lines of a section with these events.
    fn lines(events: &[Event<'_>]) -> Vec<String> {
        let stream: Vec<_> = [&[SECTION], events, &[SECTION_OK, END]].concat();
        let text = rendered(TextView::new(), &stream);
        let lines = text.lines().skip_while(|line| !line.contains("Test")).skip(2);
        let end = |line: &&str| !line.starts_with("End of report");
        lines.take_while(end).map(String::from).collect()
    }

    /// What the rule of a task says.
    fn rule(task: Task<'_>) -> String {
        let lines = lines(&[Event::BeginTask(task), Event::Close]);
        assert_eq!(lines[0].chars().count(), 72, "{}", lines[0]);
        String::from(lines[0].trim_matches('-').trim())
    }

    #[test]
    fn rules_say_what_is_known() {
        assert_eq!(rule(TASK), "Task 4711 suspended");
        assert_eq!(rule(Task { ids: &[], state: TaskState::New, ..TASK }), "Task without id new");
        assert_eq!(
            rule(Task { state: TaskState::Blocking, tid: Some(7), for_ns: Some(17), ..TASK }),
            "Task 4711 blocking on #7 for 17 ns"
        );
        assert_eq!(rule(Task { name: Some("a\n\""), ..TASK }), "Task 4711 \"a\\n\"\" suspended");
        let several = Task { count: 4, ids: &[1, 2, 3, 4], ..TASK };
        assert_eq!(rule(several), "4 tasks with the same await tree: 1, 2, 3, …");
        assert_eq!(
            rule(Task { count: 3, ids: &[1, 2, 3], ..TASK }),
            "3 tasks with the same await tree: 1, 2, 3"
        );
        assert_eq!(rule(Task { ids: &[], ..several }), "4 tasks with the same await tree");
        assert_eq!(
            rule(Task { count: 9, ids: &[1], ..TASK }),
            "9 tasks with the same await tree: 1, …"
        );
        assert_eq!(
            rule(Task { state: TaskState::Blocking, ..several }),
            "4 blocking tasks: 1, 2, 3, …"
        );
    }

    #[test]
    fn all_ids_that_are_given_are_on_one_line() {
        let ids = |count, ids| {
            let task = Task { count, ids, tid: Some(9), ..TASK };
            let lines = lines(&[Event::BeginTask(task)]);
            lines.into_iter().find(|line| line.starts_with("tasks"))
        };
        assert_eq!(ids(3, &[1, 2, 3]), None);
        assert_eq!(ids(4, &[1, 2, 3, 4]).unwrap(), "tasks = 1, 2, 3, 4");
        assert_eq!(ids(9, &[1, 2, 3, 4]).unwrap(), "tasks = 1, 2, 3, 4, 5 more");
    }

    #[test]
    fn levels_say_what_is_known_of_them() {
        let line = |level| lines(&[Event::BeginTask(TASK), Event::Await(level)])[2].clone();
        let of = |kind, note| line(Await { kind, note, ..LEAF });
        assert_eq!(of(AwaitKind::Leaf, ""), "tokio::sync::semaphore::Acquire");
        assert_eq!(of(AwaitKind::Holder, ""), "tokio::sync::semaphore::Acquire");
        assert_eq!(of(AwaitKind::Suspended, "n"), "tokio::sync::semaphore::Acquire (n)");
        for (kind, words) in [
            (AwaitKind::InMacro, "line within a macro"),
            (AwaitKind::Unresumed, "never polled"),
            (AwaitKind::Returned, "returned"),
            (AwaitKind::Panicked, "panicked"),
            (AwaitKind::Undecoded, "not decoded"),
        ] {
            assert!(of(kind, "").ends_with(&std::format!("Acquire ({words})")));
            assert!(of(kind, "n\n").ends_with(&std::format!("Acquire ({words}: n\\n)")));
        }
        assert_eq!(line(Await { line: None, ..LEVEL }), "src/api.rs  heat::api::handle");
        assert_eq!(
            line(Await { waits_for: Some(u64::MAX), ..LEVEL }),
            "src/api.rs:57  heat::api::handle -> task 18446744073709551615"
        );
    }

    #[test]
    fn depths_are_columns_up_to_a_limit_and_words_beyond() {
        let at = |depth| {
            let level = Event::Await(Await { depth, ..LEAF });
            lines(&[Event::BeginTask(TASK), level])[2].clone()
        };
        let indented = |columns: usize, rest: &str| std::format!("{}{rest}", " ".repeat(columns));
        let function = LEAF.function;
        assert_eq!(at(0), function);
        assert_eq!(at(2), indented(4, function));
        assert_eq!(at(48), indented(96, function));
        assert_eq!(at(49), indented(96, &std::format!("(depth 49) {function}")));
        assert_eq!(at(u32::MAX), indented(96, &std::format!("(depth 4294967295) {function}")));
    }

    #[test]
    fn what_only_passes_a_poll_on_is_left_out() {
        let poll_fn = "core::future::poll_fn::PollFn<heat::api::handle::{closure#0}>";
        let level = |depth, kind, function| Await { depth, kind, function, ..LEAF };
        let holder = |depth| level(depth, AwaitKind::Holder, poll_fn);
        let leaf = |depth, function| level(depth, AwaitKind::Leaf, function);
        let tree = |levels: &[Await<'_>]| -> Vec<String> {
            let mut events = std::vec![Event::BeginTask(TASK)];
            events.extend(levels.iter().copied().map(Event::Await));
            lines(&events).into_iter().skip(2).filter(|line| !line.is_empty()).collect()
        };
        // Its branches move up; what comes after them is not deeper than it is.
        let coop = level(2, AwaitKind::Holder, "tokio::task::coop::Coop<…>");
        let select = [
            Await { depth: 0, ..LEVEL },
            holder(1),
            coop,
            leaf(3, "a"),
            leaf(2, "b"),
            leaf(1, "c"),
            holder(1),
            leaf(2, "d"),
        ];
        assert_eq!(tree(&select), ["src/api.rs:57  heat::api::handle", "  a", "  b", "  c", "  d"]);
        // What is really waited for, or has more to say, stays.
        assert_eq!(tree(&[leaf(0, poll_fn)]), [poll_fn]);
        let noted = Await { note: "n", ..holder(0) };
        assert_eq!(tree(&[noted, leaf(1, "a")]), [std::format!("{poll_fn} (n)"), "  a".into()]);
        // The next task begins anew, and so does what is too deep to be remembered.
        assert_eq!(tree(&[holder(0)]), [""; 0]);
        let deep = [holder(128), leaf(129, "a")];
        assert_eq!(
            tree(&deep).iter().map(|line| line.trim_start()).collect::<Vec<_>>(),
            [&std::format!("(depth 128) {poll_fn}"), "(depth 129) a"]
        );
    }

    #[test]
    fn no_level_forges_a_heading() {
        let forged = |function, file| {
            let level = Event::Await(Await { function, file, ..LEVEL });
            lines(&[Event::BeginTask(TASK), level])[2].clone()
        };
        assert_eq!(forged("====", None), "\\====");
        assert_eq!(forged("f", Some("----")), "\\----:57  f");
        assert_eq!(forged("====", Some("a")), "a:57  ====");
    }

    #[test]
    fn blocks_and_trees_are_parted_by_one_empty_line() {
        let shown = lines(&[
            Event::BeginTask(TASK),
            Event::Close,
            Event::BeginTask(TASK),
            value("polls", 3_u64),
            Event::Await(LEVEL),
            Event::Close,
        ]);
        let rule = &shown[0];
        assert_eq!(
            shown,
            [rule, "", rule, "polls = 3", "", "src/api.rs:57  heat::api::handle", "", ""][..7]
        );
    }
}
