//! Reports on demand: through an anonymous file, into a string or a writer.
//!
//! 1. Make the file, in memory (memfd_create(2)).
//! 2. A supervisor writes the report to it, like to any regular file: it never
//!    waits for whoever reads.
//! 3. Copy what was written last: a report that had to be begun anew leaves its
//!    first attempt before it.

use std::{fmt, io};

use gmr_core::{Reporter, ViewKind};

pub use gmr_core::ReportOutcome;

/// Why [`Handle::report`](crate::Handle::report) got none.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReportError {
    /// No report was written.
    Core(gmr_core::ReportError),
    /// The anonymous file could not be made or read.
    File(io::Error),
    /// The writer took only part of it.
    Writer(io::Error),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportError::Core(error) => error.fmt(f),
            ReportError::File(error) => {
                write!(f, "no anonymous file for the report ({error}); see memfd_create(2)")
            }
            ReportError::Writer(error) => write!(f, "the report could not be passed on: {error}"),
        }
    }
}

impl std::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReportError::Core(error) => Some(error),
            ReportError::File(error) | ReportError::Writer(error) => Some(error),
        }
    }
}

impl From<gmr_core::ReportError> for ReportError {
    fn from(error: gmr_core::ReportError) -> Self {
        ReportError::Core(error)
    }
}

#[cfg(gmr_engine)]
pub(crate) fn report_to(
    reporter: &Reporter,
    writer: &mut (impl io::Write + ?Sized),
    view: ViewKind,
) -> Result<ReportOutcome, ReportError> {
    use std::io::{Read, Seek, SeekFrom};
    use std::os::fd::AsRawFd;

    let mut file = anonymous_file().map_err(ReportError::File)?;
    let outcome = reporter.report_to_fd(file.as_raw_fd(), view)?;
    // The offset is the supervisor's too, but that is done.
    let report = file
        .metadata()
        .and_then(|metadata| {
            let begin = metadata.len().saturating_sub(outcome.bytes);
            file.seek(SeekFrom::Start(begin))?;
            Ok(file.take(outcome.bytes))
        })
        .map_err(ReportError::File)?;
    copy(report, writer)?;
    Ok(outcome)
}

/// `io::copy`, but it tells whose error it was.
#[cfg(gmr_engine)]
fn copy(mut from: impl io::Read, to: &mut (impl io::Write + ?Sized)) -> Result<(), ReportError> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to
                .write_all(buffer.get(..count).unwrap_or_default())
                .map_err(ReportError::Writer)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReportError::File(error)),
        }
    }
}

/// Most reports are a few of these.
#[cfg(gmr_engine)]
const PIECE_BYTES: usize = 16 * 1024;

#[cfg(gmr_engine)]
#[expect(unsafe_code, reason = "std has no anonymous files")]
fn anonymous_file() -> io::Result<std::fs::File> {
    use std::os::fd::FromRawFd;

    // Newer kernels want to be told that nobody executes it, older ones do not
    // know the flag.
    for flags in [libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL, libc::MFD_CLOEXEC] {
        // SAFETY: a literal name; nothing else is passed.
        let fd = unsafe { libc::memfd_create(c"gmr-report".as_ptr(), flags) };
        if fd >= 0 {
            // SAFETY: just made, and nobody else's.
            return Ok(unsafe { std::fs::File::from_raw_fd(fd) });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(not(gmr_engine))]
pub(crate) fn report_to(
    reporter: &Reporter,
    _: &mut (impl io::Write + ?Sized),
    view: ViewKind,
) -> Result<ReportOutcome, ReportError> {
    Ok(reporter.report_to_fd(-1, view)?)
}
