//! Where there is no engine, the core's setup has failed before this is asked.

use gmr_core::{Reporter, Signal};

use crate::error::SetupError;

pub(crate) fn start(_: &'static Reporter, _: Signal) -> Result<(), SetupError> {
    Err(SetupError::Core(gmr_core::SetupError::Unsupported))
}
