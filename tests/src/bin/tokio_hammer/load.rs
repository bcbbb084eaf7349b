//! The tasks. Each line with an `.await` is announced in the line before it, by
//! [`at`]`(line!() + 1)`.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::{JoinHandle, LocalSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::oracle::{Watched, at};

/// This file, as the debug information ends it.
pub(crate) const FILE: &str = "tokio_hammer/load.rs";

/// What was done, and how many tasks were made.
pub(crate) static WORK: AtomicU64 = AtomicU64::new(0);
pub(crate) static SPAWNED: AtomicU64 = AtomicU64::new(0);

/// How late each timer was since that was last asked for, the latest.
static LATE_NS: [AtomicU64; TIMERS] = [const { AtomicU64::new(0) }; TIMERS];

/// Tasks that measure it.
const TIMERS: usize = 8;
const TIMER: Duration = Duration::from_millis(2);

/// Which runtime the tasks are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    Multi,
    Current,
    Local,
}

impl std::str::FromStr for Flavor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "multi" => Ok(Flavor::Multi),
            "current" => Ok(Flavor::Current),
            "local" => Ok(Flavor::Local),
            _ => Err(format!("{text}: multi, current or local")),
        }
    }
}

/// Tasks of a set go to that set.
static IS_LOCAL: AtomicBool = AtomicBool::new(false);

/// All of it.
pub(crate) struct Load {
    /// Ids of those that never end.
    pub(crate) long_lived: Vec<u64>,
}

impl Load {
    /// Starts the tasks on threads of their own.
    pub(crate) fn start(flavor: Flavor, stable: u64, busy: u64) -> Self {
        crate::oracle::prepare();
        IS_LOCAL.store(flavor == Flavor::Local, Ordering::Release);
        let (sender, receiver) = mpsc::channel();
        let run = move || {
            let runtime = match flavor {
                Flavor::Multi => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
                _ => Builder::new_current_thread().enable_all().build(),
            };
            let runtime = runtime.expect("a runtime");
            gmr_tokio::register(runtime.handle()).expect("a known runtime");
            let set = LocalSet::new();
            let spawns = async move {
                sender.send(spawn_all(stable, busy)).expect("a receiver");
                std::future::pending::<()>().await;
            };
            if flavor == Flavor::Local {
                gmr_tokio::register_local_set(&set).expect("a known set");
                runtime.block_on(set.run_until(spawns));
            } else {
                runtime.block_on(spawns);
            }
        };
        std::thread::Builder::new().name("load".into()).spawn(run).expect("a thread");
        Load { long_lived: receiver.recv().expect("tasks") }
    }
}

/// How late timers were, the latest of each; from now on anew.
pub(crate) fn take_late_ns() -> Vec<u64> {
    LATE_NS.iter().map(|late| late.swap(0, Ordering::AcqRel)).collect()
}

fn spawn_watched<F>(future: F, is_long_lived: bool) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    SPAWNED.fetch_add(1, Ordering::Relaxed);
    let task = Watched::new(future, is_long_lived);
    if IS_LOCAL.load(Ordering::Relaxed) {
        tokio::task::spawn_local(task)
    } else {
        tokio::spawn(task)
    }
}

fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> JoinHandle<()> {
    spawn_watched(future, false)
}

fn spawn_all(stable: u64, busy: u64) -> Vec<u64> {
    static IDS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let keep = |task: JoinHandle<()>| {
        let id = task.id().to_string().parse().expect("a number");
        IDS.lock().expect("a lock").push(id);
    };
    (0..stable).for_each(|number| keep(spawn_watched(long_lived(number), true)));
    (0..busy).for_each(|number| keep(spawn_watched(churns(number), true)));
    (0..4).for_each(|_| keep(spawn_watched(never_rests(), true)));
    // They are not watched: they watch the clock.
    for timer in 0..TIMERS {
        drop(if IS_LOCAL.load(Ordering::Relaxed) {
            tokio::task::spawn_local(measures(timer))
        } else {
            tokio::spawn(measures(timer))
        });
    }
    IDS.lock().expect("a lock").clone()
}

async fn measures(timer: usize) {
    loop {
        let due = Instant::now() + TIMER;
        sleep(TIMER).await;
        let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        LATE_NS[timer].fetch_max(late, Ordering::AcqRel);
    }
}

async fn leaf(number: u64) {
    if number.is_multiple_of(3) {
        let _at = at(line!() + 1);
        sleep(Duration::from_micros(50)).await;
    } else if number % 3 == 1 {
        let _at = at(line!() + 1);
        yield_now().await;
    } else {
        let first = at(line!() + 1);
        yield_now().await;
        drop(first);
        let _second = at(line!() + 1);
        yield_now().await;
    }
    WORK.fetch_add(1, Ordering::Relaxed);
}

fn recursive(depth: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let first = at(line!() + 1);
        leaf(depth).await;
        drop(first);
        if depth > 0 {
            let second = at(line!() + 1);
            recursive(depth - 1).await;
            drop(second);
            let third = at(line!() + 1);
            leaf(depth).await;
            drop(third);
        }
        let kept = [depth; 40];
        let last = at(line!() + 1);
        leaf(depth + 1).await;
        drop(last);
        std::hint::black_box(&kept);
    })
}

async fn never_rests() {
    loop {
        let first = at(line!() + 1);
        yield_now().await;
        drop(first);
        let second = at(line!() + 1);
        recursive(0).await;
        drop(second);
    }
}

async fn churns(number: u64) {
    let mut round = 0;
    loop {
        round += 1;
        let child = spawn(recursive((number + round) % 6));
        if round.is_multiple_of(5) {
            child.abort();
        }
        let first = at(line!() + 1);
        let _ = child.await;
        drop(first);
        let second = at(line!() + 1);
        let _ = timeout(Duration::from_micros(80), recursive(round % 9)).await;
        drop(second);
        if round.is_multiple_of(7) {
            let child = spawn(waits_for_ever(0));
            let third = at(line!() + 1);
            yield_now().await;
            drop(third);
            child.abort();
        }
        if round.is_multiple_of(3) {
            drop(spawn(first_twin()));
        } else {
            drop(spawn(second_twin()));
        }
        let fourth = at(line!() + 1);
        selects(round).await;
        drop(fourth);
    }
}

/// One branch alone is ever pending: lines of branches would be in one list.
async fn selects(round: u64) {
    let at = at(line!() + 1);
    tokio::select! {
        biased;
        () = leaf(round) => {}
        () = std::future::pending::<()>() => {}
    }
    drop(at);
}

/// The two have the same code; only lines tell them apart.
async fn first_twin() {
    let _at = at(line!() + 1);
    sleep(Duration::from_millis(1)).await;
}

async fn second_twin() {
    let _at = at(line!() + 1);
    sleep(Duration::from_millis(1)).await;
}

async fn long_lived(number: u64) {
    loop {
        if number.is_multiple_of(4) {
            let at = at(line!() + 1);
            sleep(Duration::from_millis(100)).await;
            drop(at);
        } else {
            let at = at(line!() + 1);
            waits_for_ever(number % 5).await;
            drop(at);
        }
    }
}

fn waits_for_ever(depth: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            let _at = at(line!() + 1);
            std::future::pending::<()>().await;
        } else {
            let _at = at(line!() + 1);
            waits_for_ever(depth - 1).await;
        }
    })
}
