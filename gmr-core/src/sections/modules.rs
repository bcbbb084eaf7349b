//! The Modules section: what is loaded where, for those who look up the report's
//! addresses later, on another machine (`gmr symbolize`, `addr2line`).
//!
//! 1. The loaded objects of the module table, by address. The table was compared
//!    with /proc/self/maps when the stacks were captured; entries that are no
//!    longer what is mapped there are left out and counted.
//! 2. Each is a row: its addresses, its load bias (address in memory minus
//!    address in the file), its build-id and its file.
//!
//! It is the last section: people need it only after all others.
//!
//! Limits: those of the table ([`MAX_MODULES`]); it says when it was cut. A file's
//! path is as the loader knew it, and may name another file by now: the build-id
//! decides.

use crate::model::{Column, Value};
use crate::section::{SectionError, SectionResult, SectionWriter};
use crate::stacks::modules::{MAX_MODULES, Table};

pub(crate) const TITLE: &str = "Modules";

/// Tools rely on these names.
const COLUMNS: [Column<'_>; 5] = [
    Column::text("start", 14),
    Column::text("end", 14),
    Column::text("load_bias", 14),
    Column::text("build_id", 40),
    Column::text("file", 24),
];

pub(crate) fn write(table: Option<&Table>, out: &mut SectionWriter<'_>) -> SectionResult {
    let Some(table) = table else {
        return Err(SectionError::Failed("the loaded objects are not known"));
    };
    let modules = table.modules();
    let loaded = modules.iter().filter(|module| !module.is_stale());
    let count = loaded.clone().count();
    // In JSON `modules` is the array.
    out.value("loaded", count as u64)?;
    let stale = modules.len().saturating_sub(count);
    if stale > 0 {
        out.value("not loaded any more", stale as u64)?;
    }
    if table.is_cut {
        out.value("cut at the limit of", MAX_MODULES as u64)?;
    }
    out.table("modules", &COLUMNS, |rows| {
        for module in loaded {
            rows.row(&[
                Value::Address(module.start),
                Value::Address(module.end),
                Value::Address(module.bias),
                module.build_id.as_deref().map_or(Value::None, Value::Hex),
                Value::Bytes(&module.path),
            ])?;
        }
        Ok(())
    })
}
