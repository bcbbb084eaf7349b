//! A daemon under test: started, spoken to, signalled, and ended with the
//! test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{DEADLINE, until};

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Its first line on stdout.
    pub ready: String,
}

impl Daemon {
    /// Starts `program` and waits for its first line on stdout.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn start(program: impl AsRef<Path>, args: &[&str], stderr: Stdio) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(args);
        Self::start_command(command, stderr)
    }

    /// The same, for a command that was prepared.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn start_command(mut command: Command, stderr: Stdio) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the daemon's start");
        // Closes our copy of a pipe or socket.
        drop(command);
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Daemon { child, stdin, lines, ready: String::new() };
        daemon.ready = daemon.line();
        daemon
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its next line on stdout.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line from the daemon"),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the daemon closed stdout: {:?}", self.child.wait())
            }
        }
    }

    /// Its next line, if it is there.
    pub fn try_line(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// The same as [`line`](Self::line); `None` if it has ended.
    #[must_use]
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => panic!("no line from the daemon"),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Sends a line to its stdin, without waiting for an answer.
    ///
    /// # Panics
    ///
    /// If the daemon is gone.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin");
        if let Err(error) = stdin.write_all(format!("{line}\n").as_bytes()) {
            panic!("{error}: the daemon ended: {:?}", self.child.wait());
        }
    }

    /// Sends a command and returns the answer.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.line()
    }

    /// Sends a command whose answer is `ok`.
    ///
    /// # Panics
    ///
    /// If it is another.
    #[track_caller]
    pub fn must(&mut self, command: &str) {
        let answer = self.ask(command);
        assert_eq!(answer, "ok", "{command}");
    }

    /// Its counters.
    #[track_caller]
    pub fn stats(&mut self) -> Stats {
        Stats::parse(&self.ask("stats"))
    }

    /// What its counters know of its last report.
    #[track_caller]
    pub fn last(&mut self) -> Last {
        let answer = self.ask("last");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Waits until its counters are as `condition` says.
    #[track_caller]
    pub fn wait_stats(&mut self, what: &str, condition: impl Fn(&Stats) -> bool) -> Stats {
        until(what, || {
            let stats = self.stats();
            condition(&stats).then_some(stats)
        })
    }

    /// `kill -USR2`.
    #[track_caller]
    pub fn trigger(&self) {
        self.signal(Signal::USR2);
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// If it is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a daemon that is alive");
    }

    /// Sends SIGUSR2 with a shell's `kill`, as an operator does.
    ///
    /// # Panics
    ///
    /// If the shell reports an error.
    #[track_caller]
    pub fn trigger_by_shell(&self) {
        let status = Command::new("sh")
            .args(["-c", "kill -USR2 \"$1\"", "sh", &self.pid().to_string()])
            .status()
            .expect("a shell");
        assert!(status.success(), "kill: {status}");
    }

    /// Ends it by closing its stdin and waits.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn finish(&mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        until("the daemon's end", || self.child.try_wait().expect("a child"))
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    ///
    /// If it cannot be waited for.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Asserts that it still answers.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.has_ended() {
            panic!("the daemon ended: {status}, signal {:?}", status.signal());
        }
        assert_eq!(self.ask("ping"), "pong");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon's last report, as its `last` command writes it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Last {
    /// Its number.
    pub sequence: u64,
    /// Why it was not complete.
    pub reasons: String,
    /// How long it took.
    pub duration_ns: u64,
    /// Its length.
    pub bytes: u64,
    /// When it ended, in seconds since 1970.
    pub end: i64,
}

/// A daemon's counters, as its `stats` command writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct Stats {
    /// Reports that were complete.
    pub complete: u64,
    /// Reports that were not.
    pub incomplete: u64,
    /// Reports that were taken over.
    pub abandoned: u64,
    /// Requests answered by another's report.
    pub coalesced: u64,
    /// Requests ignored.
    pub ignored: u64,
}

impl Stats {
    /// Reads an answer.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    #[track_caller]
    pub fn parse(answer: &str) -> Self {
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Reports that ended.
    #[must_use]
    pub fn reports(&self) -> u64 {
        self.complete + self.incomplete
    }
}
