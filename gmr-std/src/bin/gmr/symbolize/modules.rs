//! The section Modules of a report: which file the code of a frame came from.
//!
//! Limits: [`MAX_MODULES`]; what does not fit is said. Two rows are one module
//! if build-id and load bias agree.

use std::collections::{BTreeMap, HashMap};

use gmr_core::symbols::MAX_BUILD_ID_BYTES;

/// As many as a report can have.
pub(super) const MAX_MODULES: usize = 4096;

/// The longest path that is kept, in bytes: the kernel takes no longer one.
/// Escaped, a byte has four.
const MAX_PATH_BYTES: usize = 4 * 4096;

/// One loaded object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Where it was mapped, `start` to before `end`.
    pub(super) start: u64,
    pub(super) end: u64,
    /// What its addresses were moved by.
    pub(super) load_bias: u64,
    pub(super) build_id: Option<Vec<u8>>,
    /// As the report has it: what cannot be shown is escaped there.
    pub(super) path: String,
}

impl Module {
    /// The name that frames have: the last part of the path.
    pub(super) fn name(&self) -> &str {
        name_of(&self.path)
    }
}

fn name_of(path: &str) -> &str {
    match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}

/// Why a frame's module is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It is not in the section.
    NotListed,
    /// Several have the name.
    Ambiguous,
}

/// All of a report.
#[derive(Debug, Default)]
pub(super) struct Modules {
    all: Vec<Module>,
    /// By name; `None` if several have it.
    by_name: HashMap<String, Option<usize>>,
    /// By the first address. What is loaded does not overlap.
    by_start: BTreeMap<u64, usize>,
    /// Rows beyond a limit.
    pub(super) left_out: usize,
}

impl Modules {
    pub(super) fn add(&mut self, module: Module) {
        if self.all.len() >= MAX_MODULES || module.path.len() > MAX_PATH_BYTES {
            self.left_out += 1;
            return;
        }
        let index = self.all.len();
        let all = &self.all;
        self.by_name
            .entry(module.name().to_owned())
            .and_modify(|known| {
                // The same file again gives the same answers.
                let is_same = known.and_then(|known| all.get(known)).is_some_and(|known| {
                    known.build_id.is_some() && known.build_id == module.build_id
                });
                if !is_same {
                    *known = None;
                }
            })
            .or_insert(Some(index));
        self.by_start.entry(module.start).or_insert(index);
        self.all.push(module);
    }

    pub(super) fn all(&self) -> &[Module] {
        &self.all
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn by_name(&self, name: &str) -> Result<usize, Unknown> {
        match self.by_name.get(name) {
            Some(Some(index)) => Ok(*index),
            Some(None) => Err(Unknown::Ambiguous),
            None => Err(Unknown::NotListed),
        }
    }

    /// The module of this name that an address of the process lies in.
    pub(super) fn by_address(&self, address: u64, name: &str) -> Option<usize> {
        let (_, &index) = self.by_start.range(..=address).next_back()?;
        let module = self.all.get(index)?;
        (address < module.end && module.name() == name).then_some(index)
    }
}

/// `0x55d0c8a00000`.
pub(super) fn parse_address(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    // A sign would pass otherwise.
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// A build-id in hexadecimal digits, two a byte.
pub(super) fn parse_build_id(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() || pairs.len() > MAX_BUILD_ID_BYTES {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// The same as text.
pub(super) fn hex(build_id: &[u8]) -> String {
    build_id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(start: u64, path: &str, build_id: Option<&[u8]>) -> Module {
        Module {
            start,
            end: start + 0x1000,
            load_bias: start,
            build_id: build_id.map(<[u8]>::to_vec),
            path: path.to_owned(),
        }
    }

    #[test]
    fn names_and_addresses() {
        let mut modules = Modules::default();
        modules.add(module(0x1000, "/usr/bin/a", Some(b"12")));
        modules.add(module(0x3000, "/opt/a b (deleted)", None));
        modules.add(module(0x5000, "[vdso]", None));
        assert_eq!(modules.by_name("a"), Ok(0));
        assert_eq!(modules.by_name("a b (deleted)"), Ok(1));
        assert_eq!(modules.by_name("[vdso]"), Ok(2));
        assert_eq!(modules.by_name("b"), Err(Unknown::NotListed));
        assert_eq!(modules.by_address(0x1fff, "a"), Some(0));
        assert_eq!(modules.by_address(0x2000, "a"), None);
        assert_eq!(modules.by_address(0xfff, "a"), None);
        assert_eq!(modules.by_address(0x1fff, "b"), None);
        // The same file, mapped twice: no doubt.
        modules.add(module(0x7000, "/usr/bin/a", Some(b"12")));
        assert_eq!(modules.by_name("a"), Ok(0));
        modules.add(module(0x9000, "/opt/a", Some(b"34")));
        assert_eq!(modules.by_name("a"), Err(Unknown::Ambiguous));
        assert_eq!(modules.by_address(0x9000, "a"), Some(4));
        modules.add(module(0xb000, "/usr/bin/a", Some(b"12")));
        assert_eq!(modules.by_name("a"), Err(Unknown::Ambiguous));
    }

    #[test]
    fn limits_are_counted() {
        let mut modules = Modules::default();
        modules.add(module(0, &"x".repeat(MAX_PATH_BYTES + 1), None));
        for start in 0..MAX_MODULES {
            modules.add(module(start as u64, "/a", None));
        }
        assert_eq!(modules.left_out, 1);
        modules.add(module(0, "/a", None));
        assert_eq!((modules.left_out, modules.all().len()), (2, MAX_MODULES));
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_address("0x7f"), Some(0x7f));
        for wrong in ["", "7f", "0x", "0x+1", "0x10000000000000000", "0xg"] {
            assert_eq!(parse_address(wrong), None, "{wrong}");
        }
        assert_eq!(parse_build_id("0aBc"), Some(vec![0x0a, 0xbc]));
        assert_eq!(hex(&[0x0a, 0xbc]), "0abc");
        for wrong in ["", "a", "-", "None", "0ä", &"00".repeat(MAX_BUILD_ID_BYTES + 1)] {
            assert_eq!(parse_build_id(wrong), None, "{wrong}");
        }
    }
}
