//! What the program says is true of its tasks: `tests/shapes/src/truth.rs` writes
//! it.

use serde::Deserialize;

/// All of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Truth {
    pub(crate) tasks: Vec<Expected>,
    pub(crate) anonymous: Vec<Anonymous>,
}

/// A task.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) state: String,
    pub(crate) tree: Below,
}

/// Tasks whose ids the program does not know.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Anonymous {
    pub(crate) name: String,
    pub(crate) count: usize,
    pub(crate) tree: Below,
}

/// What a node awaits.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Below {
    pub(crate) in_any_order: bool,
    pub(crate) nodes: Vec<Node>,
}

/// One node of a tree.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Node {
    At(At),
    /// A future of a library, with this in its name.
    Leaf(String),
    /// A future of a library that may be there.
    MayBe(String),
    /// From here on nothing has to be known.
    Unknown(Below),
}

/// An `.await` of the program's own.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct At {
    pub(crate) mark: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) function: String,
    pub(crate) below: Below,
}
