//! Which thread polls which task: thread-locals of tokio, read from outside.
