//! Why there is no stall watch.

/// Why there is no stall watch.
#[derive(Debug)]
#[non_exhaustive]
pub enum StallWatchError {
    /// There was no [`setup_autorun`](crate::setup_autorun) before.
    NoSetup,
    /// One is running already.
    Running,
    /// Its thread could not be started.
    Thread(std::io::Error),
    /// Not on Linux on x86_64.
    Unsupported,
}

impl std::fmt::Display for StallWatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StallWatchError::NoSetup => f.write_str("set up reports first (setup_autorun)"),
            StallWatchError::Running => f.write_str("a stall watch is running already"),
            StallWatchError::Thread(error) => write!(f, "no thread for the stall watch: {error}"),
            StallWatchError::Unsupported => {
                f.write_str("not supported here: this takes Linux on x86_64")
            }
        }
    }
}

impl std::error::Error for StallWatchError {}
