//! Where there is no engine, there is nothing to start.

use gmr_core::{Reporter, Signal};

use crate::error::SetupError;

pub(crate) struct Threads;

impl Threads {
    pub(crate) fn spawn() -> Result<Self, SetupError> {
        Err(SetupError::Core(gmr_core::SetupError::Unsupported))
    }

    pub(crate) fn end(self) {}

    pub(crate) fn start(self, _: &'static Reporter, _: Signal) -> Result<(), SetupError> {
        Err(SetupError::Core(gmr_core::SetupError::Unsupported))
    }
}
