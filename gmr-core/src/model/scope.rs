//! What a thread was doing, as it said itself.

use crate::model::Value;

/// A scope that a thread was in ([`crate::Scope`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActiveScope<'a> {
    /// What kind of work.
    pub label: &'a str,
    /// Which; [`Value::None`] if the program did not say.
    pub detail: Value<'a>,
    /// How long it has been in it, in nanoseconds.
    pub age_ns: u64,
}
