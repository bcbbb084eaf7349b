//! What the program is: filled in by [`package!`](crate::package) where the
//! program is compiled.

/// Product, vendor, version and build of a program.
///
/// ```
/// use gmr_core::Package;
///
/// // What the crates `built` and `shadow-rs` generate.
/// const GIT_COMMIT_HASH: Option<&str> = Some("2f8cd1e0");
/// const BUILT_TIME_UTC: &str = "Sun, 22 Nov 2026 14:03:11 +0000";
///
/// const PACKAGE: Package = gmr_core::package!()
///     .with_git_revision(GIT_COMMIT_HASH)
///     .with_build_time(Some(BUILT_TIME_UTC));
/// assert_eq!(PACKAGE.git_revision, Some("2f8cd1e0"));
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Package {
    /// The product's name.
    pub product: &'static str,
    /// Who makes it, if the program says so.
    pub vendor: Option<&'static str>,
    /// Its version.
    pub version: &'static str,
    /// `debug` or `release`: whether debug assertions are on where the macro
    /// stands. (Cargo tells no crate the profile's name.)
    pub profile: &'static str,
    /// The git revision that it was built from, if a build script gives it.
    pub git_revision: Option<&'static str>,
    /// What `git describe` says of that, if a build script gives it.
    pub git_describe: Option<&'static str>,
    /// A build script says that there were changes which the revision lacks.
    pub is_git_modified: bool,
    /// When it was built, if a build script gives it: as that writes it. (For
    /// builds that can be repeated it honours SOURCE_DATE_EPOCH.)
    pub build_time: Option<&'static str>,
}

/// What vergen sets where it knows nothing, or should not tell.
const VERGEN_NOTHING: &str = "VERGEN_IDEMPOTENT_OUTPUT";

impl Package {
    /// Used by [`package!`](crate::package).
    #[must_use]
    pub const fn new(
        product: &'static str,
        vendor: Option<&'static str>,
        version: &'static str,
        debug_assertions: bool,
    ) -> Self {
        let profile = if debug_assertions { "debug" } else { "release" };
        Package {
            product,
            vendor,
            version,
            profile,
            git_revision: None,
            git_describe: None,
            is_git_modified: false,
            build_time: None,
        }
    }

    /// With this revision; `None` or an empty one is not shown.
    #[must_use]
    pub const fn with_git_revision(mut self, revision: Option<&'static str>) -> Self {
        self.git_revision = first_known(&[revision]);
        self
    }

    /// With this description of the revision; `None` or an empty one is not
    /// shown.
    #[must_use]
    pub const fn with_git_describe(mut self, describe: Option<&'static str>) -> Self {
        self.git_describe = first_known(&[describe]);
        self
    }

    /// Whether there were changes which the revision lacks.
    #[must_use]
    pub const fn with_git_modified(mut self, is_modified: bool) -> Self {
        self.is_git_modified = is_modified;
        self
    }

    /// With this time of the build; `None` or an empty one is not shown.
    #[must_use]
    pub const fn with_build_time(mut self, time: Option<&'static str>) -> Self {
        self.build_time = first_known(&[time]);
        self
    }

    /// Used by [`package!`](crate::package): what build scripts left in the
    /// environment, of each fact the first that is known.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_environment(
        mut self,
        revisions: &[Option<&'static str>],
        describe: Option<&'static str>,
        modified: &[Option<&'static str>],
        times: &[Option<&'static str>],
    ) -> Self {
        self.git_revision = first_known(revisions);
        self.git_describe = first_known(&[describe]);
        self.is_git_modified = match first_known(modified) {
            Some(modified) => is_same(modified, "true"),
            None => false,
        };
        self.build_time = first_known(times);
        self
    }

    /// The target triple gmr-core was compiled for.
    pub const TARGET: &'static str = env!("GMR_TARGET");

    /// The compiler that compiled gmr-core, as `rustc --version` says.
    pub const RUSTC: &'static str = env!("GMR_RUSTC");
}

/// The first of `values` that says something.
const fn first_known(mut values: &[Option<&'static str>]) -> Option<&'static str> {
    while let [first, rest @ ..] = values {
        if let Some(value) = *first
            && !value.is_empty()
            && !is_same(value, VERGEN_NOTHING)
        {
            return Some(value);
        }
        values = rest;
    }
    None
}

/// `==`, which is not const.
const fn is_same(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        match (one, other) {
            ([], []) => return true,
            ([first, rest @ ..], [other_first, other_rest @ ..]) if *first == *other_first => {
                (one, other) = (rest, other_rest);
            }
            _ => return false,
        }
    }
}

/// Describes the crate it stands in: name and version from its Cargo.toml, and
/// where it comes from, if its build script says that. What is not said is not
/// shown.
///
/// ```
/// let package = gmr_core::package!();
/// assert_eq!(package.product, "gmr-core");
/// let package = gmr_core::package!(vendor: "OpenStack Foundation", product: "heat");
/// assert_eq!(package.vendor, Some("OpenStack Foundation"));
/// assert_eq!(package.product, "heat");
/// ```
///
/// # Revision and time of the build
///
/// The compiler knows neither. The macro reads what the usual build scripts
/// leave in the environment of the compilation (`cargo:rustc-env`); what a CI
/// system has there under the same names counts too:
///
/// | | [vergen], with any of its git back ends | [build-data] | by hand |
/// |---|---|---|---|
/// | revision | `VERGEN_GIT_SHA` | `GIT_COMMIT` | `GIT_REVISION` |
/// | description | `VERGEN_GIT_DESCRIBE` | | |
/// | modified | `VERGEN_GIT_DIRTY` | `GIT_DIRTY` | |
/// | time | `VERGEN_BUILD_TIMESTAMP`, `VERGEN_BUILD_DATE` | `BUILD_TIMESTAMP` | `BUILD_TIME` |
///
/// [built] and [shadow-rs] make constants instead, which the setters of
/// [`Package`](crate::Package) take.
///
/// [vergen]: https://docs.rs/vergen
/// [build-data]: https://docs.rs/build-data
/// [built]: https://docs.rs/built
/// [shadow-rs]: https://docs.rs/shadow-rs
#[macro_export]
macro_rules! package {
    () => {
        $crate::package!(@ env!("CARGO_PKG_NAME"), ::core::option::Option::None)
    };
    (product: $product:expr $(,)?) => {
        $crate::package!(@ $product, ::core::option::Option::None)
    };
    (vendor: $vendor:expr $(,)?) => {
        $crate::package!(@ env!("CARGO_PKG_NAME"), ::core::option::Option::Some($vendor))
    };
    (vendor: $vendor:expr, product: $product:expr $(,)?) => {
        $crate::package!(@ $product, ::core::option::Option::Some($vendor))
    };
    (@ $product:expr, $vendor:expr) => {
        $crate::Package::new($product, $vendor, env!("CARGO_PKG_VERSION"), cfg!(debug_assertions))
            .with_environment(
                &[
                    option_env!("VERGEN_GIT_SHA"),
                    option_env!("GIT_REVISION"),
                    option_env!("GIT_COMMIT"),
                ],
                option_env!("VERGEN_GIT_DESCRIBE"),
                &[option_env!("VERGEN_GIT_DIRTY"), option_env!("GIT_DIRTY")],
                &[
                    option_env!("VERGEN_BUILD_TIMESTAMP"),
                    option_env!("VERGEN_BUILD_DATE"),
                    option_env!("BUILD_TIMESTAMP"),
                    option_env!("BUILD_TIME"),
                ],
            )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Package = Package::new("p", None, "1", true);

    #[test]
    fn nothing_is_known_unless_somebody_says_it() {
        for nothing in [None, Some(""), Some(VERGEN_NOTHING)] {
            let package = PLAIN
                .with_environment(&[nothing; 3], nothing, &[nothing; 2], &[nothing; 4])
                .with_git_revision(nothing)
                .with_git_describe(nothing)
                .with_build_time(nothing);
            assert_eq!((package.git_revision, package.git_describe), (None, None));
            assert_eq!((package.is_git_modified, package.build_time), (false, None));
        }
    }

    #[test]
    fn the_first_that_says_something_counts() {
        let package = PLAIN.with_environment(
            &[Some(VERGEN_NOTHING), None, Some("third"), Some("fourth")],
            Some("v1"),
            &[Some("false"), Some("true")],
            &[Some(""), Some("then")],
        );
        assert_eq!(package.git_revision, Some("third"));
        assert_eq!(package.git_describe, Some("v1"));
        assert!(!package.is_git_modified);
        assert_eq!(package.build_time, Some("then"));
        assert!(PLAIN.with_environment(&[], None, &[Some("true")], &[]).is_git_modified);
        // "true" and nothing that begins so, or with which it begins.
        for other in ["trues", "tru", "TRUE"] {
            assert!(!PLAIN.with_environment(&[], None, &[Some(other)], &[]).is_git_modified);
        }
    }
}
