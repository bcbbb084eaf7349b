//! A file that a daemon's stderr goes to.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{self, Stdio};
use std::{env, thread};

use crate::report::{Report, Stream};
use crate::wait::until;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The file. It is removed with this value, unless the test failed.
#[derive(Debug)]
pub struct ErrLog {
    path: PathBuf,
}

impl Default for ErrLog {
    fn default() -> Self {
        Self::new()
    }
}

impl ErrLog {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gmr-test-{}-{number}-err.log", process::id());
        let path = env::temp_dir().join(name);
        File::create(&path).expect("a log file");
        ErrLog { path }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// For a daemon's stderr, as `2> err.log` in a shell opens it.
    ///
    /// # Panics
    ///
    /// If it cannot be opened.
    #[must_use]
    pub fn stdio(&self) -> Stdio {
        File::options().append(true).open(&self.path).expect("the log file").into()
    }

    /// All of it, but for a character of which only a part is there yet.
    ///
    /// # Panics
    ///
    /// If it cannot be read, or is not UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = fs::read(&self.path).expect("the log file");
        if let Err(error) = str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            bytes.truncate(error.valid_up_to());
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// How long it is.
    ///
    /// # Panics
    ///
    /// If it is gone.
    #[must_use]
    pub fn len(&self) -> u64 {
        fs::metadata(&self.path).expect("the log file").len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was written from `offset` on.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[must_use]
    pub fn text_from(&self, offset: u64) -> String {
        let mut file = File::open(&self.path).expect("the log file");
        file.seek(SeekFrom::Start(offset)).expect("an offset in the file");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the log file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the end of the report `sequence` and reads everything.
    pub fn wait_for(&self, sequence: u64) -> Stream {
        self.wait_from(0, sequence)
    }

    /// The same, from `offset` on.
    pub fn wait_from(&self, offset: u64, sequence: u64) -> Stream {
        until(&format!("report {sequence} in {}", self.path.display()), || {
            let text = self.text_from(offset);
            has_end(&text, sequence).then(|| Stream::parse(&text))
        })
    }

    /// Waits for the report `sequence` and returns it alone.
    ///
    /// # Panics
    ///
    /// If it is not there whole.
    pub fn report(&self, sequence: u64) -> Report {
        let stream = self.wait_for(sequence);
        let found = stream.reports.into_iter().find(|report| report.sequence == sequence);
        found.unwrap_or_else(|| panic!("no whole report {sequence}"))
    }
}

/// Whether the text or JSON report `sequence` has ended in `text`.
#[must_use]
pub fn has_end(text: &str, sequence: u64) -> bool {
    let in_text = format!("\nEnd of report {sequence}: ");
    let in_json = format!("\"sequence\": {sequence},");
    let in_line = format!("\"sequence\":{sequence},");
    // Whole lines only: the last one may still be on its way.
    let whole = text.rfind('\n').map_or("", |at| &text[..=at]);
    if let Some(at) = whole.find(&in_text) {
        return whole[at + 1..].contains('\n');
    }
    if let Some(at) = whole.find(&in_json) {
        return whole[at..].contains("\n}");
    }
    whole.contains(&in_line)
}

impl Drop for ErrLog {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what the daemon wrote is in {}", self.path.display());
        } else {
            let _ = fs::remove_file(&self.path);
        }
    }
}
