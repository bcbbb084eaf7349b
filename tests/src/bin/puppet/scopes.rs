//! Threads that enter and leave scopes when they are told to.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use gmr_std::{Scope, ThisThread};

#[derive(Default)]
pub(crate) struct Scoped {
    threads: HashMap<String, (Sender<String>, Receiver<String>)>,
    /// Of the thread that obeys.
    here: Actor,
}

impl Scoped {
    /// `NAME`, and the signals it blocks: starts a thread, answers its number.
    pub(crate) fn start(&mut self, rest: &str) -> String {
        let mut words = rest.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        let blocked: Vec<i32> = words.filter_map(|word| word.parse().ok()).collect();
        let (order, orders) = channel::<String>();
        let (answer, answers) = channel();
        let started = thread::Builder::new().name(name.clone()).spawn(move || {
            for signal in blocked {
                crate::listen::block(signal);
            }
            let _ = answer.send(gettid());
            follow(&orders, &answer);
        });
        if let Err(error) = started {
            return error.to_string();
        }
        let tid = answers.recv().expect("a thread that starts");
        self.threads.insert(name, (order, answers));
        tid
    }

    /// `NAME ORDER`: has a thread do it and waits until it is done. `here` is
    /// the thread that obeys.
    pub(crate) fn tell(&mut self, rest: &str) -> String {
        let (name, order) = rest.split_once(' ').unwrap_or((rest, ""));
        if name == "here" {
            return self.here.obey(order);
        }
        let Some((orders, answers)) = self.threads.get(name) else {
            return format!("no thread {name}");
        };
        orders.send(order.to_owned()).expect("a thread that listens");
        answers.recv().unwrap_or_else(|_| "it ended".to_owned())
    }
}

#[inline(never)]
fn follow(orders: &Receiver<String>, answers: &Sender<String>) {
    let mut actor = Actor::default();
    while let Ok(order) = orders.recv() {
        if order == "leak-and-end" {
            std::mem::forget(actor);
            return;
        }
        let _ = answers.send(actor.obey(&order));
    }
}

#[derive(Default)]
struct Actor(Vec<Scope>);

impl Actor {
    fn obey(&mut self, order: &str) -> String {
        let mut words = order.splitn(3, ' ');
        let word = words.next().unwrap_or_default();
        // Leaked: labels are the program's constants.
        let label: &'static str = String::leak(words.next().unwrap_or_default().to_owned());
        let detail = words.next().unwrap_or_default();
        match word {
            "enter" => self.0.push(Scope::enter_with(label, detail)),
            "enter-std" => self.0.push(gmr_std::scope!(label)),
            "format" => self.0.push(gmr_std::scope!(label, "<{detail}>")),
            "fill" => {
                let here = ThisThread::get();
                let count = detail.parse().expect("a number");
                self.0.extend((0..count).map(|_: u32| here.enter(label)));
            }
            "leave" => drop(self.0.pop()),
            "leave-all" => self.0.clear(),
            _ => return format!("what is {order:?}?"),
        }
        "ok".to_owned()
    }
}

fn gettid() -> String {
    rustix::thread::gettid().as_raw_nonzero().to_string()
}
