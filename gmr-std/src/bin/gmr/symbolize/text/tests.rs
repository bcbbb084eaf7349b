//! On reports made by hand, with an answer for every frame.

use super::super::modules::Unknown;
use super::super::stack::testing::Fixed;
use super::*;

const MODULES: &str = "\
====                            Modules                             ====
========================================================================
loaded = 4

start           end             load_bias       build_id                                  file
--------------  --------------  --------------  ----------------------------------------  ------------------------
0x1000          0x2000          0x1000          0a0b                                      /usr/bin/heat api (deleted)
0x3000  0x4000  0x3000  None  /lib/ in libc+0x1.so
0x5000  0x6000  0x5000                                                      [vdso]
0x7000  0x8000  0x7000  -  /a
0x9000  0xa000  0x9000  zz
no row
0x7000  0x8000  0x7000  -  /b/a
";

fn listed() -> Modules {
    modules(MODULES.as_bytes()).unwrap()
}

fn rewritten(stack: &str, lookup: &mut Fixed) -> String {
    let report = format!("------   Thread #7 x   ------\nstate = sleeping\n\n{stack}");
    let mut out = Vec::new();
    rewrite(report.as_bytes(), &listed(), false, lookup, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    out.strip_prefix("------   Thread #7 x   ------\nstate = sleeping\n\n").unwrap().to_owned()
}

#[test]
fn the_section_modules() {
    let modules = listed();
    let paths: Vec<_> = modules.all().iter().map(|module| &*module.path).collect();
    assert_eq!(
        paths,
        ["/usr/bin/heat api (deleted)", "/lib/ in libc+0x1.so", "[vdso]", "/a", "/b/a"]
    );
    let ids: Vec<_> = modules.all().iter().map(|module| module.build_id.clone()).collect();
    assert_eq!(ids, [Some(vec![0x0a, 0x0b]), None, None, None, None]);
    assert_eq!(modules.all()[0].load_bias, 0x1000);
    assert_eq!(modules.by_name("a"), Err(Unknown::Ambiguous));
    // Rows elsewhere are none.
    assert!(super::modules(MODULES.replace("Modules", "Queues ").as_bytes()).is_none());
    let (heading, _) = MODULES.split_once("start").unwrap();
    assert!(super::modules(heading.as_bytes()).unwrap().all().is_empty());
}

#[test]
fn frames_grow_and_move_on() {
    let mut lookup = Fixed::answering(&["inner", "middle", "outer"]);
    let found = rewritten(
        "#0  heat api (deleted)+0x10 [inferred]\n\
             #1  x.rs:5 in f (inlined)\n\
             #2  heat api (deleted)+0x20 in g\r\n\
             INFO somebody else's line\n\
             #3  <signal handler called> at [vdso]+0x30\n\
             #4  [vdso]+0x40 in h{...cut} [frame pointer]\n\
             #5  heat api (deleted)+0x50 in i\r\n\
             (the stack ends early)\n\
             \n\
             #6  heat api (deleted)+0x60\n",
        &mut lookup,
    );
    assert_eq!(
        found,
        "#0  inner.rs:1 in inner (inlined) [inferred]\n\
             #1  middle.rs:2 in middle (inlined) [inferred]\n\
             #2  outer.rs:3 in outer [inferred]\n\
             #3  x.rs:5 in f (inlined)\n\
             #4  heat api (deleted)+0x20 in g\r\n\
             INFO somebody else's line\n\
             #5  <signal handler called> at inner.rs:1 in inner (inlined)\n\
             #6  <signal handler called> at middle.rs:2 in middle (inlined)\n\
             #7  <signal handler called> at outer.rs:3 in outer\n\
             #8  inner.rs:1 in inner (inlined) [frame pointer]\n\
             #9  middle.rs:2 in middle (inlined) [frame pointer]\n\
             #10 outer.rs:3 in outer [frame pointer]\n\
             #11 inner.rs:1 in inner (inlined)\r\n\
             #12 middle.rs:2 in middle (inlined)\r\n\
             #13 outer.rs:3 in outer\r\n\
             (the stack ends early)\n\
             \n\
             #6  heat api (deleted)+0x60\n"
    );
    let asked: Vec<_> = lookup.asked.iter().map(|it| (it.svma, it.shown.as_deref())).collect();
    assert_eq!(asked, [(0x10, None), (0x30, None), (0x40, Some("h{...cut}")), (0x4f, Some("i"))]);
}

#[test]
fn names_of_modules_may_hold_anything() {
    let mut lookup = Fixed::answering(&["outer"]);
    for (line, name) in [
        ("#0   in libc+0x1.so+0x10", " in libc+0x1.so"),
        ("#0   in libc+0x1.so+0x10 in f+0x2 in g", " in libc+0x1.so"),
        ("#0  nothing+0x1 in f", "nothing"),
        ("#0  a+0x1", "a"),
    ] {
        lookup.asked.clear();
        rewritten(line, &mut lookup);
        assert_eq!(lookup.asked.len(), 1, "{line}");
        assert_eq!(lookup.asked[0].name, name, "{line}");
    }
}

#[test]
fn what_is_no_unresolved_frame_stays() {
    let mut lookup = Fixed::answering(&["inner", "outer"]);
    for stack in [
        "#0  x.rs:5 in f+0x10\n",
        "#0  0x7f0000001000\n",
        "#0  <signal handler called>\n",
        "#0  +0x10\n",
        "#0  a+0xg\n",
        "#0  a+0x1x\n",
        "#0  a+0x10000000000000000\n",
        "#1  a+0x10\n",
        "#+0 a+0x10\n",
        "#0\n",
        "#0 a+0x10\n",
        "# a+0x10\n",
        "#0  0x1\n#2  a+0x10\n#1  a+0x10\n",
        "\n#0 (behind an empty line, before any frame)\n",
        "====\n#0  a+0x10\n",
    ] {
        assert_eq!(rewritten(stack, &mut lookup), stack);
    }
    assert!(lookup.asked.is_empty(), "{:?}", lookup.asked);
    let long = format!("#0  a+0x10 in {}\n", "x".repeat(line::MAX_LINE_BYTES));
    assert_eq!(rewritten(&long, &mut lookup), long);
}

#[test]
fn folded_threads_indented_blocks_and_the_last_line() {
    let mut lookup = Fixed::answering(&["inner", "outer"]);
    let report = "  ------ 2 threads with the same stack: a #1, … ------\n  \
                      #1 a: sleeping\n    doing = x (1 s)\n  #2 b: running\n\n  \
                      #0  [vdso]+0x1\n  \
                      #1  … 8 runtime entry frames left out (to [vdso]+0x10 in _start)";
    let mut out = Vec::new();
    rewrite(report.as_bytes(), &listed(), false, &mut lookup, &mut out).unwrap();
    assert_eq!(lookup.asked.len(), 1);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "  ------ 2 threads with the same stack: a #1, … ------\n  \
             #1 a: sleeping\n    doing = x (1 s)\n  #2 b: running\n\n  \
             #0  inner.rs:1 in inner (inlined)\n  #1  outer.rs:2 in outer\n  \
             #2  … 8 runtime entry frames left out (to [vdso]+0x10 in _start)"
    );
}

const STACK: &str = "#0  [vdso]+0x10\n#1  [vdso]+0x20\n#2  [vdso]+0x30\n#3  [vdso]+0x40\n";

fn entry_lookup() -> Fixed {
    Fixed::by_address(&[
        (0x10, &["f"]),
        (0x1f, &["g", entry::MARKER]),
        (0x2f, &["i", "std::rt::x"]),
        (0x3f, &["_start-"]),
    ])
}

#[test]
fn entry_frames_are_left_out_at_the_end_of_a_whole_stack() {
    let short = "#0  f.rs:1 in f\n#1  g.rs:1 in g (inlined)\n\
                 #2  … 3 runtime entry frames left out (to [vdso]+0x40 in _start)\n";
    let found = rewritten(&format!("{STACK}\n"), &mut entry_lookup());
    assert_eq!(found, format!("{short}\n"));
    assert_eq!(rewritten(&found, &mut entry_lookup()), found);
    // Lines of others stay, ends of lines too.
    let mixed = STACK.replace("#3", "INFO other\n#3").replace('\n', "\r\n");
    assert_eq!(
        rewritten(&format!("{mixed}\r\n"), &mut entry_lookup()),
        format!("{}INFO other\r\n\r\n", short.replace('\n', "\r\n"))
    );
    // What says that frames may be missing, or that one is not certain.
    for (stack, why) in [
        (STACK.to_owned(), "no end"),
        (format!("{STACK}(stack cut after 4 frames)\n\n"), "an early end"),
        (format!("{STACK}====\n"), "a heading"),
        (format!("{STACK}\n#4  0x77\n"), "a further frame"),
        (format!("{STACK}#9  0x77\n\n"), "a frame out of order"),
        (format!("{}\n", STACK.replace("0x10", "0x10 [inferred]")), "a guess"),
        (format!("{}\n", STACK.replace("0x40", "0x40 [frame pointer]")), "a guess at the end"),
        (format!("{}\n", STACK.replace("[vdso]+0x40", "0x7777")), "an address"),
        (format!("stack = partial: x\n{STACK}\n"), "a part"),
    ] {
        let found = rewritten(&stack, &mut entry_lookup());
        assert!(found.contains("#2  std::sys::") && !found.contains("left out"), "{why}: {found}");
    }
}

#[test]
fn the_marker_without_a_line_is_shown_and_later_counted() {
    let mut names = Fixed::by_address(&[
        (0x10, &["f-"]),
        (0x1f, &["std::sys::backtrace::__rust_begin_short_backtrace-"]),
        (0x2f, &["std::rt::x-"]),
        (0x3f, &["_start-"]),
    ]);
    let found = rewritten(&format!("{STACK}\n"), &mut names);
    assert_eq!(
        found,
        "#0  [vdso]+0x10 in f\n\
         #1  [vdso]+0x20 in std::sys::backtrace::__rust_begin_short_backtrace\n\
         #2  … 2 runtime entry frames left out (to [vdso]+0x40 in _start)\n\n"
    );
    assert_eq!(
        rewritten(&found, &mut entry_lookup()),
        "#0  f.rs:1 in f\n#1  g.rs:1 in g (inlined)\n\
         #2  … 3 runtime entry frames left out (to [vdso]+0x40 in _start)\n\n"
    );
}

#[test]
fn no_stack_is_held_without_end() {
    for filler in ["x\n".to_owned(), "#N a.rs:1 in std::a (inlined)\n".to_owned()] {
        let mut stack = "#0  [vdso]+0x10\n#1  [vdso]+0x20\n".to_owned();
        for number in 2..2 * entry::MAX_HELD {
            stack += &filler.replace("N", &format!("{number:<2}"));
        }
        let found = rewritten(&format!("{stack}\n"), &mut entry_lookup());
        assert!(found.contains("__rust_begin_short_backtrace"));
        assert_eq!(found.lines().count(), stack.lines().count() + 2);
    }
}
