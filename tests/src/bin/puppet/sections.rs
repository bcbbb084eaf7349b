//! Sections that behave and sections that do not.
#![allow(unsafe_code, reason = "implements the section contract, and breaks it on purpose")]

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::thread;

use gmr_std::{SectionError, SectionResult, SectionWriter, SignalSafeSection};

static STUCK: AtomicBool = AtomicBool::new(false);
static ENTERED: AtomicU32 = AtomicU32::new(0);
static LEFT: AtomicU32 = AtomicU32::new(0);

pub(crate) fn stick(stuck: bool) -> String {
    STUCK.store(stuck, Ordering::Release);
    "ok".to_owned()
}

pub(crate) fn entered() -> String {
    ENTERED.load(Ordering::Acquire).to_string()
}

pub(crate) fn left() -> String {
    LEFT.load(Ordering::Acquire).to_string()
}

/// Waits while it is told to, however long, and does not look at what `out`
/// answers: the section that takeover is there for.
struct Gate;

// SAFETY: sleeps (a system call) and loads atomics. It waits without a
// deadline, which the contract forbids: that is what is tested.
unsafe impl SignalSafeSection for Gate {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        let _ = out.value("before the gate", 1_u64);
        ENTERED.fetch_add(1, Ordering::AcqRel);
        while STUCK.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..100 {
            let _ = out.value("after the gate", 2_u64);
        }
        LEFT.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

struct Fails;

// SAFETY: writes literals.
unsafe impl SignalSafeSection for Fails {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("written before", "the failure")?;
        out.group("left open", |out| {
            out.value("inner", 1_u64)?;
            Err(SectionError::Failed("the lock was held"))
        })
    }
}

/// Writes for ever, and stops when told.
struct Endless;

// SAFETY: sleeps (a system call) and writes literals.
unsafe impl SignalSafeSection for Endless {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        loop {
            out.value("still here", "yes")?;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Speaks as if it were the report.
struct Forger;

const FORGED: &str = "\
========================================================================
====                            Package                             ====
========================================================================
------                     Thread #1 forged                       ------
#0  forged+0x1 in forged
[section ok: forged]
End of report 1: complete
|||| bars
\x1b[2Jescape\rback\u{202e}turned";

// SAFETY: writes literals.
unsafe impl SignalSafeSection for Forger {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("plain", "value")?;
        out.text(FORGED)?;
        out.value("End of report 1: complete", FORGED)?;
        out.value("====", "\n====\nEnd of report 1: complete")?;
        out.group("[section ok: forged]", |out| {
            out.value("\nEnd of report 2", "x")?;
            Ok(())
        })?;
        out.list("\n------ Thread #2 list ------", |out| {
            out.item("\nEnd of report 3: complete")?;
            Ok(())
        })
    }
}

/// Asks for what a section cannot have.
struct Asks;

// SAFETY: what it calls refuses at once, or closes nothing under a report.
unsafe impl SignalSafeSection for Asks {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        let report = crate::setup::CORE.report_to_fd(1, gmr_std::View::Text);
        out.value("report", if report.is_err() { "refused" } else { "written" })?;
        let is_on_supervisor = report == Err(gmr_std::CoreReportError::OnSupervisor);
        out.value("for the right reason", is_on_supervisor)?;
        let switched = crate::setup::CORE.set_destination(2);
        out.value("still in use", switched == Err(gmr_std::DestinationError::StillInUse))?;
        Ok(())
    }
}

/// Takes its time, and less than it has.
struct Slow;

// SAFETY: sleeps (a system call) and writes literals.
unsafe impl SignalSafeSection for Slow {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        thread::sleep(Duration::from_millis(1200));
        out.value("slept", true)?;
        Ok(())
    }
}

/// Nothing special.
struct Filler;

// SAFETY: writes literals.
unsafe impl SignalSafeSection for Filler {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        out.value("filled", true)?;
        Ok(())
    }
}

static TITLES: [&str; 33] = [
    "Filler 0",
    "Filler 1",
    "Filler 2",
    "Filler 3",
    "Filler 4",
    "Filler 5",
    "Filler 6",
    "Filler 7",
    "Filler 8",
    "Filler 9",
    "Filler 10",
    "Filler 11",
    "Filler 12",
    "Filler 13",
    "Filler 14",
    "Filler 15",
    "Filler 16",
    "Filler 17",
    "Filler 18",
    "Filler 19",
    "Filler 20",
    "Filler 21",
    "Filler 22",
    "Filler 23",
    "Filler 24",
    "Filler 25",
    "Filler 26",
    "Filler 27",
    "Filler 28",
    "Filler 29",
    "Filler 30",
    "Filler 31",
    "Filler 32",
];

pub(crate) fn find(name: &str) -> (&'static str, &'static dyn SignalSafeSection) {
    if let Some(found) = crate::seams::find(name) {
        return found;
    }
    match name {
        "gate" => ("Gate", &Gate),
        "second-gate" => ("Second gate", &Gate),
        "fails" => ("Fails", &Fails),
        "endless" => ("Endless", &Endless),
        "forger" => ("Forger", &Forger),
        "asks" => ("Asks", &Asks),
        "slow" => ("Slow", &Slow),
        _ => {
            let number = name.strip_prefix("filler-").and_then(|number| number.parse().ok());
            (TITLES[number.unwrap_or(32_usize)], &Filler)
        }
    }
}
