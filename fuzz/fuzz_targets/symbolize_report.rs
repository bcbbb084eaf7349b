//! Any bytes as the input of `gmr symbolize`.
//!
//! 1. Without debug files nothing changes, byte for byte, where the runtime's
//!    frames are kept. Where not, what they leave does not change again.
//! 2. With an answer for every frame nothing panics, what is JSON stays JSON,
//!    and where the runtime's frames are kept no answer gets lost.
//!
//! Run with a corpus of small reports, in text and JSON.
#![no_main]

#[path = "../../gmr-std/src/bin/gmr/symbolize/mod.rs"]
#[allow(dead_code, reason = "the command has more than is fuzzed")]
mod symbolize;

use libfuzzer_sys::fuzz_target;
use symbolize::fuzzing::{FILE, resolved};
use symbolize::{Places, symbolize};

fuzz_target!(|data: &[u8]| {
    // Nothing of this machine is opened, whatever the input names.
    let places = Places { dirs: Vec::new(), this_machine: false, full_names: false };
    let without_files = |data: &[u8], entry_frames: bool| {
        let mut out = Vec::new();
        let outcome = symbolize(&mut &*data, &mut out, &places, entry_frames, &mut |text| {
            assert!(!text.contains(char::is_control), "{text:?}");
        });
        (out, outcome.unwrap().reports)
    };
    let (out, reports) = without_files(data, true);
    assert_eq!(out, data);
    let (short, _) = without_files(data, false);
    assert_eq!(without_files(&short, false).0, short);

    let is_json = |data: &[u8]| serde_json::from_slice::<serde_json::Value>(data).is_ok();
    let (whole, asked) = resolved(data, true);
    assert!(asked == 0 || reports > 0);
    if asked == 0 {
        assert_eq!(whole, data);
    }
    let (short_and_resolved, _) = resolved(data, false);
    if is_json(data) {
        assert!(is_json(&short) && is_json(&whole) && is_json(&short_and_resolved));
    }
    // Each answer is of two frames.
    let found = whole.windows(FILE.len()).filter(|bytes| *bytes == FILE.as_bytes());
    assert!(found.count() >= 2 * asked);
});
