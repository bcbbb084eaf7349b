//! Sources of libraries: whether a line of them is one at which something waits.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::{fs, path::Path};

type Lines = Option<Vec<String>>;

/// `None`: there is no such file here (those of the standard library, unless
/// `rust-src` is installed).
pub(crate) fn is_at_an_await(file: &str, line: u32) -> Option<bool> {
    static FILES: OnceLock<Mutex<HashMap<String, Lines>>> = OnceLock::new();
    let mut files = FILES.get_or_init(Mutex::default).lock().expect("a lock");
    let lines = files.entry(file.to_owned()).or_insert_with(|| {
        let text = fs::read_to_string(Path::new(file)).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    });
    let lines = lines.as_ref()?;
    let line = lines.get(usize::try_from(line).ok()?.checked_sub(1)?).map_or("", |line| line);
    // A macro's call stands for the awaits in it.
    let waits = [".await", "select!", "join!", "ready!", "await!"];
    Some(waits.iter().any(|word| line.contains(word)))
}
