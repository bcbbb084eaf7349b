//! The Environment section: the names of all variables, the values of few.
//!
//! 1. At setup the environment is read once, through `std::env`, which orders
//!    it with Rust code that changes it. `environ` is never read while a report
//!    is written: another thread may be inside setenv(3);
//! 2. a value is shown if its name is on the list of what operators ask for
//!    ([`SHOWN`], and what the program adds), and masked by key and text all the
//!    same; all others are `***`. Not even their length is told, which is a
//!    secret's, too. Empty ones are seen to be empty;
//! 3. the result is recorded, and replayed in every report.
//!
//! # Limitations
//!
//! Changes after the setup are not seen. C code that calls setenv(3) on another
//! thread *during* the setup races with it, as with any `std::env::var`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use gmr_core::model::{Event, Timestamp, Value};
use gmr_core::redact::{Redaction, is_key_of};
use serde::ser::{Serialize, Serializer};

use crate::config::{BlobBuilder, ConfigError, Secret, record_under};
use crate::recorded::Recorded;

/// The section's title.
pub(crate) const TITLE: &str = "Environment";

/// Variables whose values are shown: what changes how a process behaves, and
/// carries no secret by its nature. `*` stands for any text.
const SHOWN: [&str; 54] = [
    // Who and where.
    "HOME",
    "HOSTNAME",
    "LOGNAME",
    "PATH",
    "PWD",
    "SHELL",
    "TERM",
    "TMPDIR",
    "USER",
    // Language and time.
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    // Rust and what its programs commonly read.
    "RAYON_NUM_THREADS",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "RUST_MIN_STACK",
    "TOKIO_WORKER_THREADS",
    // Allocators.
    "GLIBC_TUNABLES",
    "JEMALLOC_*",
    "MALLOC_*",
    "MIMALLOC_*",
    // The loader.
    "LD_BIND_NOW",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    // Certificates and name resolution.
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    // Proxies.
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    // systemd.
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_*",
    "LOGS_DIRECTORY",
    "MANAGERPID",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "WATCHDOG_*",
    "XDG_RUNTIME_DIR",
    // Containers.
    "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_SERVICE_PORT",
    "NODE_NAME",
    "POD_*",
    "container",
];

/// Reads the environment now.
pub(crate) fn record(shown: &[&str], policy: &Redaction) -> Result<Recorded, ConfigError> {
    record_of(std::env::vars_os(), shown, policy)
}

fn record_of(
    variables: impl Iterator<Item = (OsString, OsString)>,
    shown: &[&str],
    policy: &Redaction,
) -> Result<Recorded, ConfigError> {
    let is_shown = |name: &str| SHOWN.iter().chain(shown).any(|pattern| is_key_of(pattern, name));
    let variables: BTreeMap<String, Variable> = variables
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let value = Bytes(value);
            let variable = if is_shown(&name) {
                Variable::Shown(value)
            } else {
                Variable::NameOnly(Secret::from(value))
            };
            (name, variable)
        })
        .collect();
    let hidden = variables.values().filter(|it| matches!(it, Variable::NameOnly(_))).count();

    let mut out = BlobBuilder::new();
    out.event(&Event::Value { key: "read at", value: Value::Timestamp(now()) });
    let hidden = u64::try_from(hidden).unwrap_or(u64::MAX);
    out.event(&Event::Value { key: "shown by name only", value: Value::U64(hidden) });
    record_under(&mut out, "variables", &variables, policy)?;
    Ok(Recorded(out.finish()))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        unix_seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

enum Variable {
    Shown(Bytes),
    NameOnly(Secret<Bytes>),
}

impl Serialize for Variable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Variable::Shown(value) => value.serialize(serializer),
            Variable::NameOnly(value) => value.serialize(serializer),
        }
    }
}

/// Text, or whatever else somebody put there.
struct Bytes(OsString);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_encoded_bytes())
    }
}
