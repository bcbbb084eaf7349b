//! Any bytes as an ELF object: its build-id and the names of a few addresses.
//! The same bytes, where they are text, as names.
//!
//! Run with a corpus of small real objects: a mutated header is worth more
//! than a random one.

#![no_main]

use gmr_core::symbols::{
    MAX_NAME_BYTES, MIN_SCRATCH_BYTES, NameArena, Wanted, build_id, demangle_into, resolve,
    shorten_into,
};
use libfuzzer_sys::fuzz_target;

/// So that a table that makes everything compete ends.
const MAX_CHECKS: u32 = 10_000;

fuzz_target!(|data: &[u8]| {
    // The addresses come last, so that offsets in the object keep their
    // meaning.
    let (object, addresses) = data.split_at(data.len().saturating_sub(4 * 8));
    let mut wanted: Vec<Wanted> = addresses
        .chunks_exact(8)
        .zip(0..)
        .map(|(bytes, tag)| Wanted::new(u64::from_le_bytes(bytes.try_into().unwrap()), tag))
        .chain([Wanted::new(0, 100), Wanted::new(0x1000, 101), Wanted::new(u64::MAX, 102)])
        .collect();
    let mut memory = [0; 2048];
    let mut names = NameArena::new(&mut memory);
    let mut scratch = [0; MIN_SCRATCH_BYTES];
    let mut checks = 0;
    let resolved = resolve(object, &mut wanted, &mut names, &mut scratch, &mut || {
        checks += 1;
        checks < MAX_CHECKS
    });
    let named = wanted.iter().filter_map(|entry| entry.name);
    assert_eq!(named.clone().count(), resolved.named as usize);
    for name in named {
        assert!(!names.get(name).is_empty());
        assert!(names.get(name).len() <= MAX_NAME_BYTES);
    }
    if let Some(id) = build_id(object) {
        assert!(!id.as_bytes().is_empty());
    }

    for word in data.split(|&byte| byte == 0) {
        let Ok(name) = core::str::from_utf8(word) else { continue };
        let mut out = [0; MAX_NAME_BYTES];
        let cut = demangle_into(name, &mut out);
        let readable = core::str::from_utf8(&out[..cut.len]).expect("whole characters");
        // What is short stays as it is.
        let mut again = [0; MAX_NAME_BYTES];
        let same = shorten_into(readable, &mut again);
        if !cut.truncated {
            assert_eq!(&again[..same.len], readable.as_bytes());
        }
    }
});
