//! How sections and whole reports end.

/// How a section ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionStatus {
    /// Whole.
    Ok,
    /// The section said it failed; the reason.
    Failed(&'static str),
    /// The section's deadline passed; what it had written is there.
    Deadline,
    /// The section wrote more than its limit; the rest is cut.
    SizeLimit,
    /// Not run: an earlier report got stuck in it and it has not come back.
    SkippedStuck,
    /// Not run: the whole report's deadline had passed.
    SkippedDeadline,
    /// Not run; the reason.
    Skipped(&'static str),
    /// The thread that does its work has not come back; the thread's stack is
    /// shown.
    Stuck,
}

impl SectionStatus {
    /// The stable word for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            SectionStatus::Ok => "ok",
            SectionStatus::Failed(_) => "failed",
            SectionStatus::Deadline => "deadline",
            SectionStatus::SizeLimit => "size_limit",
            SectionStatus::SkippedStuck => "skipped_stuck",
            SectionStatus::SkippedDeadline => "skipped_deadline",
            SectionStatus::Skipped(_) => "skipped",
            SectionStatus::Stuck => "stuck",
        }
    }

    /// One line for the operator; empty if the section is whole.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            SectionStatus::Ok => "",
            SectionStatus::Failed(reason) | SectionStatus::Skipped(reason) => reason,
            SectionStatus::Deadline => "stopped at its deadline; what it wrote until then is shown",
            SectionStatus::SizeLimit => "longer than its limit; the rest is left out",
            SectionStatus::SkippedStuck => "an earlier report is still stuck in it",
            SectionStatus::SkippedDeadline => "the report's deadline had passed",
            SectionStatus::Stuck => "not done at its deadline; above is where its worker is",
        }
    }
}

/// One section of a report in hindsight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionOutcome<'a> {
    /// Its title.
    pub title: &'a str,
    /// How it ended.
    pub status: SectionStatus,
    /// How long it took, in nanoseconds.
    pub elapsed_ns: u64,
}

/// Why a report is not complete: a set of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Incomplete(u32);

impl Incomplete {
    /// Nothing is missing.
    pub const NONE: Self = Self(0);
    /// A section failed or reached its deadline.
    pub const SECTION_FAILED: Self = Self(1);
    /// A section was skipped.
    pub const SECTION_SKIPPED: Self = Self(1 << 1);
    /// A thread's stack was not captured, or only in part.
    pub const THREADS: Self = Self(1 << 2);
    /// There were more threads than the arena holds.
    pub const THREAD_LIMIT: Self = Self(1 << 3);
    /// The report's deadline passed.
    pub const DEADLINE: Self = Self(1 << 4);
    /// The destination did not take everything.
    pub const OUTPUT: Self = Self(1 << 5);
    /// A value, name or listing was cut by a limit of ours.
    pub const TRUNCATED: Self = Self(1 << 6);
    /// Source lines are missing for want of time or memory.
    pub const SOURCE_LINES: Self = Self(1 << 7);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::SECTION_FAILED, "section failed"),
        (Self::SECTION_SKIPPED, "section skipped"),
        (Self::THREADS, "threads without a whole stack"),
        (Self::THREAD_LIMIT, "thread limit"),
        (Self::DEADLINE, "deadline"),
        (Self::OUTPUT, "output not taken"),
        (Self::TRUNCATED, "truncated"),
        (Self::SOURCE_LINES, "source lines missing"),
    ];

    /// Whether no reason is set.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.0 == 0
    }

    /// The set as a number, for an atomic.
    #[cfg(gmr_engine)]
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// The set of [`bits`](Self::bits).
    #[cfg(gmr_engine)]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// This set and another.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all reasons of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The reasons that are set, as words.
    pub fn reasons(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(reason, _)| self.contains(*reason))
            .map(|(_, name)| name)
    }
}
