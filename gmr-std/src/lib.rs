//! Guru Meditation Reports for std daemons.

mod config;

pub use config::{ConfigCell, ConfigError, Secret};
