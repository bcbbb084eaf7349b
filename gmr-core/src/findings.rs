//! Findings: what the collected facts prove to be abnormal, each with its
//! evidence and where to look. Nothing here is a guess.

use ufmt::uwrite;

use crate::engine::Engine;
use crate::model::Capture;
use crate::procfs::{list, read};
use crate::sections::threads::Facts;

/// What there is to judge by.
pub(crate) struct Evidence<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) threads: &'a Facts<'a>,
    /// What other supervisors are stuck in.
    pub(crate) stuck: &'a [&'a str],
}

/// Reports each finding.
pub(crate) fn write(
    evidence: &Evidence<'_>,
    dirents: &mut [core::mem::MaybeUninit<u8>],
    report: &mut dyn FnMut(&str),
) {
    let mut text = heapless::String::<256>::new();
    for title in evidence.stuck {
        text.clear();
        let _ = uwrite!(
            &mut text,
            "stuck section: an earlier report has not come back from {}; it is skipped",
            title
        );
        report(&text);
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
                "stuck section: the worker of an earlier report has not come back from {}",
                title
            );
            report(&text);
        }
    }
    for capture in [
        Capture::Timeout,
        Capture::Partial,
        Capture::NoSlot,
        Capture::QueueFull,
        Capture::HandlerReplaced,
        Capture::Refused,
    ] {
        let count =
            evidence.threads.records.iter().filter(|record| record.capture == capture).count();
        if count > 0 {
            text.clear();
            let _ = uwrite!(
                &mut text,
                "capture: {} of {} threads {} ({}), see Threads",
                count,
                evidence.threads.listed.total,
                capture.code(),
                capture.explanation()
            );
            report(&text);
        }
    }
    if let Some((open, limit)) = descriptors(dirents)
        && open.saturating_mul(10) >= limit.saturating_mul(9)
    {
        text.clear();
        let _ = uwrite!(&mut text, "descriptors: {} of {} open, see Processes", open, limit);
        report(&text);
    }
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
