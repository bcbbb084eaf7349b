//! Sockets, pipes, files and processes.

use std::io;
use std::process::Stdio;

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use tokio::fs::File;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, copy, copy_bidirectional,
    duplex, split,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio_util::codec::{Framed, LinesCodec};
use tokio_util::io::{ReaderStream, StreamReader};

use crate::parked::{keep, spawn};

async fn accepts(listener: TcpListener) {
    loop {
        let accepted = listener.accept().await; // @accepts
        drop(accepted);
    }
}

async fn reads_exactly(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 64];
    stream.read_exact(&mut bytes[..10]).await?; // @reads_exactly
    Ok(())
}

async fn reads(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    stream.read_buf(&mut bytes).await?; // @reads_some
    Ok(())
}

async fn readable(stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 8];
    loop {
        stream.readable().await?; // @readable
        match stream.try_read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other.map(drop),
        }
    }
}

async fn writes(mut stream: TcpStream) -> io::Result<()> {
    let bytes = vec![0; 64 << 20];
    stream.write_all(&bytes).await // @writes_all
}

async fn reads_half(stream: TcpStream) -> io::Result<()> {
    let (mut reader, writer) = stream.into_split();
    reader.read_u64().await?; // @reads_half
    drop(writer);
    Ok(())
}

async fn reads_lines(stream: UnixStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await? {
        // @reads_lines
        drop(line);
    }
    Ok(())
}

async fn reads_until(stream: UnixStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut bytes).await?; // @reads_until
    Ok(())
}

async fn accepts_unix(listener: UnixListener) -> io::Result<()> {
    listener.accept().await?; // @accepts_unix
    Ok(())
}

async fn receives(socket: UdpSocket) -> io::Result<()> {
    let mut bytes = [0; 1500];
    socket.recv_from(&mut bytes).await?; // @receives_udp
    Ok(())
}

async fn receives_datagrams(socket: UnixDatagram) -> io::Result<()> {
    let mut bytes = [0; 1500];
    socket.recv(&mut bytes).await?; // @receives_datagrams
    Ok(())
}

async fn copies(mut from: TcpStream) -> io::Result<()> {
    copy(&mut from, &mut tokio::io::sink()).await?; // @copies
    Ok(())
}

async fn copies_both_ways(mut near: TcpStream, mut far: UnixStream) -> io::Result<()> {
    copy_bidirectional(&mut near, &mut far).await?; // @copies_both_ways
    Ok(())
}

async fn reads_duplex(stream: tokio::io::DuplexStream) -> io::Result<()> {
    let (mut reader, _writer) = split(stream);
    let mut text = String::new();
    reader.read_to_string(&mut text).await?; // @reads_duplex
    Ok(())
}

async fn reads_generic<R: AsyncRead + Unpin>(mut reader: R) -> io::Result<()> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?; // @reads_generic
    Ok(())
}

async fn decodes(stream: TcpStream) {
    let mut framed = Framed::new(stream, LinesCodec::new());
    drop(framed.send("hello").await);
    framed.next().await; // @decodes
}

async fn reads_stream(stream: TcpStream) -> io::Result<()> {
    let mut reader = StreamReader::new(ReaderStream::new(stream));
    reader.read_u8().await?; // @reads_stream
    Ok(())
}

async fn waits_for_child(mut child: Child) {
    let input = child.stdin.take();
    let _ = child.wait().await; // @waits_for_child
    drop(input);
}

async fn waits_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup()).expect("a handler");
    hangups.recv().await; // @waits_for_signal
}

/// The far end of a pair is kept; nothing comes from there.
async fn pair(listener: &TcpListener) -> TcpStream {
    let address = listener.local_addr().expect("an address");
    let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    keep(far.expect("a connection"));
    near.expect("a connection").0
}

fn unix_pair() -> UnixStream {
    let (near, far) = UnixStream::pair().expect("a pair");
    keep(far);
    near
}

pub(super) async fn spawn_all() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    spawn("TCP, read_exact", "reads_exactly > ~ReadExact", reads_exactly(pair(&listener).await));
    spawn("TCP, read_buf", "reads_some > ~ReadBuf", reads(pair(&listener).await));
    spawn("TCP, readable", "readable > ~tcp::stream", readable(pair(&listener).await));
    spawn("TCP, write_all", "writes_all > ~WriteAll", writes(pair(&listener).await));
    spawn("TCP, a half", "reads_half > ~ReadU64", reads_half(pair(&listener).await));
    spawn("copy", "copies > ~copy", copies(pair(&listener).await));
    let both = copies_both_ways(pair(&listener).await, unix_pair());
    spawn("copy_bidirectional", "copies_both_ways > ~copy_bidirectional", both);
    spawn("Framed", "decodes > ~Next", decodes(pair(&listener).await));
    spawn("StreamReader", "reads_stream > ~ReadU8", reads_stream(pair(&listener).await));
    let object: Box<dyn AsyncRead + Send + Unpin> = Box::new(pair(&listener).await);
    spawn("reader object", "reads_generic > ~ReadToEnd", reads_generic(object));
    spawn("TCP, accept", "accepts > ~tcp::listener", accepts(listener));

    spawn("lines", "reads_lines > ~lines", reads_lines(unix_pair()));
    spawn("read_until", "reads_until > ~ReadUntil", reads_until(unix_pair()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    spawn("UDP", "receives_udp > ~udp", receives(socket));
    let (near, far) = UnixDatagram::pair().expect("a pair");
    keep(far);
    spawn("Unix datagrams", "receives_datagrams > ~unix::datagram", receives_datagrams(near));
    let path = std::env::temp_dir().join(format!("shapes-{}", std::process::id()));
    let listener = UnixListener::bind(&path).expect("a listener");
    std::fs::remove_file(&path).expect("to remove its name");
    spawn("Unix, accept", "accepts_unix > ~unix::listener", accepts_unix(listener));
    let (near, far) = duplex(64);
    keep(far);
    spawn("duplex", "reads_duplex > ~ReadToString", reads_duplex(near));

    // It ends when its input does.
    let cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    spawn("child", "waits_for_child > ~Child", waits_for_child(cat.expect("cat")));
    spawn("signal", "waits_for_signal > ~signal::unix", waits_for_signal());
    // Reading a pipe as if it were a file blocks a thread.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    keep(writer);
    let file = File::from_std(std::fs::File::from(std::os::fd::OwnedFd::from(reader)));
    spawn("file", "reads_generic > ~ReadToEnd", reads_generic(file));
}
