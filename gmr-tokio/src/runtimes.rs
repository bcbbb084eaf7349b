//! The runtimes and local sets that reports look at: registered ones and those that were met.
