//! Threads that cannot run: in an uninterruptible sleep, stopped, or ended
//! though they are the main thread.

use super::Report;
use crate::line::Line;
use crate::model::FindingCode;
use crate::syscalls;
use crate::threads::ThreadRecord;
use crate::threads::facts::Call;
use crate::waits::words;

/// Threads that are told of one by one.
const MAX_DETAILS: usize = 3;

pub(super) fn write(records: &[ThreadRecord], report: &mut Report<'_>) {
    let of_state = |states: &'static [u8]| {
        records.iter().filter(move |record| record.is_held && states.contains(&record.state))
    };
    told(
        FindingCode::Uninterruptible,
        ["thread is in a call that no signal ends", "threads are in a call that no signal ends"],
        of_state(b"D"),
        report,
    );
    told(
        FindingCode::Stopped,
        ["thread is stopped", "threads are stopped"],
        of_state(b"Tt"),
        report,
    );
    let pid = crate::sys::getpid();
    let is_ended = |record: &&ThreadRecord| record.tid == pid && record.state == b'Z';
    if records.iter().any(|record| is_ended(&record)) && records.len() > 1 {
        report.add_of(
            FindingCode::MainThreadEnded,
            "the main thread has ended (pthread_exit), the other threads go on",
            core::iter::once(pid),
        );
    }
}

/// `1 thread is stopped: #12 api (traced by process 99), see Threads`.
fn told<'r>(
    code: FindingCode,
    [one, many]: [&str; 2],
    threads: impl Iterator<Item = &'r ThreadRecord> + Clone,
    report: &mut Report<'_>,
) {
    let count = threads.clone().count();
    if count == 0 {
        return;
    }
    let mut text = Line::<512>::new();
    text.push_number(count as u64);
    text.push(" ");
    text.push(if count == 1 { one } else { many });
    let mut separator = ": ";
    for record in threads.clone().take(MAX_DETAILS) {
        text.push(separator);
        separator = ", ";
        detail(&mut text, record);
    }
    if count > MAX_DETAILS {
        text.push(", …");
    }
    text.push(", see Threads");
    report.add_of(code, text.as_str(), threads.map(|record| record.tid));
}

/// `#12 api in read(fd 7, …), wchan rpc_wait_bit_killable`.
fn detail<const N: usize>(text: &mut Line<N>, record: &ThreadRecord) {
    words::write_record(text, record);
    if let Call::Made { number, arguments, .. } = &record.kernel.call {
        text.push(" in ");
        let _ = syscalls::write(text, *number, arguments);
    }
    if record.kernel.tracer_pid != 0 {
        text.push(" (traced by process ");
        text.push_number(u64::from(record.kernel.tracer_pid));
        text.push(")");
    }
    if !record.kernel.wchan().is_empty() {
        text.push(" (wchan ");
        text.push_bytes(record.kernel.wchan());
        text.push(")");
    }
}
