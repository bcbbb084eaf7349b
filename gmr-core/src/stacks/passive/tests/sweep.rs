//! The analyser against the call frame information at call sites of every
//! loaded object: wherever the information counts from rsp, both have to say
//! the same.
//!
//!     cargo test --release -p gmr-core --features full --lib sweep -- --ignored --nocapture
//!
//! LD_PRELOAD brings in more objects to look at.
