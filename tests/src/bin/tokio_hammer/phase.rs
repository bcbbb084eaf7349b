//! One phase: reports, or none, and what the tasks did meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gmr_tests::green::{GreenThreads, Kind, Task, lines_in};
use gmr_tokio::{Handle, View};
use serde::Serialize;

use crate::load::{self, Load};
use crate::oracle::{self, Answer};

/// Wrong trees that are printed.
const MOST_EXAMPLES: usize = 5;

/// A report that is refused is asked for again after this.
const PATIENCE: Duration = Duration::from_millis(1);

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Phase {
    name: &'static str,
    seconds: f64,
    /// Work and new tasks, each second.
    work: f64,
    spawns: f64,
    /// How late a timer was at most: the median timer's, and the latest one's.
    late_ms: f64,
    latest_ms: f64,
    reports: u64,
    /// How long a report took, on average and at most.
    report_ms: f64,
    longest_report_ms: f64,
    /// Trees: true, wrong, and not to be judged any more.
    judged: u64,
    wrong: u64,
    forgotten: u64,
    /// Trees that say that they are not all.
    undecoded: u64,
    /// Tasks without a tree: polled just then, or changing all the time.
    running: u64,
    unstable: u64,
    /// Long-lived tasks that were not there, of how many looks.
    missing: u64,
    looks: u64,
    twice: u64,
    examples: Vec<String>,
}

impl Phase {
    /// Runs for so long, with a pause between reports; `None`: without any.
    pub(crate) fn run(
        name: &'static str,
        length: Duration,
        pause: Option<Duration>,
        reports: Handle,
        load: &Load,
        lies: bool,
    ) -> Self {
        let mut phase = Phase { name, ..Phase::default() };
        load::take_late_ns();
        let counts = || {
            let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            (count(&load::WORK), count(&load::SPAWNED))
        };
        let (began, (work, spawned)) = (Instant::now(), counts());
        while began.elapsed() < length {
            match pause {
                Some(pause) => {
                    phase.report(reports, load, lies);
                    std::thread::sleep(pause.min(length.saturating_sub(began.elapsed())));
                }
                None => std::thread::sleep(length.saturating_sub(began.elapsed())),
            }
        }
        phase.seconds = began.elapsed().as_secs_f64();
        let (work_now, spawned_now) = counts();
        phase.work = (work_now - work) as f64 / phase.seconds;
        phase.spawns = (spawned_now - spawned) as f64 / phase.seconds;
        let mut late = load::take_late_ns();
        late.sort_unstable();
        phase.late_ms = late[late.len() / 2] as f64 / 1e6;
        phase.latest_ms = late.last().map_or(0.0, |latest| *latest as f64 / 1e6);
        phase.report_ms /= phase.reports.max(1) as f64;
        phase
    }

    /// Nothing was wrong or missing, and something was seen if there were reports.
    pub(crate) fn is_true(&self) -> bool {
        let is_idle = self.reports == 0 || self.judged == 0;
        self.wrong == 0
            && self.missing == 0
            && self.twice == 0
            && (!is_idle || self.name == "no reports")
    }

    fn report(&mut self, reports: Handle, load: &Load, lies: bool) {
        let from_ns = oracle::now_ns();
        let Ok(report) = reports.report(View::JsonLine) else {
            std::thread::sleep(PATIENCE);
            return;
        };
        let to_ns = oracle::now_ns();
        let took_ms = (to_ns - from_ns) as f64 / 1e6;
        self.reports += 1;
        self.report_ms += took_ms;
        self.longest_report_ms = self.longest_report_ms.max(took_ms);

        let seen = GreenThreads::of(&report);
        self.twice += seen.twice.len() as u64;
        for (&id, task) in &seen.tasks {
            self.judge(id, task, from_ns, to_ns, lies);
        }
        self.looks += load.long_lived.len() as u64;
        let missing = load.long_lived.iter().filter(|id| !seen.tasks.contains_key(id)).count();
        self.missing += missing.saturating_sub(seen.unnamed) as u64;
    }

    fn judge(&mut self, id: u64, task: &Task, from_ns: u64, to_ns: u64, lies: bool) {
        match task.state.as_str() {
            "suspended" | "scheduled" | "new" => {}
            "running" => {
                self.running += 1;
                return;
            }
            "unstable" => {
                self.unstable += 1;
                return;
            }
            _ => return,
        }
        if task.stack.is_empty() || task.stack.iter().any(|level| level.kind == Kind::Undecoded) {
            self.undecoded += 1;
            return;
        }
        let mut lines = lines_in(&task.stack, load::FILE);
        if lies {
            lines.pop();
        }
        let is_new =
            lines.is_empty() && task.stack.iter().any(|level| level.kind == Kind::Unresumed);
        let hash = if is_new { oracle::NEW } else { oracle::hash(lines.iter().copied()) };
        match oracle::was_at(id, hash, from_ns, to_ns) {
            Answer::True => self.judged += 1,
            Answer::Unknown => self.forgotten += 1,
            Answer::Wrong(what) => {
                self.judged += 1;
                self.wrong += 1;
                if self.examples.len() < MOST_EXAMPLES {
                    self.examples.push(format!("task {id}, {}, {lines:?}: {what}", task.state));
                }
            }
        }
    }
}
