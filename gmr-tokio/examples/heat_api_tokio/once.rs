//! `--once`: the whole story in one run, for a first look and for tests.
//!
//! 1. Ask for every route once, as a client over TCP, and check the answers.
//! 2. Keep asking from tasks, so that the report finds the service at work.
//! 3. Send this process SIGUSR2, as `kill -USR2 PID` would.
//! 4. Wait until the report has been written; fail if it is not complete, or if a
//!    request went wrong meanwhile.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use gmr_tokio::{Handle, Stats};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time,
};

use crate::Result;

/// A report takes milliseconds. If there is none after this, there will be none.
const REPORT_DEADLINE: Duration = Duration::from_secs(10);
/// Milliseconds in an optimised program, seconds in another.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that keep asking.
const CLIENTS: usize = 3;

const TRIALS: [(&str, &str, u16); 6] = [
    ("GET", "/", 200),
    ("GET", "/healthz", 200),
    ("GET", "/stacks", 200),
    ("GET", "/debug/block?ms=1", 200),
    ("GET", "/no/such/thing", 404),
    ("DELETE", "/stacks", 405),
];

pub(crate) async fn run(addr: SocketAddr, reports: Handle) -> Result<()> {
    for (method, target, expected) in TRIALS {
        let status = Client::connect(addr).await?.request(method, target).await?;
        if status != expected {
            return Err(format!("{method} {target} gave {status}, expected {expected}").into());
        }
    }

    // How futures lie in memory is found out in the background.
    tokio::task::spawn_blocking(|| gmr_tokio::wait_until_ready(READY_DEADLINE)).await??;

    let (enough, is_enough) = watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(keep_asking(addr, is_enough.clone()));
    }
    let report = report(reports).await;
    enough.send_replace(true);
    let mut load = Ok(());
    while let Some(client) = clients.join_next().await {
        load = load.and(client?);
    }
    report.and(load)
}

async fn keep_asking(addr: SocketAddr, is_enough: watch::Receiver<bool>) -> Result<()> {
    let mut client = Client::connect(addr).await?;
    while !*is_enough.borrow() {
        let status = client.request("GET", "/stacks").await?;
        if status != 200 {
            return Err(format!("during the report GET /stacks gave {status}").into());
        }
    }
    Ok(())
}

/// Asks for a report and waits for its end.
async fn report(reports: Handle) -> Result<()> {
    let before = reports.stats();
    ask_for_report()?;
    let end = async {
        while finished(&reports.stats()) == finished(&before) {
            time::sleep(POLL_INTERVAL).await;
        }
    };
    if time::timeout(REPORT_DEADLINE, end).await.is_err() {
        return Err(format!("no report within {} s", REPORT_DEADLINE.as_secs()).into());
    }
    if reports.stats().reports_incomplete == before.reports_incomplete {
        Ok(())
    } else {
        Err("the report is incomplete; its last line says why".into())
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

/// A client that keeps its connection open, and knows just enough HTTP to find the
/// end of our answers.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = time::timeout(CLIENT_TIMEOUT, TcpStream::connect(addr)).await??;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Asks, and returns the answer's status.
    async fn request(&mut self, method: &str, target: &str) -> io::Result<u16> {
        time::timeout(CLIENT_TIMEOUT, self.exchange(method, target)).await?
    }

    async fn exchange(&mut self, method: &str, target: &str) -> io::Result<u16> {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;

        let status_line = self.line().await?;
        let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut body_len = 0;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            if let Some(len) = line.strip_prefix("content-length: ") {
                body_len = len.parse().map_err(|_| bad_answer())?;
            }
        }
        let mut body = vec![0; body_len];
        self.stream.read_exact(&mut body).await?;
        status.ok_or_else(bad_answer)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn bad_answer() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not an answer of ours")
}
