//! Guru Meditation Reports: the signal-safe core.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]
#![cfg_attr(
    not(all(gmr_engine, feature = "stacks", feature = "symbols")),
    allow(dead_code, reason = "the full build is the one that must use everything")
)]
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

mod error;
pub mod model;
mod options;
mod package;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod procfs;
mod protocol;
pub mod redact;
mod reporter;
pub mod section;
#[cfg(target_os = "linux")]
mod sections;
#[doc(hidden)]
pub mod sink;
#[doc(hidden)]
pub mod symbols;
mod sync;
pub mod view;

#[cfg(gmr_engine)]
mod bank;
#[cfg(gmr_engine)]
mod compose;
#[cfg(gmr_engine)]
mod engine;
#[cfg(all(gmr_engine, feature = "stacks", feature = "symbols"))]
mod names;
#[cfg(all(gmr_engine, feature = "signal"))]
mod signal;
#[cfg(all(feature = "stacks", target_arch = "x86_64"))]
#[doc(hidden)]
pub mod stacks;
#[cfg(all(gmr_engine, feature = "signal"))]
mod supervise;
#[cfg(gmr_engine)]
mod sys;
#[cfg(gmr_engine)]
mod threads;

pub use error::{RegisterError, RunError, SetupError, UnregisterError};
pub use options::Options;
pub use package::Package;
pub use protocol::registry::{MAX_SECTIONS, MAX_TITLE_BYTES, SectionId};
pub use protocol::requests::Requester;
#[cfg(feature = "signal")]
pub use reporter::arm;
pub use reporter::{Handle, Reporter, Signal, Stats};
pub use section::{SectionError, SectionResult, SectionWriter, SignalSafeSection, Stop};
pub use view::ViewKind;
