//! Guru Meditation Reports: the signal-safe core.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[cfg(any(test, feature = "stacks"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod model;
pub mod section;
#[cfg(feature = "symbols")]
#[doc(hidden)]
pub mod symbols;
pub mod view;
