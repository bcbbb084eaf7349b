//! Every stack of a report against gdb's, of the same process at the same time.
//!
//! The program is `tests/corpus`: a hundred threads, each of another kind, each
//! at rest. It is built in the ways that programs are built ([`build`]), run,
//! asked for a report, and looked at by gdb ([`observe`]). Then each frame of
//! each thread is compared: address, function, file, line, whether it is
//! inlined ([`compare`]). What differs is in a list, with the reason
//! ([`known`]); anything else fails.
//!
//! Each build prints how many of its frames are equal:
//!
//! ```text
//! cargo test -p gmr-tests --test oracle -- --ignored --nocapture
//! ```
//!
//! Limits: x86-64, this machine's libc, without the system's debug files.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "oracle/build.rs"]
mod build;
#[path = "oracle/compare.rs"]
mod compare;
#[path = "oracle/known.rs"]
mod known;
#[path = "oracle/modules.rs"]
mod modules;
#[path = "oracle/names.rs"]
mod names;
#[path = "oracle/observe.rs"]
mod observe;

use std::collections::{BTreeMap, BTreeSet};

use build::Corpus;
use compare::{Difference, Field, compare};
use known::{KNOWN, Known, Verdict};
use names::Aliases;
use observe::observe;

/// Of a release build's frames, so many have to be equal.
const LEAST_RATE: f64 = 0.999;

/// Fewer threads or frames than these: the comparison itself is broken.
const LEAST_THREADS: usize = 80;
const LEAST_FRAMES: usize = 1500;

/// Unexplained differences that are printed.
const MOST_SHOWN: usize = 40;

/// What came of one build.
#[derive(Default)]
struct Tally {
    threads: usize,
    moved: Vec<String>,
    compared: usize,
    equal: usize,
    marked: BTreeMap<String, usize>,
    cut_for_nothing: Vec<String>,
    set_aside: usize,
    beyond: usize,
    tail_calls: usize,
    /// How the program's own functions are mangled: `_ZN` or `_R`.
    manglings: BTreeSet<&'static str>,
    unexplained: Vec<Difference>,
    used: BTreeSet<usize>,
}

impl Tally {
    fn rate(&self) -> f64 {
        self.equal as f64 / self.compared as f64
    }

    fn print(&self, name: &str) {
        println!(
            "{name}: {} of {} frames equal ({:.3} %), of them marked {:?}; {} guesses set aside, \
             {} beyond the window, {} tail calls left out; {} threads, {} moved {:?}",
            self.equal,
            self.compared,
            100.0 * self.rate(),
            self.marked,
            self.set_aside,
            self.beyond,
            self.tail_calls,
            self.threads,
            self.moved.len(),
            self.moved,
        );
    }
}

/// Compares all threads of one process.
fn look_at(corpus: &Corpus, arguments: &[&str]) -> Tally {
    let observed = observe(corpus, arguments);
    let mut aliases = Aliases::new(corpus);
    let mut tally = Tally::default();
    for (tid, theirs) in &observed.theirs {
        let ours = observed.ours.get(tid).unwrap_or_else(|| panic!("thread {tid} is not reported"));
        if ours.capture == "own" {
            continue;
        }
        let is_captured = ["ok", "partial"].contains(&&*ours.capture);
        assert!(is_captured, "{}: {}", ours.name, ours.capture);
        if !observed.after.get(tid).is_some_and(|after| ours.rests_as(after)) {
            tally.moved.push(ours.name.clone());
            continue;
        }
        let own = theirs.frames.iter().filter_map(|frame| frame.linkage.as_deref());
        for name in own.filter(|name| name.contains("6corpus")) {
            tally.manglings.extend(["_ZN", "_R"].iter().filter(|kind| name.starts_with(**kind)));
        }
        let outcome = compare(ours, theirs, &observed.modules, &mut aliases);
        tally.threads += 1;
        tally.compared += outcome.compared;
        for (certainty, count) in outcome.marked {
            *tally.marked.entry(certainty).or_default() += count;
        }
        if outcome.is_cut_for_nothing {
            tally.cut_for_nothing.push(ours.name.clone());
        }
        tally.equal += outcome.compared - outcome.differences.len();
        tally.beyond += outcome.beyond;
        tally.tail_calls += outcome.tail_calls;
        for difference in outcome.differences {
            let mut entries = KNOWN.iter().enumerate();
            match entries.find(|(_, known)| known.explains(corpus.name, &difference)) {
                // An unmarked frame that is not there has no excuse.
                Some(_) if difference.field == Field::Invented && !difference.is_marked => {
                    tally.unexplained.push(difference);
                }
                Some((index, known)) => {
                    tally.used.insert(index);
                    if known.verdict == Verdict::Guess {
                        tally.set_aside += 1;
                        tally.compared -= 1;
                    }
                }
                None => tally.unexplained.push(difference),
            }
        }
        if let Some(error) = &theirs.error {
            println!("{}: gdb: {error}", ours.name);
        }
    }
    for (tid, ours) in &observed.ours {
        assert!(observed.theirs.contains_key(tid), "{}: gdb does not see it", ours.name);
    }
    tally.print(corpus.name);
    tally
}

/// Fails for what no entry explains.
fn judge(name: &str, tally: &Tally) {
    let mut alike = BTreeMap::<String, Vec<&Difference>>::new();
    for difference in &tally.unexplained {
        alike.entry(difference.likeness()).or_default().push(difference);
    }
    let shown = alike.values().take(MOST_SHOWN).map(|all| format!("{} x {}", all.len(), all[0]));
    let shown: Vec<_> = shown.collect();
    assert!(
        shown.is_empty(),
        "{name}: {} differences that no entry explains, of {} sorts:\n{}",
        tally.unexplained.len(),
        alike.len(),
        shown.join("\n")
    );
    assert!(tally.moved.is_empty(), "{name}: threads at rest moved: {:?}", tally.moved);
    let cut = &tally.cut_for_nothing;
    assert!(cut.is_empty(), "{name}: whole stacks that are said to be cut: {cut:?}");
    assert!(tally.threads >= LEAST_THREADS, "{name}: {} threads", tally.threads);
    assert!(tally.compared >= LEAST_FRAMES, "{name}: {} frames", tally.compared);
}

#[test]
fn the_stacks_of_usual_builds_are_gdbs() {
    if !observe::has_gdb() {
        eprintln!("gdb is not installed: nothing to compare with");
        return;
    }
    for build in &build::USUAL {
        let tally = look_at(&build::make(build), &[]);
        judge(build.name, &tally);
        if build.name == "release" {
            assert!(tally.rate() >= LEAST_RATE, "{:.3} %", 100.0 * tally.rate());
        }
    }
}

/// With `GMR_ORACLE=release,system` only these are compared.
fn is_wanted(name: &str) -> bool {
    std::env::var("GMR_ORACLE").is_ok_and(|names| names.split(',').any(|one| one == name))
}

#[test]
#[ignore = "builds the corpus six more times"]
fn the_stacks_of_all_builds_are_gdbs() {
    let takes_all = std::env::var_os("GMR_ORACLE").is_none();
    let mut tallies = Vec::new();
    let mut look = |corpus: &Corpus, arguments: &[&str]| {
        if takes_all || is_wanted(corpus.name) {
            tallies.push((corpus.name, look_at(corpus, arguments)));
        }
    };
    for build in build::USUAL.iter().chain(&build::FURTHER) {
        if !takes_all && !is_wanted(build.name) && build.name != "release" {
            continue;
        }
        let corpus = build::make(build);
        look(&corpus, &[]);
        if build.name == "release" {
            look(&build::linked(&corpus), &[]);
            look(&build::by_build_id(&corpus), &[]);
            look(&build::compressed(&corpus), &[]);
            match build::with_system(&corpus) {
                Some(corpus) => look(&corpus, &["--system"]),
                None => println!("system: libc's debug file is not installed (libc6-dbg)"),
            }
            look(&Corpus { name: "undumpable", ..corpus }, &["--undumpable"]);
        }
    }
    let mut used = BTreeSet::<usize>::new();
    for (name, tally) in &tallies {
        judge(name, tally);
        used.extend(&tally.used);
    }
    let manglings: BTreeSet<_> = tallies.iter().flat_map(|(_, tally)| &tally.manglings).collect();
    assert!(manglings.len() == 2 || !takes_all, "not all kinds of names: {manglings:?}");
    for (index, known) in KNOWN.iter().enumerate().filter(|_| takes_all) {
        let Known { kind, function, build, reason, .. } = known;
        let was_built = tallies.iter().any(|(name, _)| name.contains(build));
        let was_seen = used.contains(&index) || !was_built;
        assert!(was_seen, "never seen: {kind}, {function}: {reason}");
    }
}
