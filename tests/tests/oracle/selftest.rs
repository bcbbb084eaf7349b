//! The comparison itself: equal frames are equal, and no change of one goes
//! unseen.

use super::build::Corpus;
use super::compare::{Field, Outcome, compare};
use super::modules::Modules;
use super::names::Aliases;
use super::observe::{OurThread, TheirThread};

const OURS: &str = r#"{ "tid": 1, "name": "kind", "capture": "ok", "stack_end": "complete", "frames": [
    { "pc": "0x10", "function": "read", "certainty": "exact" },
    { "pc": "0x20", "function": "a::inner", "file": "w/src/a.rs", "line": 7, "inlined": true,
      "certainty": "exact" },
    { "pc": "0x20", "function": "<a::A>::outer", "file": "w/src/a.rs", "line": 9,
      "certainty": "exact" },
    { "pc": "0x30", "function": "main", "certainty": "exact" } ] }"#;

const THEIRS: &str = r#"{ "tid": 1, "frames": [
    { "pc": 18, "kind": "normal", "function": "read", "line": 0, "before": "0f05" },
    { "pc": 32, "kind": "inline", "function": "x", "linkage": "_RNvC1a5inner",
      "file": "/v/w/src/a.rs", "line": 7, "before": "" },
    { "pc": 32, "kind": "normal", "function": "x", "linkage": "_RNvMC1aNtB2_1A5outer",
      "file": "/v/w/src/a.rs", "line": 9, "before": "" },
    { "pc": 48, "kind": "normal", "function": "main", "line": 0, "before": "" } ] }"#;

/// Compares the two, the report's with a change.
fn changed(change: impl FnOnce(&mut OurThread)) -> Outcome {
    let mut ours: OurThread = serde_json::from_str(OURS).expect("a thread");
    let theirs: TheirThread = serde_json::from_str(THEIRS).expect("a thread");
    change(&mut ours);
    let nowhere = Corpus {
        name: "none",
        program: "/nonexistent".into(),
        debug_dir: None,
        whole: "/nonexistent".into(),
    };
    compare(&ours, &theirs, &Modules::none(), &mut Aliases::new(&nowhere))
}

#[track_caller]
fn differs(fields: &[Field], change: impl FnOnce(&mut OurThread)) {
    let found: Vec<_> = changed(change).differences.iter().map(|found| found.field).collect();
    assert_eq!(found, fields);
}

#[test]
fn no_change_goes_unseen() {
    let outcome = changed(|_| {});
    assert_eq!((outcome.compared, outcome.differences.len()), (4, 0));

    differs(&[Field::Address], |ours| ours.frames[0].pc = "0x11".into());
    differs(&[Field::Address], |ours| ours.frames[3].pc = "0x31".into());
    differs(&[Field::Module], |ours| {
        ours.frames[3].module = Some("libc.so.6".into());
        ours.frames[3].module_offset = Some("0x30".into());
    });
    for (index, name) in [(0, "write"), (1, "a::other"), (1, "b::inner"), (2, "a::outer")] {
        differs(&[Field::Function], |ours| ours.frames[index].function = Some(name.into()));
    }
    differs(&[Field::Function], |ours| ours.frames[2].function = None);
    for file in ["x/src/a.rs", "c.rs", ".rs", "v/src/a.rs"] {
        differs(&[Field::File], |ours| ours.frames[1].file = Some(file.into()));
    }
    differs(&[Field::File], |ours| ours.frames[1].file = None);
    differs(&[Field::Line], |ours| ours.frames[2].line = 8);
    differs(&[Field::Inlined], |ours| drop(ours.frames.remove(1)));
    differs(&[Field::Inlined], |ours| ours.frames.insert(1, ours.frames[1].clone()));
    differs(&[Field::Inlined], |ours| ours.frames[3].signal_frame = true);
    differs(&[Field::Missing], |ours| drop(ours.frames.pop()));
    differs(&[Field::Invented], |ours| ours.frames.push(ours.frames[3].clone()));
}

#[test]
fn a_cut_that_is_said_is_no_difference() {
    let cut = |ours: &mut OurThread| {
        ours.stack_end = "window_full".into();
        ours.frames.pop();
    };
    let outcome = changed(cut);
    assert_eq!((outcome.beyond, outcome.differences.len()), (1, 0));
    assert!(!outcome.is_cut_for_nothing);
    assert!(changed(|ours| ours.stack_end = "window_full".into()).is_cut_for_nothing);
}

#[test]
fn a_mark_holds_for_all_that_follows() {
    let outcome = changed(|ours| {
        ours.frames[1].certainty = "frame_pointer".into();
        ours.frames[3].pc = "0x40".into();
    });
    assert!(outcome.differences[0].is_marked);
    assert_eq!(outcome.marked.values().sum::<usize>(), 1);
    assert!(!changed(|ours| ours.frames[3].pc = "0x40".into()).differences[0].is_marked);
}
