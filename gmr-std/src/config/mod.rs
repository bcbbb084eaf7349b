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

pub(crate) mod blob;
mod cell;
mod container;
mod encode;
mod error;
mod flatten;
pub(crate) mod holder;
mod mask;
mod node;
mod secret;
mod sync;
mod tidy;

// Under loom only the holder is tested: loom's atomics work inside a model.
#[cfg(all(test, not(loom)))]
mod tests;

pub use cell::ConfigCell;
pub use error::ConfigError;
pub use secret::Secret;
