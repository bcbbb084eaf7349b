//! The Configuration section itself.
//!
//! 1. [`ConfigCell::set`] flattens and masks a configuration on the caller's
//!    thread, and publishes the result;
//! 2. a report replays what was published last.
//!
//! Limits: those of flattening (see the type's documentation); updates are
//! refused while a report is stuck and too many are waiting, and the section
//! says how many were.
//!
//! # Safety
//!
//! The one `unsafe` here is the promise that the section is signal-safe; the
//! memory it reads is the business of [`Holder`].
#![expect(unsafe_code, reason = "promises that the section is signal-safe")]

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use gmr_core::redact::Redaction;
use gmr_core::section::{SectionResult, SectionWriter, SignalSafeSection};
use serde::Serialize;

use super::blob::Blob;
use super::encode::encode;
use super::error::ConfigError;
use super::flatten::flatten;
use super::holder::Holder;

/// What the section says until a configuration is set.
const NOT_SET: &str = "no configuration was given (setup_autorun(...).conf(&config))";

/// The key under which refused updates are counted.
const REFUSED_KEY: &str = "(updates refused, the values are older)";

/// A configuration as reports show it: replaced by any thread, read by a
/// report at any time.
///
/// `setup_autorun(...).conf(&config)` keeps one for you. A program that uses
/// `gmr_core::Reporter` alone can keep its own in a `static`, set it, and
/// register it as the section "Configuration".
///
/// # What is shown
///
/// - Values at the top form the group `default`, each map or struct there is a
///   group; keys are sorted, lists keep their order. The second of two equal
///   keys is shown as `key (2)`.
/// - Values are masked (`***`) if they are a [`Secret`](crate::Secret), if
///   their key or one above it names a secret (`db_password`, `apiKey`,
///   `token`, …), and in any text what stands as a password in a URL or in
///   `password=…`, after `Bearer`, and in a PEM private key. Unset and empty
///   secrets stay visible as such.
/// - Shown are 15 levels of nesting, 64 KiB of one value, 256 bytes of a key,
///   1 MiB in all; what is beyond is counted in its place.
///
/// # Limitations
///
/// A secret under an innocent name, in no form that is recognised, is shown:
/// wrap it in `Secret`. The keys of a map are shown even if the map is under a
/// secret key.
///
/// ```
/// use gmr_std::ConfigCell;
///
/// static CONFIGURATION: ConfigCell = ConfigCell::new();
///
/// # #[derive(serde::Serialize)] struct Config { workers: u32 }
/// CONFIGURATION.set(&Config { workers: 4 })?;
/// # Ok::<(), gmr_std::ConfigError>(())
/// ```
pub struct ConfigCell {
    blob: Holder<Blob>,
    /// Updates refused since the last one that was taken.
    refused: AtomicU64,
}

impl ConfigCell {
    /// A cell without a configuration.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        ConfigCell { blob: Holder::new(), refused: AtomicU64::new(0) }
    }

    /// A cell without a configuration.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        ConfigCell { blob: Holder::new(), refused: AtomicU64::new(0) }
    }

    /// Shows `config` from the next report on.
    ///
    /// Flattens it at once, on this thread; later changes of `config` are not
    /// seen. Never waits for a report, and a report never waits for it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Serialize`] if the type's own `Serialize` fails,
    /// [`ConfigError::ReaderStuck`] if a report that reads an older
    /// configuration does not end. The configuration set before stays.
    ///
    /// # Panics
    ///
    /// If the type's own `Serialize` does; nothing is changed then.
    pub fn set<T: Serialize + ?Sized>(&self, config: &T) -> Result<(), ConfigError> {
        self.set_by(config, &Redaction::new())
    }

    /// [`set`](Self::set), with secrets masked by a policy of the program's own.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    ///
    /// # Panics
    ///
    /// As [`set`](Self::set).
    pub fn set_by<T: Serialize + ?Sized>(
        &self,
        config: &T,
        policy: &Redaction,
    ) -> Result<(), ConfigError> {
        self.publish(Self::record(config, policy)?)
    }

    /// Flattens a configuration, to be shown later.
    pub(crate) fn record<T: Serialize + ?Sized>(
        config: &T,
        policy: &Redaction,
    ) -> Result<Blob, ConfigError> {
        Ok(encode(flatten(config, policy)?))
    }

    /// Shows what was [recorded](Self::record) from the next report on.
    pub(crate) fn publish(&self, recorded: Blob) -> Result<(), ConfigError> {
        match self.blob.replace(recorded) {
            Ok(()) => {
                self.refused.store(0, Ordering::Relaxed);
                Ok(())
            }
            Err(refused) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(ConfigError::ReaderStuck { waiting: refused.0 })
            }
        }
    }
}

impl Default for ConfigCell {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ConfigCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigCell")
            .field("is_set", &self.blob.read(|blob| blob.is_some()))
            .finish_non_exhaustive()
    }
}

// SAFETY: Rule by rule. Memory: the blob is borrowed and immutable, `read`
// never frees (only `replace` does). Locks: none, the holder is made of
// atomics. Panics: `Blob::replay` is written without any and is denied the
// lints that could bring one. Stdio, thread-locals, loader: not used (the
// thread-local of flattening belongs to `set`). Waiting: the replay ends with
// the blob's bytes, at once if `out` says stop; `read` has no loop.
unsafe impl SignalSafeSection for ConfigCell {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        // Judged when they were set, and by a serializer that knows more.
        let mut exposed = out.exposed();
        self.blob.read(|blob| match blob {
            Some(blob) => blob.replay(&mut exposed),
            None => Ok(exposed.text(NOT_SET)?),
        })?;
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            out.value(REFUSED_KEY, refused)?;
        }
        Ok(())
    }
}
