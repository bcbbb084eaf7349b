//! The example on tokio, as an operator sees it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{Read, Write};
use std::net::TcpStream;

use gmr_tests::green::{GreenThreads, lines_in};
use gmr_tests::{DEADLINE, Daemon, ErrLog, until};

const HEAT_API: &str = env!("CARGO_BIN_EXE_heat_api_tokio");

/// What the sample configuration has to hide.
const SECRETS: [&str; 3] = ["s3kr1t-db", "s3kr1t-keystone", "s3kr1t-trustee"];

/// Tasks in the background: one that works, and those that clean up.
const BACKGROUND: usize = 4;

#[test]
fn once_exits_with_success_and_writes_one_whole_report() {
    for format in ["text", "json"] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(HEAT_API, &["--once", "--format", format], log.stdio());
        assert!(daemon.wait().success(), "{}", log.text());
        let text = log.text();
        let end = if format == "text" { "End of report 1: complete" } else { "\"complete\": true" };
        assert_eq!(text.matches(end).count(), 1, "{text}");
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in the report");
        }
    }
}

#[test]
fn the_debug_endpoint_shows_where_the_tasks_wait() {
    let log = ErrLog::new();
    let daemon = Daemon::start(HEAT_API, &[], log.stdio());
    let line = daemon.ready.strip_prefix("listening on ").expect("the ready line");
    let (addr, pid) = line.split_once(", pid ").expect("the ready line");
    assert_eq!(pid, daemon.pid().to_string());
    let in_background = until("reports that show tasks", || {
        let mut stream = TcpStream::connect(addr).expect("a service that accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let request = "GET /debug/gmr?format=json HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a service that reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let seen = GreenThreads::of(body);
        let tasks = seen.tasks.values();
        let in_background =
            tasks.filter(|task| !lines_in(&task.stack, "background.rs").is_empty()).count();
        (in_background > 0).then_some(in_background)
    });
    // One may be polled just then.
    assert!((BACKGROUND - 1..=BACKGROUND).contains(&in_background), "{in_background}");
}
