//! A program's own sections, and what its threads are doing.
//!
//!     cargo run --example custom_sections
//!
//! It asks itself for one report, on stderr, and ends. Shown are
//!
//! 1. a closure that returns a struct, one that returns text, one that panics;
//! 2. a section that also comes while the allocator's lock is held for ever;
//! 3. scopes: what a thread is doing, beside its stack;
//! 4. secrets: by type, by key, by form, and what is public all the same.
#![allow(unsafe_code, reason = "promises that a section is signal-safe")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use gmr_std::{Secret, SectionResult, SectionWriter, SignalSafeSection, View, expose};
use serde::Serialize;

static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Reads atomics only: it needs no worker.
struct Counters;

// SAFETY: an atomic load; no allocation, lock, panic or wait.
unsafe impl SignalSafeSection for Counters {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("requests", REQUESTS.load(Ordering::Relaxed))?;
        Ok(())
    }
}

#[derive(Serialize)]
struct Upstream {
    url: &'static str,
    password: Secret<&'static str>,
    token: gmr_std::Exposed<&'static str>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let reports = gmr_std::setup_autorun(gmr_std::package!())
        .register_signal_safe_section("Counters", &Counters)
        .install()?;

    // It takes a lock: that is what workers are for.
    let queue = Arc::new(Mutex::new(BTreeMap::from([("mail", 3), ("billing", 0)])));
    let seen = Arc::clone(&queue);
    reports.register_section("Queues", move || {
        seen.lock().map(|queue| queue.clone()).unwrap_or_default()
    })?;
    reports.register_section("Upstream", || Upstream {
        url: "https://svc:hunter2@upstream.example/v1",
        password: Secret::new("hunter2"),
        // Its key looks like a secret; it is none.
        token: expose("round-robin"),
    })?;
    reports.register_section("Broken", || -> u32 { panic!("the table is gone") })?;

    // What this thread is doing, until the guard is dropped.
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let _request = gmr_std::scope!("request", "GET /stacks/{}", 42);
    let (ready, is_ready) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let other = thread::Builder::new().name("compactor".to_owned()).spawn(move || {
        let _compaction = gmr_std::scope!("compaction", "level {}", 2);
        let _ = ready.send(());
        let _ = ends.recv();
    })?;
    is_ready.recv()?;

    eprint!("{}", reports.report(View::Text)?);
    drop(end);
    let _ = other.join();
    Ok(())
}
