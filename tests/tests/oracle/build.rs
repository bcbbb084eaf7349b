//! The corpus, built in each way that programs are.
//!
//! All builds lie below `corpus` in the target directory, each flag set in a
//! directory of its own, so that none makes another stale. What has separate
//! debug files is made from the release build by objcopy.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of a build that are looked at: the program and what it loads.
pub(crate) const OBJECTS: [&str; 2] = ["corpus", "libcorpus_plugin.so"];

/// The name of libc's file.
pub(crate) const LIBC: &str = "libc.so.6";

/// Where distributions put separate debug files.
const SYSTEM_DEBUG_DIR: &str = "/usr/lib/debug";

/// One way to build.
pub(crate) struct Build {
    /// What it is called, here and in the list of known differences.
    pub(crate) name: &'static str,
    profile: &'static str,
    flags: &'static str,
}

const fn build(name: &'static str, profile: &'static str, flags: &'static str) -> Build {
    Build { name, profile, flags }
}

/// The two that every test run compares.
pub(crate) const USUAL: [Build; 2] = [build("debug", "dev", ""), build("release", "release", "")];

/// The others.
pub(crate) const FURTHER: [Build; 6] = [
    build("debug-fp", "dev", "-C force-frame-pointers=yes"),
    build("release-fp", "release", "-C force-frame-pointers=yes"),
    build("lines", "lines", ""),
    build("lto", "lto", ""),
    build("packed", "packed", ""),
    build("v0", "release", "-C symbol-mangling-version=v0"),
];

/// A build that can be run.
#[derive(Clone)]
pub(crate) struct Corpus {
    /// The build's name.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: PathBuf,
    /// What has its debug information in other files: where those are.
    pub(crate) debug_dir: Option<PathBuf>,
    /// The same program with its symbols.
    pub(crate) whole: PathBuf,
}

/// Where all builds are.
fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory");
    target.join("corpus")
}

/// Builds the corpus.
pub(crate) fn make(build: &Build) -> Corpus {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let target = if build.flags.is_empty() { home() } else { home().join(build.name) };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--workspace", "--profile", build.profile])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&source)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", build.flags)
        .status()
        .expect("cargo");
    assert!(status.success(), "the corpus does not build: {}", build.name);
    let directory = if build.profile == "dev" { "debug" } else { build.profile };
    let program = target.join(directory).join(OBJECTS[0]);
    Corpus { name: build.name, whole: program.clone(), program, debug_dir: None }
}

fn run(program: &str, arguments: &[&OsStr]) {
    let status = Command::new(program).args(arguments).status();
    let is_done = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(is_done, "{program} {arguments:?}: {status:?}");
}

/// A copy of the release build without its debug information, which lies
/// beside it, found by name (`.gnu_debuglink`).
pub(crate) fn linked(release: &Corpus) -> Corpus {
    let directory = home().join("linked");
    fs::create_dir_all(&directory).expect("a directory");
    for object in OBJECTS {
        let (from, to) = (release.program.with_file_name(object), directory.join(object));
        let debug = directory.join(format!("{object}.debug"));
        run("objcopy", &["--only-keep-debug".as_ref(), from.as_ref(), debug.as_ref()]);
        let mut link = OsString::from("--add-gnu-debuglink=");
        link.push(&debug);
        run("objcopy", &["--strip-all".as_ref(), &link, from.as_ref(), to.as_ref()]);
    }
    let program = directory.join(OBJECTS[0]);
    Corpus { name: "linked", program, debug_dir: None, whole: release.whole.clone() }
}

/// A copy with compressed sections.
pub(crate) fn compressed(release: &Corpus) -> Corpus {
    let directory = home().join("compressed");
    fs::create_dir_all(&directory).expect("a directory");
    for object in OBJECTS {
        let (from, to) = (release.program.with_file_name(object), directory.join(object));
        run("objcopy", &["--compress-debug-sections=zlib".as_ref(), from.as_ref(), to.as_ref()]);
    }
    let program = directory.join(OBJECTS[0]);
    Corpus { name: "compressed", program, debug_dir: None, whole: release.whole.clone() }
}

/// As [`linked`], with debug files in a directory of build-ids.
pub(crate) fn by_build_id(release: &Corpus) -> Corpus {
    let directory = home().join("build-id");
    let debug_dir = directory.join("debug");
    for object in OBJECTS {
        let (from, to) = (release.program.with_file_name(object), directory.join(object));
        let debug = debug_file(&from, &debug_dir);
        fs::create_dir_all(debug.parent().expect("a directory")).expect("a directory");
        run("objcopy", &["--only-keep-debug".as_ref(), from.as_ref(), debug.as_ref()]);
        run("objcopy", &["--strip-all".as_ref(), from.as_ref(), to.as_ref()]);
    }
    let program = directory.join(OBJECTS[0]);
    Corpus { name: "build-id", program, debug_dir: Some(debug_dir), whole: release.whole.clone() }
}

/// The same program, with the debug information of libc.
pub(crate) fn with_system(release: &Corpus) -> Option<Corpus> {
    let debug_dir = PathBuf::from(SYSTEM_DEBUG_DIR);
    let is_there = debug_file(&libc()?, &debug_dir).exists();
    is_there.then(|| Corpus { name: "system", debug_dir: Some(debug_dir), ..release.clone() })
}

/// Flags of C, and what the threads in it are called after.
const C_FLAGS: [(&str, &str); 5] = [
    ("c_o0", "-g -O0"),
    ("c_o2", "-g -O2"),
    ("c_bare", "-O2"),
    ("c_none", "-g -O2 -fno-asynchronous-unwind-tables -fomit-frame-pointer"),
    ("c_fp", "-g -O2 -fno-asynchronous-unwind-tables -fno-omit-frame-pointer"),
];

/// C, compiled in each of several ways; the directory of the libraries.
pub(crate) fn make_c() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/src/shapes.c");
    let directory = home().join("c");
    fs::create_dir_all(&directory).expect("a directory");
    for (name, flags) in C_FLAGS {
        let library = directory.join(format!("libc_{name}.so"));
        let mut arguments: Vec<&OsStr> = flags.split(' ').map(OsStr::new).collect();
        arguments.extend(["-shared", "-fPIC", "-o"].map(OsStr::new));
        arguments.extend([library.as_os_str(), source.as_os_str()]);
        run("cc", &arguments);
    }
    directory
}

/// The libc of this process, and of every other.
pub(crate) fn libc() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").expect("our maps");
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let is_libc = |path: &&str| path.rsplit('/').next() == Some(LIBC);
    paths.find(is_libc).map(PathBuf::from)
}

/// Where the debug file of an object is, or would be.
pub(crate) fn debug_file(object: &Path, debug_dir: &Path) -> PathBuf {
    let id = build_id(object);
    debug_dir.join(".build-id").join(&id[..2]).join(format!("{}.debug", &id[2..]))
}

fn build_id(object: &Path) -> String {
    let output = Command::new("readelf").arg("-nW").arg(object).output().expect("readelf");
    let text = String::from_utf8_lossy(&output.stdout);
    let id = text.split("Build ID: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    id.unwrap_or_else(|| panic!("{} has no build-id", object.display())).to_owned()
}
