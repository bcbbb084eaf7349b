//! Knows whether gmr-core has an engine here: the same condition as in its own
//! build script.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(gmr_engine)");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_POINTER_WIDTH", "64")
        && std::env::var_os("CARGO_CFG_GMR_UNSUPPORTED").is_none()
        && std::env::var_os("CARGO_CFG_LOOM").is_none()
    {
        println!("cargo:rustc-cfg=gmr_engine");
    }
}
