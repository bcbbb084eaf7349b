//! What one report collects of all runtimes.
//!
//! 1. If the table is still being made, wait for a part of the time that is left.
//! 2. Look at each thread: what it polls, for which runtime. Runtimes that nobody has
//!    registered are met here.
//! 3. Collect the tasks of all lists ([`crate::collect`]), and the tracked futures that
//!    are in none.
//! 4. Look again at the workers that were in a poll, until the threshold has passed:
//!    those that still are in the same one are blocked ([`crate::workers`]).
//!
//! The memory for it is made at setup. What has no room is counted.

use gmr_core::hosted::wait;
use gmr_core::{Collecting, SeenThread};

use crate::collect::{Arena, Extra, MAX_ROOTS, collect};
use crate::runtimes::{self, MOST_RUNTIMES, Registered};
use crate::setup::State;
use crate::setup::probe::Outcome;
use crate::table::Root;
use crate::threads::{Flavor, Look, Places};
use crate::tracked;
use crate::workers::{EPISODES, Episode, LOOKS, Poll, Standing, cpu_ns, standing};

/// As many as a report lists by default.
const MAX_THREADS: usize = 4096;

/// Workers of all runtimes.
const MAX_WORKERS: usize = 1024;

/// Runtimes, those that are met included.
const MAX_RUNTIMES: usize = MOST_RUNTIMES + 32;

/// Tracked futures that are in no list.
const MAX_EXTRAS: usize = 512;

/// Tracked futures that can be found by their task.
const MAX_TRACKED: usize = 1 << 20;

/// Bytes of a thread's name.
const NAME_BYTES: usize = 16;

/// A thread that has to do with a runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThreadSeen {
    pub(super) tid: u32,
    name: [u8; NAME_BYTES],
    pub(super) look: Look,
    /// Which of the runtimes.
    pub(super) runtime: Option<usize>,
}

impl ThreadSeen {
    fn new(thread: &SeenThread<'_>, look: Look) -> Self {
        let mut name = [0; NAME_BYTES];
        for (to, from) in name.iter_mut().zip(thread.name) {
            *to = *from;
        }
        ThreadSeen { tid: thread.tid, name, look, runtime: None }
    }

    pub(super) fn name(&self) -> &[u8] {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        self.name.get(..length).unwrap_or_default()
    }

    /// It runs a blocking task.
    pub(super) fn is_blocking_task(&self) -> bool {
        !self.look.is_driving && self.look.task != 0 && self.look.runtime != 0
    }
}

/// A runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuntimeSeen {
    pub(super) flavor: Flavor,
    pub(super) address: u64,
    /// `None`: it was met.
    pub(super) registered: Option<&'static Registered>,
    /// Its list among the roots that were collected.
    pub(super) root: Option<usize>,
    /// Threads that drive it, that run a blocking task, and that are in it otherwise.
    pub(super) driving: u32,
    pub(super) blocking: u32,
    pub(super) others: u32,
}

/// Waker traces that are shown.
#[cfg(feature = "waker-trace")]
const MAX_TRACES: usize = 256;

/// The stack at which a tracked future left its waker.
#[cfg(feature = "waker-trace")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    pub(super) id: tracked::Id,
    pub(super) stack: gmr_core::section::StackId,
    pub(super) is_of_last_poll: bool,
    pub(super) is_cut: bool,
}

/// A worker that was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkerSeen {
    pub(super) runtime: usize,
    pub(super) index: Option<u32>,
    /// Which of the threads; `None`: not known.
    pub(super) thread: Option<usize>,
    pub(super) standing: Standing,
    /// It was found in the same poll at every look, for the threshold.
    pub(super) blocked: Option<Blocked>,
    /// Two threads have this index: one has left its core to the other
    /// (`block_in_place`).
    pub(super) is_shared: bool,
    first: Option<Episode>,
    looks: u32,
}

/// How a worker is blocked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocked {
    pub(super) poll: Poll,
    /// At least.
    pub(super) for_ns: u64,
    /// CPU time that its thread has used meanwhile.
    pub(super) cpu_ns: Option<u64>,
    pub(super) looks: u32,
}

/// What is known of the lists of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// They were read.
    Read,
    /// The table is not ready yet.
    NotReady,
    /// There is no table.
    Unavailable,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Collection {
    /// The report that it was collected for; 0: none.
    pub(super) sequence: u64,
    pub(super) listing: Listing,
    pub(super) arena: Arena,
    roots: heapless::Vec<Root, MAX_ROOTS>,
    pub(super) local_sets: u32,
    pub(super) are_local_sets_known: bool,
    pub(super) runtimes: heapless::Vec<RuntimeSeen, MAX_RUNTIMES>,
    pub(super) threads: Vec<ThreadSeen>,
    pub(super) threads_left_out: u32,
    /// Threads that could not be looked at.
    pub(super) threads_unknown: u32,
    pub(super) workers: Vec<WorkerSeen>,
    pub(super) workers_left_out: u32,
    extras: Vec<Extra>,
    pub(super) extra_facts: Vec<tracked::Facts>,
    pub(super) extras_left_out: u32,
    pub(super) tracked: tracked::Index,
    /// Stacks at which tracked futures left their wakers.
    #[cfg(feature = "waker-trace")]
    pub(super) traces: Vec<Trace>,
    #[cfg(feature = "waker-trace")]
    pub(super) traces_left_out: u64,
    /// For sorting groups.
    pub(super) order: Vec<(u8, u64, u64, u32)>,
    /// The deadline came before all was done.
    pub(super) is_cut: bool,
    pub(super) collected_ns: u64,
}

impl Collection {
    pub(crate) fn new(max_tasks: usize) -> Self {
        Collection {
            sequence: 0,
            listing: Listing::NotReady,
            arena: Arena::new(max_tasks),
            roots: heapless::Vec::new(),
            local_sets: 0,
            are_local_sets_known: true,
            runtimes: heapless::Vec::new(),
            threads: Vec::with_capacity(MAX_THREADS),
            threads_left_out: 0,
            threads_unknown: 0,
            workers: Vec::with_capacity(MAX_WORKERS),
            workers_left_out: 0,
            extras: Vec::with_capacity(MAX_EXTRAS),
            extra_facts: Vec::with_capacity(MAX_EXTRAS),
            extras_left_out: 0,
            tracked: tracked::Index::new(MAX_TRACKED),
            #[cfg(feature = "waker-trace")]
            traces: Vec::with_capacity(MAX_TRACES),
            #[cfg(feature = "waker-trace")]
            traces_left_out: 0,
            order: Vec::with_capacity(crate::collect::MAX_GROUPS),
            is_cut: false,
            collected_ns: 0,
        }
    }

    fn clear(&mut self) {
        self.sequence = 0;
        self.listing = Listing::NotReady;
        self.arena.clear();
        self.roots.clear();
        self.local_sets = 0;
        self.are_local_sets_known = true;
        self.runtimes.clear();
        self.threads.clear();
        self.threads_left_out = 0;
        self.threads_unknown = 0;
        self.workers.clear();
        self.workers_left_out = 0;
        self.extras.clear();
        self.extra_facts.clear();
        self.extras_left_out = 0;
        #[cfg(feature = "waker-trace")]
        self.traces.clear();
        self.is_cut = false;
    }

    /// Collects for a report.
    pub(super) fn collect(&mut self, state: &'static State, report: &mut dyn Collecting) {
        self.clear();
        self.sequence = report.sequence();
        let is_over = || report.check().is_err();
        let left_ns = report.deadline_ns().saturating_sub(wait::monotonic_ns());
        state.wait_settled(wait::monotonic_ns().saturating_add(left_ns / 8), &is_over);
        self.collected_ns = wait::monotonic_ns();
        for registered in runtimes::registered() {
            self.add_runtime(registered.flavor, registered.address, Some(registered));
        }
        if let Some(Ok(places)) = state.places() {
            self.look_at_threads(places, &*report);
        }
        self.tracked.fill();
        #[cfg(feature = "waker-trace")]
        self.collect_traces(report);
        let is_over = || report.check().is_err();
        self.collect_tasks(state, &is_over);
        self.judge_workers(state, &*report);
        self.is_cut |= is_over();
    }

    fn add_runtime(
        &mut self,
        flavor: Flavor,
        address: u64,
        registered: Option<&'static Registered>,
    ) -> Option<usize> {
        let number = self.runtimes.len();
        let (root, driving, blocking, others) = (None, 0, 0, 0);
        let seen = RuntimeSeen { flavor, address, registered, root, driving, blocking, others };
        self.runtimes.push(seen).is_ok().then_some(number)
    }

    fn look_at_threads(&mut self, places: &Places, report: &dyn Collecting) {
        let (threads, mut left_out, mut unknown) = (&mut self.threads, 0_u32, 0_u32);
        report.threads(&mut |thread| {
            if thread.is_own {
                return;
            }
            match places.look(thread.tid) {
                None => unknown = unknown.saturating_add(1),
                Some(look) if look.runtime == 0 => {}
                Some(look) if threads.len() < threads.capacity() => {
                    threads.push(ThreadSeen::new(thread, look));
                }
                Some(_) => left_out = left_out.saturating_add(1),
            }
        });
        (self.threads_left_out, self.threads_unknown) = (left_out, unknown);
        for number in 0..self.threads.len() {
            let Some(thread) = self.threads.get(number).copied() else { break };
            let Some(flavor) = thread.look.flavor else { continue };
            let known =
                self.runtimes.iter().position(|runtime| runtime.address == thread.look.runtime);
            let runtime = known.or_else(|| self.add_runtime(flavor, thread.look.runtime, None));
            if let Some(thread) = self.threads.get_mut(number) {
                thread.runtime = runtime;
            }
            let seen = runtime.and_then(|number| self.runtimes.get_mut(number));
            let Some(seen) = seen else { continue };
            let count = match () {
                () if thread.look.is_driving => &mut seen.driving,
                () if thread.is_blocking_task() => &mut seen.blocking,
                () => &mut seen.others,
            };
            *count = count.saturating_add(1);
        }
    }

    fn collect_tasks(&mut self, state: &'static State, is_over: &dyn Fn() -> bool) {
        let Some(table) = state.table() else {
            let is_settled = state.why_no_table().is_some();
            self.listing = if is_settled { Listing::Unavailable } else { Listing::NotReady };
            return;
        };
        self.listing = Listing::Read;
        let table = &table.loaded;
        for runtime in &mut self.runtimes {
            let root = match runtime.registered {
                Some(registered) if outcome(registered) == Outcome::Failed => None,
                Some(registered) => registered.root.get().copied().flatten(),
                None => table.root_of_arc(runtime.flavor == Flavor::CurrentThread, runtime.address),
            };
            let Some(root) = root else { continue };
            let number = self.roots.len();
            runtime.root = self.roots.push(root).is_ok().then_some(number);
        }
        let (roots, mut count) = (&mut self.roots, 0_u32);
        self.are_local_sets_known =
            runtimes::local_sets(&|words| table.root_of_local_words(words), &mut |root| {
                if !roots.contains(&root) && roots.push(root).is_ok() {
                    count = count.saturating_add(1);
                }
            });
        self.local_sets = count;
        self.collect_extras();
        collect(table, &self.roots, &self.extras, &mut self.arena, is_over);
    }

    #[cfg(feature = "waker-trace")]
    fn collect_traces(&mut self, report: &mut dyn Collecting) {
        let (traces, mut left_out) = (&mut self.traces, 0_u64);
        crate::waker_trace::each(&mut |trace| {
            let has_room = traces.len() < traces.capacity();
            match report.add_stack(trace.addresses).filter(|_| has_room) {
                Some(stack) => traces.push(Trace {
                    id: trace.facts.id,
                    stack,
                    is_of_last_poll: trace.is_of_last_poll,
                    is_cut: trace.is_cut,
                }),
                None => left_out = left_out.saturating_add(1),
            }
            true
        });
        self.traces_left_out = left_out;
    }

    /// Tracked futures that no list leads to.
    fn collect_extras(&mut self) {
        let (extras, facts) = (&mut self.extras, &mut self.extra_facts);
        let mut left_out = 0_u32;
        tracked::each(&mut |fact| {
            let Some(address) = fact.address.filter(|_| fact.task_id.is_none()) else {
                return true;
            };
            if extras.len() < extras.capacity() && facts.len() < facts.capacity() {
                extras.push(Extra {
                    key: facts.len() as u64,
                    address,
                    probe_vtable: fact.probe_vtable,
                    sequence_address: fact.sequence_address,
                    sequence: fact.sequence,
                });
                facts.push(*fact);
            } else {
                left_out = left_out.saturating_add(1);
            }
            true
        });
        self.extras_left_out = left_out;
    }

    /// The first look at each worker, then more at those that poll.
    fn judge_workers(&mut self, state: &'static State, report: &dyn Collecting) {
        let places = state.places().and_then(Result::ok);
        self.list_workers(places);
        let Some(places) = places else { return };
        let begun_ns = wait::monotonic_ns();
        let threshold_ns = state.chosen.threshold_ns;
        let mut looks = 1_u32;
        loop {
            let is_enough = wait::monotonic_ns().saturating_sub(begun_ns) >= threshold_ns;
            if looks >= LOOKS && is_enough {
                break;
            }
            let left = self.workers.iter().filter(|worker| worker.first.is_some()).count();
            if left == 0 {
                return;
            }
            report.rest((threshold_ns / u64::from(LOOKS)).max(1));
            if report.check().is_err() {
                self.is_cut = true;
                return;
            }
            for worker in &mut self.workers {
                worker.look_again(&self.threads, &self.runtimes, places);
            }
            looks = looks.saturating_add(1);
        }
        let now_ns = wait::monotonic_ns();
        for worker in &mut self.workers {
            worker.judge(now_ns);
        }
    }

    fn list_workers(&mut self, places: Option<&Places>) {
        let knows_polls = places.is_some_and(Places::knows_polls);
        let now_ns = wait::monotonic_ns();
        let (workers, threads) = (&mut self.workers, &self.threads);
        let mut left_out = 0_u32;
        let mut add = |worker: WorkerSeen| {
            if workers.len() < workers.capacity() {
                workers.push(worker);
            } else {
                left_out = left_out.saturating_add(1);
            }
        };
        for (number, runtime) in self.runtimes.iter().enumerate() {
            let of_this = |thread: &(usize, &ThreadSeen)| {
                thread.1.runtime == Some(number) && thread.1.look.is_driving
            };
            let count = runtime.registered.map_or(0, |known| known.metrics.num_workers());
            let with_index = |index: u32| {
                threads
                    .iter()
                    .enumerate()
                    .filter(of_this)
                    .filter(move |(_, thread)| thread.look.index == Some(index))
            };
            // Those that the runtime knows of, in their order.
            for index in (0..count).map_while(|index| u32::try_from(index).ok()) {
                let mut found = with_index(index);
                let thread = found.next();
                let is_shared = found.next().is_some();
                let thread = thread.filter(|_| !is_shared);
                let look = thread.map_or(Look::default(), |(_, thread)| thread.look);
                let standing = runtime.registered.map_or(Standing::Unknown, |registered| {
                    standing(registered, index, &look, knows_polls)
                });
                let first = match (thread, standing) {
                    (Some((_, thread)), Standing::Polling(poll)) => Some(Episode {
                        address: runtime.address,
                        index,
                        tid: thread.tid,
                        poll,
                        since_ns: now_ns,
                        cpu_ns: cpu_ns(thread.tid).unwrap_or(0),
                    }),
                    _ => None,
                };
                add(WorkerSeen {
                    runtime: number,
                    index: Some(index),
                    thread: thread.map(|(thread, _)| thread),
                    standing,
                    blocked: None,
                    is_shared,
                    first,
                    looks: 1,
                });
            }
            // Threads that drive it all the same.
            let is_other = |thread: &(usize, &ThreadSeen)| {
                let index = thread.1.look.index;
                index.is_none_or(|index| {
                    index as usize >= count || with_index(index).nth(1).is_some()
                })
            };
            for (thread, seen) in threads.iter().enumerate().filter(of_this).filter(is_other) {
                let is_shared = seen.look.index.is_some_and(|index| (index as usize) < count);
                add(WorkerSeen {
                    runtime: number,
                    index: seen.look.index,
                    thread: Some(thread),
                    standing: Standing::Unknown,
                    blocked: None,
                    is_shared,
                    first: None,
                    looks: 1,
                });
            }
        }
        self.workers_left_out = left_out;
    }

    /// The task that a thread polls, if it polls one.
    pub(super) fn polled(&self, thread: &ThreadSeen) -> Option<u64> {
        if !thread.look.is_driving || thread.look.task == 0 {
            return None;
        }
        if self.listing == Listing::Read {
            // A worker between two tasks has an id too, which is in no list. That of a
            // runtime that shuts down is not in its list any more.
            let is_listed = self.arena.task(thread.look.task).is_some();
            return (is_listed || self.is_blocked_in(thread)).then_some(thread.look.task);
        }
        // Without lists the runtime has to say that its worker is not parked.
        let polls = self.workers.iter().any(|worker| {
            matches!(worker.standing, Standing::Polling(poll) if poll.task == thread.look.task)
                && self.is_of(worker, thread)
        });
        polls.then_some(thread.look.task)
    }

    /// Whether a thread is that of a worker.
    fn is_of(&self, worker: &WorkerSeen, thread: &ThreadSeen) -> bool {
        let own = worker.thread.and_then(|number| self.threads.get(number));
        own.is_some_and(|own| own.tid == thread.tid)
    }

    /// Whether a thread was found in the poll of the task that it was first seen at, and
    /// in no other.
    fn is_blocked_in(&self, thread: &ThreadSeen) -> bool {
        self.workers.iter().any(|worker| {
            worker.blocked.is_some_and(|blocked| blocked.poll.task == thread.look.task)
                && self.is_of(worker, thread)
        })
    }
}

/// How the self test of a runtime stands.
pub(super) fn outcome(registered: &Registered) -> Outcome {
    registered.probe.get().map_or(Outcome::Waiting, |probe| probe.outcome())
}

impl WorkerSeen {
    fn look_again(&mut self, threads: &[ThreadSeen], runtimes: &[RuntimeSeen], places: &Places) {
        let Some(first) = self.first else { return };
        let thread = self.thread.and_then(|number| threads.get(number));
        let registered = runtimes.get(self.runtime).and_then(|runtime| runtime.registered);
        let (Some(thread), Some(registered)) = (thread, registered) else { return };
        let now = places.look(thread.tid).map_or(Standing::Unknown, |look| {
            if look.index != Some(first.index) {
                return Standing::Unknown;
            }
            standing(registered, first.index, &look, places.knows_polls())
        });
        if now == Standing::Polling(first.poll) {
            self.looks = self.looks.saturating_add(1);
        } else {
            self.first = None;
        }
    }

    fn judge(&mut self, now_ns: u64) {
        let Some(first) = self.first else { return };
        let known = EPISODES.recall(first);
        self.blocked = Some(Blocked {
            poll: first.poll,
            for_ns: now_ns.saturating_sub(known.since_ns),
            cpu_ns: cpu_ns(first.tid).map(|now| now.saturating_sub(known.cpu_ns)),
            looks: self.looks,
        });
    }
}
