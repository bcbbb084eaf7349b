//! The stall watch.
