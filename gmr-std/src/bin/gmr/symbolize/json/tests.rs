//! On reports made by hand, with an answer for every frame.

use super::super::stack::testing::Fixed;
use super::*;

const MODULES: &str = r#"{"schema_version": 1, "sections": [
        {"title": "Other", "data": {"modules": [{"start": "0x1", "end": "0x2", "load_bias": "0x1", "build_id": null, "file": "/no"}]}},
        {"id": 2, "data": {"modules": 3, "modules": [
            {"start": "0x1000", "end": "0x2000", "load_bias": "0x800", "build_id": "0a0b", "file": "/opt/h\u00e9\\xff"},
            {"start": "0x2000", "end": "0x3000", "load_bias": "0x2000", "build_id": null, "file": "/a", "more": [{}]},
            {"start": "0x3000", "end": "0x4000", "load_bias": "0x3000", "build_id": null, "file": "/b/a"},
            {"start": 4096, "end": "0x4000", "load_bias": "0x3000", "build_id": null, "file": "/c"}, 7
        ]}, "title": "Modules"}]}"#;

fn listed() -> Modules {
    modules(MODULES.as_bytes()).unwrap()
}

fn rewritten(report: &str, lookup: &mut Fixed) -> String {
    let mut out = Vec::new();
    rewrite(report.as_bytes(), &listed(), false, lookup, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_section_modules() {
    let modules = listed();
    let paths: Vec<_> = modules.all().iter().map(|module| &*module.path).collect();
    assert_eq!(paths, [r"/opt/hé\xff", "/a", "/b/a"]);
    assert_eq!(modules.all()[0].build_id, Some(vec![0x0a, 0x0b]));
    assert_eq!(modules.all()[1].build_id, None);
    for none in ["", "{}", "[", r#"{"sections": []}"#, r#"{"sections": [{}, 1]}"#] {
        assert!(super::modules(none.as_bytes()).is_none(), "{none}");
    }
}

#[test]
fn frames_grow_and_move_on() {
    let mut lookup = Fixed::answering(&["inner", "outer"]);
    let found = rewritten(
        r#"{"frames_2":[
  {"index": 0, "pc": "0x1010", "module": "h\u00e9\\xff", "module_offset": "0x810", "certainty": "exact"},
  {"index": 1, "pc": "0x2020", "module": "a", "module_offset": "0x20", "function": "f", "certainty": "frame_pointer", "function_truncated": true, "new": {"a": 1}},
  {"index": 2, "pc": "0x9", "module": "gone", "module_offset": "0x9", "certainty": "exact"},
  {"index": 3, "pc": "0x9", "certainty": "exact"}
], "entry_frames_left_out": 8, "last_entry_frame": {"index": 4, "pc": "0x2020", "module": "a", "module_offset": "0x20", "certainty": "exact"}}, {
"last_entry_frame": {"index": 4, "pc": "0x9", "certainty": "exact"}} x"#,
        &mut lookup,
    );
    assert_eq!(
        found,
        r#"{"frames_2":[
  {"index": 0, "pc": "0x1010", "module": "hé\\xff", "module_offset": "0x810", "function": "inner", "file": "inner.rs", "line": 1, "certainty": "exact", "inlined": true},
  {"index": 1, "pc": "0x1010", "module": "hé\\xff", "module_offset": "0x810", "function": "outer", "file": "outer.rs", "line": 2, "certainty": "exact"},
  {"index": 2, "pc": "0x2020", "module": "a", "module_offset": "0x20", "function": "inner", "file": "inner.rs", "line": 1, "certainty": "frame_pointer", "inlined": true},
  {"index": 3, "pc": "0x2020", "module": "a", "module_offset": "0x20", "function": "outer", "file": "outer.rs", "line": 2, "certainty": "frame_pointer", "new": {"a": 1}},
  {"index": 4, "pc": "0x9", "module": "gone", "module_offset": "0x9", "certainty": "exact"},
  {"index": 5, "pc": "0x9", "certainty": "exact"}
], "entry_frames_left_out": 8, "last_entry_frame": {"index": 6, "pc": "0x2020", "module": "a", "module_offset": "0x20", "certainty": "exact"}}, {
"last_entry_frame": {"index": 4, "pc": "0x9", "certainty": "exact"}} x"#
    );
    let asked: Vec<_> = lookup.asked.iter().map(|it| (it.svma, it.module)).collect();
    use super::super::modules::Unknown;
    // By the pc: the second is one of two modules of its name.
    assert_eq!(asked, [(0x810, Ok(0)), (0x1f, Ok(1)), (0x8, Err(Unknown::NotListed))]);
    assert_eq!(lookup.asked[1].shown.as_deref(), Some("f{...cut}"));
}

#[test]
fn one_line_stays_one_line() {
    let mut lookup = Fixed::answering(&["inner", "outer"]);
    let found = rewritten(
        r#"{"frames":[{"index":0,"pc":"0x2000","module":"a","module_offset":"0x0","certainty":"exact","signal_frame":true,"new":1}]}"#,
        &mut lookup,
    );
    let (first, second) = (
        r#"{"index":0,"pc":"0x2000","module":"a","module_offset":"0x0","function":"inner","file":"inner.rs","line":1,"certainty":"exact","inlined":true,"signal_frame":true}"#,
        r#"{"index":1,"pc":"0x2000","module":"a","module_offset":"0x0","function":"outer","file":"outer.rs","line":2,"certainty":"exact","signal_frame":true,"new":1}"#,
    );
    assert_eq!(found, format!(r#"{{"frames":[{first},{second}]}}"#));
}

#[test]
fn what_is_no_unresolved_frame_stays() {
    let mut lookup = Fixed::answering(&["inner", "outer"]);
    let frame =
        r#"{"index":0,"pc":"0x2000","module":"a","module_offset":"0x0","certainty":"exact"}"#;
    for report in [
        format!(r#"{{"frames_":[{frame}],"frames_x":[{frame}],"x":"frames","y":[{frame}]}}"#),
        format!(r#"["frames",[{frame}]]"#),
        frame.replace(r#""certainty""#, r#""file":"x.rs","certainty""#),
        frame.replace("exact", "certain"),
        frame.replace(r#""0x2000""#, "8192"),
        frame.replace(r#""index":0,"#, ""),
        frame.replace(r#""index":0,"#, r#""index":-1,"#),
        frame.replace(r#","module_offset":"0x0""#, ""),
        frame.replace("}", ""),
        "7".to_owned(),
        String::new(),
    ] {
        let report = match report.starts_with("{\"frames") || report.starts_with('[') {
            true => report,
            false => format!(r#"{{"frames":[{report}]}}"#),
        };
        assert_eq!(rewritten(&report, &mut lookup), report);
    }
    assert!(lookup.asked.is_empty(), "{:?}", lookup.asked);
    // Of what was broken off, what is whole.
    let broken = format!(r#"{{"frames":[{frame},{{"index":1,"pc"#);
    let found = rewritten(&broken, &mut lookup);
    assert!(found.contains("inner.rs") && found.ends_with(r#",{"index":1,"pc"#), "{found}");
}

#[test]
fn entry_frames_are_left_out_of_a_whole_stack() {
    let lookup = || {
        Fixed::by_address(&[
            (0x10, &["f"]),
            (0x1f, &["g", entry::MARKER]),
            (0x2f, &["std::rt::x"]),
            (0x3f, &["_start-"]),
        ])
    };
    let frame = |index: u64| {
        let offset = 0x10 * (index + 1);
        format!(
            r#"{{"index":{index},"pc":"{:#x}","module":"a","module_offset":"{offset:#x}","certainty":"exact"}}"#,
            0x2000 + offset
        )
    };
    let frames = [0, 1, 2, 3].map(frame).join(", ");
    let whole =
        format!(r#"{{"capture":"ok","x":{{}},"stack_end":"complete", "frames":[{frames} ]}}"#);
    let found = rewritten(&whole, &mut lookup());
    let behind = r#""function":"g","file":"g.rs","line":1,"certainty":"exact","inlined":true} ], "entry_frames_left_out":3, "last_entry_frame":{"index":2,"pc":"0x2040","module":"a","module_offset":"0x40","function":"_start","certainty":"exact"}}"#;
    assert!(found.ends_with(behind), "{found}");
    assert_eq!(rewritten(&found, &mut lookup()), found);
    // The marker is all there is.
    let marker = format!(r#"{{"capture":"ok","stack_end":"complete","frames":[ {} ]}}"#, frame(1));
    let mut alone = Fixed::by_address(&[(0x20, &[entry::MARKER])]);
    let found = rewritten(&marker, &mut alone);
    assert!(found.contains(r#""frames":[ ],"entry_frames_left_out":1,"last"#), "{found}");
    for other in [
        whole.replace(r#""ok""#, r#""partial""#),
        whole.replace(r#""complete""#, r#""unreadable""#),
        whole.replace(r#""capture":"ok","x":{"#, r#""x":{"capture":"ok""#),
        whole.replace(r#""frames""#, r#""frames_2""#),
        whole.replace("exact", "inferred"),
        whole.replace("exact", "unheard_of"),
        whole.replace(" ]", ", 7]"),
        whole.replace(" ]}", ""),
    ] {
        let found = rewritten(&other, &mut lookup());
        assert!(!found.contains("entry_frames_left_out"), "{found}");
    }
}
