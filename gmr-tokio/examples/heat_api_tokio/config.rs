//! The configuration: a TOML file, read once at start.
//!
//! 1. Read the file, or take the sample that is built in.
//! 2. Let serde check names and types. An unknown name is an error: a typing
//!    mistake should not quietly leave a default in force.
//! 3. Check what types cannot say (ranges).
//!
//! The types derive `Serialize` as well: that is all a Guru Meditation Report
//! needs for its Configuration section.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use gmr_tokio::Secret;
use serde::{Deserialize, Serialize};

/// What errors call the built-in sample.
const SAMPLE_NAME: &str = "the built-in sample.toml";
const SAMPLE: &str = include_str!("sample.toml");

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    region: String,
    enabled_apis: Vec<String>,
    pub(crate) server: Server,
    pub(crate) database: Database,
    pub(crate) background: Background,
    keystone_authtoken: KeystoneAuthtoken,
    trustee: Trustee,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    request_ms: u64,
}

impl Server {
    /// How long a request may take.
    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    connection: String,
    max_retries: u32,
    pub(crate) max_pool_size: usize,
    query_ms: u64,
}

impl Database {
    /// How long a query takes.
    pub(crate) fn query(&self) -> Duration {
        Duration::from_millis(self.query_ms)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Background {
    pub(crate) cleaners: usize,
    clean_ms: u64,
}

impl Background {
    /// How often a cleaner cleans.
    pub(crate) fn clean(&self) -> Duration {
        Duration::from_millis(self.clean_ms)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeystoneAuthtoken {
    auth_url: String,
    username: String,
    password: String,
    roles: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Trustee {
    /// `Secret` masks it in reports only: any other serializer still sees it.
    domain_admin: Secret<String>,
}

impl Config {
    /// Reads `path`, or the built-in sample without one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Self::parse(SAMPLE_NAME, SAMPLE);
        };
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
        Self::parse(&file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self, String> {
        // The whole error would quote the line, which may hold a secret.
        let config: Self =
            toml::from_str(text).map_err(|error| format!("{file}: {}", error.message()))?;
        let checks = [
            ("server.workers", config.server.workers as u64, 1..=64),
            ("server.request_ms", config.server.request_ms, 1..=3_600_000),
            ("database.max_pool_size", config.database.max_pool_size as u64, 1..=1000),
            ("database.query_ms", config.database.query_ms, 0..=60_000),
            ("background.cleaners", config.background.cleaners as u64, 0..=1000),
            ("background.clean_ms", config.background.clean_ms, 1..=3_600_000),
        ];
        for (key, value, allowed) in checks {
            if !allowed.contains(&value) {
                let (least, most) = allowed.into_inner();
                return Err(format!("{file}: {key} = {value}, allowed are {least} to {most}"));
            }
        }
        Ok(config)
    }
}
