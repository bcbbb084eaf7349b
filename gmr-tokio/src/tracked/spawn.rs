//! Spawns tokio tasks that are tracked.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::Location;

use tokio::task::{Id, JoinHandle};

use super::entry::Use;
use super::{Entry, Tracked};

/// `tokio::spawn`, tracked: reports show where the task was spawned, how often it was
/// polled, and since when it waits or is being polled.
///
/// On another runtime: `handle.spawn(Tracked::new(future))`.
///
/// # Panics
///
/// As `tokio::spawn`: outside of a runtime.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let answer = gmr_tokio::spawn(async { 42 });
/// assert_eq!(answer.await.unwrap(), 42);
/// # }
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    by(tokio::spawn, future, "", Location::caller())
}

/// [`spawn`], under a name, which is copied (at most 40 bytes).
///
/// # Panics
///
/// As [`spawn`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// gmr_tokio::spawn_named("flush", async { /* … */ });
/// # }
/// ```
#[track_caller]
pub fn spawn_named<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    by(tokio::spawn, future, name, Location::caller())
}

/// `tokio::task::spawn_local`, tracked as by [`spawn`].
///
/// # Panics
///
/// As `tokio::task::spawn_local`: outside of a `LocalSet`.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    by(tokio::task::spawn_local, future, "", Location::caller())
}

/// `tokio::task::spawn_local`, tracked under a name as by [`spawn_named`].
///
/// # Panics
///
/// As [`spawn_local`].
#[track_caller]
pub fn spawn_local_named<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    by(tokio::task::spawn_local, future, name, Location::caller())
}

#[track_caller]
fn by<F: Future + 'static>(
    spawn: impl FnOnce(Tracked<F>) -> JoinHandle<F::Output>,
    future: F,
    name: &str,
    place: &'static Location<'static>,
) -> JoinHandle<F::Output> {
    let future = Tracked::at(future, name, true, place);
    let used: Option<(&'static Entry, Use)> = future.slot.0.map(|entry| (entry, entry.current()));
    let handle = spawn(future);
    // At once, not only at the first poll, which may never come.
    if let Some((entry, of)) = used {
        entry.set_task(of, number(handle.id()));
    }
    handle
}

/// The id as a number. tokio has no method for it, but the derived `Hash` feeds the
/// hasher with it; a test compares it with what `Display` says.
pub(super) fn number(id: Id) -> u64 {
    struct Taken(u64);
    impl Hasher for Taken {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, _: &[u8]) {}
        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
    }
    let mut taken = Taken(0);
    id.hash(&mut taken);
    taken.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ids_number_is_the_one_that_is_shown() {
        for _ in 0..3 {
            let handle = tokio::spawn(async {});
            assert_eq!(number(handle.id()).to_string(), handle.id().to_string());
        }
    }
}
