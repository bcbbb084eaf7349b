//! The threads: one acceptor, a few workers, a bounded queue between them.
//!
//! 1. The acceptor puts each new connection into the queue.
//! 2. A worker takes one and answers its requests until the client has enough.
//! 3. While other connections wait, a worker gives its own up after
//!    [`REQUESTS_PER_TURN`] requests, or as soon as it falls idle: a client that
//!    keeps its connection open cannot starve the others.
//! 4. `stop` ends the acceptor, lets the workers finish, and joins them all.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::{
    io::{self, ErrorKind},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
};

use gmr_std::Handle;

use crate::{
    config,
    http::{Connection, Incoming, Response},
    log::{Level, log},
    queue::Queue,
    routes::{self, Route},
    special::{Activity, SPECIAL},
};

/// Enough to make a connection worth its set-up, few enough to be fair.
const REQUESTS_PER_TURN: u32 = 100;
/// After an error of accept(2) that may last (no descriptor left): time for
/// workers to close some, and no flood of log lines.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// For the connection to ourselves that wakes the acceptor.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads need.
struct Shared {
    queue: Queue<TcpStream>,
    stopping: AtomicBool,
    server: config::Server,
    stacks: config::Stacks,
    /// For whoever asks on this machine.
    reports: Option<Handle>,
}

impl Server {
    /// Binds the address and starts the threads.
    pub(crate) fn start(
        server: config::Server,
        stacks: config::Stacks,
        reports: Option<Handle>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(server.listen)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            queue: Queue::new(server.queue_capacity),
            stopping: AtomicBool::new(false),
            server,
            stacks,
            // A report shows the inside of the service: nothing for a network.
            reports: reports.filter(|_| addr.ip().is_loopback()),
        });
        SPECIAL.started(shared.server.workers, shared.server.queue_capacity);
        if let Some(reports) = reports {
            // It takes the queue's lock: so it is a closure, which may wait.
            let seen = Arc::clone(&shared);
            if let Err(error) = reports.register_section("Queue", move || seen.queue.state()) {
                log(Level::Warning, format_args!("no section of the queue: {error}"));
            }
        }

        let mut running = Server { addr, shared, threads: Vec::new() };
        if let Err(error) = running.spawn_all(listener) {
            running.stop();
            return Err(error);
        }
        Ok(running)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, serves what has been accepted, and waits for the end.
    pub(crate) fn stop(self) {
        self.shared.stopping.store(true, Relaxed);
        self.shared.queue.close();
        // accept(2) has no other way out. If this fails, nobody can connect,
        // so there is no acceptor any more, or it has just been woken.
        let _ = TcpStream::connect_timeout(&reachable(self.addr), WAKE_TIMEOUT);
        for thread in self.threads {
            // An error is a panic, which has printed its message already.
            let _ = thread.join();
        }
    }

    fn spawn_all(&mut self, listener: TcpListener) -> io::Result<()> {
        for worker in 0..self.shared.server.workers {
            self.spawn(format!("api-worker-{}", worker + 1), move |shared| shared.work(worker))?;
        }
        self.spawn("api-acceptor".to_owned(), move |shared| shared.accept(&listener))
    }

    /// Threads have names: in a report, names are what one looks for. The
    /// kernel keeps 15 bytes of them.
    fn spawn(
        &mut self,
        name: String,
        body: impl FnOnce(&Shared) + Send + 'static,
    ) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.threads.push(thread::Builder::new().name(name).spawn(move || body(&shared))?);
        Ok(())
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.stopping.load(Relaxed) {
                return;
            }
            match accepted {
                Ok((stream, _)) => match self.queue.push(stream) {
                    Some(depth) => SPECIAL.queued(depth),
                    None => return,
                },
                // The client gave up before it was its turn.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log(Level::Warning, format_args!("cannot accept a connection: {error}"));
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn work(&self, worker: usize) {
        loop {
            SPECIAL.now(worker, Activity::WaitingForConnection);
            let Some(stream) = self.queue.pop() else { return };
            // Clients that vanish are their own affair: no line in the log.
            let _ = self.serve(stream, worker);
        }
    }

    fn serve(&self, stream: TcpStream, worker: usize) -> io::Result<()> {
        let server = &self.server;
        let mut connection = Connection::new(stream, server.limits, server.timeouts)?;
        let mut requests = 0;
        loop {
            SPECIAL.now(worker, Activity::WaitingForRequest);
            let incoming =
                connection.read(|| !self.stopping.load(Relaxed) && !self.queue.has_waiting())?;
            SPECIAL.now(worker, Activity::Answering);
            let request = match incoming {
                Incoming::Request(request) => request,
                Incoming::Refused(status) => {
                    connection.write(&Response::refusal(status), false, false)?;
                    SPECIAL.served(Route::Refused);
                    return Ok(());
                }
                Incoming::Closed => return Ok(()),
            };
            let _request = gmr_std::scope!("request", "{} {}", request.method, request.target);
            requests += 1;
            let turn_over = requests >= REQUESTS_PER_TURN && self.queue.has_waiting();
            let keep_alive = request.keep_alive && !turn_over && !self.stopping.load(Relaxed);

            let (route, response) = routes::answer(&request, &self.stacks, self.reports);
            connection.write(&response, request.method == "HEAD", keep_alive)?;
            SPECIAL.served(route);
            if !keep_alive {
                return Ok(());
            }
        }
    }
}

/// Where to connect to for a listener on `addr`, which may be "all addresses".
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
