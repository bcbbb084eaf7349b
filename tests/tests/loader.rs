//! Libraries that come and go while reports are written: no stack ever shows the
//! name of a library that was elsewhere in time.

use std::path::PathBuf;
use std::process::Command;

use gmr_tests::{Daemon, ErrLog};
use serde_json::Value;

const LOADER: &str = env!("CARGO_BIN_EXE_loader");

/// A library that exports `in_library_X`, which calls what it is given. `padding`
/// functions before it make the two differ in where things lie.
fn library(name: &str, padding: usize) -> PathBuf {
    let directory = std::env::temp_dir();
    let stem = format!("gmr-loader-{}-{name}", std::process::id());
    let (source, object) =
        (directory.join(format!("{stem}.c")), directory.join(format!("{stem}.so")));
    let mut text = String::new();
    for number in 0..padding {
        text += &format!("int padding_{name}_{number}(int x) {{ return x * {number} + 1; }}\n");
    }
    text += &format!("int calls;\nvoid in_library_{name}(void (*f)(void)) {{ f(); calls++; }}\n");
    std::fs::write(&source, text).expect("a source file");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&object, &source])
        .status()
        .expect("a C compiler");
    assert!(status.success());
    std::fs::remove_file(&source).expect("the source file");
    object
}

/// Function names of the visitor's stack, innermost first; raw ones are empty.
fn stack(report: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(report).expect("JSON");
    let sections = json["sections"].as_array().expect("sections");
    let threads = sections.iter().find(|section| section["title"] == "Threads").expect("Threads");
    let threads = threads["data"]["threads"].as_array().expect("threads");
    let thread = threads.iter().find(|thread| thread["name"] == "visitor").expect("the visitor");
    let frames = thread["frames"].as_array().cloned().unwrap_or_default();
    let name = |frame: &Value| frame["function"].as_str().unwrap_or_default().to_owned();
    frames.iter().map(name).collect()
}

#[test]
fn libraries_that_come_and_go_never_give_a_wrong_name() {
    let (a, b) = (library("a", 0), library("b", 40));
    let log = ErrLog::new();
    let arguments = [a.to_str().expect("a path"), b.to_str().expect("a path")];
    let mut daemon = Daemon::start(LOADER, &arguments, log.stdio());
    let (mut named, mut raw) = ([0, 0], 0);
    // Until both libraries were met under their names, and for long enough.
    for sequence in 1..=500 {
        let offset = log.len();
        daemon.trigger();
        let stack = stack(&log.wait_from(offset, sequence).only().raw);
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            let callback = format!("called_from_{name}");
            let Some(at) = stack.iter().position(|frame| frame.contains(&callback)) else {
                continue;
            };
            let caller = stack.get(at + 1).map_or("", String::as_str);
            let own = format!("in_library_{name}");
            assert!(caller.is_empty() || caller == own, "{callback} from {caller}: {stack:?}");
            if caller == own { named[index] += 1 } else { raw += 1 }
        }
        let other = stack.iter().filter(|frame| frame.contains("padding_")).count();
        assert_eq!(other, 0, "{stack:?}");
        if sequence >= 100 && named.iter().all(|count| *count > 0) {
            break;
        }
    }
    println!("named {named:?}, raw {raw}");
    assert!(named.iter().all(|count| *count > 0), "named {named:?}, raw {raw}");
    assert!(daemon.has_ended().is_none());
    for file in [a, b] {
        std::fs::remove_file(file).expect("a library");
    }
}
