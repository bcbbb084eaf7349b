//! Combinators of the futures crate: one future made of another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::future::{
    self, AbortHandle, Abortable, Either, FutureExt, OptionFuture, TryFutureExt,
};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::LONG;
use super::calls::{notified, rest};
use crate::parked::{keep, spawn};

async fn mapped() {
    rest(1).map(|number| number + 1).await; // @mapped
}

async fn then() {
    let second = |number| async move {
        rest(number).await // @then_second
    };
    future::ready(1).then(second).map(|number| number + 1).boxed().await; // @then
}

async fn then_first() {
    rest(1).then(|number| future::ready(number + 1)).await; // @then_first
}

async fn shared() {
    let shared = rest(8).boxed().shared();
    keep(shared.clone());
    shared.await; // @shared
}

async fn abortable() {
    let (handle, registration) = AbortHandle::new_pair();
    keep(handle);
    let _ = Abortable::new(rest(1), registration).await; // @abortable
}

async fn caught() {
    let _ = AssertUnwindSafe(rest(1)).catch_unwind().await; // @caught
}

/// The panic of the first has been caught.
async fn after_a_panic() {
    let panics = async {
        tokio::task::yield_now().await;
        std::panic::resume_unwind(Box::new(1));
    };
    let result = AssertUnwindSafe(panics).catch_unwind().await;
    rest(u32::from(result.is_err())).await; // @after_a_panic
}

async fn selected(notify: Arc<Notify>) {
    future::select(Box::pin(rest(1)), Box::pin(notified(notify))).await; // @selected
}

async fn selected_all() {
    let futures = (1..4).map(|number| rest(number).boxed());
    future::select_all(futures).await; // @selected_all
}

async fn selected_ok() {
    let futures = (1..3).map(|number| {
        let future = async move {
            Ok::<u32, ()>(rest(number).await) // @select_ok_inner
        };
        future.boxed()
    });
    let _ = future::select_ok(futures).await; // @selected_ok
}

async fn either(is_left: bool) {
    let either = if is_left { Either::Left(rest(1).map(drop)) } else { Either::Right(sleep(LONG)) };
    either.await; // @either
}

async fn optional() {
    let option: OptionFuture<_> = Some(rest(1)).into();
    option.await; // @optional
}

async fn flattened() {
    let outer = async {
        tokio::task::yield_now().await;
        rest(1)
    };
    outer.flatten().await; // @flattened
}

async fn flattened_first() {
    let outer = async {
        rest(1).await; // @flatten_inner
        future::ready(1)
    };
    outer.flatten().await; // @flattened_first
}

async fn fused() {
    rest(1).fuse().await; // @fused
}

async fn tried() {
    let first = async {
        tokio::task::yield_now().await;
        Ok::<u32, String>(1)
    };
    let second = |number| async move {
        Ok(rest(number).await) // @tried_second
    };
    let tried = first.and_then(second).map_err(|error| error.len()).map_ok(|number| number + 1);
    let _ = tried.inspect_err(|error| assert!(*error < 9)).await; // @tried
}

async fn otherwise() {
    let failing = async { Err::<u32, u32>(1) };
    let second = |number| async move {
        Ok::<u32, u32>(rest(number).await) // @or_else_second
    };
    let _ = failing.or_else(second).await; // @otherwise
}

async fn joined(notify: Arc<Notify>) {
    future::join3(rest(1), notified(notify), future::ready(1)).await; // @joined
}

async fn remote() {
    let (remote, handle) = rest(1).remote_handle();
    keep(handle);
    remote.await; // @remote
}

async fn polled_by_closure() {
    let mut future = Box::pin(rest(1));
    future::poll_fn(move |context| future.as_mut().poll(context)).await; // @polled_by_closure
}

async fn polled_by_borrowing_closure() {
    let mut future = std::pin::pin!(rest(1));
    std::future::poll_fn(|context| future.as_mut().poll(context)).await; // @borrowing_closure
}

async fn many(notify: Arc<Notify>) {
    let future = notified(notify).map(|()| 1).inspect(|_| ()).boxed().fuse().unit_error();
    let _ = future.map_ok_or_else(|()| 0, |number| number).boxed().await; // @many
}

const REST: &str = "rest > ~Sleep";

pub(super) fn spawn_all() {
    let notify = Arc::new(Notify::new());
    spawn("map", "mapped > rest > ~Sleep", mapped());
    spawn("then", "then > then_second > rest > ~Sleep", then());
    spawn("then, at its first", "then_first > rest > ~Sleep", then_first());
    // What it shares is behind a lock of std's and a flag.
    spawn("shared", "shared > ? rest > ~Sleep", shared());
    spawn("abortable", "abortable > rest > ~Sleep", abortable());
    spawn("catch_unwind", "caught > rest > ~Sleep", caught());
    if cfg!(panic = "unwind") {
        spawn("after a panic", "after_a_panic > rest > ~Sleep", after_a_panic());
    }
    let tree = "selected > [rest > ~Sleep, notified > ~Notified]";
    spawn("select", tree, selected(notify.clone()));
    spawn("select_all", "selected_all > rest*3 > ~Sleep", selected_all());
    spawn("select_ok", "selected_ok > select_ok_inner*2 > rest > ~Sleep", selected_ok());
    spawn("either left", "either > rest > ~Sleep", either(true));
    spawn("either right", "either > ~Sleep", either(false));
    spawn("OptionFuture", "optional > rest > ~Sleep", optional());
    spawn("flatten", "flattened > rest > ~Sleep", flattened());
    spawn(
        "flatten, at its first",
        "flattened_first > flatten_inner > rest > ~Sleep",
        flattened_first(),
    );
    spawn("fuse", "fused > rest > ~Sleep", fused());
    spawn("and_then", "tried > tried_second > rest > ~Sleep", tried());
    spawn("or_else", "otherwise > or_else_second > rest > ~Sleep", otherwise());
    spawn("join3", &format!("joined > [{REST}, notified > ~Notified]"), joined(notify.clone()));
    spawn("remote_handle", "remote > rest > ~Sleep", remote());
    spawn("poll_fn", "polled_by_closure > rest > ~Sleep", polled_by_closure());
    spawn(
        "poll_fn that borrows",
        "borrowing_closure > rest > ~Sleep",
        polled_by_borrowing_closure(),
    );
    spawn("many at once", "many > notified > ~Notified", many(notify));
}
