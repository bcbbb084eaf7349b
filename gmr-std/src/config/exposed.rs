//! [`Exposed`]: a value that is shown although it looks like a secret.
//!
//! Like [`Secret`](super::Secret) it writes a newtype of a reserved name, and
//! only while a configuration is being flattened. A serializer that drops the
//! name (serde's own for `flatten` and for internally tagged enums) leaves a
//! value that is judged like any other: it may be masked, never shown by
//! mistake.

use core::ops::Deref;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::secret::is_flattening;

/// The newtype name that our serializer takes for "public".
pub(super) const EXPOSED_NAME: &str = "$gmr_std::private::Exposed";

/// A value that reports show as it is, whatever its key and its text look like.
///
/// Made by [`expose`]. Everything in it is public, but for a
/// [`Secret`](crate::Secret). Elsewhere it serializes and deserializes as `T`
/// does.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Config {
///     // "***" by its key alone.
///     session_key: gmr_std::Exposed<&'static str>,
/// }
///
/// let config = Config { session_key: gmr_std::expose("X-Session") };
/// assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"session_key":"X-Session"}"#);
/// ```
///
/// # Limitations
///
/// Inside an internally tagged enum, and as the value of a `#[serde(flatten)]`
/// field itself, the mark is lost: the value is judged like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exposed<T>(T);

/// Marks `value` as public: see [`Exposed`].
pub const fn expose<T>(value: T) -> Exposed<T> {
    Exposed(value)
}

impl<T> Exposed<T> {
    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Exposed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Exposed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Exposed)
    }
}

impl<T: Serialize> Serialize for Exposed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if is_flattening() {
            serializer.serialize_newtype_struct(EXPOSED_NAME, &self.0)
        } else {
            self.0.serialize(serializer)
        }
    }
}
