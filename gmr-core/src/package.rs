//! What the program is: filled in by [`package!`](crate::package) where the
//! program is compiled.

/// Product, vendor, version and build of a program.
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
}

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
        Package { product, vendor, version, profile }
    }

    /// The target triple gmr-core was compiled for.
    pub const TARGET: &'static str = env!("GMR_TARGET");

    /// The compiler that compiled gmr-core, as `rustc --version` says.
    pub const RUSTC: &'static str = env!("GMR_RUSTC");
}

/// Describes the crate it stands in: name and version from its Cargo.toml.
///
/// ```
/// let package = gmr_core::package!();
/// assert_eq!(package.product, "gmr-core");
/// let package = gmr_core::package!(vendor: "OpenStack Foundation", product: "heat");
/// assert_eq!(package.vendor, Some("OpenStack Foundation"));
/// assert_eq!(package.product, "heat");
/// ```
#[macro_export]
macro_rules! package {
    () => {
        $crate::Package::new(
            env!("CARGO_PKG_NAME"),
            ::core::option::Option::None,
            env!("CARGO_PKG_VERSION"),
            cfg!(debug_assertions),
        )
    };
    (product: $product:expr $(,)?) => {
        $crate::Package::new(
            $product,
            ::core::option::Option::None,
            env!("CARGO_PKG_VERSION"),
            cfg!(debug_assertions),
        )
    };
    (vendor: $vendor:expr $(,)?) => {
        $crate::Package::new(
            env!("CARGO_PKG_NAME"),
            ::core::option::Option::Some($vendor),
            env!("CARGO_PKG_VERSION"),
            cfg!(debug_assertions),
        )
    };
    (vendor: $vendor:expr, product: $product:expr $(,)?) => {
        $crate::Package::new(
            $product,
            ::core::option::Option::Some($vendor),
            env!("CARGO_PKG_VERSION"),
            cfg!(debug_assertions),
        )
    };
}
