//! `/proc/PID/stat`: one line of numbers about a process (proc_pid_stat(5)).
//!
//! The command name stands in parentheses, raw: it may hold `)`, spaces and
//! line ends, for example `a) R 1 (`. What follows it never holds a `)`, so
//! the *last* one ends it.

use super::bytes;

/// PF_KTHREAD of [`Stat::flags`]: a thread of the kernel (linux/sched.h).
pub const KERNEL_THREAD: u64 = 0x0020_0000;

/// PF_IO_WORKER of [`Stat::flags`]: a kernel worker in a user process.
pub const IO_WORKER: u64 = 0x0000_0010;

/// The fields that reports use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat<'b> {
    /// Process id (of a thread's file: its thread id).
    pub pid: u32,
    /// Command name, raw.
    pub comm: &'b [u8],
    /// State letter.
    pub state: u8,
    /// The parent's process id; 0 if there is none in this pid namespace.
    pub parent_pid: u32,
    /// The kernel's flags (`PF_*`).
    pub flags: Option<u64>,
    /// Time in user mode, in clock ticks.
    pub user_ticks: Option<u64>,
    /// Time in kernel mode, in clock ticks.
    pub system_ticks: Option<u64>,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Start, in clock ticks since boot.
    pub start_ticks: Option<u64>,
    /// Virtual memory, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Resident memory, in pages. The kernel calls it inaccurate.
    pub resident_pages: Option<u64>,
    /// Real-time priority, 1..=99; 0 without one.
    pub rt_priority: Option<u64>,
    /// Scheduling policy (`SCHED_*`).
    pub policy: Option<u64>,
}

/// Parses the file's content. `None` if pid, name, state or parent are
/// missing; a later field that is missing or no number is `None` itself.
#[must_use]
pub fn parse(content: &[u8]) -> Option<Stat<'_>> {
    let (pid, rest) = bytes::split_once(content, b'(')?;
    let end = rest.iter().rposition(|&byte| byte == b')')?;
    let (comm, after) = rest.split_at_checked(end)?;
    let mut fields = bytes::fields(after.split_first()?.1);
    let &[state] = fields.next()? else { return None };
    let parent_pid = bytes::parse_u32(fields.next()?)?;
    // The numbers of proc_pid_stat(5) less the five that are behind us.
    let mut number = |skip: usize| fields.nth(skip).and_then(bytes::parse_u64);
    Some(Stat {
        pid: bytes::parse_u32(pid.trim_ascii())?,
        comm,
        state,
        parent_pid,
        flags: number(4),          // field 9
        user_ticks: number(4),     // 14
        system_ticks: number(0),   // 15
        threads: number(4),        // 20
        start_ticks: number(1),    // 22
        virtual_bytes: number(0),  // 23
        resident_pages: number(0), // 24
        rt_priority: number(15),   // 40
        policy: number(0),         // 41
    })
}

#[cfg(test)]
mod tests {
    use std::format;

    use proptest::prelude::*;

    use super::*;

    const TAIL: &str = "S 18654 18654 13960 0 -1 4194304 109 0 0 0 7 8 0 0 20 0 3 0 147555 \
        3133440 390 18446744073709551615 94199036518400 94199036538281 140734369218912 0 0 0 0 0 \
        0 0 0 0 17 0 0 0 0 0 0 94199036554288 94199036555904 94199061946368 140734369225387 \
        140734369225461 140734369225461 140734369226731 0\n";

    #[test]
    fn a_real_line() {
        let line = format!("18656 (cat) {TAIL}");
        let expected = Stat {
            pid: 18656,
            comm: b"cat",
            state: b'S',
            parent_pid: 18654,
            flags: Some(4_194_304),
            user_ticks: Some(7),
            system_ticks: Some(8),
            threads: Some(3),
            start_ticks: Some(147_555),
            virtual_bytes: Some(3_133_440),
            resident_pages: Some(390),
            rt_priority: Some(0),
            policy: Some(0),
        };
        assert_eq!(parse(line.as_bytes()), Some(expected));
    }

    #[test]
    fn names_may_be_nasty() {
        for comm in ["a) R 1 (", "x\ny", "", ")", "((", ") S 1 2 3 4", " "] {
            let line = format!("1 ({comm}) {TAIL}");
            let stat = parse(line.as_bytes()).unwrap();
            assert_eq!((stat.comm, stat.state, stat.parent_pid), (comm.as_bytes(), b'S', 18654));
        }
    }

    #[test]
    fn a_cut_line_gives_what_it_has() {
        let stat = parse(b"5 (sh) Z 1 5").unwrap();
        assert_eq!((stat.state, stat.flags, stat.resident_pages), (b'Z', None, None));
        assert_eq!(stat.policy, None);
        for cut in ["", "5", "5 (", "5 (sh", "5 (sh)", "5 (sh) Z", "(sh) Z 1", "x (sh) Z 1"] {
            assert_eq!(parse(cut.as_bytes()), None);
        }
    }

    #[test]
    fn our_own() {
        let content = std::fs::read("/proc/self/stat").unwrap();
        let stat = parse(&content).unwrap();
        assert_eq!(stat.pid, std::process::id());
        assert_eq!(stat.parent_pid, std::os::unix::process::parent_id());
        assert!(stat.threads.unwrap() >= 1);
        assert!(stat.resident_pages.unwrap() > 0);
        assert_eq!(stat.flags.unwrap() & (KERNEL_THREAD | IO_WORKER), 0);
    }

    proptest! {
        #[test]
        fn generated_lines_come_back(
            pid in any::<u32>(),
            comm in proptest::collection::vec(1u8.., 0..16),
            state in "[A-Za-z]",
            parent in any::<u32>(),
            numbers in proptest::collection::vec(any::<u64>(), 48),
        ) {
            let mut line = format!("{pid} (").into_bytes();
            line.extend_from_slice(&comm);
            line.extend_from_slice(format!(") {state} {parent}").as_bytes());
            for number in &numbers {
                line.extend_from_slice(format!(" {number}").as_bytes());
            }
            let stat = parse(&line).unwrap();
            prop_assert_eq!(stat.pid, pid);
            prop_assert_eq!(stat.comm, comm.as_slice());
            prop_assert_eq!(stat.state, state.as_bytes()[0]);
            prop_assert_eq!(stat.parent_pid, parent);
            // numbers[0] is field 5.
            let field = |number: usize| Some(numbers[number - 5]);
            prop_assert_eq!(stat.flags, field(9));
            prop_assert_eq!(stat.user_ticks, field(14));
            prop_assert_eq!(stat.system_ticks, field(15));
            prop_assert_eq!(stat.threads, field(20));
            prop_assert_eq!(stat.start_ticks, field(22));
            prop_assert_eq!(stat.virtual_bytes, field(23));
            prop_assert_eq!(stat.resident_pages, field(24));
            prop_assert_eq!(stat.rt_priority, field(40));
            prop_assert_eq!(stat.policy, field(41));
        }

        #[test]
        fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _parsed = parse(&content);
        }
    }
}
