//! Parked threads against the truth: the stack that the same thread gives when
//! a signal interrupts it.

#![expect(unsafe_code, reason = "threads and signals of every kind")]

mod images;
mod kinds;
mod race;
mod sweep;
mod truth;

use std::ffi::OsStr;
use std::string::String;
use std::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};

use super::capture::{Frames, NotParked, Parked, PassiveMemory, capture};
use crate::procfs::read;
use crate::stacks::modules::Table;
use crate::stacks::unwind::{Found, Walker};

/// Frames in a vector.
#[derive(Default)]
struct List {
    found: Vec<Found>,
    /// Called when a frame comes.
    at_each: Option<fn()>,
}

impl Frames for List {
    fn begin(&mut self) {
        self.found.clear();
    }

    fn frame(&mut self, found: Found) -> bool {
        if let Some(act) = self.at_each {
            act();
        }
        self.found.push(found);
        self.found.len() < 1000
    }
}

/// Everything that a passive capture needs.
struct Observer {
    task: OwnedFd,
    table: Table,
    walker: Walker,
    memory: PassiveMemory,
    frames: List,
}

impl Observer {
    fn new() -> Self {
        Observer {
            task: read::open_dir(rustix::fs::CWD, c"/proc/self/task").unwrap(),
            table: Table::collect(),
            walker: Walker::new(),
            memory: PassiveMemory::new(),
            frames: List::default(),
        }
    }

    fn look(&mut self, tid: u32) -> Result<Parked, NotParked> {
        capture(
            self.task.as_fd(),
            tid,
            &mut self.memory,
            &mut self.walker,
            &self.table,
            &mut self.frames,
        )
    }

    /// Until the thread is found parked.
    fn wait(&mut self, tid: u32) -> Parked {
        loop {
            match self.look(tid) {
                Ok(parked) => return parked,
                Err(NotParked::Running | NotParked::Ran) => std::thread::yield_now(),
                Err(refused) => panic!("{refused:?}"),
            }
        }
    }

    fn pcs(&self) -> Vec<u64> {
        self.frames.found.iter().map(|frame| frame.pc).collect()
    }
}

/// Set in the process that runs a test by itself.
const ALONE: &str = "GMR_TEST_ALONE";

/// Whether this process is the one that runs the test `name`, and nothing else;
/// if not, such a process is started and has to succeed. Threads that are
/// parked for ever would disturb the tests of this process.
fn is_alone(name: &str) -> bool {
    if std::env::var_os(ALONE).as_deref() == Some(OsStr::new(name)) {
        return true;
    }
    let path = std::format!("stacks::passive::tests::{name}");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([path.as_str(), "--exact", "--include-ignored", "--nocapture"])
        .env(ALONE, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    std::print!("{text}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
    false
}
