//! The sections that the core brings along.

#[cfg(all(gmr_engine, feature = "stacks"))]
pub(crate) mod modules;
#[cfg(gmr_engine)]
pub(crate) mod package;
pub(crate) mod processes;
#[cfg(gmr_engine)]
pub(crate) mod threads;
