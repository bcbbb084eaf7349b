//! What these tests have in common.
#![allow(dead_code, reason = "each of them is a program of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest that anything here may take, on the busiest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The line of `parked_for_ever` that awaits.
pub(crate) const PARKED_LINE: u32 = line!() + 3;

pub(crate) async fn parked_for_ever() {
    std::future::pending::<()>().await;
}

/// Threads that block, until they are let go.
#[derive(Clone, Default)]
pub(crate) struct Blocked(Arc<(AtomicBool, AtomicU32)>);

impl Blocked {
    #[inline(never)]
    pub(crate) fn hold_the_worker(&self) {
        self.0.1.fetch_add(1, Ordering::AcqRel);
        while !self.0.0.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// To be spawned.
    pub(crate) async fn blocks(self) {
        tokio::task::yield_now().await;
        self.hold_the_worker();
    }

    /// Blocks so many workers of the runtime. One after the other: of two that one worker
    /// takes from the queue at once, tokio leaves the second behind the first.
    pub(crate) fn block_workers(
        &self,
        runtime: &tokio::runtime::Runtime,
        count: u32,
    ) -> Vec<tokio::task::Id> {
        let block = |number| {
            let id = runtime.spawn(self.clone().blocks()).id();
            self.wait_for(number);
            id
        };
        (1..=count).map(block).collect()
    }

    /// Waits until so many block.
    pub(crate) fn wait_for(&self, count: u32) {
        until("threads block", || (self.0.1.load(Ordering::Acquire) >= count).then_some(()));
    }

    pub(crate) fn let_go(&self) {
        self.0.0.store(true, Ordering::Release);
    }
}

/// Lets go at its end, also at a failed assertion's: else its runtime waits for ever.
pub(crate) struct LetGo(pub(crate) Blocked);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A section's text, from its title to the next one.
pub(crate) fn section<'r>(report: &'r str, title: &str) -> &'r str {
    let heading = format!("===={title:^64}====");
    let at = report.find(&heading).unwrap_or_else(|| panic!("no {title} in {report}"));
    let body = &report[at + heading.len()..];
    let body = body.split_once("====\n").map_or(body, |(_, body)| body);
    body.split("\n====").next().unwrap_or(body)
}

/// How many tasks the block has that has `line` in it.
pub(crate) fn count_in_block(section: &str, line: &str) -> usize {
    let block =
        section.split("------  ").find(|block| block.contains(line) && block.contains("state"));
    let block = block.unwrap_or_else(|| panic!("no {line} in {section}"));
    let tasks = block.lines().find_map(|line| line.strip_prefix("tasks = "));
    tasks.map_or(1, |tasks| tasks.split(", ").count())
}

/// Where a task of `parked_for_ever` is shown to wait.
pub(crate) fn parked_place() -> String {
    format!("gmr-tokio/tests/common/mod.rs:{PARKED_LINE}")
}
