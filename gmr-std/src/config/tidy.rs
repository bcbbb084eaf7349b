//! What can only be said of a key, a map or a list as a whole.
//!
//! - A key is masked and cut;
//! - a map is sorted, and equal keys are told apart;
//! - a value is masked if its neighbour says that it is a secret:
//!   `{name: DB_PASSWORD, value: …}`, `("Authorization", …)`,
//!   `["--password", …]`.

use std::collections::{HashMap, HashSet};

use gmr_core::redact::{Redaction, ends_in_private_key, is_value, private_key_end};

use super::flatten::MAX_KEY_BYTES;
use super::mask::{Mask, char_boundary, mask_text};
use super::node::Node;

/// A key as it is shown, and what it says of its value.
pub(super) fn shown_key(policy: &Redaction, key: &str) -> (String, Mask) {
    let masked = mask_text(policy, key);
    let keep = char_boundary(&masked, MAX_KEY_BYTES);
    let mut shown = masked.get(..keep).unwrap_or_default().to_owned();
    if keep < masked.len() {
        shown.push('…');
    }
    (shown, Mask::under(policy, key))
}

/// What serde_json and toml write for numbers and dates they cannot say
/// otherwise: a struct of one field whose name starts with `$`.
pub(super) fn unwrap_private(name: &str, entries: &mut Vec<(String, Node)>) -> Option<Node> {
    let is_private =
        name.starts_with('$') && matches!(entries.as_slice(), [(key, _)] if key.starts_with('$'));
    if !is_private {
        return None;
    }
    match entries.pop()?.1 {
        Node::Text(text) if name.ends_with("::Number") => Some(Node::Number(text)),
        node => Some(node),
    }
}

/// Sorts a map's entries, tells equal keys apart, and masks
/// `{name: DB_PASSWORD, value: …}` unless the whole is exposed.
pub(super) fn tidy(
    policy: &Redaction,
    is_exposed: bool,
    mut entries: Vec<(String, Node)>,
) -> Vec<(String, Node)> {
    let names_secret = !is_exposed
        && entries.iter().any(|(key, node)| {
            ["name", "key", "header"].iter().any(|name| key.eq_ignore_ascii_case(name))
                && matches!(node, Node::Text(text) if policy.is_secret_key(text))
        });
    if names_secret {
        for (key, node) in &mut entries {
            if key.eq_ignore_ascii_case("value") {
                *node = core::mem::replace(node, Node::None).masked_leaves();
            }
        }
    }
    sort_and_distinguish(&mut entries);
    entries
}

/// Sorts by key; the second of two equal keys becomes `key (2)`.
pub(super) fn sort_and_distinguish(entries: &mut [(String, Node)]) {
    // Stable: equal keys keep their order.
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
        return;
    }
    let mut taken: HashSet<String> = entries.iter().map(|(key, _)| key.clone()).collect();
    let mut last_number: HashMap<String, u64> = HashMap::new();
    for (key, _) in entries.iter_mut() {
        let Some(number) = last_number.get_mut(key.as_str()) else {
            last_number.insert(key.clone(), 1);
            continue;
        };
        *key = loop {
            *number += 1;
            let candidate = format!("{key} ({number})");
            if taken.insert(candidate.clone()) {
                break candidate;
            }
        };
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
}

/// `("Authorization", …)`: a list of headers is a list of pairs.
pub(super) fn mask_pair(policy: &Redaction, items: &mut [Node]) {
    if let [Node::Text(key), value] = items
        && policy.is_secret_key(key)
    {
        *value = core::mem::replace(value, Node::None).masked_leaves();
    }
}

/// The lines of a PEM private key, one item each.
pub(super) fn mask_private_key_lines(items: &mut [Node]) {
    let mut is_in_key = false;
    for item in items {
        let Node::Text(text) = item else { continue };
        if is_in_key {
            is_in_key = private_key_end(text.as_bytes()).is_none();
            *item = core::mem::replace(item, Node::None).masked_whole();
        } else {
            is_in_key = ends_in_private_key(text.as_bytes());
        }
    }
}

/// `["--password", …, "--token=…"]`: a command line.
pub(super) fn mask_arguments(policy: &Redaction, items: &mut [Node]) {
    let mut follows_secret = false;
    for item in items {
        let text = match item {
            Node::Text(text) | Node::Truncated { text, .. } => text.as_str(),
            _ => "",
        };
        let is_secret = policy.takes_secret(text.as_bytes());
        if follows_secret && is_value(text.as_bytes()) {
            *item = core::mem::replace(item, Node::None).masked_leaves();
        } else if text.contains('=') {
            mask_argument(policy, item);
        }
        follows_secret = is_secret;
    }
}

/// What follows an argument's own key is one value to its end, though it may
/// hold spaces. The texts in it are masked already.
fn mask_argument(policy: &Redaction, item: &mut Node) {
    let (Node::Text(text) | Node::Truncated { text, .. }) = item else { return };
    let mut shown = Vec::with_capacity(text.len());
    let is_masked = policy.argument(text.as_bytes(), |piece| shown.extend_from_slice(piece));
    if let (true, Ok(shown)) = (is_masked, String::from_utf8(shown)) {
        *text = shown;
    }
}
