//! The names of one report, in memory that was set aside at setup.
//!
//! Names are appended and never freed one by one; [`NameArena::clear`] makes
//! room for the next report. A name that no longer fits is dropped whole and
//! counted, so that the report can say how many are missing.

use super::demangle::{Cut, MAX_NAME_BYTES, copy_into, demangle_full_into, demangle_into};

/// Where a name lies in its arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRef {
    /// In bytes from the start of the arena.
    pub(crate) offset: u32,
    /// In bytes.
    pub(crate) len: u16,
    /// The name was longer than [`MAX_NAME_BYTES`] and was cut.
    pub truncated: bool,
}

const _: () = assert!(MAX_NAME_BYTES <= u16::MAX as usize, "NameRef::len holds any name");

/// A bump arena for names.
#[derive(Debug)]
pub struct NameArena<'a> {
    memory: &'a mut [u8],
    used: usize,
    lost: u32,
    keeps_full_names: bool,
}

impl<'a> NameArena<'a> {
    /// An empty arena over `memory`. Beyond 4 GiB memory is not used.
    pub fn new(memory: &'a mut [u8]) -> Self {
        NameArena { memory, used: 0, lost: 0, keeps_full_names: false }
    }

    /// Whether names are stored with all their generic arguments
    /// ([`demangle_full_into`]); by default long ones are left out.
    pub fn keep_full_names(&mut self, are_full: bool) {
        self.keeps_full_names = are_full;
    }

    /// Stores `name` as it is, cut at [`MAX_NAME_BYTES`].
    ///
    /// `None` if the arena is full; that is counted in [`lost`](Self::lost).
    pub fn push(&mut self, name: &str) -> Option<NameRef> {
        self.fill(|out| copy_into(name, out, false))
    }

    /// Stores `mangled` demangled (see [`demangle_into`] and
    /// [`keep_full_names`](Self::keep_full_names)).
    ///
    /// `None` if the arena is full; that is counted in [`lost`](Self::lost).
    pub fn push_demangled(&mut self, mangled: &str) -> Option<NameRef> {
        let demangle = if self.keeps_full_names { demangle_full_into } else { demangle_into };
        self.fill(|out| demangle(mangled, out))
    }

    /// The name behind `name`. Empty for a reference that is not of this
    /// arena, or from before [`clear`](Self::clear).
    #[must_use]
    pub fn get(&self, name: NameRef) -> &str {
        let start = usize::try_from(name.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::from(name.len));
        let stored = self.memory.get(..self.used).and_then(|used| used.get(start..end));
        stored.and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// How many bytes are taken.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used
    }

    /// How many names did not fit since the last [`clear`](Self::clear).
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// Forgets all names.
    pub fn clear(&mut self) {
        self.used = 0;
        self.lost = 0;
    }

    /// Lets `write` put a name straight into the free part: no copy on the
    /// stack.
    fn fill(&mut self, write: impl FnOnce(&mut [u8]) -> Cut) -> Option<NameRef> {
        let name = self.try_fill(write);
        if name.is_none() {
            self.lost = self.lost.saturating_add(1);
        }
        name
    }

    fn try_fill(&mut self, write: impl FnOnce(&mut [u8]) -> Cut) -> Option<NameRef> {
        let offset = u32::try_from(self.used).ok()?;
        let free = self.memory.get_mut(self.used..)?;
        let room = free.len();
        let cut = write(free);
        // Cut by our own limit is a name; cut by the arena's end is not.
        if cut.truncated && room < MAX_NAME_BYTES {
            return None;
        }
        let end = self.used.checked_add(cut.len).filter(|&end| end <= self.memory.len())?;
        let len = u16::try_from(cut.len).ok()?;
        self.used = end;
        Some(NameRef { offset, len, truncated: cut.truncated })
    }
}
