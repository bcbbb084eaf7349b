//! Collects all tasks of all runtimes of one report into memory made at setup: lists walked, trees decoded, equal trees folded.
