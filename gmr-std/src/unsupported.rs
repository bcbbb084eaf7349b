//! Where there is no engine, there is nothing to set up.

use gmr_core::{Options, RegisterError, Reporter, SectionId, Signal, UnregisterError};

use crate::error::SetupError;
use crate::section::Generator;
use crate::setup::{LineChoices, Section};

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

    pub(crate) fn unregister(&self, _: SectionId) -> Result<(), UnregisterError> {
        Err(UnregisterError::Unknown)
    }
}

pub(crate) fn set_up(
    _: &'static Reporter,
    _: Signal,
    _: Options,
    _: Vec<(&'static str, Section)>,
    _: Option<LineChoices>,
) -> Result<&'static Installed, SetupError> {
    Err(SetupError::Core(gmr_core::SetupError::Unsupported))
}
