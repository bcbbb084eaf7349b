//! What hostile daemons have in common: programs that do their worst to a report
//! while it is written, each in many modes.
//!
//! `PROGRAM MODE`:
//!
//! 1. [`Mode::before`]: what is so before setup;
//! 2. set up, with reports to stderr;
//! 3. [`Mode::after`]: what the program does to itself once;
//! 4. `ready PID` on stdout;
//! 5. what the mode is for, again and again, until stdin ends;
//! 6. `done WORK ERRORS FIRST-ERROR` on stdout, and exit with 0.
//!
//! `PROGRAM list` prints the names of its modes, with what each is about. Who runs
//! them sends the trigger, reads stderr, and looks after the process.

use std::env;
use std::io::{self, Read, Write};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

/// One way to be hostile.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    name: &'static str,
    about: &'static str,
    before: fn(),
    after: fn(),
    work: fn(&Tally),
    /// It ends by itself at any time, with 0 or by SIGABRT: reports may be cut.
    ends: bool,
}

impl Mode {
    /// A mode that does `work` until [`Tally::is_wanted`] says no more.
    #[must_use]
    pub const fn new(name: &'static str, about: &'static str, work: fn(&Tally)) -> Self {
        Self { name, about, before: || {}, after: || {}, work, ends: false }
    }

    /// What happens before setup.
    #[must_use]
    pub const fn before(mut self, before: fn()) -> Self {
        self.before = before;
        self
    }

    /// What happens once after setup, before `ready`.
    #[must_use]
    pub const fn after(mut self, after: fn()) -> Self {
        self.after = after;
        self
    }

    /// The program ends by itself.
    #[must_use]
    pub const fn ends(mut self) -> Self {
        self.ends = true;
        self
    }
}

/// What has been done, and what went wrong that an application would notice.
#[derive(Debug, Default)]
pub struct Tally {
    is_over: AtomicBool,
    done: std::sync::atomic::AtomicU64,
    errors: std::sync::atomic::AtomicU64,
    first_error: std::sync::OnceLock<String>,
}

impl Tally {
    /// Whether to go on.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    /// One piece of work is done.
    pub fn work(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// One is done, or not.
    pub fn check<T, E: core::fmt::Display>(&self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                self.work();
                Some(value)
            }
            Err(error) => {
                self.error(error);
                None
            }
        }
    }

    /// Something went wrong.
    pub fn error(&self, error: impl core::fmt::Display) {
        self.errors.fetch_add(1, Relaxed);
        let _ = self.first_error.set(error.to_string());
    }
}

/// The whole of a hostile daemon's `main`.
///
/// # Panics
///
/// If setup fails, or stdout is gone.
#[must_use]
pub fn main(modes: &[Mode]) -> ExitCode {
    let wanted = env::args().nth(1).unwrap_or_default();
    if wanted == "list" {
        for mode in modes {
            println!("{} {} {}", mode.name, if mode.ends { "ends" } else { "stays" }, mode.about);
        }
        return ExitCode::SUCCESS;
    }
    let Some(mode) = modes.iter().find(|mode| mode.name == wanted) else {
        eprintln!("usage: PROGRAM list | MODE; no mode {wanted:?}");
        return ExitCode::from(2);
    };
    (mode.before)();
    let package = gmr_std::package!(vendor: "GMR", product: "hostile");
    let _handle = gmr_std::setup_autorun(package).install().expect("setup");
    (mode.after)();

    let tally = Tally::default();
    thread::scope(|scope| {
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn_scoped(scope, || {
                let mut rest = Vec::new();
                let _ = io::stdin().read_to_end(&mut rest);
                tally.is_over.store(true, Relaxed);
            })
            .expect("a thread");
        println!("ready {}", process::id());
        (mode.work)(&tally);
    });
    let (done, errors) = (tally.done.load(Relaxed), tally.errors.load(Relaxed));
    let first_error = tally.first_error.get().map_or("", String::as_str);
    let mut stdout = io::stdout();
    writeln!(stdout, "done {done} {errors} {first_error}").expect("stdout");
    ExitCode::SUCCESS
}
