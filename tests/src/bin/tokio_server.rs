//! A server of axum with tasks of every origin, which knows how many there are.
//!
//! 1. Connections, which axum spawns: each a task as long as the client keeps it
//!    open, at `GET /quick` for microseconds, at `GET /hang` for ever.
//! 2. A `JoinSet`, of which one task holds a lock and the others wait for it.
//! 3. Tasks that spawned each other, in a chain, each waiting for the next.
//! 4. A `LocalSet`, on a thread and a runtime of its own.
//!
//! It prints `READY`, its address and, as JSON, the ids of the tasks that it
//! spawned ([`Ids`]). For each line on stdin it prints a report, and ends with
//! stdin.

use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;

use axum::Router;
use axum::routing::get;
use gmr_tests::DEADLINE;
use gmr_tokio::View;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::Mutex;
use tokio::task::{Id, JoinSet, LocalSet};

const LOCKERS: usize = 50;
const CHAIN: u32 = 6;
const LOCALS: usize = 20;

/// The ids of tasks, by what spawned them.
#[derive(Default, Serialize)]
struct Ids {
    server: Vec<u64>,
    join_set: Vec<u64>,
    chain: Vec<u64>,
    local: Vec<u64>,
}

fn number(id: Id) -> u64 {
    id.to_string().parse().expect("a number")
}

async fn hang() -> &'static str {
    std::future::pending::<()>().await; // @hang
    ""
}

async fn locks(lock: Arc<Mutex<()>>) {
    let guard = lock.lock().await; // @locks
    std::future::pending::<()>().await; // @holds
    drop(guard);
}

/// Each spawns the next one, says so, and waits for it.
fn chains(left: u32, said: mpsc::Sender<u64>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        said.send(number(tokio::task::id())).expect("a receiver");
        if left == 0 {
            std::future::pending::<()>().await; // @chain_end
        }
        let next = tokio::spawn(chains(left - 1, said));
        let _ = next.await; // @chain
    })
}

async fn stays(number: std::rc::Rc<usize>) {
    std::future::pending::<()>().await; // @stays
    drop(number);
}

/// A set on a thread of its own; the ids of its tasks.
fn start_local() -> Vec<u64> {
    let (said, ids) = mpsc::channel();
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        gmr_tokio::register(runtime.handle()).expect("a known runtime");
        let set = LocalSet::new();
        gmr_tokio::register_local_set(&set).expect("a known set");
        let count = std::rc::Rc::new(LOCALS);
        let ids: Vec<u64> =
            (0..LOCALS).map(|_| number(set.spawn_local(stays(count.clone())).id())).collect();
        // As the last, so that all the others wait by then.
        set.spawn_local(async move { said.send(ids).expect("a receiver") });
        runtime.block_on(set.run_until(std::future::pending::<()>()));
    };
    std::thread::Builder::new().name("local-set".into()).spawn(run).expect("a thread");
    ids.recv().expect("ids")
}

async fn start() -> (SocketAddr, Ids) {
    let mut ids = Ids { local: start_local(), ..Ids::default() };
    let lock = Arc::new(Mutex::new(()));
    let mut set = JoinSet::new();
    for _ in 0..LOCKERS {
        ids.join_set.push(number(set.spawn(locks(lock.clone())).id()));
    }
    let joins = tokio::spawn(async move { set.join_all().await }); // @joins
    ids.server.push(number(joins.id()));
    let (said, told) = mpsc::channel();
    // Unlike the others: its tree is not folded with theirs.
    drop(tokio::spawn(async move { chains(CHAIN - 1, said).await }));
    let told = tokio::task::spawn_blocking(move || told.iter().take(CHAIN as usize).collect());
    ids.chain = told.await.expect("a chain");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let router = Router::new().route("/hang", get(hang)).route("/quick", get(|| async { "quick" }));
    let server = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("no end");
    });
    ids.server.push(number(server.id()));
    (addr, ids)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gmr_tokio::arm();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let reports = {
        let _inside = runtime.enter();
        gmr_tokio::setup_autorun(gmr_tokio::package!()).view(View::JsonLine).install()?
    };
    let (addr, ids) = runtime.block_on(start());
    gmr_tokio::wait_until_ready(DEADLINE)?;
    println!("READY");
    println!("{addr}");
    println!("{}", serde_json::to_string(&ids)?);
    for line in std::io::stdin().lines() {
        drop(line?);
        let report = reports.report(View::JsonLine)?;
        println!("{}", report.trim_end());
        std::io::stdout().flush()?;
    }
    // Tasks that wait for ever are not waited for.
    std::process::exit(0)
}
