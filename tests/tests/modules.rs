//! The Modules section: what it says is what the kernel and the files say.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use gmr_tests::{Daemon, ErrLog, Report};
use serde_json::Value;

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet");

/// One loaded object.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    start: u64,
    end: u64,
    load_bias: u64,
    build_id: Option<String>,
    file: String,
}

fn report_of(setup: &str) -> (Daemon, Report) {
    let log = ErrLog::new();
    let mut daemon = Daemon::start(PUPPET, &[], log.stdio());
    daemon.must(setup);
    daemon.trigger();
    let report = log.report(1);
    assert!(report.is_complete, "{}", report.raw);
    (daemon, report)
}

#[track_caller]
fn address(text: &str) -> u64 {
    let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("an address: {text}"));
    u64::from_str_radix(digits, 16).expect("hexadecimal digits")
}

#[track_caller]
fn in_text(report: &Report) -> Vec<Module> {
    let body = &report.section("Modules").body;
    let mut lines = body.lines();
    let loaded = lines.next().and_then(|line| line.strip_prefix("loaded = ")).expect("a count");
    assert_eq!(lines.next(), Some(""));
    let head: Vec<_> = lines.next().expect("a head").split_whitespace().collect();
    assert_eq!(head, ["start", "end", "load_bias", "build_id", "file"]);
    assert!(lines.next().is_some_and(|rule| rule.starts_with("--------------  --------------  ")));
    let modules: Vec<_> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut word = || words.next().unwrap_or_else(|| panic!("a row: {line}"));
            Module {
                start: address(word()),
                end: address(word()),
                load_bias: address(word()),
                build_id: Some(word()).filter(|word| *word != "None").map(str::to_owned),
                file: word().to_owned(),
            }
        })
        .collect();
    assert_eq!(modules.len().to_string(), loaded);
    modules
}

#[track_caller]
fn in_json(report: &Report) -> Vec<Module> {
    let data: Value = serde_json::from_str(&report.section("Modules").body).expect("JSON");
    let rows = data["modules"].as_array().expect("an array");
    assert_eq!(data["loaded"], rows.len());
    let text = |row: &Value, key: &str| row[key].as_str().map(str::to_owned);
    rows.iter()
        .map(|row| {
            assert_eq!(row.as_object().map(serde_json::Map::len), Some(5), "{row}");
            Module {
                start: address(&text(row, "start").expect("an address")),
                end: address(&text(row, "end").expect("an address")),
                load_bias: address(&text(row, "load_bias").expect("an address")),
                build_id: text(row, "build_id"),
                file: text(row, "file").expect("a path"),
            }
        })
        .collect()
}

/// Of each file that is mapped with code in it, its first address and the one
/// behind its last.
fn mapped(pid: u32) -> BTreeMap<String, (u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the daemon's mappings");
    let (mut ranges, mut has_code) = (BTreeMap::new(), Vec::new());
    for line in maps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [range, permissions, _, _, _, path] = words[..] else { continue };
        let (start, end) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal digits");
        let (start, end) = (number(start), number(end));
        let known = ranges.entry(path.to_owned()).or_insert((start, end));
        known.1 = end;
        if permissions.contains('x') {
            has_code.push(path.to_owned());
        }
    }
    ranges.retain(|path, _| has_code.contains(path) && (path.starts_with('/') || path == "[vdso]"));
    ranges
}

/// The loader knows objects by the path that it opened, the kernel by the one
/// that this led to.
fn real_path(file: &str) -> String {
    let path =
        fs::canonicalize(file).ok().and_then(|path| path.into_os_string().into_string().ok());
    path.unwrap_or_else(|| file.to_owned())
}

/// What binutils say of a file.
fn readelf(arguments: &[&str], file: &str) -> String {
    let output = Command::new("readelf").args(arguments).arg(file).output().expect("binutils");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn build_id_of(file: &str) -> Option<String> {
    let notes = readelf(&["-nW"], file);
    let (_, rest) = notes.split_once("Build ID: ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// The lowest address that the file itself asks for.
fn first_svma_of(file: &str) -> u64 {
    let headers = readelf(&["-lW"], file);
    let loads = headers.lines().filter_map(|line| line.trim().strip_prefix("LOAD "));
    let svma = |line: &str| address(line.split_whitespace().nth(1).expect("an address"));
    loads.map(svma).min().expect("a segment")
}

#[track_caller]
fn assert_true(modules: &[Module], pid: u32) {
    assert!(modules.is_sorted_by_key(|module| module.start), "{modules:#x?}");
    let mapped = mapped(pid);
    let files: Vec<_> = modules.iter().map(|module| real_path(&module.file)).collect();
    for file in mapped.keys() {
        assert!(files.contains(file), "{file} is mapped, and not in {files:?}");
    }
    assert_eq!(files.len(), mapped.len(), "{files:?}, {mapped:x?}");
    for module in modules {
        let (start, end) = mapped[&real_path(&module.file)];
        assert_eq!(module.start, start, "{module:x?}");
        // What the file does not fill (.bss) may be a mapping without a name.
        assert!(module.end > module.start, "{module:x?}");
        assert!(module.end.next_multiple_of(4096) >= end, "{module:x?} ends at {end:x}");
        if module.file == "[vdso]" {
            assert!(module.build_id.is_some(), "{module:x?}");
            continue;
        }
        assert_eq!(module.build_id, build_id_of(&module.file), "{}", module.file);
        let first = first_svma_of(&module.file) & !0xfff;
        assert_eq!(module.start.wrapping_sub(module.load_bias), first, "{module:x?}");
    }
    let own = modules.iter().find(|module| module.file == PUPPET).expect("the program");
    assert!(own.build_id.is_some(), "cargo's linker makes one: {own:x?}");
    assert!(files.iter().any(|file| file.contains("libc.so")), "{files:?}");
}

#[test]
fn modules_are_what_the_kernel_and_the_files_say() {
    for setup in ["std", "core-autorun"] {
        let (daemon, report) = report_of(setup);
        assert_eq!(report.sections.last().map(|section| &*section.title), Some("Modules"));
        assert_true(&in_text(&report), daemon.pid());
    }
}

#[test]
fn json_has_an_object_for_each() {
    for view in ["json", "line"] {
        let (daemon, report) = report_of(&format!("std view={view}"));
        assert_true(&in_json(&report), daemon.pid());
    }
}

#[test]
fn a_frames_module_and_offset_are_its_address() {
    let (_daemon, report) = report_of("std view=json");
    let modules = in_json(&report);
    let report: Value = serde_json::from_str(&report.raw).expect("JSON");
    let threads = report["sections"][1]["data"]["threads"].as_array().expect("threads");
    let mut seen = 0;
    let frames = threads.iter().filter_map(|thread| thread["frames"].as_array()).flatten();
    for frame in frames {
        let text = |key: &str| frame[key].as_str().expect("text");
        let pc = address(text("pc"));
        let module = modules.iter().find(|module| (module.start..module.end).contains(&pc));
        let module = module.unwrap_or_else(|| panic!("a module of {pc:x}"));
        assert!(module.file.ends_with(text("module")), "{frame}");
        assert_eq!(pc - module.load_bias, address(text("module_offset")), "{frame}");
        seen += 1;
    }
    // Optimised, and without the entry frames, the main thread has few.
    assert!(seen > 2, "{seen} frames");
}

#[test]
fn it_can_be_left_out() {
    for setup in ["std modules=0", "core-autorun modules=0"] {
        let (_daemon, report) = report_of(setup);
        assert!(report.sections.iter().all(|section| section.title != "Modules"), "{}", report.raw);
    }
}
