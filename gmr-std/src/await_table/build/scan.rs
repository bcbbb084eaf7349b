//! One pass over all debug information: what is to be looked into afterwards.
//!
//! - Vtables: `<T as Future>::{vtable}`, whose type names `T`.
//! - `tokio::runtime::task::raw::poll<T, S>`: the kinds of tasks; and the
//!   `Cell<T, S>` that they are kept in.
//! - `poll` of each `impl Future for T`, by its first parameter.
//! - Locals called `__awaitee`, one for each `.await`: those of an `.await` in a
//!   macro stand at its call. With them the functions that they are in.
//! - tokio's `Handle` and `LocalSet`.
//!
//! Entries are told by their kind, the modules around them and their name, in
//! this order: names cost most.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use gimli::constants as dw;
use gimli::{Abbreviation, AttributeValue, EntriesRaw, Reader};

use super::strings::Strings;
use super::units::{Loaded, Namespace, Slice, Units, Value, file_index};
use crate::lines::budget::Failure;

/// The longest name of a unit that is read, in bytes: a path.
const MAX_UNIT_NAME_BYTES: usize = 4096;

/// The memory of one thing that was found, in a vector that doubles.
const FOUND_COST: u64 = 64;

/// Which trait a vtable is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trait {
    /// `core::future::Future`.
    Future,
    /// `futures_core::Stream`.
    Stream,
    /// gmr-tokio's own, by which it knows the type of a tracked task.
    TypeProbe,
}

/// What was found. Numbers are those of entries.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Address, trait, and the type of the vtable itself.
    pub(super) vtables: Vec<(u64, Trait, u64)>,
    /// Address and function.
    pub(super) polls: Vec<(u64, u64)>,
    pub(super) cells: Vec<u64>,
    pub(super) handles: Vec<u64>,
    pub(super) local_sets: Vec<u64>,
    /// The types of `self` in `impl Future`: `Pin<&mut T>`.
    pub(super) futures: Vec<u64>,
    pub(super) locals: Vec<Local>,
    /// Crates that have code here, and whether their types are here, too.
    pub(super) crates: BTreeMap<String, bool>,
    /// How many entries were looked at.
    pub(super) entries: u64,
    /// Units that could not be read.
    pub(super) damaged_units: usize,
}

/// A local variable called `__awaitee`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    /// The function that it is in.
    pub(super) function: u64,
    pub(super) ty: u64,
    pub(super) unit: usize,
    pub(super) file: u64,
    pub(super) line: u32,
}

/// The modules in which something is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Module {
    Root,
    Tokio,
    Runtime,
    RuntimeHandle,
    RuntimeTask,
    TaskRaw,
    TaskCore,
    Task,
    TaskLocal,
    /// The methods of `impl Trait for T`.
    Impl,
    Other,
}

impl Module {
    fn within(self, name: &str) -> Module {
        match (self, name) {
            (_, name) if name.starts_with("{impl#") => Module::Impl,
            (Module::Root, "tokio") => Module::Tokio,
            (Module::Tokio, "runtime") => Module::Runtime,
            (Module::Runtime, "handle") => Module::RuntimeHandle,
            (Module::Runtime, "task") => Module::RuntimeTask,
            (Module::RuntimeTask, "raw") => Module::TaskRaw,
            (Module::RuntimeTask, "core") => Module::TaskCore,
            (Module::Tokio, "task") => Module::Task,
            (Module::Task, "local") => Module::TaskLocal,
            _ => Module::Other,
        }
    }
}

/// Looks at all units.
pub(super) fn scan<'a>(units: &mut Units<'a>, strings: &mut Strings<'a>) -> Result<Found, Failure> {
    let mut found = Found::default();
    let budget = units.budget();
    let mut reserved = budget.reserve(0)?;
    for index in 0..units.count() {
        budget.check()?;
        let before = found.count();
        let outcome = units.load(index).and_then(|unit| {
            let mut pass = Pass::new(units, strings, &unit, &mut found);
            let namespaces = pass.run()?;
            let has_types = pass.has_types;
            if let Some(name) = crate_of(&unit)? {
                *found.crates.entry(name).or_default() |= has_types;
            }
            Ok(namespaces)
        });
        match outcome.map_err(|failure| budget.explain(failure)) {
            Ok(namespaces) => {
                let all = found.count();
                reserved.grow((all - before) as u64 * FOUND_COST)?;
                if all > before {
                    reserved.grow(namespaces.len() as u64 * size_of::<Namespace>() as u64)?;
                    units.keep_namespaces(index, namespaces);
                }
            }
            Err(Failure::Damaged(_)) => found.damaged_units += 1,
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

/// The modules of a unit alone.
pub(super) fn namespaces<'a>(
    units: &Units<'a>,
    strings: &mut Strings<'a>,
    unit: &Rc<Loaded<'a>>,
) -> Result<Vec<Namespace>, Failure> {
    let mut found = Found::default();
    Pass::new(units, strings, unit, &mut found).run()
}

impl Found {
    fn count(&self) -> usize {
        self.vtables.len()
            + self.polls.len()
            + self.cells.len()
            + self.handles.len()
            + self.local_sets.len()
            + self.futures.len()
            + self.locals.len()
    }
}

/// The pass over one unit.
struct Pass<'p, 'a> {
    units: &'p Units<'a>,
    strings: &'p mut Strings<'a>,
    unit: &'p Loaded<'a>,
    found: &'p mut Found,
    /// Depth of the `poll` whose first parameter is still to come.
    poll: Option<isize>,
    /// The functions that we are in, with their depths.
    functions: Vec<(isize, u64)>,
    /// There are fields of types, not functions alone.
    has_types: bool,
}

/// What is read of an entry here.
#[derive(Default)]
struct Attributes<'b> {
    name: Option<Value<'b>>,
    ty: Option<u64>,
    low_pc: Option<Value<'b>>,
    origin: Option<u64>,
    location: Option<Slice<'b>>,
    bytes: u64,
    file: u64,
    line: u64,
}

impl<'p, 'a> Pass<'p, 'a> {
    fn new(
        units: &'p Units<'a>,
        strings: &'p mut Strings<'a>,
        unit: &'p Loaded<'a>,
        found: &'p mut Found,
    ) -> Self {
        Pass { units, strings, unit, found, poll: None, functions: Vec::new(), has_types: false }
    }

    fn run(&mut self) -> Result<Vec<Namespace>, Failure> {
        let budget = self.units.budget();
        let mut entries = self.unit.entries(None)?;
        let mut namespaces: Vec<Namespace> = Vec::new();
        // The modules that we are in: depth, number, what is looked for there.
        let mut inside: Vec<(isize, u32, Module)> = Vec::new();
        // `poll<T, S>` without an address, and copies of functions with one.
        let (mut abstract_polls, mut copies) = (HashSet::new(), Vec::new());
        let mut seen = HashSet::new();
        while !entries.is_empty() {
            budget.step()?;
            let (offset, depth) = (entries.next_offset(), entries.next_depth());
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            self.found.entries += 1;
            let short = u32::try_from(offset.0).map_err(|_| gimli::Error::UnsupportedOffset)?;
            while let Some(&(outer, index, _)) = inside.last()
                && outer >= depth
            {
                inside.pop();
                if let Some(namespace) = namespaces.get_mut(index as usize) {
                    namespace.end = short;
                }
            }
            if self.poll.is_some_and(|poll| poll >= depth) {
                self.poll = None;
            }
            while self.functions.last().is_some_and(|&(outer, _)| outer >= depth) {
                self.functions.pop();
            }
            if abbreviation.tag() == dw::DW_TAG_subprogram {
                self.functions.push((depth, self.unit.at(offset)));
            }
            let module = inside.last().map_or(Module::Root, |&(_, _, module)| module);
            let at = self.unit.at(offset);
            match abbreviation.tag() {
                dw::DW_TAG_namespace => {
                    let read = self.attributes(&mut entries, abbreviation)?;
                    let name = match &read.name {
                        Some(name) => self.text(name)?,
                        None => self.text(&AttributeValue::String(Slice::default()))?,
                    };
                    let module = module.within(self.strings.get(name));
                    let parent = inside.last().map(|&(_, index, _)| index);
                    inside.push((depth, namespaces.len() as u32, module));
                    namespaces.push(Namespace { start: short, end: u32::MAX, parent, name });
                }
                dw::DW_TAG_subprogram if matches!(module, Module::TaskRaw | Module::Impl) => {
                    let read = self.attributes(&mut entries, abbreviation)?;
                    let address = self.address(&read)?;
                    let name = match &read.name {
                        Some(name) => {
                            let name = self.text(name)?;
                            Rc::clone(self.strings.get(name))
                        }
                        None => Rc::from(""),
                    };
                    match (module, address) {
                        (Module::TaskRaw, Some(svma)) if name.starts_with("poll<") => {
                            self.found.polls.push((svma, at));
                        }
                        (Module::TaskRaw, None) if name.starts_with("poll<") => {
                            abstract_polls.insert(at);
                        }
                        (Module::Impl, _) if &*name == "poll" || name.starts_with("poll<") => {
                            self.poll = Some(depth);
                        }
                        _ => {}
                    }
                    if let (Some(svma), Some(origin)) = (address, read.origin) {
                        copies.push((svma, origin));
                    }
                }
                dw::DW_TAG_subprogram if depth == 1 => {
                    let read = self.attributes(&mut entries, abbreviation)?;
                    if let (Some(svma), Some(origin)) = (self.address(&read)?, read.origin) {
                        copies.push((svma, origin));
                    }
                }
                dw::DW_TAG_formal_parameter if self.poll == Some(depth - 1) => {
                    self.poll = None;
                    let read = self.attributes(&mut entries, abbreviation)?;
                    if let Some(ty) = read.ty
                        && seen.insert(ty)
                    {
                        self.found.futures.push(ty);
                    }
                }
                dw::DW_TAG_structure_type => {
                    self.structure(&mut entries, abbreviation, module, at)?;
                }
                dw::DW_TAG_variable => {
                    let read = self.attributes(&mut entries, abbreviation)?;
                    if let Some(name) = &read.name {
                        let name = self.text(name)?;
                        let name = Rc::clone(self.strings.get(name));
                        self.variable(&read, &name, depth)?;
                    }
                }
                tag => {
                    self.has_types |= tag == dw::DW_TAG_member;
                    budget.steps(abbreviation.attributes().len())?;
                    entries.skip_attributes(abbreviation.attributes())?;
                }
            }
        }
        let copies = copies.into_iter().filter(|(_, origin)| abstract_polls.contains(origin));
        self.found.polls.extend(copies);
        Ok(namespaces)
    }

    fn structure<'b>(
        &mut self,
        entries: &mut EntriesRaw<'_, Slice<'b>>,
        abbreviation: &Abbreviation,
        module: Module,
        at: u64,
    ) -> Result<(), Failure> {
        if !matches!(module, Module::TaskCore | Module::RuntimeHandle | Module::TaskLocal) {
            self.units.budget().steps(abbreviation.attributes().len())?;
            return Ok(entries.skip_attributes(abbreviation.attributes())?);
        }
        let read = self.attributes(entries, abbreviation)?;
        let Some(name) = &read.name else { return Ok(()) };
        let name = self.text(name)?;
        let name = self.strings.get(name);
        // Without a size it is only mentioned.
        match module {
            _ if read.bytes == 0 => {}
            Module::TaskCore if name.starts_with("Cell<") => self.found.cells.push(at),
            Module::RuntimeHandle if &**name == "Handle" => self.found.handles.push(at),
            Module::TaskLocal if &**name == "LocalSet" => self.found.local_sets.push(at),
            _ => {}
        }
        Ok(())
    }

    fn variable(&mut self, read: &Attributes<'_>, name: &str, depth: isize) -> Result<(), Failure> {
        let Some(ty) = read.ty else { return Ok(()) };
        if depth > 1 {
            if name == "__awaitee"
                && let Some(&(_, function)) = self.functions.last()
                && let Ok(line @ 1..) = u32::try_from(read.line)
            {
                let unit = self.unit.index;
                self.found.locals.push(Local { function, ty, unit, file: read.file, line });
            }
            return Ok(());
        }
        let Some(kind) = vtable_of(name) else { return Ok(()) };
        let Some(mut location) = read.location else { return Ok(()) };
        let address = match gimli::DwOp(location.read_u8()?) {
            dw::DW_OP_addr => location.read_u64()?,
            dw::DW_OP_addrx | dw::DW_OP_GNU_addr_index => {
                let index = gimli::DebugAddrIndex(location.read_uleb128()? as usize);
                self.units.dwarf(self.unit).address(self.unit.gimli(), index)?
            }
            _ => return Ok(()),
        };
        if is_there(address) {
            self.found.vtables.push((address, kind, ty));
        }
        Ok(())
    }

    fn text(&mut self, value: &Value<'_>) -> Result<super::strings::Text, Failure> {
        self.strings.read(self.units.dwarf(self.unit), self.unit.gimli(), value)
    }

    fn address(&self, read: &Attributes<'_>) -> Result<Option<u64>, Failure> {
        let address = match read.low_pc {
            Some(AttributeValue::Addr(address)) => Some(address),
            Some(AttributeValue::DebugAddrIndex(index)) => {
                Some(self.units.dwarf(self.unit).address(self.unit.gimli(), index)?)
            }
            _ => None,
        };
        Ok(address.filter(|&address| is_there(address)))
    }

    fn attributes<'b>(
        &self,
        entries: &mut EntriesRaw<'_, Slice<'b>>,
        abbreviation: &Abbreviation,
    ) -> Result<Attributes<'b>, Failure> {
        self.units.budget().steps(abbreviation.attributes().len())?;
        let mut out = Attributes::default();
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec)?;
            let value = attribute.value();
            match attribute.name() {
                dw::DW_AT_name => out.name = Some(value),
                dw::DW_AT_type => out.ty = self.unit.reference(&value),
                dw::DW_AT_low_pc => out.low_pc = Some(value),
                dw::DW_AT_abstract_origin | dw::DW_AT_specification => {
                    out.origin = self.unit.reference(&value);
                }
                dw::DW_AT_location => {
                    if let AttributeValue::Exprloc(expression) = value {
                        out.location = Some(expression.0);
                    }
                }
                dw::DW_AT_byte_size => out.bytes = value.udata_value().unwrap_or(0),
                dw::DW_AT_decl_file => out.file = file_index(&value),
                dw::DW_AT_decl_line => out.line = value.udata_value().unwrap_or(0),
                _ => {}
            }
        }
        Ok(out)
    }
}

/// The crate that a unit is of: rustc calls it `…/lib.rs/@/CRATE.HASH-cgu.0`.
fn crate_of(unit: &Loaded<'_>) -> Result<Option<String>, Failure> {
    let Some(name) = unit.gimli().name else { return Ok(None) };
    let name = name.prefix(MAX_UNIT_NAME_BYTES)?;
    Ok(crate_in(&String::from_utf8_lossy(&name)).map(str::to_owned))
}

fn crate_in(unit: &str) -> Option<&str> {
    let (file, part) = unit.rsplit_once("/@/")?;
    // Of an incremental build the part is but a hash.
    if let Some((name, _)) = part.split_once('.') {
        return Some(name);
    }
    let package = file.split_once("/registry/src/").and_then(|(_, path)| path.split('/').nth(1));
    Some(package.unwrap_or(file))
}

/// Whether code or data is at an address: what a linker has dropped is at 0, or
/// at the very end.
fn is_there(address: u64) -> bool {
    address != 0 && address < u64::MAX - 1
}

/// The trait in `<T as Trait>::{vtable}`, if it is one of those that we want.
fn vtable_of(name: &str) -> Option<Trait> {
    let name = name.strip_suffix(">::{vtable}")?;
    // `T` may have an ` as ` of its own: the last one outside of its brackets.
    // Arguments of the trait: `Future<Output=u8>`, or none.
    let path = match name.strip_suffix('>') {
        Some(_) => name.get(..opening(name)?)?,
        None => name,
    };
    let (_, path) = path.rsplit_once(" as ")?;
    match path {
        "core::future::future::Future" => Some(Trait::Future),
        "futures_core::stream::Stream" => Some(Trait::Stream),
        path if path.ends_with("::TypeProbe") => Some(Trait::TypeProbe),
        _ => None,
    }
}

/// Where the last pair of angle brackets begins.
fn opening(name: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = name.as_bytes();
    for (at, byte) in bytes.iter().enumerate().rev() {
        match byte {
            // The arrow of a function's type is no bracket.
            b'>' if at > 0 && bytes.get(at - 1) == Some(&b'-') => {}
            b'>' => depth += 1,
            b'<' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_of_a_unit() {
        assert_eq!(crate_in("app/src/main.rs/@/app.5bee1c51-cgu.0"), Some("app"));
        assert_eq!(crate_in("app/src/main.rs/@/00489yut7k3x99k7oyft"), Some("app/src/main.rs"));
        assert_eq!(
            crate_in("/x/registry/src/index-1/tokio-1.54.1/src/lib.rs/@/00489yut7k3x9"),
            Some("tokio-1.54.1")
        );
        assert_eq!(crate_in("main.c"), None);
    }

    #[test]
    fn the_trait_of_a_vtable() {
        let of = |name: &str| vtable_of(&format!("{name}::{{vtable}}"));
        assert_eq!(of("<a::b as core::future::future::Future>"), Some(Trait::Future));
        assert_eq!(of("<a as core::future::future::Future<Output=u8>>"), Some(Trait::Future));
        assert_eq!(
            of("<a<fn(u8) -> u8> as core::future::future::Future<Output=fn() -> b<c>>>"),
            Some(Trait::Future)
        );
        assert_eq!(of("<a as futures_core::stream::Stream<Item=()>>"), Some(Trait::Stream));
        assert_eq!(of("<a as gmr_tokio::tracked::TypeProbe>"), Some(Trait::TypeProbe));
        assert_eq!(of("<a<dyn core::future::future::Future> as core::fmt::Debug>"), None);
        assert_eq!(of("<a as core::fmt::Debug<core::future::future::Future>>"), None);
        assert_eq!(vtable_of("core::future::future::Future"), None);
    }
}
