//! Any bytes as an ELF object with debug information, and lines of a few
//! addresses in it.
//!
//! Run with a corpus of small real objects (`gcc -g`, and with
//! `-Wl,--compress-debug-sections=zlib`): a mutated section is worth more than
//! a random one. The bytes go through a file, since that is what is read.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("gmr-fuzz-lines-{}", std::process::id())));

/// Little, so that what is over the budget is met too.
const MEMORY_BYTES: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    // The addresses come last, so that offsets in the object keep their
    // meaning.
    let (object, addresses) = data.split_at(data.len().saturating_sub(4 * 8));
    let svmas: Vec<u64> = addresses
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
        .chain((0x1000..0x1200).step_by(16))
        .collect();
    std::fs::write(&*FILE, object).unwrap();
    let frames = gmr_std::fuzz_lines(&FILE, &svmas, MEMORY_BYTES);
    assert!(frames <= svmas.len() * 129);
});
