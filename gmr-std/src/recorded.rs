//! Sections whose content is recorded at setup and replayed in every report.
//! Secrets were masked then: it is written as exposed.
//!
//! # Safety
//!
//! The `unsafe` here is the promise that they are signal-safe.
#![expect(unsafe_code, reason = "promises that the sections are signal-safe")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use gmr_core::redact::Redaction;
use gmr_core::{SectionResult, SectionWriter, SignalSafeSection};

use crate::config::{Blob, ConfigCell, ConfigError, record};

/// The key of the list of files.
const CONFIG_FILES: &str = "config files";

/// Content that never changes.
#[derive(Debug)]
pub(crate) struct Recorded(pub(crate) Blob);

// SAFETY: Replaying reads immutable memory; see `Blob::replay`.
unsafe impl SignalSafeSection for Recorded {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        self.0.replay(&mut out.exposed())
    }
}

/// The Configuration section: the files that were read, then the values.
#[derive(Debug)]
pub(crate) struct Configuration {
    files: Blob,
    values: &'static ConfigCell,
}

impl Configuration {
    /// Records `files` as absolute paths, since the working directory may
    /// change.
    pub(crate) fn new(
        files: &[PathBuf],
        values: &'static ConfigCell,
        policy: &Redaction,
    ) -> Result<Self, ConfigError> {
        let absolute = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            path.to_string_lossy().into_owned()
        };
        let paths: Vec<String> = files.iter().map(absolute).collect();
        let mut content = BTreeMap::new();
        if !paths.is_empty() {
            content.insert(CONFIG_FILES, paths);
        }
        Ok(Configuration { files: record(&content, policy)?, values })
    }
}

// SAFETY: Replaying reads immutable memory, and the cell keeps the promise
// itself.
unsafe impl SignalSafeSection for Configuration {
    fn generate(&self, out: &mut SectionWriter<'_>) -> SectionResult {
        self.files.replay(&mut out.exposed())?;
        self.values.generate(out)
    }
}
