//! Collects the entries of a map, the fields of a struct, the items of a list.
//!
//! 1. An entry is kept while its container is not nested too deep and the
//!    configuration not too large; else it is counted, and not serialized;
//! 2. at the end the entries are tidied and become one [`Node`], inside a map
//!    of one entry if they belong to an enum's variant.

use gmr_core::redact::Redaction;
use serde::ser::{self, Serialize};

use super::flatten::{Budget, ENTRY_BYTES, Flattener, MAX_NESTING, MAX_TEXT_BYTES, SerError};
use super::mask::Mask;
use super::node::Node;
use super::tidy::{
    mask_arguments, mask_pair, mask_private_key_lines, shown_key, tidy, unwrap_private,
};

/// What a container becomes.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    List {
        /// A tuple of two: perhaps a key and its value.
        pair: bool,
        variant: Option<&'static str>,
    },
    Map {
        /// The struct's name, empty for a map.
        name: &'static str,
    },
    /// A map of one entry that stands for its value.
    NewtypeVariant,
    StructVariant {
        variant: &'static str,
    },
}

/// Collects the entries of a map or the items of a list.
pub(super) struct Container<'s> {
    budget: &'s mut Budget,
    policy: &'s Redaction,
    shape: Shape,
    /// Containers around its entries.
    depth: usize,
    /// What the keys around say of its entries.
    mask: Mask,
    is_exposed: bool,
    too_deep: bool,
    /// Keys are empty in a list.
    entries: Vec<(String, Node)>,
    left_out: u64,
    /// The key of the value that comes next, and what it says of it.
    key: Option<(String, Mask)>,
}

impl<'s> Container<'s> {
    pub(super) fn new(around: Flattener<'s>, shape: Shape) -> Self {
        let (depth, mask) = match shape {
            // A variant's group is one more container.
            Shape::List { variant: Some(variant), .. } => {
                (around.depth + 1, around.mask.max(Mask::under(around.policy, variant)))
            }
            Shape::StructVariant { variant } => (
                around.depth + 1,
                around.mask.max(Mask::under(around.policy, variant)).within_map(),
            ),
            // A bare list stands in the group `default`.
            Shape::List { variant: None, .. } => (around.depth.max(1), around.mask),
            Shape::NewtypeVariant => (around.depth, around.mask),
            Shape::Map { .. } => (around.depth, around.mask.within_map()),
        };
        Container {
            budget: around.budget,
            policy: around.policy,
            shape,
            depth: depth + 1,
            mask,
            is_exposed: around.is_exposed,
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
        mask: Mask,
        value: &T,
    ) -> Result<(), SerError> {
        self.budget.spend(ENTRY_BYTES + key.len());
        let node = value.serialize(Flattener {
            budget: self.budget,
            policy: self.policy,
            depth: self.depth,
            mask: self.mask.max(mask),
            is_exposed: self.is_exposed,
        })?;
        self.entries.push((key, node));
        Ok(())
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        if !self.has_room() {
            self.left_out += 1;
            return Ok(());
        }
        self.keep(String::new(), Mask::Texts, value)
    }

    pub(super) fn entry<T: Serialize + ?Sized>(
        &mut self,
        key: &str,
        value: &T,
    ) -> Result<(), SerError> {
        if !self.has_room() {
            self.left_out += 1;
            return Ok(());
        }
        let (key, mask) = shown_key(self.policy, key);
        self.keep(key, mask, value)
    }

    pub(super) fn finish(self) -> Node {
        if self.too_deep {
            let text = format!("{} entries, nested too deep to be shown", self.left_out);
            return Node::Truncated { text, full_len_bytes: None };
        }
        let Container { shape, policy, is_exposed, mut entries, left_out, .. } = self;
        match shape {
            Shape::List { pair, variant } => {
                let mut items: Vec<Node> = entries.into_iter().map(|(_, node)| node).collect();
                if !is_exposed {
                    if pair {
                        mask_pair(policy, &mut items);
                    }
                    mask_arguments(policy, &mut items);
                    mask_private_key_lines(&mut items);
                }
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
                Node::Map { entries: tidy(policy, is_exposed, entries), left_out }
            }
            Shape::NewtypeVariant => Node::Map { entries, left_out },
            Shape::StructVariant { variant } => Node::single(
                variant,
                Node::Map { entries: tidy(policy, is_exposed, entries), left_out },
            ),
        }
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
            let node = key.serialize(Flattener {
                budget: &mut budget,
                policy: self.policy,
                depth,
                mask: Mask::Texts,
                is_exposed: false,
            })?;
            self.key = Some(shown_key(self.policy, &node.into_key()));
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerError> {
        match self.key.take() {
            Some((key, mask)) => self.keep(key, mask, value),
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
