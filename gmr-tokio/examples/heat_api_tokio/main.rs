//! A little service in the spirit of OpenStack Heat's API, on tokio and axum, that
//! can be asked for a Guru Meditation Report while it runs.
//!
//! ```text
//! $ cargo run --release -p gmr-tokio --example heat_api_tokio 2> err.log
//! listening on 127.0.0.1:40213, pid 10172
//! $ curl http://127.0.0.1:40213/stacks
//! $ kill -USR2 10172              # the report is in err.log, the service goes on
//! $ curl http://127.0.0.1:40213/debug/gmr               # the same, here
//! $ curl http://127.0.0.1:40213/debug/gmr?format=json
//! $ curl http://127.0.0.1:40213/debug/block?ms=5000 &   # one worker is stuck now:
//! $ curl http://127.0.0.1:40213/debug/gmr               # the report says where
//! ```
//!
//! What a daemon does to get there is in this file:
//!
//! 1. `gmr_tokio::arm`, before anything that takes time;
//! 2. read the command line (`args`) and the configuration (`config`);
//! 3. `install_reports`, within the runtime: so it is the one that is looked at,
//!    with all of its tasks;
//! 4. serve (`routes`, with `database` behind it) and work in the background
//!    (`background`) until SIGTERM or SIGINT. Nothing there knows about reports,
//!    but the two routes below `/debug`.
//!
//! With `--once` (`once`) the program is its own client and operator, and logs
//! problems only: stderr then holds the report and nothing else.
//!
//! Limits: it is an example. It has no TLS, no access log and no reload, and the
//! database is a lock and a timer.

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::{self, ExitCode},
    sync::Arc,
};

use gmr_tokio::{Handle, SetupError, TrackedExt};
use tokio::{net::TcpListener, runtime::Builder, sync::watch};

#[path = "../../../gmr-std/examples/heat_api/args.rs"]
mod args;
mod background;
mod config;
mod database;
#[path = "../../../gmr-std/examples/heat_api/log.rs"]
mod log;
mod once;
mod routes;

use args::{Command, Options};
use background::Background;
use config::Config;
use database::Database;
use log::{Level, log};

/// What a wrong command line exits with, by convention.
const EXIT_USAGE: u8 = 2;

const ROUTES: &str = "\
Routes: GET /, GET /healthz, GET /stacks, GET /debug/gmr?format=text|json,
GET /debug/block?ms=N (blocks a worker on purpose)
";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    // From here on a `kill -USR2` is remembered; before, it would end us.
    gmr_tokio::arm();

    let options = match args::parse(env::args_os().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            let _ = write!(io::stdout(), "{}{ROUTES}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = write!(io::stderr(), "heat_api_tokio: {error}\n\n{}{ROUTES}", args::USAGE);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(Level::Error, error);
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> Result<()> {
    let config = Config::load(options.config.as_deref())?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(config.server.workers)
        .thread_name("api-worker")
        .enable_all()
        .build()?;
    // The future of `block_on` is in no list of tasks: tracked, it is shown, too.
    runtime.block_on(run(options, config).tracked("main"))
}

async fn run(options: Options, config: Config) -> Result<()> {
    let reports = install_reports(&config, &options);
    let handle = reports.as_ref().ok().copied();

    let listener = TcpListener::bind(config.server.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", config.server.listen))?;
    let addr = listener.local_addr()?;

    // Said once, heard by all: the server, and what works in the background.
    let (stop, mut stopped) = watch::channel(false);
    let database = Arc::new(Database::new(&config.database));
    let background = Background::start(&config.background, Arc::clone(&database), stopped.clone());
    let router = routes::router(&config, database, background.jobs(), addr, handle);
    let is_stopped = async move { is_set(&mut stopped).await };
    let server = axum::serve(listener, router).with_graceful_shutdown(is_stopped);
    let server = tokio::spawn(server.into_future());
    announce(addr);

    let outcome = if options.once {
        match reports {
            Ok(reports) => once::run(addr, reports).await,
            Err(error) => Err(error.into()),
        }
    } else {
        if let Err(error) = reports {
            // Reports are a help, not a purpose: without them we still serve.
            log(Level::Warning, format_args!("no Guru Meditation Reports: {error}"));
        }
        log(Level::Info, format_args!("started on {addr}"));
        wait_for_stop().await
    };
    stop.send_replace(true);
    background.stop().await;
    server.await??;
    if !options.once {
        log(Level::Info, "stopped");
    }
    outcome
}

/// All that a service has to do for its reports.
fn install_reports(config: &Config, options: &Options) -> std::result::Result<Handle, SetupError> {
    let package = gmr_tokio::package!(vendor: "OpenStack Foundation", product: "heat-api");
    let mut setup = gmr_tokio::setup_autorun(package)
        .service_name("heat-api")
        .conf(config)
        .view(options.format);
    if let Some(path) = &options.config {
        setup = setup.config_file(path);
    }
    setup.install()
}

/// Tells whoever started us where we are. Reports are installed by now, so the
/// reader may ask for one at once.
fn announce(addr: SocketAddr) {
    let mut stdout = io::stdout().lock();
    let told = writeln!(stdout, "listening on {addr}, pid {}", process::id());
    if let Err(error) = told.and_then(|()| stdout.flush()) {
        log(Level::Warning, format_args!("cannot write to stdout: {error}"));
    }
}

/// Returns once it is said.
async fn is_set(stopped: &mut watch::Receiver<bool>) {
    // An error: whoever could say it is gone. That is as good.
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}

/// Returns at SIGTERM or SIGINT.
#[cfg(unix)]
async fn wait_for_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    // tokio's handlers get along with reports.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

/// Returns at Ctrl-C.
#[cfg(not(unix))]
async fn wait_for_stop() -> Result<()> {
    Ok(tokio::signal::ctrl_c().await?)
}
