//! A daemon with an admin endpoint: a Guru Meditation Report on demand.
//!
//! ```text
//! $ cargo run --example admin_endpoint
//! http://127.0.0.1:38211/
//! $ curl http://127.0.0.1:38211/             # text
//! $ curl http://127.0.0.1:38211/json
//! ```
//!
//! It listens on loopback only. A report shows the inside of the process:
//! threads, paths, the configuration (secrets masked by name, which may miss
//! one), children. Loopback leaves that to whoever has an account on the
//! machine; where that is too many, use a Unix socket with a mode of its own.
//!
//! One thread serves one client after the other, which is all that operators
//! need. A client that reads slowly holds up other clients, but never a report.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use gmr_std::{Handle, View};

/// Longer than that is no operator's request.
const MAX_HEAD_BYTES: u64 = 8192;
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gmr_std::arm();
    let reports = gmr_std::setup_autorun(gmr_std::package!()).install()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("http://{}/", listener.local_addr()?);
    let admin = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        // A client that goes away is its own affair.
        for client in listener.incoming().flatten() {
            let _ = answer(&client, reports);
        }
    })?;
    // Here the daemon would do its work.
    let _ = admin.join();
    Ok(())
}

fn answer(client: &TcpStream, reports: Handle) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(client.take(MAX_HEAD_BYTES)).lines();
    let request = head.next().unwrap_or_else(|| Ok(String::new()))?;
    // What is left unread when a connection is closed may cost the answer.
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (view, content_type) = match request.split(' ').nth(1) {
        Some("/") => (View::Text, "text/plain; charset=utf-8"),
        Some("/json") => (View::Json, "application/json"),
        _ => return respond(client, "404 Not Found", "text/plain", "/ and /json\n"),
    };
    match reports.report(view) {
        Ok(report) => respond(client, "200 OK", content_type, &report),
        Err(error) => {
            let text = format!("{error}\n");
            respond(client, "503 Service Unavailable", "text/plain", &text)
        }
    }
}

fn respond(mut client: &TcpStream, status: &str, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close");
    write!(client, "HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")
}
