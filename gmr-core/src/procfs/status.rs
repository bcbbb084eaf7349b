//! `/proc/PID/status`: a process or thread in lines `Key:\tvalue`
//! (proc_pid_status(5)).
//!
//! Lines may come in any order and number; an unknown one is skipped, the
//! first of a kind counts. A line cut by the end of the buffer (no line end)
//! is not trusted.

use heapless::Vec;

use super::bytes;

/// Longest command name: 15 bytes for a process, but kernel workers show
/// their work queue too (64 bytes with the NUL).
pub const MAX_NAME_BYTES: usize = 64;

/// Most pid namespaces a process can be in: 32 nested ones and the first.
pub const MAX_PID_NAMESPACES: usize = 33;

/// The fields that reports use; what the file does not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Command name, raw: the kernel's escapes of `\n` and `\\` are undone.
    pub name: Option<Vec<u8, MAX_NAME_BYTES>>,
    /// State letter.
    pub state: Option<u8>,
    /// Thread group id: the process's id.
    pub tgid: Option<u32>,
    /// The thread's own id.
    pub pid: Option<u32>,
    /// The parent's process id.
    pub parent_pid: Option<u32>,
    /// The process that traces the thread; 0 if none does.
    pub tracer_pid: Option<u32>,
    /// The process's id in each pid namespace, from that of this /proc to its
    /// own; empty if not said.
    pub ns_pids: Vec<u32, MAX_PID_NAMESPACES>,
    /// Real user id.
    pub uid: Option<u32>,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Signals pending for the thread; bit N-1 is signal N, as in all sets.
    pub sig_pending: Option<u64>,
    /// Signals pending for the whole process.
    pub sig_pending_shared: Option<u64>,
    /// Signals blocked.
    pub sig_blocked: Option<u64>,
    /// Signals ignored.
    pub sig_ignored: Option<u64>,
    /// Signals with a handler.
    pub sig_caught: Option<u64>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<u64>,
    /// Largest resident memory so far, in bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Context switches because the thread waited.
    pub voluntary_switches: Option<u64>,
    /// Context switches because its time was up.
    pub involuntary_switches: Option<u64>,
}

impl Status {
    /// Whether `signal` (1..=64) is in `set`.
    #[must_use]
    pub fn contains(set: u64, signal: u32) -> bool {
        signal.checked_sub(1).and_then(|bit| set.checked_shr(bit)).is_some_and(|bits| bits & 1 == 1)
    }
}

/// Parses the file's content.
#[must_use]
pub fn parse(content: &[u8]) -> Status {
    let mut status = Status::default();
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        if let [line @ .., b'\n'] = line
            && let Some((key, value)) = bytes::split_once(line, b':')
        {
            status.take(key, value);
        }
    }
    status
}

impl Status {
    fn take(&mut self, key: &[u8], value: &[u8]) {
        let number = || bytes::parse_u64(value.trim_ascii());
        let id = || bytes::fields(value).next().and_then(bytes::parse_u32);
        let set = || bytes::parse_hex(value.trim_ascii());
        match key {
            b"Name" => put(&mut self.name, || name(value)),
            b"State" => put(&mut self.state, || value.trim_ascii().first().copied()),
            b"Tgid" => put(&mut self.tgid, id),
            b"Pid" => put(&mut self.pid, id),
            b"PPid" => put(&mut self.parent_pid, id),
            b"TracerPid" => put(&mut self.tracer_pid, id),
            b"NSpid" if self.ns_pids.is_empty() => {
                for pid in bytes::fields(value).map_while(bytes::parse_u32) {
                    // The kernel has no more than fit.
                    let _full = self.ns_pids.push(pid);
                }
            }
            b"Uid" => put(&mut self.uid, id),
            b"Threads" => put(&mut self.threads, number),
            b"SigPnd" => put(&mut self.sig_pending, set),
            b"ShdPnd" => put(&mut self.sig_pending_shared, set),
            b"SigBlk" => put(&mut self.sig_blocked, set),
            b"SigIgn" => put(&mut self.sig_ignored, set),
            b"SigCgt" => put(&mut self.sig_caught, set),
            b"VmRSS" => put(&mut self.resident_bytes, || kilobytes(value)),
            b"VmHWM" => put(&mut self.peak_resident_bytes, || kilobytes(value)),
            b"voluntary_ctxt_switches" => put(&mut self.voluntary_switches, number),
            b"nonvoluntary_ctxt_switches" => put(&mut self.involuntary_switches, number),
            _ => {}
        }
    }
}

/// The first value of a kind counts.
fn put<T>(field: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if field.is_none() {
        *field = value();
    }
}

fn name(value: &[u8]) -> Option<Vec<u8, MAX_NAME_BYTES>> {
    // The separator is one tab; what follows belongs to the name.
    let escaped = value.strip_prefix(b"\t").unwrap_or(value);
    let mut name = [0; MAX_NAME_BYTES];
    let (name, _whole) = bytes::unescape(escaped, &mut name);
    Vec::from_slice(name).ok()
}

/// `    1740 kB`, in bytes. The kernel's kB are 1,024 bytes.
fn kilobytes(value: &[u8]) -> Option<u64> {
    let mut fields = bytes::fields(value);
    let number = bytes::parse_u64(fields.next()?)?;
    (fields.next()? == b"kB").then_some(number)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] =
        b"Name:\ta)\\nb\\\\c\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t18656\n\
        Ngid:\t0\nPid:\t18657\nPPid:\t18654\nTracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\n\
        Gid:\t0\t0\t0\t0\nFDSize:\t256\nGroups:\t \nNStgid:\t18656\t1\nNSpid:\t18657\t7\n\
        VmHWM:\t    1740 kB\nVmRSS:\t    1616 kB\nThreads:\t12\nSigQ:\t0/96365\n\
        SigPnd:\t0000000000000001\nShdPnd:\t0000000000000800\nSigBlk:\tfffffffe7ffbfeff\n\
        SigIgn:\t0000000000001000\nSigCgt:\t0000000100000002\nCapInh:\t0000000000000000\n\
        voluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n";

    #[test]
    fn a_sample() {
        let status = parse(SAMPLE);
        assert_eq!(status.name.as_deref(), Some(&b"a)\nb\\c"[..]));
        assert_eq!(status.state, Some(b't'));
        assert_eq!(
            (status.tgid, status.pid, status.parent_pid),
            (Some(18656), Some(18657), Some(18654))
        );
        assert_eq!(status.ns_pids, [18657, 7]);
        assert_eq!(status.tracer_pid, Some(0));
        assert_eq!((status.uid, status.threads), (Some(1000), Some(12)));
        assert_eq!(status.sig_pending, Some(1));
        assert_eq!(status.sig_pending_shared, Some(0x800));
        assert_eq!(status.sig_blocked, Some(0xffff_fffe_7ffb_feff));
        assert_eq!(status.sig_ignored, Some(0x1000));
        assert_eq!(status.sig_caught, Some(0x1_0000_0002));
        assert_eq!(status.resident_bytes, Some(1616 * 1024));
        assert_eq!(status.peak_resident_bytes, Some(1740 * 1024));
        assert_eq!(status.voluntary_switches, Some(150));
        assert_eq!(status.involuntary_switches, Some(545));
    }

    #[test]
    fn a_cut_line_is_not_trusted() {
        let status = parse(b"State:\tR (running)\nVmRSS:\t    17");
        assert_eq!((status.state, status.resident_bytes), (Some(b'R'), None));
        assert_eq!(parse(b"Threads:\t12").threads, None);
    }

    #[test]
    fn sets_of_signals() {
        assert!(Status::contains(0x800, 12));
        assert!(!Status::contains(0x800, 11));
        assert!(Status::contains(1 << 63, 64));
        assert!(!Status::contains(u64::MAX, 0) && !Status::contains(u64::MAX, 65));
    }

    #[test]
    fn our_own() {
        let status = parse(&std::fs::read("/proc/self/status").unwrap());
        assert_eq!(status.tgid, Some(std::process::id()));
        assert_eq!(status.ns_pids.first(), status.pid.as_ref());
        assert_eq!(status.uid, Some(rustix::process::getuid().as_raw()));
        assert!(status.peak_resident_bytes >= status.resident_bytes);
        assert!(status.sig_caught.is_some() && status.voluntary_switches.is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _parsed = parse(&content);
        }

        #[test]
        fn a_changed_sample_is_survived(
            at in 0..SAMPLE.len(), byte in any::<u8>(), len in 0..SAMPLE.len(),
        ) {
            let mut content = SAMPLE.to_vec();
            content[at] = byte;
            let _parsed = parse(&content[..len]);
        }
    }
}
