//! The tree as events: as the groups of the Configuration section, or as it is.
//!
//! For Configuration,
//!
//! 1. what stands at the top without being a map goes into the group
//!    `default`, with the entries of a real group of that name;
//! 2. each map at the top is a group; deeper maps are groups in it, lists keep
//!    their order, a map in a list is a group without a key;
//! 3. where the size limit left something out, a last entry says how much.

use super::blob::{Blob, BlobBuilder};
use super::flatten::MAX_CONFIG_BYTES;
use super::node::Node;
use super::tidy::sort_and_distinguish;

use gmr_core::model::{Column, Event, MAX_COLUMNS, Value};
use gmr_core::view::text_width;

/// The group of the values that stand at the top, as the original names it.
const DEFAULT_GROUP: &str = "default";

/// The key of a configuration that is one value only.
const BARE_KEY: &str = "value";

/// The key of a table that is the whole section, where one is needed: in JSON.
const ROWS_KEY: &str = "rows";

/// The key of the entry that says how many are missing.
pub(super) const LEFT_OUT_KEY: &str = "(left out)";

/// Writes `root` as the content of a section, as it is: the entries of a map,
/// the items of a list, or one item.
pub(super) fn encode_plain(root: Node) -> Blob {
    let mut out = BlobBuilder::new();
    let root = root.unmarked();
    if matches!(root, Node::Table { .. }) {
        out.event(&Event::BeginBlocks { key: ROWS_KEY });
        write_content(&mut out, &root);
        out.event(&Event::Close);
    } else {
        write_content(&mut out, &root);
    }
    out.finish()
}

/// Writes `root` as the content of a section that a closure returned: a text
/// is shown as it is.
pub(super) fn encode_section(root: Node) -> Blob {
    match root.unmarked() {
        Node::Text(text) | Node::Truncated { text, .. } => {
            let mut out = BlobBuilder::new();
            out.event(&Event::Text(text.as_bytes()));
            out.finish()
        }
        node => encode_plain(node),
    }
}

/// Writes `root` under `key`.
pub(super) fn write_under(out: &mut BlobBuilder, key: &str, root: &Node) {
    write(out, Some(key), root);
}

/// Writes `root` as the groups of a configuration.
pub(super) fn encode(root: Node) -> Blob {
    let mut out = BlobBuilder::new();
    let (entries, left_out) = match root.unmarked() {
        Node::Map { entries, left_out } => (entries, left_out),
        bare => (vec![(BARE_KEY.to_owned(), bare)], 0),
    };
    if entries.is_empty() && left_out == 0 {
        out.event(&Event::Text(b"the configuration has no values"));
        return out.finish();
    }
    for (key, node) in into_groups(entries, left_out) {
        write(&mut out, Some(&key), &node);
    }
    out.finish()
}

/// The top-level groups, sorted.
fn into_groups(entries: Vec<(String, Node)>, left_out: u64) -> Vec<(String, Node)> {
    let mut values = Vec::new();
    let mut groups = Vec::new();
    let mut real_default = Vec::new();
    let mut left_out_of_default = left_out;
    let mut has_default = left_out > 0;
    for (key, node) in entries {
        match node.unmarked() {
            Node::Map { entries, left_out } if key == DEFAULT_GROUP => {
                has_default = true;
                left_out_of_default = left_out_of_default.saturating_add(left_out);
                real_default = entries;
            }
            group @ Node::Map { .. } => groups.push((key, group)),
            value => values.push((key, value)),
        }
    }
    values.append(&mut real_default);
    if has_default || !values.is_empty() {
        sort_and_distinguish(&mut values);
        let node = Node::Map { entries: values, left_out: left_out_of_default };
        groups.push((DEFAULT_GROUP.to_owned(), node));
        groups.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    groups
}

/// Writes one node; without a key it is an item of a list.
fn write(out: &mut BlobBuilder, key: Option<&str>, node: &Node) {
    if let Some(value) = leaf(node) {
        return match key {
            Some(key) => out.event(&Event::Value { key, value }),
            None => out.event(&Event::Item { value }),
        };
    }
    match node {
        Node::Exposed(node) => return write(out, key, node),
        Node::Map { .. } => out.event(&Event::BeginGroup { key }),
        _ => out.event(&Event::BeginList { key }),
    }
    write_content(out, node);
    out.event(&Event::Close);
}

/// The value of a node that has nothing below it.
fn leaf(node: &Node) -> Option<Value<'_>> {
    Some(match node {
        Node::None => Value::None,
        Node::Bool(truth) => Value::Bool(*truth),
        Node::U64(number) => Value::U64(*number),
        Node::I64(number) => Value::I64(*number),
        Node::Number(text) => Value::Number(text),
        Node::Text(text) => Value::Text(text),
        Node::Bytes(bytes) => Value::Bytes(bytes),
        Node::Redacted => Value::Redacted,
        Node::Truncated { text, full_len_bytes } => {
            Value::Truncated { text: text.as_bytes(), full_len_bytes: *full_len_bytes }
        }
        Node::Exposed(_) | Node::List { .. } | Node::Map { .. } | Node::Table { .. } => {
            return None;
        }
    })
}

/// Writes what is in a list or a map, or the node itself as an item.
fn write_content(out: &mut BlobBuilder, node: &Node) {
    match node {
        Node::List { items, left_out } => {
            for item in items {
                write(out, None, item);
            }
            if *left_out > 0 {
                write(out, None, &left_out_note(*left_out));
            }
        }
        Node::Map { entries, left_out } => {
            for (key, node) in entries {
                write(out, Some(key), node);
            }
            if *left_out > 0 {
                write(out, Some(LEFT_OUT_KEY), &left_out_note(*left_out));
            }
        }
        Node::Table { columns, rows, left_out, columns_left_out } => {
            write_table(out, columns, rows);
            if *left_out > 0 {
                write(out, None, &left_out_note(*left_out));
            }
            if *columns_left_out > 0 {
                write(out, None, &columns_left_out_note(*columns_left_out));
            }
        }
        leaf => write(out, None, leaf),
    }
}

/// Writes a head and rows.
fn write_table(out: &mut BlobBuilder, names: &[String], rows: &[Vec<Node>]) {
    let columns: Vec<_> =
        names.iter().enumerate().map(|(at, name)| column(name, rows, at)).collect();
    out.event(&Event::TableHead { columns: &columns });
    for row in rows {
        let values: Vec<_> = row.iter().filter_map(leaf).collect();
        out.event(&Event::Row { columns: &columns, values: &values });
    }
}

/// A column as wide as its widest cell, right if its cells are numbers.
fn column<'t>(name: &'t str, rows: &[Vec<Node>], at: usize) -> Column<'t> {
    let mut width = 0;
    let (mut has_numbers, mut has_others) = (false, false);
    for cell in rows.iter().filter_map(|row| row.get(at)) {
        match cell {
            Node::U64(_) | Node::I64(_) | Node::Number(_) => has_numbers = true,
            // What stands in a number's place.
            Node::None | Node::Redacted => {}
            _ => has_others = true,
        }
        width = leaf(cell).map_or(0, |value| text_width(&value)).max(width);
    }
    Column {
        name,
        width: u16::try_from(width).unwrap_or(u16::MAX),
        is_right_aligned: has_numbers && !has_others,
    }
}

fn left_out_note(left_out: u64) -> Node {
    let limit_kib = MAX_CONFIG_BYTES / 1024;
    Node::Truncated {
        text: format!("{left_out} entries: {limit_kib} KiB of configuration are shown"),
        full_len_bytes: None,
    }
}

fn columns_left_out_note(left_out: usize) -> Node {
    Node::Truncated {
        text: format!("{left_out} columns: {MAX_COLUMNS} are shown"),
        full_len_bytes: None,
    }
}
