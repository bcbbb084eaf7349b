//! stub
use std::path::PathBuf;
pub(crate) struct Object {
    pub path: Vec<u8>,
    pub file: Option<std::fs::File>,
    pub build_id: Option<Vec<u8>>,
    pub device_inode: Option<(u64, u64)>,
    pub is_executable: bool,
    pub wanted: Vec<Wanted>,
}
pub(crate) struct Wanted {
    pub avma: u64,
    pub svma: u64,
}
pub(crate) struct Limits<'a> {
    pub memory_bytes: u64,
    pub deadline: std::time::Instant,
    pub is_wanted: &'a dyn Fn() -> bool,
    pub debug_dirs: &'a [PathBuf],
    pub system_libraries: bool,
}
pub(crate) fn resolve(_objects: Vec<Object>, _limits: &Limits<'_>) -> LineTable {
    LineTable
}
pub(crate) struct LineTable;
impl LineTable {
    pub(crate) fn frames(&self, _avma: u64) -> impl Iterator<Item = LineFrame<'_>> {
        core::iter::empty()
    }
    pub(crate) fn summary(&self) -> &str {
        "stub"
    }
    pub(crate) fn was_cut(&self) -> bool {
        false
    }
}
pub(crate) struct LineFrame<'a> {
    pub function: Option<&'a str>,
    pub function_truncated: bool,
    pub file: Option<&'a str>,
    pub line: Option<u32>,
    pub is_inlined: bool,
}
pub(crate) fn default_memory_bytes() -> u64 {
    64 << 20
}
