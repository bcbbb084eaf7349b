//! The files of a module: what has its build-id, and nothing else.
//!
//! 1. In each directory that was given: `.build-id/ab/cdef….debug`, `NAME`,
//!    `NAME.debug`, and the module's whole path below it, with and without
//!    `.debug`.
//! 2. The module's own path, and `/usr/lib/debug/.build-id`.
//! 3. The first with debug information gives the lines, the first with a whole
//!    symbol table the names; what a stripped object keeps of that comes last.
//!
//! The report gives no directory but the module's own path. Of a name that is
//! no plain name, and a path with `..`, nothing is made.
//! `.gnu_debuglink` is not followed: it promises no build-id.

use std::path::{Component, Path, PathBuf};

use gmr_std::offline::{self, DebugFile, Found, Refused};

use super::modules::{Module, hex};

/// Where distributions put debug files.
const SYSTEM: &str = "/usr/lib/debug";

/// What the kernel says of a file that has no name any more.
const DELETED: &str = " (deleted)";

/// Where to look, and for what.
#[derive(Debug)]
pub(crate) struct Places {
    /// As they were given.
    pub(crate) dirs: Vec<PathBuf>,
    /// Whether this machine's own files are looked at as well.
    pub(crate) this_machine: bool,
    /// Whether long generic arguments in names are kept.
    pub(crate) full_names: bool,
}

/// The files that were found for a module.
#[derive(Debug, Default)]
pub(super) struct Files {
    found: Vec<DebugFile>,
    /// One that has the name and not the build-id.
    other: Option<(PathBuf, Option<Vec<u8>>)>,
}

impl Places {
    /// Looks for a module's files.
    pub(super) fn find(&self, module: &Module) -> Files {
        let mut files = Files::default();
        let Some(build_id) = &module.build_id else { return files };
        for path in self.candidates(module, build_id) {
            match DebugFile::open(&path, build_id) {
                Ok(file) => files.found.push(file),
                Err(Refused::OtherBuildId(id)) if files.other.is_none() => {
                    files.other = Some((path, id));
                }
                Err(_) => {}
            }
            if files.lines().is_some() && files.found.iter().any(DebugFile::has_symbols) {
                break;
            }
        }
        files
    }

    fn candidates(&self, module: &Module, build_id: &[u8]) -> Vec<PathBuf> {
        let by_id = by_build_id(build_id);
        let name = plain_name(module);
        let below = plain_path(module);
        let mut paths = Vec::new();
        for dir in &self.dirs {
            paths.extend(by_id.iter().map(|by_id| dir.join(by_id)));
            for inside in [name, below.and_then(|path| path.strip_prefix("/").ok())] {
                paths.extend(inside.map(|inside| dir.join(inside)));
                paths.extend(inside.map(|inside| with_suffix(&dir.join(inside), ".debug")));
            }
        }
        if self.this_machine {
            paths.extend(below.map(Path::to_owned));
            paths.extend(by_id.iter().map(|by_id| Path::new(SYSTEM).join(by_id)));
        }
        paths
    }

    /// Where a module was looked for, in words.
    fn looked_in(&self, module: &Module) -> String {
        let mut places: Vec<String> =
            self.dirs.iter().map(|dir| dir.display().to_string()).collect();
        if self.this_machine {
            places.extend(plain_path(module).map(|path| path.display().to_string()));
            places.push(SYSTEM.to_owned());
        }
        places.join(", ")
    }

    /// Why there is no file, in words.
    pub(super) fn explain(&self, module: &Module, files: &Files) -> String {
        let Some(build_id) = &module.build_id else {
            return "the report states no build-id, so that no file can be known as its".to_owned();
        };
        let other = match &files.other {
            Some((path, Some(id))) => format!(" ({} has {})", path.display(), hex(id)),
            Some((path, None)) => format!(" ({} has none)", path.display()),
            None => String::new(),
        };
        format!(
            "no file with build-id {} found{other}; looked in {}; give --debug-dir",
            hex(build_id),
            self.looked_in(module)
        )
    }

    /// Looks addresses of the module up in its files.
    pub(super) fn look_up(&self, module: &Module, files: &Files, svmas: &[u64]) -> Found {
        let (full, rest): (Vec<_>, Vec<_>) = files.found.iter().partition(|it| it.has_symbols());
        let symbols: Vec<_> = full.into_iter().chain(rest).collect();
        let lines = files.lines();
        let mut packages: Vec<PathBuf> = Vec::new();
        if let Some(lines) = lines {
            packages.push(lines.path().to_owned());
            if lines.path().extension().is_some_and(|extension| extension == "debug") {
                packages.push(lines.path().with_extension(""));
            }
        }
        packages.extend(
            plain_name(module)
                .iter()
                .flat_map(|name| self.dirs.iter().map(move |dir| dir.join(name))),
        );
        if self.this_machine {
            packages.extend(plain_path(module).map(Path::to_owned));
        }
        offline::find(svmas, &symbols, lines, &packages, self.full_names)
    }
}

impl Files {
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The file with debug information.
    pub(super) fn lines(&self) -> Option<&DebugFile> {
        self.found.iter().find(|file| file.has_lines())
    }

    /// Those that were found, in words.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.found.iter().map(|it| it.path().display().to_string()).collect();
        names.join(", ")
    }
}

fn by_build_id(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    Some(PathBuf::from(format!(".build-id/{first:02x}/{}.debug", hex(rest))))
}

/// The last part of a module's path, if that is a name.
fn plain_name(module: &Module) -> Option<&Path> {
    let name = module.name();
    let name = Path::new(name.strip_suffix(DELETED).unwrap_or(name));
    let mut parts = name.components();
    let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    (is_name && !name.as_os_str().as_encoded_bytes().contains(&b'/')).then_some(name)
}

/// A module's path, if it leads nowhere but down.
fn plain_path(module: &Module) -> Option<&Path> {
    let path = Path::new(module.path.strip_suffix(DELETED).unwrap_or(&module.path));
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let leads_down = path.is_absolute() && path.components().all(is_plain);
    (leads_down && plain_name(module).is_some()).then_some(path)
}

/// Whether the module is a file at all; the kernel's own code is none.
pub(super) fn is_file(module: &Module) -> bool {
    module.path.starts_with('/')
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str) -> Module {
        Module {
            start: 0,
            end: 1,
            load_bias: 0,
            build_id: Some(vec![0xab, 0x0c, 0xde]),
            path: path.to_owned(),
        }
    }

    fn candidates(path: &str, this_machine: bool) -> Vec<String> {
        let places = Places { dirs: vec!["/d".into()], this_machine, full_names: false };
        let module = module(path);
        let paths = places.candidates(&module, module.build_id.as_deref().unwrap());
        paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn places() {
        let below = [
            "/d/.build-id/ab/0cde.debug",
            "/d/heat",
            "/d/heat.debug",
            "/d/usr/bin/heat",
            "/d/usr/bin/heat.debug",
        ];
        assert_eq!(candidates("/usr/bin/heat", false), below);
        assert_eq!(candidates("/usr/bin/heat (deleted)", false), below);
        assert_eq!(
            candidates("/usr/bin/heat", true)[5..],
            ["/usr/bin/heat", "/usr/lib/debug/.build-id/ab/0cde.debug"]
        );
    }

    #[test]
    fn a_report_leads_nowhere_else() {
        let by_id = "/d/.build-id/ab/0cde.debug";
        for path in ["", "/", "..", "/..", "/usr/bin/..", "/usr/bin/.", "[vdso]/.."] {
            assert_eq!(candidates(path, false), [by_id], "{path}");
        }
        let name_only = [by_id, "/d/x", "/d/x.debug"];
        for path in ["/../x", "/usr/../x", "x", "a/x", "../../x"] {
            assert_eq!(candidates(path, false), name_only, "{path}");
            assert_eq!(candidates(path, true).len(), 4, "{path}");
        }
    }
}
