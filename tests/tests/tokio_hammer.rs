//! Back-to-back reports about tasks that never stand still: no await tree that was
//! not true at a moment of its report, no long-lived task that is not there.
//!
//! The program (`src/bin/tokio_hammer`) judges by itself, against what its tasks log. Ten
//! minutes of it, by hand:
//!
//! ```text
//! cargo run --release -p gmr-tests --bin tokio_hammer -- 600 multi
//! ```
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::Command;

use serde_json::Value;

const HAMMER: &str = env!("CARGO_BIN_EXE_tokio_hammer");

/// Trees that a run has to judge, at least: those of one report, which take a second
/// without optimisation.
const LEAST_JUDGED: u64 = 80;

/// Runs it, and returns whether all was true, and its last phase.
fn run(arguments: &[&str]) -> (bool, Value) {
    let output = Command::new(HAMMER).arg("1").args(arguments).output().expect("a program");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let last = text.lines().last().expect("three phases");
    let phase: Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(phase["name"], "back to back");
    assert!(phase["judged"].as_u64() >= Some(LEAST_JUDGED), "{phase:#}");
    (output.status.success(), phase)
}

fn is_true_on(flavor: &str) {
    let (is_true, phase) = run(&[flavor]);
    assert!(is_true, "{phase:#}");
}

#[test]
fn on_a_multi_thread_runtime_all_trees_are_true() {
    is_true_on("multi");
}

#[test]
fn on_a_current_thread_runtime_all_trees_are_true() {
    is_true_on("current");
}

#[test]
fn in_a_local_set_all_trees_are_true() {
    is_true_on("local");
}

#[test]
fn the_oracle_notices_trees_that_are_not_true() {
    let (is_true, phase) = run(&["multi", "--lie"]);
    assert!(!is_true && phase["wrong"].as_u64() > Some(LEAST_JUDGED / 2), "{phase:#}");
}
