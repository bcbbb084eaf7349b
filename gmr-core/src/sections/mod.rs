//! The sections that the core brings along.

pub(crate) mod processes;
