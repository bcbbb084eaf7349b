//! Green Threads of a report in JSON: the one place that knows how they are
//! written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One block: a task, or several with the same tree.
#[derive(Debug, Clone, Deserialize)]
pub struct Task {
    /// Their ids; the first of them, if they are many.
    pub ids: Vec<u64>,
    /// How many they are.
    pub count: usize,
    /// What they do.
    pub state: String,
    /// The tree, from its root inwards.
    #[serde(default)]
    pub stack: Vec<Level>,
    /// Type of the future.
    #[serde(default)]
    pub future: Option<String>,
    /// The thread that polls it.
    #[serde(default)]
    pub tid: Option<u32>,
    /// Why there is no tree.
    #[serde(default)]
    pub undecoded: Option<String>,
}

/// A level of a tree.
#[derive(Debug, Clone, Deserialize)]
pub struct Level {
    /// 0 is the task's own future.
    pub depth: usize,
    /// What is known.
    pub kind: Kind,
    /// The async function, or the type of the future.
    pub function: String,
    /// Source file.
    pub file: Option<String>,
    /// Line in it, from 1.
    pub line: Option<u32>,
    /// The task that it waits for.
    #[serde(default)]
    pub waits_for: Option<u64>,
    /// More, in words.
    #[serde(default)]
    pub note: Option<String>,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// At the place that is named.
    Suspended,
    /// The place is in a macro.
    InMacro,
    /// Never polled.
    Unresumed,
    /// It has ended.
    Returned,
    /// It has panicked.
    Panicked,
    /// No `async` code, with futures in it.
    Holder,
    /// No `async` code: what is waited for.
    Leaf,
    /// What follows is not known.
    Undecoded,
}

/// All tasks of a report.
#[derive(Debug, Clone)]
pub struct GreenThreads {
    /// By id.
    pub tasks: BTreeMap<u64, Task>,
    /// Ids that are there more than once.
    pub twice: Vec<u64>,
    /// Which task waits for which.
    pub edges: Vec<(u64, u64)>,
    /// What blocks count, but do not name.
    pub unnamed: usize,
    /// All that the section says beside its tasks.
    pub text: String,
}

impl GreenThreads {
    /// Reads a report.
    ///
    /// # Panics
    ///
    /// If it has no such section.
    #[must_use]
    #[track_caller]
    pub fn of(report: &str) -> Self {
        let report: Value = serde_json::from_str(report).expect("JSON");
        let sections = report["sections"].as_array().expect("sections");
        let section = sections.iter().find(|section| section["title"] == "Green Threads");
        let mut section = section.expect("Green Threads").clone();
        assert_eq!(section["status"], "ok", "{section}");
        let tasks = section["data"]["tasks"].take();
        let blocks: Option<Vec<Task>> = serde_json::from_value(tasks).expect("tasks");
        let mut all = Self {
            tasks: BTreeMap::new(),
            twice: Vec::new(),
            edges: Vec::new(),
            unnamed: 0,
            text: section["data"].to_string(),
        };
        for block in blocks.unwrap_or_default() {
            all.unnamed += block.count.saturating_sub(block.ids.len());
            let waits_for: Vec<u64> =
                block.stack.iter().filter_map(|level| level.waits_for).collect();
            for &id in &block.ids {
                all.edges.extend(waits_for.iter().map(|to| (id, *to)));
                if all.tasks.insert(id, block.clone()).is_some() {
                    all.twice.push(id);
                }
            }
        }
        all
    }
}

/// A level with those below it.
#[derive(Debug)]
pub struct Tree<'l> {
    /// The level itself.
    pub level: &'l Level,
    /// What it awaits.
    pub below: Vec<Tree<'l>>,
}

/// The levels as a tree.
#[must_use]
pub fn tree(levels: &[Level]) -> Vec<Tree<'_>> {
    let mut trees = Vec::new();
    let mut rest = levels;
    while let [level, following @ ..] = rest {
        let end = following.iter().position(|below| below.depth <= level.depth);
        let (below, others) = following.split_at(end.unwrap_or(following.len()));
        trees.push(Tree { level, below: tree(below) });
        rest = others;
    }
    trees
}

/// Lines of one source file in a tree, from its root inwards.
#[must_use]
pub fn lines_in(levels: &[Level], file: &str) -> Vec<u32> {
    let own = levels.iter().filter(|level| {
        level.kind == Kind::Suspended
            && level.file.as_deref().is_some_and(|name| name.ends_with(file))
    });
    own.filter_map(|level| level.line).collect()
}
