//! The runtimes' workers: parked, busy or blocked.
