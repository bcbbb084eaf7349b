//! Against binutils' addr2line, on objects compiled here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Looks addresses of a file up, with generous limits.
fn look_up(path: &Path, svmas: &[u64]) -> LineTable {
    look_up_within(path, svmas, 64 << 20, &[])
}

fn look_up_within(path: &Path, svmas: &[u64], memory_bytes: u64, dirs: &[PathBuf]) -> LineTable {
    let file = File::open(path).unwrap();
    let metadata = file.metadata().unwrap();
    let build_id = ElfFile::new(file).and_then(|elf| elf.build_id());
    let object = Object {
        path: path.as_os_str().as_bytes().to_vec(),
        file: None,
        build_id,
        device_inode: Some((metadata.dev(), metadata.ino())),
        is_executable: true,
        wanted: svmas.iter().map(|&svma| Wanted { avma: svma, svma }).collect(),
    };
    let limits = Limits {
        memory_bytes,
        deadline: Instant::now() + Duration::from_secs(600),
        is_wanted: &|| true,
        debug_dirs: dirs,
        system_libraries: false,
    };
    resolve(vec![object], &limits)
}

/// Runs a program; its output.
fn run(program: impl AsRef<OsStr>, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Addresses in `.text`, one in so many bytes that there are `count`.
fn sample(path: &Path, count: u64) -> Vec<u64> {
    let headers = run("readelf", &["-SW", path.to_str().unwrap()], "");
    let text = headers.lines().find(|line| line.contains(" .text ")).unwrap();
    let mut fields = text.split_whitespace().skip_while(|field| *field != "PROGBITS").skip(1);
    let mut hex = || u64::from_str_radix(fields.next().unwrap(), 16).unwrap();
    let (start, _offset, size) = (hex(), hex(), hex());
    let step = (size / count).max(1) | 1;
    (start..start + size).step_by(step as usize).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

fn oracle(tool: &str, path: &Path, svmas: &[u64]) -> HashMap<u64, Vec<Expected>> {
    let input: String = svmas.iter().map(|svma| format!("{svma:#x}\n")).collect();
    let output = run(tool, &["-a", "-f", "-i", "-e", path.to_str().unwrap()], &input);
    let mut all: HashMap<u64, Vec<Expected>> = HashMap::new();
    let mut current = 0;
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if let Some(svma) = line.strip_prefix("0x") {
            current = u64::from_str_radix(svma, 16).unwrap();
            continue;
        }
        let place = lines.next().unwrap();
        let place = place.split(" (disc").next().unwrap();
        let (file, number) = place.rsplit_once(':').unwrap();
        let mut out = [0; 512];
        let cut = gmr_core::symbols::demangle_into(line, &mut out);
        let known = |text: &str| (text != "??" && !text.is_empty()).then(|| text.to_owned());
        all.entry(current).or_default().push(Expected {
            function: known(str::from_utf8(&out[..cut.len]).unwrap()),
            file: known(file),
            line: number.parse().ok().filter(|&line| line != 0),
        });
    }
    all
}

/// How many addresses agree, and the first that do not.
fn compare(tool: &str, path: &Path, svmas: &[u64]) -> (usize, Vec<String>) {
    let table = look_up(path, svmas);
    println!("{}", table.summary());
    let expected = oracle(tool, path, svmas);
    let mut wrong = Vec::new();
    let mut right = 0;
    for &svma in svmas {
        let frames: Vec<LineFrame<'_>> = table.frames(svma).collect();
        let expected = &expected[&svma];
        let same = frames.len() == expected.len()
            && frames.iter().zip(expected).all(|(frame, expected)| {
                (frame.function == expected.function.as_deref())
                    && frame.line == expected.line
                    && match (frame.file, &expected.file) {
                        (Some(file), Some(expected)) => expected.ends_with(file),
                        (file, expected) => file.is_none() == expected.is_none(),
                    }
            });
        let nothing = frames.is_empty() && expected.iter().all(|frame| frame.line.is_none());
        if same || nothing {
            right += 1;
        } else {
            wrong.push(format!("{svma:#x}: {frames:#?}\nexpected {expected:#?}"));
        }
    }
    (right, wrong)
}

#[test]
#[ignore]
fn explore() {
    let path = PathBuf::from(std::env::var_os("LINES_FILE").unwrap());
    let count = std::env::var("LINES_COUNT").map_or(1000, |count| count.parse().unwrap());
    let tool = std::env::var("LINES_TOOL").unwrap_or("addr2line".into());
    let svmas = sample(&path, count);
    let began = Instant::now();
    look_up(&path, &svmas);
    println!("took {:?}", began.elapsed());
    let (right, wrong) = compare(&tool, &path, &svmas);
    println!("{right} of {} right", svmas.len());
    for wrong in wrong.iter().take(5) {
        println!("{wrong}");
    }
}

/// A line of /proc/self/status, in KiB.
fn status_kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// How much the process grew at most while `work` ran, in KiB.
fn peak_growth_kib<T>(work: impl FnOnce() -> T) -> (u64, T) {
    std::fs::write("/proc/self/clear_refs", "5").unwrap(); // VmHWM := VmRSS
    let before = status_kib("VmRSS:");
    let result = work();
    (status_kib("VmHWM:").saturating_sub(before), result)
}

#[test]
#[ignore]
fn measure() {
    let path = PathBuf::from(std::env::var_os("LINES_FILE").unwrap());
    for count in [1, 20, 200, 2000] {
        let svmas = sample(&path, count);
        for memory in [64 << 20, 16 << 20, 4 << 20, 1 << 20, 512 << 10, 128 << 10] {
            let began = Instant::now();
            let (growth, table) = peak_growth_kib(|| look_up_within(&path, &svmas, memory, &[]));
            println!("{count} addresses, {} KiB: +{growth} KiB peak, {:?}; {}", memory >> 10, began.elapsed(), table.summary());
        }
    }
}
