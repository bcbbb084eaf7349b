//! `/proc/PID/syscall`: where a thread that does not run stands
//! (proc_pid_syscall(5)).
//!
//! One line, in one of three forms:
//!
//! - `running`: it runs, or may at any moment; nothing else is known;
//! - `-1 SP PC`: it is blocked, but not in a system call (a page fault);
//! - `NUMBER ARG1 ... ARG6 SP PC`: it is blocked in a system call.
//!
//! The number is decimal, everything else hexadecimal with `0x`. A line that
//! has too little, too much or no line end is `None`.
//!
//! The kernel looks only while the thread is off its processor, so the numbers
//! of one read belong together. It may run right afterwards: who uses the
//! stack pointer has to prove that it did not ([`super::schedstat`]).

use super::bytes;

/// Bytes that the longest line has: a number of 11, eight of 18 and the blanks.
pub const MAX_LINE_BYTES: usize = 11 + 8 * 19 + 1;

/// Where a thread stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyscallState {
    /// It runs, or is about to.
    Running,
    /// Blocked outside of any system call, for example in a page fault: the
    /// instruction at `pc` has not finished.
    NotInCall {
        /// Stack pointer.
        sp: u64,
        /// Program counter.
        pc: u64,
    },
    /// Blocked in a system call.
    InCall {
        /// The call's number.
        number: i64,
        /// Its arguments, also those that this call does not have.
        arguments: [u64; 6],
        /// Stack pointer.
        sp: u64,
        /// Program counter: behind the instruction that made the call.
        pc: u64,
    },
}

/// Parses the file's content.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<SyscallState> {
    let line = bytes.strip_suffix(b"\n")?;
    if line == b"running" {
        return Some(SyscallState::Running);
    }
    let mut fields = line.split(|&byte| byte == b' ');
    let number = signed(fields.next()?)?;
    let mut word = || fields.next()?.strip_prefix(b"0x").and_then(bytes::parse_hex);
    let state = if number < 0 {
        SyscallState::NotInCall { sp: word()?, pc: word()? }
    } else {
        let arguments = [word()?, word()?, word()?, word()?, word()?, word()?];
        SyscallState::InCall { number, arguments, sp: word()?, pc: word()? }
    };
    fields.next().is_none().then_some(state)
}

/// The kernel prints an `int`.
fn signed(digits: &[u8]) -> Option<i64> {
    let number = match digits.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(bytes::parse_u64(digits)?)?,
        None => i64::try_from(bytes::parse_u64(digits)?).ok()?,
    };
    i32::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"202 0x7f40a7d5ef50 0x189 0x0 0x0 0x0 0xffffffff 0x7ffcab173ce8 \
        0x7f40a7e82e99\n";

    #[test]
    fn samples_of_each_form() {
        assert_eq!(
            parse(SAMPLE),
            Some(SyscallState::InCall {
                number: 202,
                arguments: [0x7f40_a7d5_ef50, 0x189, 0, 0, 0, 0xffff_ffff],
                sp: 0x7ffc_ab17_3ce8,
                pc: 0x7f40_a7e8_2e99,
            })
        );
        assert_eq!(parse(b"running\n"), Some(SyscallState::Running));
        let fault = Some(SyscallState::NotInCall { sp: 0x7ffc_0010, pc: 0x40_1000 });
        assert_eq!(parse(b"-1 0x7ffc0010 0x401000\n"), fault);
        // A thread that was traced may have any other negative number.
        assert_eq!(parse(b"-38 0x7ffc0010 0x401000\n"), fault);
    }

    #[test]
    fn what_is_cut_or_odd_is_not_trusted() {
        for end in 0..SAMPLE.len() {
            assert_eq!(parse(&SAMPLE[..end]), None, "{end}");
        }
        for odd in [
            &b"\n"[..],
            b"running",
            b"running \n",
            b"-1 0x1\n",
            b"-1 0x1 0x2 0x3\n",
            b"-1 1 2\n",
            b"-1  0x1 0x2\n",
            b"2147483648 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n",
            b"0 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x10000000000000000\n",
            b"0 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8 0x9\n",
            b"0 0x1 0x2\n",
            b"--1 0x1 0x2\n",
        ] {
            assert_eq!(parse(odd), None, "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn the_longest_line_fits() {
        let word = std::format!(" {:#x}", u64::MAX);
        let line = std::format!("{}{}\n", i32::MAX, word.repeat(8));
        assert!(parse(line.as_bytes()).is_some());
        assert!(line.len() <= MAX_LINE_BYTES);
    }

    #[test]
    fn our_own() {
        // A thread that reads its own file is in read(2), with its buffer.
        let mut buffer = [0_u8; 512];
        let file = crate::procfs::read::open(rustix::fs::CWD, c"/proc/thread-self/syscall");
        let count = rustix::io::read(file.unwrap(), &mut buffer).unwrap();
        let Some(SyscallState::InCall { number, arguments, sp, .. }) = parse(&buffer[..count])
        else {
            panic!("{}", buffer[..count].escape_ascii())
        };
        assert_eq!(number, libc::SYS_read);
        assert_eq!(arguments[1..3], [buffer.as_ptr() as u64, 512]);
        assert!(sp.abs_diff(buffer.as_ptr() as u64) < 1 << 20);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _parsed = parse(&content);
        }

        #[test]
        fn a_changed_sample_is_survived(at in 0..SAMPLE.len(), byte in any::<u8>()) {
            let mut content = SAMPLE.to_vec();
            content[at] = byte;
            let _parsed = parse(&content);
        }
    }
}
