//! Small files that ask for much work or memory: the limits hold.

use super::memory::peak_growth_kib;
use super::*;

/// Most tests stop here. Without limits each would run for a minute or more.
const DEADLINE: Duration = Duration::from_millis(300);

/// How much later an answer may be: other tests run at the same time.
const SLACK: Duration = Duration::from_secs(3);

/// What other tests may take at the same time, in KiB.
const OTHERS_KIB: u64 = 100 << 10;

/// The compressed sections lie in memory: reading them is no I/O.
const COMPRESSED: &str = "-Wl,--compress-debug-sections=zlib";

/// An assembler source, in DWARF 4: 64 bytes of code, an abbreviation of a unit
/// (code 1: `low_pc`, `high_pc`, `stmt_list`) and those given.
fn source(abbreviations: &str, sections: &str) -> String {
    format!(
        ".text
        .globl _start
        _start: .skip 64, 0x90
        .section .debug_abbrev,\"\",@progbits
        .byte 1,0x11,1, 0x11,1, 0x12,6, 0x10,0x17, 0,0
        {abbreviations}
        .byte 0
        {sections}\n"
    )
}

/// Units of `.debug_info`, their roots with what follows in them.
fn units(count: u32, root: &str, children: &str) -> String {
    format!(
        ".section .debug_info,\"\",@progbits
        .rept {count}
        .long 2f - 1f
        1: .short 4
        .long 0
        .byte 8
        {root}
        {children}
        .byte 0
        2:
        .endr\n"
    )
}

/// A root of abbreviation 1: all of the code.
const ROOT: &str = ".byte 1\n .quad _start\n .long 64\n .long 0\n";

/// `.debug_line` with a program; before its end all code is line 1 of file 1.
fn line(program: &str) -> String {
    format!(
        ".section .debug_line,\"\",@progbits
        .long 2f - 1f
        1: .short 4
        .long 4f - 3f
        3: .byte 1,1,1,-5,14,13, 0,1,1,1,1,0,0,0,1,0,0,1
        .byte 0
        .asciz \"a.c\"
        .byte 0,0,0
        .byte 0
        4: {program}
        .byte 0,9,2
        .quad _start
        .byte 1, 2,64, 0,1,1
        2:\n"
    )
}

/// Assembles a program, and looks `count` addresses up in it; how many were
/// found.
fn look_up_in(
    name: &str,
    source: &str,
    link: &str,
    count: u64,
    limits: &dyn Fn() -> Limits<'static>,
) -> (LineTable, usize) {
    let fixture = Fixture::new(name);
    std::fs::write(fixture.path("evil.s"), source).unwrap();
    fixture.run("gcc", &format!("-nostdlib -static evil.s -o evil {link}"));
    let path = fixture.path("evil");
    let svmas = sample(&path, count);
    let object = object(&path, &svmas);
    let began = Instant::now();
    let (growth_kib, table) = peak_growth_kib(|| resolve(vec![object], &limits()));
    let took = began.elapsed();
    let kib = std::fs::metadata(&path).unwrap().len() >> 10;
    println!("{name}: {kib} KiB: {took:.1?}, peak +{growth_kib} KiB: {}", table.summary());
    let limits = limits();
    assert!(growth_kib < (limits.memory_bytes >> 10) + OTHERS_KIB, "+{growth_kib} KiB");
    assert!(Instant::now() + took < limits.deadline + SLACK, "{took:?}");
    let found = svmas.iter().filter(|&&svma| table.frames(svma).count() > 0).count();
    (table, found)
}

fn in_time(name: &str, source: &str, link: &str) {
    let soon = || Limits { deadline: Instant::now() + DEADLINE, ..limits(64 << 20) };
    let (table, _) = look_up_in(name, source, link, 4, &soon);
    assert!(table.was_cut() && table.summary().contains("not in time"), "{}", table.summary());
}

#[test]
fn empty_ranges() {
    // Each function has the same list of empty ranges.
    let functions = units(1, ROOT, ".fill 400000,5,2");
    let ranges = ".section .debug_ranges,\"\",@progbits\n .fill 200000,8,1\n .quad 0,0\n";
    let sections = functions + &line("") + ranges;
    in_time("empty-ranges", &source(".byte 2,0x2e,0, 0x55,0x17, 0,0", &sections), COMPRESSED);
}

#[test]
fn attributes_without_bytes() {
    // Of functions, which are read, and of types, which are skipped.
    for (name, tag) in [("functions", 0x2e), ("types", 0x13)] {
        let entries = units(1, ROOT, ".fill 3000000,1,2");
        let abbreviations = format!(".byte 2,{tag},0\n .fill 100000,2,0x1934\n .byte 0,0");
        in_time(name, &source(&abbreviations, &(entries + &line(""))), COMPRESSED);
    }
}

#[test]
fn instructions_without_rows() {
    // Ten million, run for each of the units: none of them finds anything.
    let program = ".fill 10000000,1,6\n .byte 0,1,1";
    let sections = units(5000, ROOT, "") + &line(program).replace(".quad _start", ".quad 0");
    in_time("no-rows", &source("", &sections), COMPRESSED);
}

#[test]
fn files_that_a_program_defines() {
    let sections = units(1, ROOT, "") + &line(".fill 1500000,7,0x00030500");
    let few = || limits(8 << 20);
    let (table, found) = look_up_in("define-file", &source("", &sections), "", 4, &few);
    assert_eq!(found, 4, "{}", table.summary());
}

#[test]
fn ranges_with_the_same_addresses() {
    let root = ".byte 2\n .quad _start\n .long 0\n .long 0\n";
    let ranges = ".section .debug_ranges,\"\",@progbits
        .rept 600000
        .quad 0, 64
        .endr
        .quad 0, 0\n";
    let sections = units(1, root, "") + &line("") + ranges;
    let abbreviations = ".byte 2,0x11,1, 0x11,1, 0x55,0x17, 0x10,0x17, 0,0";
    let few = || limits(8 << 20);
    let source = source(abbreviations, &sections);
    let (table, found) = look_up_in("same-ranges", &source, "", 64, &few);
    assert_eq!(found, 64, "{}", table.summary());
}
