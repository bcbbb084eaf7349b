//! What an executable's files allow a report to say: for `gmr check BINARY`.

use std::path::{Path, PathBuf};

use super::build::{BuildError, Built, Limits, build};
use super::find::{Origin, ready};
use crate::lines;
use crate::lines::budget::Budget;
use crate::lines::file::{ElfFile, open};
use crate::lines::locate::debug_file;

/// The largest section of constants that is looked through.
const MAX_CONSTANTS_BYTES: u64 = 1 << 28;

/// In the paths of tokio's own panics, which every program with tokio has.
const TOKIO: &[u8] = b"/tokio-1.";

/// Which functions have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// All.
    All,
    /// Those that other objects may call.
    Exported,
    /// None.
    None,
}

/// What an executable and its debug files have.
#[derive(Debug)]
pub struct Inspection {
    /// Names in its symbol table.
    pub functions: Functions,
    /// The file that has files and lines.
    pub lines: Option<PathBuf>,
    /// An await table that was made before.
    pub table: Option<Origin>,
    /// What lay where a table may lie and was not taken, with the reason.
    pub refused: Vec<String>,
    /// The await table that can be made.
    pub built: Result<Built, BuildError>,
    /// tokio is in it, as far as can be seen.
    pub has_tokio: bool,
}

/// Looks at an executable.
///
/// # Errors
///
/// [`BuildError::NotReadable`] and [`BuildError::NotElf`].
pub fn inspect(path: &Path, limits: &Limits) -> Result<Inspection, BuildError> {
    let open = || open(path).map(|(file, _)| file).ok_or(BuildError::NotReadable);
    let elf = ElfFile::new(open()?).ok_or(BuildError::NotElf)?;
    let functions = match (elf.has(".symtab"), elf.has(".dynsym")) {
        (true, _) => Functions::All,
        (false, true) => Functions::Exported,
        (false, false) => Functions::None,
    };
    let mut refused = Vec::new();
    let table = ready(path, &elf, None, limits.memory_bytes, &mut refused);
    let constants = elf.contents(".rodata", MAX_CONSTANTS_BYTES).unwrap_or_default();
    let has_tokio = constants.windows(TOKIO.len()).any(|bytes| bytes == TOKIO);
    let for_lines = lines::Limits {
        memory_bytes: limits.memory_bytes,
        deadline: limits.deadline,
        is_wanted: &|| true,
        debug_dirs: &limits.debug_dirs,
        system_libraries: true,
        full_names: true,
    };
    let budget = Budget::new(&for_lines);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let build_id = elf.build_id();
    let debug = debug_file(elf, &absolute, build_id.as_deref(), &budget).ok().flatten();
    let lines = debug.filter(|(elf, _)| elf.has(".debug_line")).map(|(_, path)| path);
    let built = build(path, None, limits);
    let has_tokio = has_tokio || built.is_ok();
    Ok(Inspection {
        functions,
        lines,
        table: table.map(|(_, origin)| origin),
        refused,
        built,
        has_tokio,
    })
}
