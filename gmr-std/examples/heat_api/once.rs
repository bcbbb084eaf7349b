//! `--once`: the whole story in one run, for a first look and for tests.
//!
//! 1. Ask for every route once, as a client over TCP, and check the answers.
//! 2. Keep asking from a thread, so that the report finds workers at work.
//! 3. Send this process SIGUSR2, as `kill -USR2 PID` would.
//! 4. Wait until the report has been written; fail if it is not complete, or
//!    if a request went wrong meanwhile.

use core::{
    error::Error,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Instant,
};

use gmr_std::{Handle, Stats};

/// A report takes milliseconds. If there is none after this, there will be none.
const REPORT_DEADLINE: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

const TRIALS: [(&str, &str, u16); 6] = [
    ("GET", "/", 200),
    ("GET", "/healthz", 200),
    ("GET", "/stacks", 200),
    ("GET", "/no/such/thing", 404),
    ("DELETE", "/stacks", 405),
    ("GET", "no-slash", 400),
];

type Result<T> = core::result::Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) fn run(addr: SocketAddr, reports: Handle) -> Result<()> {
    for (method, target, expected) in TRIALS {
        let status = Client::connect(addr)?.request(method, target)?;
        if status != expected {
            return Err(format!("{method} {target} gave {status}, expected {expected}").into());
        }
    }

    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = thread::Builder::new()
            .name("api-client".to_owned())
            .spawn_scoped(scope, || keep_asking(addr, &enough))?;
        let report = report(reports);
        enough.store(true, Relaxed);
        let load = load.join().unwrap_or_else(|_| Err("the client thread panicked".into()));
        report.and(load)
    })
}

fn keep_asking(addr: SocketAddr, enough: &AtomicBool) -> Result<()> {
    let mut client = Client::connect(addr)?;
    while !enough.load(Relaxed) {
        let status = client.request("GET", "/stacks")?;
        if status != 200 {
            return Err(format!("during the report GET /stacks gave {status}").into());
        }
    }
    Ok(())
}

/// Asks for a report and waits for its end.
fn report(reports: Handle) -> Result<()> {
    let before = reports.stats();
    ask_for_report()?;
    let deadline = Instant::now() + REPORT_DEADLINE;
    loop {
        let now = reports.stats();
        if finished(&now) > finished(&before) {
            return if now.reports_incomplete == before.reports_incomplete {
                Ok(())
            } else {
                Err("the report is incomplete; its last line says why".into())
            };
        }
        if Instant::now() >= deadline {
            return Err(format!("no report within {} s", REPORT_DEADLINE.as_secs()).into());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn finished(stats: &Stats) -> u64 {
    stats.reports_complete.saturating_add(stats.reports_incomplete)
}

#[cfg(unix)]
fn ask_for_report() -> io::Result<()> {
    use rustix::process::{Signal, getpid, kill_process};

    kill_process(getpid(), Signal::USR2)
        .map_err(|errno| io::Error::from_raw_os_error(errno.raw_os_error()))
}

#[cfg(not(unix))]
fn ask_for_report() -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// A client that keeps its connection open, and knows just enough HTTP to find
/// the end of our answers.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, CLIENT_TIMEOUT)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Asks, and returns the answer's status.
    fn request(&mut self, method: &str, target: &str) -> io::Result<u16> {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;

        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut body_len = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some(len) = line.strip_prefix("Content-Length: ") {
                body_len = len.parse().map_err(|_| bad_answer())?;
            }
        }
        let read = io::copy(&mut self.stream.by_ref().take(body_len), &mut io::sink())?;
        status.filter(|_| read == body_len).ok_or_else(bad_answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn bad_answer() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not an answer of ours")
}
