//! Waiting for a condition.

use core::time::Duration;
use std::thread;
use std::time::Instant;

/// How long anything may take before a test gives up: no test is about speed,
/// and the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until `condition` gives a value.
///
/// # Panics
///
/// After [`DEADLINE`], with `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {} s for {what}", DEADLINE.as_secs());
        thread::sleep(POLL_INTERVAL);
    }
}
