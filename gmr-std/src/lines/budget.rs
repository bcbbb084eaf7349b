//! What resolving may cost: memory, time, and whether anybody still waits.
//!
//! Everything that grows with the file is reserved here before it is
//! allocated; an estimate, always on the high side. What has a fixed size
//! (stack, decoder tables, a buffer for one name) is not counted: some 200 KiB.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

/// How much, how long and where [`resolve`](super::resolve) may look.
pub(crate) struct Limits<'a> {
    /// The most memory, in bytes; see [`default_memory_bytes`](super::default_memory_bytes).
    pub memory_bytes: u64,
    /// When to give back what there is.
    pub deadline: Instant,
    /// False when the report has given this work up. Asked often.
    pub is_wanted: &'a dyn Fn() -> bool,
    /// Where separate debug files lie, besides next to their object; usually
    /// `/usr/lib/debug`.
    pub debug_dirs: &'a [PathBuf],
    /// Whether objects below `/lib*` and `/usr/lib*` are looked into. Their
    /// frames are rarely the news, their debug packages are large.
    pub system_libraries: bool,
    /// Whether long generic arguments in names are kept.
    pub full_names: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It would take more memory than is left.
    OverBudget,
    /// The deadline has passed, or nobody waits any more.
    Stopped,
    /// The file contradicts itself, or cannot be read.
    Damaged(gimli::Error),
}

impl From<gimli::Error> for Failure {
    fn from(error: gimli::Error) -> Self {
        Failure::Damaged(error)
    }
}

/// The clock is read once in so many steps. One takes a microsecond at most.
const STEPS_PER_CHECK: u64 = 4096;

/// What one step covers where bytes are looked through or copied.
const BYTES_PER_STEP: usize = 64;

/// The account of one call of [`resolve`](super::resolve).
pub(crate) struct Budget<'a> {
    limits: &'a Limits<'a>,
    left: Cell<u64>,
    steps: Cell<u64>,
    stopped: Cell<bool>,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &'a Limits<'a>) -> Self {
        let left = Cell::new(limits.memory_bytes);
        Budget { limits, left, steps: Cell::new(0), stopped: Cell::new(false) }
    }

    pub(crate) fn limits(&self) -> &'a Limits<'a> {
        self.limits
    }

    /// Bytes that nobody has reserved.
    pub(crate) fn left(&self) -> u64 {
        self.left.get()
    }

    /// Sets bytes aside until the value returned is dropped.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<Reserved<'_>, Failure> {
        let left = self.left.get().checked_sub(bytes).ok_or(Failure::OverBudget)?;
        self.left.set(left);
        Ok(Reserved { left: &self.left, bytes })
    }

    /// To be called in each loop whose length a file decides; each read of a
    /// section is a step too, since gimli has such loops as well.
    #[inline]
    pub(crate) fn step(&self) -> Result<(), Failure> {
        self.steps(1)
    }

    /// As many steps as bytes take.
    #[inline]
    pub(crate) fn step_bytes(&self, bytes: usize) -> Result<(), Failure> {
        self.steps(1 + bytes / BYTES_PER_STEP)
    }

    /// Several steps, done or about to be done in one go.
    #[inline]
    pub(crate) fn steps(&self, count: usize) -> Result<(), Failure> {
        let steps = self.steps.get().saturating_add(count as u64);
        if steps < STEPS_PER_CHECK {
            self.steps.set(steps);
            return if self.stopped.get() { Err(Failure::Stopped) } else { Ok(()) };
        }
        self.steps.set(0);
        self.check()
    }

    /// Whether to go on. A "no" is final.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if !self.stopped.get() {
            let late = Instant::now() >= self.limits.deadline;
            self.stopped.set(late || !(self.limits.is_wanted)());
        }
        if self.stopped.get() { Err(Failure::Stopped) } else { Ok(()) }
    }

    /// Whether a check has said "no". What was read since may be missing.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// What a failed read of a file means: gimli knows but one I/O error.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        if self.stopped.get() { Failure::Stopped } else { failure }
    }
}

/// Bytes set aside, given back when dropped.
pub(crate) struct Reserved<'b> {
    left: &'b Cell<u64>,
    bytes: u64,
}

impl Reserved<'_> {
    /// Sets more aside.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Failure> {
        let left = self.left.get().checked_sub(bytes).ok_or(Failure::OverBudget)?;
        self.left.set(left);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.left.set(self.left.get() + self.bytes);
    }
}
