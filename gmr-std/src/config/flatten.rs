//! Any `Serialize` value as a tree of masked values.
//!
//! 1. A serde serializer walks the value; each leaf is masked before it is
//!    kept: below a secret key, inside a [`Secret`](super::Secret), or by what
//!    the text itself shows ([`mask_text`]);
//! 2. keys become text, maps are sorted by key, equal keys told apart;
//! 3. what goes beyond a limit is counted, not kept, and the count shown.
//!
//! Limits: [`MAX_NESTING`] levels, [`MAX_TEXT_BYTES`] for one value,
//! [`MAX_KEY_BYTES`] for a key, [`MAX_CONFIG_BYTES`] for the whole. Which
//! entries the last one leaves out depends on the order in which the type
//! serializes them (random for a `HashMap`).
//!
//! Not done: a map's keys are shown even below a secret key, except for what
//! [`mask_text`] finds in them. If the keys are the secret, use `Secret`.

use core::fmt::{self, Display};
use std::collections::{HashMap, HashSet};

use gmr_core::model::MAX_DEPTH;
use serde::ser::{self, Serialize, Serializer};

use super::error::ConfigError;
use super::mask::{MASK, char_boundary, is_secret_key, mask_text};
use super::node::Node;
use super::secret::{SECRET_NAME, flattening};

/// Containers inside one another, counted from a top-level entry. One less
/// than the model allows: a list at the top stands in the group `default`.
pub(super) const MAX_NESTING: usize = MAX_DEPTH - 1;

/// How much of one value is kept: more than any certificate chain, and few
/// enough that one value cannot push all others out.
pub(super) const MAX_TEXT_BYTES: usize = 64 * 1024;

/// How much of a key is kept: keys are names; a longer one is data.
pub(super) const MAX_KEY_BYTES: usize = 256;

/// How much is kept in all, keys, values and [`ENTRY_BYTES`] for each. A
/// report is read by people; a configuration of this size is a database.
pub(super) const MAX_CONFIG_BYTES: usize = 1024 * 1024;

/// What an entry costs beside its text, so that a list of a million numbers
/// meets the limit too. About what the blob spends on it.
pub(super) const ENTRY_BYTES: usize = 16;

/// How much of a type's own error text is kept.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Flattens `value`.
pub(super) fn flatten<T: Serialize + ?Sized>(value: &T) -> Result<Node, ConfigError> {
    flattening(|| shape_of(value)).map_err(|error| {
        let mut message = mask_text(&error.0).into_owned();
        message.truncate(char_boundary(&message, MAX_MESSAGE_BYTES));
        ConfigError::Serialize { message }
    })
}

/// The tree of a value by itself, within a flattening that is going on.
pub(super) fn shape_of<T: Serialize + ?Sized>(value: &T) -> Result<Node, SerError> {
    let mut budget = Budget { bytes_left: MAX_CONFIG_BYTES };
    value.serialize(Flattener { budget: &mut budget, depth: 0, secret: false })
}

/// The error of the user's `Serialize` implementation.
#[derive(Debug)]
pub(super) struct SerError(String);

impl Display for SerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SerError {}

impl ser::Error for SerError {
    fn custom<T: Display>(message: T) -> Self {
        SerError(message.to_string())
    }
}

/// What may still be kept.
struct Budget {
    bytes_left: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }
}

/// Serializes one node.
struct Flattener<'s> {
    budget: &'s mut Budget,
    /// Containers around this node; 0 for the configuration itself.
    depth: usize,
    /// Below a secret key.
    secret: bool,
}

impl<'s> Flattener<'s> {
    fn text(self, text: &str) -> Node {
        // The mask itself is what a `Secret` wrote through a serializer that
        // dropped its name.
        if self.secret || text == MASK {
            return Node::Text(text.to_owned()).masked_whole();
        }
        // Masked first: what is cut must not hide the end of a URL's password.
        let masked = mask_text(text);
        let keep = char_boundary(&masked, MAX_TEXT_BYTES.min(self.budget.bytes_left));
        self.budget.spend(keep);
        if keep == masked.len() {
            return Node::Text(masked.into_owned());
        }
        Node::Truncated {
            text: masked.get(..keep).unwrap_or_default().to_owned(),
            full_len_bytes: u64::try_from(masked.len()).ok(),
        }
    }

    fn bytes(self, bytes: &[u8]) -> Node {
        if self.secret {
            return Node::Bytes(bytes.to_vec()).masked_whole();
        }
        let lossy = String::from_utf8_lossy(bytes);
        let is_text = matches!(lossy, std::borrow::Cow::Borrowed(_));
        if is_text
            || matches!(mask_text(&lossy), std::borrow::Cow::Owned(_))
            || bytes.len() > MAX_TEXT_BYTES.min(self.budget.bytes_left)
        {
            return self.text(&lossy);
        }
        self.budget.spend(bytes.len());
        Node::Bytes(bytes.to_vec())
    }

    fn leaf(self, node: Node) -> Node {
        if self.secret { node.masked_whole() } else { node }
    }

    fn number(self, text: String) -> Node {
        self.budget.spend(text.len());
        self.leaf(Node::Number(text))
    }

    fn container(self, shape: Shape) -> Container<'s> {
        Container::new(self, shape)
    }

    /// The node inside an enum's variant.
    fn variant<T: Serialize + ?Sized>(
        self,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, SerError> {
        let mut map = self.container(Shape::Map { name: "" });
        map.entry(variant, value)?;
        Ok(map.finish())
    }
}

impl<'s> Serializer for Flattener<'s> {
    type Ok = Node;
    type Error = SerError;
    type SerializeSeq = Container<'s>;
    type SerializeTuple = Container<'s>;
    type SerializeTupleStruct = Container<'s>;
    type SerializeTupleVariant = Container<'s>;
    type SerializeMap = Container<'s>;
    type SerializeStruct = Container<'s>;
    type SerializeStructVariant = Container<'s>;

    fn serialize_bool(self, v: bool) -> Result<Node, SerError> {
        Ok(self.leaf(Node::Bool(v)))
    }

    fn serialize_i8(self, v: i8) -> Result<Node, SerError> {
        self.serialize_i64(i64::from(v))
    }

    fn serialize_i16(self, v: i16) -> Result<Node, SerError> {
        self.serialize_i64(i64::from(v))
    }

    fn serialize_i32(self, v: i32) -> Result<Node, SerError> {
        self.serialize_i64(i64::from(v))
    }

    fn serialize_i64(self, v: i64) -> Result<Node, SerError> {
        Ok(self.leaf(Node::I64(v)))
    }

    fn serialize_i128(self, v: i128) -> Result<Node, SerError> {
        match i64::try_from(v) {
            Ok(small) => self.serialize_i64(small),
            Err(_) => Ok(self.number(v.to_string())),
        }
    }

    fn serialize_u8(self, v: u8) -> Result<Node, SerError> {
        self.serialize_u64(u64::from(v))
    }

    fn serialize_u16(self, v: u16) -> Result<Node, SerError> {
        self.serialize_u64(u64::from(v))
    }

    fn serialize_u32(self, v: u32) -> Result<Node, SerError> {
        self.serialize_u64(u64::from(v))
    }

    fn serialize_u64(self, v: u64) -> Result<Node, SerError> {
        Ok(self.leaf(Node::U64(v)))
    }

    fn serialize_u128(self, v: u128) -> Result<Node, SerError> {
        match u64::try_from(v) {
            Ok(small) => self.serialize_u64(small),
            Err(_) => Ok(self.number(v.to_string())),
        }
    }

    // `{:?}` is the shortest text that reads back as the same number, and is in
    // JSON's grammar unless the number is not finite.
    fn serialize_f32(self, v: f32) -> Result<Node, SerError> {
        let text = format!("{v:?}");
        Ok(if v.is_finite() { self.number(text) } else { self.text(&text) })
    }

    fn serialize_f64(self, v: f64) -> Result<Node, SerError> {
        let text = format!("{v:?}");
        Ok(if v.is_finite() { self.number(text) } else { self.text(&text) })
    }

    fn serialize_char(self, v: char) -> Result<Node, SerError> {
        Ok(self.text(v.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, v: &str) -> Result<Node, SerError> {
        Ok(self.text(v))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Node, SerError> {
        Ok(self.bytes(v))
    }

    fn serialize_none(self) -> Result<Node, SerError> {
        Ok(Node::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, SerError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Node, SerError> {
        Ok(Node::None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Node, SerError> {
        Ok(Node::None)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Node, SerError> {
        Ok(self.text(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Node, SerError> {
        let node = value.serialize(self)?;
        Ok(if name == SECRET_NAME { node.masked_whole() } else { node })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, SerError> {
        self.variant(variant, value)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Container<'s>, SerError> {
        Ok(self.container(Shape::List { pair: false, variant: None }))
    }

    fn serialize_tuple(self, len: usize) -> Result<Container<'s>, SerError> {
        Ok(self.container(Shape::List { pair: len == 2, variant: None }))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<Container<'s>, SerError> {
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Container<'s>, SerError> {
        Ok(self.container(Shape::List { pair: len == 2, variant: Some(variant) }))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Container<'s>, SerError> {
        Ok(self.container(Shape::Map { name: "" }))
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Container<'s>, SerError> {
        Ok(self.container(Shape::Map { name }))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Container<'s>, SerError> {
        Ok(self.container(Shape::StructVariant { variant }))
    }
}

/// What a container becomes.
#[derive(Clone, Copy)]
enum Shape {
    List {
        /// A tuple of two: perhaps a key and its value.
        pair: bool,
        variant: Option<&'static str>,
    },
    Map {
        /// The struct's name, empty for a map.
        name: &'static str,
    },
    StructVariant {
        variant: &'static str,
    },
}

/// Collects the entries of a map or the items of a list.
struct Container<'s> {
    budget: &'s mut Budget,
    shape: Shape,
    /// Containers around its entries.
    depth: usize,
    secret: bool,
    too_deep: bool,
    /// Keys are empty in a list.
    entries: Vec<(String, Node)>,
    left_out: u64,
    /// The key of the value that comes next, and whether it names a secret.
    key: Option<(String, bool)>,
}

impl<'s> Container<'s> {
    fn new(around: Flattener<'s>, shape: Shape) -> Self {
        let (depth, secret) = match shape {
            // A variant's group is one more container.
            Shape::List { variant: Some(variant), .. } | Shape::StructVariant { variant } => {
                (around.depth + 1, around.secret || is_secret_key(variant))
            }
            // A bare list stands in the group `default`.
            Shape::List { .. } => (around.depth.max(1), around.secret),
            Shape::Map { .. } => (around.depth, around.secret),
        };
        Container {
            budget: around.budget,
            shape,
            depth: depth + 1,
            secret,
            too_deep: depth > MAX_NESTING,
            entries: Vec::new(),
            left_out: 0,
            key: None,
        }
    }

    fn has_room(&self) -> bool {
        !self.too_deep && self.budget.bytes_left > 0
    }

    fn keep<T: Serialize + ?Sized>(
        &mut self,
        key: String,
        secret: bool,
        value: &T,
    ) -> Result<(), SerError> {
        self.budget.spend(ENTRY_BYTES + key.len());
        let node = value.serialize(Flattener {
            budget: self.budget,
            depth: self.depth,
            secret: self.secret || secret,
        })?;
        self.entries.push((key, node));
        Ok(())
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        if !self.has_room() {
            self.left_out += 1;
            return Ok(());
        }
        self.keep(String::new(), false, value)
    }

    fn entry<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), SerError> {
        if !self.has_room() {
            self.left_out += 1;
            return Ok(());
        }
        let (key, secret) = shown_key(key);
        self.keep(key, secret, value)
    }

    fn finish(self) -> Node {
        if self.too_deep {
            let text = format!("{} entries, nested too deep to be shown", self.left_out);
            return Node::Truncated { text, full_len_bytes: None };
        }
        let Container { shape, mut entries, left_out, .. } = self;
        match shape {
            Shape::List { pair, variant } => {
                let mut items: Vec<Node> = entries.into_iter().map(|(_, node)| node).collect();
                if pair {
                    mask_pair(&mut items);
                }
                mask_arguments(&mut items);
                let list = Node::List { items, left_out };
                match variant {
                    Some(variant) => Node::single(variant, list),
                    None => list,
                }
            }
            Shape::Map { name } => {
                if let Some(inner) = unwrap_private(name, &mut entries) {
                    return inner;
                }
                Node::Map { entries: tidy(entries), left_out }
            }
            Shape::StructVariant { variant } => {
                Node::single(variant, Node::Map { entries: tidy(entries), left_out })
            }
        }
    }
}

/// A key as it is shown, and whether it names a secret.
fn shown_key(key: &str) -> (String, bool) {
    let masked = mask_text(key);
    let keep = char_boundary(&masked, MAX_KEY_BYTES);
    let mut shown = masked.get(..keep).unwrap_or_default().to_owned();
    if keep < masked.len() {
        shown.push('…');
    }
    (shown, is_secret_key(key))
}

/// What serde_json and toml write for numbers and dates they cannot say
/// otherwise: a struct of one field whose name starts with `$`.
fn unwrap_private(name: &str, entries: &mut Vec<(String, Node)>) -> Option<Node> {
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
/// `{name: DB_PASSWORD, value: …}`.
fn tidy(mut entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let names_secret = entries.iter().any(|(key, node)| {
        (key.eq_ignore_ascii_case("name") || key.eq_ignore_ascii_case("key"))
            && matches!(node, Node::Text(text) if is_secret_key(text))
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
fn mask_pair(items: &mut [Node]) {
    if let [Node::Text(key), value] = items
        && is_secret_key(key)
    {
        *value = core::mem::replace(value, Node::None).masked_leaves();
    }
}

/// `["--password", …]`: a command line.
fn mask_arguments(items: &mut [Node]) {
    let mut follows_secret = false;
    for item in items {
        let (is_option, is_secret) = match item {
            Node::Text(text) if text.starts_with('-') => (true, is_secret_key(text)),
            _ => (false, false),
        };
        if follows_secret && !is_option {
            *item = core::mem::replace(item, Node::None).masked_leaves();
        }
        follows_secret = is_secret;
    }
}

impl ser::SerializeSeq for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        self.item(value)
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        self.item(value)
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        self.item(value)
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleVariant for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        self.item(value)
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerError> {
        self.key = None;
        if self.has_room() {
            // The key's own text is cut by `shown_key`, after the secret words
            // in it were looked for.
            let mut budget = Budget { bytes_left: MAX_TEXT_BYTES };
            let depth = self.depth;
            let node = key.serialize(Flattener { budget: &mut budget, depth, secret: false })?;
            self.key = Some(shown_key(&node.into_key()));
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        match self.key.take() {
            Some((key, secret)) => self.keep(key, secret, value),
            None => {
                self.left_out += 1;
                Ok(())
            }
        }
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), SerError> {
        self.entry(key, value)
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for Container<'_> {
    type Ok = Node;
    type Error = SerError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), SerError> {
        self.entry(key, value)
    }

    fn end(self) -> Result<Node, SerError> {
        Ok(self.finish())
    }
}
