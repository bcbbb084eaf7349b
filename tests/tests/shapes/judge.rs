//! Is what a report says of a task true, and is it all?
//!
//! Levels in the program's own files are compared with the truth: file, line,
//! function, order and depth. Other levels are libraries': their names have to
//! contain the leaf that is expected, and where they name a line, that line of the
//! library's source has to hold an `.await` ([`sources`](super::sources)).
//!
//! | | |
//! |---|---|
//! | exact | all of the truth, and nothing else |
//! | undecoded | less, and the report says that it does not know |
//! | incomplete | less, and it does not say so; or a leaf of another name |
//! | wrong | a line that is not true |
//! | missing | the report does not have the task |
//!
//! Limits: a library's own await tree is not compared, only where it ends.

use std::fmt;

use super::sources::is_at_an_await;
use super::truth::{At, Below, Node};
use gmr_tests::green::{Kind, Task, Tree, tree};

/// Where the program's own files are, as the debug information writes it.
const OWN: &str = "src/shapes/";

/// What came of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Exact,
    Undecoded(String),
    Incomplete(String),
    Wrong(String),
    Missing,
}

impl Verdict {
    pub(crate) fn is_exact(&self) -> bool {
        *self == Verdict::Exact
    }

    pub(crate) fn is_wrong(&self) -> bool {
        matches!(self, Verdict::Wrong(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Exact => f.write_str("exact"),
            Verdict::Undecoded(why) => write!(f, "undecoded: {why}"),
            Verdict::Incomplete(what) => write!(f, "incomplete: {what}"),
            Verdict::Wrong(what) => write!(f, "WRONG: {what}"),
            Verdict::Missing => f.write_str("missing"),
        }
    }
}

/// Judges one task.
pub(crate) fn judge(truth: &Below, state: &str, task: &Task) -> Verdict {
    let mut findings = Findings::default();
    if task.state != state {
        findings.wrong.push(format!("is {}, not {state}", task.state));
    }
    if let Some(reason) = &task.undecoded {
        findings.marks.push(reason.clone());
    }
    for level in &task.stack {
        let place = level.file.as_deref().zip(level.line);
        if let (Kind::Suspended, Some((file, line))) = (level.kind, place)
            && !file.contains(OWN)
            && is_at_an_await(file, line) == Some(false)
        {
            findings.wrong.push(format!("{file}:{line} is no await"));
        }
        if matches!(level.kind, Kind::Returned | Kind::Panicked) {
            findings.wrong.push(format!("{} is over", level.function));
        }
        if level.kind == Kind::Undecoded {
            findings.marks.push(level.note.clone().unwrap_or_default());
        }
    }
    findings.compare(truth, &tree(&task.stack));
    findings.verdict()
}

#[derive(Debug, Default)]
struct Findings {
    /// Said, and not true.
    wrong: Vec<String>,
    /// Not said.
    absent: Vec<String>,
    /// What the report says that it does not know.
    marks: Vec<String>,
}

/// What is below a level as far as the next ones of the program's own.
#[derive(Default)]
struct Reach<'t, 'l> {
    own: Vec<&'t Tree<'l>>,
    /// For each end among the libraries', the names from the top.
    ends: Vec<Vec<&'l str>>,
}

impl<'t, 'l> Reach<'t, 'l> {
    fn of(trees: &'t [Tree<'l>]) -> Self {
        let mut reach = Self::default();
        reach.add(trees, &mut Vec::new());
        reach
    }

    fn add(&mut self, trees: &'t [Tree<'l>], names: &mut Vec<&'l str>) {
        for tree in trees {
            let Tree { level, below } = tree;
            let is_own = level.file.as_deref().is_some_and(|file| file.contains(OWN));
            match level.kind {
                Kind::Suspended if is_own => self.own.push(tree),
                Kind::InMacro => self.own.push(tree),
                // What was never polled waits for nothing.
                Kind::Unresumed => {}
                _ => {
                    names.push(&level.function);
                    if below.is_empty() {
                        self.ends.push(names.clone());
                    }
                    self.add(below, names);
                    names.pop();
                }
            }
        }
    }
}

impl Findings {
    fn compare(&mut self, truth: &Below, trees: &[Tree<'_>]) {
        let reach = Reach::of(trees);
        let mut places: Vec<&At> = Vec::new();
        let (mut leaves, mut ends): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut unknown: Option<&Below> = None;
        for node in &truth.nodes {
            match node {
                Node::At(at) => places.push(at),
                Node::Leaf(name) => leaves.push(name),
                Node::MayBe(name) => ends.push(name),
                Node::Unknown(below) => unknown = Some(below),
            }
        }
        for name in &leaves {
            if !reach.ends.iter().flatten().any(|seen| seen.contains(name)) {
                self.absent.push(format!("no {name}"));
            }
        }
        ends.extend(&leaves);
        for names in &reach.ends {
            let is_expected = names.iter().any(|name| ends.iter().any(|end| name.contains(end)));
            if !is_expected && unknown.is_none() {
                self.absent.push(format!("ends in {}", names.join(" > ")));
            }
        }
        let mut left = reach.own;
        for at in places {
            let index = if truth.in_any_order {
                left.iter().position(|seen| is_at(at, seen) && Self::is_all(&at.below, seen))
            } else {
                left.iter().position(|seen| is_at(at, seen))
            };
            match index {
                Some(index) if index == 0 || truth.in_any_order => {
                    let seen = left.remove(index);
                    self.check(at, seen);
                    self.compare(&at.below, &seen.below);
                }
                _ => self.absent.push(format!("no {}", at.mark)),
            }
        }
        match unknown {
            // Not polled yet, or cannot be found: but if it is there, it is true.
            Some(below) if !left.is_empty() && !below.nodes.is_empty() => {
                let mut deeper = Findings::default();
                deeper.compare(below, trees);
                self.wrong.extend(deeper.wrong);
                self.wrong.extend(deeper.absent.into_iter().filter(|what| what.starts_with("no ")));
            }
            _ => {
                for seen in left {
                    self.wrong.push(format!("{} does not wait here", describe(seen)));
                }
            }
        }
    }

    /// Whether a branch is all that is true of it.
    fn is_all(truth: &Below, seen: &Tree<'_>) -> bool {
        let mut findings = Findings::default();
        findings.compare(truth, &seen.below);
        findings.wrong.is_empty() && findings.absent.is_empty()
    }

    fn check(&mut self, at: &At, seen: &Tree<'_>) {
        if seen.level.kind == Kind::InMacro {
            self.marks.push(format!("{} is in a macro", at.mark));
            return;
        }
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let mut words = seen.level.function.split(|c| !is_part(c));
        if !words.any(|word| word == at.function) {
            let (seen, right) = (&seen.level.function, &at.function);
            self.wrong.push(format!("{} is in {right}, not in {seen}", at.mark));
        }
    }

    fn verdict(self) -> Verdict {
        if !self.wrong.is_empty() {
            let all: Vec<_> = self.wrong.into_iter().chain(self.absent).collect();
            return Verdict::Wrong(all.join("; "));
        }
        let is_marked = !self.marks.is_empty();
        if is_marked
            && (!self.absent.is_empty() || self.marks.iter().any(|mark| mark.ends_with("macro")))
        {
            return Verdict::Undecoded(self.marks.join("; "));
        }
        if self.absent.is_empty() {
            Verdict::Exact
        } else {
            Verdict::Incomplete(self.absent.join("; "))
        }
    }
}

/// Whether it is that place; a macro without a place may be any.
fn is_at(at: &At, seen: &Tree<'_>) -> bool {
    let level = seen.level;
    level.kind == Kind::InMacro
        || level.line == Some(at.line)
            && level.file.as_deref().is_some_and(|file| file.ends_with(&at.file))
}

fn describe(seen: &Tree<'_>) -> String {
    let file = seen.level.file.as_deref().unwrap_or("?");
    format!("{}:{}", file.rsplit('/').next().unwrap_or(file), seen.level.line.unwrap_or(0))
}
