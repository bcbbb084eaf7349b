//! The atomics of [`entry`](super::entry) and [`free`](super::free): the real ones,
//! or loom's, which try every interleaving.

#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
