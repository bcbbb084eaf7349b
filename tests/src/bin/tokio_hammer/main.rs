//! Tasks that never stand still, while report after report is written about them;
//! every await tree of every report is judged.
//!
//! 1. The tasks ([`load`]): long-lived ones, and ones that spawn, abort, select
//!    and recurse all the time.
//! 2. Each logs its own truth ([`oracle`]): at the end of each poll where it
//!    waits, at the begin of the next that it waits there no more.
//! 3. Three phases of equal length: no reports; one a second; one after the other.
//!    Each prints a line of JSON ([`phase`]): what was judged, what work was done, how
//!    late timers were.
//!
//! ```text
//! cargo run --release -p gmr-tests --bin tokio_hammer -- 600 multi
//! ```
//!
//! Arguments: seconds of each phase; `multi`, `current` or `local`; how many
//! long-lived and how many busy tasks. `--lie` drops a line of each tree before it
//! is judged, to see that the oracle notices; `--back-to-back` leaves out the phases
//! before that.
//!
//! It exits with 1 if a tree was not true, or a long-lived task was not there.
//!
//! Limits: a report gives one time for all of its trees. A tree is taken as true
//! if the task was at these lines at any moment of the report; what the oracle
//! has forgotten meanwhile is counted as not judged.

mod load;
mod oracle;
mod phase;

use std::process::ExitCode;
use std::time::Duration;

use gmr_tests::DEADLINE;
use gmr_tokio::View;
use load::{Flavor, Load};
use phase::Phase;

/// More than that of equal tasks would be counted, but not named.
const STABLE: u64 = 60;
const BUSY: u64 = 24;

struct Arguments {
    length: Duration,
    flavor: Flavor,
    stable: u64,
    busy: u64,
    lies: bool,
    /// Only the last phase: reports one after the other.
    is_short: bool,
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn std::error::Error>> {
        let all: Vec<String> = std::env::args().skip(1).collect();
        let mut numbers = all.iter().filter(|argument| !argument.starts_with("--"));
        let length = numbers.next().map_or(Ok(5.0), |text| text.parse())?;
        let flavor = numbers.next().map_or(Ok(Flavor::Multi), |text| text.parse())?;
        let stable = numbers.next().map_or(Ok(STABLE), |text| text.parse())?;
        let busy = numbers.next().map_or(Ok(BUSY), |text| text.parse())?;
        let lies = all.iter().any(|argument| argument == "--lie");
        let is_short = all.iter().any(|argument| argument == "--back-to-back");
        let length = Duration::from_secs_f64(length);
        Ok(Arguments { length, flavor, stable, busy, lies, is_short })
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = Arguments::read()?;
    let reports = gmr_tokio::setup_autorun(gmr_tokio::package!())
        .view(View::JsonLine)
        .without_environment()
        .install()?;
    let load = Load::start(arguments.flavor, arguments.stable, arguments.busy);
    gmr_tokio::wait_until_ready(DEADLINE)?;

    let mut is_true = true;
    let phases = [
        ("no reports", None),
        ("one a second", Some(Duration::from_secs(1))),
        ("back to back", Some(Duration::ZERO)),
    ];
    let first = if arguments.is_short { phases.len() - 1 } else { 0 };
    for (name, pause) in phases.into_iter().skip(first) {
        let phase = Phase::run(name, arguments.length, pause, reports, &load, arguments.lies);
        println!("{}", serde_json::to_string(&phase)?);
        is_true &= phase.is_true();
    }
    // The tasks are not waited for.
    std::process::exit(if is_true { 0 } else { 1 })
}
