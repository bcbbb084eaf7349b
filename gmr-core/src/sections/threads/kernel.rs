//! What the kernel says of a thread: shown before its frames.
//!
//! Each fact is one line in text and an object in JSON: the system call, what
//! the thread waits for, its processor time, how often it gave the processor
//! up; and if there is something to say, its real-time policy, the kernel
//! function that it waits in, and who traces it. What is not known has no line.

use ufmt::uwrite;

use crate::line::Line;
use crate::model::{Event, Value};
use crate::procfs::errno;
use crate::section::{SectionResult, SectionWriter};
use crate::syscalls;
use crate::threads::ThreadRecord;
use crate::threads::facts::{Call, Calls, KernelFacts};
use crate::waits::{Kind, Owner, Wait, words};

/// A call with six decoded arguments takes some 150 bytes.
pub(super) const LINE_BYTES: usize = 256;

/// Why threads show no system calls, if they do not: one line for the section.
pub(super) fn write_refusal(calls: &Calls, out: &mut SectionWriter<'_>) -> SectionResult {
    use rustix::io::Errno;
    let Some(error) = calls.error else { return Ok(()) };
    let mut line = Line::<LINE_BYTES>::new();
    let _ = uwrite!(&mut line, "not readable ({}", errno::name(error));
    line.push(match error {
        Errno::ACCESS | Errno::PERM => ": the process is not dumpable, PR_SET_DUMPABLE)",
        Errno::NOENT => ": this kernel has no such file)",
        _ => ")",
    });
    Ok(out.value("syscalls", line.as_str())?)
}

/// The lines of one thread's block.
pub(super) fn write(record: &ThreadRecord, out: &mut SectionWriter<'_>) -> SectionResult {
    write_all(record, true, out)?;
    write_unusual(&record.kernel, out)
}

/// The same of a member of a block of several: for machines, since a line for
/// each fact of a thousand threads is not for people.
pub(super) fn write_member(record: &ThreadRecord, out: &mut SectionWriter<'_>) -> SectionResult {
    write_all(record, false, out)?;
    write_unusual(&record.kernel, out)
}

/// What hardly any thread has: people see it of each.
fn write_unusual(facts: &KernelFacts, out: &mut SectionWriter<'_>) -> SectionResult {
    if !facts.wchan().is_empty() {
        out.value("wchan", facts.wchan())?;
    }
    if facts.tracer_pid != 0 {
        out.value("traced by process", facts.tracer_pid)?;
    }
    Ok(())
}

/// All that is a summary; `has_line` says whether people see it.
fn write_all(record: &ThreadRecord, has_line: bool, out: &mut SectionWriter<'_>) -> SectionResult {
    let facts = &record.kernel;
    let mut out = Summaries { has_line, out };
    write_call(&facts.call, &mut out)?;
    write_wait(&record.wait, &mut out)?;
    write_cpu(facts, &mut out)?;
    write_scheduling(facts, &mut out)
}

/// The thread in a few words, without its name: `sleeping, futex 0x7f21c0a41e10,
/// pthread mutex owned by #10190 api-3`.
pub(super) fn brief<W: ufmt::uWrite>(record: &ThreadRecord, out: &mut W) -> Result<(), W::Error> {
    out.write_str(crate::model::state_name(record.state))?;
    match &record.kernel.call {
        Call::Made { number, arguments, .. } => {
            out.write_str(", ")?;
            syscalls::write_brief(out, *number, arguments)?;
        }
        Call::Fault => out.write_str(", page fault")?,
        Call::Unknown | Call::Running => {}
    }
    if record.wait.kind != Kind::Futex {
        let mut line = Line::<LINE_BYTES>::new();
        words::write_what(&mut line, &record.wait);
        out.write_str(if record.wait.kind == Kind::ThreadEnd { ", waits for " } else { ", " })?;
        out.write_str(line.as_str())?;
    }
    Ok(())
}

/// Writes facts that are one line for people and an object for machines.
pub(super) struct Summaries<'a, 'w> {
    pub(super) has_line: bool,
    pub(super) out: &'a mut SectionWriter<'w>,
}

impl Summaries<'_, '_> {
    /// A line in text, if people see it, and a group in JSON.
    pub(super) fn write(
        &mut self,
        key: &str,
        text: &str,
        body: impl FnOnce(&mut SectionWriter<'_>) -> SectionResult,
    ) -> SectionResult {
        let text = if self.has_line { text } else { "" };
        self.out.event(&Event::BeginSummary { key, text })?;
        let outcome = body(self.out);
        self.out.event(&Event::Close)?;
        outcome
    }
}

fn write_call(call: &Call, out: &mut Summaries<'_, '_>) -> SectionResult {
    let mut line = Line::<LINE_BYTES>::new();
    let state = match call {
        Call::Unknown => return Ok(()),
        Call::Running => {
            line.push("running");
            "running"
        }
        Call::Fault => {
            line.push("not in a call (page fault)");
            "page_fault"
        }
        Call::Made { number, arguments, .. } => {
            let _ = syscalls::write(&mut line, *number, arguments);
            "in_call"
        }
    };
    out.write("syscall", line.as_str(), |out| {
        out.value("state", state)?;
        let Call::Made { number, arguments, .. } = call else { return Ok(()) };
        let known = syscalls::find(*number);
        out.value("name", known.map(|call| call.name))?;
        out.value("number", *number)?;
        out.list("arguments", |out| {
            let count = known.map_or(arguments.len(), |call| call.argument_count());
            for word in arguments.iter().take(count) {
                out.item(Value::Address(*word))?;
            }
            Ok(())
        })
    })
}

/// What the call alone does not say: who else waits, and for whom.
fn write_wait(wait: &Wait, out: &mut Summaries<'_, '_>) -> SectionResult {
    if wait.address == 0 || (wait.waiters < 2 && wait.kind == Kind::Futex) {
        return Ok(());
    }
    let mut line = Line::<LINE_BYTES>::new();
    words::write(&mut line, wait);
    out.write("waits for", line.as_str(), |out| {
        out.value("kind", wait.kind.code())?;
        out.value("address", Value::Address(wait.address))?;
        out.value("threads", wait.waiters)?;
        out.value("owner", Some(wait.owner_tid).filter(|tid| *tid != 0))?;
        out.value("owner name", Value::Bytes(wait.owner_name.as_bytes()))?;
        out.value("owner ended", matches!(wait.owner, Owner::Gone { .. } | Owner::Died))?;
        Ok(out.value("deadlock", wait.is_deadlock)?)
    })
}

fn write_cpu(facts: &KernelFacts, out: &mut Summaries<'_, '_>) -> SectionResult {
    if facts.has_cpu {
        let mut line = Line::<LINE_BYTES>::new();
        write_time(&mut line, facts.cpu_user_ns);
        line.push(" user, ");
        write_time(&mut line, facts.cpu_system_ns);
        line.push(" system");
        out.write("cpu", line.as_str(), |out| {
            out.value("user", Value::DurationNs(facts.cpu_user_ns))?;
            Ok(out.value("system", Value::DurationNs(facts.cpu_system_ns))?)
        })?;
    }
    if facts.has_switches {
        let (voluntary, involuntary) = (facts.voluntary_switches, facts.involuntary_switches);
        let mut line = Line::<LINE_BYTES>::new();
        let _ = uwrite!(&mut line, "{} voluntary, {} involuntary", voluntary, involuntary);
        out.write("switches", line.as_str(), |out| {
            out.value("voluntary", voluntary)?;
            Ok(out.value("involuntary", involuntary)?)
        })?;
    }
    Ok(())
}

/// As `time` and `ps` do: below a minute in hundredths, which is what the
/// kernel's tick can tell.
fn write_time(line: &mut Line<LINE_BYTES>, time_ns: u64) {
    const HUNDREDTH_NS: u64 = 10_000_000;
    const MINUTE: u64 = 60 * 100;
    match time_ns / HUNDREDTH_NS {
        hundredths @ 0..MINUTE => {
            let (seconds, rest) = (hundredths / 100, hundredths % 100);
            let _ = uwrite!(line, "{}.{}{} s", seconds, rest / 10, rest % 10);
        }
        _ => crate::view::duration(line, time_ns),
    }
}

/// Only what is not usual.
fn write_scheduling(facts: &KernelFacts, out: &mut Summaries<'_, '_>) -> SectionResult {
    let Some(policy) = crate::sys::scheduler::real_time_name(facts.policy) else { return Ok(()) };
    let mut line = Line::<LINE_BYTES>::new();
    let _ = uwrite!(&mut line, "{}, priority {}", policy, facts.rt_priority);
    out.write("scheduling", line.as_str(), |out| {
        out.value("policy", policy)?;
        Ok(out.value("priority", facts.rt_priority)?)
    })
}
