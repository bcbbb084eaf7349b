//! An await table that is loaded: bound to the addresses of this process.
//!
//! 1. The image is checked; the executable's segments and load bias come from its
//!    program headers.
//! 2. tokio's task vtables have no symbol: each word of the executable's data that is
//!    the address of a known `poll<T, S>` is one's, if the offsets beside it are those
//!    of `Cell<T, S>` ([`vtables`]).
//! 3. A runtime is where a `Handle`, a `LocalSet` or a thread-local points to, if what
//!    is there looks like the list of tasks that the table describes ([`roots`]).
//!
//! Made on an ordinary thread; afterwards it is only read, without allocating.
//!
//! Limits: tasks of shared libraries have their vtables elsewhere, and are not
//! known. Two kinds of tasks that share a poll function (merged by the linker) are
//! told apart by their layout, or not at all: then they are of unknown type.

mod roots;
mod vtables;

use gmr_core::hosted::memory;
use gmr_std::await_table::format::{Entries, NONE, Scheduler, SchedulerKind, Task};
use gmr_std::await_table::image::{AwaitTable, Refused};

pub(crate) use roots::{Root, Shards};
pub(crate) use vtables::Unknown;
use vtables::Vtables;

/// Why an image cannot be used in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// It is damaged, or of another version.
    Refused(Refused),
    /// There is no tokio in it, or no task of it.
    NoTasks,
    /// The kernel did not say where the executable's segments are.
    NoSegments,
    /// The kernel does not let this process read its own memory: its number.
    NoMemory(i32),
    /// None of its tasks is in this process: it is another executable's.
    OtherExecutable,
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LoadError::Refused(refused) => refused.fmt(f),
            LoadError::NoTasks => {
                write!(f, "the await table has no task of tokio: its crate's types are not in it")
            }
            LoadError::NoSegments => write!(f, "the executable's segments are not known"),
            LoadError::NoMemory(error) => write!(
                f,
                "process_vm_readv(2) is refused (error {error}), by seccomp as a rule: \
                 allow it for the process itself"
            ),
            LoadError::OtherExecutable => {
                write!(f, "none of the await table's tasks is in this executable")
            }
        }
    }
}

impl core::error::Error for LoadError {}

/// What the walk along a list needs of a kind of task: numbers only, so that no
/// text is looked at for each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KindOfTask {
    pub(crate) future: u32,
    pub(crate) scheduler: u32,
    pub(crate) scheduler_offset: u32,
    pub(crate) id_offset: u32,
    pub(crate) stage_offset: u32,
    pub(crate) stage_bytes: u32,
    pub(crate) tag_offset: u32,
    pub(crate) tag_bytes: u32,
    pub(crate) tag_running: u64,
    pub(crate) future_offset: u32,
    pub(crate) trailer_offset: u32,
    pub(crate) previous_offset: u32,
    pub(crate) next_offset: u32,
    pub(crate) cell_bytes: u32,
    pub(crate) poll_svma: u64,
}

impl KindOfTask {
    fn new(task: &Task<&str>) -> Self {
        KindOfTask {
            future: task.future,
            scheduler: task.scheduler,
            scheduler_offset: task.scheduler_offset,
            id_offset: task.id_offset,
            stage_offset: task.stage_offset,
            stage_bytes: task.stage_bytes,
            tag_offset: task.tag_offset,
            tag_bytes: task.tag_bytes,
            tag_running: task.tag_running,
            future_offset: task.future_offset,
            trailer_offset: task.trailer_offset,
            previous_offset: task.previous_offset,
            next_offset: task.next_offset,
            cell_bytes: task.cell_bytes,
            poll_svma: task.poll_svma,
        }
    }

    /// Whether what the walk reads is all within the cell.
    fn is_sound(&self) -> bool {
        let within = |offset: u32, bytes: u32| {
            offset.checked_add(bytes).is_some_and(|end| end <= self.cell_bytes)
        };
        within(self.scheduler_offset, 8)
            && within(self.id_offset, 8)
            && within(self.stage_offset, self.stage_bytes)
            && within(self.tag_offset, self.tag_bytes)
            && (1..=8).contains(&self.tag_bytes)
            && within(self.future_offset, 0)
            && within(self.previous_offset, 8)
            && within(self.next_offset, 8)
    }
}

/// Segments of the executable, as they are loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segments {
    pub(crate) code: Vec<(u64, u64)>,
    pub(crate) data: Vec<(u64, u64)>,
}

impl Segments {
    /// Of this process's executable, and its load bias.
    fn own() -> Option<(Self, u64)> {
        let mut segments = Segments::default();
        let bias = memory::executable(&mut |segment| {
            if !segment.is_tls {
                let list =
                    if segment.is_executable { &mut segments.code } else { &mut segments.data };
                list.push((segment.start, segment.end));
            }
        })?;
        Some((segments, bias))
    }

    fn holds(list: &[(u64, u64)], address: u64, bytes: u64) -> bool {
        let end = address.saturating_add(bytes);
        list.iter().any(|(from, to)| *from <= address && end <= *to)
    }

    pub(crate) fn is_code(&self, address: u64) -> bool {
        Self::holds(&self.code, address, 1)
    }

    pub(crate) fn is_data(&self, address: u64, bytes: u64) -> bool {
        Self::holds(&self.data, address, bytes)
    }
}

/// How many tasks' vtables were found, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// Vtables that belong to one kind of task.
    pub(crate) vtables: u32,
    /// That could be those of several kinds: their tasks are of unknown type.
    pub(crate) ambiguous: u32,
    /// Kinds of tasks that the table contradicts itself about, and that are not used.
    pub(crate) unsound: u32,
    /// Bytes of the executable's data that were not looked at.
    pub(crate) bytes_left_out: u64,
}

/// An await table, bound to this process. It never changes.
#[derive(Debug)]
pub(crate) struct LoadedTable {
    image: Vec<u8>,
    bias: u64,
    entries: Entries,
    kinds: Vec<Option<KindOfTask>>,
    schedulers: Vec<Scheduler<()>>,
    vtables: Vtables,
    segments: Segments,
    #[allow(dead_code, reason = "the section does not show it yet")]
    found: Found,
}

impl LoadedTable {
    /// Loads an image that is this executable's. Takes some milliseconds: it reads
    /// the executable's data. For an ordinary thread.
    pub(crate) fn load(image: Vec<u8>) -> Result<Self, LoadError> {
        let (segments, bias) = Segments::own().ok_or(LoadError::NoSegments)?;
        Self::bind(image, segments, bias)
    }

    /// As [`load`](Self::load), with the executable's place given.
    pub(crate) fn bind(image: Vec<u8>, segments: Segments, bias: u64) -> Result<Self, LoadError> {
        let table = AwaitTable::new(&image).map_err(LoadError::Refused)?;
        let entries = table.entries().ok_or(LoadError::NoTasks)?;
        let kinds: Vec<Option<KindOfTask>> = (0..table.task_count())
            .map(|index| table.task(index))
            .map(|task| task.map(|task| KindOfTask::new(&task)).filter(KindOfTask::is_sound))
            .collect();
        if kinds.iter().all(Option::is_none) {
            return Err(LoadError::NoTasks);
        }
        let mut found = Found {
            unsound: kinds.iter().filter(|kind| kind.is_none()).count() as u32,
            ..Found::default()
        };
        let vtables = Vtables::find(&kinds, &entries, &segments, bias, &mut found)?;
        if vtables.is_empty() {
            return Err(LoadError::OtherExecutable);
        }
        let schedulers = (0..table.scheduler_count())
            .filter_map(|index| table.scheduler(index))
            .map(roots::without_name)
            .collect();
        Ok(LoadedTable { image, bias, entries, kinds, schedulers, vtables, segments, found })
    }

    /// The table itself.
    pub(crate) fn table(&self) -> AwaitTable<'_> {
        // Checked when it was loaded.
        AwaitTable::unchecked(&self.image)
    }

    /// What is added to the table's addresses.
    pub(crate) fn bias(&self) -> u64 {
        self.bias
    }

    /// Size of the table.
    pub(crate) fn image_bytes(&self) -> usize {
        self.image.len()
    }

    /// How the search for vtables went.
    #[allow(dead_code, reason = "the section does not show it yet")]
    pub(crate) fn found(&self) -> Found {
        self.found
    }

    /// Layouts that all tasks share.
    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The number of the kind of task that has this vtable.
    pub(crate) fn task_kind(&self, vtable: u64) -> Option<u32> {
        self.vtables.kind_of(vtable).filter(|kind| *kind != NONE)
    }

    /// Its layout, by its number.
    pub(crate) fn layout(&self, kind: u32) -> Option<&KindOfTask> {
        self.kinds.get(kind as usize)?.as_ref()
    }

    /// A scheduler, by its number.
    pub(crate) fn scheduler(&self, index: u32) -> Option<&Scheduler<()>> {
        self.schedulers.get(index as usize)
    }

    /// Whether tasks of this kind are closures that a thread runs.
    #[allow(dead_code, reason = "the section does not show it yet")]
    pub(crate) fn is_blocking(&self, kind: u32) -> bool {
        self.layout(kind)
            .and_then(|kind| self.scheduler(kind.scheduler))
            .is_some_and(|scheduler| scheduler.kind == SchedulerKind::Blocking)
    }

    /// What can be said of a task whose vtable the table does not have: where in it
    /// everything is, by the vtable itself. `None`: it is no vtable.
    pub(crate) fn unknown(
        &self,
        vtable: u64,
        memory: &mut dyn crate::memory::Memory,
    ) -> Option<Unknown> {
        Unknown::read(vtable, &self.entries, &self.segments, memory)
    }
}
