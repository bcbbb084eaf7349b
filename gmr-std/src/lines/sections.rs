//! Which sections are loaded, and what is done without.

use gimli::{DwarfPackageSections, DwarfSections, SectionId};

use super::budget::{Budget, Failure};
use super::bytes::{Cache, Section};
use super::file::ElfFile;
use super::tally::Tally;

/// Loads the sections that are needed: those of an object, or with `is_split`
/// those of a `.dwo` file.
pub(crate) fn load<'a>(
    elf: &'a ElfFile,
    is_split: bool,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
    tally: &mut Tally,
) -> Result<DwarfSections<Section<'a>>, Failure> {
    let name = |id: SectionId| if is_split { id.dwo_name() } else { Some(id.name()) };
    let mut sections = DwarfSections::load(|id| load_section(elf, id, name(id), cache, budget))?;
    let strings = load_strings(elf, name(SectionId::DebugStr), cache, budget, tally)?;
    sections.debug_str = strings.into();
    Ok(sections)
}

/// Loads the sections of a `.dwp` file.
pub(crate) fn load_package<'a>(
    elf: &'a ElfFile,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
    tally: &mut Tally,
) -> Result<DwarfPackageSections<Section<'a>>, Failure> {
    let mut sections =
        DwarfPackageSections::load(|id| load_section(elf, id, id.dwo_name(), cache, budget))?;
    let name = SectionId::DebugStr.dwo_name();
    sections.debug_str = load_strings(elf, name, cache, budget, tally)?.into();
    Ok(sections)
}

fn load_section<'a>(
    elf: &'a ElfFile,
    id: SectionId,
    name: Option<&str>,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
) -> Result<Section<'a>, Failure> {
    use SectionId::*;
    let Some(name) = name else { return Ok(Section::unread(cache, 0)) };
    match id {
        DebugAbbrev | DebugAddr | DebugCuIndex | DebugInfo | DebugLine | DebugLineStr
        | DebugRanges | DebugRngLists | DebugStrOffsets => elf.section(name, cache, budget),
        // A package's index refers to the others all the same.
        _ => Ok(Section::unread(cache, elf.section_bytes(name))),
    }
}

/// Loads the strings, after all else: lines without names are worth having,
/// since symbol tables know names too.
fn load_strings<'a>(
    elf: &'a ElfFile,
    name: Option<&str>,
    cache: &'a Cache<'a>,
    budget: &'a Budget<'a>,
    tally: &mut Tally,
) -> Result<Section<'a>, Failure> {
    let name = name.unwrap_or_default();
    match elf.section(name, cache, budget) {
        Err(Failure::OverBudget) => {
            tally.lose_section(name);
            Ok(Section::unread(cache, 0))
        }
        loaded => loaded,
    }
}
