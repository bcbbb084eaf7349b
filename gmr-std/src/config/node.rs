//! A configuration as a tree, already masked.

use core::fmt::Write as _;

/// One value, list or map.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    U64(u64),
    I64(i64),
    /// A number in JSON's grammar.
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Redacted,
    /// What the program said is public: only a [`Secret`](super::Secret) around
    /// it hides it.
    Exposed(Box<Node>),
    /// Text that was cut, or a note on what is missing here.
    Truncated {
        text: String,
        full_len_bytes: Option<u64>,
    },
    List {
        items: Vec<Node>,
        /// How many more there were when the size limit was reached.
        left_out: u64,
    },
    Map {
        entries: Vec<(String, Node)>,
        /// How many more there were when the size limit was reached.
        left_out: u64,
    },
    Table {
        columns: Vec<String>,
        /// Leaves only; no row is longer than `columns`.
        rows: Vec<Vec<Node>>,
        /// How many more there were when the size limit was reached.
        left_out: u64,
        /// How many more columns there were than are shown.
        columns_left_out: usize,
    },
}

impl Node {
    /// A map of one entry.
    pub(super) fn single(key: &str, node: Node) -> Node {
        Node::Map { entries: vec![(key.to_owned(), node)], left_out: 0 }
    }

    /// Whether there is nothing to hide: unset and empty stay visible.
    fn is_unset(&self) -> bool {
        match self {
            Node::None => true,
            Node::Text(text) => text.is_empty(),
            Node::Bytes(bytes) => bytes.is_empty(),
            Node::List { items, left_out } => items.is_empty() && *left_out == 0,
            Node::Map { entries, left_out } => entries.is_empty() && *left_out == 0,
            Node::Table { rows, left_out, .. } => rows.is_empty() && *left_out == 0,
            Node::Exposed(node) => node.is_unset(),
            _ => false,
        }
    }

    /// Whether something was left out.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Node::Truncated { .. } => true,
            Node::List { items, left_out } => *left_out > 0 || items.iter().any(Node::is_cut),
            Node::Map { entries, left_out } => {
                *left_out > 0 || entries.iter().any(|(_, node)| node.is_cut())
            }
            Node::Table { rows, left_out, columns_left_out, .. } => {
                *left_out > 0 || *columns_left_out > 0 || rows.iter().flatten().any(Node::is_cut)
            }
            Node::Exposed(node) => node.is_cut(),
            _ => false,
        }
    }

    /// Without the mark that it is public.
    pub(super) fn unmarked(self) -> Node {
        match self {
            Node::Exposed(node) => node.unmarked(),
            node => node,
        }
    }

    /// Hides the node and all that is below it behind one mask.
    pub(super) fn masked_whole(self) -> Node {
        if self.is_unset() { self } else { Node::Redacted }
    }

    /// Hides every leaf; keys and the number of items stay visible.
    pub(super) fn masked_leaves(self) -> Node {
        match self {
            Node::List { items, left_out } => {
                Node::List { items: items.into_iter().map(Node::masked_leaves).collect(), left_out }
            }
            Node::Map { entries, left_out } => Node::Map {
                entries: entries.into_iter().map(|(k, v)| (k, v.masked_leaves())).collect(),
                left_out,
            },
            Node::Table { columns, rows, left_out, columns_left_out } => {
                let masked = |row: Vec<Node>| row.into_iter().map(Node::masked_leaves).collect();
                let rows = rows.into_iter().map(masked).collect();
                Node::Table { columns, rows, left_out, columns_left_out }
            }
            Node::Exposed(node) => Node::Exposed(node),
            leaf => leaf.masked_whole(),
        }
    }

    /// The node as a map's key.
    pub(super) fn into_key(self) -> String {
        if let Node::Text(text) = self {
            return text;
        }
        let mut key = String::new();
        self.write_key(&mut key);
        key
    }

    /// The node as a table's cell: what is no leaf becomes text.
    pub(super) fn into_cell(self) -> Node {
        match self.unmarked() {
            node @ (Node::List { .. } | Node::Map { .. } | Node::Table { .. }) => {
                if node.is_cut() {
                    Node::Truncated { text: node.into_key(), full_len_bytes: None }
                } else {
                    Node::Text(node.into_key())
                }
            }
            leaf => leaf,
        }
    }

    fn write_key(&self, out: &mut String) {
        match self {
            Node::None => out.push_str("None"),
            Node::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            // Writing to a String cannot fail.
            Node::U64(n) => _ = write!(out, "{n}"),
            Node::I64(n) => _ = write!(out, "{n}"),
            Node::Number(text) | Node::Text(text) => out.push_str(text),
            Node::Truncated { text, .. } => {
                out.push_str(text);
                out.push('…');
            }
            Node::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
            Node::Redacted => out.push_str(super::mask::MASK),
            Node::Exposed(node) => node.write_key(out),
            Node::List { items, .. } => write_items(out, items, |out, item| item.write_key(out)),
            Node::Table { rows, .. } => write_items(out, rows, |out, row| {
                write_items(out, row, |out, cell| cell.write_key(out));
            }),
            Node::Map { entries, .. } => {
                out.push('{');
                for (i, (key, node)) in entries.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    out.push_str(key);
                    out.push_str(": ");
                    node.write_key(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_items<T>(out: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    out.push('(');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(out, item);
    }
    out.push(')');
}
