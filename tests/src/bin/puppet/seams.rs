//! Sections that do more than write: that collect, find, and show what the report
//! has.
#![allow(unsafe_code, reason = "implements the section contract, and breaks it on purpose")]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

use gmr_core::StackId;
use gmr_core::model::{Await, AwaitKind, FindingCode, Task, TaskState};
use gmr_core::section::{Collecting, Place, Stacks};
use gmr_std::{SectionResult, SectionWriter, SignalSafeSection};

static STUCK: AtomicBool = AtomicBool::new(false);
static ENTERED: AtomicU32 = AtomicU32::new(0);
/// The thread that [`Witness`] looks for.
static SECRET_TID: AtomicU32 = AtomicU32::new(0);

/// Obeys a command of this file.
pub(crate) fn obey(word: &str) -> Option<String> {
    Some(match word {
        "secret-thread" => secret_thread(),
        "stick-seams" => {
            STUCK.store(true, Ordering::Release);
            "ok".to_owned()
        }
        "unstick-seams" => {
            STUCK.store(false, Ordering::Release);
            "ok".to_owned()
        }
        "entered-seams" => ENTERED.load(Ordering::Acquire).to_string(),
        _ => return None,
    })
}

/// A thread whose name holds a secret; answers with its number.
fn secret_thread() -> String {
    let (sender, receiver) = channel();
    let started = thread::Builder::new().name("token=s3am".to_owned()).spawn(move || {
        let _ = sender.send(rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned());
        waits_in_secret();
    });
    let tid = receiver.recv().expect("the thread's number");
    SECRET_TID.store(tid, Ordering::Release);
    started.map_or_else(|error| error.to_string(), |_| tid.to_string())
}

#[inline(never)]
fn waits_in_secret() {
    loop {
        thread::park_timeout(Duration::from_secs(3600));
    }
}

#[inline(never)]
fn a_known_place() -> u32 {
    core::hint::black_box(1)
}

#[inline(never)]
fn its_caller() -> u32 {
    core::hint::black_box(a_known_place() + 1)
}

/// Passes all it is given on, and what it made of the report, to its content.
struct Witness {
    /// 1: it has collected; 2: and then found.
    step: AtomicU32,
    sequence: AtomicU64,
    listed: AtomicU32,
    own: AtomicU32,
    saw_secret: AtomicBool,
    was_in_time: AtomicBool,
    frames: AtomicU32,
    saw_function: AtomicBool,
    /// How many stacks there was still room for.
    more_stacks: AtomicU32,
}

static STACK: Mutex<Option<StackId>> = Mutex::new(None);
static LONG_STACK: Mutex<Option<StackId>> = Mutex::new(None);

static WITNESS: Witness = Witness {
    step: AtomicU32::new(0),
    sequence: AtomicU64::new(0),
    listed: AtomicU32::new(0),
    own: AtomicU32::new(0),
    saw_secret: AtomicBool::new(false),
    was_in_time: AtomicBool::new(false),
    frames: AtomicU32::new(0),
    saw_function: AtomicBool::new(false),
    more_stacks: AtomicU32::new(0),
};

/// A level of the task that [`Witness`] shows.
const LEVEL: Await<'_> = Await {
    depth: 0,
    kind: AwaitKind::Suspended,
    function: "heat::api::handle",
    file: Some("src/api.rs"),
    line: Some(57),
    waits_for: None,
    note: "password=s3am",
};

const LONG_TYPE: &str = "coop::Coop<tokio::sync::watch::Receiver<T>::wait_for_inner<bool, \
                         heat_api_tokio::is_set::{closure#0}>>";

// SAFETY: atomics, and a lock that nobody else takes: one report at a time.
unsafe impl SignalSafeSection for Witness {
    fn collect(&self, report: &mut dyn Collecting) {
        self.step.store(1, Ordering::Release);
        self.sequence.store(report.sequence(), Ordering::Release);
        let (mut listed, mut own, mut saw_secret) = (0, 0, false);
        let secret_tid = SECRET_TID.load(Ordering::Acquire);
        report.threads(&mut |thread| {
            listed += 1;
            own += u32::from(thread.is_own);
            saw_secret |= thread.tid == secret_tid
                && thread.name == b"token=s3am"
                && thread.state == b'S'
                && !thread.is_own;
        });
        self.listed.store(listed, Ordering::Release);
        self.own.store(own, Ordering::Release);
        self.saw_secret.store(saw_secret, Ordering::Release);
        report.rest(1_000_000);
        let is_in_time = report.check().is_ok() && monotonic_ns() < report.deadline_ns();
        self.was_in_time.store(is_in_time, Ordering::Release);
        // As if called from their first instruction.
        let addresses =
            [a_known_place, its_caller].map(|function| function as *const () as u64 + 1);
        *STACK.lock().expect("no panic") = report.add_stack(&addresses);
        // Longer than a stack may be.
        *LONG_STACK.lock().expect("no panic") = report.add_stack(&[addresses[0]; 200]);
        // More than there is room for.
        let more = (0..100_000).take_while(|_| report.add_stack(&addresses).is_some()).count();
        self.more_stacks.store(u32::try_from(more).expect("few"), Ordering::Release);
    }

    fn findings(&self, stacks: &dyn Stacks, give: &mut dyn FnMut(FindingCode, &str, &[u32])) {
        if self.step.load(Ordering::Acquire) == 1 {
            self.step.store(2, Ordering::Release);
        }
        let tid = SECRET_TID.load(Ordering::Acquire);
        let mut saw_function = false;
        stacks.frames(tid, &mut |frame| {
            saw_function |= frame.function.is_some_and(|name| name.contains("waits_in_secret"));
            true
        });
        self.saw_function.store(saw_function, Ordering::Release);
        let mut frames = 0;
        stacks.frames(tid, &mut |_| {
            frames += 1;
            frames < 3
        });
        stacks.frames(1, &mut |_| {
            frames += 100;
            true
        });
        self.frames.store(frames, Ordering::Release);
        give(FindingCode::BlockedWorker, "password=s3am in a poll", &[tid]);
        give(FindingCode::StalledRuntime, "all of them", &[tid; 20]);
    }

    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        let truth = |value: &AtomicBool| value.load(Ordering::Acquire);
        let number = |value: &AtomicU32| value.load(Ordering::Acquire);
        out.value("steps before", number(&self.step))?;
        self.step.store(0, Ordering::Release);
        let is_same = self.sequence.load(Ordering::Acquire) == out.sequence();
        out.value("same report", is_same)?;
        out.value("number", out.sequence())?;
        out.value("listed", number(&self.listed))?;
        out.value("own", number(&self.own))?;
        out.value("saw the thread", truth(&self.saw_secret))?;
        out.value("in time", truth(&self.was_in_time))?;
        out.value("frames until told to end", number(&self.frames))?;
        out.value("saw the function", truth(&self.saw_function))?;
        out.value("more stacks", number(&self.more_stacks))?;
        let tid = SECRET_TID.load(Ordering::Acquire);
        let mut shown = false;
        out.blocks("thread", |out| {
            shown = out.show_thread(tid)?;
            Ok(())
        })?;
        out.value("showed the thread", shown)?;
        let shown = out.show_thread(1)?;
        out.value("showed another's", shown)?;
        out.group("long stack", |out| {
            let stack = LONG_STACK.lock().expect("no panic").expect("room");
            let shown = out.show_stack(stack)?;
            out.value("shown", shown)?;
            Ok(())
        })?;
        let stack = *STACK.lock().expect("no panic");
        let task = Task {
            count: 1,
            ids: &[4711],
            name: Some("token=s3am"),
            state: TaskState::Suspended,
            tid: None,
            for_ns: None,
            future: Some(LONG_TYPE),
        };
        out.blocks("tasks", |out| {
            out.task(&task, |out| {
                out.await_level(&LEVEL)?;
                out.await_level(&Await {
                    depth: 1,
                    kind: AwaitKind::Leaf,
                    function: LONG_TYPE,
                    file: None,
                    line: None,
                    note: "",
                    ..LEVEL
                })?;
                if let Some(stack) = stack {
                    out.show_stack(stack)?;
                }
                Ok(())
            })
        })
    }

    fn place(&self) -> Place {
        Place::BehindThreads
    }
}

fn wait_at_the_gate() {
    ENTERED.fetch_add(1, Ordering::AcqRel);
    while STUCK.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Does not come back from one of its calls while it is told to.
struct Gate {
    is_in_collect: bool,
}

// SAFETY: sleeps (a system call) and loads atomics. It waits without a
// deadline, which the contract forbids: that is what is tested.
unsafe impl SignalSafeSection for Gate {
    fn collect(&self, _: &mut dyn Collecting) {
        if self.is_in_collect {
            wait_at_the_gate();
        }
    }

    fn findings(&self, _: &dyn Stacks, give: &mut dyn FnMut(FindingCode, &str, &[u32])) {
        if !self.is_in_collect {
            wait_at_the_gate();
        }
        give(FindingCode::StalledRuntime, "behind the gate", &[]);
    }

    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("generated", true)?;
        Ok(())
    }
}

/// Collects for as long as it may.
struct Patient(AtomicU32);

// SAFETY: waits with a deadline, and looks at it.
unsafe impl SignalSafeSection for Patient {
    fn collect(&self, report: &mut dyn Collecting) {
        let mut looks = 0;
        while report.check().is_ok() {
            report.rest(u64::MAX);
            looks += 1;
        }
        self.0.store(looks, Ordering::Release);
    }

    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("rests until the deadline", self.0.load(Ordering::Acquire))?;
        Ok(())
    }
}

pub(crate) fn find(name: &str) -> Option<(&'static str, &'static dyn SignalSafeSection)> {
    static PATIENT: Patient = Patient(AtomicU32::new(0));
    Some(match name {
        "witness" => ("Witness", &WITNESS),
        "collect-gate" => ("Collect gate", &Gate { is_in_collect: true }),
        "findings-gate" => ("Findings gate", &Gate { is_in_collect: false }),
        "patient" => ("Patient", &PATIENT),
        _ => return None,
    })
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
