//! Green Threads and Runtime are there while the allocator's lock is held, and every
//! worker blocked.
#![allow(unsafe_code, reason = "a global allocator, and calls below std's")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Blocked, LetGo, PATIENCE, parked_for_ever, parked_place, section};

struct Lockable;

static IS_HELD: AtomicBool = AtomicBool::new(false);

fn wait() {
    while IS_HELD.load(Ordering::Acquire) {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        // SAFETY: a valid time; the rest is not wanted.
        unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) };
    }
}

// SAFETY: hands every call on to the system's allocator.
unsafe impl GlobalAlloc for Lockable {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        wait();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        wait();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Lockable = Lockable;

/// Waits until the file ends with the end of a report. Allocates nothing.
fn wait_for_end(fd: i32) -> bool {
    for _ in 0..PATIENCE.as_millis() {
        let mut tail = [0_u8; 4096];
        // SAFETY: plain data.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        // SAFETY: a valid place to write to.
        unsafe { libc::fstat(fd, &raw mut stat) };
        let from = (stat.st_size - tail.len() as i64).max(0);
        // SAFETY: at most as many bytes as there are.
        let read = unsafe { libc::pread(fd, tail.as_mut_ptr().cast(), tail.len(), from) };
        let tail = &tail[..usize::try_from(read).unwrap_or(0)];
        if tail.windows(13).any(|window| window == b"End of report") && tail.ends_with(b"\n") {
            return true;
        }
        let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        // SAFETY: a valid time; the rest is not wanted.
        unsafe { libc::nanosleep(&raw const time, core::ptr::null_mut()) };
    }
    false
}

#[test]
fn tasks_and_blocked_workers_are_told_while_nothing_can_be_allocated() {
    let path = std::env::temp_dir().join(format!("gmr-held-{}", std::process::id()));
    let mut file = File::options().create(true).read(true).append(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    gmr_tokio::register(runtime.handle()).unwrap();
    gmr_tokio::setup_autorun(gmr_tokio::package!())
        .destination_fd(file.as_raw_fd())
        .install()
        .unwrap();
    gmr_tokio::wait_until_ready(PATIENCE).unwrap();
    for _ in 0..25 {
        runtime.spawn(parked_for_ever());
    }
    // They are polled before what comes behind them in the queue.
    runtime.block_on(async { tokio::spawn(tokio::task::yield_now()).await.unwrap() });
    let blocked = Blocked::default();
    let _let_go = LetGo(blocked.clone());
    let ids = blocked.block_workers(&runtime, 2);

    let own_pid = std::process::id().cast_signed();
    IS_HELD.store(true, Ordering::Release);
    // SAFETY: a signal to this process, which it handles.
    unsafe { libc::kill(own_pid, libc::SIGUSR2) };
    let has_ended = wait_for_end(file.as_raw_fd());
    IS_HELD.store(false, Ordering::Release);

    blocked.let_go();
    let mut report = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut report).unwrap();
    assert!(has_ended, "{report}");
    let tasks = section(&report, "Green Threads");
    assert!(tasks.contains("summary = 27 tasks seen of 27 alive, 1 runtime\n"), "{tasks}");
    assert!(tasks.contains(&parked_place()), "{tasks}");
    for id in ids {
        assert!(tasks.contains(&format!("Task {id} running on #")), "{tasks}");
        assert!(report.contains(&format!("has polled task {id} for at least")), "{report}");
    }
    assert!(section(&report, "Runtime").contains("0 parked, 2 blocked"), "{report}");
}
