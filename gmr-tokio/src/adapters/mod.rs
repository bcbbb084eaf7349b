//! What other crates know of a program's tasks, as sections and scopes: each behind a
//! feature of its own.
//!
//! | feature | |
//! |---|---|
//! | `await-tree` | the trees of an `await_tree::Registry`, as a section |
//! | `tracing` | the spans that a thread is in, beside its stack |
//! | `taskdump` | tokio's own dump, as a section; with `--cfg tokio_unstable` only |
//!
//! None of them is needed: Green Threads shows every task without. They are ordinary
//! code, which a worker of the reporter runs, with a deadline: they may be missing
//! when the program hangs.

#[cfg(feature = "await-tree")]
pub mod await_tree;
#[cfg(all(tokio_unstable, feature = "taskdump", target_os = "linux", target_arch = "x86_64"))]
pub mod taskdump;
#[cfg(feature = "tracing")]
pub mod tracing;
