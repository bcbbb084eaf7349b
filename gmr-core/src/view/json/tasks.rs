//! Tasks of an async runtime in the report for machines: rule 9 of
//! [`super`].

use super::{JsonLayout, JsonStyle, line_member, string};
use crate::model::{Await, Task};
use crate::view::Output;
use crate::view::format::{decimal, put};

/// The key of an await tree.
pub(super) const STACK: &str = "stack";

/// The other members of a task that are the view's own.
pub(super) const MEMBERS: [&str; 8] =
    ["count", "ids", "name", "state", "tid", "for", "for_ns", "future"];

impl JsonLayout {
    pub(super) fn task(&mut self, task: &Task<'_>, out: &mut Output<'_>) {
        self.member(out, "count");
        decimal(out, task.count);
        self.member(out, "ids");
        ids(out, task.ids, self.style);
        if let Some(name) = task.name {
            self.string_member(out, "name", name.as_bytes());
        }
        self.string_member(out, "state", task.state.code().as_bytes());
        if let Some(tid) = task.tid {
            self.member(out, "tid");
            decimal(out, u64::from(tid));
        }
        if let Some(for_ns) = task.for_ns {
            self.member(out, "for_ns");
            decimal(out, for_ns);
        }
        if let Some(future) = task.future {
            self.string_member(out, "future", future.as_bytes());
        }
    }

    /// The key of a `stack` array.
    pub(super) fn stack_member(&mut self, out: &mut Output<'_>) {
        let mut open = self.innermost();
        open.awaits = open.awaits.saturating_add(1);
        self.set_innermost(open);
        self.numbered_member(out, STACK, open.awaits);
    }
}

/// One line in either style: they are numbers, and many.
fn ids(out: &mut Output<'_>, ids: &[u64], style: JsonStyle) {
    put(out, "[");
    let mut separator = "";
    for id in ids {
        put(out, separator);
        decimal(out, *id);
        separator = if style == JsonStyle::Pretty { ", " } else { "," };
    }
    put(out, "]");
}

/// One line in either style, like a frame.
pub(super) fn level_object(out: &mut Output<'_>, level: &Await<'_>, style: JsonStyle) {
    let member = |out: &mut Output<'_>, key: &str| line_member(out, key, style);
    put(out, if style == JsonStyle::Pretty { "{\"depth\": " } else { "{\"depth\":" });
    decimal(out, u64::from(level.depth));
    member(out, "kind");
    string(out, level.kind.code().as_bytes());
    member(out, "function");
    string(out, level.function.as_bytes());
    if let Some(file) = level.file {
        member(out, "file");
        string(out, file.as_bytes());
    }
    if let Some(line) = level.line {
        member(out, "line");
        decimal(out, u64::from(line));
    }
    if let Some(id) = level.waits_for {
        member(out, "waits_for");
        decimal(out, id);
    }
    if !level.note.is_empty() {
        member(out, "note");
        string(out, level.note.as_bytes());
    }
    put(out, "}");
}

#[cfg(test)]
pub(super) mod tests {
    use std::string::String;
    use std::vec::Vec;

    use serde_json::{Value, json};

    use crate::model::Event;
    use crate::view::testing::{
        END, LEAF, LEVEL, SECTION, SECTION_OK, TASK, group, rendered, value,
    };
    use crate::view::{JsonStyle, JsonView};

    /// The section with tasks of the sample that all views share.
    pub(in crate::view::json) fn sample_data() -> Value {
        json!({
            "summary": "294 tasks seen of 294 alive",
            "tasks": [
                {
                    "count": 1,
                    "ids": [4711],
                    "name": "poller",
                    "state": "running",
                    "tid": 10181,
                    "for_ns": 12_400_000_000_u64,
                    "future": "heat::poll::{async_fn_env#0}",
                    "spawned": "src/api.rs:41",
                },
                {
                    "count": 290,
                    "ids": [12, 13, 14, 15],
                    "state": "suspended",
                    "for_ns": 12_400_000_000_u64,
                    "spawned": "src/main.rs:7",
                    "stack": [
                        {
                            "depth": 0,
                            "kind": "suspended",
                            "function": "heat::api::handle",
                            "file": "src/api.rs",
                            "line": 57,
                        },
                        {
                            "depth": 1,
                            "kind": "in_macro",
                            "function": "heat::db::acquire",
                            "file": "src/db.rs",
                            "line": 20,
                        },
                        {
                            "depth": 2,
                            "kind": "leaf",
                            "function": "tokio::sync::semaphore::Acquire",
                            "note": "permits: 1",
                        },
                        {
                            "depth": 1,
                            "kind": "leaf",
                            "function": "tokio::sync::semaphore::Acquire",
                            "waits_for": 17,
                        },
                        {
                            "depth": 1,
                            "kind": "undecoded",
                            "function": "dyn Future",
                            "note": "unknown type",
                        },
                    ],
                },
                {
                    "count": 3,
                    "ids": [2, 3, 5],
                    "name": "idle",
                    "state": "suspended",
                    "stack": [{
                        "depth": 0,
                        "kind": "unresumed",
                        "function": "heat::api::handle",
                        "file": "src/api.rs",
                        "line": 57,
                    }],
                },
            ],
        })
    }

    fn text(style: JsonStyle, events: &[Event<'_>]) -> String {
        let stream: Vec<_> = [&[SECTION], events, &[SECTION_OK, END]].concat();
        rendered(JsonView::new(style), &stream)
    }

    fn data(events: &[Event<'_>]) -> Value {
        let text = text(JsonStyle::Line, events);
        serde_json::from_str::<Value>(&text).unwrap()["sections"][0]["data"].take()
    }

    #[test]
    fn a_programs_key_does_not_meet_the_views_own() {
        let level = json!({
            "depth": 0,
            "kind": "leaf",
            "function": "tokio::sync::semaphore::Acquire",
        });
        assert_eq!(
            data(&[
                value("stack", 0_u64),
                Event::BeginTask(TASK),
                value("stack", 1_u64),
                value("stack_2", 2_u64),
                value("future", 3_u64),
                value("for", crate::model::Value::DurationNs(4)),
                Event::Await(LEAF),
                value("between", 5_u64),
                Event::Await(LEAF),
                Event::Close,
            ]),
            json!({
                "stack": 0,
                "item_1": {
                    "count": 1,
                    "ids": [4711],
                    "state": "suspended",
                    "stack_": 1,
                    "stack_2_": 2,
                    "future_": 3,
                    "for__ns": 4,
                    "stack": [level],
                    "between": 5,
                    "stack_2": [level],
                },
            })
        );
    }

    #[test]
    fn a_level_outside_of_a_task_is_not_lost() {
        let level = json!({
            "depth": 0,
            "kind": "leaf",
            "function": "tokio::sync::semaphore::Acquire",
        });
        let levels = [Event::Await(LEAF), Event::Await(LEAF)];
        let events: Vec<_> = [
            &levels[..],
            &[group("g")],
            &levels[1..],
            &[Event::BeginList { key: Some("l") }],
            &levels[..],
        ]
        .concat();
        assert_eq!(
            data(&events),
            json!({
                "item_1": level,
                "item_2": level,
                "g": {"item_1": level, "l": [level, level]},
            })
        );
    }

    #[test]
    fn ids_and_levels_are_one_line_each() {
        let task = crate::model::Task { count: 2, ids: &[1, 2], ..TASK };
        let events = [Event::BeginTask(task), Event::Await(LEVEL), Event::Await(LEAF)];
        let pretty = text(JsonStyle::Pretty, &events);
        for line in [
            "          \"ids\": [1, 2],\n",
            "            {\"depth\": 0, \"kind\": \"suspended\", \"function\": \"heat::api::handle\", \
             \"file\": \"src/api.rs\", \"line\": 57},\n",
        ] {
            assert!(pretty.contains(line), "{line} in {pretty}");
        }
        assert_eq!(text(JsonStyle::Line, &events).lines().count(), 1);
    }
}
