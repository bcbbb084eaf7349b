//! A daemon that does what it is told: commands on stdin, one line each, one
//! line of answer on stdout. Its reports go to stderr, which the test chooses.
//!
//! With the argument `arm` it calls `arm()` first. It ends with its stdin.

mod child;
mod life;
mod listen;
mod output;
mod scopes;
mod seams;
mod sections;
mod setup;
mod stacks;
mod trouble;

use core::time::Duration;
use std::env;
use std::io::{self, BufRead, Write};
use std::process;
use std::sync::mpsc::channel;
use std::thread;

use output::Output;
use setup::Reports;

fn main() {
    if env::args().any(|argument| argument == "arm") {
        gmr_std::arm();
    }
    listen::default_sigpipe();
    let mut stdout = io::stdout();
    writeln!(stdout, "ready {}", process::id()).expect("stdout");
    serve(&mut Puppet::default(), &mut io::stdin().lock(), &mut stdout);
}

#[derive(Default)]
pub(crate) struct Puppet {
    reports: Reports,
    listeners: listen::Listeners,
    orders: output::Waiting,
    scoped: scopes::Scoped,
    child: Option<child::Child>,
    kept: Vec<rustix::fd::OwnedFd>,
    trouble: trouble::Trouble,
}

pub(crate) fn serve(puppet: &mut Puppet, input: &mut impl BufRead, output: &mut impl Write) {
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line).is_ok_and(|count| count == 0) {
            return;
        }
        let answer = puppet.obey(line.trim_end());
        writeln!(output, "{answer}").expect("somebody who listens");
        output.flush().expect("somebody who listens");
    }
}

impl Puppet {
    fn obey(&mut self, command: &str) -> String {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        match word {
            "ping" => "pong".to_owned(),
            "std" => self.reports.std(rest),
            "core-autorun" => self.reports.core_autorun(rest),
            "core-trigger" => self.reports.core_trigger(rest),
            "core-plain" => self.reports.core_plain(rest),
            "other-core-autorun" => self.reports.other_core_autorun(rest),
            "run" => self.reports.run(),
            "run-thread" => self.reports.run_thread(),
            "running" => self.reports.reporter().supervisors_running().to_string(),
            "request" => self.reports.request(),
            "report-here" => self.reports.report_here(),
            "stats" => self.reports.stats(),
            "last" => self.reports.last(),
            "scoped" => self.scoped.start(rest),
            "in" => self.scoped.tell(rest),
            "shutdown" => self.reports.shutdown(),
            "register" => self.reports.register(rest),
            "unregister" => self.reports.unregister(rest),
            "unregister-thread" => self.reports.unregister_thread(rest),
            "unregistered" => setup::unregistered(),
            "stick" => sections::stick(true),
            "unstick" => sections::stick(false),
            "entered" => sections::entered(),
            "left" => sections::left(),
            "set-destination" => self.reports.reporter().set(number(rest)),
            "reopen" => self.reports.reporter().reopen(rest),
            "connect" => self.reports.reporter().connect(rest),
            "switch-threads" => self.reports.reporter().switch_threads(rest),
            "release" => self.reports.reporter().release(),
            "release-thread" => self.orders.later(self.reports.reporter(), Output::release),
            "order" => self.reports.reporter().order(rest),
            "order-thread" => {
                let order = rest.to_owned();
                self.orders.later(self.reports.reporter(), move |reports| reports.order(&order))
            }
            "orders" => self.reports.reporter().orders(rest),
            "answer" => self.orders.answer(),
            "limit-descriptors" => output::limit_descriptors(),
            "threads" => threads(number(rest)),
            "raise" => listen::raise(number(rest)),
            "listen-hook" => self.listeners.hook(number(rest)),
            "listen-tokio" => self.listeners.tokio(number(rest)),
            "heard" => self.listeners.heard(),
            "fork" => self.fork(),
            "child" => match &mut self.child {
                Some(child) => child.ask(rest),
                None => "no child".to_owned(),
            },
            "close" => child::close(number(rest)),
            "steal" => child::steal(&mut self.kept, rest),
            "stolen-bytes" => child::stolen_bytes(&self.kept),
            "take-capture-signals" => listen::take_capture_signals(),
            "grow-heap" => listen::grow_heap(),
            "block" => listen::block(number(rest)),
            _ => life::obey(word, rest)
                .or_else(|| self.trouble.obey(word, rest))
                .or_else(|| stacks::obey(word))
                .or_else(|| seams::obey(word))
                .unwrap_or_else(|| format!("what is {command:?}?")),
        }
    }

    fn fork(&mut self) -> String {
        match child::Child::fork() {
            child::Forked::Parent(child) => {
                let pid = child.pid();
                self.child = Some(child);
                pid.to_string()
            }
            child::Forked::Child(input, mut output) => {
                serve(self, &mut io::BufReader::new(input), &mut output);
                // Without the parent's destructors.
                process::exit(0)
            }
        }
    }
}

fn number(text: &str) -> i32 {
    text.parse().expect("a number")
}

/// Starts parked threads; returns when all have begun.
fn threads(count: i32) -> String {
    let (sender, receiver) = channel();
    for index in 0..count {
        let sender = sender.clone();
        let started = thread::Builder::new().name(format!("parked-{index}")).spawn(move || {
            let _ = sender.send(());
            drop(sender);
            parked_for_the_test()
        });
        if let Err(error) = started {
            return error.to_string();
        }
    }
    drop(sender);
    while receiver.recv().is_ok() {}
    "ok".to_owned()
}

#[inline(never)]
fn parked_for_the_test() {
    loop {
        thread::park_timeout(Duration::from_secs(3600));
    }
}
