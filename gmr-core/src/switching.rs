//! Another destination while the program runs: a log that was rotated, or none,
//! for whoever reads a pipe of ours to its end.
//!
//! 1. Open the new one, with a line for each bank. What may fail, fails here.
//! 2. Publish it ([`crate::protocol::current`]): reports that begin from now on
//!    go there. One in progress goes on where it began.
//! 3. Wait for that one, and close the descriptors of the destination before.
//!
//! Limits: a report that stays longer than a report may keeps those descriptors
//! until it comes back; it closes them itself.

use crate::error::DestinationError;
use crate::reporter::Reporter;

#[cfg(gmr_engine)]
impl Reporter {
    /// Makes `fd` the destination of every report from now on: for a daemon
    /// that reopens its log, or has become one since the setup. It is
    /// duplicated or reopened, as at setup; the descriptors of the destination
    /// before are closed.
    ///
    /// A report in progress goes on where it began, and this waits for its end,
    /// at most as long as a report may take ([`Options::report_deadline`]). So
    /// once this has returned `Ok`, nothing more is written to the destination
    /// before, and every report is whole in one of the two.
    ///
    /// For a normal thread, not for signal handlers: it waits. After
    /// [`release_destination`](Self::release_destination) it makes reports
    /// possible again.
    ///
    /// [`Options::report_deadline`]: crate::Options::report_deadline
    ///
    /// # Errors
    ///
    /// [`DestinationError`]; but for `StillInUse`, nothing has changed. A section
    /// that calls this gets `StillInUse` at once, on a worker of gmr-std, too.
    pub fn set_destination(&self, fd: i32) -> Result<(), DestinationError> {
        let engine = self.engine().filter(|engine| engine::is_in_use(engine));
        let engine = engine.ok_or(DestinationError::NotSetUp)?;
        let destination = engine::open(engine, fd)?;
        engine::switch(engine, Some(destination))
    }

    /// Closes every descriptor of ours that leads to the destination: for a
    /// daemon that closes its stderr while its parent waits for the end of that
    /// pipe. From now on requests are ignored and counted, until
    /// [`set_destination`](Self::set_destination). Reports for callers
    /// (`report_to_fd`) go on.
    ///
    /// Waits for a report in progress, as `set_destination` does. In a forked
    /// child without a setup of its own it closes the child's copies, also of
    /// what leads to callers.
    ///
    /// # Errors
    ///
    /// [`DestinationError`]; but for `StillInUse`, nothing has changed.
    pub fn release_destination(&self) -> Result<(), DestinationError> {
        let engine = self.engine().ok_or(DestinationError::NotSetUp)?;
        if engine.is_forked_copy() {
            engine.clear_copy();
            return Ok(());
        }
        if !engine.is_own_process() {
            return Err(DestinationError::NotSetUp);
        }
        engine::switch(engine, None)
    }
}

#[cfg(all(gmr_engine, feature = "signal"))]
pub(crate) use engine::describe;
#[cfg(gmr_engine)]
pub(crate) use engine::let_go;

#[cfg(gmr_engine)]
mod engine {
    use core::sync::atomic::Ordering;
    use core::time::Duration;

    use rustix::io::Errno;

    use crate::engine::Engine;
    use crate::error::DestinationError;
    use crate::sink::destination::{self, Destination};
    use crate::sys::{clock, futex};

    /// Longest single wait: what ends without waking us is seen then.
    const SLICE_NS: u64 = 10_000_000;

    /// The right to switch: one thread at a time.
    struct Switching<'a>(&'a Engine);

    impl<'a> Switching<'a> {
        fn alone(engine: &'a Engine, deadline_ns: u64) -> Option<Self> {
            let word = &engine.switching;
            while word.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                if clock::monotonic_ns() >= deadline_ns {
                    return None;
                }
                futex::wait(word, 1, Some(SLICE_NS));
            }
            Some(Switching(engine))
        }
    }

    impl Drop for Switching<'_> {
        fn drop(&mut self) {
            self.0.switching.store(0, Ordering::Release);
            futex::wake(&self.0.switching, 1);
        }
    }

    pub(super) fn is_in_use(engine: &Engine) -> bool {
        engine.is_own_process() && engine.is_shut_down.load(Ordering::Acquire) == 0
    }

    pub(super) fn open(engine: &Engine, fd: i32) -> Result<Destination, DestinationError> {
        let banks = engine.options.supervisors as usize;
        Destination::open(fd, banks).map_err(|error| describe(fd, error))
    }

    /// What to tell of a descriptor that could not be opened.
    pub(crate) fn describe(fd: i32, error: Errno) -> DestinationError {
        let errno = error.raw_os_error();
        match error {
            Errno::BADF if destination::is_open(fd) => DestinationError::NotWritable { fd },
            Errno::BADF => DestinationError::Closed { fd },
            Errno::MFILE | Errno::NFILE => DestinationError::NoDescriptor { errno },
            _ => DestinationError::System { errno },
        }
    }

    pub(super) fn switch(
        engine: &Engine,
        new: Option<Destination>,
    ) -> Result<(), DestinationError> {
        let deadline_ns = clock::after(engine.options.report_deadline);
        let switching = Switching::alone(engine, deadline_ns).ok_or(DestinationError::Busy)?;
        // It may have been shut down since.
        if new.is_some() && !is_in_use(engine) {
            return Err(DestinationError::NotSetUp);
        }
        let is_own_report = engine.is_own_thread(crate::sys::gettid());
        let mut new = new;
        let before = loop {
            let seen = engine.stats.finished.load(Ordering::Acquire);
            new = match engine.destinations.switch(new) {
                Ok(before) => break before,
                Err(back) => Some(back),
            };
            // Every place is taken: by reports, or by threads that have switched and
            // are about to close what was before.
            if is_own_report || clock::monotonic_ns() >= deadline_ns {
                return Err(DestinationError::Busy);
            }
            futex::wait(&engine.stats.finished, seen, Some(SLICE_NS));
        };
        drop(switching);
        let Some(mut before) = before else { return Ok(()) };
        loop {
            let seen = engine.stats.finished.load(Ordering::Acquire);
            before = match before.close() {
                Ok(()) => return Ok(()),
                Err(before) => before,
            };
            let left_ns = deadline_ns.saturating_sub(clock::monotonic_ns());
            // A section that does this would wait for itself.
            if left_ns == 0 || is_own_report {
                return Err(DestinationError::StillInUse);
            }
            futex::wait(&engine.stats.finished, seen, Some(left_ns.min(SLICE_NS)));
        }
    }

    /// At shutdown: reports in progress keep the destination until their end.
    pub(crate) fn let_go(engine: &Engine) {
        // The other thread finds that we are shut down, or was before us.
        if let Some(_alone) = Switching::alone(engine, clock::after(Duration::from_secs(1))) {
            drop(engine.destinations.switch(None));
        }
    }
}

#[cfg(not(gmr_engine))]
impl Reporter {
    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`DestinationError::Unsupported`], always.
    pub fn set_destination(&self, _fd: i32) -> Result<(), DestinationError> {
        Err(DestinationError::Unsupported)
    }

    /// Not supported on this platform.
    ///
    /// # Errors
    ///
    /// [`DestinationError::Unsupported`], always.
    pub fn release_destination(&self) -> Result<(), DestinationError> {
        Err(DestinationError::Unsupported)
    }
}
