//! Replaying a configuration neither allocates nor frees.
#![cfg(not(loom))]

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;

use gmr_core::model::Event;
use gmr_core::section::{EventSink, SectionWriter, SignalSafeSection, Stop};
use gmr_std::{ConfigCell, Secret};
use serde::Serialize;

/// The system's allocator, counting calls.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: Hands every call on to the system's allocator as it is.
#[expect(unsafe_code, reason = "a global allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: The caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: The caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Serialize)]
struct Config {
    workers: u32,
    hosts: Vec<String>,
    database: Database,
}

#[derive(Serialize)]
struct Database {
    url: String,
    password: Secret<String>,
    ratio: f64,
    note: Option<String>,
}

struct CountsEvents(usize);

impl EventSink for CountsEvents {
    fn emit(&mut self, _event: &Event<'_>) -> Result<(), Stop> {
        self.0 += 1;
        Ok(())
    }
}

// One test only: the count is of the whole process.
#[test]
fn replay_does_not_allocate() {
    let cell = ConfigCell::new();
    let events = |cell: &ConfigCell| {
        let mut sink = CountsEvents(0);
        let before = CALLS.load(Ordering::SeqCst);
        let outcome = cell.generate(&mut SectionWriter::new(&mut sink));
        let calls = CALLS.load(Ordering::SeqCst) - before;
        assert!(outcome.is_ok());
        (sink.0, calls)
    };
    assert_eq!(events(&cell), (1, 0));
    let config = Config {
        workers: 4,
        hosts: vec!["a".into(), "b".into()],
        database: Database {
            url: "postgres://u:p@h/d".into(),
            password: Secret::new("p".into()),
            ratio: 0.5,
            note: None,
        },
    };
    cell.set(&config).expect("serializes");
    assert_eq!(events(&cell), (13, 0));
    cell.set(&config).expect("serializes");
    assert_eq!(events(&cell), (13, 0));
}
