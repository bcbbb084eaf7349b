//! Any stream of events gives valid JSON, in both layouts the same.
#![no_main]

use gmr_core::view::{JsonStyle, JsonView};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let ops = gmr_fuzz::ops(data);
    let events = gmr_fuzz::events(&ops);
    let line = gmr_fuzz::rendered(JsonView::new(JsonStyle::Line), &events);
    let pretty = gmr_fuzz::rendered(JsonView::new(JsonStyle::Pretty), &events);
    gmr_fuzz::check_json(&line);
    gmr_fuzz::check_json(&pretty);
    assert_eq!(line.lines().count(), 1);
    let parse = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
    assert_eq!(parse(&line), parse(&pretty));
});
