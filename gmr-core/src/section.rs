//! Sections and how they write.

use crate::model::{
    Await, Column, Event, FindingCode, Frame, MAX_DEPTH, Process, Task, Thread, ThreadGroup,
    ThreadMember, Value,
};

/// Tells a generator to return at once: the section's or the report's deadline
/// has passed, or a takeover abandoned the report. Pass it on with `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// Why a section ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SectionError {
    /// The reporter told it to.
    Stopped,
    /// It could not get at what it wanted to say. The report shows the reason.
    Failed(&'static str),
    /// It was not run. The report shows the reason.
    Skipped(&'static str),
    /// There was more than a limit of its own lets through.
    SizeLimit,
    /// Its work is done by another thread, which has not come back: the report
    /// shows that thread's stack.
    Stuck {
        /// The thread.
        tid: u32,
        /// It went there for an earlier report; this one did not wait for it.
        is_earlier: bool,
    },
}

impl From<Stop> for SectionError {
    fn from(Stop: Stop) -> Self {
        SectionError::Stopped
    }
}

/// What a generator returns.
pub type SectionResult = Result<(), SectionError>;

/// A section that the core itself may run: in a signal handler, or on a
/// supervisor that must come through whatever state the process is in.
///
/// # Safety
///
/// [`generate`](Self::generate) is called on a thread that may have been
/// interrupted anywhere: in the allocator, in the loader, with any lock held.
/// The implementer promises that it, and everything it calls,
///
/// - does not allocate or free memory;
/// - does not take a lock that any other code can hold (a `try_lock` that gives
///   up at once is fine, if the lock's own implementation is signal-safe);
/// - does not panic and does not unwind;
/// - does not use stdio, does not touch thread-locals with a destructor or lazy
///   initialisation, does not call the dynamic loader;
/// - does not wait without a deadline, and makes only async-signal-safe calls
///   (signal-safety(7)).
///
/// Atomics, immutable data and raw system calls are what such a section is
/// made of. It should look at what `out` returns after each event and pass
/// [`Stop`] on: a section that does not stop is stopped by takeover, and is not
/// run again until it comes back.
#[expect(unsafe_code, reason = "the contract that makes the engine sound")]
pub unsafe trait SignalSafeSection: Sync {
    /// Writes the section's content.
    ///
    /// # Errors
    ///
    /// [`SectionError::Stopped`] if `out` said so, [`SectionError::Failed`] if
    /// there is nothing to say.
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult;

    /// Looks at the process while the report collects: right after the threads'
    /// stacks were captured, so that both fit together. What it finds it keeps
    /// for [`generate`](Self::generate) of the same report, by its
    /// [`sequence`](Collecting::sequence).
    fn collect(&self, report: &mut dyn Collecting) {
        let _ = report;
    }

    /// Gives what it has collected that is abnormal, in the order of how much it
    /// explains. Called between [`collect`](Self::collect) and
    /// [`generate`](Self::generate).
    fn findings(&self, stacks: &dyn Stacks, give: &mut dyn FnMut(FindingCode, &str, &[u32])) {
        let _ = (stacks, give);
    }

    /// Where it stands in the report.
    fn place(&self) -> Place {
        Place::InOrder
    }

    /// Whether what does its work is known not to have come back from an
    /// earlier report: named among the findings. For sections that leave their
    /// work to another thread.
    fn is_stuck(&self) -> bool {
        false
    }
}

/// Where a registered section stands in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Behind Processes, in the order of registration.
    #[default]
    InOrder,
    /// Between Threads and Processes.
    BehindThreads,
}

/// A thread, as a report lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenThread<'a> {
    /// Its id.
    pub tid: u32,
    /// Its name.
    pub name: &'a [u8],
    /// The kernel's letter for its state; `?` if not known.
    pub state: u8,
    /// It is one of the reporter's.
    pub is_own: bool,
}

impl<'a> SeenThread<'a> {
    /// One with this id, name and state.
    #[must_use]
    pub const fn new(tid: u32, name: &'a [u8], state: u8, is_own: bool) -> Self {
        SeenThread { tid, name, state, is_own }
    }
}

/// Names a stack that was [added](Collecting::add_stack) to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackId(pub(crate) u32);

/// A report that collects: what [`SignalSafeSection::collect`] is given.
pub trait Collecting {
    /// The report's number.
    fn sequence(&self) -> u64;

    /// When collecting must end, CLOCK_MONOTONIC in nanoseconds.
    fn deadline_ns(&self) -> u64;

    /// Asks whether to go on.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the collection must end.
    fn check(&self) -> Result<(), Stop>;

    /// Calls `each` with every thread of the process that the report lists.
    fn threads(&self, each: &mut dyn FnMut(&SeenThread<'_>));

    /// Lets the process run for so many nanoseconds, less if the deadline comes.
    fn rest(&self, interval_ns: u64);

    /// Keeps a stack of return addresses, innermost first, to be shown with names
    /// and lines by [`SectionWriter::show_stack`]; beyond what a thread's may have
    /// ([`Options::max_frames`](crate::Options::max_frames)) they are counted only.
    /// `None`: there is no room.
    fn add_stack(&mut self, addresses: &[u64]) -> Option<StackId>;
}

/// The stacks of a report, with what is known of their frames.
pub trait Stacks {
    /// Calls `each` with the frames of a thread, innermost first, until it returns
    /// `false`. The runtime's frames at the end of a stack may be left out.
    fn frames(&self, tid: u32, each: &mut dyn FnMut(&Frame<'_>) -> bool);
}

/// Takes the events of one report.
pub trait EventSink {
    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// [`Stop`]: the generator should return.
    fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop>;

    /// Takes an event of a writer that is [`exposed`](SectionWriter::exposed):
    /// one that is public, whatever it looks like. A sink that masks nothing
    /// treats it like any other.
    ///
    /// # Errors
    ///
    /// [`Stop`]: the generator should return.
    fn emit_exposed(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        self.emit(event)
    }

    /// When the section must end, CLOCK_MONOTONIC in nanoseconds.
    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }

    /// Whether the section must end.
    ///
    /// # Errors
    ///
    /// [`Stop`]: the generator should return.
    fn check(&self) -> Result<(), Stop> {
        Ok(())
    }

    /// The report's number; 0: it has none.
    fn sequence(&self) -> u64 {
        0
    }

    /// Writes the block of a thread of the report, with its stack. `false`: the
    /// report does not have it.
    ///
    /// # Errors
    ///
    /// [`Stop`]: the generator should return.
    fn show_thread(&mut self, tid: u32) -> Result<bool, Stop> {
        let _ = tid;
        Ok(false)
    }

    /// Writes the frames of a stack that was added while the report collected.
    ///
    /// # Errors
    ///
    /// [`Stop`]: the generator should return.
    fn show_stack(&mut self, stack: StackId) -> Result<bool, Stop> {
        let _ = stack;
        Ok(false)
    }
}

/// What a section writes through: typed values, groups, lists, text.
///
/// Every method returns [`Stop`] when the section must end; pass it on.
///
/// # Secrets
///
/// What a registered section writes is judged by [`crate::redact`] and the
/// program's own policy ([`Options::redaction`](crate::Options::redaction)): a
/// value under a secret key becomes `***`, with all in a group or list under
/// one; so does the secret part of any text, key or item. A PEM private key may
/// be spread over several texts or items. [`exposed`](Self::exposed) is for
/// what is public all the same.
///
/// What has to be masked is copied: of one such text 64 KiB are shown, and a
/// mark says that it was cut. Not seen is what is spread over several events in
/// any other way, such as `password=` and its value in two texts.
pub struct SectionWriter<'a> {
    sink: &'a mut dyn EventSink,
    depth: usize,
    is_exposed: bool,
}

impl core::fmt::Debug for SectionWriter<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SectionWriter").field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl<'a> SectionWriter<'a> {
    /// A writer onto `sink`.
    pub fn new(sink: &'a mut dyn EventSink) -> Self {
        SectionWriter { sink, depth: 0, is_exposed: false }
    }

    /// A writer of the same section whose values are public: shown as they are,
    /// under any key.
    pub fn exposed(&mut self) -> SectionWriter<'_> {
        SectionWriter { sink: &mut *self.sink, depth: self.depth, is_exposed: true }
    }

    /// Any event.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), Stop> {
        if self.is_exposed { self.sink.emit_exposed(event) } else { self.sink.emit(event) }
    }

    /// `key = value`.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn value<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) -> Result<(), Stop> {
        self.event(&Event::Value { key, value: value.into() })
    }

    /// An item of a list.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn item<'v>(&mut self, value: impl Into<Value<'v>>) -> Result<(), Stop> {
        self.event(&Event::Item { value: value.into() })
    }

    /// A paragraph as it is.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn text(&mut self, text: &str) -> Result<(), Stop> {
        self.event(&Event::Text(text.as_bytes()))
    }

    /// A group of values; closed when `body` returns, also by an error.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn group(
        &mut self,
        key: &str,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginGroup { key: Some(key) }, body)
    }

    /// A list of items; closed when `body` returns.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn list(
        &mut self,
        key: &str,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginList { key: Some(key) }, body)
    }

    /// A list of blocks; see [`Event::BeginBlocks`].
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn blocks(
        &mut self,
        key: &str,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginBlocks { key }, body)
    }

    /// A table: its head, and the rows that `body` writes. In JSON the array
    /// `key` of objects; no more than [`MAX_COLUMNS`](crate::model::MAX_COLUMNS)
    /// columns are shown.
    ///
    /// A cell is masked if the name of its column names a secret; one of the
    /// column `value` also if another text of its row does.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    ///
    /// ```
    /// use gmr_core::model::Column;
    /// use gmr_core::{SectionResult, SectionWriter};
    ///
    /// const COLUMNS: [Column<'_>; 2] = [Column::text("queue", 12), Column::number("depth", 6)];
    ///
    /// fn queues(out: &mut SectionWriter<'_>) -> SectionResult {
    ///     out.table("queues", &COLUMNS, |table| {
    ///         table.row(&["mail".into(), 17_u64.into()])?;
    ///         table.row(&["webhooks".into(), 2_u64.into()])?;
    ///         Ok(())
    ///     })
    /// }
    /// # struct Void;
    /// # impl gmr_core::section::EventSink for Void {
    /// #     fn emit(&mut self, _: &gmr_core::model::Event<'_>) -> Result<(), gmr_core::Stop> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// # queues(&mut SectionWriter::new(&mut Void)).unwrap();
    /// ```
    ///
    /// ```text
    /// queue          depth
    /// ------------  ------
    /// mail              17
    /// webhooks           2
    /// ```
    pub fn table(
        &mut self,
        key: &str,
        columns: &[Column<'_>],
        body: impl FnOnce(&mut TableWriter<'_, '_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginBlocks { key }, |out| {
            out.event(&Event::TableHead { columns })?;
            body(&mut TableWriter { out, columns })
        })
    }

    /// A thread's block.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn thread(
        &mut self,
        thread: &Thread<'_>,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginThread(*thread), body)
    }

    /// A block of several threads.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn thread_group(
        &mut self,
        group: &ThreadGroup<'_>,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginThreadGroup(*group), body)
    }

    /// One thread of such a block.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn thread_member(
        &mut self,
        member: &ThreadMember<'_>,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginMember(*member), body)
    }

    /// A task's block, or that of several whose await trees are equal.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn task(
        &mut self,
        task: &Task<'_>,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginTask(*task), body)
    }

    /// One level of the await tree of the task that is open.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn await_level(&mut self, level: &Await<'_>) -> Result<(), Stop> {
        self.event(&Event::Await(*level))
    }

    /// The block of a thread of this report, with its stack. `false`: the report
    /// does not have that thread.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn show_thread(&mut self, tid: u32) -> Result<bool, Stop> {
        self.sink.show_thread(tid)
    }

    /// The frames of a stack that was [added](Collecting::add_stack) while this
    /// report collected.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn show_stack(&mut self, stack: StackId) -> Result<bool, Stop> {
        self.sink.show_stack(stack)
    }

    /// The report's number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sink.sequence()
    }

    /// A process's block.
    ///
    /// # Errors
    ///
    /// What `body` returns, or [`SectionError::Stopped`].
    pub fn process(
        &mut self,
        process: &Process<'_>,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.nest(&Event::BeginProcess(*process), body)
    }

    /// Asks whether to go on, for a section that works or waits for long
    /// between two events.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn check(&self) -> Result<(), Stop> {
        self.sink.check()
    }

    /// When the section must end, CLOCK_MONOTONIC in nanoseconds. (It may have
    /// to end earlier: see [`check`](Self::check).)
    #[must_use]
    pub fn deadline_ns(&self) -> u64 {
        self.sink.deadline_ns()
    }

    /// How many containers this writer has opened.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    fn nest(
        &mut self,
        open: &Event<'_>,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        self.event(open)?;
        let mut inner = SectionWriter {
            sink: &mut *self.sink,
            depth: self.depth.saturating_add(1).min(MAX_DEPTH),
            is_exposed: self.is_exposed,
        };
        let outcome = body(&mut inner);
        self.event(&Event::Close)?;
        outcome
    }
}

/// What the rows of a table are written through: see [`SectionWriter::table`].
#[derive(Debug)]
pub struct TableWriter<'t, 'w> {
    out: &'t mut SectionWriter<'w>,
    columns: &'t [Column<'t>],
}

impl TableWriter<'_, '_> {
    /// One row, a value for each column. What is missing is left blank.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the section must end.
    pub fn row(&mut self, values: &[Value<'_>]) -> Result<(), Stop> {
        self.out.event(&Event::Row { columns: self.columns, values })
    }
}
