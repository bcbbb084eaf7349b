//! Threads for what may allocate, lock and panic: ordinary sections, and source
//! lines.
//!
//! 1. Two workers wait on the core's bell. A supervisor posts a section
//!    ([`section`]) in a mailbox, rings, and waits with a deadline.
//! 2. A worker that takes one runs it, catches its panic, and hands the result
//!    back ([`handoff`]).
//! 3. A worker that does not come back in time is *stuck*: its section is
//!    skipped until it does. The other worker starts a spare in its place.
//!
//! 4. What no report waits for (*jobs*: crates that extend this one prepare things
//!    so) is done one at a time. A spare takes the place of the worker that is at it,
//!    as if it were stuck, and one of them leaves at the end.
//!
//! Limits: [`MOST_WORKERS`] threads, so three may be stuck at a time (a job that does
//! not return is one of them) before sections are left out; the report says so.
//!
//! Nothing here is ever waited for without a deadline by a supervisor: with the
//! allocator's lock held for ever, each report says which sections are missing
//! and is written all the same.

pub(crate) mod handoff;
#[cfg(all(gmr_engine, not(loom)))]
pub(crate) mod panics;
#[cfg(all(gmr_engine, not(loom)))]
pub(crate) mod pool;
#[cfg(all(gmr_engine, not(loom)))]
pub(crate) mod section;
