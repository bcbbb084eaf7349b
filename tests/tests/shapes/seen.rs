//! Green Threads of a report in JSON: the one place that knows how they are
//! written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One block: a task, or several with the same tree.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Task {
    pub(crate) ids: Vec<u64>,
    pub(crate) count: usize,
    pub(crate) state: String,
    /// The tree, from its root inwards.
    #[serde(default)]
    pub(crate) stack: Vec<Level>,
    /// Why there is none.
    #[serde(default)]
    pub(crate) undecoded: Option<String>,
}

/// A level of a tree.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Level {
    pub(crate) depth: usize,
    pub(crate) kind: Kind,
    pub(crate) function: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Suspended,
    /// The place is in a macro.
    InMacro,
    Unresumed,
    Returned,
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
pub(crate) struct GreenThreads {
    /// By id.
    pub(crate) tasks: BTreeMap<u64, Task>,
    /// Ids that are there more than once.
    pub(crate) twice: Vec<u64>,
    /// What blocks count, but do not name.
    pub(crate) unnamed: usize,
    /// All that the section says beside its tasks.
    pub(crate) text: String,
}

impl GreenThreads {
    /// Reads a report.
    ///
    /// # Panics
    ///
    /// If it has no such section.
    pub(crate) fn of(report: &str) -> Self {
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
            unnamed: 0,
            text: section["data"].to_string(),
        };
        for block in blocks.unwrap_or_default() {
            all.unnamed += block.count.saturating_sub(block.ids.len());
            for &id in &block.ids {
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
pub(crate) struct Tree<'l> {
    pub(crate) level: &'l Level,
    pub(crate) below: Vec<Tree<'l>>,
}

/// The levels as a tree.
pub(crate) fn tree(levels: &[Level]) -> Vec<Tree<'_>> {
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
