//! A daemon that counts allocator calls of each thread.
//!
//! `counting_alloc std|lent|core`. Each line on stdin is answered by
//! `TID:COUNT TID:COUNT …`, without an allocation.
#![allow(unsafe_code, reason = "a global allocator, and I/O below std's")]

use core::alloc::{GlobalAlloc, Layout};
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::alloc::System;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::{env, thread};

use gmr_core::model::{Await, AwaitKind, FindingCode, Task, TaskState};
use gmr_core::section::{Collecting, Place, Stacks};
use gmr_core::{Reporter, SectionResult, SectionWriter, Signal, SignalSafeSection, StackId};
use gmr_tests::inside::{hear, say};

static CORE: Reporter = Reporter::new(gmr_core::package!(product: "counting-alloc"));

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Count {
    tid: AtomicU32,
    calls: AtomicU64,
}

static COUNTS: [Count; 32] =
    [const { Count { tid: AtomicU32::new(0), calls: AtomicU64::new(0) } }; 32];

fn count() {
    // SAFETY: no arguments.
    let tid = unsafe { libc::syscall(libc::SYS_gettid) };
    let tid = u32::try_from(tid).unwrap_or(u32::MAX);
    for count in &COUNTS {
        let claimed = count.tid.compare_exchange(0, tid, Ordering::AcqRel, Ordering::Acquire);
        if claimed.is_ok() || claimed == Err(tid) {
            count.calls.fetch_add(1, Ordering::AcqRel);
            return;
        }
    }
}

// SAFETY: hands every call on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Uses all that a section may do beside writing.
struct Extends {
    /// A thread that the report lists.
    tid: AtomicU32,
    stack: TriedStack,
}

/// A lock that nobody waits for.
type TriedStack = Mutex<Option<StackId>>;

static EXTENDS: Extends = Extends { tid: AtomicU32::new(0), stack: Mutex::new(None) };

// SAFETY: atomics, literals, and a lock that is only tried.
unsafe impl SignalSafeSection for Extends {
    fn collect(&self, report: &mut dyn Collecting) {
        report.threads(&mut |thread| {
            if thread.name == b"blocked" {
                self.tid.store(thread.tid, Ordering::Release);
            }
        });
        report.rest(1_000_000);
        let addresses = [main as fn() as *const () as u64 + 1; 4];
        if let Ok(mut stack) = self.stack.try_lock() {
            *stack = report.add_stack(&addresses);
        }
        while report.check().is_ok() && report.add_stack(&addresses).is_some() {}
    }

    fn findings(&self, stacks: &dyn Stacks, give: &mut dyn FnMut(FindingCode, &str, &[u32])) {
        let tid = self.tid.load(Ordering::Acquire);
        let mut frames = 0;
        stacks.frames(tid, &mut |_| {
            frames += 1;
            true
        });
        let text = if frames > 0 { "seen with its stack" } else { "without a stack" };
        give(FindingCode::BlockedWorker, text, &[tid]);
    }

    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.show_thread(self.tid.load(Ordering::Acquire))?;
        let level = Await {
            depth: 0,
            kind: AwaitKind::Suspended,
            function: "password=counted",
            file: Some("src/api.rs"),
            line: Some(57),
            waits_for: Some(7),
            note: "token=counted",
        };
        let task = Task {
            count: 290,
            ids: &[1, 2, 3, 4],
            name: Some("token=counted"),
            state: TaskState::Suspended,
            tid: None,
            for_ns: Some(1),
            future: Some("heat::api::handle"),
        };
        out.blocks("tasks", |out| {
            out.task(&task, |out| {
                for depth in 0..100 {
                    out.await_level(&Await { depth, ..level })?;
                }
                if let Ok(stack) = self.stack.try_lock()
                    && let Some(stack) = *stack
                {
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

fn main() {
    let mode = env::args().nth(1);
    for _ in 0..3 {
        thread::spawn(|| {
            loop {
                thread::sleep(Duration::from_secs(3600));
            }
        });
    }
    // Its stack is read where it is parked.
    thread::Builder::new().name("blocked".to_owned()).spawn(blocked).expect("a thread");
    match mode.as_deref() {
        Some("std") => {
            let config = BTreeMap::from([("workers", "4"), ("password", "s3kr1t-counted")]);
            gmr_std::setup_autorun(gmr_std::package!())
                .conf(&config)
                .register_signal_safe_section("Extends", &EXTENDS)
                .install()
                .expect("a setup");
        }
        Some("lent") => {
            CORE.register_section("Extends", &EXTENDS).expect("registered");
            CORE.setup_trigger(Signal::Usr2).expect("a setup");
            thread::spawn(|| CORE.run());
        }
        _ => {
            CORE.register_section("Extends", &EXTENDS).expect("registered");
            CORE.setup_autorun(Signal::Usr2).expect("a setup");
        }
    }
    say("ready\n");
    while hear() {
        let mut line = Line { bytes: [0; 1024], used: 0 };
        for count in &COUNTS {
            let tid = count.tid.load(Ordering::Acquire);
            if tid != 0 {
                let _ = write!(line, "{tid}:{} ", count.calls.load(Ordering::Acquire));
            }
        }
        let _ = line.write_str("\n");
        say(line.text());
    }
}

fn blocked() {
    // SAFETY: all bytes zero is a set.
    let mut all: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: a set to fill.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: a whole set; the old one is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, core::ptr::null_mut()) };
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

struct Line {
    bytes: [u8; 1024],
    used: usize,
}

impl Line {
    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.used]).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.used + text.len();
        let room = self.bytes.get_mut(self.used..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}
