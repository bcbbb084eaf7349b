//! Shared by the end-to-end tests: start a daemon, talk to it, signal it, read
//! its reports.
//!
//! Rules of these tests:
//!
//! 1. Each test has daemons of its own; no signal goes to the test process.
//! 2. Tests wait for conditions, with a generous deadline ([`DEADLINE`]), never
//!    for a time.
//! 3. Reports are read by strict parsers ([`report`]): a line out of place
//!    fails the test, whatever it was about.

pub mod daemon;
pub mod green;
pub mod held;
pub mod hostile;
pub mod inside;
pub mod log;
pub mod process;
pub mod report;
pub mod wait;

pub use daemon::Daemon;
pub use log::ErrLog;
pub use report::{Report, Stream};
pub use wait::{DEADLINE, until};
