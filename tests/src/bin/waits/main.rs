//! A daemon whose threads wait, each in a way of its own.
//!
//! `waits SCENARIO [json]` sets the scenario up, waits until every thread of it
//! is where it belongs, and says `ready` and what the test has to know: `NAME=TID`
//! of each thread, `LOCK=ADDRESS` of each lock. `waits tracer TID` stops that
//! thread by ptrace(2) and says `ready`. Both end with their stdin.
#![allow(unsafe_code, reason = "calls libc")]

use std::env;
use std::io::{self, BufRead};

use gmr_std::View;

mod calls;
mod kit;
mod locks;
mod near;

use kit::Scene;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let scenario = arguments.first().map_or("", String::as_str);
    if scenario == "tracer" {
        return calls::trace(arguments[1].parse()?);
    }
    if scenario == "not-dumpable" {
        // As a daemon that gives its privileges up: the kernel makes it so.
        calls::become_nobody();
    }
    let view =
        if arguments.get(1).is_some_and(|it| it == "json") { View::Json } else { View::Text };
    gmr_std::setup_autorun(gmr_std::package!()).view(view).install()?;
    let mut scene = Scene::default();
    match scenario {
        "deadlock-2" => locks::deadlock(&mut scene, 2),
        "deadlock-3" => locks::deadlock(&mut scene, 3),
        "deadlock-self" => locks::deadlock(&mut scene, 1),
        "timed-circle" => locks::timed_circle(&mut scene),
        "deadlock-join" => locks::deadlock_by_join(&mut scene),
        "crowd" => locks::held_mutex(&mut scene, libc::PTHREAD_PRIO_NONE, false, 30),
        "pi" => locks::held_mutex(&mut scene, libc::PTHREAD_PRIO_INHERIT, false, 2),
        "robust" => locks::held_mutex(&mut scene, libc::PTHREAD_PRIO_NONE, true, 2),
        "gone" => locks::gone(&mut scene),
        "rwlock" => locks::written(&mut scene),
        "chain" => locks::chain(&mut scene),
        "std" => locks::std_mutex(&mut scene),
        "join" => locks::join(&mut scene),
        "near" => near::misses(&mut scene),
        "calls" | "not-dumpable" => calls::several(&mut scene),
        "vfork" => calls::vfork(&mut scene),
        "main-ended" => {
            calls::several(&mut scene);
            scene.say();
            calls::end_main_thread();
        }
        "nothing" => {}
        other => return Err(format!("no scenario {other:?}").into()),
    }
    scene.say();
    for line in io::stdin().lock().lines() {
        line?;
        println!("pong");
    }
    // Threads that hang are not waited for.
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}
