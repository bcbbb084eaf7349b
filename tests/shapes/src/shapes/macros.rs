//! `select!`, `join!` and `try_join!`, of tokio and of futures: the line is that
//! of the macro's call.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::LONG;
use super::calls::{notified, rest};
use crate::parked::{keep, spawn};

async fn ready(number: u32) -> u32 {
    number
}

async fn fallible(number: u32) -> io::Result<u32> {
    Ok(rest(number).await) // @fallible
}

async fn failing(notify: Arc<Notify>) -> io::Result<()> {
    notified(notify).await; // @failing
    Err(io::ErrorKind::Other.into())
}

async fn selects(mut receiver: mpsc::Receiver<u8>, notify: Arc<Notify>) {
    let mut ticks = 0;
    loop {
        tokio::select! { // @selects
            value = receiver.recv() => if value.is_none() { break },
            () = sleep(LONG) => ticks += 1,
            () = notified(notify.clone()) => {}
            number = rest(5) => ticks += number,
        }
    }
    std::hint::black_box(ticks);
}

async fn selects_biased(notify: Arc<Notify>) {
    tokio::select! { // @selects_biased
        biased;
        number = rest(1) => drop(std::hint::black_box(number)),
        () = notified(notify) => {}
    }
}

/// One of them is not even polled.
async fn selects_with_condition(notify: Arc<Notify>, is_wanted: bool) {
    tokio::select! { // @selects_with_condition
        () = notified(notify) => {}
        () = sleep(LONG), if is_wanted => {}
        else => {}
    }
}

async fn selects_within(notify: Arc<Notify>) {
    tokio::select! { // @selects_within
        () = notified(notify.clone()) => {}
        () = selects_biased(notify) => {}
    }
}

async fn selects_in_arms(notify: Arc<Notify>) {
    tokio::select! { // @selects_in_arms
        () = async {
            tokio::select! { // @arm
                number = rest(3) => drop(std::hint::black_box(number)),
                () = notify.notified() => {}
            }
        } => {}
        () = sleep(LONG) => {}
    }
}

/// The first two are over.
async fn selects_in_turn(notify: Arc<Notify>) {
    tokio::select! {
        number = ready(1) => drop(std::hint::black_box(number)),
        () = notified(notify.clone()) => {}
    }
    tokio::select! {
        number = ready(2) => drop(std::hint::black_box(number)),
        () = notified(notify.clone()) => {}
    }
    tokio::select! { // @third_select
        number = rest(2) => drop(std::hint::black_box(number)),
        () = notified(notify) => {}
    }
}

/// The same types in both: only the order tells which it is.
async fn selects_alike(notify: Arc<Notify>, is_first: bool) {
    if is_first {
        tokio::select! { // @first_alike
            number = rest(2) => drop(std::hint::black_box(number)),
            () = notified(notify.clone()) => {}
        }
    }
    tokio::select! { // @second_alike
        number = rest(2) => drop(std::hint::black_box(number)),
        () = notified(notify) => {}
    }
}

async fn selects_by_reference() {
    let future = rest(2);
    tokio::pin!(future);
    let mut rounds = 0;
    loop {
        tokio::select! { // @selects_by_reference
            number = &mut future => drop(std::hint::black_box(number)),
            number = ready(rounds), if rounds < 3 => rounds += number.max(1),
        }
        if rounds > 5 {
            break;
        }
    }
}

async fn work_in_arm() {
    tokio::select! {
        number = ready(2) => {
            rest(number).await; // @work_in_arm
        }
        () = sleep(LONG) => {}
    }
}

async fn joins(notify: Arc<Notify>) {
    let (number, (), _) = tokio::join!(
        // @joins
        rest(3),
        notified(notify),
        ready(5),
    );
    std::hint::black_box(number);
}

async fn tries_to_join(notify: Arc<Notify>) {
    let joined = tokio::try_join!(fallible(1), failing(notify)); // @tries_to_join
    drop(joined);
}

async fn joins_selects(notify: Arc<Notify>) {
    tokio::join!(selects_biased(notify.clone()), async {
        // @joins_selects
        notified(notify).await; // @joined_block
    });
}

async fn futures_joins(notify: Arc<Notify>) {
    let (number, ()) = futures::join!(rest(3), notified(notify)); // @futures_joins
    std::hint::black_box(number);
}

async fn futures_tries_to_join(notify: Arc<Notify>) {
    drop(futures::try_join!(fallible(1), failing(notify))); // @futures_tries_to_join
}

async fn futures_selects(notify: Arc<Notify>) {
    let first = rest(1).fuse();
    let second = notified(notify).fuse();
    futures::pin_mut!(first, second);
    loop {
        futures::select! { // @futures_selects
            number = first => drop(std::hint::black_box(number)),
            () = second => {}
            complete => break,
        }
    }
}

async fn futures_selects_biased(notify: Arc<Notify>) {
    let mut first = Box::pin(rest(1).fuse());
    let mut second = Box::pin(notified(notify).fuse());
    futures::select_biased! { // @futures_selects_biased
        number = first => drop(std::hint::black_box(number)),
        () = second => {}
    }
}

const REST: &str = "rest > ~Sleep";
const NOTIFIED: &str = "notified > ~Notified";

/// Both of them, at a mark.
fn both(mark: &str) -> String {
    format!("{mark} > [{REST}, {NOTIFIED}]")
}

pub(super) fn spawn_all() {
    let notify = Arc::new(Notify::new());
    let (sender, receiver) = mpsc::channel(4);
    keep(sender);
    let tree = format!("selects > [~mpsc, ~Sleep, {NOTIFIED}, {REST}]");
    spawn("select!", &tree, selects(receiver, notify.clone()));
    spawn("biased select!", &both("selects_biased"), selects_biased(notify.clone()));
    let tree = format!("selects_with_condition > [{NOTIFIED}, ~Sleep]");
    spawn("select! with a condition", &tree, selects_with_condition(notify.clone(), false));
    let tree = format!("selects_within > [{NOTIFIED}, {}]", both("selects_biased"));
    spawn("select! within select!", &tree, selects_within(notify.clone()));
    let tree = format!("selects_in_arms > [arm > [{REST}, ~Notified], ~Sleep]");
    spawn("select! in an arm", &tree, selects_in_arms(notify.clone()));
    spawn("select! after select!", &both("third_select"), selects_in_turn(notify.clone()));
    spawn("first of equal select!s", &both("first_alike"), selects_alike(notify.clone(), true));
    spawn("second of equal select!s", &both("second_alike"), selects_alike(notify.clone(), false));
    let tree = format!("selects_by_reference > {REST}");
    spawn("select! by reference", &tree, selects_by_reference());
    spawn("work of an arm", "work_in_arm > rest > ~Sleep", work_in_arm());
    spawn("join!", &both("joins"), joins(notify.clone()));
    let tree = format!("tries_to_join > [fallible > {REST}, failing > {NOTIFIED}]");
    spawn("try_join!", &tree, tries_to_join(notify.clone()));
    let tree = format!("joins_selects > [{}, joined_block > {NOTIFIED}]", both("selects_biased"));
    spawn("join! of select!", &tree, joins_selects(notify.clone()));
    spawn("futures::join!", &both("futures_joins"), futures_joins(notify.clone()));
    let tree = format!("futures_tries_to_join > [fallible > {REST}, failing > {NOTIFIED}]");
    spawn("futures::try_join!", &tree, futures_tries_to_join(notify.clone()));
    // Its closure keeps references in an order that it shuffles.
    let any_order = |mark: &str| format!("{mark} > {{{REST}, {NOTIFIED}}}");
    spawn("futures::select!", &any_order("futures_selects"), futures_selects(notify.clone()));
    let tree = any_order("futures_selects_biased");
    spawn("futures::select_biased!", &tree, futures_selects_biased(notify));
}
