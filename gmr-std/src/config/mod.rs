//! The Configuration section: the program's settings, secrets masked.
//!
//! 1. [`flatten`] turns any `Serialize` value into a tree, masking while it
//!    goes ([`mask`], [`secret`]): a secret never reaches the tree;
//! 2. [`encode`] sorts the tree into groups and writes it as a [`blob`];
//! 3. [`cell`] publishes the blob ([`holder`] has the protocol), and a report
//!    replays it: no lock, no allocation, whatever state the process is in.
//!
//! All work is done when the configuration is set, none while a report is
//! written. So a report shows the configuration *as it was set last*; a
//! program that reloads its settings sets them again.

mod blob;
mod cell;
mod container;
mod encode;
mod error;
mod exposed;
mod flatten;
mod holder;
mod mask;
mod node;
mod secret;
mod sync;
mod table;
mod tidy;

// Under loom only the holder is tested: loom's atomics work inside a model.
#[cfg(all(test, not(loom)))]
mod tests;

pub use cell::ConfigCell;
pub use error::ConfigError;
pub use exposed::{Exposed, expose};
pub use secret::Secret;
pub use table::{Table, TableRow};

use gmr_core::redact::Redaction;
use serde::Serialize;

pub(crate) use blob::{Blob, BlobBuilder};
pub(crate) use holder::Holder;

/// Records any value as the content of a section, secrets masked: the entries
/// of a map or struct as `key = value` and groups, a list as items, anything
/// else as one item. Limits and order are those of a configuration.
///
/// # Errors
///
/// [`ConfigError::Serialize`] if the type's own `Serialize` fails.
///
/// # Panics
///
/// If the type's own `Serialize` does.
pub(crate) fn record<T: Serialize + ?Sized>(
    value: &T,
    policy: &Redaction,
) -> Result<Blob, ConfigError> {
    Ok(encode::encode_plain(flatten::flatten(value, policy)?))
}

/// What a section's closure returned.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) blob: Blob,
    /// A limit left something out.
    pub(crate) is_cut: bool,
}

/// Records what a section's closure returned: as [`record`] does, but a text is
/// shown as it is, with its lines.
///
/// # Errors
///
/// As [`record`].
pub(crate) fn record_section<T: Serialize + ?Sized>(
    value: &T,
    policy: &Redaction,
) -> Result<Recorded, ConfigError> {
    let node = flatten::flatten(value, policy)?;
    Ok(Recorded { is_cut: node.is_cut(), blob: encode::encode_section(node) })
}

/// Records any value under a key, among other events: see [`record`].
///
/// # Errors
///
/// As [`record`].
pub(crate) fn record_under<T: Serialize + ?Sized>(
    out: &mut BlobBuilder,
    key: &str,
    value: &T,
    policy: &Redaction,
) -> Result<(), ConfigError> {
    encode::write_under(out, key, &flatten::flatten(value, policy)?);
    Ok(())
}
