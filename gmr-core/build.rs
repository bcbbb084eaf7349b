//! Records what only the build knows: the target triple and the compiler's
//! version. `env!` in a user's crate has neither, and the report's Package
//! section states both.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_else(|_| String::from("unknown"));
    println!("cargo:rustc-env=GMR_TARGET={target}");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| String::from("unknown"), |text| text.trim().to_owned());
    println!("cargo:rustc-env=GMR_RUSTC={version}");

    // One name for "the engine runs here", used by every cfg of the crate.
    // `--cfg gmr_unsupported` forces the other side, so that it is tested.
    println!("cargo:rustc-check-cfg=cfg(gmr_engine)");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
        && is("CARGO_CFG_TARGET_POINTER_WIDTH", "64")
        && std::env::var_os("CARGO_CFG_GMR_UNSUPPORTED").is_none()
        && std::env::var_os("CARGO_CFG_LOOM").is_none()
    {
        println!("cargo:rustc-cfg=gmr_engine");
        // For the build scripts of crates that depend on this one.
        println!("cargo:engine=1");
    }
}
