//! The await table's builder on a program whose debug information was changed.
//!
//! 1. The program, `seeds/await_build.rs`, is compiled at the start, by the `rustc`
//!    in the path.
//! 2. The input is a list of changes: which section, where, and which bytes; and
//!    the number that begins a row of random ones, since a run takes long enough for
//!    the fuzzer to find few by itself.
//! 3. Whatever comes of it, the builder ends in time, within its memory, and
//!    what it makes is a table.

#![no_main]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use gmr_std::await_table::image::AwaitTable;
use gmr_std::await_table::{BuildError, Built, Limits, build};
use libfuzzer_sys::fuzz_target;

/// Little, so that what is over the budget is met too.
const MEMORY_BYTES: u64 = 8 << 20;

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Change {
    section: u8,
    at: u32,
    bytes: [u8; 4],
    /// How many of them.
    count: u8,
}

#[derive(Debug, Arbitrary)]
struct Changes {
    listed: Vec<Change>,
    random: u64,
    count: u8,
}

impl Changes {
    fn all(&self) -> impl Iterator<Item = Change> {
        let listed = self.listed.iter().take(64).copied();
        // xorshift64; 0 would stay 0.
        let mut state = self.random | 1;
        let random = (0..self.count).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [section, a, b, c, d, bytes @ ..] = state.to_le_bytes();
            let at = u32::from_le_bytes([a, b, c, d]);
            Change { section, at, bytes: [bytes[0], bytes[1], bytes[2], section], count: a & 1 }
        });
        listed.chain(random)
    }
}

struct Seed {
    bytes: Vec<u8>,
    /// Where the sections of debug information are.
    sections: Vec<(usize, usize)>,
    /// The changed program.
    file: PathBuf,
}

static SEED: LazyLock<Seed> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("gmr-fuzz-await-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/await_build.rs");
    let program = directory.join("seed");
    let status = Command::new("rustc")
        .args(["--edition=2024", "--crate-name=tokio", "-Cdebuginfo=2", "-Cpanic=abort"])
        .args(["-Copt-level=1", "-Clink-arg=-nostartfiles", "-Clink-arg=-Wl,--build-id"])
        .args(["-Clink-arg=-Wl,-e,start", "-Clink-arg=-Wl,--gc-sections"])
        .args(["--emit=link".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()])
        .status()
        .expect("rustc");
    assert!(status.success());
    let bytes = std::fs::read(&program).expect("the seed");
    let sections = sections(&bytes);
    let seed = Seed { bytes, sections, file: directory.join("changed") };
    // Unchanged there is everything.
    let built = made(&seed.file, &seed.bytes).expect("a table");
    let table = AwaitTable::new(&built.image).expect("a table");
    assert!(table.task_count() >= 1 && table.vtable_count() >= 1, "{}", table.notes());
    assert!(table.entries().is_some());
    seed
});

/// The sections whose names begin like debug information's.
fn sections(bytes: &[u8]) -> Vec<(usize, usize)> {
    let word = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, count, names) = (word(0x28, 8), word(0x3c, 2), word(0x3e, 2));
    let header = |index: usize| table + 64 * index;
    let names = word(header(names) + 0x18, 8);
    (0..count)
        .map(header)
        .filter(|at| bytes[names + word(*at, 4)..].starts_with(b".debug_"))
        .map(|at| (word(at + 0x18, 8), word(at + 0x20, 8)))
        .filter(|(_, size)| *size > 0)
        .collect()
}

fn made(file: &Path, bytes: &[u8]) -> Result<Built, BuildError> {
    std::fs::write(file, bytes).expect("the changed program");
    let limits = Limits {
        memory_bytes: MEMORY_BYTES,
        deadline: Instant::now() + Duration::from_secs(10),
        debug_dirs: Vec::new(),
    };
    build(file, None, &limits)
}

fuzz_target!(|changes: Changes| {
    let seed = &*SEED;
    let mut bytes = seed.bytes.clone();
    for change in changes.all() {
        let (offset, size) = seed.sections[usize::from(change.section) % seed.sections.len()];
        for (index, byte) in (0..=usize::from(change.count % 4)).zip(change.bytes) {
            bytes[offset + (change.at as usize + index) % size] = byte;
        }
    }
    match made(&seed.file, &bytes) {
        Ok(built) => assert!(AwaitTable::new(&built.image).is_ok()),
        Err(error) => assert_ne!(error, BuildError::Late),
    }
});
