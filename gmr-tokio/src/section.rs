//! The sections Green Threads and Runtime.
