//! Findings: what the collected facts prove to be abnormal, each with its
//! evidence and where to look. Nothing here is a guess.
//!
//! In the order of how much they explain: what the reporter itself is stuck in,
//! threads that wait for each other ([`waiting`]), threads that cannot run,
//! captures that failed, limits that are near.
//!
//! Limits: [`MAX_FINDINGS`] are shown, and of each [`MAX_TIDS`] threads; what is
//! left out is counted.

use rustix::fs::AtFlags;
use ufmt::uwrite;

use crate::compose::Visits;
use crate::engine::Engine;
use crate::judge::masked_text;
use crate::line::Line;
use crate::model::{Capture, Finding, FindingCode};
use crate::procfs::{list, read};
use crate::redact::Redaction;
use crate::sections::processes::cgroup;
use crate::sections::threads::Facts;

mod held;
mod waiting;

/// More would push the report itself off the operator's screen.
const MAX_FINDINGS: u32 = 32;

/// Threads that one finding names.
const MAX_TIDS: usize = 16;

/// The longest text of a finding, with room for what masks take more than the
/// secrets that they hide.
const MASKED_BYTES: usize = 1024 + 256;

/// What there is to judge by.
pub(crate) struct Evidence<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) threads: &'a Facts<'a>,
    /// What other supervisors are stuck in.
    pub(crate) stuck: &'a [&'a str],
    /// The registered sections.
    pub(crate) visits: &'a Visits<'a>,
}

/// Takes findings up to their limit.
struct Report<'a> {
    give: &'a mut dyn FnMut(&Finding<'_>),
    /// Findings name threads and files, which may hold a secret.
    policy: &'a Redaction,
    shown: u32,
    left_out: u32,
}

impl Report<'_> {
    /// One finding about the process.
    fn add(&mut self, code: FindingCode, text: &str) {
        self.add_of(code, text, core::iter::empty());
    }

    /// One finding about threads.
    fn add_of(&mut self, code: FindingCode, text: &str, threads: impl Iterator<Item = u32>) {
        if self.shown >= MAX_FINDINGS {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let mut tids = heapless::Vec::<u32, MAX_TIDS>::new();
        let mut tids_left_out = 0_u32;
        for tid in threads {
            if tids.push(tid).is_err() {
                tids_left_out = tids_left_out.saturating_add(1);
            }
        }
        self.shown = self.shown.saturating_add(1);
        let mut scratch = [0; MASKED_BYTES];
        let text = masked_text(self.policy, text, &mut scratch);
        (self.give)(&Finding { code, text, tids: &tids, tids_left_out });
    }
}

impl Report<'_> {
    /// Says what was left out.
    fn end(&mut self) {
        if self.left_out > 0 {
            let mut text = Line::<256>::new();
            let _ = uwrite!(&mut text, "{} more findings, see Threads", self.left_out);
            let (code, text) = (FindingCode::LeftOut, text.as_str());
            (self.give)(&Finding { code, text, tids: &[], tids_left_out: 0 });
        }
    }
}

/// Reports each finding.
pub(crate) fn write(
    evidence: &Evidence<'_>,
    bytes: &mut [u8],
    dirents: &mut [core::mem::MaybeUninit<u8>],
    give: &mut dyn FnMut(&Finding<'_>),
) {
    let policy = evidence.engine.options.redaction;
    let mut report = Report { give, policy, shown: 0, left_out: 0 };
    stuck_sections(evidence, &mut report);
    waiting::write(evidence.threads.records, &mut report);
    held::write(evidence.threads.records, &mut report);
    of_sections(evidence, &mut report);
    #[cfg(feature = "stacks")]
    burning(evidence, &mut report);
    captures(evidence, &mut report);
    if let Some((open, limit)) = descriptors(dirents)
        && open.saturating_mul(10) >= limit.saturating_mul(9)
    {
        let mut text = Line::<256>::new();
        let _ = uwrite!(&mut text, "{} of {} open, see Processes", open, limit);
        report.add(FindingCode::Descriptors, text.as_str());
    }
    control_group(bytes, &mut report);
    executable(bytes, &mut report);
    report.end();
}

fn stuck_sections(evidence: &Evidence<'_>, report: &mut Report<'_>) {
    let mut text = Line::<256>::new();
    for title in evidence.stuck {
        text.clear();
        let _ =
            uwrite!(&mut text, "an earlier report has not come back from {}; it is skipped", title);
        report.add(FindingCode::StuckSection, text.as_str());
    }
    let mut after = 0;
    while let Some(visit) = evidence.engine.registry.visit_after(after) {
        after = visit.order;
        let is_stuck = visit.registered.section.is_stuck();
        let title = visit.registered.title;
        evidence.engine.registry.leave(&visit);
        if is_stuck {
            text.clear();
            let _ = uwrite!(
                &mut text,
                "the worker of an earlier report has not come back from {}",
                title
            );
            report.add(FindingCode::StuckSection, text.as_str());
        }
    }
}

/// What registered sections have found.
fn of_sections(evidence: &Evidence<'_>, report: &mut Report<'_>) {
    evidence.visits.each(&mut |section| {
        section.findings(evidence.threads, &mut |code, text, tids| {
            report.add_of(code, text, tids.iter().copied());
        });
    });
}

/// Threads that ran, or were ready to, for half the time between two samples or
/// longer, and did not move.
#[cfg(feature = "stacks")]
fn burning(evidence: &Evidence<'_>, report: &mut Report<'_>) {
    use crate::model::Movement;
    for record in evidence.threads.records {
        let Some(between) = record.between else { continue };
        let cpu_ns = between.cpu_ns.unwrap_or(0);
        // On a busy machine it has to wait for a CPU.
        let wanted_ns = cpu_ns.saturating_add(between.cpu_wait_ns.unwrap_or(0));
        if between.movement == Some(Movement::SameStackBurningCpu)
            && wanted_ns >= between.interval_ns >> 1
        {
            let mut text = Line::<256>::new();
            let _ = uwrite!(&mut text, "#{} ", record.tid);
            text.push_bytes(record.name.as_bytes());
            let _ = uwrite!(
                &mut text,
                " wanted a CPU for {} of {} ms between the samples, had one for {} ms, and has the same stack, see Threads",
                wanted_ns / 1_000_000,
                between.interval_ns / 1_000_000,
                cpu_ns / 1_000_000
            );
            report.add_of(FindingCode::BurningCpu, text.as_str(), core::iter::once(record.tid));
        }
    }
}

fn captures(evidence: &Evidence<'_>, report: &mut Report<'_>) {
    let mut text = Line::<256>::new();
    for capture in [
        Capture::Timeout,
        Capture::Partial,
        Capture::NoSlot,
        Capture::QueueFull,
        Capture::HandlerReplaced,
        Capture::Refused,
    ] {
        let records = evidence.threads.records.iter();
        let threads = records.filter(|record| record.capture == capture);
        let count = threads.clone().count();
        if count > 0 {
            text.clear();
            let _ = uwrite!(
                &mut text,
                "{} of {} threads {} ({}), see Threads",
                count,
                evidence.threads.listed.total,
                capture.code(),
                capture.explanation()
            );
            report.add_of(FindingCode::Capture, text.as_str(), threads.map(|record| record.tid));
        }
    }
}

/// What the control group has left.
fn control_group(bytes: &mut [u8], report: &mut Report<'_>) {
    let limits = cgroup::limits(bytes);
    let mut text = Line::<256>::new();
    if let Some(tasks) = limits.tasks.filter(|tasks| tasks.is_near()) {
        let _ = uwrite!(
            &mut text,
            "{} of {} that the control group allows (pids.max), see Processes",
            tasks.used,
            tasks.max
        );
        report.add(FindingCode::Threads, text.as_str());
    }
    if let Some(memory) = limits.memory.filter(|memory| memory.is_near()) {
        text.clear();
        crate::view::byte_count(&mut text, memory.used);
        text.push(" of ");
        crate::view::byte_count(&mut text, memory.max);
        text.push(" that the control group allows are in use, inactive file cache not counted, ");
        text.push("see Processes");
        report.add(FindingCode::Memory, text.as_str());
    }
}

/// A file without a name any more: an upgrade replaced it, or it was deleted.
fn executable(bytes: &mut [u8], report: &mut Report<'_>) {
    let links = rustix::fs::statat(rustix::fs::CWD, c"/proc/self/exe", AtFlags::empty());
    if !links.is_ok_and(|stat| stat.st_nlink == 0) {
        return;
    }
    let Ok(path) = read::link(rustix::fs::CWD, c"/proc/self/exe", bytes) else { return };
    let path = path.bytes.strip_suffix(b" (deleted)").unwrap_or(path.bytes);
    let mut text = Line::<256>::new();
    text.push("the file that runs was deleted or replaced since it was started: ");
    text.push_bytes(path);
    report.add(FindingCode::ExecutableReplaced, text.as_str());
}

/// Open descriptors and their limit.
fn descriptors(dirents: &mut [core::mem::MaybeUninit<u8>]) -> Option<(u64, u64)> {
    use rustix::fd::AsFd;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let dir = read::open_dir(rustix::fs::CWD, c"/proc/self").ok()?;
    let open = list::open_descriptors(dir.as_fd(), dirents).ok()?;
    // `dir` itself is one of them.
    Some((open.saturating_sub(1), limit))
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    #[test]
    fn what_is_over_a_limit_is_counted() {
        let mut shown: Vec<(FindingCode, String, usize, u32)> = Vec::new();
        let mut give = |it: &Finding<'_>| {
            shown.push((it.code, it.text.to_string(), it.tids.len(), it.tids_left_out));
        };
        let mut report =
            Report { give: &mut give, policy: &Redaction::new(), shown: 0, left_out: 0 };
        report.add_of(FindingCode::LockWait, "many", 1..=20);
        for _ in 1..MAX_FINDINGS + 5 {
            report.add(FindingCode::Capture, "one");
        }
        report.end();
        assert_eq!(shown[0], (FindingCode::LockWait, "many".to_string(), 16, 4));
        assert_eq!(shown.len(), MAX_FINDINGS as usize + 1);
        let last = (FindingCode::LeftOut, "5 more findings, see Threads".to_string(), 0, 0);
        assert_eq!(shown.last(), Some(&last));
    }

    #[test]
    fn a_secret_in_a_threads_name_is_masked() {
        let mut text = String::new();
        let mut give = |it: &Finding<'_>| text.push_str(it.text);
        let mut report =
            Report { give: &mut give, policy: &Redaction::new(), shown: 0, left_out: 0 };
        report.add(FindingCode::LockWait, "owned by #7 token=x, which runs; see Threads");
        assert!(text.starts_with("owned by #7 token=***"), "{text}");
    }

    #[test]
    fn with_room_for_all_nothing_is_left_out() {
        let mut count = 0;
        let mut give = |_: &Finding<'_>| count += 1;
        let mut report =
            Report { give: &mut give, policy: &Redaction::new(), shown: 0, left_out: 0 };
        for _ in 0..MAX_FINDINGS {
            report.add(FindingCode::Capture, "one");
        }
        report.end();
        assert_eq!(count, MAX_FINDINGS);
    }
}
