//! What the section knows from setup, because it cannot change or because
//! reading it later is not safe.
//!
//! The command line is the kernel's, read under the process's own memory lock,
//! which a stuck thread may hold later; it is redacted before it is kept, so
//! no secret of it lies in our memory.

use heapless::Vec;
use rustix::fs::CWD;

use super::users;
use crate::procfs::{passwd, read, uptime};
use crate::redact::{self, Redaction};

/// Longest path of the executable that is kept.
pub(crate) const EXE_BYTES: usize = 1024;

/// Longest command line that is kept, in bytes after redaction.
pub(crate) const COMMAND_LINE_BYTES: usize = 4096;

/// Longest host name (HOST_NAME_MAX).
const HOST_BYTES: usize = 64;

/// Facts of the process; about 6 KiB.
#[derive(Debug)]
pub(crate) struct Facts {
    exe: Vec<u8, EXE_BYTES>,
    exe_cut: bool,
    /// The arguments, each ended by a NUL.
    command_line: Vec<u8, COMMAND_LINE_BYTES>,
    command_line_cut: bool,
    host: Vec<u8, HOST_BYTES>,
    ticks_per_second: u64,
    page_bytes: u64,
    /// A user and its name: more often than not that of all descendants.
    user: Option<(u32, passwd::Name)>,
}

impl Facts {
    /// Nothing known yet.
    pub(crate) const fn new() -> Self {
        Facts {
            exe: Vec::new(),
            exe_cut: false,
            command_line: Vec::new(),
            command_line_cut: false,
            host: Vec::new(),
            ticks_per_second: 0,
            page_bytes: 0,
            user: None,
        }
    }

    /// Reads the facts, at setup. `scratch` bounds the command line
    /// ([`super::SCRATCH_BYTES`]), which is redacted by `policy`. What cannot be
    /// read stays unknown.
    pub(crate) fn collect(&mut self, policy: &Redaction, scratch: &mut [u8]) {
        self.ticks_per_second = rustix::param::clock_ticks_per_second();
        self.page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(0);
        // The first use of the clock parses the vDSO.
        let _primed = uptime::boot_time_ns();

        self.host.clear();
        let system = rustix::system::uname();
        let host = system.nodename().to_bytes();
        let host = host.get(..host.len().min(HOST_BYTES)).unwrap_or_default();
        let _fits = self.host.extend_from_slice(host);

        self.exe.clear();
        if let Ok(exe) = read::link(CWD, c"/proc/self/exe", scratch) {
            let kept = exe.bytes.get(..exe.bytes.len().min(EXE_BYTES)).unwrap_or_default();
            self.exe_cut = exe.cut || kept.len() < exe.bytes.len();
            let _fits = self.exe.extend_from_slice(kept);
        }

        let uid = rustix::process::getuid().as_raw();
        self.user = users::look_up(uid, scratch).map(|name| (uid, name));

        self.command_line.clear();
        self.command_line_cut = false;
        if let Ok(content) = read::file(CWD, c"/proc/self/cmdline", scratch) {
            self.keep_command_line(policy, content.bytes, content.cut);
        }
    }

    /// Redacts and keeps arguments that end by NULs each.
    fn keep_command_line(&mut self, policy: &Redaction, content: &[u8], cut: bool) {
        self.command_line_cut = cut;
        let mut is_secret = false;
        for argument in content.split_inclusive(|&byte| byte == 0) {
            let whole = match argument {
                [argument @ .., 0] => argument,
                // A program that overwrote its command line may leave no NUL.
                argument if !cut => argument,
                // The cut may have parted a password from its `@host`, so
                // that it would not be known for one.
                _ => return,
            };
            let before = self.command_line.len();
            let mut fits = true;
            let mut keep = |piece: &[u8]| {
                fits = fits && self.command_line.extend_from_slice(piece).is_ok();
            };
            if is_secret && redact::is_value(whole) {
                keep(redact::MASK.as_bytes());
            } else {
                let _masked = policy.argument(whole, &mut keep);
            }
            keep(&[0]);
            if !fits {
                self.command_line.truncate(before);
                self.command_line_cut = true;
                return;
            }
            is_secret = policy.takes_secret(whole);
        }
    }

    /// The executable's path and whether it is cut; `None` if unknown.
    pub(crate) fn exe(&self) -> Option<(&[u8], bool)> {
        (!self.exe.is_empty()).then_some((self.exe.as_slice(), self.exe_cut))
    }

    /// The arguments, redacted.
    pub(crate) fn command_line(&self) -> impl Iterator<Item = &[u8]> {
        let arguments = self.command_line.strip_suffix(&[0]);
        arguments.into_iter().flat_map(|all| all.split(|&byte| byte == 0))
    }

    /// Whether there were more arguments than were kept.
    pub(crate) fn command_line_cut(&self) -> bool {
        self.command_line_cut
    }

    /// The host's name when the facts were collected.
    pub(crate) fn host(&self) -> &[u8] {
        &self.host
    }

    /// Clock ticks per second of /proc's times; 0 before [`collect`](Self::collect).
    pub(crate) fn ticks_per_second(&self) -> u64 {
        self.ticks_per_second
    }

    /// Size of a page, in bytes; 0 before [`collect`](Self::collect).
    pub(crate) fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    /// The user at setup, if /etc/passwd names it.
    pub(crate) fn user(&self) -> Option<&(u32, passwd::Name)> {
        self.user.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn kept(content: &[u8], cut: bool) -> (Vec<std::string::String>, bool) {
        let mut facts = Facts::new();
        facts.keep_command_line(&Redaction::new(), content, cut);
        let arguments = facts
            .command_line()
            .map(|argument| std::string::String::from_utf8_lossy(argument).into_owned());
        (arguments.collect(), facts.command_line_cut())
    }

    #[test]
    fn a_command_line_is_redacted() {
        let (arguments, cut) = kept(
            b"/bin/d\0--token\0hunter2\0--password=a b\0\0--auth\0--verbose\0redis://:pw@h\0",
            false,
        );
        assert_eq!(
            arguments,
            [
                "/bin/d",
                "--token",
                "***",
                "--password=***",
                "",
                "--auth",
                "--verbose",
                "redis://:***@h"
            ]
        );
        assert!(!cut);
        assert_eq!(kept(b"", false), (Vec::new(), false));
        assert_eq!(kept(b"\0", false).0, [""]);
        assert_eq!(kept(b"d: worker --token x", false).0, ["d: worker --token ***"]);
    }

    #[test]
    fn a_cut_argument_is_dropped() {
        assert_eq!(kept(b"/bin/d\0redis://:canary", true), (Vec::from(["/bin/d".into()]), true));
        let mut long = b"/bin/d\0".to_vec();
        long.resize(COMMAND_LINE_BYTES + 10, b'x');
        long.push(0);
        assert_eq!(kept(&long, false), (Vec::from(["/bin/d".into()]), true));
    }

    #[test]
    fn our_own_facts() {
        let mut facts = Facts::new();
        // Twice: a second setup starts anew.
        for _ in 0..2 {
            facts.collect(&Redaction::new(), &mut [0; 8192]);
        }
        let exe = std::env::current_exe().unwrap();
        assert_eq!(facts.exe(), Some((exe.as_os_str().as_encoded_bytes(), false)));
        let arguments: Vec<_> = std::env::args_os().collect();
        assert_eq!(facts.command_line().count(), arguments.len());
        assert!(facts.ticks_per_second() > 0 && facts.page_bytes() >= 4096);
        let host = std::fs::read("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(facts.host(), host.trim_ascii_end());
    }
}
