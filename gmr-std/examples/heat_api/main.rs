//! A little service in the spirit of OpenStack Heat's API that can be asked for
//! a Guru Meditation Report while it runs.
//!
//! ```text
//! $ cargo run --release --example heat_api 2> err.log
//! listening on 127.0.0.1:40213, pid 10172
//! $ curl http://127.0.0.1:40213/stacks
//! $ kill -USR2 10172              # the report is in err.log, the service goes on
//! $ curl http://127.0.0.1:40213/debug/gmr               # the same, here
//! $ curl http://127.0.0.1:40213/debug/gmr?format=json
//! ```
//!
//! What a daemon does to get there is in this file:
//!
//! 1. `gmr_std::arm`, before anything that takes time;
//! 2. read the command line (`args`) and the configuration (`config`);
//! 3. `install_reports`: say who we are, hand over the configuration, add a
//!    section of our own (`special`);
//! 4. serve (`server`, with `queue`, `http` and `routes` behind it) until
//!    SIGTERM or SIGINT. Nothing there knows about reports but the counters, and
//!    one route that writes one on demand.
//!
//! With `--once` (`once`) the program is its own client and operator, and logs
//! problems only: stderr then holds the report and nothing else.
//!
//! Limits: it is an example. It has no TLS, no access log and no reload, and
//! the database of the sample configuration does not exist.

use core::{error::Error, fmt, net::SocketAddr};
use std::{
    env,
    io::{self, Write},
    process::{self, ExitCode},
};

use gmr_std::{Handle, SetupError};

mod args;
mod config;
mod http;
mod log;
mod once;
mod queue;
mod routes;
mod server;
mod special;

use args::{Command, Options};
use config::Config;
use log::{Level, log};
use server::Server;

/// What a wrong command line exits with, by convention.
const EXIT_USAGE: u8 = 2;

const ROUTES: &str = "\
Routes: GET /, GET /healthz, GET /stacks, GET /debug/gmr?format=text|json
";

fn main() -> ExitCode {
    // From here on a `kill -USR2` is remembered; before, it would end us.
    gmr_std::arm();

    let options = match args::parse(env::args_os().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            let _ = write!(io::stdout(), "{}{ROUTES}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = write!(io::stderr(), "heat_api: {error}\n\n{}{ROUTES}", args::USAGE);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(Level::Error, error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::load(options.config.as_deref())?;
    let reports = install_reports(&config, options);

    let handle = reports.as_ref().ok().copied();
    let server = Server::start(config.server.clone(), config.stacks, handle)
        .map_err(|source| StartError { addr: config.server.listen, source })?;
    announce(server.addr());

    let outcome = if options.once {
        match reports {
            Ok(reports) => once::run(server.addr(), reports),
            Err(error) => Err(error.into()),
        }
    } else {
        if let Err(error) = reports {
            // Reports are a help, not a purpose: without them we still serve.
            log(Level::Warning, format_args!("no Guru Meditation Reports: {error}"));
        }
        log(Level::Info, format_args!("started on {}", server.addr()));
        wait_for_stop()
    };
    server.stop();
    if !options.once {
        let served = special::SPECIAL.requests_served();
        log(Level::Info, format_args!("stopped after {served} requests"));
    }
    outcome
}

/// All that a service has to do for its reports.
fn install_reports(config: &Config, options: &Options) -> Result<Handle, SetupError> {
    let package = gmr_std::package!(vendor: "OpenStack Foundation", product: "heat-api");
    let mut setup = gmr_std::setup_autorun(package)
        .service_name("heat-api")
        .conf(config)
        .view(options.format)
        .register_signal_safe_section("Some Special Section", &special::SPECIAL);
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

/// Returns at SIGTERM or SIGINT.
#[cfg(unix)]
fn wait_for_stop() -> Result<(), Box<dyn Error + Send + Sync>> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
    };

    // signal-hook gets along with reports, also for one and the same signal.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    signals.forever().next();
    Ok(())
}

/// Serves until the process is ended from outside.
#[cfg(not(unix))]
fn wait_for_stop() -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        std::thread::park();
    }
}

#[derive(Debug)]
struct StartError {
    addr: SocketAddr,
    source: io::Error,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve on {}: {}", self.addr, self.source)
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
