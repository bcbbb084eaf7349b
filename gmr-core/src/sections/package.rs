//! The Package section: what this program is, and how it was built.

use ufmt::uwrite;

use crate::engine::Engine;
use crate::model::Value;
use crate::package::Package;
use crate::section::{SectionResult, SectionWriter};

pub(crate) const TITLE: &str = "Package";

pub(crate) fn write(engine: &Engine, out: &mut SectionWriter<'_>) -> SectionResult {
    let package = engine.package;
    out.value("product", package.product)?;
    out.value("vendor", package.vendor)?;
    out.value("version", package.version)?;
    for (key, value) in
        [("git revision", package.git_revision), ("git describe", package.git_describe)]
    {
        if let Some(value) = value {
            out.value(key, value)?;
        }
    }
    if package.is_git_modified {
        out.value("uncommitted changes", true)?;
    }
    let mut build = heapless::String::<192>::new();
    let _ = uwrite!(&mut build, "{}, {}, {}", package.profile, Package::TARGET, Package::RUSTC);
    out.value("build", build.as_str())?;
    if let Some(time) = package.build_time {
        out.value("build time", time)?;
    }
    // As it is mapped, if that is known: under an explicit loader the file
    // /proc/self/exe is the loader's.
    #[cfg(feature = "stacks")]
    let tables = engine.tables.current();
    #[cfg(feature = "stacks")]
    let mapped = tables.as_ref().and_then(|tables| tables.table.executable_build_id());
    #[cfg(not(feature = "stacks"))]
    let mapped: Option<&[u8]> = None;
    let build_id = mapped.or(engine.build_id.as_ref().map(|build_id| build_id.as_bytes()));
    out.value("build-id", build_id.map_or(Value::None, Value::Hex))?;
    out.value("set up", Value::Timestamp(engine.set_up_at))?;
    Ok(())
}
