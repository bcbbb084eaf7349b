//! The program, built in each way that programs are.
//!
//! All builds lie below `shapes` in the target directory. They are one profile
//! with other settings (`--config`), so that what they have in common is built
//! once: procedural macros always, dependencies where the settings are the same.
//! A build's program is copied to a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the program.
const PROGRAM: &str = "shapes";

/// The operator's command, which extracts tables.
const GMR: &str = env!("CARGO_BIN_EXE_gmr_command");

/// One way to build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Below `tests/shapes`.
    manifest: &'static str,
    profile: &'static str,
    settings: &'static [&'static str],
}

const fn release(name: &'static str, settings: &'static [&'static str]) -> Build {
    Build { name, manifest: "Cargo.toml", profile: "release", settings }
}

/// Those that every test run compares: a build takes minutes.
pub(crate) const USUAL: [Build; 1] = [OWN];

/// Types of the program's own crate alone: what the documentation advises.
pub(crate) const OWN: Build = release("own", &["debug=0", "package.shapes.debug=2"]);

/// The others that have types.
pub(crate) const FURTHER: [Build; 7] = [
    Build { name: "dev", manifest: "Cargo.toml", profile: "dev", settings: &[] },
    release("release", &[]),
    release("abort", &["debug=0", "package.shapes.debug=2", "panic='abort'"]),
    release("thin", &["debug=0", "package.shapes.debug=2", "lto='thin'"]),
    release("fat", &["debug=2", "lto='fat'", "codegen-units=1"]),
    release(
        "packed",
        &["debug=0", "package.shapes.debug=2", "package.shapes.split-debuginfo='packed'"],
    ),
    Build {
        name: "oldest tokio",
        manifest: "oldest/Cargo.toml",
        profile: "release",
        settings: &["debug=0", "package.shapes-oldest.debug=2"],
    },
];

/// Those that have none: a report has to say so.
pub(crate) const WITHOUT_TYPES: [Build; 2] = [
    release("limited", &["debug=0", "package.shapes.debug=1"]),
    release("lines", &["debug=0", "package.shapes.debug='line-tables-only'"]),
];

/// A program that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The build's name.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) path: PathBuf,
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
}

/// Where all builds are.
fn home() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory");
    target.join("shapes")
}

fn directory(name: &str) -> PathBuf {
    let directory = home().join("programs").join(name.replace(' ', "-"));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// Builds the program.
pub(crate) fn make(build: &Build) -> Program {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shapes");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--profile", build.profile]);
    cargo.arg("--manifest-path").arg(source.join(build.manifest));
    cargo.arg("--target-dir").arg(home());
    for setting in build.settings {
        cargo.arg("--config").arg(format!("profile.{}.{setting}", build.profile));
    }
    // Incremental builds would be kept for each of them.
    cargo
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env("CARGO_INCREMENTAL", "0");
    let status = cargo.current_dir(&source).status().expect("cargo");
    assert!(status.success(), "the shapes do not build: {}", build.name);

    let built = home().join(if build.profile == "dev" { "debug" } else { build.profile });
    let name = if build.manifest.starts_with("oldest") { "shapes-oldest" } else { PROGRAM };
    let path = directory(build.name).join(name);
    fs::copy(built.join(name), &path).expect("a copy");
    let packed = built.join(format!("{name}.dwp"));
    if build.settings.iter().any(|setting| setting.contains("packed")) {
        fs::copy(packed, path.with_extension("dwp")).expect("a copy");
    }
    Program { name: build.name, path, arguments: Vec::new() }
}

fn run(program: &str, arguments: &[&OsStr]) {
    let output = Command::new(program).args(arguments).output().expect("a program");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {messages}");
}

/// A copy without symbols and debug information.
fn stripped(from: &Program, name: &'static str) -> Program {
    let path = directory(name).join(PROGRAM);
    run("objcopy", &["--strip-all".as_ref(), from.path.as_ref(), path.as_ref()]);
    Program { name, path, arguments: Vec::new() }
}

/// Stripped, with its debug information in a file beside it.
pub(crate) fn linked(from: &Program) -> Program {
    let copy = stripped(from, "debug file");
    let debug = copy.path.with_extension("debug");
    run("objcopy", &["--only-keep-debug".as_ref(), from.path.as_ref(), debug.as_ref()]);
    let link = format!("--add-gnu-debuglink={}", debug.display());
    run("objcopy", &[link.as_ref(), copy.path.as_ref()]);
    copy
}

/// Its table, made by the command.
fn table(from: &Program, file: &Path) {
    run(GMR, &["await-table".as_ref(), from.path.as_ref(), "-o".as_ref(), file.as_ref()]);
}

/// Stripped, with its table in a file beside it.
pub(crate) fn with_sidecar(from: &Program) -> Program {
    let copy = stripped(from, "sidecar table");
    table(from, &copy.path.with_extension("gmr-await"));
    copy
}

/// Stripped, with its table in a file whose name it is told.
pub(crate) fn with_named_table(from: &Program) -> Program {
    let mut copy = stripped(from, "named table");
    let file = directory("named table").join("a.table");
    table(from, &file);
    copy.arguments.push(format!("--table={}", file.display()));
    copy
}

/// Stripped, with its table in itself.
pub(crate) fn with_section(from: &Program) -> Program {
    let copy = stripped(from, "embedded table");
    let file = directory("embedded table").join("table");
    table(from, &file);
    let section = format!("--add-section=.gmr_await={}", file.display());
    let flags = "--set-section-flags=.gmr_await=noload,readonly";
    run("objcopy", &[section.as_ref(), flags.as_ref(), copy.path.as_ref()]);
    copy
}

/// Stripped, with nothing else.
pub(crate) fn bare(from: &Program) -> Program {
    stripped(from, "stripped")
}
