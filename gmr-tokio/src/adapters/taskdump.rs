//! tokio's own dump of its tasks (`Handle::dump`), as a section.
//!
//! 1. *The gate*: each worker of the runtime must be parked, or be seen to park or to
//!    poll another task, within [`GATE`]. Else there is no dump, and the section says
//!    which worker it was.
//! 2. The dump runs as a task of the runtime. The section waits for it for [`PATIENCE`].
//! 3. A dump that did not come in time is the last: the section says so from then on.
//!
//! # What the gate cannot do
//!
//! A worker may block right after it was looked at. Then the dump waits for it, and *all
//! other workers wait for the dump*: the runtime stands still until the blocked one comes
//! back. See the warning at [`section`].

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::{Dump, Handle, RuntimeMetrics};

/// For how long a worker that stays busy is watched.
const GATE: Duration = Duration::from_millis(100);
/// Between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(5);
/// For how long a dump may take: less than the 2 s that a section has.
const PATIENCE: Duration = Duration::from_secs(1);
/// Traces that are shown.
pub const MAX_TASKS: usize = 1_000;

/// A section with tokio's own dump of a runtime's tasks: the stack of each, as tokio
/// finds it by polling the task once more.
///
/// There only with `--cfg tokio_unstable`, on Linux and x86_64.
///
/// # Warning
///
/// **Green Threads shows the same without any of this; prefer it in production.**
///
/// - tokio stops all workers of the runtime and polls *every* future again, out of
///   turn. A future that does not expect to be polled without being woken does
///   whatever it does then.
/// - If a worker blocks at that moment, the whole runtime waits for it. The section
///   looks before that no worker is blocked, but cannot exclude it.
/// - Servers have frozen and aborted by it.
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
/// let runtime = tokio::runtime::Handle::current();
/// reports.register_section("Task Dump", gmr_tokio::adapters::taskdump::section(&runtime))?;
/// # Ok(())
/// # }
/// ```
pub fn section(runtime: &Handle) -> impl FnMut() -> String + Send + 'static {
    section_by(runtime, PATIENCE)
}

fn section_by(runtime: &Handle, patience: Duration) -> impl FnMut() -> String + Send + 'static {
    let runtime = runtime.clone();
    let mut is_hanging = false;
    move || {
        if is_hanging {
            return String::from("not asked for: an earlier dump did not come back in time\n");
        }
        if let Err(worker) = pass(&runtime.metrics()) {
            return format!("not asked for: worker {worker} is blocked or busy\n");
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let here = runtime.clone();
        runtime.spawn(async move {
            let _ = sender.send(here.dump().await);
        });
        match receiver.recv_timeout(patience) {
            Ok(dump) => text(&dump),
            Err(_) => {
                is_hanging = true;
                format!(
                    "did not come within {} ms; it is not asked for again\n",
                    patience.as_millis()
                )
            }
        }
    }
}

/// What a worker has done so far: parked or woken up, and polled.
fn progress(metrics: &RuntimeMetrics, worker: usize) -> (u64, u64) {
    (metrics.worker_park_unpark_count(worker), metrics.worker_poll_count(worker))
}

/// Waits until each worker was seen to be parked or to go on; the error: one that was
/// not.
fn pass(metrics: &RuntimeMetrics) -> Result<(), usize> {
    let began = Instant::now();
    let first: Vec<_> =
        (0..metrics.num_workers()).map(|worker| progress(metrics, worker)).collect();
    loop {
        let standing = first.iter().enumerate().find(|(worker, before)| {
            let now = progress(metrics, *worker);
            let is_parked = now.0 % 2 == 1;
            !is_parked && now == **before
        });
        match standing {
            None => return Ok(()),
            Some((worker, _)) if began.elapsed() > GATE => return Err(worker),
            Some(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn text(dump: &Dump) -> String {
    let tasks: Vec<_> = dump.tasks().iter().collect();
    let mut text = format!("tasks = {}\n", tasks.len());
    for task in tasks.iter().take(MAX_TASKS) {
        text.push_str(&format!("\ntask {}:\n", task.id()));
        for line in task.trace().to_string().lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if let Some(left_out) = tasks.len().checked_sub(MAX_TASKS).filter(|count| *count > 0) {
        text.push_str(&format!("\n{left_out} tasks left out\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A busy machine and no optimisation: a dump takes its time.
    const LONG: Duration = Duration::from_secs(60);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    async fn waits_here() {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }

    #[test]
    fn every_task_with_its_trace() {
        let runtime = runtime();
        let mut section = section_by(runtime.handle(), LONG);
        let (sender, receiver) = mpsc::channel();
        let task = runtime.spawn(async move {
            sender.send(()).unwrap();
            waits_here().await;
        });
        receiver.recv().unwrap();
        let text = section();
        assert!(text.contains(&format!("task {}:", task.id())), "{text}");
        assert!(text.contains("waits_here"), "{text}");
    }

    #[test]
    fn not_while_a_worker_is_blocked() {
        let runtime = runtime();
        let mut section = section_by(runtime.handle(), LONG);
        let (blocked, is_blocked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let task = runtime.spawn(async move {
            blocked.send(()).unwrap();
            let _ = released.recv();
        });
        is_blocked.recv().unwrap();
        let text = section();
        assert!(text.starts_with("not asked for: worker "), "{text}");
        release.send(()).unwrap();
        runtime.block_on(task).unwrap();
        let text = section();
        assert!(text.starts_with("tasks = "), "once it is back: {text}");
    }

    #[test]
    fn a_runtime_that_nobody_drives_gives_none_and_is_not_asked_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut section = section(runtime.handle());
        // A current_thread runtime counts as parked while nobody drives it, or not:
        // both are answers, and neither hangs.
        let text = section();
        assert!(text.starts_with("did not come") || text.starts_with("not asked for"), "{text}");
        assert!(section().starts_with("not asked for"));
    }
}
