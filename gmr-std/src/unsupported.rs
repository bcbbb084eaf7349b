//! Where there is no engine, there is nothing to start.

use gmr_core::{Reporter, Signal};

use crate::error::SetupError;
use crate::scheduling::ThreadChoices;

pub(crate) struct Threads;

impl Threads {
    pub(crate) fn spawn(choices: &ThreadChoices) -> Result<Self, SetupError> {
        let _ = (choices.scheduling, &choices.cpus);
        Err(SetupError::Core(gmr_core::SetupError::Unsupported))
    }

    pub(crate) fn end(self) {}

    pub(crate) fn start(self, _: &'static Reporter, _: Signal) -> Result<(), SetupError> {
        Err(SetupError::Core(gmr_core::SetupError::Unsupported))
    }
}
