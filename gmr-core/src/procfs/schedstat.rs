//! `/proc/PID/schedstat`: how long a thread ran, how long it waited for a
//! processor, and how often it was put on one (Documentation/scheduler/
//! sched-stats.rst).
//!
//! The count is what proves that a thread did not run between two reads: it
//! grows each time the thread is put on a processor. Comparing registers is not
//! enough, since a worker comes back to the same place. A thread that was *on*
//! its processor all the time keeps its count too: ask [`super::syscall`]
//! between the two reads whether it runs.
//!
//! A kernel without CONFIG_SCHED_INFO says zero for all three; a thread that
//! reads its own count has been put on a processor at least once.

use super::bytes;

/// Bytes that the longest line has.
pub const MAX_LINE_BYTES: usize = 3 * 21;

/// The file's three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on a processor, in nanoseconds.
    pub run_ns: u64,
    /// Time spent waiting for one although it could have run, in nanoseconds.
    pub wait_ns: u64,
    /// How often it was put on a processor.
    pub count: u64,
}

/// Parses the file's content; `None` if it is not three numbers and a line end.
#[must_use]
pub fn parse(content: &[u8]) -> Option<Schedstat> {
    let mut fields = content.strip_suffix(b"\n")?.split(|&byte| byte == b' ');
    let mut number = || bytes::parse_u64(fields.next()?);
    let parsed = Schedstat { run_ns: number()?, wait_ns: number()?, count: number()? };
    fields.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_numbers_and_nothing_else() {
        let parsed = Schedstat { run_ns: 1_234_567, wait_ns: 89, count: 12 };
        assert_eq!(parse(b"1234567 89 12\n"), Some(parsed));
        for odd in [&b"1 2 3"[..], b"1 2\n", b"1 2 3 4\n", b"1  2 3\n", b"1 2 -3\n", b"\n", b""] {
            assert_eq!(parse(odd), None, "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn our_own_count_grows_with_each_sleep() {
        let own = || parse(&std::fs::read("/proc/thread-self/schedstat").unwrap()).unwrap();
        let before = own();
        assert!(before.count > 0);
        // Off the processor and on it again.
        std::thread::sleep(core::time::Duration::from_millis(1));
        let after = own();
        assert!(after.count > before.count && after.run_ns >= before.run_ns);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _parsed = parse(&content);
        }
    }
}
