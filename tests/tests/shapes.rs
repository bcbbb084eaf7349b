//! Green Threads against the truth, for one task of each shape of future.
//!
//! The program is `tests/shapes`: some two hundred tasks, each waiting for ever at
//! marked lines. It is built in the ways that programs are built ([`build`]),
//! prints what is true of its tasks ([`truth`]) and a report about itself
//! ([`gmr_tests::green`]). Each task is judged ([`judge`]): whether all of its await tree is
//! there, file, line and function, and nothing that is not true.
//!
//! Each build prints what is not exact, and how many are:
//!
//! ```text
//! cargo test -p gmr-tests --test shapes -- --nocapture
//! cargo test -p gmr-tests --test shapes -- --ignored --nocapture   # all builds
//! GMR_SHAPES=fat,packed cargo test ...                             # these
//! ```
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "shapes/build.rs"]
mod build;
#[path = "shapes/judge.rs"]
mod judge;
#[path = "shapes/outcome.rs"]
mod outcome;
#[path = "shapes/selftest.rs"]
mod selftest;
#[path = "shapes/sources.rs"]
mod sources;
#[path = "shapes/truth.rs"]
mod truth;

use std::process::{Command, Stdio};

use build::Program;
use gmr_tests::Daemon;
use gmr_tests::green::GreenThreads;
use outcome::Outcome;
use truth::Truth;

/// Of a build with types, so many have to be exact.
const LEAST_RATE: f64 = 0.98;

/// Fewer tasks than these: the program itself is broken.
const LEAST_TASKS: usize = 200;

/// Runs a program, and returns what it says and what its report says.
fn run(program: &Program) -> (Truth, String) {
    let mut command = Command::new(&program.path);
    command.args(&program.arguments);
    let mut daemon = Daemon::start_command(command, Stdio::inherit());
    let truth = serde_json::from_str(&daemon.ready).expect("the truth");
    (truth, daemon.line())
}

/// Fails unless it is all true, and nearly all there.
fn judge_build(program: &Program) {
    let (truth, report) = run(program);
    let outcome = Outcome::of(&truth, &GreenThreads::of(&report));
    outcome.print(program.name);
    assert!(outcome.verdicts.len() >= LEAST_TASKS, "{} tasks", outcome.verdicts.len());
    assert_eq!(outcome.wrong(), 0, "{}: what is said is not true", program.name);
    assert_eq!(outcome.missing(), 0, "{}: tasks are not listed", program.name);
    assert_eq!(outcome.strangers, [0; 0], "{}: nobody spawned them", program.name);
    assert_eq!(outcome.twice, [0; 0], "{}: listed twice", program.name);
    assert!(outcome.rate() >= LEAST_RATE, "{}: too few are exact", program.name);
}

/// Without types nothing can be said, and the report says why.
fn judge_build_without_types(program: &Program) {
    let (truth, report) = run(program);
    let seen = GreenThreads::of(&report);
    let outcome = Outcome::of(&truth, &seen);
    println!("{}: {}", program.name, seen.text);
    assert_eq!(outcome.wrong(), 0, "{}: what is said is not true", program.name);
    assert!(seen.text.contains("debug"), "{}: {}", program.name, seen.text);
}

#[test]
fn the_tasks_of_the_usual_build_wait_where_the_report_says() {
    for build in &build::USUAL {
        judge_build(&build::make(build));
    }
}

/// With `GMR_SHAPES=thin,fat` only these are judged.
fn is_wanted(name: &str) -> bool {
    std::env::var("GMR_SHAPES").map_or(true, |names| names.split(',').any(|one| one == name))
}

#[test]
#[ignore = "builds the program many more times"]
fn the_tasks_of_all_builds_wait_where_the_report_says() {
    for build in build::FURTHER.iter().filter(|build| is_wanted(build.name)) {
        judge_build(&build::make(build));
    }
    let ways = [
        ("debug file", build::linked as fn(&Program) -> Program),
        ("sidecar table", build::with_sidecar),
        ("named table", build::with_named_table),
        ("embedded table", build::with_section),
    ];
    for (_, way) in ways.iter().filter(|(name, _)| is_wanted(name)) {
        judge_build(&way(&build::make(&build::OWN)));
    }
    for build in build::WITHOUT_TYPES.iter().filter(|build| is_wanted(build.name)) {
        judge_build_without_types(&build::make(build));
    }
    if is_wanted("stripped") {
        judge_build_without_types(&build::bare(&build::make(&build::OWN)));
    }
}
