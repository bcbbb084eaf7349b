//! The head of a report: who asked, when, and of which process.

use core::sync::atomic::Ordering;

use ufmt::uwrite;

use super::{Previous, Report};
use crate::engine::Engine;
use crate::model::{Event, Value};
use crate::procfs::read;
use crate::protocol::requests::{Requester, Taken};
use crate::sys::clock;

impl Report<'_> {
    pub(super) fn head(&mut self, taken: &Taken, previous: Option<Previous>, bytes: &mut [u8]) {
        let (engine, out) = (self.engine, &mut self.out);
        out.put(&Event::BeginReport);
        out.put(&Event::BeginHead);
        out.value("report", self.epoch.sequence());
        if taken.coalesced > 0 {
            out.value("requests coalesced", taken.coalesced);
        }
        if let Some(service) = engine.options.service_name {
            out.value("service", service);
        }
        let who = describe_requester(taken.requester.as_ref(), bytes);
        out.value("requested by", Value::Bytes(&who));
        out.value("time", Value::Timestamp(clock::now()));
        if let Some(age) = process_age(engine, bytes) {
            out.value("uptime", Value::DurationNs(age));
        }
        out.value("host", Value::Bytes(engine.facts.host()));
        out.value("pid", engine.pid);
        // Keys come once: further out than the next namespace is another key.
        for (key, outer) in OUTER_PID_KEYS.into_iter().zip(outer_pids(bytes).iter().rev()) {
            out.value(key, *outer);
        }
        let ignored = engine.stats.ignored.load(Ordering::Relaxed);
        if ignored > 0 {
            out.value("requests ignored (forked children, after shutdown or release)", ignored);
        }
        if let Some(previous) = previous {
            let title = previous.step.title(engine);
            out.put(&Event::BeginGroup { key: Some("previous report") });
            out.value("report", previous.sequence);
            out.value("complete", false);
            out.value("abandoned in", title);
            out.put(&Event::Close);
        }
    }
}

/// `SIGUSR2 from pid 4711 (bash), uid 1000`
fn describe_requester(who: Option<&Requester>, bytes: &mut [u8]) -> heapless::Vec<u8, 128> {
    let mut text = heapless::Vec::<u8, 128>::new();
    let Some(who) = who else {
        let _ = text.extend_from_slice(b"unknown (the first requester could not leave its name)");
        return text;
    };
    if let Some((tid, for_ns)) = who.stalled() {
        let _ = match tid {
            0 => uwrite!(&mut text, "stall watch (an async runtime makes no progress for "),
            _ => uwrite!(&mut text, "stall watch (#{} in one poll for ", tid),
        };
        let _ = uwrite!(&mut text, "{} ms)", for_ns / 1_000_000);
        return text;
    }
    if who.signal == 0 {
        let _ = text.extend_from_slice(b"a call of the program");
        return text;
    }
    match signal_name(who.signal) {
        Some(name) => {
            let _ = uwrite!(&mut text, "{}", name);
        }
        None => {
            let _ = uwrite!(&mut text, "signal {}", who.signal);
        }
    }
    if who.code > 0 {
        let _ = uwrite!(&mut text, " from the kernel");
        return text;
    }
    if who.pid == 0 {
        let _ = uwrite!(&mut text, " from outside this pid namespace");
    } else {
        let _ = uwrite!(&mut text, " from pid {}", who.pid);
        let mut path =
            crate::procfs::path::SmallPath::new().push("/proc/").number(who.pid).push("/comm");
        if let Some(path) = path.as_c_str()
            && let Ok(comm) = read::file(rustix::fs::CWD, path, bytes)
        {
            let name = comm.bytes.strip_suffix(b"\n").unwrap_or(comm.bytes);
            let name = name.get(..name.len().min(32)).unwrap_or(name);
            let _ = text.extend_from_slice(b" (");
            let _ = text.extend_from_slice(name);
            let _ = text.extend_from_slice(b")");
        }
    }
    let _ = uwrite!(&mut text, ", uid {}", who.uid);
    text
}

pub(super) fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGTERM => "SIGTERM",
        libc::SIGALRM => "SIGALRM",
        libc::SIGWINCH => "SIGWINCH",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGURG => "SIGURG",
        _ => return None,
    })
}

fn process_age(engine: &Engine, bytes: &mut [u8]) -> Option<u64> {
    let content = read::file(rustix::fs::CWD, c"/proc/self/stat", bytes).ok()?;
    let stat = crate::procfs::stat::parse(content.bytes)?;
    crate::procfs::uptime::age_ns(
        crate::procfs::uptime::boot_time_ns(),
        stat.start_ticks?,
        engine.facts.ticks_per_second(),
    )
}

/// Our process id in outer namespaces, from the next one on; more are left out.
const OUTER_PID_KEYS: [&str; 3] = [
    "pid in an outer namespace",
    "pid two namespaces further out",
    "pid three namespaces further out",
];

/// The process ids by which outer namespaces know us, if /proc shows them, the
/// outermost first.
fn outer_pids(bytes: &mut [u8]) -> heapless::Vec<u32, 8> {
    let Ok(content) = read::file(rustix::fs::CWD, c"/proc/self/status", bytes) else {
        return heapless::Vec::new();
    };
    let status = crate::procfs::status::parse(content.bytes);
    let inner = status.ns_pids.len().saturating_sub(1);
    status.ns_pids.iter().take(inner).copied().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(who: Option<Requester>) -> std::string::String {
        let words = describe_requester(who.as_ref(), &mut [0; 64]);
        std::string::String::from_utf8_lossy(&words).into_owned()
    }

    #[test]
    fn who_asked_is_said() {
        assert_eq!(words(None), "unknown (the first requester could not leave its name)");
        assert_eq!(words(Some(Requester::call())), "a call of the program");
        assert_eq!(
            words(Some(Requester::stall(10181, 12_499_999_999))),
            "stall watch (#10181 in one poll for 12499 ms)"
        );
        assert_eq!(
            words(Some(Requester::stall(0, 1_000_000))),
            "stall watch (an async runtime makes no progress for 1 ms)"
        );
        // The longest there is.
        assert_eq!(
            words(Some(Requester::stall(u32::MAX, u64::MAX))),
            "stall watch (#4294967295 in one poll for 18446744073709 ms)"
        );
        let signal = |code, pid| words(Some(Requester::signal(libc::SIGUSR2, code, pid, 7, 1)));
        assert_eq!(signal(0, 0), "SIGUSR2 from outside this pid namespace, uid 7");
        assert_eq!(signal(0x80, 0), "SIGUSR2 from the kernel");
        // No code of the kernel's is taken for a stall.
        assert_eq!(signal(i32::MIN, 0), "SIGUSR2 from outside this pid namespace, uid 7");
        let real_time = Requester::signal(40, 0, 0, 7, 1);
        assert_eq!(words(Some(real_time)), "signal 40 from outside this pid namespace, uid 7");
    }
}
