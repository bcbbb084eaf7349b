//! The await table of a real program: its lines against the marks in the
//! source, and every way in which a stripped program can come by it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gmr_std::await_table::format::{Kind, SchedulerKind, StateKind, type_flag};
use gmr_std::await_table::image::AwaitTable;
use gmr_std::await_table::{BuildError, Limits, Origin, build, find};

const PROGRAM: &str = env!("CARGO_BIN_EXE_awaiting");
const GMR: &str = env!("CARGO_BIN_EXE_gmr_command");
const SOURCE: &str = include_str!("../src/bin/awaiting.rs");

/// A directory that is removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("await-table-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        Directory(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The program without anything but what it needs to run.
    fn stripped(&self) -> PathBuf {
        let path = self.file("program");
        must("strip", &["-o".as_ref(), path.as_ref(), PROGRAM.as_ref()]);
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn must(program: &str, arguments: &[&std::ffi::OsStr]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The command: exit code, and both outputs.
fn gmr(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String) {
    let output = Command::new(GMR).args(arguments).output().expect("gmr");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("UTF-8"))
}

fn limits() -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        deadline: Instant::now() + Duration::from_secs(60),
        debug_dirs: Vec::new(),
    }
}

fn image() -> Vec<u8> {
    build(Path::new(PROGRAM), None, &limits()).expect("a table").image
}

/// The line of a mark.
fn line(mark: &str) -> u32 {
    let mark = format!("// {mark}");
    let at = SOURCE.lines().position(|line| line.ends_with(&mark)).expect("a mark");
    at as u32 + 1
}

/// Where a coroutine is suspended: line, whether it is a macro's, and the name of
/// what is awaited.
fn stops(table: &AwaitTable<'_>, name: &str) -> Vec<(u32, bool, String)> {
    let types = (0..table.type_count()).filter_map(|index| table.ty(index));
    let found: Vec<_> = types.filter(|ty| ty.name == name).collect();
    let [ty] = found[..] else { panic!("{} types called {name}", found.len()) };
    let Kind::Coroutine { first, count, .. } = ty.kind else { panic!("{ty:?}") };
    (first..first + count)
        .filter_map(|index| table.state(index))
        .filter(|state| state.kind == StateKind::Suspended)
        .map(|state| {
            assert_eq!(state.file, "tests/src/bin/awaiting.rs");
            let awaitee = state.awaitee.and_then(|field| table.ty(field.ty)).expect("an awaitee");
            (state.line, state.is_in_macro, awaitee.name.to_owned())
        })
        .collect()
}

#[test]
fn lines_and_names_are_those_of_the_source() {
    let image = image();
    let table = AwaitTable::new(&image).expect("a table");
    let stop = |name: &str, mark: &str, awaitee: &str| {
        let stops = stops(&table, name);
        let [(at, false, there)] = &stops[..] else { panic!("{name}: {stops:?}") };
        assert_eq!((*at, &**there), (line(mark), awaitee), "{name}");
    };
    stop("awaiting::outer", "outer", "awaiting::inner<&str>");
    stop("awaiting::inner<&str>", "inner", "tokio::time::sleep::Sleep");
    stop("awaiting::receive", "receive", "tokio::sync::oneshot::Receiver<u8>");
    stop("awaiting::spawned", "spawned", "tokio::runtime::task::join::JoinHandle<()>");
    stop("awaiting::boxed::{async_block#0}", "boxed", "awaiting::outer");
    stop("awaiting::Store::add", "add", "tokio::sync::mutex::Mutex<T>::lock<u32>");
    let both = stops(&table, "awaiting::both");
    assert_eq!(both.len(), 2);
    assert_eq!((both[0].0, both[0].1), (line("both"), false));
    assert_eq!((both[1].0, both[1].1), (line("join"), false));
    // The compiler says of a macro in the same file only where the macro is.
    assert_eq!(
        stops(&table, "awaiting::in_macro"),
        [(line("own macro"), true, "awaiting::outer".to_owned())]
    );
}

#[test]
fn tasks_have_their_layouts() {
    let image = image();
    let table = AwaitTable::new(&image).expect("a table");
    let tasks: Vec<_> = (0..table.task_count()).filter_map(|index| table.task(index)).collect();
    let of = |future: &str| {
        let name = |task: &&gmr_std::await_table::format::Task<&str>| {
            table.ty(task.future).is_some_and(|ty| ty.name == future)
        };
        *tasks.iter().find(name).unwrap_or_else(|| panic!("no task of {future}"))
    };
    // Each kind of runtime has its own kinds of task.
    let schedulers: Vec<_> =
        (0..table.scheduler_count()).filter_map(|index| table.scheduler(index)).collect();
    for kind in [SchedulerKind::MultiThread, SchedulerKind::CurrentThread] {
        let of = schedulers.iter().filter(|scheduler| scheduler.kind == kind);
        assert_eq!(of.count(), 1, "{schedulers:?}");
    }
    let task = of("awaiting::both");
    assert_eq!((task.file, task.line), ("tests/src/bin/awaiting.rs", line("both") - 1));
    assert!(task.stage_offset <= task.tag_offset && task.tag_offset < task.future_offset);
    let future = table.ty(task.future).expect("a type");
    assert!(task.future_offset + future.size <= task.stage_offset + task.stage_bytes);
    assert!(task.stage_offset + task.stage_bytes <= task.trailer_offset);
    assert!(task.trailer_offset < task.cell_bytes);
    let blocking = "tokio::runtime::blocking::task::BlockingTask<\
                    awaiting::main::{async_block#0}::{closure#0}>";
    let blocking = table.scheduler(of(blocking).scheduler).expect("a scheduler");
    assert_eq!(blocking.kind, SchedulerKind::Blocking);
    let entries = table.entries().expect("layouts");
    assert_ne!(entries.vtable_trailer, entries.vtable_scheduler);
    // The vtable of the one boxed future.
    let boxed = (0..table.vtable_count())
        .filter_map(|index| table.ty(table.vtable(index)?.ty))
        .filter(|ty| ty.name == "awaiting::boxed::{async_block#0}");
    assert_eq!(boxed.count(), 1);
    let sleep = (0..table.type_count())
        .filter_map(|index| table.ty(index))
        .find(|ty| ty.name == "tokio::time::sleep::Sleep");
    assert_eq!(sleep.map(|ty| ty.flags), Some(type_flag::LEAF));
}

#[test]
fn a_stripped_program_takes_a_table_that_is_its_own() {
    let directory = Directory::new("stripped");
    let program = directory.stripped();
    let none = find(&program, None, None, &limits()).expect_err("nothing to make it from");
    assert_eq!(none.build, BuildError::NoDebugInfo);

    let beside = directory.file("program.gmr-await");
    let (code, text) =
        gmr(&["await-table".as_ref(), PROGRAM.as_ref(), "-o".as_ref(), beside.as_ref()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("kinds of task") && text.contains("objcopy --add-section"), "{text}");
    let image = fs::read(&beside).expect("the table");
    let table = find(&program, None, None, &limits()).expect("the table");
    assert_eq!((&table.image, table.origin), (&image, Origin::File(beside.clone())));

    // By its build-id, whatever the program is called.
    let id: String = AwaitTable::new(&image)
        .expect("a table")
        .build_id()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let by_id = directory.file(&format!("{id}.gmr-await"));
    fs::rename(&beside, &by_id).expect("rename");
    let table = find(&program, None, None, &limits()).expect("the table");
    assert_eq!(table.origin, Origin::File(by_id.clone()));
    assert!(table.to_string().contains("KiB from "), "{table}");

    // Given at setup: before all others.
    let given = directory.file("given");
    fs::rename(&by_id, &given).expect("rename");
    let table = find(&program, None, Some(&given), &limits()).expect("the table");
    assert_eq!(table.origin, Origin::File(given.clone()));

    let embedded = directory.file("embedded");
    let mut section = std::ffi::OsString::from(".gmr_await=");
    section.push(&given);
    must(
        "objcopy",
        &[
            "--add-section".as_ref(),
            &section,
            "--set-section-flags".as_ref(),
            ".gmr_await=noload,readonly".as_ref(),
            program.as_ref(),
            embedded.as_ref(),
        ],
    );
    let table = find(&embedded, None, None, &limits()).expect("the table");
    assert_eq!((table.image, table.origin), (image, Origin::Section(embedded.clone())));
    assert!(Command::new(&embedded).status().expect("it runs").success());
}

#[test]
fn a_table_of_another_build_is_refused_with_words() {
    let directory = Directory::new("refused");
    let program = directory.stripped();
    let mut other = image();
    let found = find(Path::new(PROGRAM), None, None, &limits()).expect("a table");
    assert!(matches!(found.origin, Origin::DebugInfo(_)));
    // Of another program: the command's own.
    let made = build(Path::new(GMR), None, &limits());
    assert!(matches!(made, Err(BuildError::NoFutures | BuildError::NoTypes)), "{made:?}");
    let writer = gmr_std::await_table::image::Writer::new();
    fs::write(directory.file("program.gmr-await"), writer.finish(&[1; 20], "")).expect("a file");
    let none = find(&program, None, None, &limits()).expect_err("not its own");
    assert!(none.to_string().contains("another build"), "{none}");
    // A damaged one, as well.
    let last = other.len() - 1;
    other[last] ^= 1;
    fs::write(directory.file("program.gmr-await"), other).expect("a file");
    let none = find(&program, None, None, &limits()).expect_err("damaged");
    assert!(none.to_string().contains("damaged"), "{none}");
}

#[test]
fn debug_information_is_found_beside_the_program() {
    let directory = Directory::new("separate");
    let program = directory.stripped();
    let debug = directory.file("program.debug");
    must("objcopy", &["--only-keep-debug".as_ref(), PROGRAM.as_ref(), debug.as_ref()]);
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(&debug);
    must("objcopy", &[&link, program.as_ref()]);
    let built = build(&program, None, &limits()).expect("a table");
    assert_eq!((built.image, built.debug_file), (image(), debug));
}

#[test]
fn limits_are_kept() {
    let small = Limits { memory_bytes: 2 << 20, ..limits() };
    let failure = build(Path::new(PROGRAM), None, &small).expect_err("too little memory");
    assert_eq!(failure, BuildError::OverBudget { memory_bytes: 2 << 20 });
    let late = Limits { deadline: Instant::now(), ..limits() };
    let failure = build(Path::new(PROGRAM), None, &late).expect_err("no time");
    assert_eq!(failure, BuildError::Late);
}

/// A future in a box, without tokio.
const SMALL: &str = "
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
async fn one() { two().await }
async fn two() { std::future::pending::<()>().await }
fn main() {
    let mut boxed: Pin<Box<dyn Future<Output = ()>>> = Box::pin(one());
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(boxed.as_mut().poll(&mut context), Poll::Pending));
}
";

#[test]
fn without_types_the_error_says_what_to_do() {
    let directory = Directory::new("small");
    let source = directory.file("small.rs");
    fs::write(&source, SMALL).expect("a file");
    let programs = [
        ("0", "strip=debuginfo"),
        ("1", "opt-level=0"),
        ("2", "opt-level=0"),
        ("2", "split-debuginfo=packed"),
        ("2", "split-debuginfo=unpacked"),
    ];
    for (debug, more) in programs {
        let program = directory.file(&format!("small{debug}{more}"));
        must(
            "rustc",
            &[
                "--edition=2024".as_ref(),
                "-C".as_ref(),
                format!("debuginfo={debug}").as_ref(),
                "-C".as_ref(),
                more.as_ref(),
                "-o".as_ref(),
                program.as_ref(),
                source.as_ref(),
            ],
        );
        let (code, text) = gmr(&["await-table".as_ref(), program.as_ref()]);
        let (check, checked) = gmr(&["check".as_ref(), program.as_ref()]);
        match debug {
            "0" => {
                assert_eq!((code, check), (Some(1), Some(1)), "{text}{checked}");
                assert!(text.contains("no debug information"), "{text}");
                assert!(checked.contains("[profile.release.package.\"*\"]"), "{checked}");
            }
            "1" => {
                assert_eq!(code, Some(1), "{text}");
                assert!(text.contains("without types") && text.contains("\"full\""), "{text}");
            }
            _ if more == "split-debuginfo=unpacked" => {
                assert_eq!((code, check), (Some(1), Some(0)), "{text}{checked}");
                assert!(text.contains("split-debuginfo = \"packed\""), "{text}");
            }
            _ => {
                assert_eq!((code, check), (Some(0), Some(0)), "{text}{checked}");
                assert!(text.contains("no task of tokio"), "{text}");
                assert!(checked.contains("Crates with types: small."), "{checked}");
            }
        }
    }
}

#[test]
fn check_says_what_a_program_allows() {
    let (code, text) = gmr(&["check".as_ref(), PROGRAM.as_ref()]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("yes: its reports have all") && text.contains("awaiting"), "{text}");
    let directory = Directory::new("check");
    let program = directory.stripped();
    let (code, text) = gmr(&["check".as_ref(), program.as_ref()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("lack names of functions, files and lines, the stacks of tasks"),
        "{text}"
    );
    assert!(text.contains("[profile.release]") && text.contains("It is stripped."), "{text}");
    // With a table it lacks no stacks, and Cargo.toml need not change.
    let table = format!("{}.gmr-await", program.display());
    let (code, text) =
        gmr(&["await-table".as_ref(), PROGRAM.as_ref(), "-o".as_ref(), table.as_ref()]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = gmr(&["check".as_ref(), program.as_ref()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("lack names of functions, files and lines.\n"), "{text}");
    assert!(text.contains("It is stripped.") && !text.contains("[profile.release]"), "{text}");
    let (code, text) = gmr(&["check".as_ref(), "no-such-file".as_ref()]);
    assert_eq!(code, Some(2), "{text}");
}
