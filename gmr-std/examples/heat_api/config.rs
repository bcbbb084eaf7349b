//! The configuration: a TOML file, read once at start.
//!
//! 1. Read the file, or take the sample that is built in.
//! 2. Let serde check names and types. An unknown name is an error: a typing
//!    mistake should not quietly leave a default in force.
//! 3. Check what types cannot say (ranges).
//!
//! The types derive `Serialize` as well: that is all a Guru Meditation Report
//! needs for its Configuration section.
//!
//! Limit: the file is not read again while the service runs.

use core::{error::Error, fmt, net::SocketAddr, ops::RangeInclusive, time::Duration};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gmr_std::Secret;
use serde::{Deserialize, Serialize};

/// What errors call the built-in sample.
const SAMPLE_NAME: &str = "the built-in sample.toml";
const SAMPLE: &str = include_str!("sample.toml");

/// More workers than this is a typing mistake, not a wish. The report's own
/// section has room for as many.
pub(crate) const MAX_WORKERS: usize = 64;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    region: String,
    enabled_apis: Vec<String>,
    pub(crate) server: Server,
    pub(crate) stacks: Stacks,
    database: Database,
    keystone_authtoken: KeystoneAuthtoken,
    trustee: Trustee,
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) queue_capacity: usize,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Request line and headers.
    pub(crate) max_head_bytes: usize,
    /// The body, which no route uses: it is read and dropped.
    pub(crate) max_body_bytes: usize,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Timeouts {
    request_ms: u64,
    write_ms: u64,
    idle_ms: u64,
}

impl Timeouts {
    /// From the first byte of a request to its last.
    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    /// For each write of an answer.
    pub(crate) fn write(&self) -> Duration {
        Duration::from_millis(self.write_ms)
    }

    /// How long a connection may stay open without a request.
    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stacks {
    pub(crate) depth: u32,
    pub(crate) resources_per_stack: u32,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Database {
    connection: String,
    max_retries: u32,
    max_pool_size: u32,
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
    /// `Secret` masks it in reports only: any other serializer, such as one
    /// that writes the configuration back to disk, still sees the value.
    domain_admin: Secret<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    enabled: bool,
}

impl Config {
    /// Reads `path`, or the built-in sample without one.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Self::parse(Path::new(SAMPLE_NAME), SAMPLE);
        };
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { file: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Parse {
            file: file.to_owned(),
            line: error.span().map(|span| line_of(text, span.start)),
            // The whole error would quote the line, which may hold a secret.
            message: error.message().to_owned(),
        })?;
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Path) -> Result<(), ConfigError> {
        let server = &self.server;
        // Wide enough for any use, narrow enough to catch a mistake.
        let checks: [(&'static str, u64, RangeInclusive<u64>); 9] = [
            ("server.workers", wide(server.workers), 1..=wide(MAX_WORKERS)),
            ("server.queue_capacity", wide(server.queue_capacity), 1..=65_536),
            ("server.limits.max_head_bytes", wide(server.limits.max_head_bytes), 256..=1 << 20),
            ("server.limits.max_body_bytes", wide(server.limits.max_body_bytes), 0..=1 << 30),
            ("server.timeouts.request_ms", server.timeouts.request_ms, 1..=3_600_000),
            ("server.timeouts.write_ms", server.timeouts.write_ms, 1..=3_600_000),
            ("server.timeouts.idle_ms", server.timeouts.idle_ms, 1..=3_600_000),
            ("stacks.depth", self.stacks.depth.into(), 1..=32),
            ("stacks.resources_per_stack", self.stacks.resources_per_stack.into(), 1..=16),
        ];
        for (key, value, allowed) in checks {
            if !allowed.contains(&value) {
                return Err(ConfigError::Range { file: file.to_owned(), key, value, allowed });
            }
        }
        Ok(())
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The line, from 1, that holds byte `offset` of `text`.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// Why there is no configuration. Each says in which file, and where.
#[derive(Debug)]
pub(crate) enum ConfigError {
    Read { file: PathBuf, source: io::Error },
    Parse { file: PathBuf, line: Option<usize>, message: String },
    Range { file: PathBuf, key: &'static str, value: u64, allowed: RangeInclusive<u64> },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, source } => write!(f, "{}: {source}", file.display()),
            Self::Parse { file, line: Some(line), message } => {
                write!(f, "{}:{line}: {message}", file.display())
            }
            Self::Parse { file, line: None, message } => {
                write!(f, "{}: {message}", file.display())
            }
            Self::Range { file, key, value, allowed } => write!(
                f,
                "{}: {key} = {value} is out of range, allowed are {} to {}",
                file.display(),
                allowed.start(),
                allowed.end()
            ),
        }
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Parse { .. } | Self::Range { .. } => None,
        }
    }
}
