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
    let mut values = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        if is_shown(&name) {
            values.insert(name, Bytes(value));
        } else {
            names.insert(name, Secret::from(Bytes(value)));
        }
    }
    let mut out = BlobBuilder::new();
    out.event(&Event::Value { key: "read at", value: Value::Timestamp(now()) });
    record_under(&mut out, "variables", &values, policy)?;
    record_under(&mut out, "by name only", &names, policy)?;
    Ok(Recorded(out.finish()))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        unix_seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

/// Text, or whatever else somebody put there.
struct Bytes(OsString);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_encoded_bytes())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use gmr_core::section::{EventSink, SectionWriter, SignalSafeSection, Stop};

    use super::*;

    /// `group key = value`, but for the time.
    struct Lines {
        lines: Vec<String>,
        group: String,
    }

    impl EventSink for Lines {
        fn emit(&mut self, event: &Event<'_>) -> Result<(), Stop> {
            match event {
                Event::BeginGroup { key } => self.group = key.unwrap_or("-").to_owned(),
                Event::Close => self.group.clear(),
                Event::Value { key: "read at", value: Value::Timestamp(at) } => {
                    assert!(at.unix_seconds > 0);
                }
                Event::Value { key, value } => {
                    let value = match value {
                        Value::Redacted => "***",
                        Value::Text(text) => text,
                        Value::Bytes(bytes) => &bytes.escape_ascii().to_string(),
                        other => panic!("{other:?}"),
                    };
                    self.lines.push(format!("{}: {key} = {value}", self.group));
                }
                other => panic!("{other:?}"),
            }
            Ok(())
        }
    }

    fn lines(variables: &[(&str, &[u8])], shown: &[&str], policy: &Redaction) -> Vec<String> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), OsString::from_vec(value.to_vec())));
        let section = record_of(variables, shown, policy).expect("serializes");
        let mut lines = Lines { lines: Vec::new(), group: String::new() };
        section.generate(&mut SectionWriter::new(&mut lines)).expect("a sound blob");
        lines.lines
    }

    #[test]
    fn values_of_the_list_are_shown_and_names_of_all() {
        let variables: &[(&str, &[u8])] = &[
            ("HOME", b"/root"),
            ("LC_ALL", b"C"),
            ("http_proxy", b"http://me:canary@proxy"),
            ("HEAT_WORKERS", b"4"),
            ("HEAT_TOKEN", b"canary"),
            ("HEAT_NOTE", b"Bearer canary"),
            ("OTHER", b"canary"),
            ("EMPTY", b""),
            ("postgres://u:canary@h", b"canary"),
            ("PATH", b"/a\xff"),
        ];
        let shown = lines(variables, &["HEAT_*"], &Redaction::new());
        assert_eq!(
            shown,
            [
                "variables: HEAT_NOTE = Bearer ***",
                "variables: HEAT_TOKEN = ***",
                "variables: HEAT_WORKERS = 4",
                "variables: HOME = /root",
                "variables: LC_ALL = C",
                r"variables: PATH = /a\xff",
                "variables: http_proxy = http://me:***@proxy",
                "by name only: EMPTY = ",
                "by name only: OTHER = ***",
                "by name only: postgres://u:***@h = ***",
            ]
        );
        static POLICY: Redaction = Redaction::new().secret_keys(&["home"]);
        assert_eq!(lines(&[("HOME", b"canary")], &[], &POLICY), ["variables: HOME = ***"]);
    }

    #[test]
    fn every_pattern_of_the_list_is_met_by_its_own_name() {
        for pattern in SHOWN {
            let name = pattern.replace('*', "X");
            let shown = lines(&[(&name, b"v")], &[], &Redaction::new());
            assert_eq!(shown, [format!("variables: {name} = v")], "masked or not shown");
        }
        assert_eq!(
            lines(&[("LC", b"v"), ("XPATH", b"v")], &[], &Redaction::new()),
            ["by name only: LC = ***", "by name only: XPATH = ***"]
        );
    }
}
