//! The names in the symbol table of a separate debug file.
//!
//! Who strips a program takes its symbol table away, too: the names of the
//! core's are gone. `objcopy --only-keep-debug` keeps the table, and its names
//! are the better ones: limited debug information (`line-tables-only`) names
//! functions without their modules, start-up code and assembler have none.

use gmr_core::symbols::{MAX_NAME_BYTES, NameArena, ResolveStatus, Wanted as Symbol, resolve};

use super::Wanted;
use super::budget::{Budget, Failure};
use super::file::ElfFile;
use super::table::{Builder, Text};

/// The section that the names hang on.
pub(super) const SYMTAB: &str = ".symtab";

/// Addresses of one pass over the table: room for the names of all is made.
const MOST_IN_A_PASS: usize = 1024;

/// For symbols as they are read, in bytes.
const SCRATCH_BYTES: usize = 64 * 1024;

/// A function's name, and whether it was cut.
pub(super) type Name = Option<(Text, bool)>;

/// The name of each of `wanted`.
pub(super) fn names(
    elf: &ElfFile,
    wanted: &[Wanted],
    budget: &Budget<'_>,
    table: &mut Builder<'_>,
) -> Result<Vec<Name>, Failure> {
    let room = wanted.len().min(MOST_IN_A_PASS);
    let per_address = MAX_NAME_BYTES + size_of::<Symbol>() + size_of::<Name>();
    let _reserved = budget.reserve((room * per_address + SCRATCH_BYTES) as u64)?;
    let (mut memory, mut scratch) = (vec![0; room * MAX_NAME_BYTES], vec![0; SCRATCH_BYTES]);
    let mut found = vec![None; wanted.len()];
    for (chunk, found) in wanted.chunks(MOST_IN_A_PASS).zip(found.chunks_mut(MOST_IN_A_PASS)) {
        let mut symbols: Vec<Symbol> =
            (0..).zip(chunk).map(|(tag, wanted)| Symbol::new(wanted.svma, tag)).collect();
        let mut names = NameArena::new(&mut memory);
        names.keep_full_names(budget.limits().full_names);
        let source = elf.source();
        let mut keep_going = || budget.check().is_ok();
        let resolved = resolve(&source, &mut symbols, &mut names, &mut scratch, &mut keep_going);
        if resolved.status == ResolveStatus::Stopped {
            return Err(Failure::Stopped);
        }
        // A damaged table: there is the debug information.
        for symbol in &symbols {
            if let (Some(name), Some(found)) = (symbol.name, found.get_mut(symbol.tag as usize)) {
                *found = Some((table.text(names.get(name))?, name.truncated));
            }
        }
    }
    Ok(found)
}
