//! Where there is no engine, everything compiles and setup says so.
//!
//! `RUSTFLAGS="--cfg gmr_unsupported" cargo test -p gmr-std --test unsupported`
//! forces that side on a supported platform.
#![cfg(gmr_unsupported)]

use gmr_std::{CoreReportError, DestinationError, Options, Reporter, SetupError, Signal, View};

static REPORTER: Reporter = Reporter::new(gmr_std::package!());

#[test]
fn setup_is_a_typed_error_and_the_rest_does_nothing() {
    gmr_std::arm();
    let failed = gmr_std::setup_autorun(gmr_std::package!()).conf(&1).install().unwrap_err();
    assert!(matches!(failed, SetupError::Core(gmr_std::CoreSetupError::Unsupported)));
    assert!(failed.to_string().contains("not supported on this platform"), "{failed}");

    assert!(REPORTER.setup(&Options::new()).is_err());
    assert!(REPORTER.setup_autorun(Signal::Usr2).is_err());
    assert!(REPORTER.setup_trigger(Signal::Usr2).is_err());
    assert!(REPORTER.run().is_err());
    assert_eq!(REPORTER.set_destination(2), Err(DestinationError::Unsupported));
    assert_eq!(REPORTER.release_destination(), Err(DestinationError::Unsupported));
    assert_eq!(REPORTER.report_to_fd(1, View::Text), Err(CoreReportError::Unsupported));
    REPORTER.shutdown();
    assert_eq!(REPORTER.stats(), gmr_std::Stats::default());
}
