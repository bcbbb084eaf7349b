//! Where there is no engine, there is nothing to set up.

use gmr_core::{RegisterError, Reporter, SectionId, UnregisterError};

use crate::error::SetupError;
use crate::section::Generator;
use crate::setup::Plan;

/// There is none, and so no handle either.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) reporter: &'static Reporter,
}

impl Installed {
    pub(crate) fn register(
        &self,
        _: &'static str,
        _: Generator,
    ) -> Result<SectionId, RegisterError> {
        Err(RegisterError::Full)
    }

    pub(crate) fn in_background(&self, _: Box<dyn FnOnce() + Send>) {}

    pub(crate) fn unregister(&self, _: SectionId) -> Result<(), UnregisterError> {
        Err(UnregisterError::Unknown)
    }
}

pub(crate) fn set_up(_: &'static Reporter, plan: Plan) -> Result<&'static Installed, SetupError> {
    let _ = (plan.threads.scheduling, &plan.threads.cpus);
    Err(SetupError::Core(gmr_core::SetupError::Unsupported))
}
