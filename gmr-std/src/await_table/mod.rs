//! The await table: what is needed to read the await-point stacks of suspended
//! futures from memory, without polling them and without debug information.
//!
//! [`format`](self::format) and [`image`] are its form. The executable's debug information is
//! what it is made of: [`build()`]. [`find()`] takes one that was made before, or
//! makes it.

pub mod format;
pub mod image;

#[cfg(gmr_engine)]
mod build;
#[cfg(gmr_engine)]
mod find;
#[cfg(gmr_engine)]
mod inspect;

#[cfg(gmr_engine)]
pub use build::{BuildError, Built, Limits, build};
#[cfg(gmr_engine)]
pub use find::{NotFound, Origin, Table, find};
#[cfg(gmr_engine)]
pub use inspect::{Functions, Inspection, inspect};
