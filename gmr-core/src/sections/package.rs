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
    let mut build = heapless::String::<192>::new();
    let _ = uwrite!(&mut build, "{}, {}, {}", package.profile, Package::TARGET, Package::RUSTC);
    out.value("build", build.as_str())?;
    if let Some(build_id) = &engine.build_id {
        out.value("build-id", Value::Hex(build_id.as_bytes()))?;
    } else {
        out.value("build-id", Value::None)?;
    }
    out.value("set up", Value::Timestamp(engine.set_up_at))?;
    Ok(())
}
