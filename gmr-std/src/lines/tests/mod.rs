//! Against other tools, on objects compiled here.
//!
//! Oracles: binutils' addr2line for DWARF 4. Its release 2.40 mistakes files
//! and misses inlined calls in DWARF 5, and knows no split units: there
//! llvm-addr2line is asked.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

mod damage;
mod evil;
mod memory;
mod places;

/// A Rust program with generic, inlined and dynamic calls in several modules.
const RUST: &str = include_str!("program.rs.txt");

/// A C program with calls that are inlined.
const C: &str = "
static inline int twice(int x) { return x * 2; }
static __attribute__((always_inline)) inline int more(int x) { return twice(x) + __builtin_popcount(x); }
__attribute__((noinline)) int middle(int x) { return more(x) ^ more(x + 1); }
int main(int argc, char **argv) { return middle(argc) + more((int)(long)argv); }
";

/// A directory that is removed at the end of a test.
struct Fixture(PathBuf);

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Fixture {
    fn new(name: &str) -> Self {
        let name = format!("gmr-lines-{}-{name}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Fixture(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs a program in the directory.
    fn run(&self, program: &str, args: &str) {
        let args: Vec<&str> = args.split_whitespace().collect();
        let output = Command::new(program).args(&args).current_dir(&self.0).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {stderr}");
    }

    /// Compiles the Rust program.
    fn rust(&self, args: &str) -> PathBuf {
        std::fs::write(self.path("program.rs"), RUST).unwrap();
        self.run("rustc", &format!("--edition 2024 program.rs -o program {args}"));
        self.path("program")
    }

    /// Compiles the C program.
    fn c(&self, args: &str) -> PathBuf {
        std::fs::write(self.path("program.c"), C).unwrap();
        self.run("gcc", &format!("program.c -o program {args}"));
        self.path("program")
    }
}

/// A file as an object that is mapped at its own addresses.
fn object(path: &Path, svmas: &[u64]) -> Object {
    let file = File::open(path).unwrap();
    let metadata = file.metadata().unwrap();
    Object {
        path: path.as_os_str().as_bytes().to_vec(),
        file: None,
        build_id: ElfFile::new(file).and_then(|elf| elf.build_id()),
        device_inode: Some((metadata.dev(), metadata.ino())),
        is_executable: true,
        wanted: svmas.iter().map(|&svma| Wanted { avma: svma, svma }).collect(),
    }
}

fn limits(memory_bytes: u64) -> Limits<'static> {
    Limits {
        memory_bytes,
        deadline: Instant::now() + Duration::from_secs(600),
        is_wanted: &|| true,
        debug_dirs: &[],
        system_libraries: false,
        full_names: false,
    }
}

/// Looks addresses of a file up, with the default limits.
fn look_up(path: &Path, svmas: &[u64]) -> LineTable {
    resolve(vec![object(path, svmas)], &limits(64 << 20))
}

/// Runs a program; its output.
fn run(program: impl AsRef<OsStr>, args: &[&str], input: String) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Addresses in `.text`, about `count` at equal distances.
fn sample(path: &Path, count: u64) -> Vec<u64> {
    let headers = run("readelf", &["-SW", path.to_str().unwrap()], String::new());
    let text = headers.lines().find(|line| line.contains(" .text ")).unwrap();
    let mut fields = text.split_whitespace().skip_while(|field| *field != "PROGBITS").skip(1);
    let mut hex = || u64::from_str_radix(fields.next().unwrap(), 16).unwrap();
    let (start, _offset, size) = (hex(), hex(), hex());
    // Odd: functions begin at multiples of 16.
    let step = (size / count).max(1) | 1;
    (start..start + size).step_by(usize::try_from(step).unwrap()).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

/// What another tool says.
fn oracle(tool: &str, path: &Path, svmas: &[u64]) -> HashMap<u64, Vec<Expected>> {
    let input: String = svmas.iter().map(|svma| format!("{svma:#x}\n")).collect();
    let output = run(tool, &["-a", "-f", "-i", "-e", path.to_str().unwrap()], input);
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
