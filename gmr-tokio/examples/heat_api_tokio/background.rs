//! What works in the background: a task that takes jobs from a queue, and tasks
//! that clean up, all in one `JoinSet`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};

use crate::{
    config,
    database::Database,
    is_set,
    log::{Level, log},
};

/// Jobs that wait. More of them make whoever has one wait, too.
const QUEUE: usize = 64;

/// A stack to be created.
#[derive(Debug)]
pub(crate) struct Job;

pub(crate) struct Background {
    tasks: JoinSet<()>,
    jobs: mpsc::Sender<Job>,
}

impl Background {
    pub(crate) fn start(
        config: &config::Background,
        database: Arc<Database>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(work(queue, Arc::clone(&database), stopped.clone()));
        for _ in 0..config.cleaners {
            tasks.spawn(clean(config.clean(), Arc::clone(&database), stopped.clone()));
        }
        Background { tasks, jobs }
    }

    /// Where jobs go.
    pub(crate) fn jobs(&self) -> mpsc::Sender<Job> {
        self.jobs.clone()
    }

    /// Waits for the end of all of them, which has been asked for.
    pub(crate) async fn stop(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                log(Level::Error, format_args!("a background task: {error}"));
            }
        }
    }
}

/// Does one job after the other.
async fn work(
    mut queue: mpsc::Receiver<Job>,
    database: Arc<Database>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(Job) => database.create().await,
                None => return,
            },
            () = is_set(&mut stopped) => return,
        }
    }
}

/// Cleans up every now and then.
async fn clean(every: Duration, database: Arc<Database>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => database.clean().await,
            () = is_set(&mut stopped) => return,
        }
    }
}
