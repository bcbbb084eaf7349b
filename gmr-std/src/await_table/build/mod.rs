//! Makes an await table from an executable's debug information.
//!
//! 1. The debug information is found as for source lines: in the executable, in
//!    a separate debug file, with a package (`.dwp`) of what was split off.
//! 2. [`scan`] goes once through all of it, unit by unit, and notes where to
//!    look: the futures of tasks and of vtables.
//! 3. [`graph`] reads their types, and what these consist of. [`coroutine`] has
//!    the lines of each `.await`, [`tasks`] the layouts of tokio's tasks.
//! 4. [`fold`] leaves out what holds no future, and writes each type once.
//!
//! It takes some 60 ns for each entry of the debug information, and the memory
//! of the largest unit and of the types that are reached. Files are read by
//! pread, never mapped. Whatever a file says, the time ends at the deadline and
//! the memory at the limit.
//!
//! # Limitations
//!
//! - Debug information of the executable alone, not of libraries that it loads.
//! - Units split off into `.dwo` files have to be packed (`dwp`, `llvm-dwp`).
//! - Depends on the names that rustc gives (`__awaitee`, `{async_fn_env#0}`,
//!   `{vtable}`), and on those of members of tokio's types. What is not found is
//!   said in the table's notes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

mod coroutine;
mod emit;
mod entries;
mod fold;
mod graph;
mod names;
mod scan;
mod strings;
mod tasks;
mod units;

use crate::lines;
use crate::lines::budget::{Budget, Failure};
use crate::lines::bytes::{Cache, Section};
use crate::lines::file::{ElfFile, open};
use crate::lines::locate::debug_file;
use crate::lines::sections::{load, load_package};
use crate::lines::tally::Tally;
use entries::Entries;
use graph::Graph;
use scan::Trait;
use strings::Strings;
use units::Units;

/// What building may cost, and where it looks.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most memory, in bytes.
    pub memory_bytes: u64,
    /// When to give up.
    pub deadline: Instant,
    /// Where separate debug files lie, besides next to the executable.
    pub debug_dirs: Vec<PathBuf>,
}

/// Why there is no table, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no regular file, or it cannot be read.
    NotReadable,
    /// No 64-bit little-endian ELF file.
    NotElf,
    /// No debug information at all.
    NoDebugInfo,
    /// Lines, but no types.
    NoTypes,
    /// Types, but no future: no crate that spawns one has debug information.
    NoFutures,
    /// It was split off, and is not there.
    SplitMissing {
        /// How many units.
        units: usize,
    },
    /// Over the memory limit.
    OverBudget {
        /// The limit.
        memory_bytes: u64,
    },
    /// The deadline has passed.
    Late,
    /// The debug information cannot be read.
    Damaged,
}

/// What is to be put into Cargo.toml.
const ADVICE: &str = "build your own crates with debug = \"full\" (2); \
                      dependencies need none: [profile.release.package.\"*\"] debug = 0";

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::NotReadable => write!(f, "not a file that can be read"),
            BuildError::NotElf => write!(f, "not a 64-bit little-endian ELF file"),
            BuildError::NoDebugInfo => write!(
                f,
                "no debug information, in the executable or a separate file: {ADVICE}; \
                 or make the table before stripping (gmr await-table)"
            ),
            BuildError::NoTypes => {
                write!(f, "debug information without types (debug = 1 or line tables): {ADVICE}")
            }
            BuildError::NoFutures => {
                write!(f, "no task and no future in the debug information's types: {ADVICE}")
            }
            BuildError::SplitMissing { units } => write!(
                f,
                "debug information of {units} units was split off and is not there: \
                 use split-debuginfo = \"packed\" and keep the .dwp beside the executable"
            ),
            BuildError::OverBudget { memory_bytes } => write!(
                f,
                "over the memory limit of {} MiB: make the table beforehand (gmr await-table)",
                memory_bytes >> 20
            ),
            BuildError::Late => {
                write!(f, "not in time: make the table beforehand (gmr await-table)")
            }
            BuildError::Damaged => write!(f, "the debug information is damaged"),
        }
    }
}

impl std::error::Error for BuildError {}

/// A table, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// For [`AwaitTable`](super::image::AwaitTable).
    pub image: Vec<u8>,
    /// Bytes of the debug information's entries.
    pub info_bytes: u64,
    /// How many entries there are.
    pub entries: u64,
    /// Crates that have code in it, and whether their types are in the debug
    /// information.
    pub crates: BTreeMap<String, bool>,
    /// The file that has it.
    pub debug_file: PathBuf,
}

/// Makes the table of an executable. `file` is the executable, if it is open
/// already.
///
/// # Errors
///
/// [`BuildError`].
pub fn build(path: &Path, file: Option<File>, limits: &Limits) -> Result<Built, BuildError> {
    let file = match file {
        Some(file) => file,
        None => open(path).ok_or(BuildError::NotReadable)?.0,
    };
    let elf = ElfFile::new(file).ok_or(BuildError::NotElf)?;
    let limits = lines::Limits {
        memory_bytes: limits.memory_bytes,
        deadline: limits.deadline,
        is_wanted: &|| true,
        debug_dirs: &limits.debug_dirs,
        system_libraries: false,
        full_names: true,
    };
    let budget = Budget::new(&limits);
    let error = |failure: Failure| match budget.explain(failure) {
        Failure::OverBudget => BuildError::OverBudget { memory_bytes: limits.memory_bytes },
        Failure::Stopped => BuildError::Late,
        Failure::Damaged(_) => BuildError::Damaged,
    };
    let build_id = elf.build_id();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (elf, debug_path) = debug_file(elf, &absolute, build_id.as_deref(), &budget)
        .map_err(error)?
        .ok_or(BuildError::NoDebugInfo)?;
    let cache = Cache::new(&budget).map_err(error)?;
    let mut tally = Tally::default();
    let sections = load(&elf, false, &cache, &budget, &mut tally).map_err(error)?;
    let dwarf = sections.borrow(|section| section.bytes());
    // What was split off lies beside the executable, or its debug file.
    let packed = [&absolute, &debug_path]
        .iter()
        .find_map(|path| open(&lines::with_suffix(path, ".dwp")))
        .and_then(|(file, _)| ElfFile::new(file));
    let empty = Section::unread(&cache, 0);
    let packed_sections = packed
        .as_ref()
        .map(|elf| load_package(elf, &cache, &budget, &mut tally))
        .transpose()
        .map_err(error)?;
    let package = packed_sections
        .as_ref()
        .map(|sections| sections.borrow(|section| section.bytes(), empty.bytes()))
        .transpose()
        .map_err(|damage| error(damage.into()))?;
    // Without its names a type is nothing.
    if tally.was_cut() {
        return Err(error(Failure::OverBudget));
    }
    let units = Units::list(&dwarf, package.as_ref(), &budget).map_err(error)?;
    let mut built = table(units, &budget, build_id.as_deref().unwrap_or_default()).map_err(
        |stop| match stop {
            Stop::Failed(failure) => error(failure),
            Stop::Without(error) => error,
        },
    )?;
    built.debug_file = debug_path;
    Ok(built)
}

/// Why there is no table.
enum Stop {
    Failed(Failure),
    Without(BuildError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

fn table<'a>(mut units: Units<'a>, budget: &'a Budget<'a>, build_id: &[u8]) -> Result<Built, Stop> {
    let mut strings = Strings::new(budget)?;
    let mut found = scan::scan(&mut units, &mut strings)?;
    found.damaged_units += units.damaged;
    let (info_bytes, split_missing) = (units.bytes(), units.split_missing);
    let without = match found.crates.values().any(|has_types| *has_types) {
        _ if split_missing > 0 => BuildError::SplitMissing { units: split_missing },
        _ if found.damaged_units > 0 => BuildError::Damaged,
        true => BuildError::NoFutures,
        false => BuildError::NoTypes,
    };
    let mut entries = Entries::new(units, strings);
    let bases = future_names(&mut entries, &found.futures)?;
    let locals = coroutine::Locals::new(&mut entries, &found.locals)?;
    let mut graph = Graph::new(&mut entries, &locals)?;

    let mut tasks = tasks::find(&mut graph, &found)?;
    let mut vtables = Vec::new();
    for &(svma, of, at) in &found.vtables {
        if let Some(entry) = graph.entries.get(at)?
            && let Some(ty) = entry.containing
        {
            vtables.push((svma, of, graph.node(ty)?));
        }
    }
    if tasks.tasks.is_empty() && vtables.is_empty() {
        return Err(Stop::Without(without));
    }
    graph.decode_all()?;
    let futures = vtables.iter().filter(|(_, of, _)| *of != Trait::Stream);
    let mut roots: Vec<u32> = futures.map(|(_, _, node)| *node).collect();
    let is_async = |task: &&tasks::Task| {
        tasks
            .schedulers
            .get(task.scheduler)
            .is_some_and(|scheduler| scheduler.kind != super::format::SchedulerKind::Blocking)
    };
    roots.extend(tasks.tasks.iter().filter(is_async).map(|task| task.future));
    fold::mark(&mut graph, &bases, &roots);
    fold::prune(&mut graph.nodes, budget)?;
    let classes = fold::merge(&graph.nodes, budget)?;

    let class = |node: u32| classes.get(node as usize).copied();
    let mut by_address: BTreeMap<u64, Option<u32>> = BTreeMap::new();
    for &(svma, _, node) in &vtables {
        by_address
            .entry(svma)
            .and_modify(|there| {
                if there.is_some_and(|there| class(there) != class(node)) {
                    *there = None;
                }
            })
            .or_insert(Some(node));
    }
    let ambiguous = by_address.values().filter(|node| node.is_none()).count();
    let vtables: Vec<(u64, u32)> =
        by_address.into_iter().filter_map(|(svma, node)| Some((svma, node?))).collect();
    tell_apart(&mut tasks, class);

    let mut notes = Vec::new();
    let mut note = |count: usize, text: &str| {
        if count > 0 {
            notes.push(format!("{count} {text}"));
        }
    };
    note(split_missing, "units whose split-off debug information is missing");
    note(found.damaged_units, "units damaged");
    note(graph.refused.damaged, "types damaged");
    note(graph.refused.coroutines, "coroutines with contradictory states");
    note(graph.refused.enums, "enums with contradictory variants");
    note(ambiguous, "vtables with several types");
    note(tasks.without_cell, "kinds of task without a layout");
    note(tasks.of_other_copy, "kinds of task of another copy of tokio");
    note(tasks.ambiguous, "poll functions of several kinds of task");
    for name in &tasks.without_list {
        notes.push(format!("no list of tasks in {}", names::shown(name)));
    }
    if tasks.layout.is_none() {
        notes.push("no task of tokio".to_owned());
    }
    let notes = notes.join("; ");

    // In the image as in here, about as large.
    let _image = budget.reserve(graph.nodes.len() as u64 * 128)?;
    let mut emitter = emit::Emitter::new(&graph.nodes, &classes, &locals.impls);
    emitter.tasks(&tasks);
    emitter.vtables(&vtables);
    let image = emitter.finish(build_id, &notes);
    budget.check()?;
    Ok(Built {
        image,
        info_bytes,
        entries: found.entries,
        crates: found.crates,
        debug_file: PathBuf::new(),
    })
}

/// Leaves out what shares its address with another kind of task: its vtable
/// says nothing.
fn tell_apart(tasks: &mut tasks::Tasks, class: impl Fn(u32) -> Option<u32>) {
    let key = |task: &tasks::Task| (class(task.future), task.scheduler, task.cell);
    let mut kept: Vec<tasks::Task> = Vec::with_capacity(tasks.tasks.len());
    for group in tasks.tasks.chunk_by(|one, other| one.poll_svma == other.poll_svma) {
        match group {
            [first, rest @ ..] if rest.iter().all(|other| key(other) == key(first)) => {
                kept.push(*first);
            }
            _ => tasks.ambiguous += 1,
        }
    }
    tasks.tasks = kept;
}

/// The paths of types that implement `Future`, by the `self` of their `poll`.
fn future_names(entries: &mut Entries<'_>, futures: &[u64]) -> Result<HashSet<String>, Failure> {
    let mut names = HashSet::new();
    for &at in futures {
        // Pin { pointer: &mut T }
        let Some(pin) = entries.get(at)? else { continue };
        let [pointer] = &pin.members[..] else { continue };
        if !pin.name.starts_with("Pin<&mut ") {
            continue;
        }
        let Some(pointer) = entries.get(pointer.ty)? else { continue };
        let Some(ty) = pointer.ty else { continue };
        let Some(ty) = entries.get(ty)? else { continue };
        let name = entries.full_name(&ty)?;
        names.insert(names::generic(&name).to_owned());
    }
    Ok(names)
}
