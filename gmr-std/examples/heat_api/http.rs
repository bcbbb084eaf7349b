//! HTTP/1.1, as much of it as this service needs: one connection, read and
//! written by one thread.
//!
//! 1. Wait for the first byte of a request, not longer than the idle timeout.
//! 2. Read the head, then drop the body, all before one deadline, so that a
//!    client that sends a byte a second does not keep a worker.
//! 3. Write the answer, with its length, by one call.
//!
//! Limits: no `Transfer-Encoding`, no `Expect: 100-continue`, no folded header
//! lines, no TLS. Whatever is not understood is refused and the connection
//! closed, for nobody knows where the next request would begin; a client that
//! is still sending by then may see a reset instead of the answer.

use core::time::Duration;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::Instant,
};

use crate::config::{Limits, Timeouts};

const HEAD_END: &[u8] = b"\r\n\r\n";
/// How much is read at once. Most requests fit.
const READ_CHUNK_BYTES: usize = 4096;
/// How often a worker that waits for the next request asks whether it may go
/// on waiting.
const IDLE_SLICE: Duration = Duration::from_millis(250);

/// A request whose body has been read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Whether the client wants the connection to stay open.
    pub(crate) keep_alive: bool,
}

/// What there was to read.
#[derive(Debug)]
pub(crate) enum Incoming {
    Request(Request),
    /// To be told to the client; then the connection is of no use.
    Refused(Status),
    /// The client went away, or has been idle for too long.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    HeadTooLarge,
    InternalError,
    NotImplemented,
    ServiceUnavailable,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::InternalError => "500 Internal Server Error",
            Status::NotImplemented => "501 Not Implemented",
            Status::ServiceUnavailable => "503 Service Unavailable",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    status: Status,
    content_type: &'static str,
    body: String,
}

impl Response {
    pub(crate) fn json(body: String) -> Self {
        Response { status: Status::Ok, content_type: "application/json", body }
    }

    pub(crate) fn text(body: impl Into<String>) -> Self {
        Response {
            status: Status::Ok,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    pub(crate) fn refusal(status: Status) -> Self {
        Response { status, content_type: "text/plain", body: format!("{}\n", status.line()) }
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    limits: Limits,
    timeouts: Timeouts,
    /// What has been read and not yet used: the start of the next request, if
    /// the client sends several without waiting.
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, limits: Limits, timeouts: Timeouts) -> io::Result<Self> {
        // Answers are written whole: nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(timeouts.write()))?;
        Ok(Connection { stream, limits, timeouts, buffer: Vec::new() })
    }

    /// Reads the next request. While there is none, `may_wait` is asked now
    /// and then.
    pub(crate) fn read(&mut self, may_wait: impl Fn() -> bool) -> io::Result<Incoming> {
        if self.buffer.is_empty() && !self.wait(may_wait)? {
            return Ok(Incoming::Closed);
        }
        match self.read_request(Instant::now() + self.timeouts.request()) {
            Err(error) if timed_out(&error) => Ok(Incoming::Refused(Status::RequestTimeout)),
            // Half a request and no more: there is nobody to answer to.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Incoming::Closed),
            other => other,
        }
    }

    /// Writes an answer; for HEAD without its body.
    pub(crate) fn write(
        &mut self,
        response: &Response,
        head_only: bool,
        keep_alive: bool,
    ) -> io::Result<()> {
        let mut answer = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            response.status.line(),
            response.content_type,
            response.body.len()
        );
        if response.status == Status::MethodNotAllowed {
            answer.push_str("Allow: GET, HEAD\r\n");
        }
        if !keep_alive {
            answer.push_str("Connection: close\r\n");
        }
        answer.push_str("\r\n");
        if !head_only {
            answer.push_str(&response.body);
        }
        self.stream.write_all(answer.as_bytes())
    }

    /// Waits for the first byte. `false`: there will be none.
    fn wait(&mut self, may_wait: impl Fn() -> bool) -> io::Result<bool> {
        let deadline = Instant::now() + self.timeouts.idle();
        loop {
            match self.fill(deadline.min(Instant::now() + IDLE_SLICE)) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) if timed_out(&error) => {
                    if Instant::now() >= deadline || !may_wait() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read_request(&mut self, deadline: Instant) -> io::Result<Incoming> {
        let head_len = loop {
            if let Some(at) = find(&self.buffer, HEAD_END) {
                break at + HEAD_END.len();
            }
            if self.buffer.len() >= self.limits.max_head_bytes {
                return Ok(Incoming::Refused(Status::HeadTooLarge));
            }
            self.fill(deadline)?;
        };
        if head_len > self.limits.max_head_bytes {
            return Ok(Incoming::Refused(Status::HeadTooLarge));
        }
        let head: Vec<u8> = self.buffer.drain(..head_len).collect();
        let head = match Head::parse(&head) {
            Ok(head) => head,
            Err(status) => return Ok(Incoming::Refused(status)),
        };
        if head.body_len > self.limits.max_body_bytes {
            return Ok(Incoming::Refused(Status::ContentTooLarge));
        }
        self.drop_body(head.body_len, deadline)?;
        Ok(Incoming::Request(head.request))
    }

    fn drop_body(&mut self, mut left: usize, deadline: Instant) -> io::Result<()> {
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.drain(..here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.fill(deadline)?;
        }
    }

    /// Adds to the buffer at least one byte, before `deadline`.
    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        let mut chunk = [0; READ_CHUNK_BYTES];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.buffer.extend_from_slice(&chunk[..len]);
                    return Ok(());
                }
                // A signal came in: a capture of this very thread, perhaps.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A read timeout is `WouldBlock` on Unix.
fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[derive(Debug)]
struct Head {
    request: Request,
    body_len: usize,
}

impl Head {
    /// Reads a request's head. It errs on the side of refusing: what two
    /// readers could understand differently is refused (RFC 9112).
    fn parse(head: &[u8]) -> Result<Self, Status> {
        let head = str::from_utf8(head).map_err(|_| Status::BadRequest)?;
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");

        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Status::BadRequest);
        };
        let http_11 = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err(Status::BadRequest),
        };
        if !is_token(method) || !target.starts_with('/') {
            return Err(Status::BadRequest);
        }

        let mut hosts = 0;
        let mut body_len = None;
        let mut close = !http_11;
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Status::BadRequest)?;
            let value = value.trim_matches([' ', '\t']);
            if !is_token(name) || value.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(Status::BadRequest);
            }
            match name.to_ascii_lowercase().as_str() {
                "host" => hosts += 1,
                "content-length" => {
                    // `parse` alone would take "+1".
                    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                    let len = value.parse().ok().filter(|_| digits).ok_or(Status::BadRequest)?;
                    if body_len.is_some_and(|earlier| earlier != len) {
                        return Err(Status::BadRequest);
                    }
                    body_len = Some(len);
                }
                "transfer-encoding" => return Err(Status::NotImplemented),
                "connection" => {
                    close |= value.split(',').any(|it| it.trim().eq_ignore_ascii_case("close"));
                }
                _ => {}
            }
        }
        if hosts > 1 || (http_11 && hosts == 0) {
            return Err(Status::BadRequest);
        }
        Ok(Head {
            request: Request {
                method: method.to_owned(),
                target: target.to_owned(),
                keep_alive: !close,
            },
            body_len: body_len.unwrap_or(0),
        })
    }
}

/// A `token` of RFC 9110, which method and header names are.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
