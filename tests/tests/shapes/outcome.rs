//! What came of a build: one verdict for each task, and totals.

use std::collections::BTreeSet;

use super::judge::{Verdict, judge};
use super::truth::Truth;
use gmr_tests::green::{GreenThreads, Task};

/// One build's.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// By name.
    pub(crate) verdicts: Vec<(String, Verdict)>,
    /// Tasks that nobody spawned.
    pub(crate) strangers: Vec<u64>,
    /// Tasks that are there twice.
    pub(crate) twice: Vec<u64>,
}

impl Outcome {
    /// Judges all tasks.
    pub(crate) fn of(truth: &Truth, seen: &GreenThreads) -> Self {
        let mut outcome = Self { twice: seen.twice.clone(), ..Self::default() };
        let known: BTreeSet<_> = truth.tasks.iter().map(|task| task.id).collect();
        for expected in &truth.tasks {
            let verdict = match seen.tasks.get(&expected.id) {
                Some(task) => judge(&expected.tree, &expected.state, task),
                None => Verdict::Missing,
            };
            outcome.verdicts.push((expected.name.clone(), verdict));
        }
        // Blocking closures are not the suite's subject, and what reports spawn to
        // test themselves is not the program's.
        let is_own = |task: &Task| {
            let begins = task.stack.first().map(|level| level.function.as_str());
            task.future.as_deref().or(begins).is_some_and(|name| name.starts_with("gmr_tokio::"))
        };
        let others = seen
            .tasks
            .iter()
            .filter(|(id, task)| !known.contains(id) && task.state != "blocking" && !is_own(task));
        let mut others: Vec<(u64, &Task)> = others.map(|(&id, task)| (id, task)).collect();
        // Those of which something is known come first: "?" takes whatever is left.
        let mut expected: Vec<_> = truth.anonymous.iter().collect();
        expected.sort_by_key(|anonymous| {
            anonymous.tree.nodes.iter().all(|node| matches!(node, super::truth::Node::Unknown(_)))
        });
        for anonymous in expected {
            for _ in 0..anonymous.count {
                let judged =
                    others.iter().map(|(_, task)| judge(&anonymous.tree, "suspended", task));
                let best = judged.enumerate().min_by(|(_, one), (_, other)| one.cmp(other));
                let verdict = match best {
                    Some((index, verdict)) => {
                        others.remove(index);
                        verdict
                    }
                    None => Verdict::Missing,
                };
                outcome.verdicts.push((anonymous.name.clone(), verdict));
            }
        }
        outcome.strangers = others.into_iter().map(|(id, _)| id).collect();
        outcome
    }

    fn count(&self, is_it: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| is_it(verdict)).count()
    }

    /// How many are exact.
    pub(crate) fn exact(&self) -> usize {
        self.count(Verdict::is_exact)
    }

    /// How many are wrong.
    pub(crate) fn wrong(&self) -> usize {
        self.count(Verdict::is_wrong)
    }

    /// How many are not there.
    pub(crate) fn missing(&self) -> usize {
        self.count(|verdict| *verdict == Verdict::Missing)
    }

    /// Of all, in 0 to 1.
    pub(crate) fn rate(&self) -> f64 {
        self.exact() as f64 / self.verdicts.len() as f64
    }

    /// All that is not exact, and totals.
    pub(crate) fn print(&self, build: &str) {
        for (name, verdict) in self.verdicts.iter().filter(|(_, verdict)| !verdict.is_exact()) {
            println!("{build}: {name}: {verdict}");
        }
        println!(
            "{build}: {} of {} exact ({:.1} %), {} undecoded, {} incomplete, {} wrong, {} missing, \
             {} strangers",
            self.exact(),
            self.verdicts.len(),
            100.0 * self.rate(),
            self.count(|verdict| matches!(verdict, Verdict::Undecoded(_))),
            self.count(|verdict| matches!(verdict, Verdict::Incomplete(_))),
            self.wrong(),
            self.missing(),
            self.strangers.len(),
        );
    }
}
