//! Waiting in the kernel for input.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::rest::{Kind, arrive, is_over};

pub(crate) const KINDS: &[Kind] = &[
    ("pipe_read", pipe_read),
    ("pipe_write", pipe_write),
    ("read_line", read_line),
    ("accept", accept),
    ("unix_accept", unix_accept),
    ("tcp_read", tcp_read),
    ("udp_recv", udp_recv),
    ("epoll_wait", epoll_wait),
    ("poll", poll),
];

/// Both ends of a pipe.
pub(crate) fn pipe() -> [OwnedFd; 2] {
    let mut fds = [-1; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: they are new and ours.
    fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn pipe_read() {
    let [reader, _writer] = pipe();
    let mut bytes = [0; 16];
    arrive();
    black_box(File::from(reader).read_exact(&mut bytes).is_ok());
}

fn pipe_write() {
    let [_reader, writer] = pipe();
    let bytes = vec![1; 1 << 20];
    arrive();
    black_box(File::from(writer).write_all(&bytes).is_ok());
}

fn read_line() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut line = String::new();
    arrive();
    black_box(BufReader::new(ours).read_line(&mut line).is_ok());
}

fn accept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    arrive();
    black_box(listener.accept().is_ok());
}

fn unix_accept() {
    let name = format!("gmr-corpus-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    arrive();
    for connection in listener.incoming() {
        drop(connection);
    }
}

fn tcp_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut text = String::new();
    arrive();
    black_box(stream.read_to_string(&mut text).is_ok());
}

fn udp_recv() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut bytes = [0; 16];
    arrive();
    black_box(socket.recv_from(&mut bytes).is_ok());
}

fn epoll_wait() {
    // SAFETY: no memory is involved.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    // SAFETY: all bytes zero is an event.
    let mut events: [libc::epoll_event; 4] = unsafe { core::mem::zeroed() };
    arrive();
    while !is_over() {
        // SAFETY: room for four events. It returns at each signal.
        unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 4, -1) };
    }
}

fn poll() {
    let [reader, _writer] = pipe();
    let mut wanted = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    arrive();
    while !is_over() {
        // SAFETY: one descriptor. It returns at each signal.
        unsafe { libc::poll(&raw mut wanted, 1, -1) };
    }
}
