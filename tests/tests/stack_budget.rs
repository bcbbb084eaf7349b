//! What a report costs the stack of the thread it interrupts, and that it
//! leaves that thread as it was. Each test runs a program of its own
//! (`src/bin/budget_*.rs`, where the method is explained), because each is
//! about the signals of a whole process. The figures are printed
//! (`--nocapture`).
#![allow(clippy::std_instead_of_core, reason = "a program of std's world")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

/// The trigger, the registry's dispatch included, over the kernel's frame.
const TRIGGER_BYTES: u64 = 1024;

/// The capture of a stack, over the kernel's frame.
const CAPTURE_BYTES: u64 = 2048;

/// Runs a program; its standard output if it succeeded.
fn run(program: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(program).args(arguments).output().expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{arguments:?}: {status}\n{stdout}\n{stderr}");
    eprint!("{stderr}");
    stdout.into_owned()
}

/// The number after `word` in `text`.
fn number_after(text: &str, word: &str) -> u64 {
    text.split_once(word)
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no number after {word:?} in:\n{text}"))
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

fn stack_used_by(mode: &str) -> u64 {
    let output = run(env!("CARGO_BIN_EXE_budget_stack"), &[mode]);
    eprint!("{mode} ({}): {output}", profile());
    number_after(&output, "used ")
}

#[test]
fn the_trigger_in_the_handler_stays_within_its_budget() {
    assert!(stack_used_by("core-in-handler") <= TRIGGER_BYTES);
}

#[test]
fn the_trigger_of_a_lent_thread_stays_within_its_budget() {
    assert!(stack_used_by("core-lent") <= TRIGGER_BYTES);
}

#[test]
fn the_trigger_under_the_registry_stays_within_its_budget() {
    assert!(stack_used_by("std") <= TRIGGER_BYTES);
}

#[test]
fn a_capture_stays_within_its_budget() {
    assert!(stack_used_by("capture") <= CAPTURE_BYTES);
}

/// Under a seccomp filter without process_vm_readv the window is copied page
/// by page.
#[test]
fn a_capture_by_page_probe_stays_within_its_budget() {
    assert!(stack_used_by("capture-refused") <= CAPTURE_BYTES);
}

/// Stack that reports took, its size, and the reports.
fn reported_with(arguments: &[&str]) -> (u64, u64, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_budget_reserved"))
        .args(arguments)
        .output()
        .expect("the program starts");
    let figures = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {figures}", output.status);
    eprint!("{arguments:?} ({}): {figures}", profile());
    let (took, bytes) = (number_after(&figures, "took "), number_after(&figures, " of "));
    (took, bytes, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_quarter_of_the_reserved_stack_is_left() {
    let (took, bytes, report) = reported_with(&["plain"]);
    assert!(took <= bytes / 4 * 3, "{took}");
    assert!(report.contains(" in budget_reserved::linux::wait_for\n"), "{report}");
}

#[test]
fn a_quarter_of_the_reserved_stack_is_left_after_the_deepest_name() {
    let (took, bytes, report) = reported_with(&["deep"]);
    assert!(took <= bytes / 4 * 3, "{took}");
    assert!(report.contains(" in a::b::<…>"), "{report}");
}

/// What the documentation of `report_here` says; without any feature the
/// program in `no-alloc` looks after it.
#[test]
fn report_here_needs_what_it_says() {
    let documented = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };
    for mode in ["plain", "deep"] {
        let (took, _, _) = reported_with(&[mode, "here"]);
        assert!(took <= documented, "{took}");
    }
}

#[test]
fn handlers_keep_errno() {
    for mode in ["core", "std"] {
        let output = run(env!("CARGO_BIN_EXE_budget_errno"), &[mode]);
        assert!(output.starts_with("errno kept"), "{output}");
    }
}

fn nested(mode: &str) -> String {
    let report = run(env!("CARGO_BIN_EXE_budget_nested"), &[mode]);
    assert!(report.contains("faults handled = 2"), "{report}");
    report
}

#[test]
fn a_fault_on_stds_alternate_stack_does_a_report_no_harm() {
    assert!(nested("std").ends_with("End of report 1: complete\n"));
}

#[test]
fn a_fault_on_a_stack_of_the_programs_own_does_a_report_no_harm() {
    assert!(nested("own").ends_with("End of report 1: complete\n"));
}

#[test]
fn a_fault_does_not_overwrite_the_handler_that_the_trigger_interrupted() {
    // Why not complete: the stack goes on elsewhere, see the program.
    let report = nested("on");
    let end = "End of report 1: incomplete (threads without a whole stack)\n";
    assert!(report.ends_with(end), "{report}");
}

/// From the reserved stack through the switch and the signal's frame into the
/// program. (Names without their paths: gdb leaves those of inlined frames out.)
#[test]
fn a_debugger_walks_out_of_a_report() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_budget_nested"))
        .arg("wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    stderr.read_line(&mut line).expect("stderr can be read");
    assert_eq!(line, "in the section\n");

    let gdb = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "bt", "-p"])
        .arg(child.id().to_string())
        .stdin(Stdio::null())
        .output()
        .expect("gdb is installed");
    // The end of its standard input lets the section go.
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("the program ends");

    let trace = String::from_utf8_lossy(&gdb.stdout);
    let mut rest = &*trace;
    for frame in [
        "wait_for_the_end_of_stdin",
        " at gmr-core/src/compose.rs",
        "call_on",
        "on_trigger",
        "<signal handler called>",
        "interrupted_by",
        " at tests/src/bin/budget_nested.rs",
    ] {
        let found = rest.find(frame);
        let error = String::from_utf8_lossy(&gdb.stderr);
        let at = found.unwrap_or_else(|| panic!("no {frame} in its place:\n{trace}\n{error}"));
        rest = rest.get(at + frame.len()..).unwrap_or_default();
    }
    assert!(output.status.success(), "{}", output.status);
    assert!(output.stdout.ends_with(b"End of report 1: complete\n"));
}
