//! Knows whether gmr-core has an engine here: its build script says so.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(gmr_engine)");
    if std::env::var_os("DEP_GMR_CORE_ENGINE").is_some() {
        println!("cargo:rustc-cfg=gmr_engine");
    }
}
