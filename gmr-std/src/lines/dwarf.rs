//! The debug information of one object: which units hold the addresses, and
//! what they say.
//!
//! 1. Each unit's root says which addresses its code has; units without any of
//!    ours are left at that. (`.debug_aranges` would say the same, but not all
//!    compilers write it: the roots are needed anyway.)
//! 2. A unit with addresses of ours is read once from its beginning to its end
//!    for the functions ([`unit::functions`]), and its line program is run once
//!    ([`unit::lines`]). Nothing but what is found is kept.
//! 3. Names: a function's entry, or the one that it is an instance of, which
//!    may be in another unit (link-time optimization does that). Where
//!    [`symbols`](super::symbols) has the name of what is not inlined, that.
//!
//! A unit that has been split off is taken from the package (`.dwp`), or from
//! its own file (`.dwo`), by its id.

use gimli::{DebugInfoOffset, DwarfPackage, Reader};

use super::Wanted;
use super::budget::{Budget, Failure, Reserved};
use super::bytes::{Bytes, Cache};
use super::names::{Files, Names};
use super::sections::load;
use super::symbols::Name;
use super::table::{Builder, NewFrame};
use super::tally::{Fate, Reason, Tally};
use super::unit::{self, Dwarf, Extent, Found, LineProgram, Unit};

/// A line program's header in memory, per byte of the file: a source file can
/// take as little as one byte there.
const LINE_HEADER_COST: u64 = size_of::<gimli::FileEntry<Bytes<'_>, usize>>() as u64;

/// The offsets of units are reserved in steps of so many.
const OFFSETS_STEP: usize = 1024;

/// The debug information of one object.
pub(super) struct ObjectDwarf<'a> {
    pub(super) dwarf: &'a Dwarf<'a>,
    pub(super) package: Option<&'a DwarfPackage<Bytes<'a>>>,
    pub(super) cache: &'a Cache<'a>,
    pub(super) budget: &'a Budget<'a>,
}

/// The units of `.debug_info`, by offset.
pub(super) struct Units<'a> {
    offsets: Vec<usize>,
    _reserved: Reserved<'a>,
}

impl<'a> Units<'a> {
    fn new(dwarf: &Dwarf<'a>, budget: &'a Budget<'a>) -> Result<Self, Failure> {
        let mut units = Units { offsets: Vec::new(), _reserved: budget.reserve(0)? };
        let mut headers = dwarf.units();
        // What follows a damaged header cannot be found: what precedes it can.
        while let Ok(Some(header)) = headers.next() {
            budget.step()?;
            if units.offsets.len().is_multiple_of(OFFSETS_STEP) {
                // Twice: the vector grows by doubling.
                units._reserved.grow((2 * OFFSETS_STEP * size_of::<usize>()) as u64)?;
            }
            if let Some(offset) = header.debug_info_offset() {
                units.offsets.push(offset.0);
            }
        }
        budget.check()?;
        Ok(units)
    }

    /// The offset of the unit that holds an offset of `.debug_info`.
    pub(super) fn holding(&self, offset: usize) -> Option<usize> {
        let after = self.offsets.partition_point(|&unit| unit <= offset);
        after.checked_sub(1).map(|index| self.offsets[index])
    }
}

/// Where results go: `fates` says of each of `wanted` what became of it.
pub(super) struct Output<'o, 'b> {
    pub(super) wanted: &'o [Wanted],
    pub(super) fates: &'o mut [Fate],
    pub(super) tally: &'o mut Tally,
    pub(super) table: &'o mut Builder<'b>,
    /// The symbols' names of `wanted`, preferred to what is found here; empty
    /// where the core has them.
    pub(super) symbols: &'o [Name],
}

impl<'a> ObjectDwarf<'a> {
    /// Looks the addresses up, unit by unit. They are sorted by SVMA.
    pub(super) fn resolve(&self, out: &mut Output<'_, '_>) -> Result<(), Failure> {
        let units = Units::new(self.dwarf, self.budget)?;
        let mut names = Names::new(self.dwarf, Some(&units), self.budget)?;
        let sorted: Vec<u64> = out.wanted.iter().map(|wanted| wanted.svma).collect();
        for &offset in &units.offsets {
            let mut hits = Vec::new();
            self.budget.steps(sorted.len())?;
            let outcome = self.unit(offset, &sorted, &mut hits, &mut names, out);
            match outcome.map_err(|failure| self.budget.explain(failure)) {
                Ok(()) => {}
                Err(Failure::Stopped) => return Err(Failure::Stopped),
                Err(failure) => {
                    hits.retain(|&hit| out.fates[hit] == Fate::Open);
                    let reason = Reason::from(failure);
                    out.tally.lose_unit(reason, hits.len());
                    hits.iter().for_each(|&hit| out.fates[hit] = reason.fate());
                }
            }
            if !out.fates.contains(&Fate::Open) {
                break;
            }
        }
        Ok(())
    }

    /// Looks addresses up in one unit; `hits` are those that its root claims.
    fn unit(
        &self,
        offset: usize,
        sorted: &[u64],
        hits: &mut Vec<usize>,
        names: &mut Names<'a, '_>,
        out: &mut Output<'_, '_>,
    ) -> Result<(), Failure> {
        let header = self.dwarf.unit_header(DebugInfoOffset(offset))?;
        let open = |extent| Unit::open(self.dwarf, header, extent, self.budget);
        let root = open(Extent::Root).or_else(|_| open(Extent::Whole))?;
        // Any number of ranges may have the same address.
        let mut is_hit = vec![false; sorted.len()];
        root.root.covered(self.dwarf, &root.gimli, self.budget, sorted, |range| {
            is_hit[range].fill(true);
        })?;
        hits.extend((0..sorted.len()).filter(|&hit| is_hit[hit] && out.fates[hit] == Fate::Open));
        if hits.is_empty() {
            return Ok(());
        }
        let unit = open(Extent::Whole)?;
        let sorted: Vec<u64> = hits.iter().map(|&hit| out.wanted[hit].svma).collect();
        let mut found: Vec<Found> = hits.iter().map(|_| Found::default()).collect();

        let (mut program, _reserved) = line_program(self.dwarf, &unit, self.budget)?.unzip();
        let lines = match &mut program {
            Some(program) => unit::lines(program, self.budget, &sorted, &mut found),
            None => Ok(()),
        };
        self.budget.check()?;
        let header = program.as_ref().map(|program| program.header());
        let files = Files::new(self.dwarf, &unit.gimli, header);
        let reserved = self.budget.reserve(0)?;
        let mut pass = Pass { budget: self.budget, hits, sorted, found, reserved, files, out };
        self.split_or_whole(&unit, offset, names, &mut pass).and(lines)
    }

    /// Takes the functions from where they are: a unit that was split off is
    /// in a package, or in a file of its own.
    fn split_or_whole(
        &self,
        unit: &Unit<'a>,
        offset: usize,
        names: &mut Names<'a, '_>,
        pass: &mut Pass<'_, 'a, '_, '_>,
    ) -> Result<(), Failure> {
        let id = unit.gimli.dwo_id;
        if let (Some(id), Some(package)) = (id, self.package)
            && let Some(dwarf) = package.find_cu(id, self.dwarf)?
        {
            if pass.split(&dwarf, &unit.gimli)? {
                return Ok(());
            }
        } else if let Some(elf) = id.and_then(|_| unit.dwo_file()) {
            let sections = load(&elf, true, self.cache, self.budget, pass.out.tally)?;
            let mut dwarf = sections.borrow(|section| section.bytes());
            dwarf.make_dwo(self.dwarf);
            if pass.split(&dwarf, &unit.gimli)? {
                return Ok(());
            }
        }
        if id.is_some() {
            pass.out.tally.lose_unit(Reason::SplitMissing, 0);
        }
        pass.functions(names, &unit.gimli, offset)
    }
}

/// The unit's line program, its header in memory.
pub(crate) fn line_program<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    budget: &'a Budget<'a>,
) -> Result<Option<(LineProgram<'a>, Reserved<'a>)>, Failure> {
    let Some(offset) = unit.lines else { return Ok(None) };
    let mut header = *gimli::Section::reader(&dwarf.debug_line);
    header.skip(offset.0)?;
    let (_, format) = header.read_initial_length()?;
    let version = header.read_u16()?;
    if version >= 5 {
        header.skip(2)?;
    }
    let header_bytes = header.read_length(format)? as u64;
    let reserved = budget.reserve(header_bytes.saturating_mul(LINE_HEADER_COST))?;
    let program = dwarf.debug_line.program(
        offset,
        unit.gimli.header.address_size(),
        unit.gimli.comp_dir,
        unit.gimli.name,
    )?;
    Ok(Some((program, reserved)))
}

/// The work on one unit.
struct Pass<'p, 'a, 'o, 'b> {
    budget: &'a Budget<'a>,
    /// The addresses of this unit, as indexes into [`Output::wanted`].
    hits: &'p [usize],
    /// Their SVMAs.
    sorted: Vec<u64>,
    found: Vec<Found>,
    /// The memory of `found`.
    reserved: Reserved<'a>,
    files: Files<'a, 'p>,
    out: &'p mut Output<'o, 'b>,
}

impl Pass<'_, '_, '_, '_> {
    /// As [`functions`](Self::functions), of a unit that was split off; false
    /// if it is another unit.
    fn split<'s>(
        &mut self,
        dwarf: &Dwarf<'s>,
        skeleton: &gimli::Unit<Bytes<'s>>,
    ) -> Result<bool, Failure> {
        let header = dwarf.units().next()?.ok_or(gimli::Error::MissingUnitDie)?;
        let mut unit = Unit::open(dwarf, header, Extent::Whole, self.budget)?;
        if unit.gimli.dwo_id != skeleton.dwo_id {
            return Ok(false);
        }
        unit.gimli.copy_relocated_attributes(skeleton);
        self.functions(&mut Names::new(dwarf, None, self.budget)?, &unit.gimli, 0)?;
        Ok(true)
    }

    /// Finds the functions in a unit, and adds the frames to the table.
    fn functions<'s>(
        &mut self,
        names: &mut Names<'s, '_>,
        unit: &gimli::Unit<Bytes<'s>>,
        offset: usize,
    ) -> Result<(), Failure> {
        let functions = unit::functions(
            names.dwarf,
            unit,
            self.budget,
            &self.sorted,
            &mut self.found,
            &mut self.reserved,
        );
        if functions.is_err() {
            self.budget.check()?;
            // Half a list of inlined calls would be wrong.
            self.found.iter_mut().for_each(Found::forget_functions);
        }
        for (&hit, found) in self.hits.iter().zip(&self.found) {
            self.budget.step()?;
            let mut frames = Vec::with_capacity(found.inlined.len() + 1);
            let mut place = found.place;
            let inlined = found.inlined.iter().rev();
            let inlined = inlined.map(|call| (Some(call.function), Some(call.call)));
            for (function, call) in inlined.chain([(found.function, None)]) {
                let symbol = self.out.symbols.get(hit).copied().flatten();
                let function = match function {
                    _ if call.is_none() && symbol.is_some() => symbol,
                    Some(function) => names.of(unit, offset, function, self.out.table)?,
                    None => None,
                };
                let file = match place {
                    Some(place) => self.files.of(place.file, self.out.table)?,
                    None => None,
                };
                let line = place.and_then(|place| u32::try_from(place.line).ok()).unwrap_or(0);
                frames.push(NewFrame { function, file, line, is_inlined: call.is_some() });
                place = call;
            }
            // What could not be read any more is missing from them.
            if self.budget.is_stopped() {
                return Err(Failure::Stopped);
            }
            if frames.iter().any(|frame| frame.function.is_some() || frame.file.is_some()) {
                self.out.table.add(self.out.wanted[hit].avma, &frames)?;
                self.out.fates[hit] = Fate::Found;
            }
        }
        functions
    }
}
