//! What a report costs the stack of the thread it interrupts, and that it
//! leaves that thread as it was. Each test runs a program of its own
//! (`src/bin/budget_*.rs`, where the method is explained), because each is
//! about the signals of a whole process. The figures are printed
//! (`--nocapture`).
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::{Command, Output};

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
