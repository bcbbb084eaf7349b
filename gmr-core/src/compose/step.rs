//! The steps of a report: what a takeover names, and what the next report skips.

use crate::engine::Engine;
#[cfg(feature = "stacks")]
use crate::sections::modules;
use crate::sections::{package, processes, threads as threads_section};

/// Where a report is: what a takeover names, and what the next report skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step(pub(super) u32);

impl Step {
    pub(super) const NONE: Self = Step(0);
    pub(super) const HEAD: Self = Step(1);
    pub(super) const COLLECT: Self = Step(2);
    pub(super) const PACKAGE: Self = Step(3);
    pub(super) const THREADS: Self = Step(4);
    pub(super) const PROCESSES: Self = Step(5);
    pub(super) const END: Self = Step(6);
    #[cfg(feature = "stacks")]
    pub(super) const MODULES: Self = Step(7);
    /// A registered section's step is this plus its order number.
    const FIRST_REGISTERED: u32 = 16;

    pub(super) fn registered(order: u32) -> Self {
        Step(Self::FIRST_REGISTERED.saturating_add(order))
    }

    pub(super) fn is_registered(self) -> bool {
        self.0 >= Self::FIRST_REGISTERED
    }

    /// What to call it in the report.
    pub(super) fn title(self, engine: &Engine) -> &'static str {
        match self {
            Step::NONE => "its end",
            Step::HEAD => "its head",
            Step::COLLECT => "the collection of threads",
            Step::PACKAGE => package::TITLE,
            Step::THREADS => threads_section::TITLE,
            Step::PROCESSES => processes::TITLE,
            Step::END => "its end block",
            #[cfg(feature = "stacks")]
            Step::MODULES => modules::TITLE,
            Step(other) => {
                let order = other.saturating_sub(Self::FIRST_REGISTERED);
                engine.registry.title(order).unwrap_or("a section that was unregistered since")
            }
        }
    }
}
