//! No stream of events forges a heading or the end of a text report.
#![no_main]

use gmr_core::view::TextView;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let ops = gmr_fuzz::ops(data);
    let events = gmr_fuzz::events(&ops);
    let text = gmr_fuzz::rendered(TextView::new(), &events);
    gmr_fuzz::check_text(&events, &text);
});
