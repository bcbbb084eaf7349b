//! The example under load: the main job, as an operator sees it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use gmr_tests::process::{anonymous_kib, descriptors, threads};
use gmr_tests::{DEADLINE, Daemon, ErrLog, Report, Stream, until};

const HEAT_API: &str = env!("CARGO_BIN_EXE_heat_api");

const SECTIONS: [&str; 7] = [
    "Package",
    "Threads",
    "Processes",
    "Configuration",
    "Environment",
    "Some Special Section",
    "Queue",
];

/// What the sample configuration has to hide.
const SECRETS: [&str; 4] = ["s3kr1t", "s3kr1t-db", "s3kr1t-keystone", "s3kr1t-trustee"];

/// More growth than this is a leak: 900 reports that each lose two KiB.
const TOLERANCE_KIB: u64 = 1024;

struct HeatApi {
    daemon: Daemon,
    log: ErrLog,
    addr: String,
}

fn start(format: &str) -> HeatApi {
    let log = ErrLog::new();
    let daemon = Daemon::start(HEAT_API, &["--format", format], log.stdio());
    let line = daemon.ready.strip_prefix("listening on ").expect("the ready line");
    let (addr, pid) = line.split_once(", pid ").expect("the ready line");
    assert_eq!(pid, daemon.pid().to_string());
    let addr = addr.to_owned();
    until("the first line of the log", || (!log.is_empty()).then_some(()));
    HeatApi { daemon, log, addr }
}

/// What was written, without the service's own log lines.
fn reports(text: &str) -> Stream {
    let lines = text.lines().filter(|line| !line.starts_with("INFO heat_api: "));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    Stream::parse(&text)
}

/// Clients that ask again and again; every answer must be a 200.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(addr: &str, clients: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let clients = (0..clients)
            .map(|_| {
                let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
                let addr = addr.to_owned();
                thread::spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        // Now a connection of many requests, now one of few.
                        let mut client = Client::connect(&addr);
                        for target in ["/", "/stacks", "/healthz", "/stacks"] {
                            assert_eq!(client.get(target), 200, "GET {target}");
                            answers.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                })
            })
            .collect();
        Load { stop, answers, clients }
    }

    /// Waits for `count` more answers.
    fn wait(&self, count: u64) {
        let before = self.answers.load(Ordering::Acquire);
        until("answers of the service", || {
            (self.answers.load(Ordering::Acquire) >= before + count).then_some(())
        });
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.join().expect("every request is answered with 200");
        }
        self.answers.load(Ordering::Acquire)
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).expect("a service that accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Client(BufReader::new(stream))
    }

    fn get(&mut self, target: &str) -> u16 {
        self.fetch(target).0
    }

    /// Status, content type and body.
    fn fetch(&mut self, target: &str) -> (u16, String, String) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("a service that reads");
        let status = self.line();
        let status = status.split(' ').nth(1).expect("a status line").parse().expect("a status");
        let (mut length, mut content_type) = (0, String::new());
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Type: ") {
                value.clone_into(&mut content_type);
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole answer");
        (status, content_type, String::from_utf8(body).expect("UTF-8"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert!(line.ends_with("\r\n"), "an answer cut off: {line:?}");
        line.trim_end().to_owned()
    }
}

/// What issue and documentation promise of each report of this service.
#[track_caller]
fn assert_shows_the_service(report: &Report, alive: &std::collections::BTreeMap<u32, String>) {
    report.assert_whole(&SECTIONS, alive.keys());
    assert_eq!(report.head("service"), Some("heat-api"));
    assert_eq!(report.threads.len(), alive.len(), "exactly the threads that there are");
    for (tid, name) in alive {
        let thread = report.thread(*tid);
        assert_eq!(thread.name, *name);
        if name.starts_with("gmr-") {
            assert_eq!(thread.capture, "own");
            continue;
        }
        assert_eq!(thread.capture, "ok", "{tid} {name}");
        for function in thread.functions() {
            assert!(!function.starts_with("_ZN") && !function.starts_with("_R"), "{function}");
        }
        let body = match &**name {
            "heat_api" => "heat_api::main",
            "api-acceptor" => "heat_api::server::Shared::accept",
            _ => "heat_api::server::Shared::work",
        };
        assert!(thread.is_in(body), "{name} is not in {body}: {:#?}", thread.frames);
        // Down to its entry function; std's and libc's frames are counted.
        assert!(thread.entry_frames_left_out > 3, "{name}: {:#?}", thread.frames);
        let last = thread.frames.last().and_then(|frame| frame.function.as_deref());
        let is_last = |function: &str| {
            function.starts_with("core::ops::function")
                || ["{closure#0}", "{closure}", "main", "call_once"]
                    .iter()
                    .any(|name| function.starts_with(name))
                || function.contains("__rust_begin_short_backtrace")
                || function.contains("spawn")
        };
        assert!(last.is_some_and(is_last), "{name} ends in {:#?}", thread.frames.last());
    }
    for secret in SECRETS {
        assert!(!report.raw.contains(secret), "{secret} in the report");
    }
    let package = &report.section("Package").body;
    for value in ["OpenStack Foundation", env!("CARGO_PKG_VERSION"), "build-id"] {
        assert!(package.contains(value), "{value}: {package}");
    }
    let processes = &report.section("Processes").body;
    assert!(processes.contains("heat_api"), "{processes}");
    let configuration = &report.section("Configuration").body;
    assert!(configuration.contains("heat:***@db.example.org"), "{configuration}");
    assert_eq!(report.section("Some Special Section").status, "ok");
}

#[test]
fn under_load_a_shells_kill_writes_a_whole_report_and_every_request_is_answered() {
    for format in ["text", "json"] {
        let HeatApi { daemon, log, addr } = start(format);
        let load = Load::start(&addr, 3);
        load.wait(20);
        let alive = threads(daemon.pid());
        let mut offset = log.len();
        for sequence in 1..=5 {
            daemon.trigger_by_shell();
            until("the report", || {
                gmr_tests::log::has_end(&log.text_from(offset), sequence).then_some(())
            });
            let report = reports(&log.text_from(offset)).only();
            assert_shows_the_service(&report, &alive);
            offset = log.len();
            load.wait(20);
        }
        let text = log.text();
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in err.log");
        }
        let configuration = &reports(&text).reports[0].section("Configuration").body.clone();
        for line in ["password", "domain_admin", "max_retries", "enabled_apis"] {
            assert!(configuration.contains(line), "{line}: {configuration}");
        }
        if format == "text" {
            assert!(configuration.contains("  password = ***\n"), "{configuration}");
            assert!(configuration.contains("  domain_admin = ***"), "{configuration}");
            assert!(configuration.contains("  max_retries = 10\n"), "{configuration}");
        }
        assert!(load.stop() > 120);
    }
}

#[test]
fn under_load_the_debug_endpoint_answers_with_whole_reports_and_the_log_gets_none() {
    let HeatApi { daemon, log, addr } = start("text");
    let load = Load::start(&addr, 2);
    load.wait(20);
    let alive = threads(daemon.pid());
    let before = log.text();
    for sequence in 1..=6 {
        let (target, expected) = match sequence % 3 {
            0 => ("/debug/gmr?format=json", "application/json"),
            1 => ("/debug/gmr", "text/plain; charset=utf-8"),
            _ => ("/debug/gmr?pretty=1&format=text", "text/plain; charset=utf-8"),
        };
        let (status, content_type, body) = Client::connect(&addr).fetch(target);
        assert_eq!((status, &*content_type), (200, expected), "{body}");
        assert_eq!(body.starts_with('{'), expected == "application/json");
        let report = Stream::parse(&body).only();
        assert_eq!(report.sequence, sequence);
        assert_eq!(report.head("requested by"), Some("a call of the program"));
        assert_shows_the_service(&report, &alive);
        load.wait(20);
    }
    assert_eq!(log.text(), before);
    // The trigger's report does not mind.
    let offset = log.len();
    daemon.trigger();
    until("the report", || gmr_tests::log::has_end(&log.text_from(offset), 7).then_some(()));
    assert_shows_the_service(&reports(&log.text_from(offset)).only(), &alive);
    assert!(load.stop() > 120);
}

/// `warm_up` reports, then up to `count`; nothing may have grown in between.
fn assert_nothing_grows(format: &str, warm_up: u64, count: u64) {
    let HeatApi { daemon, log, addr } = start(format);
    let pid = daemon.pid();
    let load = Load::start(&addr, 1);
    load.wait(10);
    load.stop();
    let mut offset = log.len();
    let mut before = None;
    for sequence in 1..=count {
        daemon.trigger();
        until("the report", || {
            gmr_tests::log::has_end(&log.text_from(offset), sequence).then_some(())
        });
        if sequence.is_multiple_of(100) || sequence == count {
            let report = reports(&log.text_from(offset)).only();
            assert_shows_the_service(&report, &threads(pid));
            assert_eq!(Client::connect(&addr).get("/stacks"), 200);
        }
        offset = log.len();
        if sequence == warm_up {
            // The connection that was just closed is gone from here, too.
            before = Some((descriptors_at_rest(pid), threads(pid), anonymous_kib(pid)));
        }
    }
    let (descriptors, threads_before, kib) = before.expect("a warm-up");
    assert_eq!(descriptors_at_rest(pid), descriptors);
    assert_eq!(threads(pid), threads_before);
    let grown = anonymous_kib(pid).saturating_sub(kib);
    assert!(grown <= TOLERANCE_KIB, "{grown} KiB more than after {warm_up} reports");
}

/// Its descriptors once no connection is open.
fn descriptors_at_rest(pid: u32) -> Vec<(u32, String)> {
    until("the end of all connections", || {
        let all: Vec<_> = descriptors(pid).into_iter().collect();
        // The listener is one socket, signal-hook's pair makes two more.
        let sockets = all.iter().filter(|(_, target)| target.starts_with("socket:")).count();
        (sockets <= 3).then_some(all)
    })
}

#[test]
fn after_a_thousand_text_reports_descriptors_threads_and_memory_have_not_grown() {
    assert_nothing_grows("text", 100, 1000);
}

#[test]
fn after_two_hundred_json_reports_descriptors_threads_and_memory_have_not_grown() {
    assert_nothing_grows("json", 50, 200);
}

#[test]
fn once_exits_with_success_and_writes_one_whole_report() {
    for format in ["text", "json"] {
        let log = ErrLog::new();
        let mut daemon = Daemon::start(HEAT_API, &["--once", "--format", format], log.stdio());
        assert!(daemon.wait().success(), "{}", log.text());
        let report = log.wait_for(1).only();
        assert!(report.is_complete);
        assert_eq!(report.titles(), SECTIONS);
    }
}
