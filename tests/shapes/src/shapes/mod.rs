//! The shapes, by what makes them: one module for each library or way to write.
//!
//! A module's last function spawns its tasks. Marks (`// @name`) are unique among
//! all of them; [`crate::truth`] says how trees are written.

mod calls;
mod closures;
mod combinators;
mod controls;
mod http;
mod io;
mod join;
mod macros;
mod manual;
mod objects;
mod streams;
mod sync;
mod tasks;
mod time;
mod towers;

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Whatever has marks.
pub(crate) const SOURCES: &[(&str, &str)] = &[
    ("src/shapes/calls.rs", include_str!("calls.rs")),
    ("src/shapes/closures.rs", include_str!("closures.rs")),
    ("src/shapes/combinators.rs", include_str!("combinators.rs")),
    ("src/shapes/controls.rs", include_str!("controls.rs")),
    ("src/shapes/http.rs", include_str!("http.rs")),
    ("src/shapes/io.rs", include_str!("io.rs")),
    ("src/shapes/join.rs", include_str!("join.rs")),
    ("src/shapes/macros.rs", include_str!("macros.rs")),
    ("src/shapes/manual.rs", include_str!("manual.rs")),
    ("src/shapes/objects.rs", include_str!("objects.rs")),
    ("src/shapes/streams.rs", include_str!("streams.rs")),
    ("src/shapes/sync.rs", include_str!("sync.rs")),
    ("src/shapes/tasks.rs", include_str!("tasks.rs")),
    ("src/shapes/time.rs", include_str!("time.rs")),
    ("src/shapes/towers.rs", include_str!("towers.rs")),
];

/// The tasks of the runtime that this is called in.
pub(crate) async fn spawn_all() {
    calls::spawn_all();
    closures::spawn_all();
    combinators::spawn_all();
    controls::spawn_all();
    http::spawn_all().await;
    io::spawn_all().await;
    join::spawn_all();
    macros::spawn_all();
    manual::spawn_all();
    objects::spawn_all();
    streams::spawn_all();
    sync::spawn_all();
    tasks::spawn_all();
    time::spawn_all();
    towers::spawn_all();
}

/// Tasks of a `LocalSet`, on a current-thread runtime and a thread of their own.
pub(crate) fn spawn_local() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        crate::report::register(runtime.handle());
        let set = LocalSet::new();
        crate::report::register_local_set(&set);
        closures::spawn_local(&set);
        tasks::spawn_local(&set);
        // As the last of its tasks this one says that the others have been polled.
        set.spawn_local(async move { sender.send(()).expect("a receiver") });
        runtime.block_on(set.run_until(std::future::pending::<()>()));
    };
    std::thread::Builder::new().name("local-set".into()).spawn(run).expect("a thread");
    receiver.recv().expect("a set that runs");
}

/// Tasks of a runtime that nobody runs: they were never polled.
pub(crate) fn spawn_idle() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    crate::report::register(runtime.handle());
    tasks::spawn_new(runtime.handle());
    crate::parked::keep(runtime);
}
