//! Where there is no engine, nothing is watched.

#[path = "stall/error.rs"]
mod error;

use std::time::Duration;

pub use error::StallWatchError;

/// A stall watch that runs. There is none here.
#[derive(Debug)]
pub struct StallWatch(std::convert::Infallible);

impl StallWatch {
    /// How many reports it has requested.
    #[must_use]
    pub fn reports(&self) -> u64 {
        match self.0 {}
    }

    /// Ends the watch.
    pub fn stop(self) {
        match self.0 {}
    }
}

/// Not supported on this platform.
///
/// # Errors
///
/// [`StallWatchError::Unsupported`], always.
pub fn stall_watch(_threshold: Duration) -> Result<StallWatch, StallWatchError> {
    Err(StallWatchError::Unsupported)
}
