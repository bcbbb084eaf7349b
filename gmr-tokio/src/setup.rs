//! `setup_autorun` with green threads: options, the table in the background, the self test.
