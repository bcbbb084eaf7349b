//! Where the table of an executable comes from.
//!
//! 1. The file that was named at setup.
//! 2. The section [`SECTION`] of the executable.
//! 3. `BUILD-ID.gmr-await` and `EXECUTABLE.gmr-await` beside it.
//! 4. [`build()`] makes it from the debug information.
//!
//! A table is believed if it was made from the executable: build-ids are
//! compared. One that was not is never used, and said in [`Table::refused`].

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::build::{BuildError, Limits, build};
use super::format::{MAX_BYTES, SECTION, SUFFIX};
use super::image::AwaitTable;
use crate::lines::file::{ElfFile, open};
use crate::lines::with_suffix;

/// What a table was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A file that has nothing else.
    File(PathBuf),
    /// The executable's own section.
    Section(PathBuf),
    /// Debug information, just now.
    DebugInfo(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "from {}", path.display()),
            Origin::Section(path) => write!(f, "from section {SECTION} of {}", path.display()),
            Origin::DebugInfo(path) => {
                write!(f, "made from the debug information of {}", path.display())
            }
        }
    }
}

/// The table of an executable: an image that [`AwaitTable::new`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// For [`AwaitTable`].
    pub image: Vec<u8>,
    /// Where it is from.
    pub origin: Origin,
    /// What lay there and was not taken, with the reason: one line each.
    pub refused: Vec<String>,
}

/// `48.1 KiB from /usr/bin/x.gmr-await`
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.image.len();
        write!(f, "{}.{} KiB {}", bytes >> 10, ((bytes & 1023) * 10) >> 10, self.origin)
    }
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// What lay there and was not taken, with the reason: one line each.
    pub refused: Vec<String>,
    /// Why none could be made.
    pub build: BuildError,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refused.iter().try_for_each(|refused| write!(f, "{refused}; "))?;
        write!(f, "{}", self.build)
    }
}

impl std::error::Error for NotFound {}

/// Finds the table of an executable, or makes it. `path` is where the executable
/// lies, `file` the executable itself, if it is open: `/proc/self/exe`, say.
///
/// Blocks for as long as reading takes, up to the limits' deadline.
///
/// # Errors
///
/// [`NotFound`]: there is none, and none can be made.
pub fn find(
    path: &Path,
    file: Option<File>,
    given: Option<&Path>,
    limits: &Limits,
) -> Result<Table, NotFound> {
    let Some(file) = file.or_else(|| open(path).map(|(file, _)| file)) else {
        return Err(NotFound { refused: Vec::new(), build: BuildError::NotReadable });
    };
    let for_building = file.try_clone().ok();
    let Some(elf) = ElfFile::new(file) else {
        return Err(NotFound { refused: Vec::new(), build: BuildError::NotElf });
    };
    // What is over the limit is not a table that we would have made either.
    let mut refused = Vec::new();
    if let Some((image, origin)) = ready(path, &elf, given, limits.memory_bytes, &mut refused) {
        return Ok(Table { image, origin, refused });
    }
    match build(path, for_building, limits) {
        Ok(built) => {
            let origin = Origin::DebugInfo(built.debug_file);
            Ok(Table { image: built.image, origin, refused })
        }
        Err(build) => Err(NotFound { refused, build }),
    }
}

/// A table that was made before.
pub(super) fn ready(
    path: &Path,
    elf: &ElfFile,
    given: Option<&Path>,
    memory_bytes: u64,
    refused: &mut Vec<String>,
) -> Option<(Vec<u8>, Origin)> {
    let build_id = elf.build_id();
    let max_bytes = memory_bytes.min(MAX_BYTES as u64);
    let mut take = |what: String, image: Result<Vec<u8>, String>, is_part| {
        image
            .and_then(|image| check(image, build_id.as_deref(), is_part))
            .map_err(|reason| refused.push(format!("{what}: {reason}")))
            .ok()
    };
    if let Some(given) = given
        && let Some(image) = take(given.display().to_string(), read(given, max_bytes), false)
    {
        return Some((image, Origin::File(given.to_owned())));
    }
    if elf.has(SECTION) {
        let section = elf.contents(SECTION, max_bytes);
        let section = section.ok_or_else(|| "compressed, too large or not readable".to_owned());
        let what = format!("section {SECTION} of {}", path.display());
        if let Some(image) = take(what, section, true) {
            return Some((image, Origin::Section(path.to_owned())));
        }
    }
    beside(path, build_id.as_deref()).into_iter().filter(|file| file.exists()).find_map(|file| {
        let image = take(file.display().to_string(), read(&file, max_bytes), false)?;
        Some((image, Origin::File(file)))
    })
}

/// Files that may have the table of an executable, by their names.
fn beside(path: &Path, build_id: Option<&[u8]>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(build_id) = build_id {
        let name: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        files.push(path.with_file_name(format!("{name}.{SUFFIX}")));
    }
    files.push(with_suffix(path, &format!(".{SUFFIX}")));
    files
}

fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let (file, metadata) = open(path).ok_or("no regular file that can be read")?;
    if metadata.len() > max_bytes {
        return Err("larger than the memory limit".to_owned());
    }
    let mut image = Vec::new();
    let read = file.take(max_bytes).read_to_end(&mut image);
    read.map(|_| image).map_err(|error| error.to_string())
}

/// Whether these bytes are a table of the executable. `is_part` of it: then it
/// is also if there is no build-id to tell by.
fn check(image: Vec<u8>, build_id: Option<&[u8]>, is_part: bool) -> Result<Vec<u8>, String> {
    let table = AwaitTable::new(&image).map_err(|refused| refused.to_string())?;
    match build_id {
        Some(build_id) if table.build_id() == build_id => Ok(image),
        None if is_part && table.build_id().is_empty() => Ok(image),
        Some(_) => Err("the await table of another build; make it anew".to_owned()),
        None => Err("nothing tells whether it belongs to the executable, which has no build-id; \
                     link with --build-id"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::await_table::image::Writer;

    #[test]
    fn a_table_of_another_build_is_refused() {
        let image = |build_id: &[u8]| Writer::new().finish(build_id, "");
        assert!(check(image(&[1, 2]), Some(&[1, 2]), false).is_ok());
        let refusal = check(image(&[1, 2]), Some(&[1, 3]), false).unwrap_err();
        assert!(refusal.contains("another build"), "{refusal}");
        assert!(check(image(&[1, 2]), Some(&[1, 3]), true).is_err());
        // Without a build-id only the executable's own section is believed.
        assert!(check(image(&[]), None, true).is_ok());
        assert!(check(image(&[]), None, false).unwrap_err().contains("--build-id"));
        assert!(check(image(&[1]), None, true).is_err());
        assert!(check(image(&[]), Some(&[1]), true).is_err());
        assert!(check(b"text".to_vec(), Some(&[1]), true).unwrap_err().contains("not an await"));
    }

    #[test]
    fn files_beside_the_executable() {
        assert_eq!(
            beside(Path::new("/usr/bin/x.y"), Some(&[0xab, 0x0c])),
            ["/usr/bin/ab0c.gmr-await", "/usr/bin/x.y.gmr-await"].map(PathBuf::from)
        );
        assert_eq!(beside(Path::new("x"), None), [PathBuf::from("x.gmr-await")]);
    }
}
