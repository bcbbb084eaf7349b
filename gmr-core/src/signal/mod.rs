//! Signal handlers: the trigger that asks for a report, the capture signal
//! that asks a thread for its stack.
//!
//! The one place where the program's signal dispositions change. What is
//! installed stays installed (another library may have chained us): shut-down
//! handlers ignore and count.

#[cfg(feature = "stacks")]
pub(crate) mod capture;
pub(crate) mod trigger;
