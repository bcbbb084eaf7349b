//! Which object an address lies in, by /proc/PID/maps: the oracle for
//! `module+0xoffset`.

use std::collections::BTreeMap;
use std::fs;

/// The mappings of objects.
pub(crate) struct Modules(Vec<Mapping>);

struct Mapping {
    start: u64,
    end: u64,
    /// Where the object's first byte is: its load bias, for all that are linked
    /// for address 0, as these are.
    base: u64,
    name: String,
}

impl Modules {
    pub(crate) fn of(pid: u32) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let mut bases = BTreeMap::new();
        let mut mappings = Vec::new();
        for line in maps.lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [range, _, _, _, _, path] = fields[..] else { continue };
            let (start, end) = range.split_once('-').expect("a range");
            let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).expect(text));
            let base = *bases.entry(path.to_owned()).or_insert(start);
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            mappings.push(Mapping { start, end, base, name });
        }
        Modules(mappings)
    }

    /// No object anywhere.
    pub(crate) fn none() -> Self {
        Modules(Vec::new())
    }

    /// The object's name and the offset in it.
    pub(crate) fn find(&self, address: u64) -> Option<(&str, u64)> {
        let is_in = |mapping: &&Mapping| (mapping.start..mapping.end).contains(&address);
        let mapping = self.0.iter().find(is_in)?;
        Some((&mapping.name, address - mapping.base))
    }
}
