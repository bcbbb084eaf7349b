//! Any bytes as the input of `gmr symbolize`.
//!
//! 1. Without debug files nothing changes, byte for byte.
//! 2. With an answer for every frame nothing panics, what is JSON stays JSON,
//!    and no answer gets lost.
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
    let mut out = Vec::new();
    // Nothing of this machine is opened, whatever the input names.
    let places = Places { dirs: Vec::new(), this_machine: false, full_names: false };
    let outcome = symbolize(&mut &*data, &mut out, &places, &mut |text| {
        assert!(!text.contains(char::is_control), "{text:?}");
    })
    .unwrap();
    assert_eq!(out, data);

    let (once, asked) = resolved(data);
    assert!(asked == 0 || outcome.reports > 0);
    if asked == 0 {
        assert_eq!(once, data);
    }
    if serde_json::from_slice::<serde_json::Value>(data).is_ok() {
        assert!(serde_json::from_slice::<serde_json::Value>(&once).is_ok());
    }
    // Each answer is of two frames.
    let found = once.windows(FILE.len()).filter(|bytes| *bytes == FILE.as_bytes());
    assert!(found.count() >= 2 * asked);
});
