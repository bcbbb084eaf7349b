//! Says what vergen would, so that the test daemons have something to show:
//! a revision, with changes that it lacks, a time, and no description. And
//! knows, as gmr-std's build script does, whether there is an engine here.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(gmr_engine)");
    if std::env::var_os("DEP_GMR_CORE_ENGINE").is_some() {
        println!("cargo:rustc-cfg=gmr_engine");
    }
    println!("cargo:rustc-env=VERGEN_GIT_SHA=2f8cd1e0c6a14b0f9e7d3a5b8c1f2e4d6a7b9c0d");
    println!("cargo:rustc-env=VERGEN_GIT_DIRTY=true");
    println!("cargo:rustc-env=VERGEN_GIT_DESCRIBE=VERGEN_IDEMPOTENT_OUTPUT");
    println!("cargo:rustc-env=VERGEN_BUILD_TIMESTAMP=2026-11-22T14:03:11.482913000Z");
}
