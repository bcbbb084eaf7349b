//! The sections that the core brings along.

#[cfg(gmr_engine)]
pub(crate) mod package;
pub(crate) mod processes;
#[cfg(gmr_engine)]
pub(crate) mod threads;
