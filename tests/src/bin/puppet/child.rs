//! Forked children, and descriptors that change hands.
#![allow(unsafe_code, reason = "fork, and descriptors of unknown owners")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use rustix::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

pub(crate) struct Child {
    pid: i32,
    input: File,
    output: BufReader<File>,
}

pub(crate) enum Forked {
    Parent(Child),
    Child(File, File),
}

impl Child {
    /// A child that obeys commands from pipes.
    pub(crate) fn fork() -> Forked {
        let (to_child, from_parent) =
            (pipe_with(PipeFlags::CLOEXEC), pipe_with(PipeFlags::CLOEXEC));
        let (child_in, parent_out) = to_child.expect("a pipe");
        let (parent_in, child_out) = from_parent.expect("a pipe");
        // SAFETY: the child goes on with this thread only; glibc keeps malloc
        // usable in it, and no other thread of this program holds a lock.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork");
        if pid == 0 {
            drop((parent_in, parent_out));
            return Forked::Child(child_in.into(), child_out.into());
        }
        drop((child_in, child_out));
        let output = BufReader::new(parent_in.into());
        Forked::Parent(Child { pid, input: parent_out.into(), output })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Passes a command on.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        let mut answer = String::new();
        let told = self.input.write_all(format!("{command}\n").as_bytes());
        match told.and_then(|()| self.output.read_line(&mut answer)) {
            Ok(0) => "the child is gone".to_owned(),
            Ok(_) => answer.trim_end().to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

pub(crate) fn close(fd: RawFd) -> String {
    // SAFETY: what a program does that closes a descriptor it believes its own.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    "ok".to_owned()
}

/// Puts a "client's socket" onto each of the given descriptors, as after a
/// close and an accept(2). Keeps the clients' ends.
pub(crate) fn steal(kept: &mut Vec<OwnedFd>, numbers: &str) -> String {
    for number in numbers.split(',') {
        let number: RawFd = number.parse().expect("a descriptor");
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("a pair of sockets");
        // SAFETY: as in `close`.
        let mut target = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::io::dup2(ours, &mut target).expect("dup2");
        let _ = target.into_raw_fd();
        kept.push(theirs);
    }
    "ok".to_owned()
}

/// How many bytes the clients got.
pub(crate) fn stolen_bytes(kept: &[OwnedFd]) -> String {
    let mut bytes = 0;
    for client in kept {
        let mut buffer = vec![0_u8; 65536];
        while let Ok((count @ 1.., _)) =
            recv(client.as_fd(), buffer.as_mut_slice(), RecvFlags::DONTWAIT)
        {
            bytes += count;
        }
    }
    bytes.to_string()
}
