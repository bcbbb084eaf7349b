//! Blocked workers and stalled runtimes as findings, with the frame that blocks.
//!
//! The frame is the first one of the thread's stack, from its innermost on, that is
//! neither the C library's, Rust's libraries' nor tokio's: the program's own.

use gmr_core::model::{FindingCode, Frame};
use gmr_core::section::Stacks;

use super::collection::{Collection, WorkerSeen};
use super::runtime::describe;
use crate::setup::State;
use crate::text::Text;

/// Threads that a finding of a whole runtime names.
const MAX_TIDS: usize = 64;

/// Frames that are looked at.
const MAX_FRAMES: u32 = 128;

pub(super) fn give(
    state: &'static State,
    collection: &Collection,
    stacks: &dyn Stacks,
    give: &mut dyn FnMut(FindingCode, &str, &[u32]),
) {
    give_stalled(collection, give);
    for worker in collection.workers.iter().filter(|worker| worker.blocked.is_some()) {
        let thread = worker.thread.and_then(|number| collection.threads.get(number));
        let Some(thread) = thread else { continue };
        let mut text = Text::<384>::new();
        describe(collection, worker, &mut text);
        add_task(state, collection, worker, &mut text);
        add_frame(thread.tid, stacks, &mut text);
        give(FindingCode::BlockedWorker, text.as_str(), &[thread.tid]);
    }
}

/// Runtimes of which every worker is blocked.
fn give_stalled(collection: &Collection, give: &mut dyn FnMut(FindingCode, &str, &[u32])) {
    for (number, runtime) in collection.runtimes.iter().enumerate() {
        let Some(registered) = runtime.registered else { continue };
        let of_this = || collection.workers.iter().filter(|worker| worker.runtime == number);
        let all = of_this().count();
        if all == 0 || of_this().any(|worker| worker.blocked.is_none()) {
            continue;
        }
        let mut tids = heapless::Vec::<u32, MAX_TIDS>::new();
        for worker in of_this() {
            let thread = worker.thread.and_then(|number| collection.threads.get(number));
            if let Some(thread) = thread {
                let _ = tids.push(thread.tid);
            }
        }
        let mut text = Text::<256>::new();
        let word = if all == 1 { "the only worker" } else { "all workers" };
        text.text(word).text(" of runtime ").number((number as u64).saturating_add(1));
        text.text(" (").text(runtime.flavor.word()).text(") ");
        text.text(if all == 1 { "is" } else { "are" }).text(" blocked; ");
        text.number(registered.metrics.num_alive_tasks() as u64).text(" tasks alive, ");
        text.number(registered.metrics.global_queue_depth() as u64);
        text.text(" in the global queue: see Runtime");
        give(FindingCode::StalledRuntime, text.as_str(), &tids);
    }
}

/// Which task it is: what it is, where it is defined, and where it was spawned.
fn add_task(
    state: &'static State,
    collection: &Collection,
    worker: &WorkerSeen,
    text: &mut Text<384>,
) {
    let Some(id) = worker.blocked.map(|blocked| blocked.poll.task) else { return };
    if let Some(facts) = collection.tracked.find(id) {
        if !facts.name.as_str().is_empty() {
            text.text("; its name is ").text(facts.name.as_str());
        }
        text.text("; spawned at ").place(facts.spawned.file(), facts.spawned.line());
    }
    let table = state.table().map(|table| table.loaded.table());
    let kind = collection.arena.task(id).and_then(|seen| seen.kind);
    let task = table.zip(kind).and_then(|(table, kind)| table.task(kind));
    if let (Some(table), Some(task)) = (table, task) {
        if let Some(ty) = table.ty(task.future) {
            text.text("; it is ").name(ty.name);
        }
        if task.line != 0 {
            text.text(", defined at ").place(task.file, task.line);
        }
    }
}

fn add_frame(tid: u32, stacks: &dyn Stacks, text: &mut Text<384>) {
    let mut looked = 0_u32;
    stacks.frames(tid, &mut |frame| {
        looked = looked.saturating_add(1);
        if !is_own(frame) {
            return looked < MAX_FRAMES;
        }
        if let Some(function) = frame.function {
            text.text("; it blocks in ").text(function);
            if let (Some(file), Some(line)) = (frame.file, frame.line) {
                text.text(", ").lossy(file).text(":").number(u64::from(line));
            }
        }
        false
    });
}

/// Whether a frame is the program's own.
fn is_own(frame: &Frame<'_>) -> bool {
    const LIBRARIES: [&str; 5] = ["std", "core", "alloc", "tokio", "gmr_tokio"];
    const OBJECTS: [&[u8]; 4] = [b"libc.so", b"ld-linux", b"libpthread", b"linux-vdso"];
    let Some(function) = frame.function else { return false };
    if frame.is_signal_frame {
        return false;
    }
    let module = frame.module.unwrap_or_default();
    if OBJECTS.iter().any(|object| module.starts_with(object)) {
        return false;
    }
    if let Some(file) = frame.file {
        let contains = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
        if file.starts_with(b"library/") || contains(b"/library/std/") || contains(b"/rustc/") {
            return false;
        }
        if file.starts_with(b"tokio-1.") || contains(b"/tokio-1.") {
            return false;
        }
    }
    // `<std::…>::f`, `<&mut tokio::…>::f`.
    let path = function.trim_start_matches(['<', '&', '*', '(']);
    let path = path.strip_prefix("mut ").or(path.strip_prefix("dyn ")).unwrap_or(path);
    let root = path.split("::").next().unwrap_or_default();
    // A function without a path may be C's: the program's own, if it is in its file.
    !LIBRARIES.contains(&root) && (path.contains("::") || frame.file.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<'a>(function: &'a str, file: Option<&'a str>, module: &'a str) -> Frame<'a> {
        let mut frame = Frame::bare(0, 0x1000);
        frame.function = Some(function);
        frame.file = file.map(str::as_bytes);
        frame.module = Some(module.as_bytes());
        frame
    }

    #[test]
    fn the_programs_own_frames_are_told_from_libraries() {
        let not_own = [
            ("clock_nanosleep", None, "libc.so.6"),
            ("std::thread::sleep", Some("library/std/src/thread/mod.rs"), "heat"),
            ("sleep", Some("library/std/src/thread/mod.rs"), "heat"),
            ("<core::pin::Pin<P> as core::future::future::Future>::poll", None, "heat"),
            (
                "tokio::runtime::task::raw::poll<…>",
                Some("tokio-1.54.1/src/runtime/task/raw.rs"),
                "heat",
            ),
            ("poll<…>", Some("/cargo/registry/src/x/tokio-1.47.1/src/runtime/task/raw.rs"), "heat"),
            ("nameless", None, "heat"),
        ];
        for (function, file, module) in not_own {
            assert!(!is_own(&frame(function, file, module)), "{function}");
        }
        let own = [
            ("heat::db::throttle", None, "heat"),
            ("<heat::db::Pool as core::future::future::Future>::poll", Some("src/db.rs"), "heat"),
            ("{async_fn#0}", Some("src/db.rs"), "heat"),
            ("standard::f", None, "heat"),
            ("tokio_util::codec::f", Some("tokio-util-0.7/src/codec.rs"), "heat"),
        ];
        for (function, file, module) in own {
            assert!(is_own(&frame(function, file, module)), "{function}");
        }
        let mut signal = frame("heat::f", None, "heat");
        signal.is_signal_frame = true;
        assert!(!is_own(&signal));
    }
}
