//! `gmr await-table BINARY`: makes the table by which a stripped program shows
//! where its tasks wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gmr_std::await_table::format::{Kind, SECTION, SUFFIX};
use gmr_std::await_table::image::AwaitTable;
use gmr_std::await_table::{BuildError, Limits, build};

/// Nobody's service waits behind this: large programs have large units.
const MEMORY_BYTES: u64 = 4 << 30;

/// A slow disk, not a file without an end.
const LONGEST: Duration = Duration::from_secs(600);

/// Where distributions put debug files.
const DEBUG_DIR: &str = "/usr/lib/debug";

/// What looking into a binary may cost here.
pub(crate) fn limits(mut debug_dirs: Vec<PathBuf>) -> Limits {
    debug_dirs.push(DEBUG_DIR.into());
    Limits { memory_bytes: MEMORY_BYTES, deadline: Instant::now() + LONGEST, debug_dirs }
}

/// The command: exit code.
pub(crate) fn run(binary: &Path, output: Option<PathBuf>, debug_dirs: Vec<PathBuf>) -> u8 {
    let began = Instant::now();
    let built = match build(binary, None, &limits(debug_dirs)) {
        Ok(built) => built,
        Err(error) => {
            eprintln!("gmr: {}: {error}", binary.display());
            return match error {
                BuildError::NotReadable | BuildError::NotElf => 2,
                _ => 1,
            };
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let output = output.unwrap_or_else(|| {
        let mut path = binary.as_os_str().to_owned();
        path.push(format!(".{SUFFIX}"));
        path.into()
    });
    if let Err(error) = std::fs::write(&output, &built.image) {
        eprintln!("gmr: {}: {error}", output.display());
        return 2;
    }
    let Ok(table) = AwaitTable::new(&built.image) else {
        eprintln!("gmr: {}: too large for a table", output.display());
        return 1;
    };
    let (file, size) = (output.display(), bytes(built.image.len() as u64));
    println!(
        "{file}: {size}, from {} of debug information ({} entries) in {seconds:.2} s",
        bytes(built.info_bytes),
        built.entries
    );
    println!("  {}", counts(&table));
    table.notes().split("; ").filter(|note| !note.is_empty()).for_each(|note| {
        println!("  Left out: {note}");
    });
    if table.build_id().is_empty() {
        println!("  The program has no build-id: link it with --build-id, or embed the table.");
    }
    println!("Keep it beside the program, which may then be stripped; or put it into the program:");
    println!(
        "  objcopy --add-section {SECTION}={file} \
         --set-section-flags {SECTION}=noload,readonly {}",
        binary.display()
    );
    0
}

/// What a table has, in one line.
pub(crate) fn counts(table: &AwaitTable<'_>) -> String {
    let types = || (0..table.type_count()).filter_map(|index| table.ty(index));
    let coroutines = types().filter(|ty| matches!(ty.kind, Kind::Coroutine { .. })).count();
    format!(
        "{} kinds of task, {coroutines} async functions and blocks, {} types, {} vtables",
        table.task_count(),
        table.type_count(),
        table.vtable_count()
    )
}

/// A size for people.
pub(crate) fn bytes(count: u64) -> String {
    let (unit, name) = if count >= 1 << 20 { (20, "MiB") } else { (10, "KiB") };
    format!("{:.1} {name}", count as f64 / f64::from(1_u32 << unit))
}
