//! Setting reports up and taking them down.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::thread;

use gmr_core::{Options, Reporter, Requester, SectionId, Signal, Stats, ViewKind};

use gmr_std::Scheduling;
use gmr_tests::until;

use crate::sections;

pub(crate) static CORE: Reporter = Reporter::new(gmr_core::package!(product: "puppet"));
static OTHER: Reporter = Reporter::new(gmr_core::package!(product: "other"));

/// What gmr-std's setup returned.
static HANDLE: Mutex<Option<gmr_std::Handle>> = Mutex::new(None);

/// gmr-std's way to a reporter that it made.
pub(crate) fn handle_of(reporter: &'static Reporter) -> Option<gmr_std::Handle> {
    let handle = (*HANDLE.lock().expect("a handle"))?;
    core::ptr::eq(handle.reporter(), reporter).then_some(handle)
}

/// 0: running, 1: done, 2: refused.
static UNREGISTERED: AtomicU32 = AtomicU32::new(0);

#[derive(Default)]
pub(crate) struct Reports {
    current: Option<&'static Reporter>,
    ids: HashMap<String, SectionId>,
}

fn answer<T, E: fmt::Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

/// `key=value` after a command.
struct Given<'a>(HashMap<&'a str, &'a str>);

impl<'a> Given<'a> {
    fn parse(text: &'a str) -> Self {
        Given(text.split_whitespace().filter_map(|pair| pair.split_once('=')).collect())
    }

    fn number(&self, key: &str) -> Option<i32> {
        self.0.get(key).map(|value| value.parse().expect("a number"))
    }

    fn truth(&self, key: &str, default: bool) -> bool {
        self.number(key).map_or(default, |number| number != 0)
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        let millis = self.number(key)?;
        Some(Duration::from_millis(u64::try_from(millis).expect("not negative")))
    }

    fn signal(&self) -> Signal {
        self.number("signal").map_or(Signal::Usr2, Signal::Number)
    }

    fn view(&self) -> ViewKind {
        match self.0.get("view").copied() {
            Some("json") => ViewKind::Json,
            Some("line") => ViewKind::JsonLine,
            _ => ViewKind::Text,
        }
    }

    fn sections(&self) -> impl Iterator<Item = &'a str> {
        self.0
            .get("sections")
            .copied()
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty())
    }

    fn options(&self) -> Options {
        let mut options = Options::new().view(self.view()).service_name(Some("puppet"));
        if let Some(fd) = self.number("fd") {
            options = options.destination_fd(fd);
        }
        if let Some(deadline) = self.duration("report_ms") {
            options = options.report_deadline(deadline);
        }
        if let Some(deadline) = self.duration("section_ms") {
            options = options.section_deadline(deadline);
        }
        if let Some(deadline) = self.duration("output_ms") {
            options = options.output_deadline(deadline);
        }
        if let Some(count) = self.number("supervisors") {
            options = options.supervisors(count.unsigned_abs());
        }
        options
            .fold(self.truth("fold", true))
            .full_names(self.truth("full_names", false))
            .entry_frames(self.truth("entry_frames", false))
            .modules(self.truth("modules", true))
    }
}

impl Reports {
    pub(crate) fn std(&mut self, rest: &str) -> String {
        let given = Given::parse(rest);
        let secret = "s3kr1t-puppet";
        let config = BTreeMap::from([("workers", "4"), ("password", secret)]);
        let mut setup = gmr_std::setup_autorun(gmr_std::package!(vendor: "The tests"))
            .service_name("puppet")
            .signal(given.signal())
            .view(given.view())
            .conf(&config)
            // Without optimisation the search takes long; `lines=1` where it
            // is what is tested.
            .source_lines(given.number("lines").is_some())
            .fold(given.truth("fold", true))
            .full_names(given.truth("full_names", false))
            .entry_frames(given.truth("entry_frames", false))
            .modules(given.truth("modules", true));
        if let Some(fd) = given.number("fd") {
            setup = setup.destination_fd(fd);
        }
        if let Some(deadline) = given.duration("report_ms") {
            setup = setup.report_deadline(deadline);
        }
        if let Some(threads) = given.number("max_threads") {
            setup = setup.max_threads(threads.unsigned_abs());
        }
        if let Some(nice) = given.number("nice") {
            setup = setup.scheduling(Scheduling::Nice(nice));
        }
        if given.0.get("scheduling") == Some(&"inherit") {
            setup = setup.scheduling(Scheduling::Inherit);
        }
        if let Some(cpus) = given.0.get("cpus") {
            setup = setup.cpus(cpus.split(',').map(|cpu| cpu.parse().expect("a number")));
        }
        for name in given.sections() {
            let (title, section) = sections::find(name);
            setup = setup.register_signal_safe_section(title, section);
        }
        let installed = setup.install();
        if let Ok(handle) = &installed {
            self.current = Some(handle.reporter());
            *HANDLE.lock().expect("a handle") = Some(*handle);
        }
        answer(installed)
    }

    fn core(
        &mut self,
        rest: &str,
        reporter: &'static Reporter,
        set_up: impl FnOnce(Signal, &Options) -> Result<gmr_core::Handle, gmr_core::SetupError>,
    ) -> String {
        let given = Given::parse(rest);
        for name in given.sections() {
            let (title, section) = sections::find(name);
            match reporter.register_section(title, section) {
                Ok(id) => drop(self.ids.insert(name.to_owned(), id)),
                Err(error) => return format!("{error:?}"),
            }
        }
        let installed = set_up(given.signal(), &given.options());
        if installed.is_ok() {
            self.current = Some(reporter);
        }
        answer(installed)
    }

    pub(crate) fn core_autorun(&mut self, rest: &str) -> String {
        self.core(rest, &CORE, |signal, options| CORE.setup_autorun_with(signal, options))
    }

    pub(crate) fn other_core_autorun(&mut self, rest: &str) -> String {
        self.core(rest, &OTHER, |signal, options| OTHER.setup_autorun_with(signal, options))
    }

    pub(crate) fn core_trigger(&mut self, rest: &str) -> String {
        self.core(rest, &CORE, |signal, options| CORE.setup_trigger_with(signal, options))
    }

    pub(crate) fn core_plain(&mut self, rest: &str) -> String {
        self.core(rest, &CORE, |_, options| CORE.setup(options))
    }

    pub(crate) fn reporter(&self) -> &'static Reporter {
        self.current.unwrap_or(&CORE)
    }

    /// `run()` here: for the cases in which it returns at once.
    pub(crate) fn run(&self) -> String {
        answer(self.reporter().run())
    }

    pub(crate) fn run_thread(&self) -> String {
        let reporter = self.reporter();
        // Small on purpose: supervisors have stacks of their own.
        let builder = thread::Builder::new().name("lent".to_owned()).stack_size(64 * 1024);
        let before = reporter.supervisors_running();
        let started = builder.spawn(move || {
            let _ = reporter.run();
        });
        if let Ok(thread) = &started {
            // One that has only just begun would not answer a report.
            until("a thread lent", || {
                let is_there = reporter.supervisors_running() > before || thread.is_finished();
                is_there.then_some(())
            });
        }
        answer(started)
    }

    pub(crate) fn request(&self) -> String {
        self.reporter().request(Requester::call());
        "ok".to_owned()
    }

    pub(crate) fn report_here(&self) -> String {
        self.reporter().report_here(Requester::call()).to_string()
    }

    pub(crate) fn stats(&self) -> String {
        let Stats {
            reports_complete: complete,
            reports_incomplete: incomplete,
            reports_abandoned: abandoned,
            requests_coalesced: coalesced,
            requests_ignored: ignored,
            ..
        } = self.reporter().stats();
        format!(
            "{{\"complete\":{complete},\"incomplete\":{incomplete},\"abandoned\":{abandoned},\
             \"coalesced\":{coalesced},\"ignored\":{ignored}}}"
        )
    }

    /// What is known of the last report.
    pub(crate) fn last(&self) -> String {
        let Stats {
            last_sequence: sequence,
            last_incomplete,
            last_duration_ns: duration_ns,
            last_bytes: bytes,
            last_end_unix_seconds: end,
            ..
        } = self.reporter().stats();
        let reasons: Vec<_> = last_incomplete.reasons().collect();
        let reasons = reasons.join(", ");
        format!(
            "{{\"sequence\":{sequence},\"reasons\":\"{reasons}\",\"duration_ns\":{duration_ns},\
             \"bytes\":{bytes},\"end\":{end}}}"
        )
    }

    pub(crate) fn shutdown(&self) -> String {
        self.reporter().shutdown();
        "ok".to_owned()
    }

    pub(crate) fn register(&mut self, name: &str) -> String {
        let (title, section) = sections::find(name);
        match self.reporter().register_section(title, section) {
            Ok(id) => {
                self.ids.insert(name.to_owned(), id);
                "ok".to_owned()
            }
            Err(error) => format!("{error:?}"),
        }
    }

    pub(crate) fn unregister(&mut self, name: &str) -> String {
        let Some(id) = self.ids.get(name).copied() else { return "no id".to_owned() };
        answer(self.reporter().unregister_section(id))
    }

    /// The same on a thread of its own, since it waits.
    pub(crate) fn unregister_thread(&mut self, name: &str) -> String {
        let Some(id) = self.ids.get(name).copied() else { return "no id".to_owned() };
        let reporter = self.reporter();
        UNREGISTERED.store(0, Ordering::Release);
        answer(thread::Builder::new().spawn(move || {
            let is_done = reporter.unregister_section(id).is_ok();
            UNREGISTERED.store(if is_done { 1 } else { 2 }, Ordering::Release);
        }))
    }
}

pub(crate) fn unregistered() -> String {
    match UNREGISTERED.load(Ordering::Acquire) {
        0 => "not yet",
        1 => "done",
        _ => "refused",
    }
    .to_owned()
}
