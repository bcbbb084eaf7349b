//! Tasks that wait for ever, one of each shape of future, and what is true of
//! them.
//!
//! 1. Every module of [`shapes`] spawns its tasks, each with its truth: at which
//!    `.await`s it waits, as a tree ([`truth`]).
//! 2. The program waits until all of them have come to rest ([`parked`]).
//! 3. It prints two lines: the truth, and the report about itself, in JSON.
//!
//! `--truth` leaves the report out. `--hold` stays until stdin ends. `--table=FILE`
//! names a table to read the report with. Other arguments are directories with
//! separate debug files.
//!
//! Limits: a task is at rest if every worker of its runtime is parked, no task is
//! queued, and that has been so for a while; see [`parked::wait_until_at_rest`].

mod parked;
mod report;
mod shapes;
mod truth;

use std::io::Write;
use std::process;

use tokio::runtime::Builder;

/// More than one, so that tasks wake each other across workers; few, so that all
/// of them are soon parked.
const WORKERS: usize = 2;

fn main() {
    gmr_tokio::arm();
    let arguments = report::Arguments::read(std::env::args().skip(1));

    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let reports = {
        let _inside = runtime.enter();
        report::set_up(&arguments)
    };
    runtime.block_on(shapes::spawn_all());
    shapes::spawn_local();
    if reports.is_some() {
        report::wait_until_ready();
    }
    // Not before: reports test themselves by a task on each runtime.
    shapes::spawn_idle();
    if let Err(error) = parked::wait_until_at_rest(runtime.handle()) {
        eprintln!("{error}");
        // No more than this: blocking threads would be waited for.
        process::exit(1);
    }

    let mut stdout = std::io::stdout().lock();
    let truth = serde_json::to_string(&parked::truth()).expect("JSON");
    writeln!(stdout, "{truth}").expect("stdout");
    if let Some(reports) = reports {
        writeln!(stdout, "{}", report::write(reports).trim_end()).expect("stdout");
    }
    stdout.flush().expect("stdout");
    if arguments.holds {
        for line in std::io::stdin().lines() {
            drop(line);
        }
    }
    process::exit(0);
}
