//! A daemon for the tests of the capture: plays the scene that its first
//! argument names, says `ready` and answers SIGUSR2 with a report in JSON, one
//! line each, on stderr. It ends when its standard input does.
#![allow(unsafe_code, reason = "signals, masks and raw threads")]

#[cfg(target_os = "linux")]
mod frames;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod stacks;
#[cfg(target_os = "linux")]
mod threads;

#[cfg(target_os = "linux")]
mod daemon {
    use std::io::BufRead;
    use std::time::Duration;

    use gmr_core::{Options, Reporter, Signal, ViewKind};

    use crate::{signals, stacks, threads};

    static GMR: Reporter = Reporter::new(gmr_core::package!(product: "capture-daemon"));

    /// Patient, so that a busy machine is not mistaken for a fault. Each thread
    /// with all of its own stack.
    pub(crate) const PATIENT: Options = Options::new()
        .view(ViewKind::JsonLine)
        .fold(false)
        .entry_frames(true)
        .report_deadline(Duration::from_secs(100))
        .section_deadline(Duration::from_secs(40))
        .output_deadline(Duration::from_secs(40))
        .thread_deadline(Duration::from_secs(20));

    /// Reports from a thread lent to the core; another refreshes the modules.
    pub(crate) fn set_up(options: &Options) {
        GMR.setup_trigger_with(Signal::Usr2, options).expect("the setup");
        let lent = std::thread::Builder::new().name("lent".into());
        lent.spawn(|| GMR.run().expect("to run")).expect("a thread");
    }

    pub(crate) fn ready() {
        println!("ready");
    }

    /// Hands each line of standard input over, until its end.
    pub(crate) fn commands(mut answer: impl FnMut(&str)) {
        for line in std::io::stdin().lock().lines() {
            answer(&line.expect("a line"));
        }
        std::process::exit(0);
    }

    pub(crate) fn main() {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let number = |at: usize| -> usize {
            arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        match arguments.first().map_or("", String::as_str) {
            "parked" => threads::parked(number(1)),
            "churn" => threads::churn(number(1)),
            "blocked" => threads::blocked(),
            "roles" => threads::roles(),
            "main_ends" => threads::main_ends(),
            "refused" => threads::refused(),
            "deep" => stacks::deep(),
            "small" => stacks::small(),
            "library" => stacks::library(&arguments[1]),
            "foreign_before" => signals::foreign_before(),
            "chained_after" => signals::chained_after(),
            "replaced_after" => signals::replaced_after(),
            "std_alternate" => signals::std_alternate(),
            "in_handler" => signals::in_handler(),
            other => panic!("no scene {other:?}"),
        }
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    daemon::main();
}
