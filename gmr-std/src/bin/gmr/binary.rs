//! `gmr check BINARY`: what reports of a program will say, by what its files have.

use std::fmt::Write;
use std::path::Path;

use gmr_std::await_table::image::AwaitTable;
use gmr_std::await_table::{Functions, Inspection, inspect};

use crate::await_table::{bytes, counts, limits};

/// What to put into Cargo.toml for all that there is.
const PROFILE: [&str; 5] = [
    "Put into Cargo.toml for all of it:",
    "  [profile.release]",
    "  debug = \"full\"              # your own crates: files, lines and tasks",
    "  [profile.release.package.\"*\"]",
    "  debug = \"line-tables-only\"  # dependencies: files and lines; tasks need none",
];

/// What else helps a program that is stripped.
const STRIPPED: [&str; 3] = [
    "It is stripped. Either keep what the build made (strip = false), or ship it as it is:",
    "  gmr await-table UNSTRIPPED -o PROGRAM.gmr-await   # beside it: where tasks wait",
    "  gmr symbolize REPORT --debug-dir DIR              # names and lines, afterwards",
];

/// Looks at a program, and prints what there is and what is missing: exit code.
pub(crate) fn check(path: &Path) -> u8 {
    match inspect(path, &limits(Vec::new())) {
        Ok(found) => {
            let (code, text) = judge(path, &found);
            print!("{text}");
            code
        }
        Err(error) => {
            println!("{}: unknown: {error}", path.display());
            2
        }
    }
}

fn judge(path: &Path, found: &Inspection) -> (u8, String) {
    let has_names = found.functions == Functions::All;
    let has_tasks = !found.has_tokio || found.table.is_some() || found.built.is_ok();
    let mut missing = Vec::new();
    if !has_names {
        missing.push("names of functions");
    }
    if found.lines.is_none() {
        missing.push("files and lines");
    }
    if !has_tasks {
        missing.push("the stacks of tasks");
    }
    let mut text = String::new();
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(match missing.is_empty() {
        true => format!("{}: yes: its reports have all that they can have.", path.display()),
        false => format!("{}: no: its reports lack {}.", path.display(), missing.join(", ")),
    });
    line(format!(
        "  Functions: {}.",
        match found.functions {
            Functions::All => "by name (.symtab)",
            Functions::Exported => "only exported ones by name; do not strip symbols",
            Functions::None => "without names; do not strip symbols",
        }
    ));
    line(match &found.lines {
        Some(file) => format!("  Files and lines: from {}.", file.display()),
        None => {
            "  Files and lines: no debug information; gmr symbolize can add them later.".to_owned()
        }
    });
    for refused in &found.refused {
        line(format!("  Not taken: {refused}."));
    }
    if !found.has_tokio {
        line("  Tasks: no tokio is to be seen in it.".to_owned());
    } else {
        tasks(found, &mut line);
    }
    if found.lines.is_none() || !has_tasks {
        // That a table was made says that there was debug information.
        if found.table.is_none() || has_names {
            PROFILE.iter().for_each(|text| line(format!("  {text}")));
        }
        if !has_names {
            STRIPPED.iter().for_each(|text| line(format!("  {text}")));
        }
    }
    (u8::from(!missing.is_empty()), text)
}

fn tasks(found: &Inspection, line: &mut dyn FnMut(String)) {
    if let Some(origin) = &found.table {
        line(format!("  Tasks: their stacks by the await table {origin}."));
    }
    match &found.built {
        Ok(built) => {
            if let Ok(table) = AwaitTable::new(&built.image) {
                line(format!("  Tasks: {}.", counts(&table)));
                table.notes().split("; ").filter(|note| !note.is_empty()).for_each(|note| {
                    line(format!("  Left out: {note}."));
                });
            }
            line(format!(
                "  The table is made from {} of {} of debug information.",
                built.debug_file.display(),
                bytes(built.info_bytes)
            ));
            let of = |wanted: bool| {
                let crates = built.crates.iter().filter(|there| *there.1 == wanted);
                crates.map(|there| there.0.as_str()).collect::<Vec<_>>().join(", ")
            };
            line(format!("  Crates with types: {}.", of(true)));
            let without = of(false);
            if !without.is_empty() {
                line(format!("  Crates with lines only: {without}."));
            }
        }
        Err(error) if found.table.is_none() => line(format!("  Tasks: {error}.")),
        Err(_) => {}
    }
}
