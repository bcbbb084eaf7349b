//! Any `Serialize` value as a tree of masked values.
//!
//! 1. A serde serializer walks the value; each leaf is masked before it is
//!    kept: under a secret key ([`Mask`]), inside a [`Secret`](super::Secret), or
//!    by what the text itself shows ([`mask_text`]); nothing but a `Secret` is
//!    masked inside an [`Exposed`](super::Exposed);
//! 2. [`container`](super::container) collects the entries of maps and lists,
//!    [`tidy`](super::tidy) makes keys text, sorts them, tells equal ones apart,
//!    and [`table`](super::table) puts a table's rows into order;
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
use std::borrow::Cow;

use gmr_core::model::MAX_DEPTH;
use gmr_core::redact::Redaction;
use serde::ser::{self, Serialize, Serializer};

use super::container::{Container, Shape};
use super::error::ConfigError;
use super::exposed::EXPOSED_NAME;
use super::mask::{MASK, Mask, char_boundary, mask_text};
use super::node::Node;
use super::secret::{SECRET_NAME, flattening};
use super::table::{TABLE_NAME, arranged};

/// Containers inside one another, counted from a top-level entry. One less
/// than the model allows: a list at the top stands in the group `default`.
pub(super) const MAX_NESTING: usize = MAX_DEPTH - 1;

/// How much of one value is kept: more than any certificate chain, and few
/// enough that one value cannot push all others out.
pub(super) const MAX_TEXT_BYTES: usize = 64 * 1024;

/// How far behind a cut a secret that begins before it may end.
const MAX_SECRET_BYTES: usize = 64 * 1024;

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
pub(super) fn flatten<T: Serialize + ?Sized>(
    value: &T,
    policy: &Redaction,
) -> Result<Node, ConfigError> {
    flattening(|| node_of(value, policy)).map_err(|error| {
        let mut message = mask_text(policy, &error.0).into_owned();
        message.truncate(char_boundary(&message, MAX_MESSAGE_BYTES));
        ConfigError::Serialize { message }
    })
}

/// The tree of a value by itself, within a flattening that is going on. Its
/// texts are not for showing.
pub(super) fn shape_of<T: Serialize + ?Sized>(value: &T) -> Result<Node, SerError> {
    node_of(value, &Redaction::new())
}

fn node_of<T: Serialize + ?Sized>(value: &T, policy: &Redaction) -> Result<Node, SerError> {
    let mut budget = Budget { bytes_left: MAX_CONFIG_BYTES };
    value.serialize(Flattener {
        budget: &mut budget,
        policy,
        depth: 0,
        mask: Mask::Texts,
        is_exposed: false,
    })
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
pub(super) struct Budget {
    pub(super) bytes_left: usize,
}

impl Budget {
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }
}

/// Serializes one node.
pub(super) struct Flattener<'s> {
    pub(super) budget: &'s mut Budget,
    pub(super) policy: &'s Redaction,
    /// Containers around this node; 0 for the configuration itself.
    pub(super) depth: usize,
    /// What the keys around this node say.
    pub(super) mask: Mask,
    /// Whether the program said that this is public, whatever keys and texts
    /// say.
    pub(super) is_exposed: bool,
}

impl<'s> Flattener<'s> {
    fn hides_leaf(&self) -> bool {
        self.mask.hides_leaf() && !self.is_exposed
    }

    fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_exposed { Cow::Borrowed(text) } else { mask_text(self.policy, text) }
    }

    fn text(self, text: &str) -> Node {
        // The mask itself is what a `Secret` wrote through a serializer that
        // dropped its name.
        if self.hides_leaf() || text == MASK {
            return Node::Text(text.to_owned()).masked_whole();
        }
        // A text that is all there is has all the room there is.
        let longest = if self.depth == 0 { usize::MAX } else { MAX_TEXT_BYTES };
        let longest = longest.min(self.budget.bytes_left);
        // Masked first: what is cut must not hide the end of a URL's password.
        // What is far behind the cut need not be looked at.
        let near = char_boundary(text, longest.saturating_add(MAX_SECRET_BYTES));
        let masked = self.masked(text.get(..near).unwrap_or_default());
        let keep = char_boundary(&masked, longest);
        self.budget.spend(keep);
        if near == text.len() && keep == masked.len() {
            return Node::Text(masked.into_owned());
        }
        Node::Truncated {
            text: masked.get(..keep).unwrap_or_default().to_owned(),
            // With what was not looked at.
            full_len_bytes: u64::try_from(masked.len() + (text.len() - near)).ok(),
        }
    }

    fn bytes(self, bytes: &[u8]) -> Node {
        if self.hides_leaf() {
            return Node::Bytes(bytes.to_vec()).masked_whole();
        }
        let lossy = String::from_utf8_lossy(bytes);
        let is_text = matches!(lossy, Cow::Borrowed(_));
        if is_text
            || matches!(self.masked(&lossy), Cow::Owned(_))
            || bytes.len() > MAX_TEXT_BYTES.min(self.budget.bytes_left)
        {
            return self.text(&lossy);
        }
        self.budget.spend(bytes.len());
        Node::Bytes(bytes.to_vec())
    }

    fn leaf(self, node: Node) -> Node {
        if self.hides_leaf() { node.masked_whole() } else { node }
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
        let mut map = self.container(Shape::NewtypeVariant);
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
        Ok(match name {
            SECRET_NAME => value.serialize(self)?.masked_whole(),
            EXPOSED_NAME => {
                let node = value.serialize(Flattener { is_exposed: true, ..self })?;
                Node::Exposed(Box::new(node))
            }
            TABLE_NAME => {
                let (policy, is_exposed) = (self.policy, self.is_exposed);
                arranged(policy, is_exposed, value.serialize(self)?)
            }
            _ => value.serialize(self)?,
        })
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
