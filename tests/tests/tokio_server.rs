//! Every task of a server is listed, no more and no fewer, whoever spawned it, and
//! while clients keep it busy.
//!
//! The truth is the program's (`src/bin/tokio_server.rs`): the ids that it spawned,
//! and one task for each connection that is open here.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use gmr_tests::green::{GreenThreads, Kind, Task, lines_in};
use gmr_tests::{DEADLINE, Daemon, until};
use serde::Deserialize;

const SERVER: &str = env!("CARGO_BIN_EXE_tokio_server");
const SOURCE: &str = include_str!("../src/bin/tokio_server.rs");
const FILE: &str = "bin/tokio_server.rs";

/// Connections of each kind.
const HANGING: usize = 20;
const IDLE: usize = 15;
const LOADING: usize = 4;

/// Reports that are looked at.
const REPORTS: usize = 20;

#[derive(Deserialize)]
struct Ids {
    server: Vec<u64>,
    join_set: Vec<u64>,
    chain: Vec<u64>,
    local: Vec<u64>,
}

/// The line that is marked.
fn line(mark: &str) -> u32 {
    let comment = format!("// @{mark}");
    let index = SOURCE.lines().position(|line| line.ends_with(&comment)).expect("a mark");
    u32::try_from(index).expect("a line") + 1
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).expect("a server that accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Client(BufReader::new(stream))
    }

    fn ask(&mut self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("a server that reads");
    }

    fn get(&mut self, target: &str) {
        self.ask(target);
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line).expect("a status line");
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).expect("a header");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim_end().parse().expect("a length");
            }
        }
        self.0.read_exact(&mut vec![0; length]).expect("a body");
    }
}

/// Clients that keep asking on connections that stay open.
struct Load {
    ends: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(addr: &str) -> Self {
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = || {
            let (ends, answers) = (Arc::clone(&ends), Arc::clone(&answers));
            let mut client = Client::connect(addr);
            thread::spawn(move || {
                while !ends.load(Ordering::Acquire) {
                    client.get("/quick");
                    answers.fetch_add(1, Ordering::AcqRel);
                }
            })
        };
        let clients = (0..LOADING).map(|_| client()).collect();
        Load { ends, answers, clients }
    }

    fn wait_for_more(&self) {
        let before = self.answers.load(Ordering::Acquire);
        until("more answers", || {
            (self.answers.load(Ordering::Acquire) >= before + 10).then_some(())
        });
    }

    fn stop(self) {
        self.ends.store(true, Ordering::Release);
        self.clients.into_iter().for_each(|client| client.join().expect("answers"));
    }
}

fn lines(task: &Task) -> Vec<u32> {
    lines_in(&task.stack, FILE)
}

/// How many of these tasks wait at each line, the innermost one.
fn innermost(seen: &GreenThreads, ids: &[u64]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        let task = seen.tasks.get(id).unwrap_or_else(|| panic!("task {id} is not listed"));
        assert_eq!(task.state, "suspended", "task {id}");
        let line = *lines(task).last().unwrap_or_else(|| panic!("{task:#?}"));
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn assert_all_listed(seen: &GreenThreads, ids: &Ids) {
    assert_eq!((seen.twice.len(), seen.unnamed), (0, 0));
    let expected = [(line("locks"), ids.join_set.len() - 1), (line("holds"), 1)];
    assert_eq!(innermost(seen, &ids.join_set), BTreeMap::from(expected));
    let expected = [(line("chain"), ids.chain.len() - 1), (line("chain_end"), 1)];
    assert_eq!(innermost(seen, &ids.chain), BTreeMap::from(expected));
    let expected = [(line("stays"), ids.local.len())];
    assert_eq!(innermost(seen, &ids.local), BTreeMap::from(expected));
    // Each of the chain waits for the next one. Of equal trees only the first edge may
    // be named, but none that is not there.
    for pair in ids.chain.windows(2) {
        let edges: Vec<_> = seen.edges.iter().filter(|(from, _)| *from == pair[0]).collect();
        let is_alone = seen.tasks[&pair[0]].count == 1;
        assert!(edges.iter().all(|edge| **edge == (pair[0], pair[1])), "{edges:?}");
        assert!(!is_alone || edges.len() == 1, "{pair:?}: {edges:?}");
    }
    assert_eq!(seen.tasks[&ids.chain[0]].count, 1);

    let spawned = [&ids.server, &ids.join_set, &ids.chain, &ids.local];
    let is_spawned = |id| spawned.iter().any(|ids| ids.contains(&id));
    let others =
        seen.tasks.iter().filter(|(id, task)| !is_spawned(**id) && task.state != "blocking");
    let others: Vec<_> = others.map(|(_, task)| task).collect();
    assert_eq!(others.len(), HANGING + IDLE + LOADING, "one task for each connection");
    let hanging = others.iter().filter(|task| lines(task) == [line("hang")]).count();
    assert_eq!(hanging, HANGING);
    for task in others.iter().filter(|task| task.state == "suspended") {
        let is_connection = task.stack.iter().any(|level| level.function.contains("axum::serve"));
        assert!(is_connection, "{task:#?}");
        let is_decoded = task.stack.iter().all(|level| level.kind != Kind::Undecoded);
        assert!(is_decoded, "{task:#?}");
    }
    for id in &ids.server {
        assert!(seen.tasks.contains_key(id), "task {id} is not listed");
    }
}

#[test]
fn every_task_of_a_busy_server_is_listed_exactly_once() {
    let mut daemon = Daemon::start(SERVER, &[], Stdio::inherit());
    assert_eq!(daemon.ready, "READY");
    let addr = daemon.line();
    let ids: Ids = serde_json::from_str(&daemon.line()).expect("ids");

    let mut clients: Vec<_> = (0..HANGING + IDLE).map(|_| Client::connect(&addr)).collect();
    for client in &mut clients {
        client.get("/quick");
    }
    clients[..HANGING].iter_mut().for_each(|client| client.ask("/hang"));
    let load = Load::start(&addr);
    load.wait_for_more();
    // All of those that were sent have reached their handlers.
    until("connections that hang", || {
        let seen = GreenThreads::of(&daemon.ask("report"));
        let hanging = seen.tasks.values().filter(|task| lines(task) == [line("hang")]).count();
        (hanging == HANGING).then_some(())
    });
    for _ in 0..REPORTS {
        assert_all_listed(&GreenThreads::of(&daemon.ask("report")), &ids);
        load.wait_for_more();
    }
    load.stop();
    drop(clients);
    assert!(daemon.finish().success());
}
