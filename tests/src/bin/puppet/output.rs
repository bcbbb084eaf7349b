//! Where reports go, changed while the daemon runs, and reports on demand.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use gmr_core::{DestinationError, Reporter, ViewKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::number;

fn told(result: Result<(), DestinationError>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

/// The commands.
pub(crate) trait Output {
    fn set(self, fd: i32) -> String;
    fn reopen(self, path: &str) -> String;
    fn connect(self, path: &str) -> String;
    fn switch_threads(self, rest: &str) -> String;
    fn release(self) -> String;
    fn order(self, rest: &str) -> String;
    fn orders(self, rest: &str) -> String;
}

impl Output for &'static Reporter {
    fn set(self, fd: i32) -> String {
        told(self.set_destination(fd))
    }

    /// As at SIGHUP: the file is made if it is not there.
    fn reopen(self, path: &str) -> String {
        match File::options().append(true).create(true).open(path) {
            Ok(file) => match crate::setup::handle_of(self) {
                Some(handle) => told(handle.set_destination(&file)),
                None => self.set(file.as_raw_fd()),
            },
            Err(error) => error.to_string(),
        }
    }

    fn connect(self, path: &str) -> String {
        match UnixStream::connect(path) {
            Ok(stream) => self.set(stream.as_raw_fd()),
            Err(error) => error.to_string(),
        }
    }

    /// `THREADS TIMES PATH PATH…`: each thread switches between the files.
    fn switch_threads(self, rest: &str) -> String {
        let words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        let [threads, times, paths @ ..] = &words[..] else { return "?".to_owned() };
        let threads: Vec<_> = (0..number(threads))
            .map(|_| {
                let (times, paths) = (number(times), paths.to_vec());
                thread::spawn(move || {
                    let paths = paths.iter().cycle();
                    let all = paths.take(usize::try_from(times).expect("a number"));
                    all.map(|path| self.reopen(path)).find(|answer| answer != "ok")
                })
            })
            .collect();
        let failed = threads.into_iter().filter_map(|thread| thread.join().expect("a switcher"));
        failed.last().unwrap_or_else(|| "ok".to_owned())
    }

    fn release(self) -> String {
        told(match crate::setup::handle_of(self) {
            Some(handle) => handle.release_destination(),
            None => self.release_destination(),
        })
    }

    /// `VIEW PATH`: by gmr-std's way, into the file.
    fn order(self, rest: &str) -> String {
        let (view, path) = rest.split_once(' ').expect("a view and a path");
        let mut file = File::create(path).expect("a file");
        let view = match view {
            "json" => ViewKind::Json,
            "line" => ViewKind::JsonLine,
            _ => ViewKind::Text,
        };
        if let Some(handle) = crate::setup::handle_of(self) {
            return match handle.report_to(&mut file, view) {
                Ok(outcome) => format!("ok {} {}", outcome.sequence, outcome.is_complete),
                Err(gmr_std::ReportError::Core(error)) => format!("{error:?}"),
                Err(error) => format!("{error:?}"),
            };
        }
        match self.report_to_fd(file.as_raw_fd(), view) {
            Ok(outcome) => format!("ok {} {}", outcome.sequence, outcome.is_complete),
            Err(error) => format!("{error:?}"),
        }
    }

    /// `THREADS TIMES PATH`: each thread orders into PATH.THREAD.TIME. The
    /// answer: how many were busy.
    fn orders(self, rest: &str) -> String {
        let words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
        let [threads, times, path] = &words[..] else { return "?".to_owned() };
        let threads: Vec<_> = (0..number(threads))
            .map(|index| {
                let (times, path) = (number(times), path.clone());
                thread::spawn(move || {
                    let mut busy = 0;
                    for time in 0..times {
                        loop {
                            let answer = self.order(&format!("text {path}.{index}.{time}"));
                            if answer == "Busy" {
                                busy += 1;
                                thread::yield_now();
                                continue;
                            }
                            assert!(answer.starts_with("ok ") && answer.ends_with(" true"));
                            break;
                        }
                    }
                    busy
                })
            })
            .collect();
        let busy = threads.into_iter().map(|thread| thread.join().expect("a caller"));
        busy.sum::<u32>().to_string()
    }
}

/// Commands that are carried out on threads of their own.
#[derive(Default)]
pub(crate) struct Waiting(Vec<Receiver<String>>);

impl Waiting {
    pub(crate) fn later(
        &mut self,
        reporter: &'static Reporter,
        command: impl FnOnce(&'static Reporter) -> String + Send + 'static,
    ) -> String {
        let (sender, receiver) = channel();
        self.0.push(receiver);
        thread::spawn(move || sender.send(command(reporter)));
        "ok".to_owned()
    }

    /// The first answer that there is.
    pub(crate) fn answer(&mut self) -> String {
        for index in 0..self.0.len() {
            match self.0[index].try_recv() {
                Ok(answer) => {
                    drop(self.0.remove(index));
                    return answer;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return "it panicked".to_owned(),
            }
        }
        "not yet".to_owned()
    }
}

/// No further descriptor, from now on.
pub(crate) fn limit_descriptors() -> String {
    let maximum = getrlimit(Resource::Nofile).maximum;
    match setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum }) {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}
