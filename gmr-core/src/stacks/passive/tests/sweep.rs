//! The analyser against the call frame information at call sites of every
//! loaded object: wherever the information counts from rsp, both have to say
//! the same; where it counts from rbp, what the analyser would accept agrees
//! by its own rules, and is counted.
//!
//!     cargo test --release -p gmr-core --features full --lib \
//!         tests::sweep -- --ignored --nocapture
//!
//! LD_PRELOAD brings in more objects to look at.

use std::collections::BTreeMap;
use std::println;
use std::string::String;
use std::vec::Vec;

use super::super::analyse::{Analyser, MAX_FUNCTION_BYTES};
use super::super::decode::{Flow, decode};
use crate::model::Certainty;
use crate::stacks::modules::{Module, Table};
use crate::stacks::rules::{Base, CallFrameInfo, Context, Rule, judge, rows};
use crate::stacks::unwind::{Found, Modules};

/// Call sites looked at of one function, spread over it.
const SITES: usize = 6;

#[derive(Debug, Default)]
struct Counts {
    functions: u32,
    too_long: u32,
    rsp_equal: u32,
    rsp_unknown: u32,
    rbp_proven: u32,
    rbp_unknown: u32,
}

/// First addresses of all functions that `.eh_frame_hdr` lists.
fn functions(info: &CallFrameInfo<'_>) -> Vec<u64> {
    let number = |at: usize| i32::from_ne_bytes(info.header[at..at + 4].try_into().unwrap());
    assert_eq!(info.header[2..4], [0x03, 0x3b]);
    let count = number(8) as usize;
    (0..count)
        .map(|index| info.header_svma.wrapping_add_signed(i64::from(number(12 + 8 * index))))
        .collect()
}

fn sites(code: &[u8]) -> Vec<usize> {
    let mut at = 0;
    let mut found = Vec::new();
    while let Some(decoded) = decode(&code[at..]) {
        at += usize::from(decoded.length);
        if decoded.flow == Flow::Call {
            found.push(at);
        }
    }
    found
}

fn sweep(table: &Table, module: &Module, contradictions: &mut Vec<String>) -> Counts {
    let mut counts = Counts::default();
    let Some((bias, Some(info))) = table.lookup(module.start) else { return counts };
    let mut context = Context::new_in();
    let mut analyser = Analyser::new();
    for start in functions(&info) {
        let Some(range) = rows(&info, start, &mut context, |_| true) else { continue };
        let length = (range.end - range.start) as usize;
        counts.functions += 1;
        if length > MAX_FUNCTION_BYTES {
            counts.too_long += 1;
            continue;
        }
        let mut code = std::vec![0; length];
        if table.code(bias + start, &mut code) != length {
            continue;
        }
        let sites = sites(&code);
        for site in sites.iter().step_by(sites.len().div_ceil(SITES).max(1)) {
            let found = Found {
                pc: bias + start + *site as u64,
                certainty: Certainty::Exact,
                is_signal_frame: false,
                is_interrupted: false,
            };
            let svma = found.lookup_address() - bias;
            let Rule::Step { base, offset, .. } = judge(&info, svma, &mut context) else {
                continue;
            };
            let standing = analyser.standing(table, &found, &mut context);
            match (base, standing) {
                (Base::StackPointer, Some(known)) if i64::from(known.sp) == -offset => {
                    counts.rsp_equal += 1;
                }
                (Base::StackPointer, Some(known)) => contradictions.push(std::format!(
                    "{}+{svma:x}: rsp at CFA{:+} by code, CFA{:+} by information",
                    module.file_name().escape_ascii(),
                    known.sp,
                    -offset
                )),
                (Base::StackPointer, None) => counts.rsp_unknown += 1,
                (Base::FramePointer, Some(known)) => match known.bp {
                    Some(bp) if i64::from(bp) == -offset => counts.rbp_proven += 1,
                    Some(bp) => contradictions.push(std::format!(
                        "{}+{svma:x}: rbp at CFA{bp:+} by code, CFA{:+} by information",
                        module.file_name().escape_ascii(),
                        -offset
                    )),
                    None => counts.rbp_unknown += 1,
                },
                (Base::FramePointer, None) => counts.rbp_unknown += 1,
            }
        }
    }
    counts
}

#[test]
#[ignore = "looks at every function of the program and its libraries"]
fn the_analyser_contradicts_no_call_frame_information() {
    let table = Table::collect();
    let mut contradictions = Vec::new();
    let mut all = BTreeMap::new();
    for module in table.modules() {
        let counts = sweep(&table, module, &mut contradictions);
        println!("{}: {counts:?}", module.path.escape_ascii());
        all.insert(module.start, counts);
    }
    for line in &contradictions {
        println!("{line}");
    }
    let sum = |field: fn(&Counts) -> u32| all.values().map(field).sum::<u32>();
    assert!(sum(|counts| counts.rsp_equal) > 1_000 && sum(|counts| counts.rbp_proven) > 100);
    assert!(contradictions.is_empty());
}
