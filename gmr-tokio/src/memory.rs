//! The process's memory, as the walks see it.
