//! [`Secret`]: a value that is masked in reports, and nowhere else.
//!
//! How the mask is applied only by us:
//!
//! 1. while a configuration is being flattened, and only then, a thread-local
//!    flag is set ([`flattening`]);
//! 2. without it `Secret<T>` serializes exactly as `T` does;
//! 3. with it, it writes a newtype of a reserved name around a placeholder:
//!    not even a serializer that drops the name (serde's own for `flatten` and
//!    for internally tagged enums), or one that a type runs inside its own
//!    `Serialize` (`serde_json::to_value`), ever sees the value.

use core::cell::Cell;
use core::fmt;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::flatten::shape_of;
use super::mask::MASK;
use super::node::Node;

/// The newtype name that our serializer takes for "a secret". No type of a
/// program can have it: `$` and `:` are not allowed in an identifier.
pub(super) const SECRET_NAME: &str = "$gmr_std::private::Secret";

/// A value that reports show as `***`.
///
/// Serializing it writes the real value, so that a configuration can be
/// written back to disk; deserializing reads a plain `T`. Only the
/// Configuration section of a report masks it: as `***` if it is set, and as it
/// is if it is `None` or empty, so that one can tell the two apart. Of a map or
/// a list in a `Secret`, neither keys nor number of items are shown.
///
/// `Debug` prints `Secret(***)`. There is no `Display` and no `Deref`: say
/// [`expose`](Self::expose) where the value is needed. The memory is not wiped
/// on drop.
///
/// ```
/// use gmr_std::Secret;
///
/// let password = Secret::from(String::from("hunter2"));
/// assert_eq!(format!("{password:?}"), "Secret(***)");
/// assert_eq!(password.expose(), "hunter2");
/// assert_eq!(serde_json::to_string(&password).unwrap(), "\"hunter2\"");
/// ```
///
/// It cannot be printed by accident: each of these is refused by the compiler.
///
/// ```compile_fail,E0277
/// println!("{}", gmr_std::Secret::from("hunter2")); // no Display
/// ```
///
/// ```compile_fail,E0599
/// gmr_std::Secret::from("hunter2").to_string();
/// ```
///
/// ```compile_fail,E0308
/// let text: &str = &gmr_std::Secret::from(String::from("hunter2")); // no Deref
/// ```
///
/// ```compile_fail,E0599
/// gmr_std::Secret::from(String::from("hunter2")).len();
/// ```
///
/// ```compile_fail,E0277
/// fn log(text: impl AsRef<str>) {}
/// log(gmr_std::Secret::from(String::from("hunter2"))); // no AsRef
/// ```
///
/// ```compile_fail,E0277
/// println!("{:x}", gmr_std::Secret::from(0x1234_u32)); // no format but Debug
/// ```
///
/// ```compile_fail,E0616
/// gmr_std::Secret::from("hunter2").0; // the field is private
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, no longer marked as secret.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Secret(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Secret)
    }
}

impl<T: Serialize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !is_flattening() {
            return self.0.serialize(serializer);
        }
        // Only the shape leaves this function.
        let placeholder = match shape_of(&self.0).map_err(serde::ser::Error::custom)?.unmarked() {
            Node::None => Placeholder::None,
            node @ (Node::List { .. } | Node::Map { .. }) => {
                let is_map = matches!(node, Node::Map { .. });
                match (is_map, node.masked_whole()) {
                    (true, Node::Redacted) => Placeholder::Map,
                    (true, _) => Placeholder::EmptyMap,
                    (false, Node::Redacted) => Placeholder::Text(MASK),
                    (false, _) => Placeholder::Text(""),
                }
            }
            node => match node.masked_whole() {
                Node::Redacted => Placeholder::Text(MASK),
                _ => Placeholder::Text(""),
            },
        };
        serializer.serialize_newtype_struct(SECRET_NAME, &placeholder)
    }
}

/// What is serialized in place of a secret while a configuration is flattened.
enum Placeholder {
    None,
    Text(&'static str),
    EmptyMap,
    /// serde's `flatten` takes nothing but maps.
    Map,
}

impl Serialize for Placeholder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Placeholder::None => serializer.serialize_none(),
            Placeholder::Text(text) => serializer.serialize_str(text),
            Placeholder::EmptyMap => serializer.serialize_map(Some(0))?.end(),
            Placeholder::Map => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(MASK, MASK)?;
                map.end()
            }
        }
    }
}

/// Whether a configuration is being flattened on this thread.
pub(super) fn is_flattening() -> bool {
    FLATTENING.get()
}

thread_local! {
    static FLATTENING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` with secrets masked on this thread; also ended by a panic.
pub(super) fn flattening<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FLATTENING.set(self.0);
        }
    }
    let _restore = Restore(FLATTENING.replace(true));
    body()
}
